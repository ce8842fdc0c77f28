"""
Whom a reset means, how it is taken back, and what stands in the way (design: undo of resets).
"""

import pytest
from msgspec.structs import replace

from temppass.core import act
from temppass.core.catalogue import Offer
from temppass.core.model import (
    NOTHING,
    Changes,
    Floors,
    Found,
    Kept,
    Ledger,
    Origin,
    PassKind,
    Raise,
    Subject,
    SubjectKind,
)
from temppass.core.reset import (
    BOTH,
    UNDO_KEPT_MS,
    UNDO_MS,
    Aim,
    Chunks,
    Narrowing,
    NotUndone,
    Refused,
    Tally,
    Undone,
    fire,
    forgotten,
    no_chunks,
    read_chunks,
    read_removed,
    reset_everybody,
    reset_subjects,
    restorable_floor,
    tally,
    undo_chunk,
    undo_everybody,
    undo_narrowed,
    undo_subjects,
    write_chunks,
)

#: 2026-01-01T10:00:00Z
T0, MINUTE, HOUR = 1_767_261_600_000, 60_000, 3_600_000
MIDNIGHT = T0 + 14 * HOUR
OFFER = Offer("ACME1", "TempPassBasic30m", PassKind.BASIC, 30 * MINUTE, None, None, 5, True, None, "UTC", 0)
DAILY = replace(OFFER, pass_id="TempPassDaily", resets="0 0 * * *", resets_since=T0)

DEVICES, KEYS = SubjectKind.DEVICE, SubjectKind.USER_KEY
DEVICE, KEY = Subject(DEVICES, b"d" * 16), Subject(KEYS, b"k" * 16)
OLD, NEW = Ledger(T0, T0 + 30 * MINUTE, 1, ("A",)), Ledger(T0 + 5, T0 + 5 + 30 * MINUTE, 1)
REMOVED = ((DEVICE, OLD), (KEY, OLD))
ASIDE = Kept("undo", "undo:r1", T0 + UNDO_KEPT_MS, b"...")

FIRST, SECOND = Raise(DEVICES, 1, 0, T0, "r1"), Raise(DEVICES, 2, 1, T0 + 1, "r2")
FIRST_OF_KEYS, SECOND_OF_KEYS = Raise(KEYS, 1, 0, T0, "r1"), Raise(KEYS, 2, 1, T0 + 1, "r2")
NOTHING_TO_UNDO = Refused(NotUndone.NOTHING_TO_UNDO)


# --- everybody


@pytest.mark.parametrize(
    ("floors", "raises", "act_id", "answer", "left"),
    [
        (Floors(1), (FIRST,), "r1", Undone(None), Floors(0, 0, 0, 1)),
        (Floors(1, 1), (FIRST, FIRST_OF_KEYS), "r1", Undone(None), Floors(0, 0, 0, 1, 1)),
        (Floors(2), (FIRST, SECOND), "r2", Undone(None), Floors(1, 0, 0, 1)),
        (Floors(2), (FIRST, SECOND), "r1", Refused(NotUndone.LATER_RESET, "r2"), None),
        (Floors(2, 1), (FIRST, SECOND, FIRST_OF_KEYS), "r1", Refused(NotUndone.LATER_RESET, "r2"), None),
        (Floors(2), (FIRST,), "r1", Refused(NotUndone.LATER_RESET), None),
        (Floors(1), (FIRST,), "r2", NOTHING_TO_UNDO, None),
        (Floors(1), (), "r1", NOTHING_TO_UNDO, None),
    ],
    ids=[
        "the only one", "both kinds", "the later one", "the earlier one", "one kind of two", "a floor without a moment",
        "another act", "undone before",
    ],
)  # fmt: skip
def test_the_latest_reset_that_stands_is_undone_whole(
    floors: Floors, raises: tuple[Raise, ...], act_id: str, answer: Undone | Refused, left: Floors | None
) -> None:
    """The floor returns to where it was; the generation never goes back."""
    undone = tuple(each for each in raises if each.act_id == act_id)
    changes = Changes(floors=left, undone=undone) if left is not None else NOTHING
    assert undo_everybody(Found(floors, raises=raises), OFFER, act_id, T0 + 2) == (answer, changes)


@pytest.mark.parametrize(("waited_ms", "answer"), [(UNDO_MS - 1, Undone(None)), (UNDO_MS, NOTHING_TO_UNDO)])
def test_a_reset_of_everybody_can_be_undone_for_a_day(waited_ms: int, answer: Undone | Refused) -> None:
    assert undo_everybody(Found(Floors(1), raises=(FIRST,)), OFFER, "r1", T0 + waited_ms)[0] == answer


