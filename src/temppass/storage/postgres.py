"""
PostgreSQL (14 or later): waiting steps share one trip to read and one to write, and no lock is held between the two.

A batch reads all its ledgers, floors and versions in one statement, runs its steps one after another over that
snapshot plus what earlier steps of the batch changed, and writes all changes in one statement in which every row is
guarded by the version that was read. If any row has moved on, nothing of the batch is written and the whole batch
runs again: steps are pure. A batch that changes nothing writes nothing. While a batch is on its way, asks queue.

Source: design §4.1; the driver and the shape of the statements were chosen by measuring (docs/design.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import msgspec

from temppass.core.act import NO_LINK, Link, Sealed
from temppass.core.model import (
    ANYWHERE,
    Changes,
    Client,
    Floors,
    Found,
    Kept,
    Ledger,
    Origin,
    Raise,
    Subject,
    SubjectKind,
)
from temppass.core.world import EnvironmentRecord
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_batch import NO_KEY, Batch, Integration, Job, KeptRow, Later, Row
from temppass.storage.postgres_schema import migrate
from temppass.storage.schema import migrations
from temppass.storage.titles import Titles
from temppass.store import (
    BATCH_MAX,
    WAITING_MAX,
    Amendment,
    IntegrationKey,
    Keys,
    SchemaOutdated,
    Stale,
    Standing,
    StoreBusy,
    StoreUnavailable,
)

A = TypeVar("A")

#: a statement that takes longer is ended by the server, in milliseconds
STATEMENT_MS = 1_000
#: an ask is answered after this long at the latest, whatever the database does, in seconds
ANSWER_WAIT_S = 1.5
CONNECT_WAIT_S = 1.0
#: between two attempts to reach a database that is away, in seconds: at first, and at most
BACKOFF_S = (0.05, 1.0)
#: for a migration, in seconds
MIGRATION_WAIT_S = 600
#: a batch that loses this many races in a row is given up
TRIES_MAX = 50
#: the longest pause after a lost race grows by this with each, in seconds
RACE_PAUSE_S = 0.0002

_encode = msgspec.json.Encoder().encode
_decode_environment = msgspec.json.Decoder(EnvironmentRecord).decode

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]


class PostgresStore:
    """
    A store in the database that `url` names (a libpq URL). It connects when it is first asked, and again after every
    loss, and serves one event loop at a time.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: list[Job] = []
        self._lane: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches: asyncpg.Connection | None = None
        self._others: asyncpg.Connection | None = None
        self._other_turn = asyncio.Lock()
        self._integration_ids: dict[IntegrationKey, int] = {}
        self._closed = False
        #: races lost, each of which ran a batch once more
        self.retries = 0

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= WAITING_MAX:
            raise StoreBusy(f"{WAITING_MAX} steps wait for the store already")
        if self._loop is None or self._loop.is_closed():
            self._begin(asyncio.get_running_loop())  # not each time: it costs a system call
        assert self._loop is not None
        answered: asyncio.Future[A] = self._loop.create_future()
        self._waiting.append(Job(keys, _integration_key(keys), step, answered))
        if self._lane is None:
            self._lane = self._loop.create_task(self._work())
        return await answered

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._lane, self._batches, self._others = loop, None, None, None
        self._other_turn = asyncio.Lock()

    # --- one batch after another

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
                    if self._batches is not None:
                        self._batches.terminate()
                        self._batches = None
                    _refuse([*batch, *self._waiting], StoreUnavailable(_reason(error)))
                    self._waiting = []
        finally:
            self._lane = None

    async def _carry(self, jobs: list[Job]) -> None:
        if self._batches is None or self._batches.is_closed():
            self._batches = await self._connect()
        for lost in range(TRIES_MAX):
            batch = await self._read(self._batches, jobs)
            outcomes: list[tuple[Job, Any, Exception | None]] = []
            later: list[Job] = []
            for job in jobs:
                try:
                    outcomes.append((job, batch.run(job), None))
                except Later:
                    later.append(job)
                except Exception as error:  # noqa: BLE001 - a step that raises fails alone, whatever it raises
                    outcomes.append((job, None, error))
            try:
                if not batch.is_changed or await self._write(self._batches, batch, lost):
                    self._waiting[:0] = later
                    return _settle(outcomes)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                self.retries += 1
                random.shuffle(jobs)
                # or two processes stay in step, and the same one loses again and again
                await asyncio.sleep(random.uniform(0, lost * RACE_PAUSE_S))  # noqa: S311 - no secret
        raise StoreBusy(f"{TRIES_MAX} races were lost in a row")

    async def _read(self, connection: _Connection, jobs: list[Job]) -> Batch:
        batch = Batch(jobs)
        environments = list({job.keys.environment for job in jobs})
        named = {job.integration for job in jobs} - {NO_KEY}
        if unknown := named - self._integration_ids.keys():
            for id_, *key in await connection.fetch(sql.INTEGRATION_IDS, *_columns(unknown, 3)):
                self._integration_ids[tuple(key)] = id_
        by_id = {self._integration_ids[key]: key for key in named if key in self._integration_ids}
        ledgers = list(
            {
                (job.integration, subject): None
                for job in jobs
                if job.integration in self._integration_ids
                for subject in job.keys.subjects
            }
        )
        found = await connection.fetch(
            sql.READ,
            environments,
            list(by_id),
            [_slot(subject) for _, subject in ledgers],
            [self._integration_ids[integration] for integration, _ in ledgers],
            [subject.kind for _, subject in ledgers],
            [subject.digest for _, subject in ledgers],
            bool(batch.wanted),
        )
        for what, n, version, a, b, c, used, app_id, device_user, d, e in found:
            if what == sql.LEDGER_ROW:
                if a == _REMOVED:
                    batch.rows[ledgers[n - 1]] = Row(None, version)
                elif batch.may_read(ledgers[n - 1], used):
                    ledger = _ledger_of(b, c, a, batch.titles.read(used), app_id, device_user, d)
                    batch.rows[ledgers[n - 1]] = Row(ledger, version)
            elif what == sql.INTEGRATION_ROW:
                batch.integrations[by_id[n]] = Integration(Floors(a, b, c, d, e), version)
            else:
                batch.versions[environments[n - 1]] = version
        await self._read_rare(connection, jobs, batch)
        return batch

    async def _read_rare(self, connection: _Connection, jobs: list[Job], batch: Batch) -> None:
        """Read what few steps ask for, so that it may cost a trip of its own."""
        clients = {(job.keys.environment, job.keys.client_id) for job in jobs if job.keys.client_id is not None}
        if clients:
            for environment, *row in await connection.fetch(sql.CLIENTS, *_columns(clients, 2)):
                batch.clients[environment, row[0]] = Client(*row)
        kept = {(job.keys.environment, key) for job in jobs for key in job.keys.kept}
        if kept:
            for environment, key, version, *row in await connection.fetch(sql.KEPT, *_columns(kept, 2)):
                batch.kept[environment, key] = KeptRow(Kept(row[0], key, *row[1:]), version)
        standing = {job.integration for job in jobs if job.keys.raises} & batch.integrations.keys()
        if standing:
            raises = await _raises(connection, [self._integration_ids[key] for key in standing])
            for key in standing:
                found = tuple(raises.get(self._integration_ids[key], ()))
                batch.integrations[key] = batch.integrations[key]._replace(raises=found)

    async def _write(self, connection: _Connection, batch: Batch, lost: int) -> bool:
        """
        Write all changes of a batch or none; answer False where it has to run once more to know its rows' numbers.

        Raises asyncpg.SerializationError where a row has moved on since it was read.
        """
        ids = self._integration_ids
        needed = batch.changed_integrations | {integration for integration, _ in batch.changed_rows}
        if missing := needed - ids.keys():
            new = [(_integration_id(key, lost), *key) for key in sorted(missing)]
            await connection.execute(sql.ADD_INTEGRATIONS, *_columns(new, 4))
            return False
        # in one order everywhere, removals included, so that two batches never wait for each other in a circle
        ledgers = sorted(
            _ledger_row(ids[integration], subject, batch.rows[integration, subject], batch.titles)
            for integration, subject in batch.changed_rows
        )
        held = sorted((ids[key], batch.integrations[key].version) for key in batch.held - batch.changed_integrations)
        if not batch.changes_more_than_ledgers:
            expected = len(ledgers) + len(held)
            columns = (*_columns(ledgers, sql.LEDGER_COLUMNS), *_columns(held, 2))
            await connection.fetchval(sql.WRITE_LEDGERS, *columns, expected)
            return True
        moved = [
            (ids[key], *_floors_row(batch.integrations[key].floors), batch.integrations[key].version)
            for key in sorted(batch.changed_integrations)
        ]
        kept = [_kept_row(key[0], batch.kept[key]) for key in sorted(batch.changed_kept)]
        await connection.fetchval(
            sql.WRITE_ALL,
            *_columns(ledgers, sql.LEDGER_COLUMNS),
            *_columns(moved, 7),
            *_columns([(ids[key], *_raise_row(each)) for key, each in batch.new_raises], 6),
            *_columns([(ids[key], *_raise_row(each)[:2]) for key, each in batch.undone], 3),
            *_columns(kept, 6),
            *_columns([(environment, *_client_row(client)) for environment, client in batch.new_clients], 6),
            *_columns([(r.id, r.at, environment, r.document) for environment, r in batch.records], 4),
            *_columns(held, 2),
            sorted(ids[key] for key in batch.changed_integrations),
            len(ledgers) + len(moved) + len(kept) + len(held),
        )
        return True

    # --- what is asked seldom, on a connection of its own

    async def load(self, environment: str) -> EnvironmentRecord | None:
        async def load(connection: _Connection) -> EnvironmentRecord | None:
            document = await connection.fetchval(sql.ENVIRONMENT, environment)
            return _decode_environment(document) if document is not None else None

        return await self._once(load)

    async def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        async def amend(connection: _Connection) -> A:
            document = await connection.fetchval(sql.ENVIRONMENT, environment)
            old = _decode_environment(document) if document is not None else None
            answer, changed, record = change(old)
            async with connection.transaction():
                if record is not None:
                    await connection.execute(sql.ADD_RECORD, record.id, record.at, environment, record.document)
                if changed is not None:
                    row = (environment, changed.version, _encode(changed), old.version if old else 0)
                    if not await connection.fetchval(sql.WRITE_ENVIRONMENT, *row):
                        raise _LostRace
            return answer

        while True:
            try:
                return await self._once(amend)
            except _LostRace:
                continue

    async def environments(self) -> list[str]:
        return [row["name"] for row in await self._fetch(sql.ENVIRONMENTS)]

    async def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        rows = await self._fetch(sql.LEDGERS, *integration, int(kind), after, limit)
        titles = Titles()
        return [
            (Subject(kind, subject), _ledger_of(started_at, expires_at, generation, titles.read(used), *row))
            for subject, started_at, expires_at, generation, used, *row in rows
        ]

    async def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        rows = await self._fetch(sql.SEALED, environment, after, limit)
        return [Sealed(Link(sequence, digest), document) for sequence, digest, document in rows]

    async def unsealed_environments(self) -> list[str]:
        return [row["environment"] for row in await self._fetch(sql.UNSEALED_ENVIRONMENTS)]

    async def unsealed(self, environment: str, limit: int) -> list[bytes]:
        return [document for _, document in await self._fetch(sql.UNSEALED, environment, limit)]

    async def head(self, environment: str) -> Link:
        return await self._once(lambda connection: _head(connection, environment))

    async def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        async def seal(connection: _Connection) -> int:
            # the head first: where another node seals in between, it has moved, and nothing is written
            head = await _head(connection, environment)
            unsealed = await connection.fetch(sql.UNSEALED, environment, limit)
            if not unsealed:
                return 0
            links = step(head, [document for _, document in unsealed])
            async with connection.transaction():
                last = links[-1]
                if not await connection.fetchval(sql.MOVE_HEAD, environment, last.sequence, last.hash, head.sequence):
                    return 0
                ids = [id_ for id_, _ in unsealed]
                sealed = [(link.sequence, link.hash) for link in links]
                await connection.execute(sql.SEAL, ids, *_columns(sealed, 2))
            return len(links)

        return await self._once(seal)

    async def sweep(self, now: int, raised_before: int, limit: int) -> int:
        async def sweep(connection: _Connection) -> int:
            kept = await connection.fetchval(sql.SWEEP_KEPT, now, limit)
            return max(int(kept), int(await connection.fetchval(sql.SWEEP_RAISES, raised_before, limit)))

        return await self._once(sweep)

    async def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        async def integrations(connection: _Connection) -> list[tuple[IntegrationKey, Standing]]:
            rows = await connection.fetch(sql.INTEGRATIONS)
            raises = await _raises(connection, [row[0] for row in rows])
            return [
                ((row[1], row[2], row[3]), Standing(Floors(*row[4:]), tuple(raises.get(row[0], ())))) for row in rows
            ]

        return await self._once(integrations)

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        (row,) = await self._fetch(
            sql.SWEEP_LEDGERS, *integration, int(kind), after, limit, stale.generation_min, stale.expired_before
        )
        return row["removed"], row["last"] if row["looked_at"] == limit else None

    async def ping(self) -> None:
        await self._once(_schema_number)

    async def check(self) -> None:
        present, current = await self._once(_schema_number), migrations("postgres")[-1][0]
        if present < current:
            raise SchemaOutdated(f"the database's schema is {present}, this program needs {current}")
        if present > current:
            raise SchemaOutdated(f"the database's schema is {present}, newer than this program's {current}: upgrade it")

    async def migrate(self, *, distributed: bool = False) -> bool:
        async def bring_up_to_date(connection: _Connection) -> bool:
            try:
                finished = await migrate(connection)
                if distributed:
                    await connection.execute(sql.DISTRIBUTE)
                return finished
            finally:
                connection.terminate()  # it has no time limits

        return await self._once(bring_up_to_date, wait_s=MIGRATION_WAIT_S)

    async def close(self) -> None:
        self._closed = True
        if self._lane is not None:
            await self._lane
        for connection in (self._batches, self._others):
            if connection is not None and not connection.is_closed():
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                    await connection.close(timeout=CONNECT_WAIT_S)

    async def _fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._once(lambda connection: connection.fetch(statement, *arguments))

    async def _once(self, work: Callable[[_Connection], Awaitable[A]], wait_s: float = ANSWER_WAIT_S) -> A:
        """Do `work` alone on the second connection. Raises StoreUnavailable, and what `work` itself refuses."""
        if self._closed:  # or a connection that nobody closes would be made
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop and (self._loop is None or self._loop.is_closed()):
            self._begin(loop)
        try:
            async with asyncio.timeout(wait_s), self._other_turn:
                if self._others is None or self._others.is_closed():
                    self._others = await self._connect()
                return await work(self._others)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            raise SchemaOutdated("the database has no schema of temppass yet") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            if self._others is not None:
                self._others.terminate()
                self._others = None
            raise StoreUnavailable(_reason(error)) from None

    async def _connect(self) -> _Connection:
        """Connect, again and again with growing pauses until the caller's time is over."""
        pause_s = BACKOFF_S[0]
        while True:
            try:
                return await asyncpg.connect(self._url, timeout=CONNECT_WAIT_S, server_settings=_SETTINGS)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, TimeoutError):
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that nodes do not come all at once
                pause_s = min(2 * pause_s, BACKOFF_S[1])


