"""
Signing in and out in a browser, and the browser itself: where it comes from, and that nothing wrong with a page goes
unnoticed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.pages.conftest import HERE, INSTALL, Absent, find, sign_in

from temppass.testing import Double, serving

if TYPE_CHECKING:
    from tests.e2e.pages.conftest import Windows


@pytest.fixture
def desk() -> Iterator[Double]:
    with serving() as double:
        yield double


@pytest.mark.parametrize("script", [True, False])
def test_who_signs_in_is_at_the_desk_until_they_sign_out(windows: "Windows", desk: Double, script: bool) -> None:  # noqa: FBT001 - a case
    page = windows.open(java_script_enabled=script)
    sign_in(page, desk.operator("anna", "support"))
    came = page.url
    page.get_by_role("banner").locator("summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    left = page.url
    page.goto(HERE)
    assert [url.removeprefix(desk.url) for url in (came, left, page.url)] == [
        HERE,
        "/console/sign-in",
        f"/console/sign-in?next={HERE}",
    ]


def test_whatever_is_wrong_with_a_page_is_noticed(windows: "Windows") -> None:
    page = windows.open()
    page.goto("/console/sign-in")
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://192.0.2.1/pixel'}))")
    page.evaluate("document.body.setAttribute('onclick', 'alert()')")
    page.evaluate("console.error('said')")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    page.evaluate("new Promise((done) => setTimeout(done, 50))")
    page.goto("/console/nothing")
    signs = ["/pixel", "inline", "said", "thrown", "404"]
    noticed = [sign for sign in signs if any(sign in complaint for complaint in windows.complaints)]
    windows.complaints.clear()
    assert noticed == signs


@pytest.mark.parametrize("named", ["", "no-browser"])
def test_without_a_browser_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TEMPPASS_TEST_BROWSER", named)
    answer = find.__wrapped__()
    assert isinstance(answer, Absent)
    assert ("no-browser" if named else INSTALL) in str(answer)


def test_a_browser_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = tmp_path / "apt-get"
    installer.write_text("#!/bin/sh\necho no package called $4 >&2; exit 100")
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TEMPPASS_TEST_BROWSER", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "no package called chromium" in str(find.__wrapped__())
