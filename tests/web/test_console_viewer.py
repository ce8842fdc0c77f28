"""The pages of one viewer: found by any form, explained, set right, and named in no address."""

import base64
import hashlib
import html
import json
import shlex
from collections.abc import Callable

import httpx2
import pytest
import structlog
from starlette.testclient import TestClient
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import CATALOGUE, DEVICE, PRODUCTION, SECRET, T0

from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.model import Subject, SubjectKind
from temppass.testing import Double, serving
from temppass.web.console.copies import copies

EMAIL = "anna@acme.example"
HASH = hashlib.sha256(EMAIL.encode()).hexdigest()
BOX = DEVICE.decode()
MINUTE = 60_000
BASIC, PROMO = "ACME1/TempPassBasic30m", "ACME1/TempPassPromo5"
SCRIPTS = ["<script>x</script>", '"><img src=x onerror=1>']

Watch = Callable[..., bool]
Header = Callable[..., dict[str, str]]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


IDENTITY = encoded(json.dumps({"email": HASH}))


@pytest.fixture
def pepper(double: Double) -> bytes:
    return double._run(double.application.service.world(PRODUCTION)).pepper


@pytest.fixture
def box(pepper: bytes) -> str:
    return device(DEVICE, pepper).digest.hex()


@pytest.fixture
def anna(pepper: bytes) -> str:
    return user_key(canonical_user_key(EMAIL), pepper).digest.hex()


@pytest.fixture
def desk(double: Double) -> Browser:
    return seated(double, "support")


@pytest.fixture
def promo(watch: Watch, identity: Header) -> Watch:
    """Watch a title of the promotional pass on the box, as Anna."""

    def ask(title: str = "R1") -> bool:
        return watch("TempPassPromo5", title, **identity(HASH))

    return ask


def seated(double: Double, role: str, **limits: list[str]) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(f"the.{role}", role, **limits))
    return browser


def find(browser: Browser, viewer: str, other: str = "") -> httpx2.Response:
    return browser.send(browser.get(HERE), "/viewer", {"viewer": viewer, "other": other})


def here(device_: str, key: str = "-", place: str = BASIC) -> str:
    return f"viewer/{device_}/{key}?in={place}"


def where(page: httpx2.Response) -> list[str]:
    """Answer the digests in a page's address."""
    return page.url.path.partition("/viewer/")[2].split("/")


def actions(page: httpx2.Response) -> set[str]:
    return {form.action.rpartition("/viewer/")[2].split("/")[2] for form in forms(page) if form.action.count("/") > 6}


# --- finding


@pytest.mark.parametrize(
    "typed",
    [
        BOX,
        f" {BOX} ",
        f"fingerprint {encoded(BOX)}",
        f"AP-Device-Identifier: fingerprint {encoded(BOX)}",
        f"AP-Device-Identifier: {encoded(BOX)}",
        encoded(BOX),
    ],
)
def test_a_device_is_found_by_any_form(desk: Browser, promo: Watch, box: str, typed: str) -> None:
    promo()
    page = find(desk, typed)
    assert (page.status_code, where(page)) == (200, [box, "-"])


@pytest.mark.parametrize(
    "typed",
    [EMAIL, f" {EMAIL}", EMAIL.title(), HASH, HASH.upper(), IDENTITY, f"AP-TempPass-Identity: {IDENTITY}"],
)
def test_a_user_key_is_found_by_any_form(desk: Browser, promo: Watch, anna: str, typed: str) -> None:
    promo()
    page = find(desk, typed)
    assert (page.status_code, where(page)) == (200, ["-", anna])


@pytest.mark.parametrize("prefix", ["", "device:"])
def test_a_digest_is_found_as_what_it_is(desk: Browser, promo: Watch, box: str, prefix: str) -> None:
    promo()
    assert where(find(desk, prefix + box)) == [box, "-"]


