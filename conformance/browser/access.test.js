// Every page can be read and worked by everybody: axe-core on every page in both
// languages and both themes, the keyboard, narrow windows, paper, and no script.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { given, leave, pages, startServer, violations, visit } = require("./browser.js");

const device = "access-device";
let addresses, fresh; // fresh is a server on which nothing has happened

test.before(async () => {
  const folder = given.enroll(device);
  const environment = { PROVISIONING_IDSCOPE: given.info.idScope, DPS_X509_REGISTRATION_ID: device, X509_CERT_FILE: path.join(folder, `${device}.pem`), X509_KEY_FILE: path.join(folder, `${device}.key.pem`) };
  await given.run(process.env.BERTH_BINARY, ["device", "simulate", "--data", given.data], environment);
  // One that is refused, so that there is a trace with a failure.
  await assert.rejects(given.run(process.env.BERTH_BINARY, ["device", "simulate", "--data", given.data], { ...environment, DPS_X509_REGISTRATION_ID: "access-stranger" }));
  const [refused] = given.json("attempts", "access-stranger");
  for (let i = 0; i < 60; i++) given.berth("device", "create", `access-row-${i}`);
  const ca = path.join(folder, "ca.pem");
  await given.run("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path.join(folder, "ca.key"), "-out", ca, "-subj", "/CN=access", "-addext", "keyUsage=critical,keyCertSign"]);
  given.berth("authority", "create", "access-ca", "--file", ca);
  fresh = await startServer();
  addresses = pages(device, refused.sequence, "localhost/provisioningserviceowner", undefined, "access-ca");
});

// empty are the pages of a server on which nothing has happened yet.
const empty = ["", "quickstart", "enrollments", "registrations", "attempts", "hubs", "hubs/berth", "hubs/berth/devices", "hubs/berth/jobs", "hubs/berth/configurations"];

test.after(() => {
  given.berth("enrollment", "delete", device);
  given.berth("authority", "delete", "access-ca");
  for (const { deviceId } of given.json("device", "list", "--prefix", "access-", "--max", "100")) given.berth("device", "delete", deviceId);
  given.berth("registration", "delete", device);
});

// states are pages that come of doing something.
const states = {
  "login": async ({ page, context, server }) => { await context.clearCookies({ name: /session/ }); await page.goto(server.url()); },
  "session over, with what was typed": async (window) => {
    await window.page.goto(given.link());
    await window.page.goto(given.url("enrollments/new"));
    await window.page.locator("#deviceId").fill("typed");
    await window.context.clearCookies({ name: /session/ });
    await leave(window, window.words.save);
    await window.page.locator("input[type=hidden][value=typed]").waitFor({ state: "attached" });
    await window.page.locator("#code").fill(given.link());
    await leave(window, window.words.logIn);
    await window.page.locator("#deviceId").waitFor();
  },
  "form with errors": async ({ page, words }) => {
    await page.goto(given.url("enrollments/new"));
    await page.locator("#initialTwin").fill('{"tags": 1,}');
    await page.locator("#deviceId").fill("a b");
    await leave({ page }, words.save);
    await page.locator("#primary-error").waitFor();
  },
  "certificate shown": async ({ page }) => {
    const folder = fs.mkdtempSync("/tmp/berth-");
    require("node:child_process").execFileSync(process.env.BERTH_BINARY, ["cert", "device", "shown", "--key-type", "ec256"], { cwd: folder, stdio: "ignore" });
    await page.goto(given.url("enrollments/new"));
    await page.locator("#primaryFile").setInputFiles(path.join(folder, "shown.pem"));
    await page.locator("#primary-report dl").waitFor();
  },
  "confirmation": async ({ page, words }) => {
    await page.goto(given.url("enrollments"));
    await page.locator(`input[value="${device}"]`).check();
    await page.getByRole("main").getByRole("button", { name: words.delete, exact: true }).click();
    await page.locator(".named").waitFor();
  },
  "conflict": async ({ page, words }) => {
    await page.goto(given.url(`hubs/berth/device/${device}/twin`));
    given.berth("device", "twin", device, "--desired", `{"changed":${Date.now()}}`);
    await page.locator("#desired").fill('{"typed": true}');
    await leave({ page }, words.save);
    await page.locator(".diff").first().waitFor();
  },
};

for (const language of ["en", "fr"]) {
  for (const theme of ["light", "dark"]) {
    test(`axe-core finds nothing, ${language}, ${theme}`, async () => {
      const window = await visit({ language, theme, bypassCSP: true });
      for (const [name, address] of Object.entries(addresses)) {
        await window.open(address);
        assert.equal(await window.page.locator("html").getAttribute("lang"), language);
        assert.equal(await window.page.locator("h1").count(), 1, name);
        assert.deepEqual(await violations(window.page), [], name);
      }
      for (const [name, reach] of Object.entries(states).reverse()) {
        await reach(window);
        assert.deepEqual(await violations(window.page), [], name);
      }
      await window.close();
      const first = await visit({ language, theme, bypassCSP: true, server: fresh });
      for (const address of empty) {
        await first.open(address);
        assert.deepEqual(await violations(first.page), [], `nothing yet: ${address}`);
      }
      await first.close();
    });
  }
}

test("an empty list says what to do next, and how on the command line", async () => {
  const window = await visit({ server: fresh });
  for (const [where, next] of [["enrollments", "berth enrollment create"], ["hubs/berth/devices", "berth device create"], ["registrations", null], ["attempts", null]]) {
    await window.open(where);
    const says = window.page.locator(".empty").first();
    await says.waitFor();
    if (next) assert.ok((await says.innerText()).includes(next), where);
  }
  await window.close();
});

test("no page is wider than a window of 360 pixels, and none of 4K", async () => {
  const fits = async ({ page }, name) => {
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${name} is ${over} pixels too wide`);
  };
  for (const [width, language] of [[360, "en"], [360, "fr"], [3840, "en"]]) {
    const window = await visit({ width, language });
    for (const [name, address] of Object.entries(addresses)) {
      await window.open(address);
      await fits(window, `${name}, ${language}, ${width}`);
    }
    for (const [name, reach] of Object.entries(states).reverse()) {
      await reach(window);
      await fits(window, `${name}, ${language}, ${width}`);
    }
    await window.close();
    const first = await visit({ width, language, server: fresh });
    for (const address of empty) {
      await first.open(address);
      await fits(first, `nothing yet: ${address}, ${language}, ${width}`);
    }
    await first.close();
  }
});

test("all by keyboard", async () => {
  const window = await visit();
  const { page } = window;
  // The first stop leads past the menu.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // On every page each control can be reached, from the top to the bottom, and shows that it has the focus.
  for (const [name, address] of Object.entries(addresses)) {
    await window.open(address);
    await page.evaluate(() => {
      // Pages renew themselves, so the controls are looked up anew at each stop. Of radio buttons one is a stop.
      globalThis.controls = () => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
        .filter((element) => element.checkVisibility() && !element.matches(":disabled, [type=radio]:not(:checked)"));
      document.activeElement.blur();
    });
    const reached = [];
    for (let last = false, i = 0; !last && i < 400; i++) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const element = document.activeElement, style = getComputedStyle(element), all = globalThis.controls();
        return { order: all.indexOf(element), last: element === all.at(-1), html: element.outerHTML.slice(0, 100), body: element === document.body, outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 };
      });
      if (stop.body) continue;
      assert.ok(stop.outlined, `${name}: no visible focus: ${stop.html}`);
      if (stop.order >= 0) reached.push(stop.order);
      last = stop.last;
    }
    const missed = (await page.evaluate(() => globalThis.controls().map((element) => element.outerHTML.slice(0, 100)))).filter((_, order) => !reached.includes(order));
    assert.deepEqual(missed, [], `${name}: cannot be reached`);
    assert.deepEqual(reached, [...reached].sort((a, b) => a - b), `${name}: the order of the stops`);
  }
  // The slash searches, Escape leaves the search, and the row stays ticked while the list renews itself.
  await window.open("hubs/berth/devices");
  await page.keyboard.press("/");
  await page.keyboard.type("access-row-1");
  await page.locator("#live", { hasNotText: "access-row-2" }).waitFor();
  assert.equal(await page.locator("#live td.id").first().innerText(), "access-row-1");
  await page.keyboard.press("Escape");
  assert.notEqual(await page.evaluate(() => document.activeElement.id), "search");
  await page.locator("input[name=id][value=access-row-1]").focus();
  await page.keyboard.press("Space");
  given.berth("device", "create", "access-row-1x");
  await page.getByRole("link", { name: "access-row-1x", exact: true }).waitFor();
  assert.ok(await page.locator("input[name=id][value=access-row-1]").isChecked());
  assert.equal(await page.evaluate(() => document.activeElement.value), "access-row-1");
  await window.close();
});

test("a long list goes on, and back to its beginning", async () => {
  const window = await visit();
  await window.open("hubs/berth/devices?prefix=access-row");
  assert.equal(await window.page.locator("#live tbody tr").count(), 50);
  await window.page.getByRole("link", { name: "Next page" }).click();
  await window.page.getByRole("link", { name: "First page" }).waitFor();
  const rest = await window.page.locator("#live tbody tr").count();
  assert.ok(rest >= 10 && rest < 50, String(rest));
  await window.page.getByRole("link", { name: "First page" }).click();
  await window.page.locator("#live tbody tr").nth(49).waitFor();
  await window.close();
});

test("language and theme are switched, and kept", async () => {
  const window = await visit();
  await window.page.getByLabel("Language").selectOption("fr");
  await window.page.getByRole("heading", { level: 1, name: "Vue d'ensemble" }).waitFor();
  await window.page.getByLabel("Thème").selectOption("dark");
  await window.page.locator("html[data-theme=dark]").waitFor();
  await window.open("enrollments?prefix=access");
  await window.page.getByRole("heading", { level: 1, name: "Gérer les inscriptions" }).waitFor();
  assert.equal(await window.page.locator("html").getAttribute("data-theme"), "dark");
  await window.page.getByLabel("Langue").selectOption("en");
  await window.page.getByRole("heading", { level: 1, name: "Manage enrollments" }).waitFor();
  assert.match(window.page.url(), /prefix=access/);
  await window.close();
});

// moving are the elements that would move, each with what moves it. The answer
// holds what hovering and arriving messages would bring too, where it is there.
const moving = (page) => page.evaluate(() => [...document.querySelectorAll("*")].flatMap((element) => [null, "::before", "::after"].map((part) => {
  const { animationName, transitionDuration } = getComputedStyle(element, part);
  return animationName === "none" && transitionDuration.split(", ").every((duration) => parseFloat(duration) === 0) ? null : `${element.className}${part ?? ""}: ${animationName} ${transitionDuration}`;
})).filter(Boolean));

test("who wants less motion gets none, and paper gets the content alone", async () => {
  const lively = await visit();
  await lively.open("enrollments");
  assert.notDeepEqual(await moving(lively.page), []); // so that there is something to be still
  await lively.close();
  const window = await visit({ reducedMotion: "reduce" });
  for (const [name, address] of Object.entries(addresses)) {
    await window.open(address);
    assert.deepEqual(await moving(window.page), [], name);
  }
  await window.open(`hubs/berth/device/${device}`);
  await window.page.emulateMedia({ media: "print" });
  for (const hidden of [".menu", ".top form", ".toolbar"]) assert.equal(await window.page.locator(hidden).first().isVisible(), false, hidden);
  assert.ok(await window.page.locator("#identity").isVisible());
  await window.close();
});

test("forms work without a script", async () => {
  const window = await visit({ javaScriptEnabled: false });
  const { page, words } = window;
  const main = page.getByRole("main");
  const folder = fs.mkdtempSync("/tmp/berth-");
  require("node:child_process").execFileSync(process.env.BERTH_BINARY, ["cert", "device", "no-script", "--key-type", "ec256"], { cwd: folder, stdio: "ignore" });
  await page.getByRole("link", { name: words.manage }).click();
  await main.getByRole("link", { name: words.add }).click();
  await page.locator("#primaryFile").setInputFiles(path.join(folder, "no-script.pem"));
  await main.getByRole("button", { name: words.save, exact: true }).click();
  await main.locator("input[value=no-script]").check();
  await page.locator("#search").fill("no-scr");
  await page.getByRole("button", { name: "Search" }).click();
  await main.locator("input[value=no-script]").check();
  await main.getByRole("button", { name: words.delete, exact: true }).click();
  await main.locator(".named", { hasText: "no-script" }).waitFor();
  await main.getByRole("button", { name: words.delete, exact: true }).click();
  await main.getByRole("status").waitFor();
  assert.equal(await page.getByRole("link", { name: "no-script", exact: true }).count(), 0);
  await page.goto(given.url("hubs/berth/device/access-row-5/twin"));
  await page.locator("#desired").fill('{"no":"script"}');
  await main.getByRole("button", { name: words.save, exact: true }).click();
  await main.getByRole("status").waitFor();
  assert.equal(given.json("device", "twin", "access-row-5").properties.desired.no, "script");
  await page.getByLabel("Theme").selectOption("dark");
  await page.getByRole("button", { name: "Apply" }).click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await window.close();
});
