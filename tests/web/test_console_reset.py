"""Resets of everybody, or of a part of them, at the console: counted, typed, done, taken back; confirmed by another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import CATALOGUE

from temppass.core.plan import PLAN_MS
from temppass.service.narrowed import CHUNK
from temppass.web.console import reset

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from temppass.testing import Double

    Watch = Callable[..., bool]

CONTROL = "/control/v1/environments/release-production"
BASIC = {"integration": "ACME1/TempPassBasic30m", "kinds": "devices"}
SCRIPT = '"><img src=x onerror=1><script>x</script>'


@pytest.fixture
def sit(double: Double) -> Callable[..., Browser]:
    """Answer a browser before which an operator has signed in."""

    def at(name: str, role: str = "operator", **limits: list[str]) -> Browser:
        browser = Browser(double)
        browser.sign_in(double.operator(name, role, **limits))
        return browser

    return at


@pytest.fixture
def olga(sit: Callable[..., Browser]) -> Browser:
    return sit("olga")


@pytest.fixture
def crowd(watch: Watch, device: Callable[[bytes], dict[str, str]]) -> Callable[..., None]:
    """Let as many devices begin a trial."""

    def come(count: int, prefix: str = "tv", **more: str) -> None:
        for number in range(count):
            watch(
                **{name.replace("-", "_"): value for name, value in device(f"{prefix}{number}".encode()).items()},
                **more,
            )

    return come


def plan(browser: Browser, **fields: str) -> httpx2.Response:
    return browser.send(browser.get("reset"), "/reset", {**BASIC, **fields})


def apply(browser: Browser, planned: httpx2.Response, **fields: str) -> httpx2.Response:
    typed = {"typed": "TempPassBasic30m", "reason": "ticket 7", **fields}
    return browser.send(planned, planned.url.path.rpartition("/reset")[2], typed)


def heading(page: httpx2.Response) -> str:
    return page.text.partition("<h1>")[2].partition("</h1>")[0]


def said(page: httpx2.Response) -> str:
    """Answer what a page refused, "" where it did not."""
    return page.text.partition('role="alert">')[2].partition("</p>")[0]


def test_everybody_is_counted_then_typed_then_reset_and_taken_back(
    double: Double, olga: Browser, crowd: Callable[..., None]
) -> None:
    crowd(3)
    double.clock.advance(1_800_000)
    crowd(1, "late")
    planned = plan(olga)
    assert heading(planned) == "Reset 4 viewers of TempPassBasic30m?"
    done = apply(olga, planned)
    assert (heading(done), said(done), done.status_code) == ("Reset of everybody", "", 200)
    assert [heading(plan(olga)), done.url.path.startswith(f"{HERE}/acts/")] == [
        "Reset 0 viewers of TempPassBasic30m?",
        True,
    ]
    olga.send(done, "/undo", {"reason": "ticket 8"})
    assert heading(plan(olga)) == "Reset 4 viewers of TempPassBasic30m?"


def test_a_plan_tells_what_runs_what_is_over_and_a_few_by_digest(
    double: Double, olga: Browser, crowd: Callable[..., None]
) -> None:
    crowd(1)
    page = plan(olga)
    row = page.text.partition("<tr><td><code>")[2].partition("</tr>")[0]
    double.clock.advance(1_800_000)
    crowd(7, "late")
    told = words(plan(olga))
    assert (
        len(row.partition("</code>")[0]),
        "2026-01-01 10:00:00 UTC" in row,
        "Trials that run 7 Trials that are over 1 How sure exact: all were counted" in told,
        "the plan holds until 2026-01-01 10:45:00 UTC" in told,
    ) == (8, True, True, True)


@pytest.mark.parametrize("typed", ["", "TempPassBasic30", "temppassbasic30m", "Free half hour"])
def test_a_name_that_is_not_the_passs_resets_nobody(olga: Browser, crowd: Callable[..., None], typed: str) -> None:
    crowd(2)
    answer = apply(olga, plan(olga), typed=typed)
    assert (answer.status_code, said(answer), forms(answer)[-1].fields["reason"]) == (
        400,
        "Nothing was reset: what was typed is not TempPassBasic30m, the name of the pass.",
        "ticket 7",
    )
    assert heading(plan(olga)) == "Reset 2 viewers of TempPassBasic30m?"


def test_a_form_that_is_sent_twice_resets_once(double: Double, olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(2)
    planned = plan(olga)
    sent = [apply(olga, planned) for _ in range(2)]
    admin = {"Authorization": f"Bearer {double.operator('root', 'admin')}"}
    found = olga.client.post(f"{CONTROL}/acts/search", json={"kinds": ["reset.everybody"]}, headers=admin)
    assert (sent[0].url, len(found.json()["records"])) == (sent[1].url, 1)


def test_a_plan_is_applied_once(olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(2)
    planned = plan(olga)
    page = olga.get(planned.url.path)
    apply(olga, planned)
    answers = [apply(olga, page), olga.get(planned.url.path)]
    assert [(each.status_code, heading(each)) for each in answers] == [(409, "This plan does not hold")] * 2


def test_an_old_plan_is_said_to_be_and_the_same_is_counted_again(
    double: Double, olga: Browser, crowd: Callable[..., None]
) -> None:
    crowd(2)
    planned = plan(olga, started_before="2026-01-01T10:00")
    double.clock.advance(PLAN_MS)
    refused = apply(olga, planned)
    assert (refused.status_code, "older than 15 minutes" in said(refused)) == (409, True)
    again = olga.send(refused, "/reset")
    assert (heading(again), "began before 2026-01-01 10:00:00 UTC" in words(again)) == (
        "Reset 0 viewers of TempPassBasic30m?",
        True,
    )


def test_a_plan_that_more_viewers_than_it_said_would_be_touched_by_is_refused(
    olga: Browser, crowd: Callable[..., None]
) -> None:
    crowd(2)
    planned = plan(olga)
    crowd(11, "late")
    refused = apply(olga, planned)
    assert (refused.status_code, said(refused)) == (
        409,
        "It would touch 13 trials now, 2 when it was planned; make a new plan.",
    )
    assert heading(olga.send(refused, "/reset")) == "Reset 13 viewers of TempPassBasic30m?"


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"over": "on"}, 2),
        ({"started_before": "2026-01-01T10:00"}, 0),
        ({"started_before": "2026-01-01T10:00:00.001"}, 2),
        ({"over": "on", "app_id": "com.acme.tv"}, 0),
    ],
)
def test_a_part_of_everybody_is_counted_and_reset_alone(
    double: Double, olga: Browser, crowd: Callable[..., None], fields: dict[str, str], count: int
) -> None:
    crowd(2)
    double.clock.advance(1_800_000)
    crowd(3, "late")
    planned = plan(olga, **fields)
    assert heading(planned) == f"Reset {count} viewers of TempPassBasic30m?"
    done = apply(olga, planned)
    assert words(done).count(f"Done. {count} viewers reset.") == 1
    assert heading(plan(olga)) == f"Reset {5 - count} viewers of TempPassBasic30m?"
    undone = olga.send(done, "/undo", {"reason": "ticket 8"}) if count else done
    assert (words(undone).count("Undone."), heading(plan(olga))) == (
        1 if count else 0,
        "Reset 5 viewers of TempPassBasic30m?",
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"integration": ""}, "Choose a pass."),
        ({"integration": "TempPassBasic30m"}, "Choose a pass."),
        ({"kinds": ""}, "Choose devices, user keys, or both."),
        ({"kinds": "all"}, "Choose devices, user keys, or both."),
        ({"kinds": "keys"}, "Pass &#39;TempPassBasic30m&#39; knows nobody by a user key; reset its devices."),
        ({"integration": "ACME1/NOPE"}, "There is no pass &#39;NOPE&#39; in this environment."),
        (
            {"started_before": "yesterday"},
            "Write the moment before which a trial began as RFC 3339 has it, e.g. 2026-12-31T20:00:00Z.",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_in_place(olga: Browser, fields: dict[str, str], sentence: str) -> None:
    answer = plan(olga, app_id="com.acme.tv", **fields)
    kept = forms(answer)[-1].fields["app_id"]
    assert (answer.status_code, said(answer), kept) == (400, sentence, "com.acme.tv")


@pytest.mark.parametrize("role", ["viewer", "support"])
def test_who_may_not_reset_many_has_no_form_and_sends_none(
    sit: Callable[..., Browser], olga: Browser, role: str
) -> None:
    planned, anna = plan(olga), sit("anna", role)
    own = forms(anna.get(HERE))[0].fields["form_token"]
    pages = [anna.get(path).status_code for path in ("reset", planned.url.path)]
    sent = [
        anna.client.post(path, data={**forms(page)[-1].fields, **BASIC, "typed": "TempPassBasic30m", "form_token": own})
        for path, page in ((f"{HERE}/reset", olga.get("reset")), (planned.url.path, planned))
    ]
    assert ([*pages, *(each.status_code for each in sent)], "/reset" in anna.get(HERE).text) == ([403] * 4, False)


def test_a_plan_is_shown_to_who_made_it_and_where(sit: Callable[..., Browser], olga: Browser) -> None:
    path = plan(olga).url.path
    asked = [
        sit("otto").get(path),
        sit("two", channels=["ACME2"]).get(path),
        olga.get(path.replace("release-production", "release-staging")),
        olga.get(path),
    ]
    assert [each.status_code for each in asked] == [409, 409, 409, 200]


def test_an_operator_sees_the_passes_of_their_channels(sit: Callable[..., Browser]) -> None:
    page = sit("two", channels=["ACME2"]).get("reset")
    assert [part.partition('"')[0] for part in page.text.split('<option value="')[1:]] == [
        "",
        "ACME2/TempPassBasic30m",
        "ACME2/Daily",
    ]


def test_a_later_reset_is_to_be_undone_first(double: Double, olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    first = apply(olga, plan(olga, started_before="2026-01-01T12:00"))
    double.clock.advance(1)
    second = apply(olga, plan(olga))
    before = olga.get(first.url.path)
    assert (f'href="{second.url.path}">Undo that one first' in before.text, "Undo this reset" in before.text) == (
        True,
        False,
    )
    refused = olga.send(first, "/undo", {"reason": SCRIPT})
    assert (refused.status_code, said(refused).partition(";")[0]) == (409, "A later reset of everybody stands")


def test_a_reset_of_a_part_that_was_broken_off_is_told_so_and_finished(
    double: Double, olga: Browser, crowd: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop that went through it has ended, as a process does."""
    crowd(1)
    planned, store = plan(olga, started_before="2026-01-01T12:00"), double.application.store
    ledgers = store.ledgers

    async def away(*asked: Any) -> Any:
        if asked[-1] == CHUNK:  # and not what counting asks for
            await asyncio.Event().wait()
        return await ledgers(*asked)

    with monkeypatch.context() as patched:
        patched.setattr(store, "ledgers", away)
        patched.setattr(reset, "PATIENCE_S", 0)
        begun = apply(olga, planned)
    finished = olga.send(begun, "/finish")
    assert [words(page).partition("yet.")[2][:24] for page in (begun, finished)] == [" 0 viewers reset so far.", ""]
    assert "Done. 1 viewer reset." in words(finished)


