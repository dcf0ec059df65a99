// What pages do beyond being read and sent: they copy, take files by drop, keep
// themselves up to date, and answer a few keys. Each part works on its own, and
// the pages do without all of them.
"use strict";

document.documentElement.classList.add("scripted");

const page = document.body.dataset;
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function announce(text) {
  const region = document.getElementById("announce");
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = text; });
}

function warn(text) {
  const notice = document.getElementById("connection");
  notice.textContent = text;
  notice.hidden = !text;
}

// Times are shown in the reader's zone; the server's text stays as the title.
function localTimes(root) {
  const language = document.documentElement.lang;
  const locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" });
  for (const time of all("time[datetime]", root)) {
    if (time.title) continue;
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

// Copying

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).innerText.trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  const label = button.textContent;
  button.textContent = page.copied;
  announce(page.copied);
  setTimeout(() => { button.textContent = label; }, 1500);
});

// Keys: / goes to the search, Escape leaves it.

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  const search = document.getElementById("search");
  if (event.key === "/" && !typing && search && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && typing === search && search) {
    search.blur();
  }
});

// Forms

document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.matches("[data-submit]")) field.form.requestSubmit();
  if (field.matches("[data-select-all]")) {
    for (const box of all("input[name=id]", field.form)) box.checked = field.checked;
  }
  if (field.matches("input[name=id], [data-select-all], [data-select-every]")) selection();
  if (field.matches("[data-file]") && field.files.length > 0) takeFile(field.dataset.file, field.files[0], field);
});

// A button that needs a selection says so by being disabled without one. When all that
// match are selected, the boxes of the rows have nothing to say.
function selection() {
  for (const every of all("[data-select-every]")) {
    for (const box of all("input[name=id], [data-select-all]", every.form)) box.disabled = every.checked;
  }
  for (const button of all("[data-needs-selection]")) {
    button.disabled = all("input[name=id]:checked, [data-select-every]:checked", button.form).length === 0;
  }
}

// Rows of a name and a value: there is always one more to type in.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add-pair]");
  if (!button) return;
  const row = button.previousElementSibling.cloneNode(true);
  for (const field of all("input", row)) field.value = "";
  button.before(row);
  row.querySelector("input").focus();
});

// A form whose answer takes long says so, and is not sent twice meanwhile.
function slow(form, waits) {
  form.querySelector("button.primary").disabled = waits;
  const notice = form.querySelector(".loading");
  notice.textContent = waits ? form.dataset.slow : "";
  notice.classList.toggle("htmx-request", waits);
}
document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-slow]")) slow(event.target, true);
});
addEventListener("pageshow", () => { for (const form of all("[data-slow]")) slow(form, false); });

// What was typed is not left behind by mistake.
const guarded = new Set();
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form && form.matches("[data-guard]")) guarded.add(form);
});
document.addEventListener("submit", (event) => guarded.delete(event.target));
addEventListener("beforeunload", (event) => { if (guarded.size > 0) event.preventDefault(); });

// Certificates: a file that is chosen or dropped goes into the text field, from
// where the server is asked what it says.

const maxFile = 64 * 1024;

async function takeFile(name, file, input) {
  const text = document.getElementById(name);
  const report = document.getElementById(`${name}-report`);
  if (file.size > maxFile) {
    if (input) input.value = "";
    const problem = document.createElement("p");
    problem.className = "field-problem";
    problem.id = `${name}-error`;
    problem.textContent = page.toolarge;
    report.replaceChildren(problem);
    return;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    text.value = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text.value = btoa(String.fromCharCode(...bytes));
  }
  if (input) input.value = ""; // the text is what is sent
  document.querySelector(`[data-chosen="${name}"]`).textContent = file.name;
  guarded.add(text.form);
  text.dispatchEvent(new Event("inspect"));
}

document.addEventListener("dragover", (event) => {
  const zone = event.target.closest("[data-drop]");
  if (!zone || zone.closest("fieldset").disabled) return;
  event.preventDefault();
  zone.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  const zone = event.target.closest("[data-drop]");
  if (zone && !zone.contains(event.relatedTarget)) zone.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  const zone = event.target.closest("[data-drop]");
  if (!zone) return;
  event.preventDefault();
  zone.classList.remove("over");
  if (event.dataTransfer.files.length > 0) takeFile(zone.dataset.drop, event.dataTransfer.files[0]);
});

// A private key that was taken for a certificate does not stay on the page.
document.addEventListener("htmx:afterSwap", () => {
  for (const problem of all("[data-forget]")) document.getElementById(problem.id.replace(/-error$/, "")).value = "";
});

// JSON: the cursor goes to the error when the field is entered from its message.
function pointAtErrors(root) {
  for (const problem of all("[data-offset]", root)) {
    const field = document.getElementById(problem.parentElement.id.replace(/-error$/, ""));
    if (!field) continue;
    field.setAttribute("aria-invalid", "true");
    if (document.activeElement === field) continue;
    const at = [...field.value].slice(0, Number(problem.dataset.offset)).join("").length;
    field.setSelectionRange(at, Math.min(at + 1, field.value.length));
  }
  for (const field of all("textarea[data-json][aria-invalid]")) {
    const report = document.getElementById(`${field.id}-error`);
    if (report && !report.textContent.trim()) field.removeAttribute("aria-invalid");
  }
}

