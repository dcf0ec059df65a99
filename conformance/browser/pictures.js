// Pictures of every page, to be looked at: node pictures.js FOLDER
// The server is named by BERTH_BINARY and BERTH_DATA, as for the tests.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { given, pages, visit } = require("./browser.js");

async function main(folder) {
  fs.mkdirSync(folder, { recursive: true });
  const [attempt] = given.json("attempts", "--refused", "--max", "1");
  const [registration] = given.json("registration", "list");
  const addresses = pages(registration.deviceId, attempt.sequence, "localhost/provisioningserviceowner");
  for (const width of [360, 1280, 2560]) {
    for (const theme of ["light", "dark"]) {
      for (const language of ["en", "fr"]) {
        const window = await visit({ width, theme, language });
        for (const [name, address] of Object.entries(addresses)) {
          await window.open(address);
          await window.page.waitForLoadState("load");
          await window.page.screenshot({ path: path.join(folder, `${name}-${width}-${theme}-${language}.png`), fullPage: true });
        }
        await window.context.close();
      }
    }
  }
}

main(process.argv[2] ?? "pictures").then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
