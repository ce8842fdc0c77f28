"""
What the sweeper takes and what it leaves, on every adapter.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from temppass.core.model import NOTHING, Changes, Floors, Found, Ledger, Subject, SubjectKind
from temppass.storage.memory import MemoryStore
from temppass.store import Keys, Stale, Store, StoreUnavailable, TrialKey
from temppass.sweeper import CHUNK, UNDO_MS, Sweeper

if TYPE_CHECKING:
    from tests.storage.conftest import Place

T0, DAY = 1_767_261_600_000, 86_400_000
TRIAL: TrialKey = ("release-production", "REF", "TempPassREF")
DEVICES = SubjectKind.DEVICE


def device(number: int) -> Subject:
    return Subject(DEVICES, number.to_bytes(16, "big"))


def keys(*subjects: Subject) -> Keys:
    return Keys(TRIAL[0], 0, (TRIAL[1], TRIAL[2]), subjects)


async def fill(store: Store, *ledgers: Ledger, floors: Floors) -> None:
    """Give device 0, 1, 2 … a ledger each."""
    written = tuple((device(number), ledger) for number, ledger in enumerate(ledgers))
    await store.transact(keys(), lambda _found: (None, Changes(written, floors)))


class Failing(MemoryStore):
    """Away when the third chunk is asked for; `looked_after` has the place of each chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_after: list[bytes] = []

    async def sweep_ledgers(
        self, trial: TrialKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        if kind is DEVICES:
            self.looked_after.append(after)
        if len(self.looked_after) == 3:
            raise StoreUnavailable
        return await super().sweep_ledgers(trial, kind, stale, after, limit)


async def left(store: Store, count: int) -> list[int]:
    def look(found: Found) -> tuple[Found, Changes]:
        return found, NOTHING

    found = await store.transact(keys(*map(device, range(count))), look)
    return [number for number, ledger in enumerate(found.ledgers) if ledger is not None]


@pytest.mark.parametrize(
    ("stale", "survivors"),
    [
        (Stale(0, None), [0, 1, 2, 3]),
        (Stale(1, None), [1, 2, 3]),
        (Stale(2, None), [3]),
        (Stale(0, T0 + DAY), [1, 3]),
        (Stale(0, T0 + DAY + 1), [3]),
        (Stale(3, None), []),
    ],
)
def test_ledgers_of_an_older_generation_or_long_expired_go(place: Place, stale: Stale, survivors: list[int]) -> None:
    early, late = T0 + DAY - 1, T0 + DAY

    async def work(store: Store) -> list[int]:
        generations = [Ledger(T0, early, 0), Ledger(T0, late, 1), Ledger(T0, early, 1), Ledger(T0, late + 1, 2)]
        await fill(store, *generations, floors=Floors(2))
        removed, last = await store.sweep_ledgers(TRIAL, DEVICES, stale, b"", 10)
        assert (removed, last) == (4 - len(survivors), None)
        return await left(store, 4)

    assert place.use(work) == survivors


def test_a_sweep_goes_on_where_its_last_chunk_ended(place: Place) -> None:
    async def work(store: Store) -> list[tuple[int, bytes | None]]:
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * 5, floors=Floors(1))
        first = await store.sweep_ledgers(TRIAL, DEVICES, Stale(1, None), b"", 3)
        assert first[1] is not None
        return [first, await store.sweep_ledgers(TRIAL, DEVICES, Stale(1, None), first[1], 3)]

    assert place.use(work) == [(3, device(2).digest), (2, None)]


def test_a_sweep_is_of_one_kind_of_subject(place: Place) -> None:
    """A key may have the digest of a device."""
    key = Subject(SubjectKind.USER_KEY, device(0).digest)
    begun = Changes(((device(0), Ledger(T0, T0 + DAY, 0)), (key, Ledger(T0, T0 + DAY, 0))))

    async def work(store: Store) -> tuple[Ledger | None, ...]:
        await store.transact(keys(), lambda _found: (None, begun))
        await store.sweep_ledgers(TRIAL, DEVICES, Stale(1, None), b"", 10)
        found = await store.transact(keys(device(0), key), lambda found: (found, NOTHING))
        return found.ledgers

    assert place.use(work) == (None, Ledger(T0, T0 + DAY, 0))


def test_trials_are_told_with_their_floors(place: Place) -> None:
    async def work(store: Store) -> list[tuple[TrialKey, Floors]]:
        await fill(store, Ledger(T0, T0 + DAY, 0), floors=Floors(1, 2, T0))
        return await store.trials()

    assert place.use(work) == [(TRIAL, Floors(1, 2, T0))]


def test_stale_ledgers_stay_while_the_reset_can_be_undone(place: Place) -> None:
    """The day begins when the sweeper first sees the floor; the last floor that is final counts."""

    async def work(store: Store) -> list[list[int]]:
        await fill(store, *[Ledger(T0, T0 + DAY, generation) for generation in (0, 1, 2)], floors=Floors(1))
        sweeper, told = Sweeper(store, pause_s=0), []
        for now, floor in ((T0, 1), (T0 + UNDO_MS - 1, 2), (T0 + UNDO_MS, 2), (T0 + 2 * UNDO_MS, 2)):
            await fill(store, floors=Floors(floor))
            await sweeper.sweep(now, {})
            told.append(await left(store, 3))
        assert sweeper.removed == 2
        return told

    assert place.use(work) == [[0, 1, 2], [0, 1, 2], [1, 2], [2]]


def test_expired_ledgers_go_only_where_the_pass_declares_a_retention(place: Place) -> None:
    async def work(store: Store) -> list[list[int]]:
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * (CHUNK + 1), floors=Floors())
        sweeper, told = Sweeper(store, pause_s=0), []
        for now, retention_ms in ((T0 + 9 * DAY, {}), (T0 + 2 * DAY, {TRIAL: DAY}), (T0 + 9 * DAY, {TRIAL: DAY})):
            await sweeper.sweep(now, retention_ms)
            told.append((await left(store, CHUNK + 1))[-1:])
        return told

    assert place.use(work) == [[CHUNK], [CHUNK], []]


@pytest.mark.parametrize(
    ("later", "goes_on_after"),
    [(T0 + UNDO_MS, device(2 * CHUNK - 1).digest), (T0 + UNDO_MS + 1, b"")],
    ids=["the same floor", "a floor that became final meanwhile"],
)
def test_a_sweep_that_an_outage_broke_off_goes_on_where_it_was(later: int, goes_on_after: bytes) -> None:
    """Or it would look again at all that came since; but a higher floor has ledgers to take from the beginning on."""
    store = Failing()

    async def work() -> None:
        sweeper = Sweeper(store, pause_s=0)
        for now in (T0, T0 + 1):
            await fill(store, *[Ledger(T0, T0 + DAY, 0)] * (3 * CHUNK), floors=Floors(now - T0 + 1))
            await sweeper.sweep(now, {})
        with pytest.raises(StoreUnavailable):
            await sweeper.sweep(T0 + UNDO_MS, {})
        await sweeper.sweep(later, {})

    asyncio.run(work())
    assert store.looked_after[3] == goes_on_after
