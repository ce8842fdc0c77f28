"""The page of signing keys: which there are, and their rotation."""

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import T0

from temppass.testing import Double, build

CONTROL = "/control/v1/environments/release-production"
CATALOGUE = 'application = [{ id = "ops", channels = "all", scopes = ["api:client:v2"] }]'
PRODUCTION = "release-production"


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=T0)


@pytest.fixture
def root(double: Double) -> Browser:
    return _signed_in(double, "admin")


def _signed_in(double: Double, role: str) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator("root", role))
    return browser


def _keys(browser: Browser) -> list[tuple[str, str]]:
    return [(each["kid"], each["state"]) for each in browser.get(f"{CONTROL}/keys").json()["keys"]]


def _register(browser: Browser, statement: str) -> int:
    return browser.client.post("/o/client/register", json={"software_statement": statement}).status_code


def _rotate(browser: Browser, of: str = "rotate", **fields: str) -> httpx2.Response:
    return browser.send(browser.get("keys"), "/keys/rotate", fields, of)


def _rows(page: httpx2.Response) -> list[str]:
    return [words(httpx2.Response(200, text=each.partition("</tr>")[0])) for each in page.text.split("<tr>")[2:]]


def test_each_key_says_what_it_does_and_until_when(root: Browser) -> None:
    page, states = _rotate(root), _keys(root)
    (rsa, ec, next_rsa, next_ec) = [kid for kid, _ in states]
    now, then = "2026-01-01 10:00:00 UTC", "2026-01-01 10:10:00 UTC"
    assert _rows(page) == [
        f"{rsa} RSA, RS256 signs {now} {now} open, while it may sign",
        f"{ec} EC, ES256 signs {now} {now} open, while it may sign",
        f"{next_rsa} RSA, RS256 next: published, does not sign yet {now} {then} open, while it may sign",
        f"{next_ec} EC, ES256 next: published, does not sign yet {now} {then} open, while it may sign",
    ]


def test_keys_are_rotated_and_what_they_signed_stays_good(double: Double, root: Browser) -> None:
    statement, before = double.mint("ops"), _keys(root)
    page = _rotate(root, reason="every year")
    id_ = page.text.partition("/acts/")[2].partition('"')[0]
    act = root.get(f"{CONTROL}/acts/{id_}").json()
    assert (len(before), len(_keys(root)), _register(root, statement), act["kind"], act["reason"]) == (
        2,
        4,
        201,
        "keys.rotate",
        "every year",
    )


def test_compromised_keys_end_with_all_that_they_signed(double: Double, root: Browser) -> None:
    """Which statements have to be minted anew is told, each with a link to where."""
    statement, before = double.mint("ops"), _keys(root)
    page = _rotate(root, "compromised", environment=PRODUCTION)
    after = {kid for kid, _ in _keys(root)}
    told = (f'<a href="{HERE}/applications/ops">ops</a>' in page.text, "mint them anew" in words(page))
    assert (len(after), after & {kid for kid, _ in before}, _register(root, statement), told) == (
        2,
        set(),
        400,
        (True, True),
    )


@pytest.mark.parametrize("typed", ["", "release-staging", "ops"])
def test_compromised_keys_end_only_where_the_environment_is_typed(double: Double, root: Browser, typed: str) -> None:
    statement, before = double.mint("ops"), _keys(root)
    page = _rotate(root, "compromised", environment=typed, reason="stolen")
    (kept,) = [each.fields["reason"] for each in forms(page) if each.fields.get("of") == "compromised"]
    assert (page.status_code, kept, _keys(root), _register(root, statement)) == (400, "stolen", before, 201)


def test_the_confirmation_says_what_ends(root: Browser) -> None:
    said = words(root.get("keys"))
    assert [
        each in said
        for each in (
            "Everything that 2 keys signed ends at once:",
            "every software statement of ops:",
            "0 clients that registered already live on.",
        )
    ] == [True] * 3


def test_a_key_that_waits_is_waited_for(root: Browser) -> None:
    _rotate(root)
    page = _rotate(root, reason="again")
    assert (page.status_code, "The next key waits already" in words(page)) == (409, True)


def test_the_form_that_is_sent_twice_rotates_once(root: Browser) -> None:
    before = root.get("keys")
    statuses = [root.send(before, "/keys/rotate", {}, "rotate").status_code for _ in range(2)]
    assert (statuses, len(_keys(root))) == ([200, 200], 4)


@pytest.mark.parametrize(("role", "seen", "status"), [("viewer", 0, 403), ("operator", 0, 403), ("admin", 2, 200)])
def test_who_may_not_rotate_has_no_form_and_is_refused(double: Double, role: str, seen: int, status: int) -> None:
    anna = _signed_in(double, role)
    page = anna.get("keys")
    token = forms(page)[0].fields["form_token"]
    answer = anna.client.post(f"{HERE}/keys/rotate", data={"form_token": token})
    assert (len([each for each in forms(page) if each.action.endswith("/rotate")]), answer.status_code) == (
        seen,
        status,
    )


def test_where_nothing_was_applied_there_are_no_keys() -> None:
    assert "There are no keys yet" in words(_signed_in(build(now=T0), "admin").get("keys"))


def test_script_stays_text(root: Browser) -> None:
    script = '"><img src=x onerror=1>'
    page = _rotate(root, "compromised", environment=script, reason=script)
    assert (page.status_code, script in page.text) == (400, False)
