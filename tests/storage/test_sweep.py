"""
What the sweeper takes and what it leaves, on every adapter.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from temppass.core.model import NOTHING, Changes, Floors, Found, Kept, Ledger, Raise, Subject, SubjectKind
from temppass.core.reset import UNDO_KEPT_MS
from temppass.service.upkeep import CHUNK, RETENTION_EVERY_MS, Sweeper
from temppass.storage.memory import MemoryStore
from temppass.store import IntegrationKey, Keys, Stale, Store, StoreUnavailable

if TYPE_CHECKING:
    from tests.storage.conftest import Place

T0, DAY = 1_767_261_600_000, 86_400_000
HERE: IntegrationKey = ("release-production", "REF", "TempPassREF")
DEVICES = SubjectKind.DEVICE


def device(number: int) -> Subject:
    return Subject(DEVICES, number.to_bytes(16, "big"))


def keys(*subjects: Subject) -> Keys:
    return Keys(HERE[0], 0, (HERE[1], HERE[2]), subjects)


async def fill(store: Store, *ledgers: Ledger, floors: Floors, raises: tuple[Raise, ...] = ()) -> None:
    """Give device 0, 1, 2 … a ledger each."""
    written = tuple((device(number), ledger) for number, ledger in enumerate(ledgers))
    await store.transact(
        keys(*(subject for subject, _ in written)), lambda _found: (None, Changes(written, floors, raises=raises))
    )


def raised(generation: int, at: int) -> tuple[Raise]:
    """A reset of every device, upon which `generation` began at `at`."""
    return (Raise(DEVICES, generation, generation - 1, at, f"r{generation}"),)


class Failing(MemoryStore):
    """Away when the third chunk is asked for; `looked_after` has the place of each chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_after: list[bytes] = []

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        if kind is DEVICES:
            self.looked_after.append(after)
        if len(self.looked_after) == 3:
            raise StoreUnavailable
        return await super().sweep_ledgers(integration, kind, stale, after, limit)


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
        removed, last = await store.sweep_ledgers(HERE, DEVICES, stale, b"", 10)
        assert (removed, last) == (4 - len(survivors), None)
        return await left(store, 4)

    assert place.use(work) == survivors


def test_a_sweep_goes_on_where_its_last_chunk_ended(place: Place) -> None:
    async def work(store: Store) -> list[tuple[int, bytes | None]]:
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * 5, floors=Floors(1))
        first = await store.sweep_ledgers(HERE, DEVICES, Stale(1, None), b"", 3)
        assert first[1] is not None
        return [first, await store.sweep_ledgers(HERE, DEVICES, Stale(1, None), first[1], 3)]

    assert place.use(work) == [(3, device(2).digest), (2, None)]


def test_a_sweep_is_of_one_kind_of_subject(place: Place) -> None:
    """A key may have the digest of a device."""
    key = Subject(SubjectKind.USER_KEY, device(0).digest)
    begun = Changes(((device(0), Ledger(T0, T0 + DAY, 0)), (key, Ledger(T0, T0 + DAY, 0))))

    async def work(store: Store) -> tuple[Ledger | None, ...]:
        await store.transact(keys(), lambda _found: (None, begun))
        await store.sweep_ledgers(HERE, DEVICES, Stale(1, None), b"", 10)
        found = await store.transact(keys(device(0), key), lambda found: (found, NOTHING))
        return found.ledgers

    assert place.use(work) == (None, Ledger(T0, T0 + DAY, 0))


def test_stale_ledgers_stay_while_a_reset_can_be_undone(place: Place) -> None:
    """Whoever sweeps, and since when: the moments are stored."""

    async def work(store: Store) -> list[list[int]]:
        await fill(store, *[Ledger(T0, T0 + DAY, generation) for generation in (0, 1, 2)], floors=Floors())
        await fill(store, floors=Floors(1), raises=raised(1, T0))
        await fill(store, floors=Floors(2), raises=raised(2, T0 + 5))
        told = []
        for now in (T0, T0 + UNDO_KEPT_MS - 1, T0 + UNDO_KEPT_MS, T0 + UNDO_KEPT_MS + 4, T0 + UNDO_KEPT_MS + 5):
            await Sweeper(store, pause_s=0).sweep(now, {})
            told.append(await left(store, 3))
        return told

    assert place.use(work) == [[0, 1, 2], [0, 1, 2], [1, 2], [1, 2], [2]]