@pytest.mark.parametrize(("viewer", "other"), [(BOX, EMAIL), (EMAIL, BOX), (HASH, encoded(BOX)), (BOX, IDENTITY)])
def test_a_pair_is_found_in_either_order(
    desk: Browser, promo: Watch, box: str, anna: str, viewer: str, other: str
) -> None:
    promo()
    assert where(find(desk, viewer, other)) == [box, anna]


def test_a_page_says_what_was_typed_taken_for(desk: Browser, promo: Watch) -> None:
    promo()
    assert "taken for a device id and an e-mail address." in words(find(desk, BOX, EMAIL))


def test_what_may_be_either_is_asked_about_and_unknown_is_said_kindly(desk: Browser, pepper: bytes) -> None:
    page = find(desk, "box-17")
    read = [
        device(b"box-17", pepper).digest.hex() + "/-",
        "-/" + user_key(canonical_user_key("box-17"), pepper).digest.hex(),
    ]
    offered = [part.partition("?")[0] for part in page.text.split('href="/console/in/release-production/viewer/')[1:]]
    assert (page.status_code, offered, "Nothing is known of this viewer" in words(page)) == (200, read, True)


def test_nobody_knows_a_viewer_who_is_named_clearly_and_the_page_says_so(desk: Browser, anna: str) -> None:
    page = find(desk, EMAIL)
    assert (where(page), "Nothing is known of this viewer under any pass" in words(page)) == (["-", anna], True)


@pytest.mark.parametrize(
    ("viewer", "other"),
    [
        ("", ""),
        ("fingerprint %%%", ""),
        (EMAIL, "other@acme.example"),
        ("x" * 1025, ""),
        (encoded('{"other": "x"}'), ""),
    ],
)
def test_what_cannot_be_read_is_told_and_what_was_typed_is_kept(desk: Browser, viewer: str, other: str) -> None:
    page = find(desk, viewer, other)
    kept = next(form.fields for form in forms(page) if form.action.endswith("/viewer"))
    assert (page.status_code, 'role="alert"' in page.text) == (400, True)
    assert (kept["viewer"], kept["other"]) == (viewer, other)


def test_a_spelling_that_looks_wrong_is_told_on_the_page(desk: Browser, watch: Watch, identity: Header) -> None:
    watch("TempPassPromo5", **identity("Anna@acme.example"))
    assert "has capital letters, which count" in words(find(desk, "Anna@acme.example"))


