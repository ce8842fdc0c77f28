"""
One batch after another over one connection: what waits while a batch is on its way is the next one.

A batch reads all its ledgers, floors and versions in one statement, runs its steps, and writes all changes in one
statement in which every row is guarded by the version that was read. If any row has moved on, nothing of the batch is
written and the whole batch runs again: steps are pure. A batch that changes nothing writes nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from msgspec.structs import astuple

from temppass.core.model import Changes, Client, Floors, Found, Kept
from temppass.core.world import HOUSE
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_batch import NO_KEY, Batch, Integration, Job, KeptRow, Later, NotOfOneMoment, Row
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
    slot_of,
)
from temppass.store import BATCH_MAX, WAITING_MAX, IntegrationKey, Keys, StoreBusy, StoreUnavailable

if TYPE_CHECKING:
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
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                try:
                    async with asyncio.timeout(ANSWER_WAIT_S):
                        await self._carry(batch)
                except StoreUnavailable as error:
                    _refuse(batch, error)
                except Exception as error:  # noqa: BLE001 - whatever ends a trip ends the asks of this moment with it
                    _refuse([*batch, *self._waiting], self._held.lost(error))
                    self._waiting = []
        finally:
            self._task = None

    async def _carry(self, jobs: list[Job]) -> None:
        connection = await self._held.ready()
        if connection is not self._ids_seen_by:  # another primary may not have what the one of before had
            self._ids, self._ids_seen_by = {}, connection
        for lost in range(TRIES_MAX):
            outcomes: list[tuple[Job, Any, Exception | None]] = []
            later: list[Job] = []
            try:
                batch = await self._read(connection, jobs)
                for job in jobs:
                    try:
                        outcomes.append((job, batch.run(job), None))
                    except Later:
                        later.append(job)
                    except Exception as error:  # noqa: BLE001 - a step that raises fails alone, whatever it raises
                        outcomes.append((job, None, error))
                if not batch.is_changed or await self._write(connection, batch, lost):
                    connection.vouch()
                    self._waiting[:0] = later
                    return _settle(outcomes)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, NotOfOneMoment):
                self.retries += 1
                random.shuffle(jobs)
                # or two processes stay in step, and the same one loses again and again
                await asyncio.sleep(random.uniform(0, lost * RACE_PAUSE_S))  # noqa: S311 - no secret
        raise StoreBusy(f"{TRIES_MAX} races were lost in a row")

    async def _read(self, connection: Connection, jobs: list[Job]) -> Batch:
        batch = Batch(jobs)
        environments = list({job.keys.environment for job in jobs})
        if any(job.keys.house is not None for job in jobs):
            environments.append(HOUSE)
        named = {job.integration for job in jobs} - {NO_KEY}
        if unknown := named - self._ids.keys():
            for id_, *key in await connection.fetch(sql.INTEGRATION_IDS, *columns(unknown, 3)):
                self._ids[tuple(key)] = id_
        by_id = {self._ids[key]: key for key in named if key in self._ids}
        ledgers = list(
            {
                (job.integration, subject): None
                for job in jobs
                if job.integration in self._ids
                for subject in job.keys.subjects
            }
        )
        found = await connection.fetch(
            sql.READ,
            environments,
            list(by_id),
            [slot_of(subject) for _, subject in ledgers],
            [self._ids[integration] for integration, _ in ledgers],
            [subject.kind for _, subject in ledgers],
            [subject.digest for _, subject in ledgers],
            bool(batch.wanted),
        )
        for what, n, version, a, b, c, used, app_id, device_user, d, e in found:
            if what == sql.LEDGER_ROW:
                if a == REMOVED:
                    batch.rows[ledgers[n - 1]] = Row(None, version)
                elif batch.may_read(ledgers[n - 1], used):
                    ledger = ledger_of(b, c, a, batch.titles.read(used), app_id, device_user, d)
                    batch.rows[ledgers[n - 1]] = Row(ledger, version)
            elif what == sql.INTEGRATION_ROW:
                batch.integrations[by_id[n]] = Integration(Floors(a, b, c, d, e), version)
            else:
                batch.versions[environments[n - 1]] = version
        await self._read_rare(connection, jobs, batch)
        return batch

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
        ids = self._ids
        needed = batch.changed_integrations | {integration for integration, _ in batch.changed_rows}
        if missing := needed - ids.keys():
            new = [(integration_id(key, lost), *key) for key in sorted(missing)]
            await connection.execute(sql.ADD_INTEGRATIONS, *columns(new, 4))
            return False
        # in one order everywhere, removals included, so that two batches never wait for each other in a circle
        ledgers = sorted(
            ledger_row(ids[integration], subject, batch.rows[integration, subject], batch.titles)
            for integration, subject in batch.changed_rows
        )
        held = sorted((ids[key], batch.integrations[key].version) for key in batch.held - batch.changed_integrations)
        if not batch.changes_more_than_ledgers:
            expected = len(ledgers) + len(held)
            arguments = (*columns(ledgers, sql.LEDGER_COLUMNS), *columns(held, 2))
            await connection.fetchval(sql.WRITE_LEDGERS, *arguments, expected)
            return True
        moved = [
            (ids[key], *floors_row(batch.integrations[key].floors), batch.integrations[key].version)
            for key in sorted(batch.changed_integrations)
        ]
        kept = [kept_row(key[0], batch.kept[key]) for key in sorted(batch.changed_kept)]
        everything = (
            *columns(ledgers, sql.LEDGER_COLUMNS),
            *columns(moved, 7),
            *columns([(ids[key], *raise_row(each)) for key, each in batch.new_raises], 6),
            *columns([(ids[key], *raise_row(each)[:2]) for key, each in batch.undone], 3),
            *columns(kept, 6),
            *columns([(environment, *astuple(client)) for environment, client in batch.new_clients], 8),
            *columns([record_row(environment, record) for environment, record in batch.records], 8),
            *columns([(environment, digest, r.id) for environment, r in batch.records for digest in r.subjects], 3),
            *columns([(name, each.version, each.document) for name, each in batch.rewritten.items()], 3),
            *columns(held, 2),
            sorted(ids[key] for key in batch.changed_integrations),
            len(ledgers) + len(moved) + len(kept) + len(held) + len(batch.rewritten),
        )
        if not batch.issued:
            await connection.fetchval(sql.WRITE_ALL, *everything)
            return True
        async with connection.transaction():
            await connection.fetchval(sql.WRITE_ALL, *everything)
            await connection.execute(sql.WRITE_ISSUED, *_issued(batch))
        return True


def _issued(batch: Batch) -> list[list[Any]]:
    """Write down what is issued and ended, for WRITE_ISSUED."""
    gone = [(name, each.removed_client) for name, each in batch.issued if each.removed_client is not None]
    return [
        *columns([(name, *astuple(listed)) for name, each in batch.issued for listed in each.listed], 8),
        *columns([(name, id_) for name, each in batch.issued for id_ in each.unlisted], 2),
        *columns([(name, *astuple(ended)) for name, each in batch.issued for ended in each.ended], 5),
        *columns(gone, 2),
    ]


def _settle(outcomes: list[tuple[Job, Any, Exception | None]]) -> None:
    for job, answer, error in outcomes:
        if job.answered.done():  # the one who asked has gone
            continue
        if error is None:
            job.answered.set_result(answer)
        else:
            job.answered.set_exception(error)


def _refuse(jobs: Iterable[Job], error: Exception) -> None:
    _settle([(job, None, error) for job in jobs])


def _integration_key(keys: Keys) -> IntegrationKey:
    return (keys.environment, *keys.integration) if keys.integration is not None else NO_KEY