class _LostRace(Exception):
    """Somebody else changed the environment first."""


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


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _integration_key(keys: Keys) -> IntegrationKey:
    return (keys.environment, *keys.integration) if keys.integration is not None else NO_KEY


def _integration_id(key: IntegrationKey, attempt: int) -> int:
    """
    Derive the id of a new integration from its name, so that nodes and replicas need not agree on one; where another
    integration has it already, the next attempt derives another. Ids that were counted up, from 1, are not among them.
    """
    digest = hashlib.sha256("/".join([*key, str(attempt)]).encode()).digest()
    return _DERIVED_IDS.start + int.from_bytes(digest[:8], "big") % len(_DERIVED_IDS)


def _slot(_subject: Subject) -> int:
    """Answer where a subject's ledgers live: on one PostgreSQL there is one slot."""
    return 0


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _next_version(version: int | None) -> int:
    """A new row starts anywhere, so that no reader of a removed one can mistake it."""
    return random.getrandbits(62) if version is None else version + 1


def _ledger_row(integration: int, subject: Subject, row: Row, titles: Titles) -> tuple[Any, ...]:
    """
    Write down a ledger for UPSERT_LEDGERS. One that was removed leaves an empty row that counts for nothing, even one
    that began in the same batch: a row that is not there has no version by which anybody could see that it moved on.
    """
    ledger = row.ledger or _NO_LEDGER
    return (
        _slot(subject),
        integration,
        int(subject.kind),
        subject.digest,
        ledger.generation,
        ledger.started_at,
        ledger.expires_at,
        # a version that was read goes in negated: should its row be gone (swept), what is inserted is told by its sign
        random.getrandbits(62) + 1 if row.version is None else -row.version,
        titles.write(ledger.used),
        ledger.origin.app_id,
        ledger.origin.device_user,
        ledger.bonus,
    )


