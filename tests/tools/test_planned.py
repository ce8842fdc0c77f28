"""
Resets of everybody, approvals and recurring resets at the command line: what is sent, shown and refused, against a
service that is played by script; then the walk against the real one.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.test_control import IN, MOMENT, PLANNED, SCHEDULE, TWO_PERSONS, WAITING
from tests.test_tidy import ROOT, blocks
from tests.tools.test_desk import DONE, Desk, desk, known

from temppass import Client, Control, MemoryVault, Viewer, place_at
from temppass.testing import Double, serving

__all__ = ["desk", "known"]

ALL = {"channel": "REF", "pass": "P", "everybody": "devices"}
BOTH = {**ALL, "everybody": "both"}
COUNTED = "12,345 trials run and 678 are over (estimated)"
RECEIPT = {**DONE, "matched": None}
APPLY = "temppass reset --profile desk --requestor REF --mvpd P --all-devices"
NARROW = ["--over", "--started-before", MOMENT, "--app-id", "tv-app"]
NARROWED = {"over": True, "started_before": MOMENT, "app_id": "tv-app"}


# --- everybody


def test_a_plan_is_counted_and_told_with_the_command_that_applies_it(known: Desk) -> None:
    known.next = [(201, PLANNED)]
    done = known.run("reset", "--all-devices", "--plan", *NARROW, "--share", "0.5", "--reason", "the final")
    assert (done.code, known.bodies) == (0, [(f"{IN}/plans", {**ALL, "only": NARROWED, "share": 0.5})])
    assert done.out.splitlines() == [
        COUNTED,
        "EXAMPLE  DIGEST     SINCE                 TITLES",
        "device   9f2c0a1b…  2026-01-01T10:00:00Z  2",
        "plan   plan-1",
        "until  2026-01-01T10:00:00Z",
        f"apply  {APPLY} {' '.join(NARROW)} --reason 'the final' --apply plan-1",
    ]


def test_a_plan_is_one_document_too(known: Desk) -> None:
    known.next = [(201, PLANNED)]
    told = json.loads(known.run("reset", "--all-keys", "--plan", "--json").out)
    assert (told["running"], told["over"], told["is_exact"], told["id"], "--all-keys --apply" in told["apply"]) == (
        12_345, 678, False, "plan-1", True
    )  # fmt: skip


def test_what_was_planned_is_applied_as_it_was_planned(known: Desk) -> None:
    known.next = [(201, RECEIPT)]
    done = known.run("reset", "--all-devices", "--all-keys", *NARROW, "--apply", "plan-1", "--reason", "the final")
    assert (done.code, known.bodies) == (
        0, [(f"{IN}/resets", {**BOTH, "only": NARROWED, "plan": "plan-1", "reason": "the final"})]
    )  # fmt: skip
    assert done.out.splitlines()[1].split() == ["all", "devices", "and", "all", "keys", "-", "act-1"]
    assert "temppass undo act-1 --profile desk" in done.said


def test_who_means_it_plans_and_applies_in_one_go(known: Desk) -> None:
    known.next = [(201, PLANNED), (201, RECEIPT)]
    done = known.run("reset", "--all-devices", "--yes")
    assert (done.code, known.bodies) == (0, [(f"{IN}/plans", ALL), (f"{IN}/resets", {**ALL, "plan": "plan-1"})])
    assert (done.said.splitlines()[0], "about to reset ALL DEVICES of REF / P" in done.said) == (COUNTED, True)


def test_what_was_done_to_everybody_is_one_document(known: Desk) -> None:
    known.next = [(201, PLANNED), (201, RECEIPT)]
    (told,) = json.loads(known.run("reset", "--all-devices", "--yes", "--json").out)
    plan = told.pop("plan")
    assert (plan["id"], plan["running"]) == ("plan-1", 12_345)
    assert told == {
        "target": "all devices", "requestor": "REF", "mvpd": "P", "reset_id": "act-1", "matched": None,
        "approval": None, "undo_until": 1_767_261_600_123,
    }  # fmt: skip


def test_everybody_is_not_reset_unasked(known: Desk) -> None:
    done = known.run("reset", "--all-devices")
    assert (done.code, "--apply PLAN" in done.said, known.asked) == (2, True, [])


def test_a_second_person_is_asked_for_by_name_of_the_role(known: Desk) -> None:
    known.next = [(202, {"approval": "ask-1"})]
    done = known.run("reset", "--all-devices", "--apply", "plan-1")
    assert (done.code, done.out) == (0, "approval  ask-1\n")
    said = "nothing is reset yet: another operator (role operator or admin, of channel REF)"
    assert (said in done.said, "temppass approval confirm ask-1" in done.said) == (True, True)


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        (
            (403, {"code": "role_missing", "detail": "This needs the role operator; yours is support."}),
            4,
            "ask somebody",
        ),
        ((409, {"code": "plan_outdated", "detail": "It would touch 9 trials now."}), 1, "--plan"),
        ((400, {"code": "reason_required", "detail": "Pass 'P' asks for a reason."}), 1, "--reason TEXT"),
        ((409, {"code": "already_so", "detail": "A reset of this pass waits."}), 1, "temppass approval list"),
    ],
)
def test_a_refused_reset_of_everybody_says_what_to_do(
    known: Desk, said: tuple[int, dict[str, Any]], code: int, hint: str
) -> None:
    known.next = [said]
    done = known.run("reset", "--all-devices", "--apply", "plan-1")
    assert (done.code, said[1]["detail"] in done.said, hint in done.said.splitlines()[-1]) == (code, True, True)


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["--plan"], ["plans"]),
        (["--apply", "plan-1"], ["resets"]),
        (["--yes"], ["plans", "resets"]),
    ],
)
def test_a_reset_of_everybody_that_is_only_shown_sends_nothing(
    known: Desk, arguments: list[str], paths: list[str]
) -> None:
    shown = known.run("reset", "--all-devices", *arguments, "--show-request")
    dry = known.run("reset", "--all-devices", *arguments, "--dry-run")
    assert (shown.code, dry.code, known.asked, "nothing was sent" in dry.said) == (0, 0, [], True)
    assert [line.split()[4].rpartition("/")[2] for line in shown.out.splitlines()] == paths


@pytest.mark.parametrize(
    "arguments",
    [
        ["--all-devices", "--plan", "--apply", "plan-1"],
        ["--all-devices", "--apply", ""],
        ["--all-devices", "--apply", "plan-1", "--share", "0.5"],
        ["--all-devices", "--plan", "--share", "2"],
        ["--all-devices", "--plan", "--app-id", ""],
        ["--all-devices", "--plan", "--started-before", "yesterday"],
        ["--device", "tv", "--plan"],
        ["--device", "tv", "--over"],
        ["--over", "--plan"],
        ["--from", "viewers.csv", "--apply", "plan-1"],
    ],
)
def test_a_plan_that_cannot_be_meant_is_wrong_usage_and_sends_nothing(known: Desk, arguments: list[str]) -> None:
    assert (known.run("reset", *arguments).code, known.asked) == (2, [])


@pytest.mark.parametrize("option", [["--plan"], ["--apply", "p"], ["--over"], NARROW[1:3]])
def test_an_application_plans_nothing(desk: Desk, option: list[str]) -> None:
    desk.run("login", "--profile", "app", "--url", desk.url, "--offline", stdin="aaaa.bbbb.cccc")
    place = ["--profile", "app", "--requestor", "REF", "--mvpd", "P"]
    done = desk.run("reset", *place, "--all-devices", "--yes", *option)
    assert (done.code, "profile of an operator" in done.said, desk.asked) == (2, True, [])


# --- approvals and recurring resets


def test_what_waits_is_listed_with_whom_it_means_and_who_asked(known: Desk) -> None:
    known.next = [(200, {"approvals": [WAITING, {**WAITING, "everybody": "keys", "only": {}, "reason": None}]})]
    _, first, second = known.run("approval", "list").out.splitlines()
    assert [part in first for part in (
        "REF / P", "all devices and keys, only those that are over and began before", "bob", "the final", "ask-1",
        "3 trials run and 4 are over (counted)",
    )] == [True] * 6  # fmt: skip
    assert ("all keys " in second, " -  " in second) == (True, True)


@pytest.mark.parametrize(("verb", "approves"), [("confirm", True), ("decline", False)])
def test_what_waits_is_decided_after_it_was_told_what_it_is(known: Desk, verb: str, *, approves: bool) -> None:
    known.next = [(200, {"approvals": [WAITING]}), (201, RECEIPT)]
    done = known.run("approval", verb, "ask-1")
    assert (done.code, known.bodies) == (
        0, [(f"{IN}/approvals", None), (f"{IN}/approvals/ask-1", {"approve": approves})]
    )  # fmt: skip
    assert (f"about to {verb} a reset of all devices and keys" in done.said, "asked for by bob" in done.said) == (
        True,
        True,
    )
    assert done.out.split()[:2] == ["act", "act-1"]


def test_nobody_confirms_their_own(known: Desk) -> None:
    known.next = [(200, {"approvals": []}), (403, {"code": "own_approval", "detail": "Another has to."})]
    done = known.run("approval", "confirm", "ask-1")
    assert (done.code, "ask another operator" in done.said) == (4, True)


def test_recurring_resets_are_listed_with_their_next_moment(known: Desk) -> None:
    paused = {**SCHEDULE, "paused_at": MOMENT, "next": [], "last": []}
    known.next = [(200, {"schedules": [SCHEDULE, paused]})]
    _, on, off = known.run("schedule", "list").out.splitlines()
    assert ("2026-01-01 11:00 Europe/Paris, twice" in on, "paused since 2026-01-01T10:00:00Z" in off) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["pause", "ACME/Daily"], f"{IN}/schedules/ACME/Daily"),
        (["pause"], f"{IN}/schedules/REF/P"),
        (["resume", "--mvpd", "Daily"], f"{IN}/schedules/REF/Daily"),
    ],
)
def test_a_recurring_reset_is_paused_and_goes_on(known: Desk, arguments: list[str], path: str) -> None:
    known.next = [(200, {"id": "act-1"})]
    done = known.run("schedule", *arguments)
    assert (done.code, done.out.split(), known.bodies) == (
        0, ["act", "act-1"], [(path, {"paused": arguments[0] == "pause"})]
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["pause", "Daily"], ["pause", "/Daily"], ["resume", "A/B/C"]])
def test_a_recurring_reset_has_a_channel_and_a_pass(known: Desk, arguments: list[str]) -> None:
    assert (known.run("schedule", *arguments).code, known.asked) == (2, [])


SHOWN = [["approval", "list"], ["approval", "confirm", "ask-1"], ["schedule", "list"], ["schedule", "pause"]]


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
@pytest.mark.parametrize("only", ["--dry-run", "--show-request"])
def test_nothing_of_it_is_sent_that_is_only_shown(known: Desk, command: list[str], only: str) -> None:
    done = known.run(*command, only)
    assert (done.code, known.asked, '"$TEMPPASS_OPERATOR_TOKEN"' in done.out) == (0, [], only == "--show-request")


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_what_waits_and_recurs_is_data_too(known: Desk, command: list[str]) -> None:
    lists = {"approvals": [WAITING], "schedules": [SCHEDULE]}
    known.next = [(200, {**lists, "id": "act-1"}), (200, {"id": "act-1"})]
    assert json.loads(known.run(*command, "--json").out) != {}


# --- the real service


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with serving(APPLIED, now=1_767_261_600_000) as listening:
        yield listening


APPLIED = f"""{TWO_PERSONS}
[[pass]]
id = "Hour"
kind = "basic"
ttl = "1h"
channels = ["REF"]

