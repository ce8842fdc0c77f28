"""
One batch after another over one connection: what waits while a batch is on its way is the next one.

A batch reads all its ledgers, floors and versions in one statement, runs its steps, and writes all changes in one
statement in which every row is guarded by the version that was read. If any row has moved on, nothing of the batch is
written and the whole batch runs again: steps are pure. A batch that changes nothing writes nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import asyncpg
from msgspec.structs import astuple

from temppass.core.model import Changes, Client, Floors, Found, Kept
from temppass.core.world import HOUSE
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_batch import (
    NO_KEY,
    Batch,
    Integration,
    Job,
    KeptRow,
    LedgerKey,
    NotOfOneMoment,
    Outcome,
    Row,
)
from temppass.storage.postgres_link import ANSWER_WAIT_S, Held
from temppass.storage.postgres_rows import (
    REMOVED,
    columns,
    floors_row,
    integration_id,
    kept_row,
    ledger_of,
    ledger_row,
    raise_row,
    raises_of,
    record_row,
)
from temppass.storage.postgres_spread import WHOLE
from temppass.store import BATCH_MAX, WAITING_MAX, IntegrationKey, Keys, StoreBusy, StoreUnavailable

if TYPE_CHECKING:
    from asyncpg import Record

    from temppass.storage.postgres_link import Connection, Database

A = TypeVar("A")

#: a batch that loses this many races in a row is given up
TRIES_MAX = 50
#: the longest pause after a lost race grows by this with each, in seconds
RACE_PAUSE_S = 0.0002


class Lane:
    """It connects when it is first asked, and again after every loss, and serves one event loop at a time."""

    def __init__(self, database: Database) -> None:
        self._held = Held(database)
        self._waiting: list[Job] = []
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ids: dict[IntegrationKey, int] = {}
        self._ids_seen_by: Connection | None = None
        self._closed = False
        #: races lost, each of which ran a batch once more
        self.retries = 0

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        """As the port's."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= WAITING_MAX:
            raise StoreBusy(f"{WAITING_MAX} steps wait for the store already")
        if self._loop is None or self._loop.is_closed():  # not each time: it costs a system call
            self._loop, self._task = asyncio.get_running_loop(), None
            self._held.leave()
        answered: asyncio.Future[A] = self._loop.create_future()
        self._waiting.append(Job(keys, _integration_key(keys), step, answered))
        if self._task is None:
            self._task = self._loop.create_task(self._work())
        return await answered

    async def close(self) -> None:
        """Finish what waits, then let go."""
        self._closed = True
        if self._task is not None:
            await self._task
        await self._held.close()

    async def _work(self) -> None:
        """Carry batches until nobody waits; one at a time, so that two never race for the same rows here."""
        try:
            while self._waiting:
                await self._gather()
                batch = self._next()
                try:
                    async with asyncio.timeout(ANSWER_WAIT_S):
                        await self._carry(batch)
                except StoreUnavailable as error:
                    refuse(batch, error)
                except Exception as error:  # noqa: BLE001 - whatever ends a trip ends the asks of this moment with it
                    self._lose(batch, self._held.lost(error))
        finally:
            self._task = None

    async def _gather(self) -> None:
        """Wait for more steps where a batch of few is not worth its trip."""

    def _next(self) -> list[Job]:
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        return batch

    def _lose(self, batch: list[Job], error: StoreUnavailable) -> None:
        """Refuse a batch that met what no batch can go on with, and all that waits with it."""
        refuse([*batch, *self._waiting], error)
        self._waiting = []

    async def _carry(self, jobs: list[Job]) -> None:
        connection = await self._held.ready()
        if connection is not self._ids_seen_by:  # another primary may not have what the one of before had
            self._ids, self._ids_seen_by = {}, connection
        for lost in range(TRIES_MAX):
            try:
                if (outcomes := await self._attempt(connection, jobs, lost)) is not None:
                    connection.vouch()
                    return settle(outcomes)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, NotOfOneMoment):
                self.retries += 1
                random.shuffle(jobs)
                # or two processes stay in step, and the same one loses again and again
                await asyncio.sleep(random.uniform(0, lost * RACE_PAUSE_S))  # noqa: S311 - no secret
        raise StoreBusy(f"{TRIES_MAX} races were lost in a row")

    async def _attempt(self, connection: Connection, jobs: list[Job], lost: int) -> list[Outcome] | None:
        """Read, run, write; answer what became of the jobs that are done, None where all is to be done once more."""
        batch = await self._read(connection, jobs)
        outcomes, later, _ = batch.run_all(jobs)
        if batch.is_changed and not await self._write(connection, batch, lost):
            return None
        self._waiting[:0] = later
        return outcomes

    async def _read(self, connection: Connection, jobs: list[Job]) -> Batch:
        batch = Batch(jobs)
        await self._find_ids(connection, jobs)
        asked = Asked.by(jobs, self._ids)
        take(
            batch,
            asked,
            await connection.fetch(
                sql.READ,
                asked.environments,
                [*asked.by_id],
                [WHOLE] * len(asked.ledgers),
                *asked.ledger_columns(self._ids),
                bool(batch.wanted),
            ),
        )
        await self._read_rare(connection, jobs, batch)
        return batch

    async def _find_ids(self, connection: Connection, jobs: list[Job]) -> None:
        if unknown := {job.integration for job in jobs} - {NO_KEY} - self._ids.keys():
            for id_, *key in await connection.fetch(sql.INTEGRATION_IDS, *columns(unknown, 3)):
                self._ids[tuple(key)] = id_

    async def _read_rare(self, connection: Connection, jobs: list[Job], batch: Batch) -> None:
        """Read what few steps ask for, so that it may cost a trip of its own. Raises NotOfOneMoment."""
        clients = {(job.keys.environment, job.keys.client_id) for job in jobs if job.keys.client_id is not None}
        if clients:
            for environment, *row in await connection.fetch(sql.CLIENTS, *columns(clients, 2)):
                batch.clients[environment, row[0]] = Client(*row)
        kept = {(job.keys.environment, key) for job in jobs for key in job.keys.kept}
        if kept:
            for environment, key, version, *row in await connection.fetch(sql.KEPT, *columns(kept, 2)):
                batch.kept[environment, key] = KeptRow(Kept(row[0], key, *row[1:]), version)
        standing = {job.integration for job in jobs if job.keys.raises} & batch.integrations.keys()
        if standing:
            by_id = {self._ids[key]: key for key in standing}
            for id_, version, *row in await connection.fetch(sql.RAISES, [*by_id]):
                found = batch.integrations[by_id[id_]]
                if version != found.version:  # else somebody may be told of a reset that stands no more
                    raise NotOfOneMoment
                batch.integrations[by_id[id_]] = found._replace(raises=(*found.raises, *raises_of([row])))

    async def _write(self, connection: Connection, batch: Batch, lost: int) -> bool:
        """
        Write all changes of a batch or none; answer False where it has to run once more to know its rows' numbers.

        Raises asyncpg.SerializationError where a row has moved on since it was read.
        """
        if not await self._add_integrations(connection, batch, lost):
            return False
        ids = self._ids
        # in one order everywhere, removals included, so that two batches never wait for each other in a circle
        ledgers = sorted(
            ledger_row(WHOLE, ids[integration], subject, batch.rows[integration, subject], batch.titles)
            for integration, subject in batch.changed_rows
        )
        held = sorted((ids[key], batch.integrations[key].version) for key in batch.held - batch.changed_integrations)
        if not batch.changes_more_than_ledgers:
            expected = len(ledgers) + len(held)
            arguments = (*columns(ledgers, sql.LEDGER_COLUMNS), *columns(held, 2))
            await connection.fetchval(sql.WRITE_LEDGERS, *arguments, expected)
            return True
        everything = (
            *home_columns(batch, ids, len(ledgers) + len(held)),
            *columns(ledgers, sql.LEDGER_COLUMNS),
            *columns(held, 2),
            sorted(ids[key] for key in batch.changed_integrations),
        )
        if not batch.issued:
            await connection.fetchval(sql.WRITE_ALL, *everything)
            return True
        async with connection.transaction():
            await connection.fetchval(sql.WRITE_ALL, *everything)
            await connection.execute(sql.WRITE_ISSUED, *issued_columns(batch))
        return True

    async def _add_integrations(self, connection: Connection, batch: Batch, lost: int) -> bool:
        """Answer whether all integrations of which something changed have their numbers, or see to it."""
        needed = batch.changed_integrations | {integration for integration, _ in batch.changed_rows}
        if missing := needed - self._ids.keys():
            new = [(integration_id(key, lost), *key) for key in sorted(missing)]
            await connection.execute(sql.ADD_INTEGRATIONS, *columns(new, 4))
        return not missing


