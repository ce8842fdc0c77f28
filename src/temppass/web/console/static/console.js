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
