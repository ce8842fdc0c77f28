"""
Two processes on one PostgreSQL: what happens between a batch's reading and its writing is seen, and nobody waits in a
circle. The other process is another store in a thread of its own, and its work is done inside a step, where the
batch has read and not yet written.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import asyncpg

from temppass.core.model import ANYWHERE, NOTHING, Changes, Floors, Found, Ledger, Subject, SubjectKind
from temppass.storage.postgres import PostgresStore
from temppass.store import Keys

Step = Callable[[Found], tuple[Any, Changes]]

DEVICE, KEY = Subject(SubjectKind.DEVICE, b"d" * 16), Subject(SubjectKind.USER_KEY, b"k" * 16)
BOTH = Keys("release-production", 0, ("REF", "TempPassREF"), (DEVICE, KEY))
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
OLD, NEW = Ledger(1, 9, 0, ("A",)), Ledger(2, 10, 0, ("B",))


def look(found: Found) -> tuple[Found, Changes]:
    return found, NOTHING


def writing(*ledgers: tuple[Subject, Ledger | None], floors: Floors | None = None) -> Step:
    return lambda found: (found.ledgers, Changes(ledgers, floors))


class Deed(NamedTuple):
    """What is no step."""

    do: Callable[[PostgresStore], Coroutine[Any, Any, Any]]


class Processes:
    """A store, and what another one does, once, while a step of the first runs."""

    def __init__(self, url: str, *before: Step) -> None:
        self._url = url
        self._before = before

    def meanwhile(self, theirs: Step | Deed, step: Step) -> Step:
        """Answer `step`, with `theirs` done by the other process when it first runs."""
        left = [theirs if isinstance(theirs, Deed) else Deed(lambda store: store.transact(BOTH, theirs))]

        def interrupted(found: Found) -> tuple[Any, Changes]:
            if left:
                other = threading.Thread(target=lambda: self._run(left.pop()))
                other.start()
                other.join()
            return step(found)

        return interrupted

    def told(self, *steps: Step) -> tuple[list[Any], int]:
        """Answer what steps of one batch are told, and how many races it lost."""

        async def work() -> tuple[list[Any], int]:
            store = PostgresStore(self._url)
            for step in (*self._before, look):
                await store.transact(BOTH, step)
            answers = await asyncio.gather(*(store.transact(BOTH, step) for step in steps))
            retries = store.retries
            await store.close()
            return answers, retries

        return asyncio.run(work())

    def _run(self, deed: Deed) -> None:
        async def work() -> None:
            store = PostgresStore(self._url)
            await deed.do(store)
            await store.close()

        asyncio.run(work())


def test_a_ledger_that_is_reset_meanwhile_is_not_brought_back(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD)))
    gain = processes.meanwhile(writing((DEVICE, None)), writing((DEVICE, NEW)))
    assert processes.told(gain) == ([(None, None)], 1)


def test_a_ledger_that_is_erased_meanwhile_is_not_brought_back(postgres: str) -> None:
    processes = Processes(postgres, writing((DEVICE, OLD)))
    erase = Deed(lambda store: store.erase(BOTH, SubjectKind.DEVICE, ANYWHERE, b"", 10))
    assert processes.told(processes.meanwhile(erase, writing((DEVICE, NEW)))) == ([(None, None)], 1)


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


def _both(ledger: Ledger) -> Changes:
    return Changes(((DEVICE, ledger), (KEY, ledger)))


def test_an_answer_is_of_one_moment(postgres: str) -> None:
    """A look beside a change of one of its ledgers does not show that change with the other ledger as it was before."""
    processes = Processes(postgres, writing((DEVICE, OLD), (KEY, OLD)))
    gain = processes.meanwhile(writing((KEY, None)), writing((DEVICE, NEW)))
    (_, seen), retries = processes.told(gain, look)
    assert (seen.ledgers, retries) == ((NEW, None), 0)


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
