"""
Two processes on one PostgreSQL: what happens between a batch's reading and its writing is seen, and nobody waits in a
circle. The other process is another store in a thread of its own, and its work is done inside a step, where the
batch has read and not yet written, or inside the change of an amendment.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import asyncpg
import pytest
from msgspec.structs import replace

from temppass.core.catalogue import EMPTY, Offer
from temppass.core.model import (
    NOTHING,
    Changes,
    Floors,
    Found,
    Kept,
    Ledger,
    Origin,
    PassKind,
    Recorded,
    Subject,
    SubjectKind,
)
from temppass.core.reset import Narrowing, reset_subjects
from temppass.core.world import EnvironmentRecord
from temppass.storage.postgres import PostgresStore
from temppass.store import Keys, Stale, Store

if TYPE_CHECKING:
    from tests.storage.conftest import Place

Step = Callable[[Found], tuple[Any, Changes]]

DEVICE, KEY = Subject(SubjectKind.DEVICE, b"d" * 16), Subject(SubjectKind.USER_KEY, b"k" * 16)
KEPT = Kept("session", "K7Q2MXA", 9, b"{}")
BOTH = Keys("release-production", 0, ("REF", "TempPassREF"), (DEVICE, KEY), kept=(KEPT.key,))
ALONE, KEY_ALONE = replace(BOTH, subjects=(DEVICE,)), replace(BOTH, subjects=(KEY,))
HERE = (BOTH.environment, "REF", "TempPassREF")
#: takes every ledger, as a sweep does that finds all of them stale
ALL = Stale(1_000, None)
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OLD, NEW = Ledger(1, 9, 0, ("A",)), Ledger(2, 10, 0, ("B",))


def look(found: Found) -> tuple[Found, Changes]:
    return found, NOTHING


def writing(*ledgers: tuple[Subject, Ledger | None], floors: Floors | None = None) -> Step:
    return lambda found: (found.ledgers, Changes(ledgers, floors))


def keeping(kept: Kept) -> Step:
    return lambda found: (found.kept[0], Changes(kept=(kept,)))


class Deed(NamedTuple):
    """What is no step."""

    do: Callable[[PostgresStore], Coroutine[Any, Any, Any]]


def elsewhere(url: str, deed: Deed) -> None:
    """Let another process do `deed`, and wait until it is done."""

    async def work() -> None:
        store = PostgresStore(url)
        await deed.do(store)
        await store.close()

    other = threading.Thread(target=lambda: asyncio.run(work()))
    other.start()
    other.join()


class Processes:
    """A store, and what another one does, once, while a step of the first runs. Steps find what `keys` name."""

    def __init__(self, url: str, *before: Step, keys: Keys = BOTH) -> None:
        self._url = url
        self._before = before
        self._keys = keys

    def meanwhile(self, theirs: Step | Deed, step: Step) -> Step:
        """Answer `step`, with `theirs` done by the other process when it first runs."""
        left = [theirs if isinstance(theirs, Deed) else Deed(lambda store: store.transact(self._keys, theirs))]

        def interrupted(found: Found) -> tuple[Any, Changes]:
            if left:
                elsewhere(self._url, left.pop())
            return step(found)

        return interrupted

    def told(self, *steps: Step | tuple[Keys, Step]) -> tuple[list[Any], int]:
        """Answer what steps of one batch are told, refusals among it, and how many races it lost."""
        asked = [step if isinstance(step, tuple) else (self._keys, step) for step in steps]

        async def work() -> tuple[list[Any], int]:
            store = PostgresStore(self._url)
            for step in (*self._before, look):
                await store.transact(self._keys, step)
            answers = await asyncio.gather(
                *(store.transact(keys, step) for keys, step in asked), return_exceptions=True
            )
            retries = store.retries
            await store.close()
            return answers, retries

        return asyncio.run(work())


def test_a_ledger_that_is_reset_meanwhile_is_not_brought_back(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD)))
    gain = processes.meanwhile(writing((DEVICE, None)), writing((DEVICE, NEW)))
    assert processes.told(gain) == ([(None, None)], 1)


def test_a_ledger_that_is_swept_meanwhile_is_not_brought_back(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD)))
    sweep = Deed(lambda store: store.sweep_ledgers(HERE, SubjectKind.DEVICE, ALL, b"", 10))
    assert processes.told(processes.meanwhile(sweep, writing((DEVICE, NEW)))) == ([(None, None)], 1)


def test_a_ledger_that_is_swept_and_begun_anew_meanwhile_is_another_one(postgres: str) -> None:
    """Nothing but its version tells, which is why the version of a new row is anywhere."""

    async def begin_anew(store: PostgresStore) -> None:
        await store.sweep_ledgers(HERE, SubjectKind.DEVICE, ALL, b"", 10)
        await store.transact(BOTH, writing((DEVICE, NEW)))

    processes = Processes(postgres, writing((DEVICE, OLD)))
    gain = processes.meanwhile(Deed(begin_anew), writing((DEVICE, replace(OLD, used=("A", "C")))))
    assert processes.told(gain) == ([(NEW, None)], 1)


def test_a_ledger_that_is_begun_meanwhile_is_not_begun_again(postgres: str) -> None:
    processes = Processes(postgres, writing((KEY, OLD)))
    begin = processes.meanwhile(writing((DEVICE, OLD)), writing((DEVICE, NEW)))
    assert processes.told(begin) == ([(OLD, OLD)], 1)


def test_a_ledger_that_one_batch_began_and_removed_was_not_there_for_a_moment(postgres: str) -> None:
    """Else two processes might each keep another half of what they wrote."""
    processes = Processes(postgres, writing((KEY, None)))
    begin = processes.meanwhile(writing((DEVICE, OLD)), writing((DEVICE, NEW)))
    assert processes.told(begin, writing((DEVICE, None)))[1] == 1


def test_ledgers_that_rest_on_one_another_come_before_a_reset_of_everybody_or_after_it(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD), (KEY, OLD)))
    gain = processes.meanwhile(writing(floors=Floors(0, 1)), lambda found: (found.floors, _both(NEW)))
    assert processes.told(gain) == ([Floors(0, 1)], 1)


def test_two_resets_of_everybody_at_once_both_hold(postgres: str) -> None:
    """One of the devices, one of the keys."""

    def raising(kind: SubjectKind) -> Step:
        return lambda found: (found.floors, Changes(floors=found.floors.raised(kind)))

    processes = Processes(postgres, writing(floors=Floors()))
    reset = processes.meanwhile(raising(SubjectKind.USER_KEY), raising(SubjectKind.DEVICE))
    assert processes.told(reset) == ([Floors(0, 1)], 1)


@pytest.mark.parametrize("subjects", [(DEVICE,), (DEVICE, KEY)], ids=["one subject", "two subjects"])
def test_a_ledger_that_did_not_count_is_not_written_over_where_its_floor_falls(
    postgres: str, subjects: tuple[Subject, ...]
) -> None:
    """The reset was undone between reading and writing: by then the ledger counts again, and is not to be lost."""
    processes = Processes(postgres, writing((DEVICE, OLD), floors=Floors(1)), keys=replace(BOTH, subjects=subjects))
    undo = writing(floors=Floors(0, 0, 0, 1))

    def begin(found: Found) -> tuple[Floors, Changes]:
        begun = tuple((subject, NEW) for subject in subjects) if found.floors.device else ()
        return found.floors, Changes(begun)

    assert processes.told(processes.meanwhile(undo, begin)) == ([Floors(0, 0, 0, 1)], 1)


def _both(ledger: Ledger) -> Changes:
    return Changes(((DEVICE, ledger), (KEY, ledger)))


def test_an_answer_is_of_one_moment(postgres: str) -> None:
    """A look beside a change of one of its ledgers does not show that change with the other ledger as it was before."""
    processes = Processes(postgres, writing((DEVICE, OLD), (KEY, OLD)))
    reset = Deed(lambda store: store.transact(KEY_ALONE, writing((KEY, None))))
    (_, seen), retries = processes.told((ALONE, processes.meanwhile(reset, writing((DEVICE, NEW)))), look)
    assert (seen.ledgers, retries) == ((NEW, None), 0)


def test_a_refusal_is_of_one_moment(postgres: str) -> None:
    """It too rests on what its batch changed and on a ledger that was begun meanwhile."""

    def refuse(found: Found) -> NoReturn:
        raise LookupError(found.ledgers)

    processes = Processes(postgres, writing((DEVICE, OLD)))
    begin = Deed(lambda store: store.transact(KEY_ALONE, writing((KEY, OLD))))
    (_, refusal), _ = processes.told((ALONE, processes.meanwhile(begin, writing((DEVICE, None)))), refuse)
    assert refusal.args == ((None, OLD),)


def test_a_ledger_that_stays_as_it_is_beside_one_that_changes_is_of_the_same_moment(postgres: str) -> None:
    """Else somebody could see the one that was begun meanwhile beside the other as it was before."""
    processes = Processes(postgres, writing((DEVICE, OLD)))
    begin = Deed(lambda store: store.transact(KEY_ALONE, writing((KEY, OLD))))
    assert processes.told(processes.meanwhile(begin, writing((DEVICE, None)))) == ([(OLD, OLD)], 1)


def test_a_ledger_beside_one_that_does_not_count_is_of_the_same_moment_as_the_floors(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD), (KEY, OLD), floors=Floors(0, 1)))
    undo = writing(floors=Floors(0, 0, 0, 0, 1))
    gain = processes.meanwhile(undo, lambda found: (found.floors.user_key, Changes(((DEVICE, NEW),))))
    assert processes.told(gain) == ([0], 1)


def test_what_is_seen_of_two_ledgers_that_a_batch_changed_is_of_the_same_moment_as_the_floors(postgres: str) -> None:
    """Each was changed alone, so nothing but the look rests on both."""
    processes = Processes(postgres, writing((DEVICE, OLD), (KEY, OLD)))
    raised = Deed(lambda store: store.transact(replace(BOTH, subjects=()), writing(floors=Floors(1))))
    gain = processes.meanwhile(raised, writing((DEVICE, NEW)))
    (*_, seen), retries = processes.told((ALONE, gain), (KEY_ALONE, writing((KEY, NEW))), look)
    assert (seen.floors, retries) == (Floors(1), 1)


# --- kept documents


def test_a_document_that_is_changed_meanwhile_keeps_what_it_was_told(postgres: str) -> None:
    chosen = replace(KEPT, document=b"chosen")
    processes = Processes(postgres, keeping(KEPT))
    assert processes.told(processes.meanwhile(keeping(chosen), keeping(KEPT))) == ([chosen], 1)


def test_a_key_that_is_drawn_twice_at_once_is_seen_to_be_taken(postgres: str) -> None:
    theirs = replace(KEPT, document=b"theirs")
    processes = Processes(postgres)
    assert processes.told(processes.meanwhile(keeping(theirs), keeping(KEPT))) == ([theirs], 1)


def test_a_document_that_is_swept_and_kept_anew_meanwhile_is_another_one(postgres: str) -> None:
    theirs = replace(KEPT, document=b"theirs")

    async def keep_anew(store: PostgresStore) -> None:
        await store.sweep(KEPT.expires_at, 0, 10)
        await store.transact(BOTH, keeping(theirs))

    processes = Processes(postgres, keeping(KEPT))
    assert processes.told(processes.meanwhile(Deed(keep_anew), keeping(KEPT))) == ([theirs], 1)


# --- environments


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
@pytest.mark.parametrize("before", [0, 1])
def test_an_amendment_rests_on_what_another_process_left(place: Place, postgres: str, before: int) -> None:
    """Also where both would be the first; what is done anew leaves one record."""
    seen: list[int] = []

    def change(old: EnvironmentRecord | None) -> tuple[None, EnvironmentRecord, Recorded]:
        version = old.version if old else 0
        seen.append(version)
        changed = EnvironmentRecord(version + 1, EMPTY, {}, {}, b"")
        record = Recorded(f"r{len(seen)}", changed.version, b"%d" % changed.version)
        if len(seen) == before + 1:
            elsewhere(postgres, Deed(lambda store: store.amend(BOTH.environment, change)))
        return None, changed, record

    async def work(store: Store) -> tuple[int, list[bytes]]:
        for _ in range(before + 1):
            await store.amend(BOTH.environment, change)
        loaded = await store.load(BOTH.environment)
        return loaded.record.version if loaded else 0, await store.unsealed(BOTH.environment, 10)

    assert place.use(work) == (before + 2, [b"%d" % version for version in range(1, before + 3)])
    assert seen == [*range(before + 1), before, before + 1]


# --- what waits for a commit


def beside(
    url: str, before: Step, theirs: list[Step], work: Deed, keys: Keys = BOTH, locked: str | None = None
) -> tuple[bool, Any, tuple[Ledger | None, ...]]:
    """
    Let another process write `theirs`, and commit once `work` waits for it; it lets nobody read the table `locked`.

    Answer whether it waited, what it answered, and the ledgers that are left.
    """

    async def play() -> tuple[bool, Any, tuple[Ledger | None, ...]]:
        writer, store, watcher = PostgresStore(url), PostgresStore(url), await asyncpg.connect(url)
        await writer.transact(keys, before)
        await store.transact(keys, look)
        assert writer._lane._held.connection is not None
        await writer._lane._held.connection.execute("BEGIN")
        for step in theirs:
            await writer.transact(keys, step)
        if locked is not None:
            await writer._lane._held.connection.execute(f"LOCK TABLE {locked}")
        working = asyncio.create_task(work.do(store))
        while not working.done() and not await watcher.fetchval(_WAITS):
            continue
        waited = not working.done()
        await writer._lane._held.connection.execute("COMMIT")
        answer, found = await working, await store.transact(keys, look)
        for each in (writer, store, watcher):
            await each.close()
        return waited, answer, found.ledgers

    return asyncio.run(play())


def test_a_ledger_that_is_written_while_the_sweep_looks_stays(postgres: str) -> None:
    """The sweep has seen the row as it was, waits for the one who writes it, and finds that it has moved on."""
    stale = Stale(0, OLD.expires_at + 1)
    sweep = Deed(lambda store: store.sweep_ledgers(HERE, SubjectKind.DEVICE, stale, b"", 10))
    assert beside(postgres, writing((DEVICE, OLD)), [writing((DEVICE, NEW))], sweep) == (True, (0, None), (NEW, None))


@pytest.mark.parametrize(("app", "matched"), [(b"tv", 1), (b"phone", 0)])
def test_a_narrowed_reset_judges_a_ledger_as_it_is_when_it_goes(postgres: str, app: bytes, matched: int) -> None:
    """It was reset and begun anew, by the same application or another one, between reading and writing."""
    old, anew = replace(OLD, origin=Origin(b"tv")), replace(NEW, origin=Origin(app))
    offer = Offer("REF", "TempPassREF", PassKind.BASIC, 1_800_000, None, None, 5, True, None, "UTC", 0)

    def narrowed(found: Found) -> tuple[int, Changes]:
        device = Found(found.floors, found.ledgers[:1])
        return reset_subjects(device, offer, (DEVICE,), Narrowing(old.origin), 3, "r")

    processes = Processes(postgres, writing((DEVICE, old)))
    told = processes.told(processes.meanwhile(writing((DEVICE, anew)), narrowed))
    assert told == ([matched], 1)


def test_a_reset_of_everybody_waits_for_ledgers_that_rest_on_the_floors_as_they_were(postgres: str) -> None:
    """Else it could be answered before them, and they would count as if it had never been."""
    reset = Deed(lambda store: store.transact(BOTH, writing(floors=Floors(1))))
    gain = writing((DEVICE, NEW), (KEY, NEW))
    assert beside(postgres, writing((DEVICE, OLD)), [gain], reset) == (True, (OLD, None), (NEW, NEW))


# --- many at once


def test_batches_that_write_and_remove_across_one_another_neither_starve_nor_deadlock(postgres: str) -> None:
    stores, rounds = [PostgresStore(postgres), PostgresStore(postgres)], 100

    async def play(store: PostgresStore, kept: Subject, removed: Subject) -> None:
        for _ in range(rounds):
            await store.transact(BOTH, writing((DEVICE, NEW), (KEY, NEW)))
            await store.transact(BOTH, writing((kept, NEW), (removed, None)))

    async def work() -> int:
        try:
            await asyncio.gather(play(stores[0], DEVICE, KEY), play(stores[1], KEY, DEVICE))
        finally:
            for store in stores:
                await store.close()
        connection = await asyncpg.connect(postgres)
        deadlocks = await connection.fetchval(_DEADLOCKS)
        await connection.close()
        return int(deadlocks)

    assert asyncio.run(work()) == 0


def test_an_amendment_that_is_broken_off_is_no_store_that_fails(postgres: str) -> None:
    """Within its transaction, as by Ctrl-C."""

    def create(_old: EnvironmentRecord | None) -> tuple[None, EnvironmentRecord, Recorded]:
        return None, EnvironmentRecord(1, EMPTY, {}, {}, b""), Recorded("r", 1, b"r")

    async def play() -> BaseException | None:
        store, other, watcher = (
            PostgresStore(postgres),
            await asyncpg.connect(postgres),
            await asyncpg.connect(postgres),
        )
        async with other.transaction():
            await other.execute("LOCK TABLE temppass.environment IN EXCLUSIVE MODE")
            amendment = asyncio.ensure_future(store.amend("here", create))
            while not await watcher.fetchval(_WAITS):  # a transaction sees others as they were when it looked first
                continue
            amendment.cancel()
            (told,) = await asyncio.gather(amendment, return_exceptions=True)
        for each in (store, other, watcher):
            await each.close()
        return told

    assert type(asyncio.run(play())) is asyncio.CancelledError
