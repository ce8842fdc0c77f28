"""
Some sequential order explains every answer (history.py) that groups of clients were told (recording.py).

Two hundred groups play with every `make test`; `make history` lets ten thousand play and says how long it took.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest
from tests.e2e.history import (
    BASIC,
    TITLES_MAX,
    TTL_MS,
    Act,
    Answer,
    Authorize,
    Grant,
    Look,
    ResetAll,
    ResetViewer,
    Told,
    Undo,
    is_explained,
)
from tests.e2e.recording import CATALOGUE, LANES, Tokens, record

from temppass.core.grant import MINUTE_MS, Gift
from temppass.core.model import DenyCode, Profile, Subject, SubjectKind
from temppass.core.reset import NotUndone, Refused, Undone

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server

#: how many groups play one after another in each lane
GROUPS = int(os.environ.get("TEMPPASS_TEST_GROUPS", "200")) // LANES
#: no group takes so long
GROUP_S = 1


# --- the checker itself

TV, PHONE = Subject(SubjectKind.DEVICE, b"tv"), Subject(SubjectKind.DEVICE, b"phone")
ANN, BOB = Subject(SubjectKind.USER_KEY, b"ann"), Subject(SubjectKind.USER_KEY, b"bob")
FULL = DenyCode.RESOURCES
FIRST, SECOND = ResetAll(SubjectKind.DEVICE, "first"), ResetAll(SubjectKind.DEVICE, "second")
BOTH, GIFT = ResetViewer((TV, ANN), "both"), Grant((TV, ANN), Gift(minutes=1, titles=1), "gift")


def told(act: Act, answer: Answer, start: int, end: int | None = None) -> Told:
    """One that was sent at `start` and heard at `end`, by default at once; the server's clock says `start`."""
    return Told(act, answer, start, start if end is None else end, start)


def watch(title: str, *subjects: Subject) -> Authorize:
    return Authorize(subjects or (TV, ANN), title)


def state(started_at: int, *used: str) -> Profile:
    return Profile(started_at, started_at + TTL_MS, TITLES_MAX - len(used), used)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([], id="nothing"),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(watch("B"), 1 + TTL_MS, 2), told(watch("C"), FULL, 3)],
            id="one after another",
        ),
        pytest.param(
            [told(watch("A"), FULL, 1, 9), told(watch("B"), 2 + TTL_MS, 2, 9), told(watch("C"), 2 + TTL_MS, 3, 9)],
            id="the last was the first of three at once",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetViewer((TV,)), 1, 2),
                told(watch("A"), 1 + TTL_MS, 3),
                told(ResetAll(SubjectKind.USER_KEY), None, 4),
                told(ResetViewer((ANN,)), 0, 5),
                told(ResetAll(SubjectKind.DEVICE), None, 6),
                told(Look((TV, ANN)), state(7), 7),
                told(watch("A"), 8 + TTL_MS, 8),
            ],
            id="both resets begin anew, one alone does not",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetAll(SubjectKind.DEVICE), None, 2, 9),
                told(ResetAll(SubjectKind.USER_KEY), None, 2, 9),
                told(Look((TV, ANN)), state(1, "A"), 3, 4),
                told(Look((TV, ANN)), state(5), 5, 6),
            ],
            id="a look before and a look after resets that are under way",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(FIRST, None, 2),
                told(SECOND, None, 3),
                told(Undo(FIRST), Refused(NotUndone.LATER_RESET, "second"), 4),
                told(Undo(SECOND), Undone(None), 5),
                told(Undo(FIRST), Undone(None), 6),
                told(Undo(FIRST), Refused(NotUndone.NOTHING_TO_UNDO), 7),
                told(ResetViewer((ANN,)), 1, 8),
                told(watch("B"), 1 + TTL_MS, 9),
            ],
            id="the latest reset is undone first, and once",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(BOTH, 2, 2),
                told(watch("B"), 3 + TTL_MS, 3),
                told(Undo(BOTH), Refused(NotUndone.NEW_TRIAL), 4),
                told(Undo(BOTH, replace=True), Undone(2), 5),
                told(Look((TV, ANN)), state(1, "A"), 6),
            ],
            id="a new trial stands in the way of an undo, or goes",
        ),
        pytest.param(
            [
                told(GIFT, 0, 1),
                told(watch("A"), 2 + TTL_MS, 2),
                told(GIFT, 2, 3, 5),
                told(watch("B"), 2 + TTL_MS + MINUTE_MS, 3, 5),
                told(watch("C"), 2 + TTL_MS + MINUTE_MS, 6),
                told(Undo(GIFT), Undone(2), 7),
                told(watch("C"), 2 + TTL_MS, 8),
                told(watch("D"), FULL, 9),
            ],
            id="what was given is taken back, and not what was watched",
        ),
    ],
)
def test_the_checker_accepts_what_can_have_been(history: list[Told]) -> None:
    assert is_explained(history)