def test_an_email_is_in_no_address_and_in_no_log(
    desk: Browser, promo: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    promo()
    with structlog.testing.capture_logs() as logged:
        page = find(desk, BOX, EMAIL)
        done = desk.send(desk.get(here(where(page)[0], where(page)[1], PROMO)), "/reset", {"reason": EMAIL})
    told = [str(step.url) + str(step.headers) for answer in (page, done) for step in (*answer.history, answer)]
    logs = json.dumps(logged, default=str) + "".join(capsys.readouterr())
    assert [name in text for name in (EMAIL, HASH, BOX, "anna%40") for text in (*told, logs)] == [False] * 4 * 4


@pytest.mark.parametrize("path", ["-/-", "x/-", "-/" + "0" * 31, "0" * 33 + "/-", f"{EMAIL}/-"])
def test_an_address_that_names_nobody_is_none(desk: Browser, path: str) -> None:
    assert desk.get(f"viewer/{path}").status_code == 404


# --- what is shown


def test_the_sentence_and_the_verdict_are_those_of_the_control_api(
    double: Double, desk: Browser, promo: Watch, box: str, anna: str
) -> None:
    promo()
    token = double.operator("other", "viewer")
    body = {"device": BOX, "email": EMAIL, "channel": "ACME1", "pass": "TempPassPromo5"}
    path = f"/control/v1/environments/{PRODUCTION}/explain"
    told = TestClient(double.app).post(path, json=body, headers={"Authorization": f"Bearer {token}"}).json()
    said = words(desk.get(here(box, anna, PROMO)))
    assert (told["because"] in said, "The next title is permitted" in said) == (True, True)


def test_both_ledgers_and_their_join_are_shown_with_titles(desk: Browser, promo: Watch, box: str, anna: str) -> None:
    promo("R1")
    promo("R2")
    said = words(desk.get(here(box, anna, PROMO)))
    row = "Running 2026-01-01 10:00:00 UTC 2026-01-29 10:00:00 UTC 2 of 5 used, 3 left"
    assert [f"{name} {row}" in said for name in (f"Device {box[:8]}", f"User key {anna[:8]}", "Together")] == [True] * 3


def test_a_time_line_is_drawn_and_described(desk: Browser, watch: Watch, box: str) -> None:
    watch()
    page = desk.get(here(box))
    assert (
        page.text.count('<svg role="img"'),
        "Device: running, from 2026-01-01 10:00:00 UTC to 2026-01-01 10:30:00 UTC. Now is" in words(page),
        " style=" in page.text,
    ) == (1, True, False)


def test_without_a_choice_every_integration_is_shown_where_there_is_a_trial(
    desk: Browser, watch: Watch, promo: Watch, box: str
) -> None:
    watch()
    promo()
    page = desk.get(f"viewer/{box}/-")
    assert [part.split("<")[0].strip() for part in page.text.split("<h2 id=")[1:] for part in [part.split(">")[1]]] == [
        BASIC,
        PROMO,
    ]


@pytest.mark.parametrize(("title", "verdict"), [("R1", "permitted"), ("R2", "denied")])
def test_a_title_is_asked_about(
    desk: Browser, watch: Watch, identity: Header, box: str, anna: str, title: str, verdict: str
) -> None:
    watch("TempPassPromo1", "R1", **identity(HASH))
    page = desk.get(f"viewer/{box}/{anna}?in=ACME1/TempPassPromo1&title={title}")
    assert f"The next title is {verdict}" in words(page)


@pytest.mark.parametrize("place", ["ACME1", "NOWHERE/NOTHING", "%2F", "ACME1%2F", "A%00"])
def test_an_integration_that_is_none_is_told(desk: Browser, box: str, place: str) -> None:
    page = desk.get(here(box, place=place))
    assert (page.status_code in {200, 400}, "There is no such" in words(page) or 'role="alert"' in page.text) == (
        True,
        True,
    )


def test_a_key_says_nothing_of_a_basic_pass(desk: Browser, anna: str) -> None:
    page = desk.get(here("-", anna))
    assert (page.status_code, "goes by the device alone" in words(page)) == (400, True)


def test_a_page_stays_small_wherever_a_viewer_was(double: Double, desk: Browser, watch: Watch, box: str) -> None:
    channels = [f"MORE{number:02}" for number in range(30)]
    made = "".join(f'[[channel]]\nid = "{each}"\nprogrammer = "acme"\n' for each in channels)
    declared = f'[[pass]]\nid = "More"\nkind = "basic"\nttl = "1h"\nchannels = {channels}\n'.replace("'", '"')
    double.apply(CATALOGUE + made + declared)
    for each in channels:
        watch("More", channel_id=each)
    page = desk.get(f"viewer/{box}/-")
    whole, short = (
        page.text.count('<form method="post" action="' + page.url.path + '/reset"'),
        page.text.count(">All of "),
    )
    assert (whole, short, len(page.content) < 100_000) == (5, 25, True)


# --- what is set right


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", set()), *((role, {"reset", "grant"}) for role in ("support", "operator", "admin"))]
)
def test_who_may_not_has_no_button_and_a_forged_form_does_nothing(
    double: Double, watch: Watch, box: str, role: str, may: set[str]
) -> None:
    watch()
    browser = seated(double, role)
    page = browser.get(here(box))
    fields = forms(page)[0].fields | {"place": BASIC, "whom": "device", "once": "1"}
    answer = browser.client.post(f"{HERE}/viewer/{box}/-/reset", data=fields)
    assert (actions(page), answer.status_code) == (may, 200 if may else 403)