@pytest.mark.parametrize("role", ["viewer", "support"])
def test_who_may_not_reset_many_does_not_finish_or_undo_one(
    sit: Callable[..., Browser], olga: Browser, crowd: Callable[..., None], role: str
) -> None:
    crowd(1)
    done = apply(olga, plan(olga, started_before="2026-01-01T12:00"))
    anna = sit("anna", role)
    own = {"form_token": forms(anna.get(HERE))[0].fields["form_token"]}
    sent = [anna.client.post(f"{done.url.path}/{what}", data=own).status_code for what in ("undo", "finish")]
    assert ([anna.get(done.url.path).status_code, *sent], words(olga.get(done.url.path)).count("Done.")) == (
        [403] * 3,
        1,
    )


# --- two persons


@pytest.fixture
def guarded(double: Double) -> None:
    """Let the pass ask for a reason and for two persons."""
    double.apply(CATALOGUE.replace('name = "Free half hour"', "reason_required = true\napprovals = 2"))


@pytest.mark.usefixtures("guarded")
def test_what_one_operator_asks_for_another_confirms(
    sit: Callable[..., Browser], olga: Browser, crowd: Callable[..., None]
) -> None:
    otto = sit("otto")
    crowd(3)
    asked = apply(olga, plan(olga), reason=f"ticket 7 {SCRIPT}")
    assert (asked.url.path, "Asked for." in words(asked), "waiting marked" in asked.text) == (
        f"{HERE}/approvals",
        True,
        True,
    )
    assert heading(plan(olga)) == "Reset 3 viewers of TempPassBasic30m?"
    waiting = otto.get("approvals")
    told = words(waiting).partition("Asked for by")[2].partition("Waits until")[0]
    assert told == (
        f" olga, 2026-01-01 10:00:00 UTC Reason ticket 7 {SCRIPT} Pass TempPassBasic30m on channel ACME1 Trials"
        " 3 that run, 0 that are over "
    )
    confirmed = otto.send(waiting, approval_of(waiting), {"approve": "yes"})
    assert (heading(confirmed), "operator:otto" in words(confirmed)) == ("Reset of everybody", True)
    assert (heading(plan(olga)), words(otto.get("approvals")).count("Nothing waits.")) == (
        "Reset 0 viewers of TempPassBasic30m?",
        1,
    )
    olga.send(olga.get(confirmed.url.path), "/undo", {"reason": "ticket 8"})
    assert heading(plan(olga)) == "Reset 3 viewers of TempPassBasic30m?"