[[application]]
id = "player"
channels = "all"
scopes = ["api:client:v2"]
"""
PLACE = ("REF", "Hour")


def seated(double: Double, desk: Desk, name: str, role: str, mvpd: str) -> None:
    """Let an operator log in who was created under this name, unless that was done before."""
    where = ["--url", double.url, "--requestor", "REF", "--mvpd", mvpd]
    desk.run("login", "--profile", name, "--operator", *where, stdin=double.operator(f"{name}-{mvpd}", role))


def test_everybody_is_planned_reset_and_taken_back(double: Double, desk: Desk) -> None:
    seated(double, desk, "ann", "operator", "Hour")
    seated(double, desk, "sue", "support", "Hour")
    everybody = ["reset", "--profile", "ann", "--all-devices"]
    with Client(place_at(double.url), double.mint("player"), vault=MemoryVault()) as player:

        def permits(device: str) -> bool:
            (verdict,) = player.authorize(*PLACE, Viewer(device), ["FILM"])
            return type(verdict).__name__ == "Permit"

        permits("tv-1")
        double.clock.advance(3_600_000)
        permits("tv-2")
        told = json.loads(desk.run(*everybody, "--over", "--plan", "--json").out)
        another = desk.run(*everybody, "--apply", told["id"])
        hindered = desk.run("reset", "--profile", "sue", "--all-devices", "--plan")
        (narrow,) = json.loads(desk.run(*everybody, "--over", "--apply", told["id"], "--json").out)
        twice = desk.run(*everybody, "--over", "--apply", told["id"])
        new = permits("tv-1")
        (whole,) = json.loads(desk.run(*everybody, "--yes", "--json").out)
        first = desk.run("undo", narrow["reset_id"], "--profile", "ann")
        undone = desk.run("undo", whole["reset_id"], "--profile", "ann")
        double.clock.advance(3_600_000 - 1)
        again = (permits("tv-1"), permits("tv-2"))
    assert (told["running"], told["over"], told["is_exact"], narrow["matched"]) == (0, 1, True, 1)
    assert ((another.code, "of another reset" in another.said), (hindered.code, "operator" in hindered.said)) == (
        (1, True), (4, True)
    )  # fmt: skip
    assert (twice.code, "--plan" in twice.said, new) == (1, True, True)
    assert (whole["plan"]["running"], whole["matched"], first.code, whole["reset_id"] in first.said) == (
        2,
        None,
        1,
        True,
    )
    assert (undone.code, again) == (0, (True, True))


def test_two_persons_reset_everybody_from_two_shells(double: Double, desk: Desk) -> None:
    for name in ("ann", "ben"):
        seated(double, desk, name, "operator", "Two")
    asked = desk.run("reset", "--profile", "ann", "--all-devices", "--yes", "--json")
    (waits,) = json.loads(asked.out)
    (listed,) = json.loads(desk.run("approval", "list", "--profile", "ben", "--json").out)
    own = desk.run("approval", "confirm", waits["approval"], "--profile", "ann")
    done = json.loads(desk.run("approval", "confirm", waits["approval"], "--profile", "ben", "--json").out)
    gone = desk.run("approval", "decline", waits["approval"], "--profile", "ben")
    undone = desk.run("undo", done["id"], "--profile", "ben")
    with Control(double.url, double.operator("eve", "viewer")) as looks:
        acts = [act.kind for act in looks.acts() if act.mvpd == "Two"]
    assert (waits["reset_id"], listed["id"], listed["asked_by"]) == (None, waits["approval"], "ann-Two")
    assert (own.code, gone.code, undone.code) == (4, 1, 0)
    assert acts == ["undo", "reset.everybody", "approval.ask"]


def test_a_recurring_reset_is_paused_from_a_shell(double: Double, desk: Desk) -> None:
    seated(double, desk, "cat", "operator", "Two")
    desk.run("schedule", "pause", "REF/Two", "--profile", "cat")
    twice = desk.run("schedule", "pause", "REF/Two", "--profile", "cat")
    listed = desk.run("schedule", "list", "--profile", "cat")
    desk.run("schedule", "resume", "--profile", "cat")
    going = json.loads(desk.run("schedule", "list", "--profile", "cat", "--json").out)
    assert (twice.code, "paused since" in listed.out, [each["paused_at"] for each in going]) == (1, True, [0])


# --- docs/operators.md

EVENT = """
[[programmer]]
id = "acme"

