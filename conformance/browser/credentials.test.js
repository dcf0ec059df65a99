// What operators decide about who may come in and with what: operational
// certificates, networks, lock-outs, and the policies of back ends; in each language.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const fs = require("node:fs");
const https = require("node:https");
const os = require("node:os");
const path = require("node:path");
const { execFileSync } = require("node:child_process");
const { leave, startServer, visit } = require("./browser.js");

// register registers a device over HTTPS with its key and a certificate signing
// request, and returns the status and the answer.
async function register(server, id, key, csr) {
  const { idScope, caFile, ports } = server.info;
  const resource = `${idScope}/registrations/${id}`;
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(`${encodeURIComponent(resource)}\n${expiry}`).digest("base64");
  const options = {
    method: "PUT", host: "localhost", port: ports.https, path: `/${resource}/register?api-version=2025-07-01-preview`, ca: fs.readFileSync(caFile),
    headers: {
      "Content-Type": "application/json; charset=utf-8",
      Authorization: `SharedAccessSignature sr=${encodeURIComponent(resource)}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=registration`,
    },
  };
  return new Promise((resolve, reject) => {
    const request = https.request(options, async (response) => {
      const text = (await response.toArray()).join("");
      resolve({ status: response.statusCode, answer: JSON.parse(text) });
    });
    request.on("error", reject);
    request.end(JSON.stringify({ registrationId: id, csr }));
  });
}

function newRequest(id) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
  execFileSync("openssl", ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-subj", `/CN=${id}`, "-outform", "DER", "-out", "csr.der"], { cwd: folder, stdio: "ignore" });
  return fs.readFileSync(path.join(folder, "csr.der")).toString("base64");
}

