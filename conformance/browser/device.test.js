// What operators do with one device: send it messages and see what becomes of them, edit its
// twin beside what it reports, and look at what its telemetry says of itself; in each
// language.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const path = require("node:path");
const { spawn } = require("node:child_process");
const { given, leave, violations, visit } = require("./browser.js");

const python = path.resolve(__dirname, "../.venv/bin/python");
const texts = {
  en: { method: "Direct method", call: "Call", awaits: "Waiting for the answer…", modules: "Modules", addModule: "Add module", moduleTwin: "Module twin", save: "Save", showKeys: "Show the connection strings", delete: "Delete", messages: "Messages", send: "Send", purge: "Purge", options: "Properties and options", addProperty: "Add a property", taken: "taken", purged: "purged", waits: "waits to be received", twice: "is there twice" },
  fr: { method: "Méthode directe", call: "Appeler", awaits: "En attente de la réponse…", modules: "Modules", addModule: "Ajouter un module", moduleTwin: "Jumeau de module", save: "Enregistrer", showKeys: "Afficher les chaînes de connexion", delete: "Supprimer", messages: "Messages", send: "Envoyer", purge: "Purger", options: "Propriétés et options", addProperty: "Ajouter une propriété", taken: "pris", purged: "purgé", waits: "attend d'être reçu", twice: "figure deux fois" },
};

// connect starts the device, and resolves when it is connected. What it has printed is in output.
async function connect(id) {
  const key = given.json("device", "show", id, "--keys").authentication.symmetricKey.primaryKey;
  const child = spawn(python, [path.join(__dirname, "device.py"), `HostName=${given.info.hubs[0].host};DeviceId=${id};SharedAccessKey=${key}`], { stdio: ["pipe", "pipe", "inherit"] });
  const device = { output: "", stop: () => new Promise((resolve) => { child.once("exit", resolve); child.stdin.end(); }) };
  await new Promise((resolve, reject) => {
    child.stdout.on("data", (text) => {
      device.output += text;
      if (/^ready$/m.test(device.output)) resolve();
    });
    child.once("exit", () => reject(new Error("the device has ended")));
  });
  return device;
}