def test_a_recurring_reset_that_is_due_fires_first_and_stands_in_the_way() -> None:
    found = Found(Floors(1), raises=(FIRST,))
    later = act.recurring_id(DAILY.environment, "ACME1", "TempPassDaily", MIDNIGHT)
    told = undo_everybody(found, DAILY, "r1", MIDNIGHT)
    assert told == (Refused(NotUndone.LATER_RESET, later), fire(found, DAILY, MIDNIGHT))


def test_the_reset_after_an_undo_ends_old_trials_and_new_ones() -> None:
    changes = reset_everybody(Found(Floors(0, 0, 0, 1, 1)), OFFER, BOTH, T0, "r2")
    raises = (Raise(DEVICES, 2, 0, T0, "r2"), Raise(KEYS, 2, 0, T0, "r2"))
    assert changes == Changes(floors=Floors(2, 2), raises=raises)


# --- one viewer


def test_what_a_reset_removed_is_kept_aside_for_its_undo() -> None:
    """An hour longer than it can be undone."""
    matched, changes = reset_subjects(Found(Floors(1, 1), (OLD, OLD)), OFFER, (DEVICE, KEY), Narrowing(), T0, "r1")
    (aside,) = changes.kept
    told = (matched, changes.ledgers, read_removed(aside), (aside.kind, aside.key, aside.expires_at))
    assert told == (2, ((DEVICE, None), (KEY, None)), REMOVED, ("undo", "undo:r1", T0 + UNDO_MS + HOUR))


@pytest.mark.parametrize(
    ("found", "over_it", "answer"),
    [
        (Found(Floors(1, 1), (None, None), kept=(ASIDE,)), False, Undone(2)),
        (Found(Floors(1, 1), (replace(NEW, generation=0), None), kept=(ASIDE,)), False, Undone(2)),
        (Found(Floors(1, 1), (None, NEW), kept=(ASIDE,)), False, Refused(NotUndone.NEW_TRIAL)),
        (Found(Floors(1, 1), (None, NEW), kept=(ASIDE,)), True, Undone(2, 1)),
        (Found(Floors(1, 2), (None, None), kept=(ASIDE,)), False, Refused(NotUndone.LATER_RESET)),
        (Found(Floors(1, 2), (None, NEW), kept=(ASIDE,)), True, Refused(NotUndone.LATER_RESET)),
        (
            Found(Floors(1, 2), (None, None), kept=(ASIDE,), raises=(SECOND_OF_KEYS, replace(SECOND, generation=9))),
            True,
            Refused(NotUndone.LATER_RESET, "r2"),
        ),
        (Found(Floors(1, 1), (None, None), kept=(None,)), False, NOTHING_TO_UNDO),
        (Found(Floors(1, 1), (None, None), kept=(replace(ASIDE, expires_at=0),)), False, NOTHING_TO_UNDO),
    ],
    ids=[
        "nobody came back", "what came does not count", "a new trial", "a new trial that may go",
        "below a later floor", "below it, and a new trial", "below one of its kind that is known", "undone and swept",
        "undone before",
    ],
)  # fmt: skip
def test_ledgers_are_written_back_all_or_none(found: Found, *, over_it: bool, answer: Undone | Refused) -> None:
    """With the generation that they had; and what was kept aside is forgotten."""
    written = Changes(REMOVED, kept=(replace(ASIDE, expires_at=0),)) if isinstance(answer, Undone) else NOTHING
    assert undo_subjects(found, OFFER, REMOVED, T0 + 9, replace=over_it) == (answer, written)


def test_a_reset_that_matched_nothing_has_nothing_to_undo() -> None:
    assert undo_subjects(Found(Floors(), (), kept=(ASIDE,)), OFFER, (), T0, replace=True) == (NOTHING_TO_UNDO, NOTHING)


@pytest.mark.parametrize(("waited_ms", "answer"), [(UNDO_MS - 1, Undone(2)), (UNDO_MS, NOTHING_TO_UNDO)])
def test_a_reset_of_one_viewer_can_be_undone_for_a_day(waited_ms: int, answer: Undone | Refused) -> None:
    """What it needs is kept an hour longer."""
    found = Found(Floors(1, 1), (None, None), kept=(ASIDE,))
    assert undo_subjects(found, OFFER, REMOVED, T0 + waited_ms, replace=False)[0] == answer


# --- chunk by chunk


@pytest.mark.parametrize(
    ("raises", "waited_ms", "answer"),
    [
        ((), UNDO_MS - 1, Undone(None)),
        ((), UNDO_MS, NOTHING_TO_UNDO),
        ((replace(FIRST, at=T0 - 1), FIRST_OF_KEYS), 0, Undone(None)),
        ((FIRST, SECOND), 0, Refused(NotUndone.LATER_RESET, "r2")),
    ],
    ids=["the last moment", "a day later", "resets before it, and of the other kind", "later resets"],
)
def test_a_narrowed_reset_is_undone_while_no_later_one_of_its_kind_stands(
    raises: tuple[Raise, ...], waited_ms: int, answer: Undone | Refused
) -> None:
    found = Found(Floors(1), kept=(write_chunks(no_chunks("r0", T0), Chunks(3)),), raises=raises)
    assert undo_narrowed(found, OFFER, DEVICES, T0, T0 + waited_ms) == (answer, NOTHING)


