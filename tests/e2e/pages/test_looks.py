"""That what is asked of every page notices a page that is wrong."""

from typing import TYPE_CHECKING

import pytest
from tests.e2e.pages.looks import barriers, content, out_of_reach, too_wide
from tests.e2e.pages.world import World, desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page
    from tests.e2e.pages.conftest import Windows

PAGE = """<!doctype html><html lang="en"><title>A page</title><meta name="viewport" content="width=device-width">
<style>.hidden {{ overflow: hidden }} :focus-visible {{ outline: 3px solid black }} .none:focus {{ outline: none }}
{style}</style><main><h1>A page</h1>{body}</main></html>"""


@pytest.fixture
def page(windows: "Windows") -> "Page":
    return windows.open(viewport={"width": 320, "height": 640})


@pytest.fixture(scope="module", name="desk")
def a_desk() -> "Iterator[World]":
    with desk() as world:
        yield world


@pytest.mark.parametrize(
    ("body", "noticed"),
    [
        ("<p>fine</p>", []),
        ("<input>", ["violations: label"]),
        ('<p style="color: #aaa">pale</p>', ["violations: color-contrast"]),
        ("<h4>deep</h4>", ["violations: heading-order"]),
        ('<p style="background: linear-gradient(white, silver)">on shades</p>', ["incomplete: color-contrast"]),
        ('<button style="all: unset">a</button><button style="all: unset">b</button>', ["violations: target-size"] * 2),
    ],
)  # fmt: skip
def test_barriers_are_noticed(page: "Page", body: str, noticed: list[str]) -> None:
    page.set_content(PAGE.format(style="", body=body))
    assert [": ".join(each.split(": ")[:2]) for each in barriers(page)] == noticed


@pytest.mark.parametrize(
    ("body", "noticed"),
    [
        ('<p style="width: 200px">fine</p>', 0),
        ('<p style="width: 400px">wide</p>', 1),
        ('<p style="overflow: hidden; white-space: nowrap; width: 50px">too long to be seen in there</p>', 1),
        ('<div style="overflow-x: auto"><p style="width: 400px">to be scrolled</p></div>', 0),
    ],
)
def test_what_is_too_wide_is_noticed(page: "Page", body: str, noticed: int) -> None:
    page.set_content(PAGE.format(style="", body=body))
    assert len(too_wide(page)) == noticed


@pytest.mark.parametrize(
    ("body", "noticed"),
    [
        ('<a href="/a">a</a><input type="radio" name="r"><input type="radio" name="r"><button>b</button>', []),
        ('<a href="/a" tabindex="-1">a</a>', ["not reached"]),
        ('<a href="/a" class="none">a</a>', ["not to be seen"]),
        ('<a href="/a" style="position: absolute; left: -900px">a</a>', ["not to be seen"]),
    ],
)
def test_what_the_keyboard_does_not_reach_is_noticed(page: "Page", body: str, noticed: list[str]) -> None:
    page.set_content(PAGE.format(style="", body=body))
    assert [each.split(":")[0] for each in out_of_reach(page)] == noticed


def test_what_script_adds_is_noticed(windows: "Windows") -> None:
    script = (
        "<form><input name=a></form><script>document.querySelector('h1').after(document.createElement('h2'))</script>"
    )
    told = []
    for on in (True, False):
        page = windows.open(java_script_enabled=on)
        page.set_content(PAGE.format(style="", body=script))
        told.append(content(page))
    assert [(each["headings"], each["forms"][0][2:]) for each in told] == [(["A page", ""], ["a"]), (["A page"], ["a"])]
