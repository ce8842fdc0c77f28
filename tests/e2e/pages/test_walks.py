"""
What people do at the desk, from signing in to taking it back, in a browser; each page on the way is looked at as every
page is.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest
from playwright.sync_api import Locator, Page
from tests.e2e.pages.looks import barriers, too_wide
from tests.e2e.pages.world import EMAIL, World, desk

if TYPE_CHECKING:
    from tests.e2e.pages.conftest import Windows


@pytest.fixture(name="desk")
def a_desk() -> Iterator[World]:
    with desk() as world:
        yield world


class Hands:
    """Somebody at a window who uses the mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page
        #: what was wrong with the pages that they came by
        self.wrong: list[str] = []

    def button(self, name: str) -> None:
        self.press(self.page.get_by_role("button", name=name))

    def link(self, name: str) -> None:
        self.press(self.page.get_by_role("link", name=name, exact=True))

    def press(self, what: Locator) -> None:
        with self.page.expect_navigation():
            what.click()
        self.look()

    def fill(self, field: Locator, text: str) -> None:
        field.fill(text)

    def choose(self, field: Locator, option: str) -> None:
        field.select_option(label=option)

    def check(self, box: Locator) -> None:
        box.check()

    def sign_in(self, token: str) -> None:
        self.page.goto("/console/sign-in")
        self.fill(self.page.get_by_label("Operator token"), token)
        self.button("Sign in")

    def look(self) -> None:
        self.wrong += [*barriers(self.page), *too_wide(self.page)]


class Keys(Hands):
    """Somebody who has a keyboard alone: they press Tab until they are where they want to be."""

    def press(self, what: Locator) -> None:
        self._reach(what)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        self.look()

    def fill(self, field: Locator, text: str) -> None:
        self._reach(field)
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.type(text)

    def choose(self, field: Locator, option: str) -> None:
        self._reach(field)
        self.page.keyboard.type(option)

    def check(self, box: Locator) -> None:
        self._reach(box)
        self.page.keyboard.press("Space")

    def _reach(self, wanted: Locator) -> None:
        for _ in range(200):
            if wanted.evaluate("wanted => wanted === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {wanted}")


@pytest.fixture(params=[Hands, Keys])
def hands(request: pytest.FixtureRequest) -> type[Hands]:
    """How somebody uses a page."""
    return cast("type[Hands]", request.param)


def test_a_viewer_is_found_explained_reset_and_taken_back(windows: "Windows", desk: World, hands: type[Hands]) -> None:
    """Who has come back meanwhile is denied again only if their new trial is given up."""
    desk.be_denied()
    sam = hands(windows.open())
    sam.sign_in(desk.tokens["sam"])
    sam.page.keyboard.press("/")
    sam.fill(sam.page.get_by_role("searchbox", name="Find a viewer"), EMAIL)
    sam.button("Find this viewer")
    why = sam.page.locator(".because").inner_text()
    before = desk.watches("bedroom-tv")
    sam.fill(sam.page.get_by_label("Reason").first, "ticket 7")
    sam.button("Reset this viewer")
    told = sam.page.get_by_role("status", name="Receipt").inner_text()
    between = desk.watches("bedroom-tv")
    sam.button("Undo this")
    hindered = sam.page.get_by_role("alert").inner_text()
    refused = windows.complaints.pop()
    sam.check(sam.page.get_by_label("Put the old trial in the place of the new one"))
    sam.button("Undo this")
    assert (sam.wrong, before, between, desk.watches("bedroom-tv")) == ([], False, True, False)
    assert ("3 titles of the trial are used up" in why, "Reset" in told, "409" in refused) == (True, True, True)
    assert "has begun a trial since" in hindered
    assert EMAIL not in sam.page.url


def test_everybody_is_counted_named_reset_and_taken_back(windows: "Windows", desk: World, hands: type[Hands]) -> None:
    for number in range(3):
        desk.watches(f"tv-{number}", pass_id="Basic")
    olga = hands(windows.open())
    olga.sign_in(desk.tokens["olga"])
    olga.link("Resets")
    olga.choose(olga.page.get_by_label("Pass", exact=True), "Basic · Free half hour")
    olga.check(olga.page.get_by_label("Devices"))
    olga.button("Count viewers")
    said = [olga.page.get_by_role("heading", level=1).inner_text()]
    field = olga.page.get_by_label("Type the name of the pass")
    for typed in ("Promo", "Basic"):
        olga.fill(field, typed)
        olga.button("Reset 3 viewers of Basic")
        said.append(olga.page.get_by_role("alert").or_(olga.page.get_by_role("status")).inner_text())
    olga.button("Undo this act")
    last = [act["kind"] for act in desk.act("vera", "/acts/search")["records"]][:2]
    refused = windows.complaints.pop()
    assert (olga.wrong, last, "400" in refused) == ([], ["undo", "reset.everybody"], True)
    assert [each.partition(" ")[0] for each in said] == ["Reset", "Nothing", "Done."]


def test_two_persons_in_two_windows_reset_what_neither_may_alone(windows: "Windows", desk: World) -> None:
    desk.watches("tv", pass_id="Guarded")
    olga, ada = (Hands(windows.open()) for _ in range(2))
    olga.sign_in(desk.tokens["olga"])
    olga.link("Resets")
    olga.choose(olga.page.get_by_label("Pass", exact=True), "Guarded · Free evening, reset by two")
    olga.check(olga.page.get_by_label("Devices"))
    olga.button("Count viewers")
    olga.fill(olga.page.get_by_label("Type the name of the pass"), "Guarded")
    olga.fill(olga.page.get_by_label("Reason"), "ticket 9")
    olga.button("Ask to reset 1 viewer of Guarded")
    asked = olga.page.get_by_role("status").inner_text()
    own = olga.page.get_by_role("main").get_by_role("button").all_inner_texts()
    ada.sign_in(desk.tokens["ada"])
    ada.link("Approvals")
    ada.button("Confirm: reset 1 viewer of Guarded")
    done = ada.page.get_by_role("status").inner_text()
    olga.link("Approvals")
    assert (olga.wrong, ada.wrong, own) == ([], [], ["Take this back"])
    assert [each.partition(".")[0] for each in (asked, done)] == ["Asked for", "Done"]
    assert "Nothing waits." in olga.page.get_by_role("main").inner_text()
