"""
SQLite: one writer thread owns the one connection and carries all steps that wait into one `BEGIN IMMEDIATE`.

While a commit is being made durable (WAL, `synchronous=FULL`), asks queue; the next commit takes them all. No timer
and no added wait: a lone ask goes at once. A step that raises fails alone; a commit that fails fails its batch.
One server process a file is the supported shape; the command line may change the catalogue beside it.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from temppass.core.act import Link, Sealed, Wanted
from temppass.core.anchor import Anchor
from temppass.core.model import (
    Changes,
    Count,
    Found,
    Ledger,
    Recorded,
    Registered,
    Server,
    Subject,
    SubjectKind,
    Use,
)
from temppass.core.reset import Aim
from temppass.core.world import Environment, EnvironmentRecord
from temppass.storage import sqlite_file
from temppass.storage.sqlite_transaction import Transaction
from temppass.store import (
    BATCH_MAX,
    WAITING_MAX,
    Amendment,
    AmendmentOfAll,
    Arrivals,
    Brood,
    Faded,
    Fading,
    IntegrationKey,
    Keys,
    NotDistributed,
    Stale,
    Standing,
    StoreBusy,
    StoreUnavailable,
    Tallied,
    Whole,
)

A = TypeVar("A")

#: what a commit waits for: that it is on the disk, or nothing, and then it becomes durable together with the next one.
#: Source: https://sqlite.org/pragma.html#pragma_synchronous
_DURABLE, _LATER = "FULL", "NORMAL"


class _Job(NamedTuple):
    work: Callable[[Transaction], Any]
    answered: "asyncio.Future[Any]"


_Outcome = tuple[_Job, Any, Exception | None]


class _Asks(ABC):
    """What may be asked of the port, as work on a transaction; `_submit` says when it is done, and by whom."""

    retries = 0  # one writer: nobody to race with
    whereabouts = None

    @abstractmethod
    def _submit(self, work: Callable[[Transaction], A], *, is_chore: bool = False) -> "asyncio.Future[A]":
        """`is_chore` says that nobody could tell if the work were lost."""

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        return await self._submit(lambda transaction: transaction.transact(keys, step))

    async def load(self, environment: str) -> Environment | None:
        return await self._submit(lambda transaction: transaction.load(environment))

    async def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        return await self._submit(lambda transaction: transaction.amend(environment, change))

    async def amend_all(self, change: Callable[[Whole], AmendmentOfAll[A]]) -> A:
        return await self._submit(lambda transaction: transaction.amend_all(change))

    async def announce(self, server: Server) -> None:
        await self._submit(lambda transaction: transaction.announce(server), is_chore=True)

    async def withdraw(self, id_: str) -> None:
        await self._submit(lambda transaction: transaction.withdraw(id_), is_chore=True)

    async def forget_servers(self, before: int) -> None:
        await self._submit(lambda transaction: transaction.forget_servers(before), is_chore=True)

    async def environments(self) -> list[str]:
        return await self._submit(lambda transaction: transaction.environments())

    async def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        return await self._submit(lambda transaction: transaction.ledgers(integration, kind, after, limit))

    async def clients(
        self, environment: str, brood: Brood, limit: int, after: Registered | None = None
    ) -> list[Registered]:
        return await self._submit(lambda transaction: transaction.clients(environment, brood, limit, after))

    async def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        return await self._submit(lambda transaction: transaction.count_clients(environment, broods, limit))

    async def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        return await self._submit(lambda transaction: transaction.count_arrivals(environment, since, limit))

    async def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        return await self._submit(lambda transaction: transaction.count_page(environment, brood, until, after, limit))

    async def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        await self._submit(lambda transaction: transaction.use(clients, statements), is_chore=True)

    async def uses(self, environment: str) -> dict[str, int]:
        return await self._submit(lambda transaction: transaction.uses(environment))

    async def tally(
        self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int
    ) -> Tallied:
        return await self._submit(lambda transaction: transaction.tally(integration, kind, aim, after, limit))

    async def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        return await self._submit(lambda transaction: transaction.records(environment, after, limit))

    async def search(
        self, environment: str, wanted: Wanted, beyond: int | None, limit: int, *, newest_first: bool
    ) -> list[Sealed]:
        return await self._submit(
            lambda transaction: transaction.search(environment, wanted, beyond, limit, newest_first=newest_first)
        )

    async def record(self, environment: str, id_: str) -> Sealed | None:
        return await self._submit(lambda transaction: transaction.record(environment, id_))

    async def unsealed_environments(self) -> list[str]:
        return await self._submit(lambda transaction: transaction.unsealed_environments())

    async def unsealed(self, environment: str, limit: int, after: tuple[int, str] | None = None) -> list[bytes]:
        rows = await self._submit(lambda transaction: transaction.unsealed(environment, limit, after))
        return [document for _, document in rows]

    async def head(self, environment: str) -> Link:
        return await self._submit(lambda transaction: transaction.head(environment))

    async def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        return await self._submit(lambda transaction: transaction.seal(environment, step, limit))

    async def recorded(self, environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
        return await self._submit(lambda transaction: transaction.recorded(environment, after, limit))

    async def anchor(self, environment: str) -> Anchor:
        return await self._submit(lambda transaction: transaction.anchor(environment))

    async def forget(
        self, environment: str, step: Callable[[Anchor, Sequence[Sealed]], Anchor | None], limit: int
    ) -> int:
        return await self._submit(lambda transaction: transaction.forget(environment, step, limit), is_chore=True)

    async def count(self, counts: Sequence[Count]) -> None:
        await self._submit(lambda transaction: transaction.count(counts), is_chore=True)

    async def counts(self, environment: str, since: int, until: int, step: int = 1) -> list[Count]:
        return await self._submit(lambda transaction: transaction.counts(environment, since, until, step))

    async def forget_counts(self, before: int, limit: int) -> int:
        return await self._submit(lambda transaction: transaction.forget_counts(before, limit), is_chore=True)

    async def sweep(self, now: int, raised_before: int, limit: int) -> int:
        return await self._submit(lambda transaction: transaction.sweep(now, raised_before, limit), is_chore=True)

    async def sweep_clients(self, environment: str, version: int, fading: Fading, after: str, limit: int) -> Faded:
        return await self._submit(
            lambda transaction: transaction.sweep_clients(environment, version, fading, after, limit), is_chore=True
        )

    async def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        return await self._submit(lambda transaction: transaction.integrations())

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        return await self._submit(
            lambda transaction: transaction.sweep_ledgers(integration, kind, stale, after, limit), is_chore=True
        )

    async def check(self) -> None:
        await self.ping()

    async def ping(self) -> None:
        await self._submit(lambda transaction: transaction.environments())


class SqliteReader(_Asks):
    """
    The store for those who only look: a step that changes anything finds it unavailable, and nothing is left behind.

    Raises StoreUnavailable, SchemaOutdated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        sqlite_file.read(path, lambda _connection: None)

    async def migrate(self) -> bool:
        raise StoreUnavailable(f"{self._path.name} was opened to be read")

    async def distribute(self, slots: int | None) -> list[str]:  # noqa: ARG002 - the port's shape
        raise StoreUnavailable(f"{self._path.name} was opened to be read")

    async def close(self) -> None: ...

    def _submit(self, work: Callable[[Transaction], A], *, is_chore: bool = False) -> "asyncio.Future[A]":  # noqa: ARG002 - a sweep fails as any change does
        answered: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        try:
            answered.set_result(sqlite_file.read(self._path, lambda connection: work(Transaction(connection))))
        except Exception as error:  # noqa: BLE001 - the one who asked is told, whatever it is
            answered.set_exception(error)
        return answered


