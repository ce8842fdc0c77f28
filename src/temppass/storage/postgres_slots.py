"""
Batches of a database of several slots: a lane for each slot, at the node that has it, for steps that mean ledgers of
that slot alone, and one lane for all the rest, whose batches are transactions over the nodes that they touch.

A batch of a slot reads and writes as on one PostgreSQL, in a statement each, and leaves out what another server has
locked. A batch over several slots has locked what it reads until it is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import asyncpg

from temppass.core.model import NOTHING, Changes, Floors, Found
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_batch import NO_KEY, Batch, Job, LedgerKey, Outcome, Wider
from temppass.storage.postgres_lane import Asked, Lane, home_columns, issued_columns, refuse, take
from temppass.storage.postgres_link import Line, connect
from temppass.storage.postgres_rows import columns, ledger_row
from temppass.storage.postgres_spread import Spread, Told
from temppass.store import BATCH_MAX, LEDGER_READ_BYTES_MAX, IntegrationKey, Keys, StoreUnavailable

if TYPE_CHECKING:
    from temppass.storage.postgres_link import Connection, Database

A = TypeVar("A")

#: what connections are told where there are several slots: a plan is made for the slot that is meant, and which node
#: has it is known only then. Citus' own tables stay visible, because to hide them makes catalogues slow to read
_PLAN = "SET plan_cache_mode = force_custom_plan"
_PLAN_CITUS = f"{_PLAN}; SET citus.override_table_visibility = off"
#: how long a step waits for what another server is changing, and how often it looks, in seconds
TAKEN_WAIT_S, TAKEN_PAUSE_S = 1.0, 0.01
#: for how long of that it stands in line, and all that waits here with it, in milliseconds
QUEUE_MS = 100
#: how often a lane looks whether its slot has moved, and how long a slot that failed is not asked by others, in seconds
MOVED_S, AWAY_S = 5.0, 1.0
#: a trip to a slot costs as much as forty rows, most of it planning: so two begin this far apart, or when so many steps
#: wait, for which it looks this often; in seconds
PACE_S, WORTH_IT, GLANCE_S = 0.02, 64, 0.004
_ALL_TITLES = 2**31 - 1


class Ground:
    """
    The node that has everything but the ledgers of several slots, as a Database that knows which slots there are. They
    change while nobody serves, so a program that has seen others before is to be started anew.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._spread: Spread | None = None
        self.is_citus = False

    @property
    def spread(self) -> Spread:
        return self._spread or Spread()

    @property
    def trouble(self) -> str:
        return self._database.trouble

    def trusts(self, connection: Connection) -> bool:
        return self._database.trusts(connection)

    def doubt(self, connection: Connection) -> None:
        self._database.doubt(connection)

    async def connect(self, present: Connection | None) -> Connection:
        found = await self._database.connect(present)
        if found is not present:
            try:
                await self._look(found)
            except BaseException:
                found.terminate()
                raise
        return found

    def forget(self) -> None:
        """Whoever connects next may find other slots."""
        self._spread = None

    async def _look(self, connection: Connection) -> None:
        try:
            keys = tuple(row["key"] for row in await connection.fetch(sql.SLOTS))
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return  # whoever needs the schema is told
        spread = Spread(keys) if keys else Spread()
        if self._spread is not None and self._spread != spread:
            raise StoreUnavailable("the slots of the database are others than they were: start this server anew")
        if not spread.is_whole:
            self.is_citus = bool(await connection.fetchval(sql.IS_CITUS))
            await connection.execute(_PLAN_CITUS if self.is_citus else _PLAN)
        self._spread = spread