class Asked(NamedTuple):
    """What a batch reads: names of environments, integrations by their numbers, and ledgers, each once."""

    environments: list[str]
    by_id: dict[int, IntegrationKey]
    ledgers: list[LedgerKey]

    @classmethod
    def by(cls, jobs: Sequence[Job], ids: Mapping[IntegrationKey, int]) -> Asked:
        """Answer what `jobs` name; an integration without a number has nothing to be read."""
        environments = list({job.keys.environment for job in jobs})
        if any(job.keys.house is not None for job in jobs):
            environments.append(HOUSE)
        by_id = {ids[key]: key for key in {job.integration for job in jobs} if key in ids}
        ledgers = {
            (job.integration, subject): None for job in jobs if job.integration in ids for subject in job.keys.subjects
        }
        return cls(environments, by_id, list(ledgers))

    def ledger_columns(self, ids: Mapping[IntegrationKey, int]) -> tuple[list[int], list[int], list[bytes]]:
        return (
            [ids[integration] for integration, _ in self.ledgers],
            [subject.kind for _, subject in self.ledgers],
            [subject.digest for _, subject in self.ledgers],
        )


def take(batch: Batch, asked: Asked, rows: Iterable[Record]) -> None:
    """Put what was read where the steps of a batch find it."""
    ledgers, found = asked.ledgers, batch.rows
    for what, n, version, a, b, c, used, app_id, device_user, d, e in rows:
        if what == sql.LEDGER_ROW:
            key = ledgers[n - 1]
            if a == REMOVED:
                found[key] = Row(None, version)
            elif batch.may_read(key, used):
                ledger = ledger_of(b, c, a, batch.titles.read(used), app_id, device_user, d)
                found[key] = Row(ledger, version)
        elif what == sql.INTEGRATION_ROW:
            batch.integrations[asked.by_id[n]] = Integration(Floors(a, b, c, d, e), version)
        elif what == sql.ENVIRONMENT_ROW:
            batch.versions[asked.environments[n - 1]] = version
        else:
            batch.taken.add([*asked.environments, *asked.by_id.values(), *asked.ledgers][n - 1])


