"""
Pictures of every page, in light, in dark and as a phone shows them: `make screenshots` writes them to a folder, to be
looked at one by one. With `--docs`, the few that the documentation shows.

The desk is the one of the tests, whose clock is the test's, so that a page that stays as it is keeps its picture.
"""

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from tests.e2e.pages.addresses import address, paths
from tests.e2e.pages.conftest import ARGUMENTS, Absent, Windows, find, sign_in
from tests.e2e.pages.world import HERE, World, busy

ROOT = Path(__file__).parents[3]
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
#: what the documentation shows, by the name of its picture
DOCS = {
    "home": "/console/in/{environment}",
    "viewer": "/console/in/{environment}/viewer/{device:id}/{key:id}",
    "acts": "/console/in/{environment}/acts",
}


def name_of(path: str) -> str:
    """Name the picture of a page after its path."""
    inside = path.removeprefix("/console/in/{environment}").removeprefix("/console").strip("/")
    return inside.replace("/", "-").replace("{", "").replace("}", "").replace(":id", "") or "home"


def take(
    browser: Browser, world: World, folder: Path, wanted: dict[str, str], looks: dict[str, Any], *, whole: bool
) -> None:
    for look, options in looks.items():
        windows = Windows(browser, world.url)
        page = windows.open(**options)
        sign_in(page, world.tokens["ada"])
        page.wait_for_url(f"**{HERE}")
        for name, path in wanted.items():
            _shoot(page, address(path, world), folder / (f"{name}.{look}.png" if whole else f"{name}.png"), whole=whole)
        windows.close()


def _shoot(page: Page, where: str, file: Path, *, whole: bool) -> None:
    page.goto(where)
    page.screenshot(path=file, full_page=whole, animations="disabled")
    print(f"{file} {file.stat().st_size // 1024} KB")  # noqa: T201 - a command says what it made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "screenshots")
    parser.add_argument("--docs", action="store_true", help="take the pictures of docs/pictures")
    options = parser.parse_args()
    executable = find()
    if isinstance(executable, Absent):
        raise SystemExit(str(executable))
    folder: Path = ROOT / "docs/pictures" if options.docs else options.folder
    folder.mkdir(parents=True, exist_ok=True)
    with busy() as world, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        if options.docs:
            small = {**LOOKS["light"], "viewport": {"width": 1024, "height": 720}}
            take(browser, world, folder, DOCS, {"light": small}, whole=False)
        else:
            take(browser, world, folder, {name_of(path): path for path in paths()}, LOOKS, whole=True)
        browser.close()


if __name__ == "__main__":
    main()
