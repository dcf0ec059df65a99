// Enrollment groups and symmetric keys by hand, in each language: authorities and
// device certificates made by openssl, devices that come in by them, and keys that
// are shown only when they are asked for.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { execFileSync } = require("node:child_process");
const { given, leave, violations, visit } = require("./browser.js");

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const file = (name) => path.join(folder, name);

// authority makes NAME.pem and NAME.key of an authority, and returns the file.
function authority(name) {
  openssl("req", "-x509", ...ec, "-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "365", "-subj", `/CN=${name}`, "-addext", "keyUsage=critical,keyCertSign");
  return file(`${name}.pem`);
}

// member makes a device's certificate, signed by the authority, and lets the device
// register with its chain.
function member(signer, id) {
  openssl("req", ...ec, "-keyout", `${id}.key`, "-out", `${id}.csr`, "-subj", `/CN=${id}`);
  fs.writeFileSync(file("leaf.cnf"), "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n");
  openssl("x509", "-req", "-in", `${id}.csr`, "-CA", `${signer}.pem`, "-CAkey", `${signer}.key`, "-CAcreateserial", "-days", "90", "-out", `${id}.pem`, "-extfile", "leaf.cnf");
  fs.writeFileSync(file(`${id}-chain.pem`), fs.readFileSync(file(`${id}.pem`), "utf8") + fs.readFileSync(file(`${signer}.pem`), "utf8"));
  return given.run(process.env.BERTH_BINARY, ["device", "simulate", "--data", given.data, "--messages", "1"], {
    PROVISIONING_IDSCOPE: given.info.idScope, DPS_X509_REGISTRATION_ID: id, X509_CERT_FILE: file(`${id}-chain.pem`), X509_KEY_FILE: file(`${id}.key`),
  });
}

// remove deletes a group by its box in the list and the page that asks.
async function remove(window, id) {
  const { page, words } = window;
  await window.open("groups");
  await page.locator(`input[name=id][value="${id}"]`).check();
  await leave(window, words.delete);
  await page.locator(".named", { hasText: id }).waitFor();
  await leave(window, words.delete);
  await page.getByRole("main").getByRole("status").first().waitFor();
  assert.equal(await page.getByRole("link", { name: id, exact: true }).count(), 0);
  assert.throws(() => given.berth("group", "show", id));
}

for (const language of ["en", "fr"]) {
  test(`a group of an authority, ${language}`, async () => {
    const window = await visit({ language, bypassCSP: true });
    const { page, words } = window;
    const main = page.getByRole("main");
    const name = `factory-${language}`, first = `${name}-device-1`, second = `${name}-device-2`;
    const signer = authority(name);

    // Gérer les inscriptions, Groupes d'inscription, Ajouter.
    await page.getByRole("navigation").first().getByRole("link", { name: words.manage }).click();
    await main.getByRole("link", { name: words.groups, exact: true }).click();
    await main.getByRole("link", { name: words.addGroup, exact: true }).click();
    await page.locator("#groupId").fill(name);
    assert.equal(await page.getByLabel(words.primaryKey, { exact: true }).isVisible(), false);

    // A device's own certificate signs nobody; the page says so and keeps what was typed.
    execFileSync(process.env.BERTH_BINARY, ["cert", "device", `${name}-own`, "--key-type", "ec256"], { cwd: folder, stdio: "ignore" });
    const choose = page.getByLabel(words.primaryFile, { exact: true });
    await choose.setInputFiles(file(`${name}-own.pem`));
    await page.locator("#primary-report", { hasText: `CN=${name}-own` }).waitFor();
    await leave(window, words.save);
    await page.locator("#primary-error", { hasText: "CA:TRUE" }).waitFor();
    assert.equal(await page.locator("#groupId").inputValue(), name);
    assert.deepEqual(await violations(page), []);

    await choose.setInputFiles(signer);
    await page.locator("#primary-report").getByText(`CN=${name}`, { exact: true }).first().waitFor();
    assert.equal(await page.locator("#primary-report .warning").count(), 0);
    await page.locator("#initialTwin").fill('{"tags":{"line":7}}');
    await leave(window, words.save);
    const row = main.locator("tbody tr", { has: page.getByRole("link", { name, exact: true }) });
    await row.getByText(`CN=${name}`, { exact: true }).waitFor();
    await row.getByText(words.enabled, { exact: true }).waitFor();

    // A device that it signed comes in, and appears on the group's page, which is open.
    await row.getByRole("link", { name, exact: true }).click();
    await page.locator("#live .empty").waitFor();
    await member(name, first);
    const members = page.locator("#registrations tbody tr");
    await members.filter({ has: page.getByRole("link", { name: first, exact: true }).first() }).getByText(words.assigned, { exact: true }).waitFor();
    assert.equal(given.json("device", "twin", first).tags.line, 7);
    assert.deepEqual(await violations(page), []);

    // Disabled, the group lets nobody in.
    await page.locator("input[name=enabled]").uncheck();
    await leave(window, words.save);
    await assert.rejects(member(name, second));
    assert.equal(given.json("group", "show", name).provisioningStatus, "disabled");
    const [refused] = given.json("attempts", second);
    await window.open(`attempts/${refused.sequence}`);
    await page.locator("#trace > li.failed").waitFor();
    await main.getByRole("link", { name: words.groups.toLowerCase() }).click();

    // An authority to roll over to; what is enrolled already is not asked for again.
    const next = authority(`${name}-next`);
    await main.getByRole("link", { name, exact: true }).click();
    await page.locator("#secondaryFile").setInputFiles(next);
    await page.locator("#secondary-report", { hasText: `CN=${name}-next` }).waitFor();
    await page.locator("input[name=enabled]").check();
    await leave(window, words.save);
    await member(`${name}-next`, second);
    await window.open(`group/${name}`);
    await members.nth(1).waitFor();

    await remove(window, name);
    await assert.rejects(member(name, `${name}-device-3`));
    for (const device of [first, second]) {
      given.berth("registration", "delete", device);
      given.berth("device", "delete", device);
    }
    await window.close();
  });

  test(`a group of keys, ${language}`, async () => {
    const window = await visit({ language, bypassCSP: true });
    const { page, words } = window;
    const main = page.getByRole("main");
    const name = `meters-${language}`;
    await window.open("groups/new");
    await page.locator("#groupId").fill(name);
    await page.getByLabel(words.mechanism, { exact: true }).selectOption(words.symmetricKey);
    assert.equal(await page.locator("#primaryFile").isVisible(), false);
    await page.getByLabel(words.primaryKey, { exact: true }).fill("short");
    await leave(window, words.save);
    await page.locator("#primaryKey-error").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByLabel(words.primaryKey, { exact: true }).fill("");
    await leave(window, words.save);
    await main.getByRole("link", { name, exact: true }).click();

    // Keys were made, and are shown when they are asked for.
    const { primaryKey, secondaryKey } = given.json("group", "show", name, "--keys").attestation.symmetricKey;
    assert.equal(Buffer.from(primaryKey, "base64").length, 64);
    assert.ok(!(await main.innerText()).includes(primaryKey));
    await main.getByRole("link", { name: words.showKeys, exact: true }).click();
    await main.locator("code").getByText(primaryKey, { exact: true }).waitFor();
    await main.locator("code").getByText(secondaryKey, { exact: true }).waitFor();
    assert.deepEqual(await violations(page), []);
    await main.getByRole("link", { name: words.hide, exact: true }).click();
    await main.getByRole("link", { name: words.showKeys, exact: true }).waitFor();

    // The key of a device, as the device would derive it, for its id as it stands.
    const device = "Meter_0815";
    await main.locator("#registrationId").fill(device);
    await main.getByRole("button", { name: words.deviceKey, exact: true }).click();
    const derived = (key) => crypto.createHmac("sha256", Buffer.from(key, "base64")).update(device).digest("base64");
    await main.locator("#device-primary-key").getByText(derived(primaryKey), { exact: true }).waitFor();
    await main.locator("#device-secondary-key").getByText(derived(secondaryKey), { exact: true }).waitFor();
    assert.deepEqual(await violations(page), []);

    const reader = await visit({ language, role: "reader" });
    await reader.open(`group/${name}?show=keys&registrationId=${device}`);
    const seen = await reader.page.content();
    for (const key of [primaryKey, secondaryKey, derived(primaryKey)]) assert.ok(!seen.includes(key));
    await reader.close();

    for (const width of [360, 3840]) {
      await page.setViewportSize({ width, height: 900 });
      for (const where of ["groups", "groups/new", `group/${name}?show=keys`, `group/${name}?registrationId=${device}`]) {
        await window.open(where);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${where} at ${width}`);
      }
    }
    await remove(window, name);
    await window.close();
  });

  test(`an individual enrollment with keys, ${language}`, async () => {
    const window = await visit({ language, bypassCSP: true });
    const { page, words } = window;
    const main = page.getByRole("main");
    const id = `meter-${language}`, key = crypto.randomBytes(32).toString("base64");
    await window.open("enrollments/new");
    await page.getByLabel(words.mechanism, { exact: true }).selectOption(words.symmetricKey);
    await page.locator("#registrationId").fill(id);
    await page.getByLabel(words.primaryKey, { exact: true }).fill(key);
    await leave(window, words.save);
    const row = main.locator("tbody tr", { has: page.getByRole("link", { name: id, exact: true }) });
    await row.getByText(words.symmetricKey, { exact: true }).waitFor();
    await row.getByRole("link", { name: id, exact: true }).click();
    assert.ok(!(await page.content()).includes(key));
    await main.getByRole("link", { name: words.showKeys, exact: true }).click();
    await main.locator("#stored-primary-key").getByText(key, { exact: true }).waitFor();
    assert.deepEqual(await violations(page), []);
    // Saved without a word about the keys, it keeps them.
    await page.locator("input[name=enabled]").uncheck();
    await leave(window, words.save);
    const kept = given.json("enrollment", "show", id);
    assert.equal(kept.provisioningStatus, "disabled");
    await window.open(`enrollment/${id}?show=keys`);
    await main.locator("#stored-primary-key").getByText(key, { exact: true }).waitFor();
    given.berth("enrollment", "delete", id);
    await window.close();
  });
}

test("the new pages in both languages and themes", async () => {
  given.berth("group", "create", "axe-keys", "--symmetric");
  given.berth("group", "create", "axe-authority", "--x509", authority("axe-authority"));
  for (const language of ["en", "fr"]) {
    for (const theme of ["light", "dark"]) {
      const window = await visit({ language, theme, bypassCSP: true });
      for (const where of ["groups", "groups?prefix=zzz", "groups/new", "group/axe-authority", "group/axe-keys?show=keys", "group/axe-keys?registrationId=device"]) {
        await window.open(where);
        assert.equal(await window.page.locator("h1").count(), 1, where);
        assert.deepEqual(await violations(window.page), [], where);
      }
      await window.close();
    }
  }
  for (const id of ["axe-keys", "axe-authority"]) given.berth("group", "delete", id);
});

test("without a script both mechanisms are there, and the choice decides", async () => {
  const window = await visit({ javaScriptEnabled: false });
  const { page, words } = window;
  await window.open("groups/new");
  await page.locator("#groupId").fill("plain");
  for (const field of ["#primaryFile", "#primaryKey"]) assert.ok(await page.locator(field).isVisible(), field);
  await page.getByLabel(words.mechanism, { exact: true }).selectOption(words.symmetricKey);
  await page.locator("#primaryFile").setInputFiles(authority("not-chosen"));
  await leave(window, words.save);
  assert.equal(given.json("group", "show", "plain").attestation.type, "symmetricKey");
  await remove(window, "plain");
  await window.close();
});
