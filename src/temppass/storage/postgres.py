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
import random
from collections.abc import Awaitable, Callable, Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import asyncpg
import msgspec

from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Client,
    Floors,
    Found,
    Ledger,
    Origin,
    Record,
    Session,
    Subject,
    SubjectKind,
)
from temppass.core.world import EnvironmentRecord
from temppass.storage.titles import Titles
from temppass.store import (
    BATCH_MAX,
    LEDGER_READ_BYTES_MAX,
    WAITING_MAX,
    Keys,
    LargeLedger,
    Outdated,
    SchemaOutdated,
    Stale,
    StoreBusy,
    StoreUnavailable,
    TrialKey,
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
#: a migration that cannot lock its tables by then, in milliseconds, lets all go and tries again: a batch of a server
#: may hold one of them and wait for another, and its viewers wait with it
MIGRATION_LOCK_MS = 100
#: a batch that loses this many races in a row is given up
TRIES_MAX = 50
#: the longest pause after a lost race grows by this with each, in seconds
RACE_PAUSE_S = 0.0002

_encode = msgspec.json.Encoder().encode
_decode_session = msgspec.json.Decoder(Session).decode
_decode_environment = msgspec.json.Decoder(EnvironmentRecord).decode

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]

_LedgerKey = tuple[TrialKey, Subject]


class _Job(NamedTuple):
    keys: Keys
    #: whose floors and ledgers are meant, _NO_KEY where none are
    trial: TrialKey
    step: Callable[[Found], tuple[Any, Changes]]
    answered: asyncio.Future[Any]


class _Trial(NamedTuple):
    """A row of `trial`, as read or as changed; `version` is None while there is none."""

    floors: Floors
    version: int | None


class _Row(NamedTuple):
    """A row of `ledger`; `ledger` is None while there is none, or once it is to be removed."""

    ledger: Ledger | None
    version: int | None


class _Kept(NamedTuple):
    """A row of `session`."""

    session: Session | None
    version: int | None


