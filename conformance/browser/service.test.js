// What operators do beside enrolling: hubs and their links, where a device would
// go, a chain that is checked, an attempt that is saved, and the audit; in each
// language.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { execFileSync } = require("node:child_process");
const { leave, startServer, visit } = require("./browser.js");

for (const language of ["en", "fr"]) {
  test(`hubs, allocation, chains and audit, in ${language}`, async () => {
    const server = await startServer();
    const other = await startServer();
    const window = await visit({ language, server });
    const { page, words } = window;

    // A hub of this server, and one of another.
    await window.open("");
    await page.getByRole("link", { name: words.linked, exact: true }).first().click();
    await page.getByRole("link", { name: words.addHub, exact: true }).click();
    await page.locator("#name").fill("East!");
    await leave(window, words.create);
    await page.locator(".notice-error", { hasText: "400004" }).waitFor();
    await page.locator("#name").fill("east");
    await leave(window, words.create);
    await page.getByRole("link", { name: "127.0.0.2", exact: true }).waitFor();
    await page.getByRole("link", { name: words.addHub, exact: true }).click();
    const there = other.info.hubs[0].connectionString.replace("HostName=127.0.0.1", "HostName=127.0.0.9");
    await page.locator("#connectionString").fill(there);
    await page.locator("#address").fill(`127.0.0.1:${other.info.ports.https}`);
    await page.locator("#caCertificates").fill(fs.readFileSync(other.info.caFile, "utf8"));
    await leave(window, words.link ?? (language === "en" ? "Link" : "Lier"));
    // Its certificate does not have that name: nothing is linked, and nothing typed is lost.
    await page.locator(".notice-error", { hasText: "127.0.0.9" }).waitFor();
    assert.equal(await page.locator("#connectionString").inputValue(), there);

    // Weights decide where a device would go; the page says so.
    await window.open("link/127.0.0.1");
    await page.locator("#weight").fill("0");
    await leave(window, words.save);
    await window.open("hubs");
    assert.equal(await page.locator("tr", { hasText: "127.0.0.1" }).locator("td.number").first().innerText(), "0");
    server.berth("enrollment", "create", "wanderer", "--symmetric");
    await window.open("allocate");
    await page.locator("#id").fill("wanderer");
    await leave(window, words.look);
    assert.equal(await page.locator("#chosen").innerText(), "127.0.0.2");
    await page.locator("#id").fill("nobody");
    await leave(window, words.look);
    await page.locator(".notice-error", { hasText: "404201" }).waitFor();

    // Unlinking asks first.
    await window.open("link/127.0.0.2");
    await leave(window, words.unlink);
    await page.locator("[role=alert]").getByRole("button", { name: words.unlink, exact: true }).waitFor();
    assert.ok(server.json("hub", "list").some((link) => link.name === "127.0.0.2"));
    const answered = page.waitForEvent("load");
    await page.locator("[role=alert]").getByRole("button", { name: words.unlink, exact: true }).click();
    await answered;
    assert.ok(!server.json("hub", "list").some((link) => link.name === "127.0.0.2"));

    // A chain, before any device tries it: refused, and after it is enrolled let in.
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
    execFileSync(process.env.BERTH_BINARY, ["cert", "device", "checked", "--key-type", "ec256"], { cwd: folder, stdio: "ignore" });
    const certificate = path.join(folder, "checked.pem");
    for (const [verdict, before] of [["failed", () => {}], ["passed", () => server.berth("enrollment", "create", "checked", "--x509", certificate)]]) {
      before();
      await window.open("check");
      await page.locator("#chainFile").setInputFiles(certificate);
      await leave(window, words.check);
      await page.locator(`#trace li.${verdict}`).last().waitFor();
      assert.equal(await page.locator("#trace li.failed").count(), verdict === "failed" ? 1 : 0);
    }
    await window.open("check");
    await page.locator("#chain").fill(fs.readFileSync(path.join(folder, "checked.key.pem"), "utf8"));
    await leave(window, words.check);
    await page.locator(".notice-error").waitFor();
    assert.equal(await page.locator("#chain").inputValue(), "");

    // A certificate authority, proved by a certificate with the code; then a group names it.
    const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Factory");
    await window.open("certificates");
    await page.getByRole("main").locator("a.primary").click();
    await page.locator("#name").fill("factory");
    await page.locator("#certificateFile").setInputFiles(path.join(folder, "ca.pem"));
    await page.locator("#certificate-report", { hasText: "CN=Factory" }).waitFor();
    await leave(window, words.save);
    await leave(window, words.makeCode);
    // The commands of the page do what it asks for.
    execFileSync("sh", ["-ec", await page.locator("#proof-command").innerText()], { cwd: folder, stdio: "ignore" });
    await page.locator("#proofFile").setInputFiles(path.join(folder, "ca.pem")); // not that one
    await page.locator("#proof-report", { hasText: "CN=Factory" }).waitFor();
    await leave(window, words.verify);
    await page.locator(".notice-error").waitFor();
    await page.locator("#proofFile").setInputFiles(path.join(folder, "verify.pem"));
    await page.locator("#proof-report", { hasText: await page.locator("#verification-code").innerText() }).waitFor();
    await leave(window, words.verify);
    await page.locator("main .state-assigned").waitFor();
    assert.equal(server.json("authority", "show", "factory").isVerified, true);
    await window.open("groups/new");
    await page.locator("#groupId").fill("made-here");
    await page.locator("#authority").selectOption("factory");
    await page.locator("#allocation").selectOption("geoLatency");
    await leave(window, words.save);
    const group = server.json("group", "show", "made-here");
    assert.equal(group.attestation.x509.caReferences.primary, "factory");
    assert.equal(group.allocationPolicy, "geoLatency");

    // A fault is injected once, and the attempt says so.
    await window.open("misbehaviours");
    await page.locator("#registrationId").fill("wanderer");
    await page.locator("#kind").selectOption("wrongHub");
    await leave(window, words.inject);
    await page.locator(".notice-error", { hasText: "400004" }).waitFor(); // which one?
    await page.locator("#hubHost").fill("wrong.example");
    await leave(window, words.inject);
    await page.locator("tr", { hasText: "wrong.example" }).waitFor();
    await leave(window, words.end);
    assert.deepEqual(server.json("inject", "list"), []);

    // A refused attempt is saved, and reaches the same verdict without a server.
    const environment = { PROVISIONING_HOST: `localhost:${server.info.ports.mqtt}`, PROVISIONING_IDSCOPE: server.info.idScope, X509_CERT_FILE: certificate, X509_KEY_FILE: path.join(folder, "checked.key.pem"), DPS_X509_REGISTRATION_ID: "stranger" };
    await assert.rejects(server.run(process.env.BERTH_BINARY, ["device", "simulate", "--data", server.data], environment));
    const [attempt] = server.json("attempts", "--refused");
    await window.open(`attempts/${attempt.sequence}`);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: words.saveAttempt, exact: true }).click()]);
    const saved = path.join(folder, "attempt.json");
    await download.saveAs(saved);
    const again = JSON.parse(execFileSync(process.env.BERTH_BINARY, ["explain", saved, "-o", "json"], { encoding: "utf8" }));
    assert.equal(again.sameVerdict, true);
    assert.equal(again.again.admitted, false);

    // All of that is in the audit, by whom it was done.
    await page.getByRole("link", { name: words.audit, exact: true }).click();
    await page.locator("tr", { hasText: "127.0.0.2" }).first().waitFor();
    assert.ok(await page.locator("tr", { hasText: "portal operator" }).count() >= 3);
    assert.ok(await page.locator("tr", { hasText: "policy provisioningserviceowner" }).count() >= 1);
    await page.locator("#kind").selectOption("enrollment");
    const filtered = page.waitForEvent("load");
    await page.locator("#kind").press("Enter");
    await page.locator("form[role=search] button").click({ force: true }).catch(() => {});
    await filtered;
    assert.equal(await page.locator("tbody tr").count(), await page.locator("tr", { hasText: "policy provisioningserviceowner" }).count());
    await window.close();
  });
}
