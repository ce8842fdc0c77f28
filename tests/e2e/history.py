"""
Tells whether some sequential order explains every answer that concurrent clients were given.

An order is sought that respects real time and in which the engine itself, one act after another, gives exactly those
answers. The search is Wing and Gong's (1993) with Lowe's memory of states (2017). It knows no server and no wire.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import grant, reset, trial
from temppass.core.catalogue import Offer
from temppass.core.grant import Gift
from temppass.core.model import (
    NOTHING,
    Changes,
    DenyCode,
    Floors,
    Found,
    Kept,
    Ledger,
    PassKind,
    Permit,
    Profile,
    Raise,
    Spent,
    Subject,
    SubjectKind,
)
from temppass.core.reset import NotUndone, Refused, Undone

TTL_MS, TITLES_MAX = 28 * 86_400_000, 2
PROMO = Offer("ACME1", "Promo", PassKind.PROMOTIONAL, TTL_MS, TITLES_MAX, "email", 5, True, None, "UTC", 0)
#: judged by one ledger
BASIC = Offer("ACME1", "Basic", PassKind.BASIC, TTL_MS, None, None, 5, True, None, "UTC", 0)

#: what is said: to an authorize the end of the trial or why not, to an act how many ledgers matched or why none
Answer = int | DenyCode | Profile | Spent | Undone | Refused | None


class State(NamedTuple):
    """What one integration remembers, for as many as the history names."""

    floors: Floors = Floors()
    ledgers: frozenset[tuple[Subject, Ledger]] = frozenset()
    raises: frozenset[Raise] = frozenset()
    kept: frozenset[tuple[str, Kept]] = frozenset()


class Authorize(NamedTuple):
    subjects: tuple[Subject, ...]
    title: str

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        (verdict,), changes = trial.authorize(found, trial.Ask(offer, self.subjects), [self.title], now)
        return verdict.expires_at if isinstance(verdict, Permit) else verdict.code, changes


class Look(NamedTuple):
    subjects: tuple[Subject, ...]

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        return trial.profile(found, trial.Ask(offer, self.subjects), now), NOTHING


class ResetViewer(NamedTuple):
    """One subject, or the device and the user key of a viewer. The id of an act is what its receipt says."""

    subjects: tuple[Subject, ...]
    id: str = "r"

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        return reset.reset_subjects(found, offer, self.subjects, reset.Narrowing(), now, self.id)


class ResetAll(NamedTuple):
    kind: SubjectKind
    id: str = "r"
    subjects: tuple[Subject, ...] = ()

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        return None, reset.reset_everybody(found, offer, [self.kind], now, self.id)


class Grant(NamedTuple):
    subjects: tuple[Subject, ...]
    gift: Gift
    id: str = "r"

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        return grant.grant(found, offer, self.subjects, self.gift, now, self.id)


class Undo(NamedTuple):
    of: ResetViewer | ResetAll | Grant
    replace: bool = False

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return self.of.subjects

    def step(self, found: Found, offer: Offer, now: int) -> tuple[Answer, Changes]:
        (aside,) = found.kept
        match self.of:
            case ResetAll():
                return reset.undo_everybody(found, offer, self.of.id, now)
            case ResetViewer():
                removed = reset.read_removed(aside) if aside is not None else ()
                meant = self._of(found, [subject for subject, _ in removed])
                return reset.undo_subjects(meant, offer, removed, now, replace=self.replace)
            case Grant():
                given = grant.read_given(aside) if aside is not None else ()
                meant = self._of(found, [each.subject for each in given])
                matched, changes = grant.undo_grant(meant, offer, given, now)
                return Undone(matched) if matched else Refused(NotUndone.NOTHING_TO_UNDO), changes

    def _of(self, found: Found, subjects: Sequence[Subject]) -> Found:
        """Answer what was found, with the ledgers of those alone whom the act matched."""
        ledgers = dict(zip(self.subjects, found.ledgers, strict=True))
        return replace(found, ledgers=tuple(ledgers[subject] for subject in subjects))


Act = Authorize | Look | ResetViewer | ResetAll | Grant | Undo


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


def is_explained(history: Sequence[Told], offer: Offer = PROMO, unheard: Sequence[Told] = ()) -> bool:
    """
    Tell whether the engine, asked in some order that keeps real time, would have said all this.

    What is `unheard` was sent and never answered: it was done at some time since, or never. Its `end` is for ever, its
    answer means nothing; the server's time of it is its own, or that of a trial that somebody saw.
    """
    acts, heard = [*history, *unheard], frozenset(range(len(history)))
    moments = {moment for each in history if (moment := _began(each.answer, offer)) is not None} if unheard else set()
    unsettled: list[tuple[frozenset[int], State]] = [(frozenset(range(len(acts))), State())]
    seen = set(unsettled)
    while unsettled:
        left, state = unsettled.pop()
        if not left & heard:
            return True
        # what was sent after another was heard comes after it
        first_end = min(acts[number].end for number in left)
        for number in left:
            told = acts[number]
            if told.start > first_end:
                continue
            for now in (told.now,) if number in heard else {told.now, *moments}:
                answer, after = _after(state, told.act, now, offer)
                if number in heard and _as_told(answer) != told.answer:
                    continue
                if (left - {number}, after) not in seen:
                    seen.add((left - {number}, after))
                    unsettled.append((left - {number}, after))
    return False


def _began(answer: Answer, offer: Offer) -> int | None:
    """When a trial began that somebody saw; that of a trial which got minutes is no such moment, and does no harm."""
    if isinstance(answer, Profile):
        return answer.started_at
    return answer - offer.ttl_ms if isinstance(answer, int) else None


def _after(state: State, act: Act, now: int, offer: Offer) -> tuple[Answer, State]:
    """Answer what the engine says, and the state after it."""
    ledgers, kept = dict(state.ledgers), dict(state.kept)
    found = Found(
        state.floors,
        tuple(ledgers.get(subject) for subject in act.subjects),
        kept=(kept.get(reset.undo_key(act.of.id)),) if isinstance(act, Undo) else (),
        raises=tuple(state.raises),
    )
    answer, changes = act.step(found, offer, now)
    for subject, ledger in changes.ledgers:
        ledgers.pop(subject, None)
        if ledger is not None:
            ledgers[subject] = ledger
    for each in changes.kept:
        kept[each.key] = each
    return answer, State(
        changes.floors or state.floors,
        frozenset(ledgers.items()),
        state.raises.difference(changes.undone).union(changes.raises),
        frozenset(kept.items()),
    )


def _as_told(answer: Answer) -> Answer:
    """Answer what a receipt says: the trials that had to go are on record alone."""
    return replace(answer, replaced=0) if isinstance(answer, Undone) else answer
