// One Chromium for a file of tests, and what its tests share. The server under
// test is named by the environment: BERTH_BINARY, BERTH_DATA and CERTIFICATES.
"use strict";

const { execFile, execFileSync, spawn } = require("node:child_process");
const { after } = require("node:test");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");
const { chromium } = require("playwright-core");

const binary = process.env.BERTH_BINARY;
const defaultTimeout = 20_000; // milliseconds, for what should take one or two seconds

// words are the texts of the portal that the tests look for, as the quickstart
// and Azure's portal have them.
const words = {
  en: {
    locale: "en-GB",
    overview: "Overview", quickstart: "Quickstart", manage: "Manage enrollments", individual: "Individual enrollments",
    add: "Add individual enrollment", primaryFile: "Primary certificate .pem or .cer file", save: "Save", delete: "Delete",
    refresh: "Refresh", devices: "IoT devices", attempts: "Registration attempts", enabled: "enabled", assigned: "assigned",
    connected: "Connected", pause: "Pause", resume: "Resume", filter: "Filter", twin: "Device twin", desired: "Desired properties",
    logOut: "Log out", logIn: "Log in", idScope: "ID scope", endpoint: "Global device endpoint", cancel: "Cancel", done: "Done",
    groups: "Enrollment groups", addGroup: "Add enrollment group", mechanism: "Mechanism", symmetricKey: "Symmetric key",
    addHub: "Add a hub", create: "Create", unlink: "Unlink", check: "Check", look: "Look", inject: "Inject", end: "End", makeCode: "Generate verification code", verify: "Verify", audit: "Audit", saveAttempt: "Save for berth explain", linked: "Linked IoT hubs",
    exchange: "Import and export", import: "Import", export: "Export", back: "Back to the list",
    operational: "Operational certificates", addCredentialPolicy: "Add a credential policy", revoke: "Revoke", networks: "Networks", addNetwork: "Add a network", lockouts: "Lock-outs",
    addPolicy: "Add a shared access policy", change: "Change", regeneratePrimary: "Regenerate the primary key", regenerate: "Regenerate",
    primaryKey: "Primary key (optional)", showKeys: "Show the keys", hide: "Hide", deviceKey: "Show its key",
  },
  fr: {
    locale: "fr-FR",
    overview: "Vue d'ensemble", quickstart: "Démarrage rapide", manage: "Gérer les inscriptions", individual: "Inscriptions individuelles",
    add: "Ajouter une inscription individuelle", primaryFile: "Fichier .pem ou .cer du certificat principal", save: "Enregistrer", delete: "Supprimer",
    refresh: "Actualiser", devices: "Appareils IoT", attempts: "Tentatives d'inscription", enabled: "activé", assigned: "affecté",
    connected: "Connecté", pause: "Pause", resume: "Reprendre", filter: "Filtrer", twin: "Jumeau d'appareil", desired: "Propriétés souhaitées",
    logOut: "Se déconnecter", logIn: "Se connecter", idScope: "Étendue de l'ID", endpoint: "Point de terminaison d'appareil global", cancel: "Annuler", done: "Fait",
    groups: "Groupes d'inscription", addGroup: "Ajouter un groupe d'inscription", mechanism: "Mécanisme", symmetricKey: "Clé symétrique",
    addHub: "Ajouter un hub", create: "Créer", unlink: "Rompre le lien", check: "Vérifier", look: "Regarder", inject: "Provoquer", end: "Terminer", makeCode: "Générer un code de vérification", verify: "Vérifier", audit: "Audit", saveAttempt: "Enregistrer pour berth explain", linked: "Hubs IoT liés",
    exchange: "Importer et exporter", import: "Importer", export: "Exporter", back: "Retour à la liste",
    operational: "Certificats opérationnels", addCredentialPolicy: "Ajouter une stratégie de certificats", revoke: "Révoquer", networks: "Réseaux", addNetwork: "Ajouter un réseau", lockouts: "Blocages",
    addPolicy: "Ajouter une stratégie d'accès partagé", change: "Modifier", regeneratePrimary: "Renouveler la clé principale", regenerate: "Renouveler",
    primaryKey: "Clé principale (facultatif)", showKeys: "Afficher les clés", hide: "Masquer", deviceKey: "Afficher sa clé",
  },
};