for (const [language, words] of Object.entries(texts)) {
  test(`messages to a device, in ${language}`, async (t) => {
    const id = `spoken-to-${language}`;
    given.berth("device", "create", id);
    t.after(() => given.berth("device", "delete", id));
    const window = await visit({ language, width: 1440, bypassCSP: true });
    const { page } = window;
    await window.open(`hubs/berth/device/${id}`);
    await page.getByRole("main").getByRole("link", { name: words.messages, exact: true }).click();
    await page.locator("#queue-heading").waitFor();
    assert.deepEqual(await violations(page), []);

    // By keyboard alone; what is wrong is said, and nothing typed is lost.
    await page.locator("#body").focus();
    await page.keyboard.type("open the valve");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the options unfold
    await page.keyboard.press("Tab");
    for (const [name, value] of [["level", "high"], ["level", "low"]]) {
      await page.keyboard.type(name);
      await page.keyboard.press("Tab");
      await page.keyboard.type(value);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter"); // one more row, which has the focus
      assert.equal(await page.evaluate(() => document.activeElement.name + document.activeElement.value), "propertyName");
    }
    await page.locator("#messageId").fill("the-first");
    assert.deepEqual(await violations(page), []);
    await leave(window, words.send);
    await page.locator(".notice-error", { hasText: words.twice }).waitFor();
    assert.equal(await page.locator("#body").inputValue(), "open the valve");
    await page.locator("[name=propertyName]").nth(1).fill("unit");
    await leave(window, words.send);

    // It waits, as the device is not there; then it is taken, and the page says so by itself.
    await page.locator("#live .notice", { hasText: words.waits }).waitFor();
    const queued = page.locator("#live tr", { hasText: "the-first" });
    assert.deepEqual(await queued.locator(".property").allInnerTexts(), ["level=high", "unit=low"]);
    assert.equal(await queued.locator("pre").innerText(), "open the valve");
    assert.deepEqual(await violations(page), []);
    const device = await connect(id);
    await page.locator("#live .notice", { hasText: words.taken }).waitFor();
    await page.locator("#live tr", { hasText: "the-first" }).getByText(words.taken, { exact: true }).waitFor();
    assert.match(device.output, /^message open the valve \{.*'level': 'high'/m);
    assert.deepEqual(await violations(page), []);
    await device.stop();

    // The queue is purged once that is confirmed.
    await page.locator("#body").fill("never mind");
    await leave(window, words.send);
    await page.locator("#live .notice", { hasText: words.waits }).waitFor();
    await leave(window, words.purge);
    await page.locator(".named", { hasText: id }).waitFor();
    await leave(window, words.purge);
    await page.locator("#live").getByText(words.purged, { exact: true }).waitFor();
    assert.equal(await page.locator("#live .queued").count(), 0);
    await window.close();

    const reader = await visit({ language, role: "reader" });
    await reader.open(`hubs/berth/device/${id}/messages`);
    await reader.page.locator("#live").getByText(words.taken, { exact: true }).waitFor();
    assert.equal(await reader.page.locator("main button:not(.copy), main textarea").count(), 0);
    await reader.close();
  });
}

for (const [language, words] of Object.entries(texts)) {
  test(`direct methods, in ${language}`, async (t) => {
    const id = `called-${language}`;
    given.berth("device", "create", id);
    t.after(() => given.berth("device", "delete", id));
    const window = await visit({ language, bypassCSP: true });
    const { page } = window;
    await window.open(`hubs/berth/device/${id}`);
    await page.getByRole("main").getByRole("link", { name: words.method, exact: true }).click();
    await page.locator("#name").fill("open-valve");
    await page.locator("#payload").fill('{"by": 3,}');
    await page.locator("#payload-error .field-problem").waitFor(); // before it is sent
    assert.deepEqual(await violations(page), []);
    await page.locator("#payload").fill('{"by": 3}');
    await leave(window, words.call);
    await page.locator(".notice-error", { hasText: "404103" }).waitFor();
    assert.equal(await page.locator("#payload").inputValue(), '{"by": 3}');
    assert.deepEqual(await violations(page), []);

    // A call that waits for its device says so, and can't be sent twice.
    await page.locator("#connectTimeout").fill("30");
    await page.evaluate(() => new MutationObserver(() => {
      const form = document.querySelector("[data-slow]");
      sessionStorage.setItem("waits", `${form.querySelector(".loading").textContent} ${form.querySelector("button.primary").disabled}`);
    }).observe(document.querySelector("[data-slow] .loading"), { childList: true }));
    const answered = page.waitForEvent("load", { timeout: 60_000 });
    await page.getByRole("button", { name: words.call, exact: true }).focus();
    await page.keyboard.press("Enter");
    const device = await connect(id);
    await answered;
    assert.equal(await page.evaluate(() => sessionStorage.getItem("waits")), `${words.awaits} true`);
    assert.equal(await page.locator("#answer-status").innerText(), "207");
    assert.deepEqual(JSON.parse(await page.locator("#answer").innerText()), { did: "open-valve", with: { by: 3 } });
    assert.equal(await page.locator("#name").inputValue(), "open-valve"); // to be called again
    assert.deepEqual(await violations(page), []);
    await device.stop();
    await window.close();
  });

  test(`modules of a device, in ${language}`, async (t) => {
    const id = `modular-${language}`;
    given.berth("device", "create", id);
    t.after(() => given.berth("device", "delete", id));
    const window = await visit({ language, bypassCSP: true });
    const { page } = window;
    const main = page.getByRole("main");
    const click = async (name) => { await main.getByRole("link", { name, exact: true }).click(); };
    await window.open(`hubs/berth/device/${id}`);
    await click(words.modules);
    assert.deepEqual(await violations(page), []);
    await click(words.addModule);
    await page.locator("#moduleId").fill("a b");
    await leave(window, words.save);
    await page.locator(".notice-error", { hasText: "400004" }).waitFor();
    assert.deepEqual(await violations(page), []);
    await page.locator("#moduleId").fill("camera");
    await leave(window, words.save);
    await page.getByRole("heading", { level: 1, name: "camera" }).waitFor();
    await click(words.showKeys);
    assert.match(await page.locator("#device-first").innerText(), new RegExp(`^HostName=127.0.0.1;DeviceId=${id};ModuleId=camera;SharedAccessKey=`));
    assert.deepEqual(await violations(page), []);
    await click(words.moduleTwin);
    await page.locator("#desired").fill('{"zoom": 3}');
    await leave(window, words.save);
    assert.deepEqual(await violations(page), []);
    await click(words.messages);
    await page.locator("#body").fill("look left");
    await leave(window, words.send);
    await page.locator("#live .notice", { hasText: words.waits }).waitFor();
    assert.deepEqual(await violations(page), []);
    // Back by the way that leads there, and away with it.
    await click(id);
    await page.locator("input[name=id][value=camera]").check();
    await leave(window, words.delete);
    await page.locator(".named", { hasText: "camera" }).waitFor();
    await leave(window, words.delete);
    await page.locator("#live .empty").waitFor();
    await window.close();
  });
}

test("a twin beside what is reported, and the system properties of telemetry", async (t) => {
  const id = "looked-at";
  given.berth("device", "create", id);
  t.after(() => given.berth("device", "delete", id));
  const device = await connect(id);
  const window = await visit({ width: 1440 });
  const { page, words } = window;
  await window.open(`hubs/berth/device/${id}/twin`);
  const [desired, reported] = [await page.locator("#desired").boundingBox(), await page.locator("#reported").boundingBox()];
  assert.ok(reported.x > desired.x + desired.width && reported.y < desired.y + desired.height, "they are not side by side");
  await page.locator("#desired").fill('{"interval": 7}');
  await leave(window, words.save);
  await page.locator("#reported", { hasText: '"interval": 7' }).waitFor(); // the device does as it is told
  await page.setViewportSize({ width: 390, height: 900 });
  assert.ok((await page.locator("#reported").boundingBox()).y > (await page.locator("#tags").boundingBox()).y, "they are not one below the other");

  await window.open(`hubs/berth/device/${id}`);
  const message = page.locator(".message", { hasText: '{"ready":true}' });
  const system = message.getByText("iothub-connection-device-id", { exact: true });
  await message.waitFor();
  assert.equal(await system.isVisible(), false);
  await page.getByLabel("System properties").focus();
  await page.keyboard.press("Space");
  await system.waitFor();
  // The names of system properties are in every message, and nothing that a filter finds.
  await page.locator("#filter").fill("iothub");
  assert.equal(await message.isVisible(), false);
  await page.locator("#filter").fill("READY");
  await message.waitFor();
  await device.stop();
  await window.close();
});
