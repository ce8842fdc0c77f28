"""
Two processes on one PostgreSQL (test_races.py): one does an act, or takes one back, between the reading and the
writing of the other, and what they are told has an order all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from tests.storage.test_corrections import TV, Rooms, rooms
from tests.storage.test_races import ALL, BOTH, DEVICE, HERE, KEY, Deed, Processes, Step, beside, elsewhere

from temppass.core.act import recurring_id
from temppass.core.catalogue import Offer
from temppass.core.grant import Gift, grant, read_given, undo_grant
from temppass.core.model import NOTHING, Changes, Found, PassKind, Permit, Subject, SubjectKind
from temppass.core.reset import (
    Narrowing,
    NotUndone,
    Refused,
    Undone,
    fire,
    read_removed,
    reset_everybody,
    reset_subjects,
    undo_everybody,
    undo_key,
    undo_subjects,
)
from temppass.core.trial import Ask, authorize
from temppass.service.corrections import Receipt, Whom
from temppass.service.desk import Once
from temppass.storage.postgres import PostgresStore
from temppass.store import Keys, Standing

A = TypeVar("A")

TTL, DAY = 1_800_000, 86_400_000
OFFER = Offer("REF", "TempPassREF", PassKind.PROMOTIONAL, TTL, 2, "email", 5, True, "0 0 * * *", "UTC", 0)
SUBJECTS = (DEVICE, KEY)
ACT = replace(BOTH, kept=(undo_key("act"),), raises=True)
NOTHING_TO_UNDO = Refused(NotUndone.NOTHING_TO_UNDO)
MIDNIGHT = recurring_id(OFFER.environment, OFFER.channel_id, OFFER.pass_id, DAY)


def watched(now: int, subjects: tuple[Subject, ...] = SUBJECTS) -> Step:
    return lambda found: authorize(found, Ask(OFFER, subjects), ["A"], now)


def viewers_reset(now: int, act_id: str = "act") -> Step:
    return lambda found: reset_subjects(found, OFFER, SUBJECTS, Narrowing(), now, act_id)


def everybody_reset(now: int) -> Step:
    return lambda found: (None, reset_everybody(found, OFFER, tuple(SubjectKind), now, "act"))


def granted(now: int) -> Step:
    return lambda found: grant(found, OFFER, SUBJECTS, Gift(titles=1), now, "act")


def undone(what: Step, now: int) -> Step:
    """Answer what takes back `viewers_reset`, `everybody_reset` or `granted`."""

    def step(found: Found) -> tuple[Any, Changes]:
        aside = found.kept[0]
        if what is EVERYBODY:
            return undo_everybody(found, OFFER, "act", now)
        assert aside is not None
        if what is GRANT:
            matched, changes = undo_grant(found, OFFER, read_given(aside), now)
            return Undone(matched) if matched else NOTHING_TO_UNDO, changes
        return undo_subjects(found, OFFER, read_removed(aside), now, replace=False)

    return step


LIST, EVERYBODY, GRANT = viewers_reset(2), everybody_reset(2), granted(2)


@pytest.mark.parametrize("subjects", [(DEVICE,), SUBJECTS], ids=["one subject", "two subjects"])
def test_a_decision_goes_on_with_the_trial_that_an_undo_of_everybody_brought_back(
    postgres: str, subjects: tuple[Subject, ...]
) -> None:
    """Its ledgers did not count when it read them, and it was about to begin anew in their place."""
    processes = Processes(postgres, watched(1, subjects), EVERYBODY, keys=replace(ACT, subjects=subjects))
    decision = processes.meanwhile(undone(EVERYBODY, 3), watched(4, subjects))
    assert processes.told(decision) == ([[Permit("A", 1, 1 + TTL)]], 1)


@pytest.mark.parametrize("is_swept", [False, True])
def test_a_list_is_not_brought_back_over_a_trial_that_one_of_it_began_meanwhile(
    postgres: str, *, is_swept: bool
) -> None:
    """Also where the row that the reset left behind is swept first."""

    async def come_back(store: PostgresStore) -> None:
        if is_swept:
            await store.sweep_ledgers(HERE, SubjectKind.USER_KEY, ALL, b"", 10)
        await store.transact(replace(ACT, subjects=(KEY,)), watched(3, (KEY,)))

    processes = Processes(postgres, watched(1), LIST, keys=ACT)
    undo = processes.meanwhile(Deed(come_back), undone(LIST, 4))
    assert processes.told(undo) == ([Refused(NotUndone.NEW_TRIAL)], 1)


def test_a_grant_gives_nothing_to_a_trial_that_is_reset_meanwhile(postgres: str) -> None:
    processes = Processes(postgres, watched(1), keys=ACT)
    assert processes.told(processes.meanwhile(viewers_reset(2, "other"), granted(3))) == ([0], 1)


@pytest.mark.parametrize(("what", "matched"), [(LIST, 2), (EVERYBODY, None), (GRANT, 2)], ids=["list", "all", "grant"])
def test_of_two_undos_of_one_act_at_once_one_is_done(postgres: str, what: Step, matched: int | None) -> None:
    theirs: list[object] = []

    def first(found: Found) -> tuple[Any, Changes]:
        answer, changes = undone(what, 3)(found)
        theirs.append(answer)
        return answer, changes

    processes = Processes(postgres, watched(1), what, keys=ACT)
    told = processes.told(processes.meanwhile(first, undone(what, 4)))
    assert (theirs, told) == ([Undone(matched)], ([NOTHING_TO_UNDO], 1))


@pytest.mark.parametrize("what", [LIST, EVERYBODY], ids=["list", "all"])
def test_a_recurring_reset_that_fires_meanwhile_stands_in_the_way_of_an_undo(postgres: str, what: Step) -> None:
    processes = Processes(postgres, watched(1), what, keys=ACT)
    fires = Deed(lambda store: store.transact(ACT, lambda found: (None, fire(found, OFFER, DAY))))
    undo = processes.meanwhile(fires, undone(what, DAY - 1))
    assert processes.told(undo) == ([Refused(NotUndone.LATER_RESET, MIDNIGHT)], 1)


async def found_by_a_step(store: PostgresStore) -> Standing:
    found = await store.transact(ACT, lambda found: (found, NOTHING))
    return Standing(found.floors, found.raises)


async def found_by_the_sweep(store: PostgresStore) -> Standing:
    ((_, standing),) = await store.integrations()
    return standing


@pytest.mark.parametrize("find", [found_by_a_step, found_by_the_sweep])
def test_the_resets_that_stand_are_of_the_moment_of_the_floors(
    postgres: str, find: Callable[[PostgresStore], Coroutine[Any, Any, Standing]]
) -> None:
    """Else an undo is told of one that does not stand any more, and a sweep takes what an undo could bring back."""
    _, standing, _ = beside(postgres, EVERYBODY, [everybody_reset(3)], Deed(find), ACT, "temppass.raised")
    latest = [max(each.generation for each in standing.raises if each.kind is kind) for kind in SubjectKind]
    assert (standing.floors.device, standing.floors.user_key) == tuple(latest)


class Interrupted(PostgresStore):
    """A store of which another process does `deed`, once, while a step runs that may write a kept document."""

    def __init__(self, url: str, deed: Deed) -> None:
        super().__init__(url)
        self._deed: list[tuple[str, Deed]] = [(url, deed)]

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        def interrupted(found: Found) -> tuple[A, Changes]:
            if keys.kept and self._deed:
                elsewhere(*self._deed.pop())
            return step(found)

        return await super().transact(keys, interrupted)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda here: here.grant(Gift(minutes=10)), id="a grant"),
        pytest.param(lambda here: here.reset(Whom(b"unknown"), by=here.support), id="a reset that matches nobody"),
    ],
)
def test_of_two_calls_of_one_idempotency_key_at_once_one_is_done_and_both_are_told_of_it(
    postgres: str, ask: Callable[[Rooms], Awaitable[Receipt]]
) -> None:
    async def work() -> tuple[list[Receipt], list[Receipt]]:
        store = PostgresStore(postgres)
        here = await rooms(store)
        await here.watch("Basic", TV)
        here = here._replace(support=here.support._replace(once=Once("k", "POST", b"body")))
        theirs: list[Receipt] = []

        async def ask_first(other: PostgresStore) -> None:
            theirs.append(await ask(here.on(other)))

        interrupted = Interrupted(postgres, Deed(ask_first))
        ours = await ask(here.on(interrupted))
        await interrupted.close()
        await store.close()
        return [ours], theirs

    ours, theirs = asyncio.run(work())
    assert ours == theirs
