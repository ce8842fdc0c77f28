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


class Aim(Struct, frozen=True):
    """Which ledgers a reset would touch: of those that count by `floors`, the ones that `narrowing` fits at `now`."""

    floors: Floors
    narrowing: Narrowing
    now: int

    def touches(self, subject: Subject, ledger: Ledger) -> bool:
        return counts(ledger, subject, self.floors) and self.narrowing.fits(ledger, self.now)


class Tally(Struct, frozen=True):
    """How many ledgers a reset would touch: trials that run, and those that are over."""

    running: int = 0
    over: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(self.running + other.running, self.over + other.over)


def tally(page: Iterable[tuple[Subject, Ledger]], aim: Aim) -> Tally:
    """Count what a reset would touch on one page of ledgers; change nothing."""
    touched = [ledger for subject, ledger in page if aim.touches(subject, ledger)]
    over = sum(aim.now >= ledger.expires_at for ledger in touched)
    return Tally(len(touched) - over, over)


# --- apply


def reset_subjects(
    found: Found,
    offer: Offer,
    subjects: Sequence[Subject],
    narrowing: Narrowing,
    now: int,
    act_id: str,
    chunk: int | None = None,
) -> tuple[int, Changes]:
    """
    Remove the ledgers of `subjects` that count and that `narrowing` fits, and keep them aside for an undo.

    `found.ledgers` are those of `subjects`, same order; `chunk` is the number of these among the chunks of a narrowed
    reset. Answers how many matched.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    removed = tuple(
        (subject, ledger)
        for subject, ledger in zip(subjects, found.ledgers, strict=True)
        if ledger is not None and counts(ledger, subject, floors) and narrowing.fits(ledger, now)
    )
    if not removed:
        return 0, changes
    return len(removed), msgspec.structs.replace(
        changes,
        ledgers=tuple((subject, None) for subject, _ in removed),
        kept=(_aside(undo_key(act_id, chunk), removed, now),),
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
    """
    A reset was taken back. `matched` counts what returned, None where that would need a scan; `replaced` the trials
    that were begun since and had to go.
    """

    matched: int | None
    replaced: int = 0


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

    `found.ledgers` are those of the subjects of `removed`, same order; the first of `found.kept` is the document that
    `removed` was read from, which is forgotten; `found.raises` has the resets that stand. With `replace` a trial that
    was begun since goes.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    aside = found.kept[0]
    if not removed or aside is None or not is_undoable(aside, now):
        return Refused(NotUndone.NOTHING_TO_UNDO), changes
    for subject, ledger in removed:
        if not counts(ledger, subject, floors):
            standing = [each for each in (*found.raises, *changes.raises) if each.kind is subject.kind]
            latest = max(standing, key=lambda each: each.generation, default=None)
            return Refused(NotUndone.LATER_RESET, latest.act_id if latest else None), changes
    replaced = sum(_begun_since(found, removed, floors))
    if replaced and not replace:
        return Refused(NotUndone.NEW_TRIAL), changes
    return Undone(len(removed), replaced), msgspec.structs.replace(
        changes, ledgers=tuple(removed), kept=(forgotten(aside),)
    )


def undo_narrowed(
    found: Found, offer: Offer, kind: SubjectKind | None, at: int, now: int
) -> tuple[Undone | Refused, Changes]:
    """
    Tell whether a narrowed reset of `kind` (None: of both), begun at the moment `at`, can be undone; its chunks follow,
    one by one.

    The first of `found.kept` is what is kept of its chunks, `found.raises` has the resets that stand.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    chunks = read_chunks(found.kept[0])
    if chunks is None or not chunks.chunks or now >= at + UNDO_MS:
        return Refused(NotUndone.NOTHING_TO_UNDO), changes
    later = [each for each in (*found.raises, *changes.raises) if kind in {None, each.kind} and each.at >= at]
    if later:
        return Refused(NotUndone.LATER_RESET, max(later, key=lambda each: each.generation).act_id), changes
    return Undone(None), changes