def home_columns(batch: Batch, ids: Mapping[IntegrationKey, int], more: int) -> list[Any]:
    """Write down all but ledgers, for WRITE_HOME; `more` rows are expected beside."""
    moved = [
        (ids[key], *floors_row(batch.integrations[key].floors), batch.integrations[key].version)
        for key in sorted(batch.changed_integrations)
    ]
    kept = [kept_row(key[0], batch.kept[key]) for key in sorted(batch.changed_kept)]
    return [
        *columns(moved, 7),
        *columns([(ids[key], *raise_row(each)) for key, each in batch.new_raises], 6),
        *columns([(ids[key], *raise_row(each)[:2]) for key, each in batch.undone], 3),
        *columns(kept, 6),
        *columns([(environment, *astuple(client)) for environment, client in batch.new_clients], 8),
        *columns([record_row(environment, record) for environment, record in batch.records], 8),
        *columns([(environment, digest, r.id) for environment, r in batch.records for digest in r.subjects], 3),
        *columns([(name, each.version, each.document) for name, each in batch.rewritten.items()], 3),
        len(moved) + len(kept) + len(batch.rewritten) + more,
    ]


def issued_columns(batch: Batch) -> list[list[Any]]:
    """Write down what is issued and ended, for WRITE_ISSUED."""
    gone = [(name, each.removed_client) for name, each in batch.issued if each.removed_client is not None]
    return [
        *columns([(name, *astuple(listed)) for name, each in batch.issued for listed in each.listed], 8),
        *columns([(name, id_) for name, each in batch.issued for id_ in each.unlisted], 2),
        *columns([(name, *astuple(ended)) for name, each in batch.issued for ended in each.ended], 5),
        *columns(gone, 2),
    ]


def settle(outcomes: Iterable[Outcome]) -> None:
    """Tell those who asked and are still there."""
    for job, answer, error in outcomes:
        if job.answered.done():  # the one who asked has gone
            continue
        if error is None:
            job.answered.set_result(answer)
        else:
            job.answered.set_exception(error)


def refuse(jobs: Iterable[Job], error: Exception) -> None:
    settle((job, None, error) for job in jobs)


def _integration_key(keys: Keys) -> IntegrationKey:
    return (keys.environment, *keys.integration) if keys.integration is not None else NO_KEY