def test_an_operator_of_another_channel_sees_nothing_and_may_nothing(double: Double, watch: Watch, box: str) -> None:
    watch()
    browser = seated(double, "support", channels=["ACME2"])
    page, all_ = browser.get(here(box)), browser.get(f"viewer/{box}/-")
    fields = forms(page)[0].fields | {"place": BASIC, "whom": "device"}
    answer = browser.client.post(f"{HERE}/viewer/{box}/-/reset", data=fields)
    assert (page.status_code, "Nothing is known" in words(all_), answer.status_code) == (403, True, 403)


def test_a_reset_permits_and_its_undo_denies_again(double: Double, desk: Browser, watch: Watch, box: str) -> None:
    seen = [watch()]
    double.clock.advance(31 * MINUTE)
    seen.append(watch())
    done = desk.send(desk.get(here(box)), "/reset", {"reason": "the stream broke off"})
    double.clock.advance(1)
    undone = desk.send(done, act_of(done), {"reason": "wrong viewer"})
    seen.append(watch())
    told = ["Reset. 1 trial ended" in words(done), "Undone. 1 trial is as before" in words(undone)]
    assert (seen, told, act_of(undone)) == ([True, False, False], [True, True], "")


def act_of(page: httpx2.Response) -> str:
    """Answer the end of the address of the form that undoes what was done last, "" where there is none."""
    return next((form.action[-43:] for form in forms(page) if "/undo/" in form.action), "")


def test_a_reset_begins_a_new_trial_which_an_undo_replaces_only_when_told_to(
    double: Double, desk: Browser, watch: Watch, box: str
) -> None:
    watch()
    double.clock.advance(31 * MINUTE)
    done = desk.send(desk.get(here(box)), "/reset", {"reason": "ticket 7"})
    seen = [watch()]
    refused = desk.send(done, act_of(done))
    again = desk.send(refused, act_of(done), {"replace": "1"})
    seen.append(watch())
    assert (seen, refused.status_code, "a new trial since" in words(refused)) == ([True, False], 409, True)
    assert "in the place of 1 new one" in words(again)


@pytest.mark.parametrize(
    ("whom", "left"), [("device", ["New", "Running"]), ("key", ["Running", "New"]), ("both", ["New"] * 2)]
)
def test_one_of_a_pair_is_reset_or_both(
    desk: Browser, promo: Watch, box: str, anna: str, whom: str, left: list[str]
) -> None:
    promo()
    page = desk.send(desk.get(here(box, anna, PROMO)), "/reset", {"whom": whom})
    assert [part.split("<")[0] for part in page.text.split('<td class="state">')[1:3]] == left


def test_minutes_and_titles_are_given_and_taken_back(desk: Browser, promo: Watch, box: str, anna: str) -> None:
    promo()
    done = desk.send(desk.get(here(box, anna, PROMO)), "/grant", {"minutes": "15", "titles": "2"})
    undone = desk.send(done, act_of(done))
    assert "Given back. 15 minutes and 2 titles on top of 2 trials." in words(done)
    assert ["1 of 7 used, 6 left (2 granted)" in words(page) for page in (done, undone)] == [True, False]


@pytest.mark.parametrize("fields", [{"minutes": "-1"}, {"minutes": "many"}, {}, {"minutes": "9" * 10}])
def test_a_gift_that_is_none_is_told_with_what_was_typed(
    desk: Browser, watch: Watch, box: str, fields: dict[str, str]
) -> None:
    watch()
    page = desk.send(desk.get(here(box)), "/grant", {**fields, "reason": "ticket 7"})
    kept = next(form.fields for form in forms(page) if form.action.endswith("/grant"))
    assert (page.status_code, kept["reason"], kept["minutes"]) == (400, "ticket 7", fields.get("minutes", ""))