class _Snapshot:
    """What one batch found, and what its steps have made of it so far."""

    def __init__(self, batch: list[_Job]) -> None:
        self.titles = Titles()
        self.versions: dict[str, int] = {}
        self.trials: dict[TrialKey, _Trial] = {}
        self.rows: dict[_LedgerKey, _Row] = {}
        #: ledgers of many titles, which are read for large keys only
        self.large: set[_LedgerKey] = set()
        self._wanted = {(job.trial, subject) for job in batch if job.keys.large for subject in job.keys.subjects}
        self.clients: dict[tuple[str, str], Client] = {}
        self.sessions: dict[tuple[str, str], _Kept] = {}
        self.changed_trials: set[TrialKey] = set()
        self.changed_rows: set[_LedgerKey] = set()
        self.changed_sessions: set[tuple[str, str]] = set()
        #: trials of which ledgers were written that rest on one another: their floors must not rise before the commit
        self.joined: set[TrialKey] = set()
        self.new_clients: list[tuple[str, Client]] = []
        self.records: list[tuple[str, Record]] = []

    @property
    def is_changed(self) -> bool:
        return bool(
            self.changed_rows or self.changed_trials or self.changed_sessions or self.new_clients or self.records
        )

    def find(self, key: _LedgerKey, version: int, used: bytes | None, row: tuple[Any, ...]) -> None:
        """Keep a row of _READ, unless it has too many titles to be read for this batch."""
        if used is not None and len(used) > LEDGER_READ_BYTES_MAX:
            self.large.add(key)
            if key not in self._wanted:
                return
        self.rows[key] = _Row(_ledger(self.titles.read(used), *row), version)

    def run(self, job: _Job) -> Any:
        """
        Run one step over the present state and keep its changes. Raises what the step raises; Outdated; LargeLedger;
        _Later.
        """
        keys = job.keys
        environment = keys.environment
        if self.versions.get(environment, 0) != keys.version:
            raise Outdated
        trial = job.trial
        if self.large and not keys.large and any((trial, subject) in self.large for subject in keys.subjects):
            raise LargeLedger
        answer, changes = job.step(
            Found(
                self.trials.get(trial, _NO_TRIAL).floors,
                tuple([self.rows.get((trial, subject), _NO_ROW).ledger for subject in keys.subjects]),
                self.clients.get((environment, keys.client_id)) if keys.client_id is not None else None,
                self.sessions.get((environment, keys.code), _NOT_KEPT).session if keys.code is not None else None,
            )
        )
        if (self.changed_rows or self.changed_trials) and self._is_mixed(trial, keys.subjects, changes):
            raise _Later
        if changes is not NOTHING:
            self._keep(environment, trial, changes)
        return answer

    def _is_mixed(self, trial: TrialKey, subjects: tuple[Subject, ...], changes: Changes) -> bool:
        """
        Tell whether an answer rests on what this batch changed and also on rows whose versions the batch will not
        guard: those may be as they were no longer when the batch is committed, and no moment would explain the answer.
        """
        unguarded = [subject for subject in subjects if (trial, subject) not in self.changed_rows]
        if len(unguarded) == len(subjects) and trial not in self.changed_trials:
            return False
        written = {subject for subject, _ in changes.ledgers}
        return not written.issuperset(unguarded)

    def _keep(self, environment: str, trial: TrialKey, changes: Changes) -> None:
        for subject, ledger in changes.ledgers:
            self.rows[trial, subject] = _Row(ledger, self.rows.get((trial, subject), _NO_ROW).version)
            self.changed_rows.add((trial, subject))
        if len(changes.ledgers) > 1:
            self.joined.add(trial)
        if changes.floors is not None:
            self.trials[trial] = _Trial(changes.floors, self.trials.get(trial, _NO_TRIAL).version)
            self.changed_trials.add(trial)
        if changes.client is not None:
            self.clients[environment, changes.client.id] = changes.client
            self.new_clients.append((environment, changes.client))
        if changes.session is not None:
            key = (environment, changes.session.code)
            self.sessions[key] = _Kept(changes.session, self.sessions.get(key, _NOT_KEPT).version)
            self.changed_sessions.add(key)
        if changes.record is not None:
            self.records.append((environment, changes.record))


_NO_TRIAL = _Trial(Floors(), None)
_NO_ROW = _Row(None, None)
_NOT_KEPT = _Kept(None, None)


