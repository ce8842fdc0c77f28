"""The page of operators: who may act, who is created, who is revoked."""

from typing import Any

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import T0

from temppass.testing import Double, build

WHOAMI = "/control/v1/whoami"
DAY = 86_400_000


@pytest.fixture
def double() -> Double:
    return build('application = [{ id = "ops", channels = "all", scopes = [] }]', now=T0)


@pytest.fixture
def root(double: Double) -> Browser:
    return _signed_in(double, "root", "admin")


def _signed_in(double: Double, name: str, role: str, environments: list[str] | None = None) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(name, role, environments=environments or []))
    return browser


def _create(browser: Browser, **fields: str) -> httpx2.Response:
    return browser.send(browser.get("operators"), "/operators", {"name": "anna", **fields})


def _token(page: httpx2.Response) -> str:
    return page.text.partition('class="secret" readonly spellcheck="false" value="')[2].partition('"')[0]


def _who(browser: Browser, token: str) -> Any:
    return browser.client.get(WHOAMI, headers={"Authorization": f"Bearer {token}"}).json()


def _rows(page: httpx2.Response) -> list[str]:
    rows = page.text.split("<tr>")[2:]
    return [words(httpx2.Response(200, text=each.partition("<details")[0].partition("</tr>")[0])) for each in rows]


def test_operators_are_listed_with_what_they_may(double: Double, root: Browser) -> None:
    double.operator("eve", "support", ["release-staging"], ["ACME1", "ACME2"])
    root.send(root.get("operators"), "/revoke", of="eve")
    double.operator("bob", "viewer")
    assert _rows(root.get("operators")) == [
        "bob viewer all all 2026-01-01 10:00:00 UTC until 2026-04-01 10:00:00 UTC",
        "eve support release-staging ACME1, ACME2 2026-01-01 10:00:00 UTC revoked 2026-01-01 10:00:00 UTC",
        "root (you) admin all all 2026-01-01 10:00:00 UTC until 2026-04-01 10:00:00 UTC",
    ]


def test_an_operator_is_created_whose_token_opens_what_was_said(root: Browser) -> None:
    page = _create(
        root, role="support", environments="release-production, x-y", channels="ACME1", ends_at="2026-02-01T00:00"
    )
    who = _who(root, _token(page))
    assert (
        page.status_code,
        {name: who[name] for name in ("name", "role", "environments", "channels", "ends_at")},
    ) == (
        201,
        {
            "name": "anna",
            "role": "support",
            "environments": ["release-production", "x-y"],
            "channels": ["ACME1"],
            "ends_at": "2026-02-01T00:00:00.000Z",
        },
    )


def test_who_is_created_without_more_is_a_viewer(root: Browser) -> None:
    who = _who(root, _token(_create(root)))
    assert (who["role"], who["ends_at"]) == ("viewer", "2026-04-01T10:00:00.000Z")


def test_a_token_is_in_no_second_answer(root: Browser) -> None:
    before = root.get("operators")
    pages = [root.send(before, "/operators", {"name": "anna"}) for _ in range(2)]
    later = [pages[1], root.get("operators"), root.get("/control/v1/operators")]
    assert ([page.status_code for page in pages], [_token(pages[0]) in page.text for page in later]) == (
        [201, 409],
        [False] * 3,
    )


def test_reasons_are_on_record(root: Browser) -> None:
    pages = [_create(root, reason="new here"), root.send(root.get("operators"), "/revoke", {"reason": "left"}, "anna")]
    ids = [page.text.partition("/control/v1/acts/")[2].partition('"')[0] for page in pages]
    acts = [root.get(f"/control/v1/acts/{id_}").json() for id_ in ids]
    assert [(act["kind"], act["name"], act["reason"]) for act in acts] == [
        ("operator.create", "anna", "new here"),
        ("operator.revoke", "anna", "left"),
    ]


def test_who_is_revoked_is_out(double: Double, root: Browser) -> None:
    token = double.operator("anna", "support")
    anna = Browser(double)
    anna.sign_in(token)
    page = root.send(root.get("operators"), "/revoke", of="anna")
    asked = _who(root, token)["code"], anna.get(HERE).url.path, "anna was revoked" in words(page)
    assert asked == ("ended_operator", "/console/sign-in", True)


def test_an_admin_who_revokes_themself_is_signed_out(root: Browser) -> None:
    page = root.send(root.get("operators"), "/revoke", of="root")
    assert (page.url.path, "temppass" in root.client.cookies, root.get(WHOAMI).status_code) == (
        "/console/sign-in",
        False,
        401,
    )


@pytest.mark.parametrize(
    ("role", "environments", "status"),
    [
        ("viewer", [], 403),
        ("support", [], 403),
        ("operator", [], 403),
        ("admin", ["release-production"], 403),
        ("admin", [], 200),
    ],
)
def test_operators_are_looked_after_by_an_admin_of_all_environments(
    double: Double, role: str, environments: list[str], status: int
) -> None:
    """Nobody else is led to the page, sees it, or does anything there."""
    anna, token = _signed_in(double, "anna", role, environments), double.operator("bob", "viewer")
    home = anna.get("")
    form = {"form_token": forms(home)[0].fields["form_token"], "name": "bob", "role": "viewer"}
    answers = [anna.get("operators"), anna.client.post(f"{HERE}/operators/revoke", data=form)]
    seen = ">Operators</a>" in home.text, [each.status_code for each in answers], "name" in _who(anna, token)
    assert seen == (status == 200, [status] * 2, status != 200)


@pytest.mark.parametrize("role", ["viewer", "support", "operator"])
def test_who_is_no_admin_creates_nobody(double: Double, role: str) -> None:
    anna = _signed_in(double, "anna", role)
    form = {"form_token": forms(anna.get(""))[0].fields["form_token"], "name": "eve", "role": "admin"}
    assert anna.client.post(f"{HERE}/operators", data=form).status_code == 403


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "<script>x</script>"},
        {"role": '"><img src=x onerror=1>'},
        {"name": "root"},
        {"environments": "<script>x</script>"},
        {"ends_at": "soon"},
        {"role": "admin", "channels": "ACME1"},
        {"reason": "for anna@acme.example"},
    ],
)
def test_who_cannot_be_is_said_where_it_was_typed(root: Browser, fields: dict[str, str]) -> None:
    """And what was typed stays, as text."""
    page = _create(root, **fields)
    (kept,) = [each.fields for each in forms(page) if each.fields.get("of") == "create"]
    typed = [each for name, each in fields.items() if name != "role"]
    assert (page.status_code, [kept[name] for name in fields if name != "role"]) == (400, typed)
    assert [each in page.text for each in ("<script>x", "<img src=x")] == [False, False]


def test_script_in_the_name_of_a_channel_stays_text(root: Browser) -> None:
    _create(root, channels='"><img/src=x/onerror=1>')
    page = root.get("operators")
    assert ("<img/src=x" in page.text, "<img/src=x" in words(page)) == (False, True)