@pytest.mark.parametrize(
    ("history", "explained"),
    [
        ([told(watch("B"), 5 + TTL_MS, 9)], True),
        ([told(watch("B"), 9 + TTL_MS, 9), told(Look((TV, ANN)), state(9, "B"), 10)], True),
        ([told(Look((TV, ANN)), state(5, "A"), 9), told(Look((TV, ANN)), state(9), 10)], False),
        ([told(watch("B"), 2 + TTL_MS, 2, 3), told(Look((TV, ANN)), state(9), 9)], False),
    ],
    ids=["it was done, at its own time", "it was never done", "it was done and lost", "another that was heard is lost"],
)
def test_the_checker_knows_acts_of_which_nobody_heard_the_end(history: list[Told], *, explained: bool) -> None:
    """One that began a trial was sent at 5."""
    assert is_explained(history, unheard=[Told(watch("A"), None, 5, 2**63, 5)]) is explained


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1, 5),
                told(watch("B"), 1 + TTL_MS, 2, 5),
                told(Look((TV, ANN)), state(1, "B"), 6),
            ],
            id="a lost update",
        ),
        pytest.param(
            [told(watch(title), 1 + TTL_MS, number, 9) for number, title in enumerate("ABC")], id="one title too many"
        ),
        pytest.param([told(watch("A"), 1 + TTL_MS, 1, 5), told(watch("B"), 2 + TTL_MS, 2, 5)], id="two windows"),
        pytest.param(
            [
                told(watch("A", TV, ANN), 1 + TTL_MS, 1, 5),
                told(watch("A", PHONE, ANN), 2 + TTL_MS, 2, 5),
            ],
            id="two windows of one user",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetAll(SubjectKind.DEVICE), None, 2),
                told(ResetAll(SubjectKind.USER_KEY), None, 2),
                told(Look((TV, ANN)), state(1, "A"), 3),
            ],
            id="a stale look after a reset of everybody",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetViewer((TV,)), 1, 2),
                told(ResetViewer((ANN,)), 1, 2),
                told(watch("B"), 1 + TTL_MS, 3),
            ],
            id="a stale permit after resets of one",
        ),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1, 9), told(ResetViewer((TV,)), 1, 2, 3), told(ResetViewer((TV,)), 1, 4, 5)],
            id="a reset that comes undone",
        ),
        pytest.param([told(watch("A"), FULL, 1), told(watch("A"), 2 + TTL_MS, 2)], id="a denial without a reason"),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(Look((TV, ANN)), state(2), 2), told(Look((TV, ANN)), state(1), 3)],
            id="a look that began a trial",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(FIRST, None, 2),
                told(ResetViewer((ANN,)), 1, 3),
                told(watch("B"), 4 + TTL_MS, 4, 9),
                told(Undo(FIRST), Undone(None), 5, 6),
                told(Look((TV, BOB)), state(1, "A"), 6, 7),
                told(Look((TV, BOB)), state(4, "B"), 10),
            ],
            id="a trial that is begun over one that an undo brought back",
        ),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(BOTH, 2, 2)] + [told(Undo(BOTH), Undone(2), 3, 9)] * 2,
            id="an undo that is done twice",
        ),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(GIFT, 2, 2), told(watch("B"), 1 + TTL_MS, 3)], id="a lost grant"
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetViewer((TV,)), 1, 2),
                told(BOTH, 1, 3, 9),
                told(watch("A", TV, BOB), 4 + TTL_MS, 4, 5),
                told(Look((TV, ANN)), state(1, "A"), 6, 7),
            ],
            id="a reset of two that was of no one moment",
        ),
    ],
)
def test_the_checker_rejects_what_cannot_have_been(history: list[Told]) -> None:
    assert not is_explained(history)


def test_a_basic_trial_is_judged_by_one_ledger() -> None:
    history = [told(watch("A", TV), 1 + TTL_MS, 1), told(FIRST, None, 2), told(watch("A", TV), 3 + TTL_MS, 3)]
    assert is_explained(history, BASIC)


# --- real servers


def written(history: list[Told]) -> str:
    """Write down an act a line, as they were sent, with the microseconds from when they were sent to when heard."""
    began = min(each.start for each in history)
    lines = [
        f"{(each.start - began) // 1_000:>7} {(each.end - began) // 1_000:>7} {each.act} -> {each.answer}"
        for each in sorted(history, key=lambda each: each.start)
    ]
    return "\n".join(["", *lines])


def unexplained(folder: Folder, servers: list[Server]) -> str:
    """Answer what was told to the groups that no order explains."""
    operator = folder.temppass("operator", "create", "hist", "--role", "operator").out.strip()
    asked = [(server.port, Tokens(folder.application(server).token, operator)) for server in servers]
    began = time.monotonic()
    groups = asyncio.run(record(asked, GROUPS, wait_s=max(60, GROUPS * GROUP_S)))
    played = time.monotonic()
    failed = [written(group.told) for group in groups if not is_explained(group.told, group.offer)]
    taken = f"{played - began:.0f} s to play, {time.monotonic() - played:.0f} s to explain"
    print(f"{len(groups)} groups, {len(failed)} unexplained; {taken}")  # noqa: T201 - what `make history` is for
    assert len(groups) == LANES * GROUPS
    return "\n".join(failed)


@pytest.mark.timeout(120 + 2 * GROUPS * GROUP_S)
def test_every_answer_of_two_processes_on_one_database_is_explained(cluster: Folder) -> None:
    cluster.declare(CATALOGUE)
    assert unexplained(cluster, [cluster.serve(), cluster.serve()]) == ""


@pytest.mark.timeout(120 + 2 * GROUPS * GROUP_S)
def test_every_answer_of_one_process_on_a_file_is_explained(folder: Folder) -> None:
    folder.declare(CATALOGUE)
    assert unexplained(folder, [folder.serve()]) == ""