class PostgresStore:
    """
    A store in the database that `url` names (a libpq URL). It connects when it is first asked, and again after every
    loss, and serves one event loop at a time.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: list[_Job] = []
        self._lane: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches: asyncpg.Connection | None = None
        self._others: asyncpg.Connection | None = None
        self._other_turn = asyncio.Lock()
        self._trial_ids: dict[TrialKey, int] = {}
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
        self._waiting.append(_Job(keys, _trial_key(keys), step, answered))
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

    async def _carry(self, batch: list[_Job]) -> None:
        if self._batches is None or self._batches.is_closed():
            self._batches = await self._connect()
        for lost in range(TRIES_MAX):
            snapshot = await self._read(self._batches, batch)
            outcomes: list[tuple[_Job, Any, Exception | None]] = []
            later: list[_Job] = []
            for job in batch:
                try:
                    outcomes.append((job, snapshot.run(job), None))
                except _Later:
                    later.append(job)
                except Exception as error:  # noqa: BLE001 - a step that raises fails alone, whatever it raises
                    outcomes.append((job, None, error))
            try:
                if not snapshot.is_changed or await self._write(self._batches, snapshot):
                    self._waiting[:0] = later
                    return _settle(outcomes)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                self.retries += 1
                random.shuffle(batch)
                # or two processes stay in step, and the same one loses again and again
                await asyncio.sleep(random.uniform(0, lost * RACE_PAUSE_S))  # noqa: S311 - no secret
        raise StoreBusy(f"{TRIES_MAX} races were lost in a row")

    async def _read(self, connection: _Connection, batch: list[_Job]) -> _Snapshot:
        snapshot = _Snapshot(batch)
        environments = list({job.keys.environment for job in batch})
        trials = {job.trial for job in batch} - {_NO_KEY}
        if unknown := trials - self._trial_ids.keys():
            for id_, *key in await connection.fetch(_TRIAL_IDS, *_columns(unknown, 3)):
                self._trial_ids[tuple(key)] = id_
        by_id = {self._trial_ids[key]: key for key in trials if key in self._trial_ids}
        ledgers = list(
            {
                (job.trial, subject): None
                for job in batch
                if job.trial in self._trial_ids
                for subject in job.keys.subjects
            }
        )
        found = await connection.fetch(
            _READ,
            environments,
            list(by_id),
            [self._trial_ids[trial] for trial, _ in ledgers],
            [subject.kind for _, subject in ledgers],
            [subject.digest for _, subject in ledgers],
        )
        for what, n, version, a, b, c, used, app_id, device_user in found:
            if what == _LEDGER_ROW:
                snapshot.find(ledgers[n - 1], version, used, (a, b, c, app_id, device_user))
            elif what == _TRIAL_ROW:
                snapshot.trials[by_id[n]] = _Trial(Floors(a, b, c), version)
            else:
                snapshot.versions[environments[n - 1]] = version
        clients = {(job.keys.environment, job.keys.client_id) for job in batch if job.keys.client_id is not None}
        if clients:  # seldom asked for, as sessions are, so they may cost a trip of their own
            for environment, *row in await connection.fetch(_CLIENTS, *_columns(clients, 2)):
                snapshot.clients[environment, row[0]] = Client(*row)
        sessions = {(job.keys.environment, job.keys.code) for job in batch if job.keys.code is not None}
        if sessions:
            for environment, code, version, document in await connection.fetch(_SESSIONS, *_columns(sessions, 2)):
                snapshot.sessions[environment, code] = _Kept(_decode_session(document), version)
        return snapshot

    async def _write(self, connection: _Connection, snapshot: _Snapshot) -> bool:
        """
        Write all changes of a batch or none; answer False where it has to run once more to know its rows' numbers.

        Raises asyncpg.SerializationError where a row has moved on since it was read.
        """
        needed = snapshot.changed_trials | {trial for trial, _ in snapshot.changed_rows}
        if missing := needed - self._trial_ids.keys():
            await connection.execute(_ADD_TRIALS, *_columns(sorted(missing), 3))
            return False
        # in one order everywhere, removals included, so that two batches never wait for each other in a circle
        ledgers = sorted(
            _ledger_row(self._trial_ids[trial], subject, snapshot.rows[trial, subject], snapshot.titles)
            for trial, subject in snapshot.changed_rows
        )
        raised = sorted(self._trial_ids[key] for key in snapshot.changed_trials)
        held = sorted(
            (self._trial_ids[key], snapshot.trials[key].version) for key in snapshot.joined - snapshot.changed_trials
        )
        if not (raised or snapshot.changed_sessions or snapshot.new_clients or snapshot.records):
            await connection.fetchval(
                _WRITE_LEDGERS, *_columns(ledgers, 10), *_columns(held, 2), len(ledgers) + len(held)
            )
            return True
        trials = [
            (self._trial_ids[key], *_floors_row(snapshot.trials[key].floors), snapshot.trials[key].version)
            for key in sorted(snapshot.changed_trials)
        ]
        sessions = [_session_row(key[0], snapshot.sessions[key]) for key in sorted(snapshot.changed_sessions)]
        await connection.fetchval(
            _WRITE_ALL,
            *_columns(ledgers, 10),
            *_columns(trials, 5),
            *_columns(sessions, 5),
            *_columns([(environment, *_client_row(client)) for environment, client in snapshot.new_clients], 6),
            *_columns([(r.id, r.at, environment, _encode(r)) for environment, r in snapshot.records], 4),
            *_columns(held, 2),
            raised,
            len(ledgers) + len(trials) + len(sessions) + len(held),
        )
        return True

    # --- what is asked seldom, on a connection of its own

    async def load(self, environment: str) -> EnvironmentRecord | None:
        async def load(connection: _Connection) -> EnvironmentRecord | None:
            document = await connection.fetchval(_ENVIRONMENT, environment)
            return _decode_environment(document) if document is not None else None

        return await self._once(load)

    async def amend(
        self,
        environment: str,
        change: Callable[[EnvironmentRecord | None], tuple[A, EnvironmentRecord | None, Record | None]],
    ) -> A:
        async def amend(connection: _Connection) -> A:
            document = await connection.fetchval(_ENVIRONMENT, environment)
            old = _decode_environment(document) if document is not None else None
            answer, changed, record = change(old)
            async with connection.transaction():
                if record is not None:
                    await connection.execute(_ADD_RECORD, record.id, record.at, environment, _encode(record))
                if changed is not None:
                    row = (environment, changed.version, _encode(changed), old.version if old else 0)
                    if not await connection.fetchval(_WRITE_ENVIRONMENT, *row):
                        raise _LostRace
            return answer

        while True:
            try:
                return await self._once(amend)
            except _LostRace:
                continue

    async def erase(
        self, keys: Keys, kind: SubjectKind, origin: Origin, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        assert keys.trial is not None
        trial = _trial_key(keys)

        async def erase(connection: _Connection) -> tuple[int, bytes | None]:
            row = await connection.fetchrow(
                _ERASE, *trial, keys.version, int(kind), after, limit, origin.app_id, origin.device_user
            )
            assert row is not None
            if row["version"] != keys.version:
                raise Outdated
            return row["erased"], row["last"] if row["looked_at"] == limit else None

        return await self._once(erase)

    async def environments(self) -> list[str]:
        async def environments(connection: _Connection) -> list[str]:
            return [row["name"] for row in await connection.fetch(_ENVIRONMENTS)]

        return await self._once(environments)

    async def sweep(self, now: int, limit: int) -> int:
        async def sweep(connection: _Connection) -> int:
            return int(await connection.fetchval(_SWEEP_SESSIONS, now, limit))

        return await self._once(sweep)

    async def trials(self) -> list[tuple[TrialKey, Floors]]:
        async def trials(connection: _Connection) -> list[tuple[TrialKey, Floors]]:
            return [((row[0], row[1], row[2]), Floors(*row[3:])) for row in await connection.fetch(_TRIALS)]

        return await self._once(trials)

    async def sweep_ledgers(
        self, trial: TrialKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        async def sweep(connection: _Connection) -> tuple[int, bytes | None]:
            row = await connection.fetchrow(
                _SWEEP_LEDGERS, *trial, int(kind), after, limit, stale.generation_min, stale.expired_before
            )
            assert row is not None
            return row["removed"], row["last"] if row["looked_at"] == limit else None

        return await self._once(sweep)

    async def ping(self) -> None:
        await self._once(_schema_number)

    async def check(self) -> None:
        present, current = await self._once(_schema_number), _migrations()[-1][0]
        if present < current:
            raise SchemaOutdated(f"the database's schema is {present}, this program needs {current}")
        if present > current:
            raise SchemaOutdated(f"the database's schema is {present}, newer than this program's {current}: upgrade it")

    async def migrate(self, *, distributed: bool = False) -> None:
        async def migrate(connection: _Connection) -> None:
            async with connection.transaction():
                await connection.execute("SET LOCAL statement_timeout = 0")
                await connection.execute(f"SET LOCAL lock_timeout = {MIGRATION_LOCK_MS}")
                await connection.execute("SELECT pg_advisory_xact_lock(7305118)")  # one migration at a time
                await connection.execute("CREATE SCHEMA IF NOT EXISTS temppass")
                await connection.execute("CREATE TABLE IF NOT EXISTS temppass.schema (number integer PRIMARY KEY)")
                present = await connection.fetchval("SELECT coalesce(max(number), 0) FROM temppass.schema")
                for number, script in _migrations():
                    if number > present:
                        await connection.execute(script)
                        await connection.execute("INSERT INTO temppass.schema VALUES ($1)", number)
                if distributed:
                    await connection.execute(_DISTRIBUTE)

        async def migrate_beside_servers(connection: _Connection) -> None:
            while True:
                try:
                    return await migrate(connection)
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    await asyncio.sleep(random.uniform(1, 3) * MIGRATION_LOCK_MS / 1000)  # noqa: S311 - no secret

        await self._once(migrate_beside_servers, wait_s=MIGRATION_WAIT_S)

    async def close(self) -> None:
        self._closed = True
        if self._lane is not None:
            await self._lane
        for connection in (self._batches, self._others):
            if connection is not None and not connection.is_closed():
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                    await connection.close(timeout=CONNECT_WAIT_S)

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


class _Later(Exception):
    """The next batch has to answer this, from a snapshot of its own."""


class _LostRace(Exception):
    """Somebody else changed the environment first."""


def _settle(outcomes: list[tuple[_Job, Any, Exception | None]]) -> None:
    for job, answer, error in outcomes:
        if job.answered.done():  # the one who asked has gone
            continue
        if error is None:
            job.answered.set_result(answer)
        else:
            job.answered.set_exception(error)


def _refuse(jobs: Iterable[_Job], error: Exception) -> None:
    _settle([(job, None, error) for job in jobs])


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _trial_key(keys: Keys) -> TrialKey:
    return (keys.environment, *keys.trial) if keys.trial is not None else _NO_KEY


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _next_version(version: int | None) -> int:
    """A new row starts anywhere, so that no reader of a removed one can mistake it."""
    return random.getrandbits(62) if version is None else version + 1


def _ledger(
    used: tuple[str, ...],
    generation: int,
    started_at: int,
    expires_at: int,
    app_id: bytes | None,
    device_user: bytes | None,
) -> Ledger | None:
    """Read a row of _READ; None where it is that of a ledger that was removed."""
    if generation == _REMOVED:
        return None
    origin = Origin(app_id, device_user) if app_id or device_user else ANYWHERE
    return Ledger(started_at, expires_at, generation, used, origin)


def _ledger_row(trial: int, subject: Subject, row: _Row, titles: Titles) -> tuple[Any, ...]:
    """
    Write down a ledger for _UPSERT_LEDGERS. One that was removed leaves an empty row that counts for nothing, even one
    that began in the same batch: a row that is not there has no version by which anybody could see that it moved on.
    """
    ledger = row.ledger or _NO_LEDGER
    return (
        trial,
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
    )


def _floors_row(floors: Floors) -> tuple[int, int, int]:
    return floors.device, floors.user_key, floors.fired_at


def _session_row(environment: str, kept: _Kept) -> tuple[Any, ...]:
    assert kept.session is not None
    session = kept.session
    return environment, session.code, session.expires_at, _encode(session), _next_version(kept.version)


def _client_row(client: Client) -> tuple[Any, ...]:
    return client.id, client.application_id, client.epoch, client.secret_hash, client.issued_at


def _migrations() -> list[tuple[int, str]]:
    """Answer (number, script) of every schema file, in order."""
    folder = resources.files("temppass.storage") / "schema" / "postgres"
    return sorted((int(file.name.partition("_")[0]), file.read_text("utf-8")) for file in folder.iterdir())


async def _schema_number(connection: _Connection) -> int:
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM temppass.schema"))


_NO_KEY = ("", "", "")
#: a generation below every floor
_REMOVED = -1
_NO_LEDGER = Ledger(0, 0, _REMOVED)
_TRIAL_ROW = 1
_LEDGER_ROW = 2

#: plans are made once a connection, always by the primary key: a table that grows by millions within minutes outruns
#: the statistics that would choose otherwise
_SETTINGS = {
    "application_name": "temppass",
    "statement_timeout": str(STATEMENT_MS),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

_ENVIRONMENTS = "SELECT name FROM temppass.environment ORDER BY name"
_ENVIRONMENT = "SELECT document FROM temppass.environment WHERE name = $1"
_WRITE_ENVIRONMENT = """
INSERT INTO temppass.environment AS present (name, version, document) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, document = excluded.document
WHERE present.version = $4
RETURNING true
"""

_TRIAL_IDS = """
SELECT id, environment, channel, pass FROM temppass.trial
JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (environment, channel, pass) USING (environment, channel, pass)
"""
# somebody else may take the same numbers first: then nothing is added, and the batch runs and asks once more
_ADD_TRIALS = """
INSERT INTO temppass.trial (id, environment, channel, pass, device_floor, user_key_floor, fired_at, version)
SELECT (SELECT coalesce(max(id), 0) FROM temppass.trial) + n, environment, channel, pass, 0, 0, 0, 0
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (environment, channel, pass, n)
ON CONFLICT DO NOTHING
"""

# the versions of environments, the floors of trials and the ledgers of one batch, of one moment
_READ = """
SELECT 0, n::integer, version, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bytea
FROM unnest($1::text[]) WITH ORDINALITY AS k (name, n) JOIN temppass.environment USING (name)
UNION ALL
SELECT 1, id, version, device_floor, user_key_floor, fired_at, NULL, NULL, NULL
FROM temppass.trial WHERE id = ANY ($2::integer[])
UNION ALL
SELECT 2, n::integer, version, generation, started_at, expires_at, used, app_id, device_user
FROM unnest($3::integer[], $4::smallint[], $5::bytea[]) WITH ORDINALITY AS k (trial, kind, subject, n)
JOIN temppass.ledger USING (trial, kind, subject)
"""
_CLIENTS = """
SELECT environment, id, application, epoch, secret_hash, issued_at FROM temppass.client
JOIN unnest($1::text[], $2::text[]) AS k (environment, id) USING (environment, id)
"""
_SESSIONS = """
SELECT environment, code, version, document FROM temppass.session
JOIN unnest($1::text[], $2::text[]) AS k (environment, code) USING (environment, code)
"""

_UPSERT_LEDGERS = """
upserted AS (
    INSERT INTO temppass.ledger AS present (
        trial, kind, subject, generation, started_at, expires_at, version, used, app_id, device_user
    )
    SELECT * FROM unnest(
        $1::integer[], $2::smallint[], $3::bytea[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bytea[], $9::bytea[], $10::bytea[]
    )
    ON CONFLICT (trial, kind, subject) DO UPDATE SET
        generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
        version = present.version + 1, used = excluded.used, app_id = excluded.app_id,
        device_user = excluded.device_user
    WHERE present.version = -excluded.version
    RETURNING version
)"""
_UPSERTED = "(SELECT count(*) FROM upserted WHERE version > 0)"
_HELD = "CASE WHEN $11::integer[] = '{}' THEN 0 ELSE temppass.hold($11, $12, '{}') END"
_WRITE_LEDGERS = f"WITH {_UPSERT_LEDGERS} SELECT temppass.expect({_UPSERTED} + {_HELD}, $13)"
_WRITE_ALL = f"""
WITH {_UPSERT_LEDGERS}, raised AS (
    UPDATE temppass.trial SET
        device_floor = k.device_floor, user_key_floor = k.user_key_floor, fired_at = k.fired_at,
        version = k.version + 1
    FROM unnest($11::integer[], $12::integer[], $13::integer[], $14::bigint[], $15::bigint[])
        AS k (id, device_floor, user_key_floor, fired_at, version)
    WHERE trial.id = k.id AND trial.version = k.version
    RETURNING 1
), kept AS (
    INSERT INTO temppass.session AS present (environment, code, expires_at, document, version)
    SELECT * FROM unnest($16::text[], $17::text[], $18::bigint[], $19::bytea[], $20::bigint[])
    ON CONFLICT (environment, code) DO UPDATE SET
        expires_at = excluded.expires_at, document = excluded.document, version = excluded.version
    WHERE present.version = excluded.version - 1
    RETURNING 1
), registered AS (
    INSERT INTO temppass.client (environment, id, application, epoch, secret_hash, issued_at)
    SELECT * FROM unnest($21::text[], $22::text[], $23::text[], $24::integer[], $25::bytea[], $26::bigint[])
), recorded AS (
    INSERT INTO temppass.audit (id, at, environment, document)
    SELECT * FROM unnest($27::text[], $28::bigint[], $29::text[], $30::bytea[])
)
SELECT temppass.expect(
    {_UPSERTED} + (SELECT count(*) FROM raised) + (SELECT count(*) FROM kept) + temppass.hold($31, $32, $33),
    $34
)
"""  # noqa: S608 - what is put in is our own

# what a ledger matches by is asked where it is deleted: a row that somebody writes meanwhile is judged as it is by then
_ERASE = """
WITH present AS (
    SELECT coalesce((SELECT version FROM temppass.environment WHERE name = $1), 0) AS version
), meant AS (
    SELECT id, CASE WHEN $5 = 0 THEN device_floor ELSE user_key_floor END AS floor
    FROM temppass.trial, present
    WHERE environment = $1 AND channel = $2 AND pass = $3 AND present.version = $4
), looked_at AS (
    SELECT ledger.trial, ledger.kind, ledger.subject
    FROM temppass.ledger
    WHERE ledger.trial = (SELECT id FROM meant) AND ledger.kind = $5 AND ledger.subject > $6
    ORDER BY ledger.trial, ledger.kind, ledger.subject LIMIT $7
), erased AS (
    DELETE FROM temppass.ledger USING looked_at
    WHERE generation >= (SELECT floor FROM meant)
        AND ($8::bytea IS NULL OR app_id = $8) AND ($9::bytea IS NULL OR device_user = $9)
        AND ledger.trial = looked_at.trial AND ledger.kind = looked_at.kind AND ledger.subject = looked_at.subject
    RETURNING 1
)
SELECT
    (SELECT version FROM present) AS version,
    (SELECT count(*) FROM looked_at) AS looked_at,
    (SELECT subject FROM looked_at ORDER BY subject DESC LIMIT 1) AS last,
    (SELECT count(*) FROM erased) AS erased
"""
_SWEEP_SESSIONS = """
WITH swept AS (
    DELETE FROM temppass.session WHERE (environment, code) IN (
        SELECT environment, code FROM temppass.session WHERE expires_at <= $1 LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM swept
"""
_TRIALS = "SELECT environment, channel, pass, device_floor, user_key_floor, fired_at FROM temppass.trial"
_SWEEP_LEDGERS = """
WITH looked_at AS (
    SELECT ledger.trial, ledger.kind, ledger.subject, ledger.version,
        generation < $7 OR expires_at < $8::bigint AS stale
    FROM temppass.ledger
    WHERE ledger.trial = (SELECT id FROM temppass.trial WHERE environment = $1 AND channel = $2 AND pass = $3)
        AND ledger.kind = $4 AND ledger.subject > $5
    ORDER BY ledger.trial, ledger.kind, ledger.subject LIMIT $6
), removed AS (
    DELETE FROM temppass.ledger USING looked_at
    WHERE looked_at.stale AND ledger.version = looked_at.version
        AND ledger.trial = looked_at.trial AND ledger.kind = looked_at.kind AND ledger.subject = looked_at.subject
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM looked_at) AS looked_at,
    (SELECT subject FROM looked_at ORDER BY subject DESC LIMIT 1) AS last,
    (SELECT count(*) FROM removed) AS removed
"""
_ADD_RECORD = "INSERT INTO temppass.audit (id, at, environment, document) VALUES ($1, $2, $3, $4)"
# ledgers by subject over the workers; what is small, and what a ledger is read with, on each of them
_DISTRIBUTE = """
CREATE EXTENSION IF NOT EXISTS citus;
SELECT create_reference_table('temppass.environment');
SELECT create_reference_table('temppass.trial');
SELECT create_distributed_table('temppass.ledger', 'subject');
"""