class _Claims(NamedTuple):
    """What a batch changes in all slots: nobody looks at it meanwhile."""

    integrations: frozenset[IntegrationKey] = frozenset()
    environments: frozenset[str] = frozenset()

    def part(self, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
        """Answer steps that mean nothing of this, and those that do."""
        others: list[Job] = []
        meant: list[Job] = []
        for job in jobs:
            mine = job.integration in self.integrations or job.keys.environment in self.environments
            (meant if mine else others).append(job)
        return others, meant


class _Unclaimed(Exception):
    """A step changes what is not locked in all slots yet."""

    def __init__(self, claims: _Claims) -> None:
        self.claims = claims


class _Unknown(Exception):
    """A step begins the first ledger of an integration, which needs a number."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class Home:
    """What lanes of slots ask of the node that has all the rest."""

    def __init__(self, line: Line, ground: Ground) -> None:
        self._line = line
        self.ground = ground
        self.spread = ground.spread

    async def ids(self, integrations: Iterable[IntegrationKey]) -> dict[IntegrationKey, int]:
        """Answer the numbers of those integrations that have one."""
        wanted = columns(integrations, 3)
        rows = await self._line.once(lambda connection: connection.fetch(sql.INTEGRATION_IDS, *wanted))
        return {tuple(key): id_ for id_, *key in rows}

    async def introduce(self, number: int, ids: list[int]) -> None:
        """Tell a slot of integrations that it has not heard of."""

        async def introduce(connection: Connection) -> None:
            key = self.spread.keys[number]
            async with connection.transaction():
                await self.spread.lock_one(connection, number, (), ids)
                rows = await connection.fetch(sql.FLOORS, ids)
                told = Told(integrations=[(id_, Floors(*floors), version) for id_, *floors, version in rows])
                await self.spread.tell_one(connection, key, told)

        await self._line.once(introduce)

    async def place(self, number: int) -> Place:
        """Answer where a slot is on a cluster."""
        row = await self._line.once(lambda connection: connection.fetchrow(sql.SLOT_NODE, self.spread.keys[number]))
        if row is None:
            raise StoreUnavailable(f"no node has slot {number}")
        return Place(*row)


class Place(NamedTuple):
    host: str
    port: int


class Node:
    """The node that has a slot, as a Database; found again when the slot has moved, or its node gives no answer."""

    def __init__(self, url: str, home: Home, number: int) -> None:
        self._url = url
        self._home = home
        self._number = number
        self._place: Place | None = None
        self._look_due_at = 0.0

    @property
    def trouble(self) -> str:
        return "its node gives no answer" if self._place is not None else self._home.ground.trouble

    @property
    def where(self) -> str:
        return f" on {self._place.host}:{self._place.port}" if self._place is not None else ""

    def trusts(self, connection: Connection) -> bool:
        if not self._home.ground.is_citus:
            return self._home.ground.trusts(connection)
        return not connection.is_closed() and time.monotonic() < self._look_due_at

    def doubt(self, connection: Connection) -> None:
        if not self._home.ground.is_citus:
            self._home.ground.doubt(connection)

    async def connect(self, present: Connection | None) -> Connection:
        if not self._home.ground.is_citus:
            return await self._home.ground.connect(present)
        if present is not None and not present.is_closed():
            row = await present.fetchrow(sql.SLOT_NODE, self._home.spread.keys[self._number])
            self._look_due_at = time.monotonic() + MOVED_S
            if row is not None and Place(*row) == self._place:
                return present
            present.terminate()
            self._place = Place(*row) if row is not None else None
        if self._place is not None:  # even while nobody can say whether it is there still
            with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
                return await self._at(self._place)
        self._place = await self._home.place(self._number)
        return await self._at(self._place)

    async def _at(self, place: Place) -> Connection:
        connection = await connect(self._url, host=place.host, port=place.port)
        await connection.execute(_PLAN_CITUS)
        self._look_due_at = time.monotonic() + MOVED_S
        return connection


class SlotLane(Lane):
    """
    For steps that mean ledgers of one slot and nothing else. A step that concludes more is refused with Wider, and so
    is one that met what another server is changing, because nobody stands in line here.
    """

    def __init__(self, home: Home, node: Node, number: int) -> None:
        super().__init__(node)
        self._home = home
        self._node = node
        self._number = number
        #: when the next batch begins, however few it has
        self._due_at = 0.0
        self._key = home.spread.keys[number]

    async def _gather(self) -> None:
        now = time.monotonic()
        while now < self._due_at and len(self._waiting) < WORTH_IT:
            await asyncio.sleep(min(self._due_at - now, GLANCE_S))
            now = time.monotonic()
        self._due_at = now + PACE_S

    async def ping(self) -> None:
        """Raises StoreUnavailable, which names the slot and its node, unless they answer."""
        try:
            await self.transact(Keys("", 0), lambda _found: (None, NOTHING))
        except StoreUnavailable as error:
            raise StoreUnavailable(f"slot {self._number}{self._node.where}: {error}") from None

    async def _attempt(self, connection: Connection, jobs: list[Job], lost: int) -> list[Outcome] | None:  # noqa: ARG002 - a wide one adds integrations
        batch = await self._read(connection, jobs)
        outcomes, later, taken = batch.run_all(jobs)
        if batch.is_changed:
            await self._write_slot(connection, batch)
        self._waiting[:0] = later
        return outcomes + [(job, None, Wider()) for job in taken]

    async def _read(self, connection: Connection, jobs: list[Job]) -> Batch:
        await self._find_ids(connection, jobs)
        batch = Batch(jobs, within=self._ids)
        asked = Asked.by(jobs, self._ids)
        spread = self._home.spread
        locks = [
            *spread.locks(self._number, asked.environments, asked.by_id),
            *(spread.lock_of_subject(subject) for _, subject in asked.ledgers),
        ]
        question = (asked.environments, [*asked.by_id], *asked.ledger_columns(self._ids), _titles_max(batch))
        take(batch, asked, await connection.fetch(sql.READ_SLOT, self._key, locks, [], *question))
        return batch

    async def _find_ids(self, connection: Connection, jobs: list[Job]) -> None:
        unknown = {job.integration for job in jobs} - {NO_KEY} - self._ids.keys()
        if not unknown:
            return
        if found := await self._home.ids(unknown):
            ids = [*found.values()]
            here = {row["integration"] for row in await connection.fetch(sql.STANDING, self._key, ids)}
            if new := sorted({*ids} - here):
                await self._home.introduce(self._number, new)
            self._ids.update(found)

    async def _write_slot(self, connection: Connection, batch: Batch) -> None:
        """Raises asyncpg.SerializationError where a row has moved on since it was read, or somebody has locked it."""
        ids, spread = self._ids, self._home.spread
        held = sorted((ids[key], batch.integrations[key].version) for key in batch.held)
        locks = [
            *spread.locks(self._number, (), [id_ for id_, _ in held]),
            *(spread.lock_of_subject(subject) for _, subject in batch.changed_rows),
        ]
        rows = _ledger_columns(batch, batch.changed_rows, ids)
        await connection.fetchval(sql.WRITE_SLOT, self._key, locks, *columns(held, 2), *rows)


class WideLane(Lane):
    """For all steps: those of several slots, and those that mean or conclude more than ledgers."""

    def __init__(self, home: Home) -> None:
        super().__init__(home.ground)
        self._home = home
        #: until when slots that failed are not asked
        self._away: dict[int, float] = {}
        #: the slot that is asked at the moment
        self._at: int | None = None

    def _next(self) -> list[Job]:
        """Answer steps of the same slots, so that those of a slot that is away are alone with it."""
        slots = self._slots(self._waiting[0])
        same = [job for job in self._waiting if self._slots(job) == slots][:BATCH_MAX]
        chosen = {id(job) for job in same}
        self._waiting = [job for job in self._waiting if id(job) not in chosen]
        return same

    def _lose(self, batch: list[Job], error: StoreUnavailable) -> None:
        if self._at is None:
            super()._lose(batch, error)
        else:
            self._away[self._at] = asyncio.get_running_loop().time() + AWAY_S
            lost = [job for job in self._waiting if self._at in self._slots(job)]
            gone = {id(job) for job in lost}
            self._waiting = [job for job in self._waiting if id(job) not in gone]
            refuse([*batch, *lost], error)

    def _slots(self, job: Job) -> frozenset[int]:
        return frozenset(self._home.spread.number(subject.digest) for subject in job.keys.subjects)

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        """As the port's. Raises StoreUnavailable at once where a slot that is meant was away a moment ago."""
        if self._away:
            meant = {self._home.spread.number(each.digest) for each in keys.subjects}
            if away := self._still_away() & meant:
                raise StoreUnavailable(f"slot {min(away)} is away")
        return await super().transact(keys, step)

    def _still_away(self) -> set[int]:
        now = asyncio.get_running_loop().time()
        self._away = {number: until for number, until in self._away.items() if until > now}
        return {*self._away}

    async def _attempt(self, connection: Connection, jobs: list[Job], lost: int) -> list[Outcome] | None:
        self._at = None
        claims, told = _Claims(), Told()
        while True:
            try:
                async with connection.transaction():
                    await self._queue(connection, [job for job in jobs if job.until and not job.has_queued])
                    batch = await self._read_wide(connection, jobs, claims)
                    outcomes, later, taken = batch.run_all(jobs)
                    needed = _Claims(frozenset(batch.changed_integrations), frozenset(batch.rewritten))
                    if needed != claims and any(needed):
                        raise _Unclaimed(needed)  # noqa: TRY301 - the transaction is to be left
                    if batch.is_changed:
                        told = await self._write_wide(connection, batch)
                break
            except _Unclaimed as unclaimed:
                claims = unclaimed.claims
                if away := self._still_away():
                    jobs, meant = claims.part(jobs)
                    refuse(meant, StoreUnavailable(f"slot {min(away)} is away"))
                    claims = _Claims()
            except _Unknown as unknown:
                await self._add_integrations(connection, unknown.batch, lost)
                return None
            except asyncpg.LockNotAvailableError:
                jobs = [job._replace(has_queued=True) if job.until else job for job in jobs]
        if any(told):
            await self._home.spread.show(connection, told)
        self._waiting[:0] = later
        return outcomes + await self._wait(jobs, taken)

    async def _queue(self, connection: Connection, jobs: list[Job]) -> None:
        """
        Stand in line for the subjects of steps that did not get them, or somebody who asks for them again and again
        would be the only one to have them. Raises asyncpg.LockNotAvailableError.
        """
        if not jobs:
            return
        spread = self._home.spread
        by_slot: dict[int, set[int]] = defaultdict(set)
        for job in jobs:
            for subject in job.keys.subjects:
                by_slot[spread.number(subject.digest)].add(spread.lock_of_subject(subject))
        for self._at, locks in sorted(by_slot.items()):
            await connection.execute(sql.LOCK_SLOT, spread.keys[self._at], sorted(locks), QUEUE_MS)
        self._at = None

    async def _wait(self, batch: list[Job], taken: list[Job]) -> list[Outcome]:
        """Have those who met a lock look again in a while; answer what is told to those who waited long enough."""
        if not taken:
            return []
        if len(taken) == len(batch) and not self._waiting and all(job.has_queued for job in taken):
            await asyncio.sleep(TAKEN_PAUSE_S)
        self.retries += any(job.until is None for job in taken)  # a race, as far as anybody can tell
        now = asyncio.get_running_loop().time()
        error = StoreUnavailable("another server is changing the same, or was when a node went away")
        self._waiting[:0] = [
            job._replace(until=job.until or now + TAKEN_WAIT_S) for job in taken if now <= (job.until or now)
        ]
        return [(job, None, error) for job in taken if now > (job.until or now)]

    async def _read_wide(self, connection: Connection, jobs: list[Job], claims: _Claims) -> Batch:
        await self._find_ids(connection, jobs)
        batch = Batch(jobs)
        asked = Asked.by(jobs, self._ids)
        if any(claims):
            ids = [self._ids[key] for key in claims.integrations if key in self._ids]
            spread = self._home.spread
            for self._at, _ in enumerate(spread.keys):
                await spread.lock_one(connection, self._at, claims.environments, ids)
            self._at = None
        await self._read_slots(connection, batch, asked)
        take(batch, asked, await connection.fetch(sql.READ_HOME, asked.environments, [*asked.by_id]))
        await self._read_rare(connection, jobs, batch)
        return batch

    async def _read_slots(self, connection: Connection, batch: Batch, asked: Asked) -> None:
        """Lock and read what is meant of each slot, in their order."""
        spread = self._home.spread
        for self._at, ledgers in _by_slot(spread, asked.ledgers):
            here = Asked([], asked.by_id, ledgers)
            shared = spread.locks(self._at, (), here.by_id)
            exclusive = [spread.lock_of_subject(subject) for _, subject in ledgers]
            question: tuple[Any, ...] = ([], [], *here.ledger_columns(self._ids), _titles_max(batch))
            take(
                batch, here, await connection.fetch(sql.READ_SLOT, spread.keys[self._at], shared, exclusive, *question)
            )
        self._at = None

    async def _write_wide(self, connection: Connection, batch: Batch) -> Told:
        """Raises asyncpg.SerializationError where a row has moved on since it was read."""
        if (batch.changed_integrations | {key for key, _ in batch.changed_rows}) - self._ids.keys():
            raise _Unknown(batch)
        spread, ids = self._home.spread, self._ids
        for self._at, changed_here in _by_slot(spread, batch.changed_rows):
            rows = _ledger_columns(batch, changed_here, ids)
            await connection.fetchval(sql.WRITE_SLOT, spread.keys[self._at], [], [], [], *rows)
        self._at = None
        moved = [(key, batch.integrations[key]) for key in sorted(batch.changed_integrations)]
        told = Told(
            tuple((name, each.version) for name, each in batch.rewritten.items()),
            tuple((ids[key], each.floors, (each.version or 0) + 1) for key, each in moved),
        )
        if any(told):
            for self._at, key in enumerate(spread.keys):
                await spread.tell_one(connection, key, told)
            self._at = None
        if batch.changes_more_than_ledgers:
            await connection.fetchval(sql.WRITE_HOME, *home_columns(batch, ids, 0))
        if batch.issued:
            await connection.execute(sql.WRITE_ISSUED, *issued_columns(batch))
        return told


def _by_slot(spread: Spread, ledgers: Iterable[LedgerKey]) -> list[tuple[int, list[LedgerKey]]]:
    """Answer ledgers by the slots that have them, in their order."""
    by_slot: dict[int, list[LedgerKey]] = defaultdict(list)
    for ledger in ledgers:
        by_slot[spread.number(ledger[1].digest)].append(ledger)
    return sorted(by_slot.items())


def _titles_max(batch: Batch) -> int:
    """Answer of how many bytes the titles of a ledger may be, where they are to be read with it."""
    return _ALL_TITLES if batch.wanted else LEDGER_READ_BYTES_MAX


def _ledger_columns(batch: Batch, ledgers: Iterable[LedgerKey], ids: Mapping[IntegrationKey, int]) -> list[list[Any]]:
    """Write down ledgers of one slot, for WRITE_SLOT, in one order everywhere."""
    rows = [ledger_row(0, ids[key], subject, batch.rows[key, subject], batch.titles) for key, subject in ledgers]
    return columns(sorted(rows), sql.LEDGER_COLUMNS)[1:]
