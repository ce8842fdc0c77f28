"""Who may open the pages of the console, and what comes of forms that no page of theirs sent."""

import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import CATALOGUE, SECRET, T0

from temppass.service.signins import SESSION_MS, SESSIONS_MAX
from temppass.testing import Double, build

WHOAMI = "/control/v1/whoami"


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET)


@pytest.fixture
def anna(double: Double) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator("anna", "support"))
    return browser


def test_who_has_not_signed_in_is_sent_to_sign_in_and_then_goes_on(double: Double) -> None:
    browser = Browser(double)
    asked = browser.get(HERE)
    assert [asked.url.path, asked.url.query] == ["/console/sign-in", b"next=" + HERE.encode()]
    answer = browser.send(asked, "/sign-in", {"token": double.operator("anna", "support")})
    assert (answer.status_code, answer.url.path) == (200, HERE)


@pytest.mark.parametrize("token", ["", "tpo_none", "t" * 257, "é"])
def test_a_token_that_is_none_opens_nothing(double: Double, token: str) -> None:
    answer = Browser(double).sign_in(token)
    assert (answer.status_code, answer.url.path, "temppass" in answer.cookies) == (401, "/console/sign-in", False)


def test_a_session_opens_the_pages_and_what_the_control_api_shows(anna: Browser) -> None:
    assert (anna.get(HERE).status_code, anna.get(WHOAMI).json()["name"]) == (200, "anna")


def test_a_cookie_changes_nothing_through_the_control_api(anna: Browser) -> None:
    path = "/control/v1/environments/release-production/grants"
    answer = anna.client.post(path, json={"channel": "ACME1", "pass": "TempPassBasic30m", "device": "x", "minutes": 1})
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_operator")


@pytest.mark.parametrize("how", ["signed out", "revoked", "ended", "another one of the name"])
def test_a_session_is_good_for_as_long_as_it_and_its_operator_are(double: Double, anna: Browser, how: str) -> None:
    thief = Browser(double)
    thief.client.cookies = anna.client.cookies.__class__(anna.client.cookies)
    assert thief.get(WHOAMI).status_code == 200
    if how == "signed out":
        anna.send(anna.get(HERE), "/sign-out")
    elif how == "ended":
        double.clock.advance(SESSION_MS)
    else:
        root = {"Authorization": f"Bearer {double.operator('root', 'admin')}"}
        anna.client.delete("/control/v1/operators/anna", headers=root)
        if how != "revoked":
            double.operator("anna", "admin")
    asked = [thief.get(WHOAMI).status_code, thief.get(HERE).url.path]
    assert asked == [401, "/console/sign-in"]


@pytest.mark.parametrize(("everywhere", "left"), [(False, 200), (True, 401)])
def test_signing_out_ends_one_session_or_all(double: Double, everywhere: bool, left: int) -> None:  # noqa: FBT001 - a case
    token = double.operator("anna", "support")
    one, other = Browser(double), Browser(double)
    one.sign_in(token)
    other.sign_in(token)
    one.send(one.get(HERE), "/sign-out", {"everywhere": "1"} if everywhere else {})
    assert (one.get(WHOAMI).status_code, other.get(WHOAMI).status_code) == (401, left)


def test_the_oldest_session_makes_room(double: Double) -> None:
    token = double.operator("anna", "support")
    browsers = [Browser(double) for _ in range(SESSIONS_MAX + 1)]
    for browser in browsers:
        browser.sign_in(token)
    assert [browser.get(WHOAMI).status_code for browser in browsers] == [401] + [200] * SESSIONS_MAX


def test_a_session_that_was_there_before_is_not_the_one_that_is_opened(double: Double) -> None:
    browser = Browser(double)
    browser.client.cookies.set("temppass", "chosen.anna", domain="double.test")
    browser.sign_in(double.operator("anna", "support"))
    others = Browser(double)
    others.client.cookies.set("temppass", "chosen.anna", domain="double.test")
    assert others.get(WHOAMI).status_code == 401


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Origin": "http://evil.test"}, {}),
        ({"Origin": "null"}, {}),
        ({"Origin": "https://double.test"}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({}, {"form_token": ""}),
        ({}, {"form_token": "0" * 64}),
    ],
)
def test_a_form_that_no_page_of_the_session_sent_does_nothing(
    anna: Browser, headers: dict[str, str], fields: dict[str, str]
) -> None:
    form = forms(anna.get(HERE))[0]
    answer = anna.client.post("/console/sign-out", data={**form.fields, **fields}, headers=headers)
    assert (answer.status_code, anna.get(WHOAMI).status_code) == (400, 200)


def test_a_form_of_a_session_that_has_ended_does_nothing_in_the_next(double: Double, anna: Browser) -> None:
    before = forms(anna.get(HERE))[0]
    anna.send(anna.get(HERE), "/sign-out")
    anna.sign_in(double.operator("anna2", "support"))
    answer = anna.client.post("/console/sign-out", data=before.fields)
    assert (answer.status_code, anna.get(WHOAMI).status_code) == (400, 200)


def test_nobody_is_signed_in_by_the_form_of_another_page(double: Double) -> None:
    browser = Browser(double)
    token = double.operator("eve", "support")
    answer = browser.client.post("/console/sign-in", data={"token": token, "form_token": ""})
    assert (answer.status_code, browser.get(WHOAMI).status_code) == (400, 401)


@pytest.mark.parametrize(
    "next_",
    ["//evil.test", "https://evil.test/console/", "/console/\\evil", "/console/%0d%0aX:y", "/control/v1/whoami"],
)
def test_signing_in_leads_to_the_console_alone(double: Double, next_: str) -> None:
    assert Browser(double).get(f"/console/sign-in?next={next_}").status_code == 400


def test_every_answer_keeps_others_out(anna: Browser) -> None:
    pages = [anna.get(path) for path in (HERE, "/console/nothing", f"{HERE}/nothing", "/console/sign-in")]
    files = [anna.get(path.split('"')[0]) for path in pages[0].text.split('="') if path.startswith("/console/static/")]
    kept = {
        (page.headers["Content-Security-Policy"].partition(";")[0], page.headers["X-Frame-Options"])
        for page in [*pages, *files]
    }
    assert (len(files), kept) == (4, {("default-src 'none'", "DENY")})


def test_a_cookie_of_tls_is_of_tls_alone(double: Double) -> None:
    browser = Browser(double, "https://double.test")
    browser.sign_in(double.operator("anna", "support"))
    cookies = [each for each in browser.client.cookies.jar if each.name.startswith("__Host-")]
    assert [(each.secure, each.path, each.has_nonstandard_attr("HttpOnly")) for each in cookies] == [(True, "/", True)]


def test_the_environment_stands_on_every_page(anna: Browser) -> None:
    assert words(anna.get(HERE)).split(" · ")[1] == "release-production"


def test_an_operator_sees_no_page_of_another_environment(double: Double) -> None:
    browser = Browser(double)
    browser.sign_in(double.operator("anna", "support", environments=["release-staging"]))
    asked = [
        browser.get(f"/console/in/{name}").status_code for name in ("release-staging", "release-production", "A_B")
    ]
    assert asked == [200, 403, 400]
