// What operators do with many devices at once: a job that changes their twins, and a
// configuration that keeps them changed; in each language.
"use strict";

const test = require("node:test");
const assert = require("node:assert/strict");
const { leave, startServer, violations, visit } = require("./browser.js");

const texts = {
  en: { create: "Create", jobs: "Jobs", createJob: "Create a job", two: "2 devices match now", both: "2 match now", completed: "completed", cancelJob: "Cancel the job", cancelled: "cancelled", configurations: "Configurations", add: "Add a configuration", save: "Save", change: "Change", delete: "Delete" },
  fr: { create: "Créer", jobs: "Travaux", createJob: "Créer un travail", two: "2 appareils correspondent maintenant", both: "2 correspondent maintenant", completed: "terminé", cancelJob: "Annuler le travail", cancelled: "annulé", configurations: "Configurations", add: "Ajouter une configuration", save: "Enregistrer", change: "Modifier", delete: "Supprimer" },
};

for (const [language, words] of Object.entries(texts)) {
  test(`jobs and configurations, in ${language}`, async () => {
    const server = await startServer();
    for (const [id, site] of [["press-1", "Lyon"], ["press-2", "Lyon"], ["saw-1", "Lille"]]) {
      server.berth("device", "create", id);
      server.berth("device", "twin", id, "--tags", JSON.stringify({ site }));
    }
    const window = await visit({ language, server, bypassCSP: true });
    const { page } = window;
    const main = page.getByRole("main");
    const menu = page.getByRole("navigation").first();
    const axe = async () => assert.deepEqual(await violations(page), []);

    // What a condition matches is counted while it is typed, and so is what is wrong with it.
    await menu.getByRole("link", { name: words.jobs, exact: true }).click();
    await axe();
    await main.getByRole("link", { name: words.createJob, exact: true }).click();
    await page.locator("#condition").fill("tags.site =");
    await page.locator("#condition-count .field-problem").waitFor();
    await axe();
    await page.locator("#condition").fill("tags.site = 'Lyon'");
    await page.locator("#condition-count", { hasText: words.two }).waitFor();
    await page.locator("#twin").fill('{"properties": {"desired": {"speed": 3}}}');
    await leave(window, words.create);
    // The page follows the job to its end.
    await page.locator("#progress-heading ~ p", { hasText: words.completed }).waitFor();
    assert.equal(await page.locator("#job-succeeded").innerText(), "2");
    await axe();
    assert.equal(server.json("device", "twin", "press-2").properties.desired.speed, 3);
    assert.equal(server.json("device", "twin", "saw-1").properties.desired.speed, undefined);

    // One that has not begun is cancelled once that is confirmed.
    await window.open("hubs/berth/jobs/new");
    await page.locator("#start").fill("60");
    await page.locator("#jobId").fill("later");
    await leave(window, words.create);
    await leave(window, words.cancelJob);
    await page.locator(".named", { hasText: "later" }).waitFor();
    await leave(window, words.cancelJob);
    await page.locator("#progress-heading ~ p", { hasText: words.cancelled }).waitFor();

    // A configuration names what it would target before it is saved.
    await menu.getByRole("link", { name: words.configurations, exact: true }).click();
    await axe();
    await main.getByRole("link", { name: words.add, exact: true }).click();
    await page.locator("#configurationId").fill("fast");
    await page.locator("#content").fill('{"deviceContent": {"properties.desired.interval": 7}}');
    await page.locator("#condition").fill("tags.site = 'Lyon'");
    await page.locator("#condition-count", { hasText: words.both }).waitFor();
    await page.locator("#condition-count").getByRole("link", { name: "press-1", exact: true }).waitFor();
    await axe();
    await leave(window, words.save);
    await page.locator("#applied", { hasText: "2" }).waitFor();
    await axe();
    assert.equal(server.json("device", "twin", "press-1").properties.desired.interval, 7);
    await main.getByRole("link", { name: words.change, exact: true }).click();
    await page.locator("#priority").fill("99");
    await axe();
    await leave(window, words.save);
    await page.locator("dd", { hasText: "99" }).waitFor();
    await leave(window, words.delete);
    await page.locator(".named", { hasText: "fast" }).waitFor();
    await leave(window, words.delete);
    await page.locator("#live .empty").waitFor();
    await window.close();
  });
}