def undo_chunk(
    found: Found, offer: Offer, removed: Sequence[tuple[Subject, Ledger]], now: int, *, replace: bool
) -> tuple[Undone, Changes]:
    """
    Write back what one chunk of a narrowed reset removed, as `undo_subjects` is given it: whoever came back since keeps
    the new trial, unless it is to be replaced, and what a later reset of everybody ended stays ended.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    aside = found.kept[0]
    if aside is None or now >= aside.expires_at:
        return Undone(0), changes
    begun = _begun_since(found, removed, floors)
    returning = [
        (entry, is_new)
        for entry, is_new in zip(removed, begun, strict=True)
        if counts(entry[1], entry[0], floors) and (replace or not is_new)
    ]
    return Undone(len(returning), sum(is_new for _, is_new in returning)), msgspec.structs.replace(
        changes, ledgers=tuple(entry for entry, _ in returning), kept=(forgotten(aside),)
    )


def _begun_since(found: Found, removed: Sequence[tuple[Subject, Ledger]], floors: Floors) -> list[bool]:
    """Tell of each subject of `removed` whether it has a trial again."""
    return [
        ledger is not None and counts(ledger, subject, floors)
        for (subject, _), ledger in zip(removed, found.ledgers, strict=True)
    ]


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


class Chunks(Struct, frozen=True):
    """
    What is kept of a narrowed reset under its own id: how many chunks have matched, numbered from 1, how many ledgers
    that were, and whether it has gone through all. Once it is being undone: the act that undoes it, how many chunks
    that has gone through, and what came of them.
    """

    chunks: int = 0
    matched: int = 0
    ended: bool = False
    undo_id: str | None = None
    undone: int = 0
    returned: int = 0
    replaced: int = 0

    @property
    def is_open(self) -> bool:
        """Whether there may be more to remove: it has not ended, and nobody undoes it."""
        return not self.ended and self.undo_id is None


_chunks = msgspec.json.Decoder(Chunks)


def undo_key(act_id: str, chunk: int | None = None) -> str:
    """Answer the key of the document that the undo of an act, or of one chunk of it, needs."""
    return f"{UNDO}:{act_id}" if chunk is None else f"{UNDO}:{act_id}:{chunk}"


def is_undoable(aside: Kept | None, now: int) -> bool:
    """Tell whether what was kept aside is there and its day is not over."""
    return aside is not None and now < aside.expires_at - (UNDO_KEPT_MS - UNDO_MS)


def forgotten(aside: Kept) -> Kept:
    """Answer what was kept aside as it is once it was used; its moment is long past for every clock."""
    return msgspec.structs.replace(aside, expires_at=0)


def no_chunks(act_id: str, now: int) -> Kept:
    """Answer what is to be kept of a narrowed reset when it begins."""
    return Kept(UNDO, undo_key(act_id), now + UNDO_KEPT_MS, msgspec.json.encode(Chunks()))


def read_chunks(kept: Kept | None) -> Chunks | None:
    """Answer what is known of the chunks of a narrowed reset; None once they were taken back, or can be no more."""
    return _chunks.decode(kept.document) if kept is not None and kept.expires_at else None


def write_chunks(kept: Kept, chunks: Chunks) -> Kept:
    """Answer what is kept of a narrowed reset as it is once it, or its undo, has gone on."""
    return msgspec.structs.replace(kept, document=msgspec.json.encode(chunks))


def read_removed(kept: Kept) -> tuple[tuple[Subject, Ledger], ...]:
    """Answer the ledgers that a reset removed."""
    return _removed.decode(kept.document)


def _aside(key: str, removed: tuple[tuple[Subject, Ledger], ...], now: int) -> Kept:
    return Kept(UNDO, key, now + UNDO_KEPT_MS, msgspec.json.encode(removed))


def counts(ledger: Ledger, subject: Subject, floors: Floors) -> bool:
    return ledger.generation >= floors.of(subject.kind)
