"""What holds for every page of the console, whoever adds it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request
from tests.e2e.pages.addresses import address, paths
from tests.e2e.pages.conftest import Windows, sign_in
from tests.e2e.pages.looks import barriers, content, out_of_reach, too_wide
from tests.e2e.pages.world import World, busy

PAGES = paths()
BYTES_MAX = 150_000

pytestmark = pytest.mark.parametrize("path", PAGES)


@pytest.fixture(scope="module")
def desk() -> Iterator[World]:
    with busy() as world:
        yield world


@pytest.fixture(scope="module")
def cookies(chromium: Browser, desk: World) -> Any:
    """What the browser of somebody keeps who has signed in, and may do everything."""
    windows = Windows(chromium, desk.url)
    page = windows.open()
    sign_in(page, desk.tokens["ada"])
    kept = page.context.storage_state()
    windows.close()
    return kept


class Opener:
    def __init__(self, windows: Windows, desk: World, cookies: Any) -> None:
        self._windows, self._desk, self._cookies = windows, desk, cookies

    def __call__(self, path: str, **options: Any) -> Page:
        page = self._windows.open(storage_state=self._cookies, **options)
        page.goto(address(path, self._desk))
        return page


@pytest.fixture
def opened(windows: Windows, desk: World, cookies: Any) -> Opener:
    return Opener(windows, desk, cookies)


def test_everybody_can_use_it_in_light_and_dark(path: str, opened: Opener) -> None:
    page = opened(path, color_scheme="light")
    light = barriers(page)
    page.emulate_media(color_scheme="dark")
    assert [light, barriers(page)] == [[], []]


def test_it_goes_into_a_small_window(path: str, opened: Opener) -> None:
    """On a small phone, and in a window of 1280 by 800 px at 200 %."""
    page = opened(path, viewport={"width": 320, "height": 640})
    phone = too_wide(page)
    page.set_viewport_size({"width": 640, "height": 400})
    assert [phone, too_wide(page)] == [[], []]


def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(path: str, opened: Opener) -> None:
    assert out_of_reach(opened(path)) == []


def test_it_is_the_same_without_script(path: str, opened: Opener) -> None:
    with_script, without = (content(opened(path, java_script_enabled=on)) for on in (True, False))
    assert without == with_script


def test_it_is_small(path: str, windows: Windows, desk: World, cookies: Any) -> None:
    """With all that it loads; what is live goes on."""
    page = windows.open(storage_state=cookies)
    loaded: list[Request] = []
    page.on("requestfinished", lambda request: loaded.append(request))  # noqa: PLW0108 - playwright marks what it calls
    page.goto(address(path, desk))
    size = sum(each.sizes()["responseBodySize"] for each in loaded)
    assert (len(loaded) > 1, size <= BYTES_MAX) == (True, True), f"{size:,} bytes"
