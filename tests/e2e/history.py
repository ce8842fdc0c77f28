"""
Tells whether some sequential order explains every answer that concurrent clients were given.

An order is sought that respects real time and in which the engine itself, one act after another, gives exactly those
answers. The search is Wing and Gong's (1993) with Lowe's memory of states (2017). It knows no server and no wire.
"""

from collections.abc import Sequence
from typing import NamedTuple

from temppass.core import reset, trial
from temppass.core.catalogue import Offer
from temppass.core.model import (
    NOTHING,
    Changes,
    DenyCode,
    Floors,
    Found,
    Ledger,
    PassKind,
    Permit,
    Profile,
    Spent,
    Subject,
    SubjectKind,
)

TTL_MS, TITLES_MAX = 28 * 86_400_000, 2
OFFER = Offer("ACME1", "Promo", PassKind.PROMOTIONAL, TTL_MS, TITLES_MAX, "email", 5, True, None, "UTC", 0)

#: what is said: to an authorize the end of the trial or why not, to a reset how many ledgers matched
Answer = int | DenyCode | Profile | Spent | None
State = tuple[Floors, frozenset[tuple[Subject, Ledger]]]
NEW: State = (Floors(), frozenset())


class Authorize(NamedTuple):
    subjects: tuple[Subject, ...]
    title: str

    def step(self, found: Found, now: int) -> tuple[Answer, Changes]:
        (verdict,), changes = trial.authorize(found, trial.Ask(OFFER, self.subjects), [self.title], now)
        return verdict.expires_at if isinstance(verdict, Permit) else verdict.code, changes


class Look(NamedTuple):
    subjects: tuple[Subject, ...]

    def step(self, found: Found, now: int) -> tuple[Answer, Changes]:
        return trial.profile(found, trial.Ask(OFFER, self.subjects), now), NOTHING


class ResetOne(NamedTuple):
    subjects: tuple[Subject, ...]

    def step(self, found: Found, now: int) -> tuple[Answer, Changes]:
        return reset.reset_subjects(found, OFFER, self.subjects, reset.Narrowing(), now, "r")


class ResetAll(NamedTuple):
    kind: SubjectKind
    subjects: tuple[Subject, ...] = ()

    def step(self, found: Found, now: int) -> tuple[Answer, Changes]:
        return None, reset.reset_everybody(found, OFFER, [self.kind], now, "r")


Act = Authorize | Look | ResetOne | ResetAll


class Told(NamedTuple):
    """
    An act and its answer. `start` and `end` are when it was sent and heard; `now` is the server's time of it, in
    milliseconds, where the answer shows one: all windows are so long that other acts do not depend on it.
    """

    act: Act
    answer: Answer
    start: int
    end: int
    now: int


def is_explained(history: Sequence[Told]) -> bool:
    """Tell whether the engine, asked in some order that keeps real time, would have said all this."""
    unsettled: list[tuple[frozenset[int], State]] = [(frozenset(range(len(history))), NEW)]
    seen = set(unsettled)
    while unsettled:
        left, state = unsettled.pop()
        if not left:
            return True
        # what was sent after another was heard comes after it
        first_end = min(history[number].end for number in left)
        for number in left:
            after = _after(state, history[number]) if history[number].start <= first_end else None
            if after is not None and (left - {number}, after) not in seen:
                seen.add((left - {number}, after))
                unsettled.append((left - {number}, after))
    return False


def _after(state: State, told: Told) -> State | None:
    """Answer the state after an act, None where the engine would have said something else."""
    floors, ledgers = state[0], dict(state[1])
    found = Found(floors, tuple(ledgers.get(subject) for subject in told.act.subjects))
    answer, changes = told.act.step(found, told.now)
    if answer != told.answer:
        return None
    for subject, ledger in changes.ledgers:
        ledgers.pop(subject, None)
        if ledger is not None:
            ledgers[subject] = ledger
    return changes.floors or floors, frozenset(ledgers.items())