@pytest.mark.parametrize("what", ["reset", "grant"])
def test_a_form_that_is_sent_twice_acts_once(double: Double, desk: Browser, watch: Watch, box: str, what: str) -> None:
    watch()
    page = desk.get(here(box))
    pages = [desk.send(page, f"/{what}", {"minutes": "5"}) for _ in range(2)]
    token = {"Authorization": f"Bearer {double.operator('other', 'viewer')}"}
    path = f"/control/v1/environments/{PRODUCTION}/acts/search"
    found = TestClient(double.app).post(path, json={"kinds": [what]}, headers=token).json()["records"]
    assert ([each["id"] in page.text for page in pages for each in found]) == [True, True]


def test_a_reason_with_an_email_is_refused_in_its_place_and_kept(desk: Browser, watch: Watch, box: str) -> None:
    watch()
    page = desk.send(desk.get(here(box)), "/reset", {"reason": f"for {EMAIL}"})
    kept = next(form.fields for form in forms(page) if form.action.endswith("/reset"))
    told = "A reason holds no e-mail address" in words(page)
    assert (page.status_code, told, kept["reason"], watch()) == (400, True, f"for {EMAIL}", True)


def test_who_is_not_of_the_page_is_not_reset(desk: Browser, watch: Watch, box: str) -> None:
    watch()
    page = desk.send(desk.get(here(box)), "/reset", {"whom": "both"})
    assert (page.status_code, "Say whom you mean" in words(page)) == (400, True)


def copied(page: httpx2.Response) -> list[str]:
    return [html.unescape(part.partition("</code>")[0]) for part in page.text.split("data-copy><code>")[1:]]


def test_what_is_copied_asks_and_resets_as_the_page_does(double: Double, desk: Browser, watch: Watch, box: str) -> None:
    watch()
    client = TestClient(double.app, headers={"Authorization": f"Bearer {double.operator('other', 'support')}"})
    explain, command, _python, reset, *_ = copied(desk.get(here(box)))
    answers = []
    for curl in (explain, reset):
        *_, url, _h, token, _h, _type, _data, body = shlex.split(curl)
        answers.append(client.post(url.removeprefix("http://double.test"), content=body).status_code)
        assert token == "Authorization: Bearer $TOKEN"
    assert (answers, command) == (
        [200, 201],
        f"temppass explain --profile desk --requestor ACME1 --mvpd TempPassBasic30m --subject {box}",
    )


def test_python_that_is_copied_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    digest = device(DEVICE, b"p").digest
    with serving(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET) as double:
        monkeypatch.setenv("TOKEN", double.operator("anna", "support"))
        subjects = [Subject(SubjectKind.DEVICE, digest)]
        for each in copies(double.url, PRODUCTION, "ACME1", "TempPassBasic30m", subjects, resets=True):
            if each.language == "Python":
                exec(each.text, {})
    told = capsys.readouterr().out.splitlines()
    assert ["has no trial of this pass yet" in told[0], "matched=0" in told[1]] == [True, True]


def test_who_may_not_reset_is_shown_how_to_explain_alone(double: Double, watch: Watch, box: str) -> None:
    watch()
    page = seated(double, "viewer").get(here(box))
    assert [text.partition("\n")[0].split()[0] for text in copied(page)] == ["curl", "temppass", "import"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_stays_text(desk: Browser, watch: Watch, device: Header, identity: Header, script: str) -> None:
    watch("TempPassPromo5", script, **device(script.encode()), **identity(script))
    found = find(desk, script, f"AP-TempPass-Identity: {encoded(json.dumps({'email': script}))}")
    device_, key = where(found)
    done = desk.send(desk.get(here(device_, key, PROMO)), "/reset", {"reason": script})
    asked = desk.get(f"viewer/{device_}/{key}?title={script}&in={script}&done={script}&as={script}")
    refused = find(desk, f"fingerprint {script}", script)
    pages = [found, done, asked, refused]
    assert [script in page.text for page in pages] == [False] * 4
    assert (script in words(found), script in words(done)) == (True, True)
