"""Acts as pages: what is listed, by which address, what one act says of itself, and how it is taken back."""

import asyncio
import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any, get_args
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import DEVICE, T0

from temppass.core.act import (
    Act,
    ByApplication,
    ByOperator,
    EverybodyReset,
    NarrowedReset,
    NarrowedResetEnd,
    Record,
    StatementMint,
    SubjectReset,
    Undo,
    recorded,
)
from temppass.core.model import ANYWHERE, Changes, Subject, SubjectKind
from temppass.core.operator import Role
from temppass.store import Keys
from temppass.testing import Double
from temppass.web.console.acts import LISTED, NAMED_MAX
from temppass.web.console.look import DONE

CONTROL = "/control/v1/environments/release-production"
BASIC = {"channel": "ACME1", "pass": "TempPassBasic30m"}
SCRIPT = "<script>x</script>\"'><img src=x onerror=1>"
#: the same, as far as an id can be written in a path
ODD = SCRIPT.replace("/", "")


class Seated(Browser):
    """One who has signed in, and has their token at hand for the control API."""

    def __init__(self, double: Double, role: str = "support", name: str = "anna", *channels: str) -> None:
        super().__init__(double)
        self.token = double.operator(name, role, (), channels)
        self.sign_in(self.token)

    def control(self, path: str, body: object, **headers: str) -> httpx2.Response:
        token = {"Authorization": f"Bearer {self.token}", **headers}
        return self.client.post(f"{CONTROL}/{path}", json=body, headers=token)

    def act(self, id_: str) -> Any:
        """Answer what the control API tells of an act."""
        return self.client.get(f"{CONTROL}/acts/{id_}").json()


def reset(browser: Seated, **named: object) -> str:
    """Reset a viewer, and answer the id of the act."""
    return str(browser.control("resets", {**BASIC, "device": DEVICE.decode(), **named}).json()["id"])


def record(double: Double, *records: Record) -> None:
    application, changes = double.application, Changes(records=tuple(map(recorded, records)))
    keys = Keys("release-production", asyncio.run(application.service.world("release-production")).version)
    asyncio.run(application.store.transact(keys, lambda _found: (None, changes)))


def everybody(number: int, channel_id: str = "ACME1", reason: str = "") -> Record:
    actor = ByOperator("otto", Role.OPERATOR)
    return Record(f"r{number}", T0 + number, actor, EverybodyReset(channel_id, "P", ()), reason or f"number {number}")


def listed(page: httpx2.Response) -> list[str]:
    """Answer the ids of the acts that a page lists."""
    return re.findall(r'data-act="([^"]*)"', page.text)


# --- many


def test_acts_are_listed_the_newest_first(double: Double) -> None:
    record(double, *map(everybody, range(3)))
    assert listed(Seated(double).get("acts?actor=operator:otto")) == ["r2", "r1", "r0"]


def test_a_page_goes_on_where_the_one_before_ended(double: Double) -> None:
    record(double, *map(everybody, range(LISTED + 2)))
    browser = Seated(double)
    first = browser.get("acts?kind=reset.everybody")
    (older,) = [unescape(each) for each in re.findall(r'href="([^"]*after=[^"]*)"', first.text)]
    assert [*listed(first), *listed(browser.get(older))] == [f"r{number}" for number in reversed(range(LISTED + 2))]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("since=2026-01-01T10:00:00.001Z", ["b", "a"]),
        ("since=2026-01-01T10:00:00.001", ["b", "a"]),
        ("kind=statement.mint", ["b", "a"]),
        ("kind=statement.mint&until=2026-01-01T10:00:00.002Z", ["a"]),
        ("actor=application:ops", ["b"]),
        ("channel=ACME2", ["r0"]),
        ("pass=P", ["r0"]),
    ],
)
def test_an_address_says_all_that_is_looked_for(double: Double, asked: str, found: list[str]) -> None:
    record(double, everybody(0, "ACME2"))
    record(double, Record("a", T0 + 1, ByOperator("otto", Role.ADMIN), StatementMint("ops")))
    record(double, Record("b", T0 + 2, ByApplication("ops", "c"), StatementMint("ops")))
    assert listed(Seated(double).get(f"acts?{asked}")) == found


def test_what_a_filter_leaves_empty_is_no_part_of_its_address(double: Double) -> None:
    answer = Seated(double).get("acts?since=&until=&kind=grant&actor=&channel=&pass=&subject=")
    assert str(answer.url.query.decode()) == "kind=grant"