class SqliteStore(_Asks):
    """
    Open the file, create it if need be, and bring its schema up to date.

    It serves one event loop at a time. Raises StoreUnavailable, SchemaOutdated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: deque[_Job] = deque()
        #: work whose loss nobody could tell: each has a commit of its own, which is not waited for until it is durable
        self._chores: deque[_Job] = deque()
        #: wakes the writer: True to look at the jobs, False to end after them
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._waking = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection, self._synchronous = sqlite_file.connect(path), _DURABLE
        #: one page after another, however many count at once: a core has other things to do
        self._counter = ThreadPoolExecutor(1, "temppass-count", _step_back)
        self._thread = threading.Thread(target=self._run, name="temppass-sqlite", daemon=True)
        self._thread.start()

    async def tally(
        self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int
    ) -> Tallied:
        return await self._count(lambda transaction: transaction.tally(integration, kind, aim, after, limit))

    async def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        return await self._count(lambda transaction: transaction.count_clients(environment, broods, limit))

    async def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        return await self._count(lambda transaction: transaction.count_arrivals(environment, since, limit))

    async def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        return await self._count(lambda transaction: transaction.count_page(environment, brood, until, after, limit))

    async def counts(self, environment: str, since: int, until: int, step: int = 1) -> list[Count]:
        return await self._count(lambda transaction: transaction.counts(environment, since, until, step))

    async def _count(self, work: Callable[[Transaction], A]) -> A:
        """Read beside the writer, in a thread that steps back."""
        if self._closed:
            raise StoreUnavailable("the store is closed")

        def look(connection: sqlite3.Connection) -> A:
            return work(Transaction(connection))

        return await asyncio.get_running_loop().run_in_executor(self._counter, sqlite_file.beside, self._path, look)

    async def migrate(self) -> bool:
        """Nothing is left to do: opening the file has done it."""
        return True

    async def distribute(self, slots: int | None) -> list[str]:  # noqa: ARG002 - the port's shape
        raise NotDistributed("a file is on one machine: only PostgreSQL with Citus can be spread")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._wakes.put(False)
            self._counter.shutdown(wait=False)
            await asyncio.to_thread(self._thread.join)

    def _submit(self, work: Callable[[Transaction], A], *, is_chore: bool = False) -> "asyncio.Future[A]":
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._jobs) >= WAITING_MAX:
            raise StoreBusy(f"{WAITING_MAX} steps wait for the store already")
        if self._loop is None or self._loop.is_closed():
            self._loop, self._waking = asyncio.get_running_loop(), False  # not each time: it costs a system call
        answered: asyncio.Future[A] = self._loop.create_future()
        (self._chores if is_chore else self._jobs).append(_Job(work, answered))
        if (
            not self._waking
        ):  # once for all that the loop has at hand: each waking is a system call and a fight for the GIL
            self._waking = True
            self._loop.call_soon(self._wake)
        return answered

    def _wake(self) -> None:
        self._waking = False
        self._wakes.put(True)

    # --- the writer thread

    def _run(self) -> None:
        going_on = True
        while going_on:
            going_on = self._wakes.get()
            while self._jobs or self._chores:
                if self._jobs:
                    self._commit([self._jobs.popleft() for _ in range(min(len(self._jobs), BATCH_MAX))], _DURABLE)
                if self._chores:
                    self._commit([self._chores.popleft()], _LATER)
        self._connection.close()

    def _commit(self, batch: list[_Job], synchronous: str) -> None:
        connection = self._connection
        outcomes: list[_Outcome] = []
        try:
            if synchronous != self._synchronous:
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                self._synchronous = synchronous
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection)
            for job in batch:
                try:
                    outcomes.append((job, job.work(transaction), None))
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - a step that raises fails alone, whatever it raises
                    outcomes.append((job, None, error))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):  # where even that fails, the next batch begins with an error
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            away = StoreUnavailable(f"{self._path.name}: {error}")
            outcomes = [(job, None, away) for job in batch]
        # one loop, unless asks of a loop that has ended were still under way
        for loop in {job.answered.get_loop() for job in batch}:
            with contextlib.suppress(RuntimeError):  # it has ended: nobody waits any more
                loop.call_soon_threadsafe(_settle, loop, outcomes)


def _step_back() -> None:
    """Let this thread have what the others leave of a core. Linux alone knows priorities of threads: setpriority(2)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _settle(loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
    for job, answer, error in outcomes:
        if job.answered.done() or job.answered.get_loop() is not loop:  # the one who asked has gone
            continue
        if error is None:
            job.answered.set_result(answer)
        else:
            job.answered.set_exception(error)