// Pages that keep themselves up to date: the server sends the live part anew
// when it has changed. What the reader has ticked, focused or opened stays.

let source = null;

function follow() {
  source?.close();
  source = null;
  const live = document.querySelector("[data-live]");
  if (!live || document.hidden) return;
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("live", "1");
  source = new EventSource(address);
  source.addEventListener("live", (event) => replaceLive(event.data));
  source.addEventListener("over", () => { source.close(); warn(page.over); });
  source.addEventListener("open", () => warn(""));
  source.addEventListener("error", () => warn(source.readyState === EventSource.CLOSED ? page.over : page.lost));
}

function replaceLive(html) {
  const live = document.querySelector("[data-live]");
  if (!live || live.dataset.last === html) return;
  const said = live.querySelector("[data-announce]")?.textContent;
  const ticked = new Set(all("input[name=id]:checked", live).map((box) => box.value));
  const every = live.querySelector("[data-select-every]:checked") !== null;
  const focused = live.contains(document.activeElement) ? describe(document.activeElement) : null;
  const scrolled = live.querySelector(".scroll")?.scrollLeft ?? 0;
  live.innerHTML = html;
  live.dataset.last = html;
  for (const box of all("input[name=id]", live)) box.checked = ticked.has(box.value);
  for (const box of all("[data-select-every]", live)) box.checked = every;
  if (live.querySelector(".scroll")) live.querySelector(".scroll").scrollLeft = scrolled;
  settle(live);
  if (focused) all(focused.selector, live)[focused.index]?.focus({ preventScroll: true });
  const now = live.querySelector("[data-announce]")?.textContent;
  if (now && now !== said) announce(now);
}

// describe names an element so that its like can be found in the next version.
function describe(element) {
  const selector = element.id ? `#${CSS.escape(element.id)}`
    : element.href ? `a[href="${CSS.escape(element.getAttribute("href"))}"]`
    : element.name ? `[name="${CSS.escape(element.name)}"][value="${CSS.escape(element.value)}"]`
    : element.tagName.toLowerCase();
  const live = document.querySelector("[data-live]");
  return { selector, index: Math.max(0, all(selector, live).indexOf(element)) };
}

document.addEventListener("visibilitychange", follow);
addEventListener("popstate", follow);
addEventListener("pagehide", () => source?.close());
document.addEventListener("htmx:afterSettle", (event) => {
  settle(document);
  if (event.target.id === "live" || event.detail.target?.id === "live") follow();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.matches?.("[data-refresh]") && event.detail.successful) announce(page.refreshed);
  if (event.detail.xhr?.status === 401) warn(page.over);
});
// An answer that is a whole page, such as the one that asks to log in, does not
// go into a part of this one.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400) event.detail.shouldSwap = false;
});
document.addEventListener("htmx:sendError", () => warn(page.lost));

// Telemetry: each message is an event of its own.

const maxMessages = 500;

function followTelemetry() {
  const list = document.querySelector("[data-telemetry]");
  if (!list) return;
  const pause = document.querySelector("[data-pause]");
  const filter = document.querySelector("[data-filter]");
  const waiting = document.querySelector("[data-waiting]");
  const skipped = document.querySelector("[data-skipped]");
  const label = pause.textContent;
  let held = [];
  let stream = null;

  // System properties are not looked through: their names would match in every message.
  const matches = (item) => all(":scope > :not(.system)", item)
    .some((part) => part.textContent.toLowerCase().includes(filter.value.trim().toLowerCase()));
  const add = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const item = template.content.firstElementChild;
    item.classList.add("new");
    item.hidden = !matches(item);
    list.dataset.from = item.dataset.position;
    localTimes(item);
    list.prepend(item);
    while (list.children.length > maxMessages) list.lastElementChild.remove();
    document.querySelector("[data-no-messages]").hidden = true;
  };
  const open = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource(`${list.dataset.telemetry}?from=${encodeURIComponent(list.dataset.from)}`);
    stream.addEventListener("message", (event) => {
      if (pause.getAttribute("aria-pressed") === "true") {
        held.push(event.data);
        if (held.length > maxMessages) held.shift();
        waiting.hidden = false;
        waiting.querySelector("span").textContent = held.length;
      } else {
        add(event.data);
      }
    });
    stream.addEventListener("skipped", (event) => {
      skipped.hidden = false;
      const count = skipped.querySelector("span");
      count.textContent = Number(count.textContent) + Number(event.data);
    });
    // A new connection goes on after the last message that arrived.
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) return;
      stream.close();
      setTimeout(open, 2000);
    });
  };
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? pause.dataset.paused : label;
    if (paused) return;
    held.forEach(add);
    held = [];
    waiting.hidden = true;
  });
  filter.addEventListener("input", () => { for (const item of list.children) item.hidden = !matches(item); });
  document.addEventListener("visibilitychange", open);
  open();
}

function settle(root) {
  localTimes(root);
  pointAtErrors(root);
  selection();
}

document.addEventListener("DOMContentLoaded", () => {
  if (matchMedia("(max-width: 60rem)").matches) document.querySelector(".menu-fold")?.removeAttribute("open");
  settle(document);
  follow();
  followTelemetry();
});