[[channel]]
id = "ACME1"
programmer = "acme"

[[pass]]
id = "FreeHalfHour"
kind = "basic"
ttl = "30m"
resets = "0 5 * * *"
channels = ["ACME1"]

[[pass]]
id = "FinalWeekend"
kind = "basic"
ttl = "2h"
channels = ["ACME1"]
reason_required = true
approvals = 2
"""
_ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"


def test_the_page_for_operators_is_a_walk_that_can_be_taken(desk: Desk) -> None:
    """Each command in its order; an id of the page is the one that was told last when it comes first."""
    script = "\n".join(blocks(ROOT / "docs" / "operators.md", "sh"))
    lines = [line for line in script.splitlines() if line]
    ids: dict[str, str] = {}
    last, codes = "", []
    with serving(EVENT, now=1_767_261_600_000) as double:
        where = ["--url", double.url, "--requestor", "ACME1", "--mvpd", "FreeHalfHour"]
        desk.run("login", "--profile", "ben", "--operator", *where, stdin=double.operator("ben", "operator"))
        for line in lines:
            command, _, token = line.replace("https://tp.example", double.url).partition(" < ")
            for told in re.findall(_ID, command):
                command = command.replace(told, ids.setdefault(told, last))
            done = desk.run(*shlex.split(command)[1:], stdin=double.operator("anna", "operator") if token else None)
            codes.append(done.code)
            if "--plan" in command:
                done = desk.run(*shlex.split(done.out.splitlines()[-1])[2:])
            last = [last, *re.findall(_ID, done.out)][-1]
    assert codes == [0] * len(lines)
