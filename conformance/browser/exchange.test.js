// Enrollments come from files and go into files, in each language, with a file of
// a hundred thousand rows among them.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { leave, startServer, violations, visit } = require("./browser.js");

for (const language of ["en", "fr"]) {
  test(`import and export, in ${language}`, async () => {
    const server = await startServer();
    const window = await visit({ language, server });
    const { page, words } = window;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
    const write = (name, content) => {
      const file = path.join(folder, name);
      fs.writeFileSync(file, content);
      return file;
    };
    const upload = async (file, mode) => {
      await page.locator("#file").setInputFiles(file);
      await page.locator("#mode").selectOption(mode);
      await leave(window, words.import);
    };
    // The page of an import keeps itself up to date until the end.
    const counts = async () => {
      await page.locator(".notice-ok, .notice-warning, .notice-error").first().waitFor({ timeout: 120_000 });
      return (await page.locator("#done, #failed").allInnerTexts()).map((text) => Number(text.replace(/\D/g, "")));
    };

    await window.open("enrollments");
    await page.getByRole("link", { name: words.exchange, exact: true }).click();
    const many = language === "en" ? 100_000 : 10_000;
    const rows = Array.from({ length: many }, (_, i) => `row-${String(i).padStart(6, "0")},${(i + 1).toString(16).padStart(64, "0")}\r\n`);
    await upload(write("many.csv", `\ufeffregistrationId;primaryThumbprint\r\n${rows.join("").replaceAll(",", ";")}`), "create");
    await page.locator("progress").waitFor();
    assert.deepEqual(await counts(), [many, 0]);

    // What is wrong is shown with its line, as the language has it.
    await window.open("enrollments/exchange");
    await upload(write("bad.csv", "registrationId,attestation,primaryKey,initialTwin\nkeyed,symmetricKey,c2VjcmV0c2VjcmV0c2VjcmV0,\"{\"\"tags\"\":{\"\"a\"\":1}}\"\nno space,symmetricKey,,\nrow-000000,symmetricKey,,\n"), "create");
    assert.deepEqual(await counts(), [1, 2]);
    assert.deepEqual(await page.locator("tbody tr td:first-child").allInnerTexts(), ["3", "4"]);
    assert.match(await page.locator("tbody tr").nth(1).innerText(), language === "en" ? /already/ : /déjà/);
    await window.open("enrollments/exchange");
    await upload(write("unknown.csv", "registrationId,colour\nx,red\n"), "create");
    assert.deepEqual(await counts(), [0, 0]);
    await page.locator(".notice-error", { hasText: "colour" }).waitFor();

    // Exported with its keys, it is imported as it was.
    await window.open("enrollments/exchange");
    await page.locator("#format").selectOption("json");
    await page.locator("input[name=show]").check();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: words.export, exact: true }).click()]);
    const exported = path.join(folder, "exported.json");
    await download.saveAs(exported);
    const all = JSON.parse(fs.readFileSync(exported, "utf8"));
    assert.equal(all.length, many + 1);
    assert.equal(all.find((e) => e.registrationId === "keyed").attestation.symmetricKey.primaryKey, "c2VjcmV0c2VjcmV0c2VjcmV0");
    await upload(exported, "upsert");
    assert.deepEqual(await counts(), [many + 1, 0]);

    // What a search finds on all its pages is deleted at once, and the search stays.
    await window.open("enrollments");
    await page.locator("#search").fill("row-0001");
    await page.getByRole("link", { name: "row-000149", exact: true }).waitFor();
    await page.locator("input[name=every]").focus();
    await page.keyboard.press("Space");
    assert.equal(await page.locator("input[name=id]:enabled").count(), 0);
    await leave(window, words.delete);
    assert.match(await page.locator("h1").innerText(), /100/);
    assert.deepEqual(await violations(page), []);
    await leave(window, words.delete);
    await page.locator(".notice-ok", { hasText: "100" }).waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByRole("link", { name: words.back, exact: true }).click();
    await page.locator(".empty").waitFor();
    assert.equal(await page.locator("#search").inputValue(), "row-0001");
    await page.locator("#search").fill("row-0002");
    await page.getByRole("link", { name: "row-000200", exact: true }).waitFor();

    // Groups go the same way.
    await window.open("groups");
    await page.getByRole("link", { name: words.exchange, exact: true }).click();
    await upload(write("groups.json", '[{"enrollmentGroupId":"meters","attestation":{"type":"symmetricKey"}}]'), "create");
    assert.deepEqual(await counts(), [1, 0]);
    await page.getByRole("link", { name: words.back, exact: true }).click();
    await page.getByRole("link", { name: "meters", exact: true }).waitFor();

    // The audit leads past all of these rows to what was changed before them.
    assert.equal(server.json("audit", "--id", "row-000000", "--actor", "portal operator").length, 2);
    await window.close();
    await server.stop();
  });
}

test("a reader exports without keys, and imports nothing", async () => {
  const server = await startServer();
  server.berth("enrollment", "create", "keyed", "--symmetric");
  const window = await visit({ server, role: "reader" });
  const { page, words } = window;
  await window.open("enrollments/exchange");
  assert.equal(await page.locator("input[name=show]").count(), 0);
  assert.equal(await page.locator("#file").isDisabled(), true);
  assert.equal(await page.getByRole("main").getByRole("button", { name: words.import, exact: true }).count(), 0);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: words.export, exact: true }).click()]);
  const text = fs.readFileSync(await download.path(), "utf8");
  assert.match(text, /keyed,/);
  assert.doesNotMatch(text, /==/);
  await window.close();
  await server.stop();
});
