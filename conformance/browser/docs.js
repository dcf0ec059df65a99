// The pictures of docs/quickstart.md and docs/demarrage-rapide.md, taken from a
// server that is filled as these documents say: node docs.js FOLDER
// BERTH_BINARY names the binary. The server is a new one, on free ports and a
// temporary folder. French controls need Debian's chromium-l10n.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { startServer, words } = require("./browser.js");

const device = "Python-device-01";
const margin = 12; // pixels below what a picture is of

// open starts a browser in a language and logs it in. The window is so high that
// no page is scrolled, and the clock shows the same hours everywhere.
async function open(server, language) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [`--lang=${language}`, ...(process.getuid() === 0 ? ["--no-sandbox"] : [])],
    env: { ...process.env, LANGUAGE: language },
  });
  const page = await browser.newPage({
    locale: words[language].locale, timezoneId: "UTC", colorScheme: "light", reducedMotion: "reduce", viewport: { width: 1280, height: 2000 },
  });
  await page.goto(server.link());
  return { browser, page };
}

// take makes a picture of the page from its top to the end of what is named, and
// of the menu.
async function take(page, file, last) {
  const ends = [page.locator(last).last(), page.locator("nav.menu a").last()].map(async (element) => {
    const { y, height } = await element.boundingBox();
    return y + height;
  });
  const height = Math.ceil(Math.max(...await Promise.all(ends))) + margin;
  await page.screenshot({ path: file, clip: { x: 0, y: 0, width: 1280, height } });
}

// certificate makes the device's certificate, as the quickstart does.
function certificate(server, folder) {
  server.berth("cert", "device", device, "--pass-phrase", "1234", "--out", folder);
  return { cert: path.join(folder, `${device}.pem`), key: path.join(folder, `${device}.key.pem`) };
}

function simulate(server, { cert, key }) {
  server.berth("device", "simulate", "--cert", cert, "--key", key, "--pass-phrase", "1234");
}

// before takes what there is to see before the device is enrolled.
async function before(server, language, folder, { cert }) {
  const { browser, page } = await open(server, language);
  const picture = (name) => path.join(folder, `${language}-${name}.png`);
  await page.goto(server.url());
  // What a reader sees is the default folder and ports; this server has others.
  await page.locator("#ca-file").evaluate((code) => { code.textContent = "/home/me/.local/share/berth/pki/ca.pem"; });
  await page.locator("dl.facts dd").last().evaluate((ports) => { ports.textContent = "MQTT 8883 · HTTPS 443"; });
  await take(page, picture("overview"), "section[aria-labelledby=essentials]");

  await page.goto(server.url("enrollments/new"));
  await page.getByLabel(words[language].primaryFile, { exact: true }).setInputFiles(cert);
  await page.locator("#primary-report").getByText(`CN=${device}`).first().waitFor();
  await take(page, picture("enrollment"), "#primary-report");
  await browser.close();
}

// afterwards takes what there is to see when the device has been assigned, has
// sent, and was refused with another certificate.
async function afterwards(server, language, folder) {
  const { browser, page } = await open(server, language);
  const picture = (name) => path.join(folder, `${language}-${name}.png`);
  await page.goto(server.url("hubs/berth/devices"));
  await take(page, picture("devices"), "nav.pager");

  await page.goto(server.url(`hubs/berth/device/${device}`));
  await page.locator(".message").nth(9).waitFor();
  await take(page, picture("device"), "#telemetry");

  const [refused] = server.json("attempts", "--refused", "--max", "1");
  await page.goto(server.url(`attempts/${refused.sequence}`));
  await take(page, picture("attempt"), "main > *");
  await browser.close();
}

async function main(folder) {
  fs.mkdirSync(folder, { recursive: true });
  const files = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
  const data = path.join(files, "data");
  const server = await startServer(data);
  try {
    const enrolled = certificate(server, files);
    for (const language of ["en", "fr"]) await before(server, language, folder, enrolled);

    server.berth("enrollment", "create", device, "--x509", enrolled.cert);
    simulate(server, enrolled);
    const other = path.join(files, "other");
    const another = certificate(server, other);
    try {
      simulate(server, another);
      throw new Error("a certificate that is not enrolled was taken");
    } catch (error) {
      if (error.status !== 1) throw error; // 1 is the refusal that the picture shows
    }
    for (const language of ["en", "fr"]) await afterwards(server, language, folder);
  } finally {
    await server.stop();
    fs.rmSync(files, { recursive: true });
  }
}

main(process.argv[2] ?? "images").then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