def test_ledgers_that_count_again_stay(place: Place) -> None:
    """The reset was undone: however long ago the floor that it raised was seen, it does not stand any more."""

    async def work(store: Store) -> list[int]:
        await fill(store, Ledger(T0, T0 + DAY, 0), floors=Floors())
        sweeper = Sweeper(store, pause_s=0)
        await fill(store, floors=Floors(1), raises=raised(1, T0))
        await sweeper.sweep(T0, {})
        await store.transact(keys(), lambda _found: (None, Changes(floors=Floors(0, 0, 0, 1), undone=raised(1, T0))))
        await sweeper.sweep(T0 + 2 * UNDO_KEPT_MS, {})
        return await left(store, 1)

    assert place.use(work) == [0]


def test_what_single_resets_left_behind_is_swept(place: Place) -> None:
    """Each leaves an empty row on PostgreSQL, which counts for nothing; `removed` tells of it, or of none."""

    async def work(store: Store) -> tuple[int, int]:
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * 2, floors=Floors())
        await store.transact(keys(device(0)), lambda _found: (None, Changes(((device(0), None),))))
        sweeper, again = Sweeper(store, pause_s=0), Sweeper(store, pause_s=0)
        await sweeper.sweep(T0, {})
        await again.sweep(T0, {})
        return again.removed, len(await store.ledgers(HERE, DEVICES, b"", 10))

    assert place.use(work) == (0, 1)


def test_expired_ledgers_go_only_where_the_pass_declares_a_retention(place: Place) -> None:
    async def work(store: Store) -> list[list[int]]:
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * (CHUNK + 1), floors=Floors())
        sweeper, told = Sweeper(store, pause_s=0), []
        for now, retention_ms in ((T0 + 9 * DAY, {}), (T0 + 2 * DAY, {HERE: DAY}), (T0 + 9 * DAY, {HERE: DAY})):
            await sweeper.sweep(now, retention_ms)
            told.append((await left(store, CHUNK + 1))[-1:])
        return told

    assert place.use(work) == [[CHUNK], [CHUNK], []]


def test_ledgers_that_expire_one_by_one_are_looked_for_once_an_hour(place: Place) -> None:
    async def work(store: Store) -> list[list[int]]:
        sweeper, told = Sweeper(store, pause_s=0), []
        for now in (T0 + 2 * DAY, T0 + 2 * DAY + RETENTION_EVERY_MS - 1, T0 + 2 * DAY + RETENTION_EVERY_MS):
            await fill(store, Ledger(T0, T0 + DAY, 0), floors=Floors())
            await sweeper.sweep(now, {HERE: DAY - 1})
            told.append(await left(store, 1))
        return told

    assert place.use(work) == [[], [0], []]


def test_ledgers_of_user_keys_go_by_the_floor_of_user_keys(place: Place) -> None:
    key = Subject(SubjectKind.USER_KEY, b"k" * 16)
    begun = Changes(((key, Ledger(T0, T0 + DAY, 0)), (device(0), Ledger(T0, T0 + DAY, 0))), Floors(0, 1))

    async def work(store: Store) -> tuple[Ledger | None, ...]:
        await store.transact(keys(key, device(0)), lambda _found: (None, begun))
        await Sweeper(store, pause_s=0).sweep(T0, {})
        found = await store.transact(keys(key, device(0)), lambda found: (found, NOTHING))
        return found.ledgers

    assert place.use(work) == (None, Ledger(T0, T0 + DAY, 0))


def test_all_documents_whose_time_is_over_go_in_one_sweep(place: Place) -> None:
    async def work(store: Store) -> int:
        async def keep(number: int) -> None:
            kept = Kept("session", f"{number:07}", T0 + 1, b"{}")
            await store.transact(keys(), lambda _found: (None, Changes(kept=(kept,))))

        await asyncio.gather(*map(keep, range(CHUNK + 1)))
        await Sweeper(store, pause_s=0).sweep(T0 + 1, {})
        return await store.sweep(T0 + 1, 0, 1)

    assert place.use(work) == 0


@pytest.mark.parametrize(
    ("later", "goes_on_after"),
    [(T0 + UNDO_KEPT_MS, device(2 * CHUNK - 1).digest), (T0 + UNDO_KEPT_MS + 1, b"")],
    ids=["the same floor", "a floor that became final meanwhile"],
)
def test_a_sweep_that_an_outage_broke_off_goes_on_where_it_was(later: int, goes_on_after: bytes) -> None:
    """Or it would look again at all that came since; but a higher floor has ledgers to take from the beginning on."""
    store = Failing()

    async def work() -> None:
        sweeper = Sweeper(store, pause_s=0)
        await fill(store, *[Ledger(T0, T0 + DAY, 0)] * (3 * CHUNK), floors=Floors(1), raises=raised(1, T0))
        await fill(store, floors=Floors(2), raises=raised(2, T0 + 1))
        with pytest.raises(StoreUnavailable):
            await sweeper.sweep(T0 + UNDO_KEPT_MS, {})
        await sweeper.sweep(later, {})

    asyncio.run(work())
    assert store.looked_after[3] == goes_on_after