// Server is a running berth up: the one of the environment, or one of its own.
class Server {
  constructor(data) { this.data = data; }

  // berth runs a command and returns what it printed, or its JSON.
  berth(...args) {
    return execFileSync(binary, [...args, "--data", this.data], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  json(...args) { return JSON.parse(this.berth(...args, "-o", "json")); }

  get info() { return this.json("info"); }

  link(role = "operator") { return this.json("portal", "link", "--role", role).url; }

  url(page = "") { return new URL(`portal/${page}`, this.info.portalUrl).href; }

  // run starts a program as a person does who follows the quickstart with these
  // values, and resolves with its output when it has ended well.
  async run(program, args, environment) {
    const { stdout } = await promisify(execFile)(program, args, { env: { ...process.env, ...environment }, timeout: 120_000 });
    return stdout;
  }

  // enroll makes a certificate and an enrollment for it on the command line.
  enroll(id) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "berth-"));
    execFileSync(binary, ["cert", "device", id, "--key-type", "ec256"], { cwd: folder, stdio: "ignore" });
    this.berth("enrollment", "create", id, "--x509", path.join(folder, `${id}.pem`));
    return folder;
  }
}

const started = [];
after(() => Promise.all(started.map((server) => server.stop("SIGKILL"))));

// startServer starts another server, on free ports, for tests that stop it or
// need one on which nothing has happened.
async function startServer(data = fs.mkdtempSync(path.join(os.tmpdir(), "berth-")), portal = "0", ...flags) {
  const server = new Server(data);
  const child = spawn(binary, ["up", "--data", data, "--mqtt-port", "0", "--https-port", "0", "--amqp-port", "0", "--portal-port", portal, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  server.stop = (signal = "SIGTERM") => new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode) return resolve();
    child.once("exit", resolve);
    child.kill(signal);
  });
  started.push(server);
  let problems = "";
  child.stderr.on("data", (text) => { problems += text; });
  await new Promise((resolve, reject) => {
    let output = "";
    child.stdout.on("data", (text) => {
      output += text;
      if (/^ready$/m.test(output)) resolve();
    });
    child.once("exit", () => reject(new Error(`berth up ended: ${problems}`)));
  });
  return server;
}

const given = new Server(process.env.BERTH_DATA);

let browser;
async function launch() {
  browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: process.getuid() === 0 ? ["--no-sandbox"] : [] });
  return browser;
}
after(() => browser?.close());

// visit opens a browser window of its own. What its pages complain of is
// collected, but for what is expected (a pattern); close fails on the rest.
async function visit({ server = given, language = "en", theme = "light", width = 1280, role = "operator", loggedIn = true, expected = /(?!)/, ...options } = {}) {
  const context = await (await launch()).newContext({
    locale: words[language].locale, colorScheme: theme, viewport: { width, height: 900 }, permissions: ["clipboard-read", "clipboard-write"], ...options,
  });
  context.setDefaultTimeout(defaultTimeout);
  const complaints = [];
  const complain = (text) => { if (!expected.test(text)) complaints.push(text); };
  context.on("page", (page) => {
    page.on("pageerror", (error) => complain(`script: ${error.message}`));
    page.on("console", (message) => {
      // What does not load is told below, with its address.
      if (["error", "warning"].includes(message.type()) && !/Failed to load resource/.test(message.text())) complain(`${page.url()}: ${message.text()}`);
    });
    // A page may be a refusal, which its test expects by itself; what belongs to a page must be there.
    page.on("response", (response) => {
      const limit = response.request().resourceType() === "document" ? 500 : 400;
      if (response.status() >= limit) complain(`${response.url()}: ${response.status()}`);
    });
    // Requests end unanswered when their page is left.
    page.on("requestfailed", (request) => {
      const reason = request.failure().errorText;
      if (reason !== "net::ERR_ABORTED") complain(`${request.url()}: ${reason}`);
    });
    page.on("dialog", (dialog) => {
      if (dialog.type() === "beforeunload") return dialog.accept();
      complain(`${page.url()} opened a window: ${dialog.message()}`);
      return dialog.dismiss();
    });
  });
  const page = await context.newPage();
  if (loggedIn) await page.goto(server.link(role));
  return {
    context, page, words: words[language], server,
    open: (where) => page.goto(server.url(where)),
    close: async () => {
      await context.close();
      if (complaints.length > 0) throw new Error(`the page complains: ${complaints.join("\n")}`);
    },
  };
}

