// The quickstart by hand, in each language, as the article tells it: the portal
// in the browser, openssl and the Python SDK in the terminal.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { spawn, execFileSync } = require("node:child_process");
const { given, defaultTimeout, visit } = require("./browser.js");

const python = path.resolve(__dirname, "../.venv/bin/python");
const programs = path.resolve(__dirname, "../python");

for (const language of ["en", "fr"]) {
  test(`the quickstart in ${language}`, async () => {
    const device = `Python-device-${language}`;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
    execFileSync("openssl", ["req", "-outform", "PEM", "-x509", "-sha256", "-newkey", "rsa:4096", "-keyout", "./python-device.key.pem", "-out", "./python-device.pem",
      "-days", "365", "-extensions", "usr_cert", "-subj", `/CN=${device}`, "-passout", "pass:1234"], { cwd: folder, stdio: "ignore" });

    const window = await visit({ language });
    const { page, words } = window;
    const menu = page.getByRole("navigation").first();
    const main = page.getByRole("main");
    const button = (name) => main.getByRole("button", { name, exact: true });

    // The steps tick themselves in a second window.
    const steps = await window.context.newPage();
    await steps.goto(given.url(`quickstart?os=linux&id=${device}`));
    const ticked = (step) => steps.locator(`#step-${step}.done`).getByText(words.done, { exact: true }).waitFor();
    assert.equal(await steps.locator("#steps .done").count(), 0);

    // Vue d'ensemble: the values that the device needs are read from the page.
    await menu.getByRole("link", { name: words.overview }).first().click();
    await page.getByRole("heading", { level: 1, name: words.overview }).waitFor();
    const value = (label) => main.locator("dl > dt", { hasText: label }).first().locator("xpath=following-sibling::dd[1]").locator("code").innerText();
    const scope = await value(words.idScope), host = await value(words.endpoint);
    assert.match(scope, /^0ne[0-9A-F]{8}$/);
    assert.equal(host, "localhost");
    const environment = {
      PROVISIONING_HOST: host, PROVISIONING_IDSCOPE: scope, DPS_X509_REGISTRATION_ID: device, PASS_PHRASE: "1234",
      X509_CERT_FILE: path.join(folder, "python-device.pem"), X509_KEY_FILE: path.join(folder, "python-device.key.pem"), PYTHONWARNINGS: "ignore",
    };

    // Gérer les inscriptions, Inscriptions individuelles, Ajouter.
    await menu.getByRole("link", { name: words.manage }).click();
    await main.getByRole("link", { name: words.individual }).click();
    await main.getByRole("link", { name: words.add }).click();
    await page.getByLabel(words.primaryFile, { exact: true }).setInputFiles(path.join(folder, "python-device.pem"));
    await page.locator("#primary-report").getByText(`CN=${device}`).first().waitFor();
    const thumbprint = execFileSync("openssl", ["x509", "-in", "python-device.pem", "-noout", "-fingerprint", "-sha256"], { cwd: folder, encoding: "utf8" })
      .split("=")[1].trim().replaceAll(":", "");
    await page.locator("#primary-report").getByText(thumbprint).waitFor();
    await page.locator("#initialTwin").fill('{"tags":{"floor":2},"properties":{"desired":{"interval":10}}}');
    await button(words.save).click();
    await main.getByRole("link", { name: device, exact: true }).waitFor();
    await ticked("enroll");

    // The attempt appears on a page that is open already.
    const attempts = await window.context.newPage();
    await attempts.goto(given.url(`attempts?id=${device}`));
    await attempts.locator(".empty").waitFor();
    const transcript = await given.run(python, [path.join(programs, "quickstart.py")], environment);
    assert.match(transcript, new RegExp(`${device}\\n127\\.0\\.0\\.1\\ninitialAssignment\\nnull`));
    assert.equal(transcript.match(/done sending message/g).length, 10);
    await attempts.locator("#attempts td").getByText(words.assigned, { exact: true }).first().waitFor();
    await attempts.locator("#attempts tbody a").first().click();
    assert.equal(await attempts.locator("#trace > li.failed").count(), 0);
    assert.ok(await attempts.locator("#trace > li.passed").count() >= 6);
    for (const step of ["run", "assigned", "telemetry"]) await ticked(step);

    // Appareils IoT: the device is there, activé; Actualiser works.
    await menu.getByRole("link", { name: words.devices }).click();
    const row = main.locator("tbody tr", { has: page.getByRole("link", { name: device, exact: true }) });
    await row.getByText(words.enabled, { exact: true }).waitFor();
    const refreshed = page.waitForResponse((response) => response.url().endsWith("/devices") && response.request().headers()["hx-request"] === "true");
    await main.getByRole("link", { name: words.refresh, exact: true }).click();
    assert.equal((await refreshed).status(), 200);
    await row.waitFor();

    // Telemetry arrives on the open page; it can be paused and filtered.
    await row.getByRole("link", { name: device, exact: true }).click();
    await page.locator(".message").nth(9).waitFor();
    assert.equal(await page.locator(".message").count(), 10);
    await given.run(python, [path.join(programs, "quickstart.py")], environment);
    await page.locator(".message").nth(19).waitFor();
    await button(words.pause).click();
    await given.run(python, [path.join(programs, "quickstart.py")], environment);
    await page.locator("[data-waiting] span", { hasText: /^10$/ }).waitFor();
    assert.equal(await page.locator(".message").count(), 20);
    await button(words.resume).click();
    await page.locator(".message").nth(29).waitFor();
    await page.getByLabel(words.filter, { exact: true }).fill("wind speed 10");
    assert.equal(await page.locator(".message:visible").count(), 3);
    await page.locator("#connections tbody tr").nth(5).waitFor(); // three arrivals, three departures

    // A twin edit reaches the device, and what it reports reaches the page.
    const twin = spawn(python, [path.join(programs, "twin_device.py")], { env: { ...process.env, ...environment } });
    let said = "";
    twin.stdout.on("data", (text) => { said += text; });
    const ended = new Promise((resolve) => twin.once("close", resolve));
    try {
      await page.locator("#connection-state").getByText(words.connected, { exact: true }).waitFor();
      await main.getByRole("link", { name: words.twin, exact: true }).click();
      await page.locator("#reported", { hasText: '"ready": true' }).waitFor();
      assert.deepEqual(JSON.parse(await page.getByLabel(words.desired, { exact: true }).inputValue()), { interval: 10 });
      await page.getByLabel(words.desired, { exact: true }).fill('{"interval": 25}');
      await button(words.save).click();
      await main.getByRole("status").first().waitFor();
      await page.locator("#reported", { hasText: '"interval": 25' }).waitFor();
      assert.equal(await ended, 0);
      assert.deepEqual(JSON.parse(said.trim().split("\n").at(-1)), { interval: 25, $version: 2 });
    } finally {
      twin.kill();
    }

    // Clean up: tick, Supprimer, confirm.
    for (const list of [words.manage, words.devices]) {
      await menu.getByRole("link", { name: list }).click();
      const box = main.locator(`input[name=id][value="${device}"]`);
      await box.check();
      await button(words.delete).click();
      await main.locator(".named", { hasText: device }).waitFor();
      await button(words.delete).click();
      await main.getByRole("status").first().waitFor();
      assert.equal(await box.count(), 0);
    }
    await ticked("clean");
    assert.throws(() => given.berth("enrollment", "show", device));
    assert.throws(() => given.berth("device", "show", device));
    given.berth("registration", "delete", device);
    await window.close();
  });
}