@pytest.mark.parametrize("over_it", [False, True])
def test_of_a_chunk_returns_who_has_not_come_back(*, over_it: bool) -> None:
    """Whoever has keeps the new trial, unless it is to go; and what a later floor ended stays ended."""
    ended = (Subject(DEVICES, b"e" * 16), replace(OLD, generation=0))
    found = Found(Floors(1, 1), (None, NEW, None), kept=(ASIDE,))
    undone, changes = undo_chunk(found, OFFER, (*REMOVED, ended), T0, replace=over_it)
    assert (undone, changes.ledgers, changes.kept) == (
        Undone(2, 1) if over_it else Undone(1),
        REMOVED if over_it else REMOVED[:1],
        (forgotten(ASIDE),),
    )


@pytest.mark.parametrize("aside", [None, forgotten(ASIDE)])
def test_a_chunk_returns_once(aside: Kept | None) -> None:
    assert undo_chunk(Found(Floors(), (None,), kept=(aside,)), OFFER, REMOVED[:1], 1, replace=True) == (
        Undone(0),
        NOTHING,
    )


def test_chunks_are_counted() -> None:
    """And no more once the undo was done."""
    begun = no_chunks("r1", T0)
    counted = write_chunks(begun, Chunks(7))
    told = [read_chunks(each) for each in (begun, counted, forgotten(counted), None)]
    assert (told, counted.expires_at) == ([Chunks(), Chunks(7), None, None], T0 + UNDO_KEPT_MS)


@pytest.mark.parametrize("kept", [None, no_chunks("r0", T0), forgotten(write_chunks(no_chunks("r0", T0), Chunks(3)))])
def test_a_narrowed_reset_of_nobody_and_one_that_was_undone_are_not_undone(kept: Kept | None) -> None:
    assert undo_narrowed(Found(Floors(), kept=(kept,)), OFFER, DEVICES, T0, T0) == (NOTHING_TO_UNDO, NOTHING)


# --- what an undo could put back


@pytest.mark.parametrize(
    ("floors", "raises", "waited_ms", "lowest"),
    [
        (Floors(2), (FIRST, SECOND), 0, 0),
        (Floors(2), (SECOND, FIRST), UNDO_KEPT_MS - 1, 0),
        (Floors(2), (FIRST, SECOND), UNDO_KEPT_MS, 1),
        (Floors(2), (FIRST, SECOND), UNDO_KEPT_MS + 1, 2),
        (Floors(2), (FIRST,), 0, 2),
        (Floors(3), (FIRST, SECOND), 0, 3),
        (Floors(3), (FIRST, Raise(DEVICES, 3, 2, T0 + 1, "r3")), 0, 2),
        (Floors(1), (FIRST_OF_KEYS,), 0, 1),
        (Floors(), (), 0, 0),
    ],
)
def test_ledgers_below_every_floor_that_may_return_are_told(
    floors: Floors, raises: tuple[Raise, ...], waited_ms: int, lowest: int
) -> None:
    """A floor that left no moment stands in the way of every undo of an earlier one."""
    assert restorable_floor(floors, DEVICES, raises, T0 + waited_ms) == lowest


# --- whom it means


@pytest.mark.parametrize(
    ("narrowing", "now", "fits"),
    [
        (Narrowing(), T0, True),
        (Narrowing(over=True), OLD.expires_at - 1, False),
        (Narrowing(over=True), OLD.expires_at, True),
        (Narrowing(started_before=T0), T0 + 9, False),
        (Narrowing(started_before=T0 + 1), T0 + 9, True),
        (Narrowing(Origin(b"tv"), over=True), OLD.expires_at, False),
        (Narrowing(over=True, started_before=T0), OLD.expires_at, False),
    ],
)
def test_every_part_of_a_narrowing_has_to_fit(narrowing: Narrowing, now: int, *, fits: bool) -> None:
    assert narrowing.fits(OLD, now) == fits


def test_a_tally_counts_what_a_reset_would_touch() -> None:
    """Not what does not count already; a trial whose time is over this moment is over."""
    page = [(DEVICE, OLD), (DEVICE, NEW), (DEVICE, replace(NEW, generation=0)), (KEY, replace(NEW, generation=0))]
    told = [
        tally(page, Aim(Floors(1, 0), narrowing, OLD.expires_at))
        for narrowing in (Narrowing(), Narrowing(over=True), Narrowing(started_before=NEW.started_at))
    ]
    assert (told, told[0].plus(told[1])) == ([Tally(2, 1), Tally(0, 1), Tally(0, 1)], Tally(2, 2))
