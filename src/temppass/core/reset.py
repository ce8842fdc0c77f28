"""
Resets, as steps that the wire, a dry run and an undo share: what a reset touches, how it is done, how it is taken
back. Each is given what the store found and answers what is to be said and to be written.

One viewer: the ledgers of the named subjects are removed, and kept aside for an undo. Everybody: the next generation
of each kind begins, and only ledgers of it count; one small write, however many ledgers there are. Everybody of one
origin, or only those who are over: no floor can tell these from the others, so they go page by page.

An undo of everybody puts the floor back to where it was; the generation never goes back. So old trials return, those
who came back since keep their new one, and the next reset ends both. Only the latest reset that stands can be undone,
and a recurring one is a reset like any other. An undo of one viewer writes back what was removed, all or nothing.

Source: contract §4.6 and §4.7, design §3, docs/design.md (undo of resets).
"""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

from temppass.core import act
from temppass.core.catalogue import Offer
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Floors,
    Found,
    Kept,
    Ledger,
    Origin,
    Raise,
    Subject,
    SubjectKind,
)

#: how long a reset can be undone
UNDO_MS = 86_400_000
#: how long what an undo needs is kept: an hour more, for clocks that differ and an undo that is under way
UNDO_KEPT_MS = UNDO_MS + 3_600_000
#: the kind of the documents that hold it
UNDO = "undo"

BOTH = (SubjectKind.DEVICE, SubjectKind.USER_KEY)


# --- what is due


def settle(floors: Floors, offer: Offer, now: int) -> Floors:
    """
    Raise both floors once if a recurring reset is due that has not fired; else answer `floors` itself.

    The due moment is remembered, so across nodes and after downtime each one fires exactly once (design §3).
    """
    due_at = offer.due_at(floors.fired_at, now)
    if due_at is None:
        return floors
    raised = floors
    for kind in BOTH:
        raised = raised.raised(kind)
    return msgspec.structs.replace(raised, fired_at=due_at)


def fired(before: Floors, after: Floors, offer: Offer, now: int) -> Changes:
    """Answer what is to be written where `settle` made `after` of `before`: NOTHING where nothing was due."""
    if after is before:
        return NOTHING
    id_ = act.recurring_id(offer.environment, offer.channel_id, offer.pass_id, after.fired_at)
    done = act.RecurringReset(offer.channel_id, offer.pass_id, after.fired_at)
    return Changes(
        floors=after,
        raises=tuple(Raise(kind, after.generation(kind), before.of(kind), now, id_) for kind in BOTH),
        records=(act.recorded(act.Record(id_, now, act.BySchedule(), done)),),
    )


def fire(found: Found, offer: Offer, now: int) -> Changes:
    """Fire a recurring reset that is due, and nothing else."""
    return fired(found.floors, settle(found.floors, offer, now), offer, now)


# --- whom a reset means


class Narrowing(Struct, frozen=True):
    """Whom of everybody a reset means: every part that is given has to fit. The empty one fits everybody."""

    origin: Origin = ANYWHERE
    #: only trials whose time is over
    over: bool = False
    #: only trials that began before this moment
    started_before: int | None = None

    def fits(self, ledger: Ledger, now: int) -> bool:
        return (
            ledger.origin.matches(self.origin)
            and (not self.over or now >= ledger.expires_at)
            and (self.started_before is None or ledger.started_at < self.started_before)
        )


class Tally(Struct, frozen=True):
    """How many ledgers a reset would touch: trials that run, and those that are over."""

    running: int = 0
    over: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(self.running + other.running, self.over + other.over)


def tally(
    page: Iterable[tuple[Subject, Ledger]], floors: Floors, narrowing: Narrowing, offer: Offer, now: int
) -> Tally:
    """Count what a reset would touch on one page of ledgers; change nothing."""
    floors = settle(floors, offer, now)
    touched = [ledger for subject, ledger in page if _counts(ledger, subject, floors) and narrowing.fits(ledger, now)]
    over = sum(now >= ledger.expires_at for ledger in touched)
    return Tally(len(touched) - over, over)


def has_moved(planned: Tally, present: Tally, *, share: float = 0.1, least: int = 10) -> bool:
    """Tell whether a reset would touch a number of ledgers that differs too much from the one that was planned."""
    before, after = planned.running + planned.over, present.running + present.over
    return abs(after - before) > max(least, share * before)


# --- apply