test("values are copied as they are", async () => {
  const window = await visit();
  await window.page.getByRole("button", { name: "Copy ID scope" }).click();
  assert.equal(await window.page.evaluate(() => navigator.clipboard.readText()), given.info.idScope);
  await window.close();
});

test("connection strings are hidden until they are asked for, and never shown to readers", async () => {
  const window = await visit();
  const secret = given.info.provisioningConnectionString;
  assert.ok(!(await window.page.content()).includes("SharedAccessKey="));
  await window.page.getByRole("link", { name: "Show the connection strings of provisioningserviceowner" }).click();
  assert.equal(await window.page.locator("code", { hasText: secret }).count(), 1);
  await window.close();
  const reader = await visit({ role: "reader" });
  for (const where of ["?show=localhost/provisioningserviceowner", "policies?show=localhost/provisioningserviceowner", "hubs/berth/policies?show=127.0.0.1/iothubowner"]) {
    await reader.open(where);
    assert.ok(!(await reader.page.content()).includes("SharedAccessKey="), where);
  }
  await reader.open("enrollments");
  assert.equal(await reader.page.getByRole("main").getByRole("link", { name: reader.words.add }).count(), 0);
  await reader.close();
});

test("the portal over HTTPS", async () => {
  const window = await visit({ loggedIn: false, ignoreHTTPSErrors: true });
  const link = given.json("portal", "link").httpsUrl;
  await window.page.goto(link, { timeout: defaultTimeout });
  assert.equal(new URL(window.page.url()).pathname, "/portal/");
  await window.page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  const cookies = await window.context.cookies();
  const session = cookies.find((cookie) => cookie.name.startsWith("berth-session-"));
  assert.deepEqual([session.httpOnly, session.secure, session.sameSite], [true, true, "Lax"]);
  await window.page.goto(link); // good once: the session that there is stays
  assert.equal((await window.page.goto(new URL("/", link).href)).status(), 200);
  await window.close();
});