// leave presses a button of a form and waits for the page that answers it.
async function leave(window, button) {
  const answered = window.page.waitForEvent("load");
  await window.page.getByRole("main").getByRole("button", { name: button, exact: true }).click();
  await answered;
}

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// violations are what axe-core finds wrong with a page, none at best.
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return found.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}

// pages are all pages of a server that has this device, with a name for each.
// What a page needs to be in another state stands in its address. group is one with
// symmetric keys and authority a certificate authority, if there are any.
function pages(device, attempt, policy, group, authority) {
  const id = encodeURIComponent(device);
  const ofGroup = group ? { group: `group/${group}`, "group-keys": `group/${group}?show=keys`, "group-device-key": `group/${group}?registrationId=${id}` } : {};
  return {
    ...(authority ? { certificate: `certificate/${authority}` } : {}),
    overview: "", "overview-secrets": `?show=${policy}`, quickstart: "quickstart?os=linux", "quickstart-windows": "quickstart?os=windows&id=not-yet",
    enrollments: "enrollments", "enrollments-none": "enrollments?prefix=zzz", "enrollment-new": "enrollments/new", enrollment: `enrollment/${id}`,
    "enrollments-exchange": "enrollments/exchange", "groups-exchange": "groups/exchange",
    groups: "groups", "groups-none": "groups?prefix=zzz", "group-new": "groups/new", ...ofGroup,
    registrations: "registrations", "registrations-none": "registrations?status=failed",
    attempts: "attempts", "attempts-none": "attempts?id=zzz", attempt: `attempts/${attempt}`,
    policies: "policies", "policies-secrets": `policies?show=${policy}`, "policy-new": "policies/new", "policy-change": "policy/provisioningserviceowner", networks: "networks", "network-new": "networks/new", lockouts: "lockouts",
    credentials: "credentials", "credentials-none": "credentials?prefix=zzz", "credential-new": "credentials/new", credential: "credential/default",
    hubs: "hubs", "hub-add": "linkhub", "hub-link": "link/127.0.0.1", allocate: "allocate", "allocate-answer": `allocate?id=${id}`, certificates: "certificates", "certificates-none": "certificates?prefix=zzz", "certificate-new": "certificates/new", misbehaviours: "misbehaviours", audit: "audit", "audit-none": "audit?id=zzz", "audit-filtered": "audit?kind=enrollment&by=policy&since=720h", check: "check",
    hub: "hubs/berth", "hub-policies": "hubs/berth/policies",
    devices: "hubs/berth/devices", "devices-none": "hubs/berth/devices?prefix=zzz", "device-new": "hubs/berth/devices/new",
    device: `hubs/berth/device/${id}`, twin: `hubs/berth/device/${id}/twin`, messages: `hubs/berth/device/${id}/messages`, "message-gone": `hubs/berth/device/${id}/messages?sent=1`, method: `hubs/berth/device/${id}/method`, modules: `hubs/berth/device/${id}/modules`, "module-new": `hubs/berth/device/${id}/modules/new`, jobs: "hubs/berth/jobs", "job-new": "hubs/berth/jobs/new", configurations: "hubs/berth/configurations", "configuration-new": "hubs/berth/configurations/new", missing: "nothing/here",
  };
}

module.exports = { Server, given, leave, pages, defaultTimeout, startServer, violations, visit, words };