@pytest.mark.usefixtures("guarded")
def test_nobody_confirms_their_own(olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    asked = apply(olga, plan(olga))
    refused = olga.send(asked, approval_of(asked), {"approve": "yes"})
    assert (refused.status_code, said(refused), forms(refused)[-1].buttons) == (
        403,
        "Nobody confirms what they asked for themselves; another operator has to.",
        [("approve", "no")],
    )


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("who", ["olga", "otto"])
def test_what_is_declined_is_not_done(
    sit: Callable[..., Browser], olga: Browser, crowd: Callable[..., None], who: str
) -> None:
    crowd(1)
    apply(olga, plan(olga))
    browser = olga if who == "olga" else sit(who)
    waiting = browser.get("approvals")
    sent = [browser.send(waiting, approval_of(waiting), {"approve": "no"}) for _ in range(2)]
    assert (
        [words(each).count("Declined. Nobody of TempPassBasic30m was reset.") for each in sent],
        heading(plan(olga)),
    ) == (
        [1, 1],
        "Reset 1 viewer of TempPassBasic30m?",
    )


@pytest.mark.usefixtures("guarded")
def test_what_waits_no_more_is_said(sit: Callable[..., Browser], olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    apply(olga, plan(olga))
    browsers = [sit("otto"), sit("third")]
    pages = [browser.get("approvals") for browser in browsers]
    answers = [
        browser.send(page, approval_of(page), {"approve": word})
        for browser, page, word in zip(browsers, pages, ["no", "yes"], strict=True)
    ]
    assert [(each.status_code, said(each)) for each in answers] == [
        (200, ""),
        (404, "Nothing of this name waits for a second person; an hour ends it."),
    ]


@pytest.mark.usefixtures("guarded")
def test_one_reset_of_a_pass_waits_at_a_time(olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    first, second = plan(olga), plan(olga)
    apply(olga, first)
    refused = apply(olga, second)
    assert (refused.status_code, f'href="{HERE}/approvals">What waits' in refused.text) == (409, True)


@pytest.mark.usefixtures("guarded")
def test_a_reason_that_is_asked_for_is_missed(olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    refused = apply(olga, plan(olga), reason="")
    assert (refused.status_code, said(refused)) == (
        400,
        "Pass &#39;TempPassBasic30m&#39; asks for a reason; send reason, such as a ticket&#39;s number.",
    )


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("role", "limits", "status"),
    [("viewer", {}, 403), ("support", {}, 403), ("operator", {"channels": ["ACME2"]}, 404), ("admin", {}, 200)],
)
def test_who_decides_is_an_operator_of_the_channel(
    sit: Callable[..., Browser], olga: Browser, crowd: Callable[..., None], role: str, limits: Any, status: int
) -> None:
    crowd(1)
    asked = apply(olga, plan(olga))
    anna = sit("anna", role, **limits)
    own = {"form_token": forms(anna.get(HERE))[0].fields["form_token"], "approve": "yes"}
    sent = anna.client.post(f"{HERE}/approvals/{approval_of(asked)}", data=own)
    seen = "Decline" in anna.get("approvals").text
    assert (sent.status_code, seen) == (status, False)


def approval_of(page: httpx2.Response) -> str:
    """Answer the id of the one reset that waits."""
    (form,) = [each for each in forms(page) if "/approvals/" in each.action]
    return form.action.rpartition("/")[2]


def test_a_plan_is_copied_for_the_shell(olga: Browser, crowd: Callable[..., None]) -> None:
    crowd(1)
    planned = plan(olga, started_before="2026-01-01T12:00", over="on")
    id_ = planned.url.path.rpartition("/")[2]
    assert [
        f"temppass reset --profile desk --requestor ACME1 --mvpd TempPassBasic30m --all-devices --over"
        f" --started-before 2026-01-01T12:00:00.000Z --apply {id_}" in words(planned),
        f'"everybody":"devices","plan":"{id_}","only":{{"over":true,"started_before":"2026-01-01T12:00:00.000Z"}}}}'
        in words(planned),
        "<details" in plan(olga, app_id="com.acme.tv").text.partition("<main")[2],
    ] == [True, True, False]


def test_script_that_somebody_wrote_stays_text(double: Double, olga: Browser, crowd: Callable[..., None]) -> None:
    named = CATALOGUE.replace("Free half hour", "<script>x</script>").replace("Acme One", "'><img src=x onerror=1>")
    double.apply(named)
    crowd(1)
    double.clock.advance(1_800_000)
    crowd(1, "late")
    planned = plan(olga)
    pages = [
        olga.get("reset"),
        plan(olga, app_id=SCRIPT, kinds="keys", started_before=SCRIPT),
        planned,
        apply(olga, planned, typed=SCRIPT, reason=SCRIPT),
        done := apply(olga, plan(olga, over="on"), reason=SCRIPT),
        olga.send(done, "/undo", {"reason": f"{SCRIPT} a@b.example"}),
        apply(olga, planned, reason=SCRIPT),
    ]
    wild = [part for page in pages for part in ("<script>x", "<img src=x") if part in page.text]
    assert (wild, [page.status_code for page in pages]) == ([], [200, 400, 200, 400, 200, 400, 200])