@pytest.mark.parametrize("role", Role)
def test_every_role_may_look(double: Double, role: Role) -> None:
    record(double, everybody(0))
    browser = Seated(double, role)
    assert (listed(browser.get("acts?pass=P")), browser.get("acts/r0").status_code) == (["r0"], 200)


@pytest.mark.parametrize(
    "asked", ["since=yesterday", "subject=zz", "after=x", "after=" + "9" * 19, "nothing=1", "actor=%00", "email=a@b.c"]
)
def test_what_cannot_be_looked_for_is_said_on_the_page(double: Double, asked: str) -> None:
    answer = Seated(double).get(f"acts?{asked}")
    assert (answer.status_code, answer.text.count('role="alert"')) == (400, 1)


def test_an_operator_of_channels_sees_the_acts_on_these_alone(double: Double) -> None:
    record(double, everybody(0), everybody(1, "ACME2"))
    browser = Seated(double, "operator", "two", "ACME2")
    asked = [browser.get(f"acts{path}") for path in ("", ".jsonl", "/r1", "/r0", "?channel=ACME1")]
    shown = [listed(asked[0]), [json.loads(line)["id"] for line in asked[1].text.splitlines()]]
    assert (shown, [each.status_code for each in asked]) == ([["r1"], ["r1"]], [200, 200, 200, 404, 403])


@pytest.mark.parametrize(
    ("how", "spelled", "member"),
    [
        ("device", DEVICE.decode(), "device"),
        ("email", "kim@example.com", "email"),
        ("key", "kim@example.com", "email"),
    ],
)
def test_a_viewer_is_found_by_an_address_of_digests_alone(double: Double, how: str, spelled: str, member: str) -> None:
    browser = Seated(double)
    id_ = reset(browser, **{"pass": "TempPassPromo5", "device": DEVICE.decode(), "email": "kim@example.com"})
    answer = browser.send(browser.get("acts?kind=reset"), "/viewer", {"how": how, "viewer": spelled})
    expected = browser.control("acts/search", {member: spelled}).json()["records"]
    query = parse_qs(urlsplit(str(answer.url)).query)
    assert listed(answer) == [id_] == [each["id"] for each in expected]
    assert ({*query}, re.fullmatch(r"[0-9a-f]+", query["subject"][0]) is not None) == ({"kind", "subject"}, True)


@pytest.mark.parametrize("fields", [{"how": "name", "viewer": "x"}, {"viewer": ""}, {"how": "device", "viewer": " "}])
def test_who_is_not_named_is_not_found_and_what_was_typed_stays(double: Double, fields: dict[str, str]) -> None:
    browser = Seated(double)
    answer = browser.send(browser.get("acts"), "/viewer", fields)
    kept = next(form for form in forms(answer) if form.action.endswith("/viewer")).fields["viewer"]
    assert (answer.status_code, answer.text.count('role="alert"'), kept) == (400, 1, fields["viewer"])


@pytest.mark.parametrize(("ending", "accept"), [("csv", "text/csv"), ("jsonl", "application/jsonl")])
def test_a_file_is_that_of_the_control_api(double: Double, ending: str, accept: str) -> None:
    record(double, *(everybody(number, reason=f"={number}") for number in range(120)))
    browser = Seated(double)
    mine = browser.get(f"acts.{ending}?kind=reset.everybody")
    theirs = browser.control("acts/search", {"kinds": ["reset.everybody"]}, Accept=accept)
    name = f'attachment; filename="acts-release-production.{ending}"'
    assert (mine.content, mine.headers["Content-Disposition"]) == (theirs.content, name)
    assert mine.headers["Content-Type"].partition(";")[0] == theirs.headers["Content-Type"].partition(";")[0]


def test_a_file_of_what_cannot_be_looked_for_is_none(double: Double) -> None:
    assert Seated(double).get("acts.csv?since=yesterday").status_code == 400


# --- one