for (const language of ["en", "fr"]) {
  test(`operational certificates, in ${language}`, async () => {
    const server = await startServer();
    const window = await visit({ language, server });
    const { page, words } = window;

    // An authority and a policy. What is wrong is said, and what was typed stays.
    await window.open("");
    await page.getByRole("link", { name: words.operational, exact: true }).click();
    await page.locator("#authority-name").fill("no spaces");
    await leave(window, words.create);
    await page.locator(".notice-error", { hasText: "no spaces" }).waitFor();
    assert.equal(await page.locator("#authority-name").inputValue(), "no spaces");
    await page.locator("#authority-name").fill("second");
    await leave(window, words.create);
    await page.locator(".notice-ok", { hasText: "second" }).waitFor();
    await page.getByRole("link", { name: words.addCredentialPolicy, exact: true }).click();
    await page.locator("#policy-name").fill("weekly");
    await page.locator("#authority").selectOption("second");
    await page.locator("#validity").fill("10080");
    for (const kind of await page.locator("input[name=keyType]").all()) await kind.uncheck();
    await leave(window, words.save);
    await page.locator(".notice-error").waitFor();
    assert.equal(await page.locator("#policy-name").inputValue(), "weekly");
    await page.locator("input[value=ec-p256]").check();
    await page.locator("#dnsNames").fill("{registrationId}.example.com");
    await leave(window, words.save);
    assert.match(await page.locator("tr", { hasText: "weekly" }).innerText(), language === "en" ? /7 days/ : /7 jours/);
    const policy = server.json("credential", "policy", "list").find((each) => each.name === "weekly");
    assert.deepEqual([policy.issuingAuthority, policy.validityMinutes, policy.keyTypes, policy.dnsNames], ["second", 10080, ["ec-p256"], ["{registrationId}.example.com"]]);

    // Somebody else changes it meanwhile: nothing of theirs is lost.
    await page.getByRole("link", { name: "weekly", exact: true }).click();
    server.berth("credential", "policy", "set", "weekly", "--validity", "48h", "--authority", "second", "--key-types", "ec-p256");
    await page.locator("#validity").fill("60");
    await leave(window, words.save);
    await page.locator(".notice-error", { hasText: "412001" }).waitFor();
    assert.equal(await page.locator("#validity").inputValue(), "60");

    // Certificates that were issued are there at once, and are revoked after a question.
    await window.open("credentials");
    const keys = {};
    for (const id of ["meter-1", "meter-2"]) {
      keys[id] = server.json("enrollment", "create", id, "--symmetric", "--keys", "--credential-policy", "weekly").attestation.symmetricKey.primaryKey;
      const { answer } = await register(server, id, keys[id], newRequest(id));
      assert.equal(answer.status, "assigned", JSON.stringify(answer));
      assert.equal(answer.registrationState.issuedCertificateChain.length, 3);
    }
    await page.locator("#live tr", { hasText: "meter-2" }).waitFor();
    const row = page.locator("#live tr", { hasText: "meter-1" });
    const revoke = page.locator("form[action$='credentials/revoke']").getByRole("button", { name: words.revoke, exact: true });
    assert.equal(await revoke.isDisabled(), true);
    await row.getByRole("checkbox").check();
    await Promise.all([page.waitForEvent("load"), revoke.click()]);
    await leave(window, words.revoke);
    await page.locator(".notice-ok").waitFor();
    const states = server.json("credential", "list").map((each) => [each.registrationId, Boolean(each.revoked)]).sort();
    assert.deepEqual(states, [["meter-1", true], ["meter-2", false]]);
    await page.locator("#search").fill("meter-2");
    await page.locator("#live tr", { hasText: "meter-1" }).waitFor({ state: "detached" });
    await page.locator("#search").fill("nobody");
    await page.locator("#live .empty").waitFor();

    // An authority that was revoked signs no more, and no policy may name it.
    await window.open("credentials");
    await page.getByRole("button", { name: `${words.revoke} second`, exact: true }).click();
    await leave(window, words.revoke);
    await page.locator("tr", { hasText: "second" }).filter({ hasText: language === "en" ? "revoked" : "révoqué" }).first().waitFor();
    assert.equal((await register(server, "meter-2", keys["meter-2"], newRequest("meter-2"))).answer.errorCode, 503001);
    await page.getByRole("link", { name: words.addCredentialPolicy, exact: true }).click();
    assert.deepEqual(await page.locator("#authority option").allInnerTexts(), ["default"]);
    await window.open("credentials");
    await page.locator("form[action$='credentials/delete']").locator("tr", { hasText: "weekly" }).getByRole("checkbox").check();
    await leave(window, words.delete);
    await page.locator("input[name='force']").check(); // enrollments name it
    await leave(window, words.delete);
    assert.deepEqual(server.json("credential", "policy", "list").map((each) => each.name), ["default"]);
    await window.close();
    await server.stop();
  });

  test(`networks, lock-outs and policies, in ${language}`, async () => {
    const server = await startServer(undefined, undefined, "--lockout", "2/1m:10m");
    const window = await visit({ language, server });
    const { page, words } = window;

    // A network, with a line that is none at first.
    server.berth("hub", "link", "berth", "--location", "north");
    await window.open("hubs");
    await page.getByRole("link", { name: words.networks, exact: true }).click();
    await page.getByRole("link", { name: words.addNetwork, exact: true }).click();
    await page.locator("#prefix").fill("10.1.0.0/16");
    await page.locator("#latencies").fill("north=8\nsouth");
    await leave(window, words.save);
    await page.locator(".notice-error", { hasText: "south" }).waitFor();
    assert.equal(await page.locator("#latencies").inputValue(), "north=8\nsouth");
    await page.locator("#latencies").fill("north=8\nsouth=20.5");
    await leave(window, words.save);
    await page.getByRole("link", { name: "10.1.0.0/16", exact: true }).click();
    assert.equal(await page.locator("#latencies").inputValue(), "north=8\nsouth=20.5");
    await page.locator("#latencies").fill("north=9");
    await leave(window, words.save);
    assert.deepEqual(server.json("network", "list").map(({ prefix, latencies }) => [prefix, latencies]), [["10.1.0.0/16", { north: 9 }]]);
    await page.locator("tbody").getByRole("checkbox").check();
    await leave(window, words.delete);
    await leave(window, words.delete);
    await page.locator("#live .empty").waitFor();

    // An address that fails is locked out, which shows at once, until that is lifted.
    const { primaryKey } = server.json("enrollment", "create", "meter", "--symmetric", "--keys").attestation.symmetricKey;
    await window.open("attempts");
    await page.getByRole("link", { name: words.lockouts, exact: true }).click();
    await page.locator("#live .empty").waitFor();
    for (let i = 0; i < 2; i++) assert.equal((await register(server, "meter", Buffer.alloc(32).toString("base64"))).status, 401);
    assert.equal((await register(server, "meter", primaryKey)).status, 429);
    await page.locator("#live tr", { hasText: "127.0.0.1" }).waitFor();
    await page.locator("#live tr", { hasText: "127.0.0.1" }).getByRole("button").click();
    await page.locator(".notice-ok", { hasText: "127.0.0.1" }).waitFor();
    assert.equal((await register(server, "meter", primaryKey)).answer.status, "assigned");

    // A policy with one right, its keys regenerated, another right, and its end.
    await window.open("policies");
    await page.getByRole("link", { name: words.addPolicy, exact: true }).click();
    await page.locator("#policy-name").fill("watcher");
    await leave(window, words.save);
    await page.locator(".notice-error", { hasText: "400004" }).waitFor();
    assert.equal(await page.locator("#policy-name").inputValue(), "watcher");
    await page.locator("input[value=RegistrationStatusRead]").check();
    await leave(window, words.save);
    const listed = () => server.json("policy", "list").find((each) => each.keyName === "watcher");
    const watcher = () => listed() && server.json("policy", "show", "watcher", "--keys");
    const before = watcher();
    await page.getByRole("link", { name: `${words.change} watcher`, exact: true }).click();
    await leave(window, words.regeneratePrimary);
    assert.equal(watcher().primaryKey, before.primaryKey, "it is asked for first");
    await leave(window, words.regenerate);
    assert.notEqual(watcher().primaryKey, before.primaryKey);
    assert.equal(watcher().secondaryKey, before.secondaryKey);
    await page.getByRole("link", { name: `${words.change} watcher`, exact: true }).click();
    await page.locator("input[value=EnrollmentRead]").check();
    await leave(window, words.save);
    assert.deepEqual(watcher().rights, ["EnrollmentRead", "RegistrationStatusRead"]);
    await page.getByRole("link", { name: `${words.change} watcher`, exact: true }).click();
    await leave(window, words.delete);
    await leave(window, words.delete);
    assert.equal(watcher(), undefined);

    // The last owner stays, and its new key reaches the commands of this machine.
    await page.getByRole("link", { name: `${words.change} provisioningserviceowner`, exact: true }).click();
    await leave(window, words.regeneratePrimary);
    await leave(window, words.regenerate);
    assert.ok(watcher() === undefined, "the command line has the new key");
    await page.getByRole("link", { name: `${words.change} provisioningserviceowner`, exact: true }).click();
    await leave(window, words.delete);
    await leave(window, words.delete);
    await page.locator(".notice-error", { hasText: "409000" }).waitFor();
    await window.close();
    await server.stop();
  });
}

test("a reader sees it all, and can change nothing of it", async () => {
  const server = await startServer();
  server.berth("network", "set", "10.1.0.0/16", "--latency", "north=8");
  const window = await visit({ server, role: "reader" });
  for (const address of ["credentials", "credential/default", "networks", "network/10.1.0.0%2F16", "lockouts", "policies", "policy/provisioningserviceowner"]) {
    await window.open(address);
    assert.equal(await window.page.getByRole("main").getByRole("button").filter({ visible: true }).filter({ hasNotText: /Copy|Refresh|Search/ }).count(), 0, address);
  }
  await window.close();
  await server.stop();
});