def _ledger_of(
    started_at: int,
    expires_at: int,
    generation: int,
    used: tuple[str, ...],
    app_id: bytes | None,
    device_user: bytes | None,
    bonus: int,
) -> Ledger:
    origin = Origin(app_id, device_user) if app_id or device_user else ANYWHERE
    return Ledger(started_at, expires_at, generation, used, origin, bonus)


def _floors_row(floors: Floors) -> tuple[int, ...]:
    return floors.device, floors.user_key, floors.fired_at, floors.device_ahead, floors.user_key_ahead


def _raise_row(each: Raise) -> tuple[Any, ...]:
    return int(each.kind), each.generation, each.floor_before, each.at, each.act_id


def _kept_row(environment: str, row: KeptRow) -> tuple[Any, ...]:
    kept = row.kept
    assert kept is not None
    return environment, kept.key, kept.kind, kept.expires_at, kept.document, _next_version(row.version)


def _client_row(client: Client) -> tuple[Any, ...]:
    return client.id, client.application_id, client.epoch, client.secret_hash, client.issued_at


async def _raises(connection: _Connection, ids: list[int]) -> dict[int, list[Raise]]:
    """Answer the resets that stand, by integration."""
    found: dict[int, list[Raise]] = {}
    for id_, kind, *row in await connection.fetch(sql.RAISES, ids):
        found.setdefault(id_, []).append(Raise(SubjectKind(kind), *row))
    return found


async def _head(connection: _Connection, environment: str) -> Link:
    row = await connection.fetchrow(sql.HEAD, environment)
    return Link(*row) if row is not None else NO_LINK


async def _schema_number(connection: _Connection) -> int:
    return int(await connection.fetchval(sql.SCHEMA_NUMBER))


#: above what the first version counted up to, below where an integer ends
_DERIVED_IDS = range(1 << 20, 1 << 30)
#: a generation below every floor
_REMOVED = -1
_NO_LEDGER = Ledger(0, 0, _REMOVED)

#: plans are made once a connection, always by the primary key: a table that grows by millions within minutes outruns
#: the statistics that would choose otherwise
_SETTINGS = {
    "application_name": "temppass 2",
    "statement_timeout": str(STATEMENT_MS),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