def test_an_act_says_who_when_where_why_and_where_it_stands(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    id_ = reset(browser, reason="ticket 7")
    shape = browser.act(id_)
    page = browser.get(f"acts/{id_}")
    pairs = dict(re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", page.text, re.DOTALL))
    said = {name: " ".join(re.sub(r"<.*?>", "", value).split()) for name, value in pairs.items()}
    assert said == {
        "When": "2026-01-01 10:00:00 UTC",
        "Who": "operator:anna (support)",
        "Channel": "ACME1",
        "Pass": "TempPassBasic30m",
        "Reason": "ticket 7",
        "Matched": "1 trial",
        "Whom": f"device {shape['subjects'][0][:8]}",
        "Place in the chain": "1, sealed",
        "Id": id_,
    }
    assert f'href="{HERE}/viewer/{shape["subjects"][0]}/-"' in page.text


def test_one_viewer_of_device_and_key_has_one_page(double: Double) -> None:
    browser = Seated(double)
    page = browser.get(f"acts/{reset(browser, **{'pass': 'TempPassPromo5', 'email': 'kim@example.com'})}")
    found = re.findall(r"/viewer/([0-9a-f]+|-)/([0-9a-f]+|-)", page.text)
    device, key = found[1][0], found[2][1]
    assert found == [(device, key), (device, "-"), ("-", key)]


def test_an_act_on_many_names_some(double: Double) -> None:
    browser = Seated(double, "operator")
    digests = [f"{number:0{32}x}" for number in range(NAMED_MAX + 5)]
    digits = len(browser.act(reset(browser))["subjects"][0])
    subjects = [digest.zfill(digits) for digest in digests]
    id_ = browser.control("resets", {**BASIC, "subjects": subjects}).json()["id"]
    page = browser.get(f"acts/{id_}")
    assert (page.text.count("/viewer/"), "and 5 more" in words(page)) == (NAMED_MAX, True)


def test_an_act_that_is_not_there_is_not_found(double: Double) -> None:
    assert Seated(double).get("acts/nothing").status_code == 404


def test_a_fresh_act_says_what_was_done(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    said = words(browser.get(f"acts/{reset(browser)}?done"))
    assert "Done: 1 trial matched. It can be undone until 2026-01-02 10:00:00 UTC ." in said


def test_only_what_rests_on_an_act_belongs_to_it(double: Double) -> None:
    """Of two resets of one viewer that were taken back, each names its own undo."""
    viewer = (Subject(SubjectKind.DEVICE, bytes(16)),)
    actor = ByOperator("otto", Role.OPERATOR)
    for number in (1, 2):
        record(double, Record(f"r{number}", T0, actor, SubjectReset("ACME1", "P", viewer, 1)))
        record(double, Record(f"u{number}", T0 + 1, actor, Undo(f"r{number}", 1, 0, "ACME1", "P", viewer)))
    page = Seated(double).get("acts/r1")
    assert re.findall(r'Then: <a href="[^"]*/acts/(.*?)"', page.text) == ["u1"]


def test_what_belongs_to_an_act_is_within_ones_limits_too(double: Double) -> None:
    """The end of a reset of a part of everybody is of no channel."""
    actor = ByOperator("otto", Role.OPERATOR)
    record(double, Record("r1", T0, actor, NarrowedReset("ACME2", "P", None, ANYWHERE, over=True)))
    record(double, Record("e1", T0 + 1, actor, NarrowedResetEnd("r1", 3)))
    pages = [Seated(double).get("acts/r1"), Seated(double, "operator", "two", "ACME2").get("acts/r1")]
    assert ["acts/e1" in page.text for page in pages] == [True, False]


# --- undo


def test_a_reset_is_taken_back_and_both_say_so(double: Double, watch: Callable[..., bool]) -> None:
    watch("TempPassPromo1", "R1", AP_TempPass_Identity="eyJlbWFpbCI6ICJrIn0=")
    browser = Seated(double)
    id_ = reset(browser, **{"pass": "TempPassPromo1"})
    undone = browser.send(browser.get(f"acts/{id_}"), "/undo", {"reason": "ticket 8"})
    undo_id = undone.url.path.rpartition("/")[2]
    shape = browser.act(undo_id)
    assert (shape["kind"], shape["act"], shape["reason"], shape["matched"]) == ("undo", id_, "ticket 8", 1)
    assert undone.url.query == b"done"
    before = browser.get(f"acts/{id_}")
    links = [
        f'Rests on: <a href="{HERE}/acts/{id_}"' in undone.text,
        f'Then: <a href="{HERE}/acts/{undo_id}"' in before.text,
    ]
    assert (links, "/undo" in before.text) == ([True, True], False)


def test_a_grant_is_taken_back(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    id_ = browser.control("grants", {**BASIC, "device": DEVICE.decode(), "minutes": 5}).json()["id"]
    undone = browser.send(browser.get(f"acts/{id_}"), "/undo")
    assert browser.act(undone.url.path.rpartition("/")[2])["act"] == id_


def test_a_form_that_is_sent_twice_undoes_once(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    page = browser.get(f"acts/{reset(browser)}")
    first, second = browser.send(page, "/undo"), browser.send(page, "/undo")
    assert first.url == second.url


def test_a_refusal_stands_on_the_page_and_what_was_typed_stays(double: Double, watch: Callable[..., bool]) -> None:
    """And only then somebody is asked whether to replace the trial that was begun since."""
    watch()
    browser = Seated(double)
    id_ = reset(browser)
    watch()
    page = browser.get(f"acts/{id_}")
    refused = browser.send(page, "/undo", {"reason": "ticket 9"})
    form = forms(refused)[-1]
    assert (refused.status_code, refused.text.count('role="alert"'), form.fields["reason"]) == (409, 1, "ticket 9")
    assert ('name="replace"' in page.text, 'name="replace"' in refused.text) == (False, True)
    assert browser.send(refused, "/undo", {"replace": "1"}).url.query == b"done"


def test_a_reason_that_may_not_be_kept_is_refused_in_place(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    refused = browser.send(browser.get(f"acts/{reset(browser)}"), "/undo", {"reason": "for kim@example.com"})
    assert (refused.status_code, refused.text.count('role="alert"')) == (400, 1)


@pytest.mark.parametrize(
    ("role", "one", "all_"), [("viewer", 0, 0), ("support", 1, 0), ("operator", 1, 1), ("admin", 1, 1)]
)
def test_only_who_may_undo_is_offered_to(
    double: Double, watch: Callable[..., bool], role: str, one: int, all_: int
) -> None:
    watch()
    id_ = reset(Seated(double))
    record(double, everybody(0))
    browser = Seated(double, role, "other")
    assert [browser.get(f"acts/{each}").text.count('/undo"') for each in (id_, "r0")] == [one, all_]


def test_who_may_not_undo_is_refused_with_a_form_of_somebody_else_too(
    double: Double, watch: Callable[..., bool]
) -> None:
    watch()
    id_, browser = reset(Seated(double)), Seated(double, "viewer", "other")
    sent = browser.client.post(f"{HERE}/acts/{id_}/undo", data=forms(browser.get(HERE))[0].fields)
    assert sent.status_code == 403


def test_support_does_not_undo_a_reset_of_everybody(double: Double) -> None:
    record(double, everybody(0))
    browser = Seated(double)
    fields = {"form_token": forms(browser.get(HERE))[0].fields["form_token"]}
    sent = browser.client.post(f"{HERE}/acts/r0/undo", data=fields)
    assert (sent.status_code, "needs the role operator" in words(sent)) == (403, True)


def test_after_a_day_there_is_no_undo(double: Double, watch: Callable[..., bool]) -> None:
    watch()
    browser = Seated(double)
    id_ = reset(browser)
    double.clock.advance(86_400_000)
    browser.sign_in(browser.token)
    assert ("Undo" in words(browser.get(f"acts/{id_}")), browser.get(f"acts/{id_}").status_code) == (False, 200)


# --- whatever somebody wrote


def test_script_in_an_act_stays_text(double: Double) -> None:
    what = EverybodyReset(SCRIPT, SCRIPT, (), approval=ODD)
    record(double, Record("r0", T0, ByApplication(SCRIPT, SCRIPT), what, SCRIPT))
    record(double, Record(ODD, T0, ByOperator(SCRIPT, Role.ADMIN), Undo("r0", 1, 0, SCRIPT, SCRIPT), SCRIPT))
    browser = Seated(double)
    pages = [browser.get(f"acts{path}") for path in ("", "/r0", f"/{quote(ODD)}")]
    assert [(page.status_code, escaped(page)) for page in pages] == [(200, True)] * 3


@pytest.mark.parametrize("name", ["since", "actor", "kind", "channel", "pass", "subject", "after", "<script>"])
def test_script_in_an_address_stays_text(double: Double, name: str) -> None:
    assert escaped(Seated(double).get(f"acts?{quote(name)}={quote(SCRIPT)}"), is_there=False)


def escaped(page: httpx2.Response, *, is_there: bool = True) -> bool:
    """Tell whether SCRIPT stands on a page, and only as a text."""
    return (
        "<script>x" not in page.text
        and "<img src=x" not in page.text
        and ("&lt;script&gt;x" in page.text or not is_there)
    )


def test_every_kind_of_act_has_words() -> None:
    assert {str(each.__struct_config__.tag) for each in get_args(Act)} == {*DONE}
