"""
A real browser before real pages: a Chromium that is there or is installed, a desk that listens on the loopback, and
windows onto it that notice every complaint of the browser and every request that goes elsewhere.

TEMPPASS_TEST_BROWSER names the browser's executable, if it is to be another than the one on the path.
"""

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

INSTALL = "apt-get install -y --no-install-recommends chromium"
#: Chromium asks its maker for this and that, and whoever is root has no sandbox
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: nothing here takes so long unless it hangs
WAIT_MS = 15_000
HERE = "/console/in/release-production"


# --- the browser


class Absent(Exception):
    """There is no browser, and none can be had; its words say what to do."""


@functools.cache
def find() -> str | Absent:
    """Answer the executable of a browser, installed where there is none and it can be."""
    if named := os.environ.get("TEMPPASS_TEST_BROWSER"):
        return shutil.which(named) or Absent(f"TEMPPASS_TEST_BROWSER names {named}, which is no executable.")
    with (Path(tempfile.gettempdir()) / f"temppass-browser-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker installs, the others wait
        return _there() or _installed()


def _there() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def _installed() -> str | Absent:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return Absent(
            "Tests of the console need a browser. Install Chromium, on Debian as root by"
            f" `apt-get update && {INSTALL}`, or let TEMPPASS_TEST_BROWSER name one."
        )
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    said = ""
    for command in (INSTALL, "apt-get update", INSTALL):  # the lists may be there, and may be out of date
        done = subprocess.run(command.split(), env=quietly, capture_output=True, text=True, check=False)
        said += f"$ {command}\n{done.stdout}{done.stderr}"
        if found := _there():
            return found
    return Absent(f"Chromium could not be installed:\n{said}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have a browser before the clock of the first test runs that wants one: to install it may take its minute."""
    if "chromium" in getattr(item, "fixturenames", ()):
        find()
    return (yield)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """
    A browser for the tests of one file: while playwright has its loop in a thread, no other test could run one there.
    """
    executable = find()
    if isinstance(executable, Absent):
        raise executable
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


# --- windows


class Desk(Protocol):
    """What windows look onto."""

    @property
    def url(self) -> str: ...


class Windows:
    """Windows onto one server, each of a person of their own, and what is wrong with what they saw."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        #: what the browser complained of, and what was asked of other servers
        self.complaints: list[str] = []
        self._browser = browser
        self._open: list[BrowserContext] = []

    def open(self, **options: Any) -> Page:
        """Answer the window of somebody who was never here; `options` are those of playwright's `new_context`."""
        context = self._browser.new_context(base_url=self.url, **options)
        self._open.append(context)
        context.set_default_timeout(WAIT_MS)
        context.on("request", lambda request: self._see(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda thrown: self.complaints.append(str(thrown.error)))
        return context.new_page()

    def _see(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "data:")):
            self.complaints.append(f"asked for {url}")

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.complaints.append(said.text)

    def close(self) -> None:
        for context in self._open:
            context.close()


@pytest.fixture
def windows(chromium: Browser, desk: Desk) -> Iterator[Windows]:
    """Windows onto the desk, of which a test fails if anything was wrong that it has not taken from `complaints`."""
    windows = Windows(chromium, desk.url)
    yield windows
    windows.close()
    assert windows.complaints == []


def sign_in(page: Page, token: str) -> None:
    page.goto("/console/sign-in")
    page.get_by_label("Operator token").fill(token)
    page.get_by_role("button", name="Sign in").click()
