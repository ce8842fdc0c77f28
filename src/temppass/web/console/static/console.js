// What is live on a page, and a key. Every page does without it.
"use strict";

const search = () => document.querySelector("[data-search]");

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && search()) {
    event.preventDefault();
    search().focus();
  }
});

// a menu closes where one clicks elsewhere, or presses Escape
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// what is there to be copied can be, where the browser lets a page write to the clipboard
for (const text of navigator.clipboard ? document.querySelectorAll("[data-copy]") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-describedby", text.getAttribute("aria-labelledby"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.innerText);
    button.textContent = "Copied";
  });
  text.after(button);
}

// a list that was begun on this page is gone on with, part by part; one that is only looked at is not
document.addEventListener("submit", async (event) => {
  let form = event.target.closest("form[data-go-on]");
  if (!form) return;
  event.preventDefault();
  while (form) {
    form.querySelector("button").disabled = true;
    let answer;
    try {
      answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    } catch {
      location.reload();
      return;
    }
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!next || new URL(answer.url).pathname !== location.pathname) {
      location.assign(answer.url);
      return;
    }
    document.querySelector("main").replaceWith(next);
    form = answer.ok ? document.querySelector("form[data-go-on]") : null;
  }
  document.querySelector("main").focus();
});

// --- live: acts on top of the list, counters in their cells, as the event stream tells them.
// What it tells becomes texts, never markup. The stream is closed while nobody looks: a browser has six connections.

const live = document.querySelector("[data-events]");
const acts = () => document.querySelector("[data-acts]");

function tell(words) {
  live.hidden = false;
  if (live.textContent !== words) live.textContent = words;
}

const shows = (id) => [...acts().rows].some((row) => row.dataset.act === id);

function put(row) {
  acts().querySelector("[data-none]")?.remove();
  acts().prepend(row);
  while (acts().rows.length > Number(acts().dataset.acts)) acts().lastElementChild.remove();
}

function show(act) {
  if (!acts() || shows(act.id)) return;
  const row = document.createElement("tr");
  row.dataset.act = act.id;
  row.className = "fresh";
  const when = document.createElement("time");
  when.dateTime = act.at;
  when.textContent = `${act.at.slice(0, 19).replace("T", " ")} UTC`;
  const what = document.createElement("a");
  what.href = acts().dataset.here + encodeURIComponent(act.id);
  what.textContent = JSON.parse(acts().dataset.words)[act.kind] ?? act.kind;
  const who = act.actor.kind === "schedule" ? "schedule" : `${act.actor.kind}:${act.actor.name}`;
  const where = [act.channel, act.pass].filter(Boolean).join(" · ");
  for (const part of [when, what, who, where, act.matched ?? "", act.reason ?? ""]) row.insertCell().append(part);
  row.cells[4].className = "number";
  put(row);
}

const WORDS = { permit: 0, trial: 2, reset: 3 };
const DENIAL = 1;

function count(points) {
  for (const row of document.querySelectorAll("[data-counters] tr[data-channel]")) {
    const sums = [0, 0, 0, 0];
    for (const point of points) {
      if (point.channel !== row.dataset.channel || point.pass !== row.dataset.pass) continue;
      for (const [word, n] of Object.entries(point.counts)) sums[WORDS[word] ?? DENIAL] += n;
    }
    row.querySelectorAll("[data-now]").forEach((cell, at) => { cell.textContent = sums[at].toLocaleString("en"); });
  }
}

// A stream that is opened anew says nothing of what was done meanwhile, so the page is asked for it: rows that it has
// and this one has not. What comes at the same time waits for them.
let meanwhile = null;

async function catchUp() {
  meanwhile = [];
  try {
    const answer = await fetch(location.href);
    if (!answer.ok || answer.redirected) return;
    const anew = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-acts]");
    for (const row of [...anew?.rows ?? []].reverse()) {
      if (row.dataset.act && !shows(row.dataset.act)) put(row);
    }
  } catch {
    // without a connection: the stream says so
  } finally {
    for (const act of meanwhile) show(act);
    meanwhile = null;
  }
}

let source = null;
const AGAIN_MS = 30_000;

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(live.dataset.events);
  source.addEventListener("open", () => {
    tell("Live.");
    catchUp();
  });
  source.addEventListener("act", (event) => {
    const act = JSON.parse(event.data);
    if (meanwhile) meanwhile.push(act);
    else show(act);
  });
  source.addEventListener("counters", (event) => count(JSON.parse(event.data).points));
  source.addEventListener("error", () => {
    tell("Paused: there is no connection. It is tried again.");
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries by itself
    source = null;
    setTimeout(listen, AGAIN_MS);
  });
}

function pause() {
  source?.close();
  source = null;
  tell("Paused.");
}

if (live) {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : listen()));
  addEventListener("pagehide", pause);
  addEventListener("pageshow", listen);
}
// what is under way is looked at again, while somebody sees it
const refresh = async () => {
  const before = document.querySelector("[data-refresh]");
  if (!before) return;
  if (!document.hidden) {
    const answer = await fetch(location.pathname, { credentials: "same-origin" }).catch(() => null);
    const page = answer && answer.ok && !answer.redirected ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    const after = page && page.querySelector("[data-refresh]");
    if (after) before.replaceWith(document.adoptNode(after));
    else if (page) document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  }
  setTimeout(refresh, 2000);
};
setTimeout(refresh, 2000);
