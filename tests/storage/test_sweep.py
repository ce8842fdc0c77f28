"""
What the sweeper takes and what it leaves, on every adapter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from temppass.core import reset, trial
from temppass.core.catalogue import Offer
from temppass.core.model import NOTHING, Changes, Floors, Found, Kept, Ledger, PassKind, Raise, Subject, SubjectKind
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


# --- over the whole window of an undo

HOUR, SKEW = 3_600_000, 5 * 60_000
#: of a pass whose trials outlast the test, reset at two o'clock every day
OFFER = Offer("REF", "TempPassREF", PassKind.PROMOTIONAL, 90 * DAY, 9, "email", 9, True, "0 2 * * *", "UTC", T0)
SUBJECTS = tuple(Subject(kind, bytes([number]) * 16) for kind in SubjectKind for number in range(4))
Step = Callable[[Found], tuple[Any, Changes]]


class Twins:
    """The same acts on a store that is swept, and on one that never is: the sweep must make no difference."""

    def __init__(self, store: Store) -> None:
        self.swept, self.whole = store, MemoryStore()
        self.single: list[str] = []
        self._named = 0

    def name(self) -> str:
        self._named += 1
        return f"act {self._named}"

    async def do(self, step: Step, subjects: Sequence[Subject] = (), kept: tuple[str, ...] = ()) -> None:
        asked = Keys(HERE[0], 0, (HERE[1], HERE[2]), tuple(subjects), kept=kept, raises=True)
        told = [await store.transact(asked, step) for store in (self.swept, self.whole)]
        assert told[0] == told[1]

    async def found(self, store: Store) -> Found:
        kept = tuple(map(reset.undo_key, self.single))
        asked = Keys(HERE[0], 0, (HERE[1], HERE[2]), SUBJECTS, kept=kept, raises=True)
        return await store.transact(asked, lambda found: (found, NOTHING))


async def act(twins: Twins, chance: random.Random, now: int) -> None:
    """Do what viewers, operators and calendars do, by servers whose clocks differ."""
    now += chance.choice((-SKEW, 0, SKEW))
    drawn, some = chance.random(), chance.sample(SUBJECTS, 2)
    if drawn < 0.5:
        ask = trial.Ask(OFFER, (some[0],))
        await twins.do(lambda found: trial.authorize(found, ask, ["A"], now), some[:1])
    elif drawn < 0.7:
        twins.single.append(name := twins.name())
        narrowing = reset.Narrowing()
        await twins.do(lambda found: reset.reset_subjects(found, OFFER, some, narrowing, now, name), some)
    elif drawn < 0.9:
        kinds = chance.choice((reset.BOTH, reset.BOTH[:1], reset.BOTH[1:]))
        name = twins.name()
        await twins.do(lambda found: (None, reset.reset_everybody(found, OFFER, kinds, now, name)))
    else:
        names = sorted({each.act_id for each in (await twins.found(twins.whole)).raises})
        name = chance.choice([*names, "none"])
        await twins.do(lambda found: reset.undo_everybody(found, OFFER, name, now))
    await twins.do(lambda found: (None, reset.fire(found, OFFER, now)))


def at_best(found: Found, now: int) -> set[tuple[Subject, Ledger | None]]:
    """Answer what would count if all that can be undone were: of everybody, the latest first; then of some."""
    going_on = True
    while going_on:
        going_on = False
        for name in {each.act_id for each in found.raises}:
            outcome, changes = reset.undo_everybody(found, OFFER, name, now)
            if isinstance(outcome, reset.Undone) and changes.floors is not None:
                raises = tuple(each for each in found.raises if each not in changes.undone)
                found = replace(found, floors=changes.floors, raises=raises)
                going_on = True
    ledgers = dict(zip(SUBJECTS, found.ledgers, strict=True))
    for aside in filter(None, found.kept):
        removed = reset.read_removed(aside)
        named = tuple(ledgers[subject] for subject, _ in removed)
        single = replace(found, ledgers=named, kept=(aside,))
        _, changes = reset.undo_subjects(single, OFFER, removed, now, replace=True)
        ledgers |= dict(changes.ledgers)
    return {entry for entry in ledgers.items() if counts(*entry, found.floors)}


def counts(subject: Subject, ledger: Ledger | None, floors: Floors) -> bool:
    return ledger is not None and reset.counts(ledger, subject, floors)


async def sweep(store: Store, now: int) -> None:
    """Sweep as three servers do that have just been started and whose clocks differ: none remembers anything."""
    for skew in (SKEW, 0, -SKEW):
        await Sweeper(store, pause_s=0).sweep(now + skew, {})


@pytest.mark.parametrize("seed", range(3))
def test_whatever_can_be_undone_comes_back_whole_and_afterwards_what_is_dead_is_gone(place: Place, seed: int) -> None:
    """Single resets, of everybody, stacked, undone in between and recurring, every hour, for more than two days."""
    chance = random.Random(seed)
    last, over = T0 + 2 * DAY, T0 + 2 * DAY + UNDO_KEPT_MS + 2 * SKEW

    async def work(store: Store) -> tuple[object, ...]:
        twins, returning = Twins(store), 0
        await fill(store, floors=Floors())
        await fill(twins.whole, floors=Floors())
        for now in range(T0, over, HOUR):
            if now <= last:
                await act(twins, chance, now)
            await sweep(store, now)
            for clock in (now - SKEW, now, now + SKEW):
                found, whole = await twins.found(store), await twins.found(twins.whole)
                assert at_best(found, clock) == at_best(whole, clock)
                present = [counts(*entry, whole.floors) for entry in zip(SUBJECTS, whole.ledgers, strict=True)]
                returning += len(at_best(whole, clock)) > sum(present)
        await sweep(store, over)
        whole, left = await twins.found(twins.whole), await twins.found(store)
        ledgers = {each for kind in SubjectKind for each in await store.ledgers(HERE, kind, b"", 99)}
        assert returning > 24
        return ledgers == at_best(whole, over), left.raises, {*left.kept}

    assert place.use(work) == (True, (), {None})