def reset_subjects(
    found: Found, offer: Offer, subjects: Sequence[Subject], narrowing: Narrowing, now: int, act_id: str
) -> tuple[int, Changes]:
    """
    Remove the ledgers of `subjects` that count and that `narrowing` fits, and keep them aside for an undo.

    `found.ledgers` are those of `subjects`, same order. Answers how many matched.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    removed = tuple(
        (subject, ledger)
        for subject, ledger in zip(subjects, found.ledgers, strict=True)
        if ledger is not None and _counts(ledger, subject, floors) and narrowing.fits(ledger, now)
    )
    if not removed:
        return 0, changes
    return len(removed), msgspec.structs.replace(
        changes,
        ledgers=tuple((subject, None) for subject, _ in removed),
        kept=(_aside(act_id, removed, now),),
    )


def reset_everybody(found: Found, offer: Offer, kinds: Collection[SubjectKind], now: int, act_id: str) -> Changes:
    """Begin the next generation of `kinds`: one small write, however many ledgers there are."""
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    raises = []
    for kind in kinds:
        before, floors = floors, floors.raised(kind)
        raises.append(Raise(kind, floors.generation(kind), before.of(kind), now, act_id))
    return msgspec.structs.replace(changes, floors=floors, raises=(*changes.raises, *raises))


# --- undo


class NotUndone(StrEnum):
    """Why a reset is not taken back."""

    #: nothing was matched, or it was undone already, or its day is over
    NOTHING_TO_UNDO = "nothing_to_undo"
    #: a later reset of everybody stands, and has to be undone first
    LATER_RESET = "later_reset"
    #: a subject has begun a trial since
    NEW_TRIAL = "new_trial"


class Undone(Struct, frozen=True):
    """A reset was taken back. `matched` is None where counting would need a scan."""

    matched: int | None


class Refused(Struct, frozen=True):
    """A reset stays. `act_id` names the later one where that is why."""

    why: NotUndone
    act_id: str | None = None


def undo_everybody(found: Found, offer: Offer, act_id: str, now: int) -> tuple[Undone | Refused, Changes]:
    """
    Put the floors back to where they were before the reset `act_id`: all kinds that it raised, or none.

    `found.raises` has the resets that stand. What is due fires first, and then stands in the way.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    standing = (*found.raises, *changes.raises)
    meant = [each for each in standing if each.act_id == act_id and now < each.at + UNDO_MS]
    if not meant:
        return Refused(NotUndone.NOTHING_TO_UNDO), changes
    for each in meant:
        latest = max((one for one in standing if one.kind is each.kind), key=lambda one: one.generation)
        if latest is not each:
            return Refused(NotUndone.LATER_RESET, latest.act_id), changes
        if floors.of(each.kind) != each.generation:  # one that left no moment (restorable_floor)
            return Refused(NotUndone.LATER_RESET), changes
    for each in meant:
        floors = floors.lowered(each.kind, each.floor_before)
    return Undone(None), Changes(floors=floors, undone=tuple(meant))


def undo_subjects(
    found: Found, offer: Offer, removed: Sequence[tuple[Subject, Ledger]], now: int, *, replace: bool
) -> tuple[Undone | Refused, Changes]:
    """
    Write back what a reset removed, with the generation it had; all of it or nothing.

    `found.ledgers` are those of the subjects of `removed`, same order; `found.kept` is the document that `removed` was
    read from, which is forgotten. With `replace` a trial that was begun since goes.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    if not removed or found.kept[0] is None:
        return Refused(NotUndone.NOTHING_TO_UNDO), changes
    if any(not _counts(ledger, subject, floors) for subject, ledger in removed):
        return Refused(NotUndone.LATER_RESET), changes
    begun = zip(removed, found.ledgers, strict=True)
    if not replace and any(ledger is not None and _counts(ledger, subject, floors) for (subject, _), ledger in begun):
        return Refused(NotUndone.NEW_TRIAL), changes
    forgotten = msgspec.structs.replace(found.kept[0], expires_at=now)
    return Undone(len(removed)), msgspec.structs.replace(changes, ledgers=tuple(removed), kept=(forgotten,))


def restorable_floor(floors: Floors, kind: SubjectKind, raises: Iterable[Raise], now: int) -> int:
    """
    Answer the lowest floor that an undo could put back: a ledger below it can never count again.

    `raises` are the resets that stand. A floor that was raised without leaving its moment (by the first version of
    this program) stands in the way of every undo of an earlier one.
    """
    standing = sorted(
        (each for each in raises if each.kind is kind and now < each.at + UNDO_KEPT_MS),
        key=lambda each: -each.generation,
    )
    lowest = floors.of(kind)
    for each in standing:
        if each.generation != lowest:
            break
        lowest = each.floor_before
    return lowest


# --- what an undo needs


_removed = msgspec.json.Decoder(tuple[tuple[Subject, Ledger], ...])


def read_removed(kept: Kept) -> tuple[tuple[Subject, Ledger], ...]:
    """Answer the ledgers that a reset removed."""
    return _removed.decode(kept.document)


def _aside(act_id: str, removed: tuple[tuple[Subject, Ledger], ...], now: int) -> Kept:
    return Kept(UNDO, f"{UNDO}:{act_id}", now + UNDO_KEPT_MS, msgspec.json.encode(removed))


def _counts(ledger: Ledger, subject: Subject, floors: Floors) -> bool:
    return ledger.generation >= floors.of(subject.kind)
