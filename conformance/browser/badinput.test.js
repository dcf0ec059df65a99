// What people do wrong, and what happens to them: nothing is lost, and the page
// says what to do.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { execFileSync } = require("node:child_process");
const { given, leave, pages, startServer, visit } = require("./browser.js");

const python = path.resolve(__dirname, "../.venv/bin/python");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" });
const certificate = (name, subject = `/CN=${name}`) => {
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "90", "-subj", subject);
  return path.join(folder, `${name}.pem`);
};
const write = (name, content) => {
  fs.writeFileSync(path.join(folder, name), content);
  return path.join(folder, name);
};
const enrolled = (id) => given.json("enrollment", "list").some((enrollment) => enrollment.registrationId === id);
// stored reports whether these bytes are in a file of the data folder.
const stored = (bytes) => fs.readdirSync(given.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  .some((entry) => fs.readFileSync(path.join(entry.parentPath ?? entry.path, entry.name)).includes(bytes));
const save = (window) => leave(window, window.words.save);

// answerTo saves, and returns what the server answered.
async function answerTo(window) {
  const [answer] = await Promise.all([window.page.waitForResponse((response) => response.request().method() === "POST" && response.request().isNavigationRequest()), save(window)]);
  return answer;
}

test("a certificate that is none is refused where it was chosen", async () => {
  const window = await visit();
  for (const [file, says] of [
    [write("text.pem", "hello\n"), /neither PEM/],
    [write("random.cer", Buffer.from([1, 2, 3, 255, 254, 0, 7])), /can't be read/],
    [write("torn.pem", fs.readFileSync(certificate("torn"), "utf8").slice(0, 200)), /no whole certificate/],
    [write("request.pem", openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "request.key", "-subj", "/CN=request")), /signing request/],
    [write("empty.pem", ""), null],
  ]) {
    await window.open("enrollments/new");
    await window.page.getByLabel(window.words.primaryFile, { exact: true }).setInputFiles(file);
    if (says) await window.page.locator("#primary-error", { hasText: says }).waitFor();
    await window.page.locator("#registrationId").fill("none");
    await save(window);
    await window.page.locator("#primary-error").waitFor();
    assert.equal(await window.page.locator("#primary").getAttribute("aria-invalid"), "true", file);
    assert.equal(await window.page.locator("#registrationId").inputValue(), "none");
    assert.equal(enrolled("none"), false);
  }
  await window.close();
});

test("a private key is refused, does not stay on the page, and is kept nowhere", async () => {
  certificate("secret");
  const key = fs.readFileSync(path.join(folder, "secret.key"), "utf8");
  const body = key.split("\n")[1];
  openssl("pkcs8", "-topk8", "-nocrypt", "-in", "secret.key", "-outform", "DER", "-out", "secret.der");
  const both = write("both.pem", fs.readFileSync(path.join(folder, "secret.pem"), "utf8") + key);
  for (const javaScriptEnabled of [true, false]) {
    const window = await visit({ javaScriptEnabled });
    for (const file of [path.join(folder, "secret.key"), path.join(folder, "secret.der"), both]) {
      await window.open("enrollments/new");
      await window.page.locator("#primaryFile").setInputFiles(file);
      if (!javaScriptEnabled) await save(window);
      await window.page.locator("#primary-error", { hasText: "private key" }).waitFor();
      await window.page.locator("#primary:placeholder-shown").waitFor({ state: "attached" }); // it is empty
      assert.ok(!(await window.page.content()).includes(body));
    }
    if (javaScriptEnabled) {
      await window.open("enrollments/new");
      await window.page.locator("summary", { hasText: "Certificate as text" }).first().click();
      await window.page.locator("#primary").fill(key);
      await window.page.locator("#primary-error", { hasText: "private key" }).waitFor();
      await window.page.locator("#primary:placeholder-shown").waitFor({ state: "attached" });
    }
    await window.close();
  }
  // The search finds what is kept of the certificate, and so would find the key.
  const window = await visit();
  await window.open("enrollments/new");
  await window.page.locator("#primaryFile").setInputFiles(path.join(folder, "secret.pem"));
  await window.page.locator("#primary-report", { hasText: "CN=secret" }).waitFor();
  await save(window);
  await window.page.getByRole("link", { name: "secret", exact: true }).waitFor();
  await window.close();
  assert.ok(stored(openssl("x509", "-in", "secret.pem", "-noout", "-fingerprint", "-sha256").trim().split("=")[1].replaceAll(":", "")), "the thumbprint");
  assert.ok(!stored(body), "the key as text");
  assert.ok(!stored(fs.readFileSync(path.join(folder, "secret.der")).subarray(36, 68)), "the key's number"); // where PKCS #8 has it
  given.berth("enrollment", "delete", "secret");
});

test("of a bundle the first certificate is taken, and the page says so", async () => {
  const window = await visit();
  const bundle = write("bundle.pem", fs.readFileSync(certificate("bundle-1"), "utf8") + fs.readFileSync(certificate("bundle-2"), "utf8"));
  await window.open("enrollments/new");
  await window.page.getByLabel(window.words.primaryFile, { exact: true }).setInputFiles(bundle);
  await window.page.locator("#primary-report .warning", { hasText: "several certificates" }).waitFor();
  await save(window);
  await window.page.getByRole("link", { name: "bundle-1", exact: true }).waitFor();
  const [primary] = given.json("enrollment", "list", "--prefix", "bundle-1").map((enrollment) => enrollment.attestation.x509.clientCertificates.primary.info);
  assert.equal(primary.subjectName, "CN=bundle-1");
  given.berth("enrollment", "delete", "bundle-1");
  await window.close();
});

test("a file of 5 MB is refused at once, and without a script too", async () => {
  const big = write("big.pem", "x".repeat(5 << 20));
  for (const javaScriptEnabled of [true, false]) {
    const window = await visit({ javaScriptEnabled });
    await window.open("enrollments/new");
    await window.page.locator("#registrationId").fill("big");
    await window.page.locator("#primaryFile").setInputFiles(big);
    if (!javaScriptEnabled) await save(window);
    await window.page.locator("#primary-error", { hasText: /too large|larger than/ }).waitFor();
    assert.equal(await window.page.locator("#registrationId").inputValue(), "big");
    await window.close();
  }
  assert.equal(enrolled("big"), false);
});

test("names with markup are shown as they are", async () => {
  const window = await visit();
  const markup = "<img src=x onerror=alert(1)>";
  await window.open("enrollments/new");
  await window.page.getByLabel(window.words.primaryFile, { exact: true }).setInputFiles(certificate("markup", `/O=${markup}/CN=${markup}`));
  await window.page.locator("#primary-report", { hasText: "img src=x onerror=alert(1)" }).waitFor();
  await window.page.locator("#primary-report .warning", { hasText: "common name" }).waitFor();
  await window.page.locator("#registrationId").fill(markup);
  await save(window);
  await window.page.locator("#registrationId-error", { hasText: "character" }).waitFor();
  assert.equal(await window.page.locator("#registrationId").inputValue(), markup);
  for (const where of ["enrollments", "registrations", "attempts?x=1", "hubs/berth/devices"]) {
    await window.open(`${where}${where.includes("?") ? "&" : "?"}prefix=${encodeURIComponent(markup)}&id=${encodeURIComponent(markup)}`);
    assert.equal(await window.page.locator("img").count(), 0, where);
  }
  // A device's certificate, which it chose itself, in the trace of its attempt.
  given.enroll("markup-device");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", `/CN=${markup}`], { cwd: folder, stdio: "ignore" });
  assert.throws(() => execFileSync(process.env.BERTH_BINARY, ["device", "simulate", "--data", given.data], {
    stdio: "ignore", env: { ...process.env, PROVISIONING_IDSCOPE: given.info.idScope, DPS_X509_REGISTRATION_ID: "markup-device", X509_CERT_FILE: path.join(folder, "stranger.pem"), X509_KEY_FILE: path.join(folder, "stranger.key") },
  }));
  await window.open("attempts?id=markup-device");
  await window.page.locator("#attempts tbody a").first().click();
  await window.page.locator("#trace .failed", { hasText: "img src=x" }).waitFor();
  assert.equal(await window.page.locator("img").count(), 0);
  await window.page.getByRole("link", { name: "Open the enrollment" }).click();
  await window.page.getByRole("heading", { level: 1, name: "Enrollment markup-device" }).waitFor();
  given.berth("enrollment", "delete", "markup-device");
  await window.close();
});

test("what a device says is shown as it is", async () => {
  const id = "markup-says", markup = "<img src=x onerror=alert(1)>";
  given.berth("device", "create", id);
  given.berth("device", "twin", id, "--tags", JSON.stringify({ place: markup }), "--desired", JSON.stringify({ wish: `</textarea>${markup}` }));
  const key = given.json("device", "show", id, "--keys").authentication.symmetricKey.primaryKey;
  const window = await visit();
  await window.open(`hubs/berth/device/${id}`);
  await window.page.locator("[data-no-messages]").waitFor();
  await given.run(python, [path.join(__dirname, "markup_device.py"), `HostName=${given.info.hubs[0].host};DeviceId=${id};SharedAccessKey=${key}`]);
  for (const arrival of ["while the page is open", "with the page"]) {
    const message = window.page.locator(".message");
    await message.waitFor();
    assert.equal(await message.locator("pre").innerText(), `${markup}</pre><script>alert(2)</script>`, arrival);
    assert.equal(await message.locator(".property").innerText(), `<b>property</b>=${markup}`, arrival);
    assert.equal(await window.page.locator("main img, main script, main b").count(), 0, arrival);
    await window.page.reload();
  }
  await window.open(`hubs/berth/device/${id}/twin`);
  assert.equal(JSON.parse(await window.page.locator("#reported").innerText()).said, markup);
  assert.equal(JSON.parse(await window.page.locator("#tags").inputValue()).place, markup);
  assert.equal(JSON.parse(await window.page.locator("#desired").inputValue()).wish, `</textarea>${markup}`);
  assert.equal(await window.page.locator("main img, main b").count(), 0);
  given.berth("device", "twin", id, "--desired", JSON.stringify({ wish: `${markup}2` }));
  await window.page.locator("#desired").fill(JSON.stringify({ wish: `${markup}3` }));
  await save(window);
  await window.page.locator(".diff-del", { hasText: `${markup}2` }).waitFor();
  await window.page.locator(".diff-ins", { hasText: `${markup}3` }).waitFor();
  assert.equal(await window.page.locator("main img").count(), 0);
  given.berth("device", "delete", id);
  await window.close();
});

// Azure allows all of this in a device id, and a browser takes it for other parts of an address.
for (const [id, bystander] of [["odd?x=1", "odd"], ["odd%41", "oddA"], ["odd#y", "odd"], ["odd+(a)'*!$,:=@", "odd"]]) {
  test(`a device that is called ${id}`, async (t) => {
    for (const device of [id, bystander]) given.berth("device", "create", device);
    t.after(() => { for (const device of [id, bystander]) given.berth("device", "delete", device); });
    const window = await visit();
    const { page, words } = window;
    const main = page.getByRole("main");
    const is = () => page.getByRole("heading", { level: 1, name: id, exact: true }).waitFor({ timeout: 5000 });
    await window.open("hubs/berth/devices");
    await main.getByRole("link", { name: id, exact: true }).click();
    await is();
    await leave(window, "Disable");
    await is();
    const status = (device) => given.json("device", "show", device).status;
    assert.equal(status(id), "disabled");
    assert.equal(status(bystander), "enabled", `nobody meant ${bystander}`);
    await main.getByRole("link", { name: words.twin, exact: true }).click();
    await is();
    await page.locator("#desired").fill("{");
    await page.locator("#desired-error", { hasText: "Line 1" }).waitFor();
    await page.locator("#desired").fill('{"mine": true}');
    await save(window);
    await main.getByRole("status").first().waitFor();
    assert.equal(given.json("device", "twin", id).properties.desired.mine, true);
    assert.equal(given.json("device", "twin", bystander).properties.desired.mine, undefined);
    await window.close();
  });
}

// Each text, where the page points, and what it says.
const notTwins = [
  ["{", "Line 1", /ends before/],
  ['{"tags":{},\n "properties":{"desired":{"a":1,}}}', "Line 2, column 32", /comma is too much/],
  ["{'tags':{}}", "Line 1, column 2", /double quotes/],
  ["[]", "Line 1, column 1", /JSON object/],
  ["null", "Line 1, column 1", /JSON object/],
  ['"text"', "Line 1, column 1", /JSON object/],
  ['{"tags":{}}\n{}', "Line 2, column 1", /follows the end/],
  ['{\n  "tagz": {}\n}', "Line 2, column 3", /not known here/],
  ['{"properties":{\n"desired":7}}', "Line 2, column 1", /JSON object/],
  ['{"properties":{"reported":{}}}', "Line 1, column 16", /not known here/],
  ['{"tags":{"a" 1}}', "Line 1, column 14", /not expected|colon|comma/],
];

test("an initial twin of every wrong shape is pointed at", async () => {
  const window = await visit();
  const file = certificate("twin-shapes");
  for (const [text, where, says] of notTwins) {
    await window.open("enrollments/new");
    await window.page.getByLabel(window.words.primaryFile, { exact: true }).setInputFiles(file);
    await window.page.locator("#primary-report", { hasText: "CN=twin-shapes" }).waitFor();
    await window.page.locator("#initialTwin").fill(text);
    await window.page.locator("#initialTwin-error", { hasText: where }).waitFor();
    await save(window);
    await window.page.locator("#initialTwin-error", { hasText: says }).waitFor();
    assert.equal(await window.page.locator("#initialTwin").inputValue(), text);
    assert.equal(await window.page.locator("#initialTwin").getAttribute("aria-invalid"), "true");
    await window.page.locator("#primary-report", { hasText: "CN=twin-shapes" }).waitFor(); // the certificate is still there
  }
  assert.equal(enrolled("twin-shapes"), false);
  // Over the limits: the hub says which.
  for (const [text, says] of [
    [JSON.stringify({ tags: { a: "x".repeat(3000), b: "x".repeat(3000), c: "x".repeat(3000) } }), /tags/],
    [JSON.stringify({ properties: { desired: { a: "x".repeat(5000) } } }), /desired/],
    [`{"tags":${'{"a":'.repeat(12)}1${"}".repeat(13)}`, /nested deeper/],
  ]) {
    await window.page.locator("#initialTwin").fill(text);
    await save(window);
    await window.page.locator(".field-problem", { hasText: says }).waitFor();
    assert.equal(await window.page.locator("#initialTwin").inputValue(), text);
  }
  assert.equal(enrolled("twin-shapes"), false);
  await window.close();
});

test("a twin of a wrong shape or over its limits is not saved", async () => {
  const window = await visit();
  given.berth("device", "create", "twin-limits");
  await window.open("hubs/berth/device/twin-limits/twin");
  const desired = window.page.locator("#desired");
  for (const [text, says] of [
    ['{"a":1,}', /comma is too much/], ["[1]", /JSON object/], ['{"a":', /ends before/],
    [JSON.stringify({ a: "x".repeat(5000) }), /4096|4 KiB|bytes/], [JSON.stringify({ "a.b": 1 }), /a\.b/], ['{"n":99999999999999999999}', /n/],
  ]) {
    await desired.fill(text);
    await save(window);
    await window.page.locator(".field-problem, .notice-error", { hasText: says }).first().waitFor();
    assert.equal(await desired.inputValue(), text);
  }
  assert.equal(given.json("device", "twin", "twin-limits").properties.desired.$version, 1);
  given.berth("device", "delete", "twin-limits");
  await window.close();
});

test("two browsers that edit the same enrollment", async () => {
  given.enroll("two-browsers");
  const [one, two] = [await visit(), await visit()];
  for (const window of [one, two]) await window.open("enrollment/two-browsers");
  await one.page.locator("#deviceId").fill("from-one");
  await save(one);
  await one.page.getByRole("status").first().waitFor();
  await two.page.locator("#deviceId").fill("from-two");
  assert.equal((await answerTo(two)).status(), 412);
  await two.page.locator(".notice-error .notice-code", { hasText: "412001" }).waitFor();
  await two.page.locator(".diff-del", { hasText: "from-one" }).waitFor();
  await two.page.locator(".diff-ins", { hasText: "from-two" }).waitFor();
  assert.equal(await two.page.locator("#deviceId").inputValue(), "from-two");
  assert.equal(given.json("enrollment", "show", "two-browsers").deviceId, "from-one");
  await save(two); // now it is meant
  await two.page.getByRole("status").first().waitFor();
  assert.equal(given.json("enrollment", "show", "two-browsers").deviceId, "from-two");
  // One deletes what the other edits.
  await two.open("enrollment/two-browsers");
  given.berth("enrollment", "delete", "two-browsers");
  await two.page.locator("#deviceId").fill("kept");
  await save(two);
  await two.page.locator(".notice", { hasText: "deleted meanwhile" }).waitFor();
  assert.equal(await two.page.locator("#deviceId").inputValue(), "kept");
  await one.close();
  await two.close();
});

test("two browsers that edit the same twin", async () => {
  given.berth("device", "create", "two-twins");
  const [one, two] = [await visit(), await visit()];
  for (const window of [one, two]) await window.open("hubs/berth/device/two-twins/twin");
  await one.page.locator("#desired").fill('{"by": "one"}');
  await save(one);
  await one.page.getByRole("main").getByRole("status").first().waitFor();
  await two.page.locator("#desired").fill('{"by": "two"}');
  assert.equal((await answerTo(two)).status(), 412);
  await two.page.locator(".diff-del", { hasText: '"by": "one"' }).waitFor();
  await two.page.locator(".diff-ins", { hasText: '"by": "two"' }).waitFor();
  assert.deepEqual(JSON.parse(await two.page.locator("#desired").inputValue()), { by: "two" });
  assert.equal(given.json("device", "twin", "two-twins").properties.desired.by, "one");
  await save(two);
  await two.page.getByRole("main").getByRole("status").first().waitFor();
  assert.equal(given.json("device", "twin", "two-twins").properties.desired.by, "two");
  given.berth("device", "delete", "two-twins");
  await one.close();
  await two.close();
});

for (const javaScriptEnabled of [true, false]) {
  test(`a session that ends while somebody types, ${javaScriptEnabled ? "with" : "without"} a script`, async () => {
    const window = await visit({ javaScriptEnabled });
    const { page, words } = window;
    const id = `mid-edit-${javaScriptEnabled}`;
    await window.open("enrollments/new");
    await page.locator("#primaryFile").setInputFiles(certificate(id));
    await page.locator("#deviceId").fill("typed-before");
    if (javaScriptEnabled) await page.locator("#primary-report", { hasText: `CN=${id}` }).waitFor();
    const other = await window.context.newPage();
    await other.goto(given.url());
    await other.getByRole("button", { name: words.logOut }).click();
    await other.getByLabel("The link, or the code at its end").waitFor();
    await save(window);
    await page.locator(".notice", { hasText: "What you typed is kept" }).waitFor();
    assert.equal(enrolled(id), false);
    await page.locator("#code").fill("wrong");
    await page.getByRole("main").getByRole("button", { name: words.logIn }).click();
    await page.locator(".notice-error").waitFor();
    await page.locator("#code").fill(given.link());
    await page.getByRole("main").getByRole("button", { name: words.logIn }).click();
    await page.locator(".notice", { hasText: "nothing is lost" }).waitFor();
    assert.equal(await page.locator("#deviceId").inputValue(), "typed-before");
    assert.equal(enrolled(id), false);
    await save(window);
    await page.getByRole("link", { name: id, exact: true }).waitFor();
    given.berth("enrollment", "delete", id);
    await window.close();
  });
}

test("a session that ends while somebody edits a twin", async () => {
  given.berth("device", "create", "mid-edit-twin");
  const window = await visit({ expected: /json\?which=desired/ }); // while somebody types, what is typed is looked at
  const { page, words } = window;
  await window.open("hubs/berth/device/mid-edit-twin/twin");
  await page.locator("#desired").fill('{"typed": "before"}');
  const other = await window.context.newPage();
  await other.goto(given.url());
  await other.getByRole("button", { name: words.logOut }).click();
  await other.getByLabel("The link, or the code at its end").waitFor();
  await save(window);
  await page.locator(".notice", { hasText: "What you typed is kept" }).waitFor();
  await page.locator("#code").fill(given.link());
  await page.getByRole("main").getByRole("button", { name: words.logIn }).click();
  await page.locator(".notice", { hasText: "nothing is lost" }).waitFor();
  assert.deepEqual(JSON.parse(await page.locator("#desired").inputValue()), { typed: "before" });
  assert.equal(given.json("device", "twin", "mid-edit-twin").properties.desired.typed, undefined);
  await save(window);
  await page.getByRole("main").getByRole("status").first().waitFor();
  assert.equal(given.json("device", "twin", "mid-edit-twin").properties.desired.typed, "before");
  given.berth("device", "delete", "mid-edit-twin");
  await window.close();
});

test("a tampered cookie or token does nothing", async () => {
  given.enroll("tampered");
  const window = await visit();
  await window.open("enrollment/tampered");
  await window.page.locator("#deviceId").fill("changed");
  await window.page.locator("form[data-guard] input[name=csrf]").evaluate((input) => { input.value = `${input.value.slice(1)}A`; });
  await save(window);
  await window.page.locator(".notice-warning", { hasText: "not genuine" }).waitFor();
  assert.equal(await window.page.locator("#deviceId").inputValue(), "changed");
  assert.equal(given.json("enrollment", "show", "tampered").deviceId ?? "", "");
  const cookies = await window.context.cookies();
  for (const cookie of cookies.filter((cookie) => cookie.name.startsWith("berth-session"))) {
    await window.context.addCookies([{ ...cookie, value: `${cookie.value.slice(0, -2)}xx` }]);
  }
  assert.equal((await window.open("enrollments")).status(), 401);
  assert.ok(!(await window.page.content()).includes("tampered"));
  given.berth("enrollment", "delete", "tampered");
  await window.close();
});

test("a page that is open while the server restarts goes on by itself", async () => {
  const first = await startServer();
  const port = new URL(first.info.portalUrl).port;
  const window = await visit({ server: first, expected: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/ });
  await window.open("enrollments");
  await window.page.locator("#live .empty").waitFor();
  const form = await window.context.newPage();
  await form.goto(first.url("enrollments/new"));
  await form.locator("#primaryFile").setInputFiles(certificate("restarted"));
  await form.locator("#primary-report", { hasText: "CN=restarted" }).waitFor();
  await first.stop();
  await window.page.locator("#connection:visible").waitFor();
  const second = await startServer(first.data, port);
  await form.getByRole("main").getByRole("button", { name: "Save", exact: true }).click();
  await form.getByRole("link", { name: "restarted", exact: true }).waitFor(); // the session is still good
  await window.page.getByRole("link", { name: "restarted", exact: true }).waitFor();
  await window.page.locator("#connection").waitFor({ state: "hidden" });
  await window.close();
  await second.stop();
});

test("addresses of nothing", async () => {
  const window = await visit();
  for (const where of ["nothing", "enrollment/nobody", "attempts/99999999", "attempts/x", "hubs/none", "hubs/berth/device/nobody", "hubs/berth/device/nobody/twin", "enrollment/%3Cb%3E"]) {
    const response = await window.open(where);
    assert.ok([400, 404].includes(response.status()), `${where}: ${response.status()}`);
    await window.page.locator(".notice-tracking").waitFor();
  }
  assert.ok(Object.keys(pages("x", 0, "x")).length > 20);
  await window.close();
});
