"""What can be asked of any page that a browser shows."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it says nothing of types
from playwright.sync_api import Page

#: WCAG 2.2 A and AA, and what axe recommends beyond
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: what axe leaves to people, by rule and the beginning of the element, and what people answered
LEFT_TO_PEOPLE = {
    ("color-contrast", "<text"): "the words of a drawing are --ink or --quiet, and on --paper, as those around it are",
}

_TOO_WIDE = """() => {
  const wide = [];
  const view = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth > view) {
    for (const each of document.body.querySelectorAll("*")) {
      const inside = each.parentElement.closest(".scroll, pre");
      if (!inside && each.getBoundingClientRect().right > view + 0.5) wide.push(each.outerHTML.slice(0, 120));
    }
    if (!wide.length) wide.push("the page");
  }
  for (const each of document.body.querySelectorAll("*:not(.visually-hidden)")) {
    const style = getComputedStyle(each);
    const cut = ["hidden", "clip"].includes(style.overflowX) && each.scrollWidth > each.clientWidth + 1;
    if (cut && each.clientWidth) wide.push("cut off: " + each.outerHTML.slice(0, 120));
  }
  return wide;
}"""
_CAN_HAVE_FOCUS = """() => {
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
  const groups = new Set();
  window.wanted = [...all].filter((each) => {
    if (each.disabled || each.type === "hidden" || !each.checkVisibility({ visibilityProperty: true })) return false;
    if (each.type !== "radio") return true;
    const group = each.form?.action + " " + each.name;  // of radio buttons, one
    return !groups.has(group) && groups.add(group);
  });
  window.reached = new Set();
  return window.wanted.length;
}"""
_HAS_FOCUS = """() => {
  const now = document.activeElement;
  if (!now || now === document.body) return "";
  const same = (each) => each === now || (each.type === "radio" && now.type === "radio" && each.name === now.name);
  window.wanted.filter(same).forEach((each) => window.reached.add(each));
  const style = getComputedStyle(now);
  // within a field of a moment a button of the browser's own has the focus, and a ring
  const seen = !now.matches(":focus") || style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const box = now.getBoundingClientRect();
  const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  return seen && inside ? "" : "not to be seen: " + now.outerHTML.slice(0, 120);
}"""
_NOT_REACHED = (
    """() => window.wanted.filter((each) => !window.reached.has(each)).map((each) => each.outerHTML.slice(0, 120))"""
)
_CONTENT = """() => ({
  headings: [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((each) => each.innerText.trim()),
  forms: [...document.forms].map((form) => [
    form.method, form.action, ...[...form.elements].map((each) => each.name || each.type),
  ]),
})"""

_axe = Axe()


def barriers(page: Page) -> list[str]:
    """Answer what axe has against a page, and what it leaves to people who have not answered yet."""
    wanted = {"runOnly": {"type": "tag", "values": _TAGS}, "resultTypes": ["violations", "incomplete"]}
    found = _axe.run(page, options=wanted).response
    return [
        f"{kind}: {rule['id']}: {node['html'][:120]}: {node['failureSummary'].splitlines()[-1].strip()}"
        for kind in ("violations", "incomplete")
        for rule in found[kind]
        for node in rule["nodes"]
        if kind == "violations" or (rule["id"], node["html"].partition(" ")[0]) not in LEFT_TO_PEOPLE
    ]


def too_wide(page: Page) -> list[str]:
    """Answer what is wider than the window, or is cut off by it."""
    return list(page.evaluate(_TOO_WIDE))


def out_of_reach(page: Page) -> list[str]:
    """Go through a page by Tab; answer what is not reached, and what does not show that it is."""
    unseen = []
    for _ in range(2 * page.evaluate(_CAN_HAVE_FOCUS) + 2):  # the browser's own places are among them
        page.keyboard.press("Tab")
        if said := page.evaluate(_HAS_FOCUS):
            unseen.append(said)
        if not page.evaluate("window.wanted.length - window.reached.size"):
            break
    return [*unseen, *(f"not reached: {each}" for each in page.evaluate(_NOT_REACHED))]


def content(page: Page) -> dict[str, Any]:
    """Answer the headings of a page, and its forms by their fields."""
    return dict(page.evaluate(_CONTENT))
