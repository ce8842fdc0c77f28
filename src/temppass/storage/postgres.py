"""
PostgreSQL (14 or later): waiting steps share one trip to read and one to write, and no lock is held between the two.

Steps go through a lane of batches (postgres_lane.py); what is asked seldom has a connection of its own.

Source: design §4.1; the driver and the shape of the statements were chosen by measuring (docs/design.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import astuple, replace

from temppass.core.act import NO_LINK, Link, Sealed, Wanted
from temppass.core.anchor import NO_ANCHOR, Anchor
from temppass.core.model import (
    Changes,
    Count,
    Ended,
    EndedKind,
    Floors,
    Found,
    Ledger,
    Listed,
    Recorded,
    Registered,
    Server,
    Subject,
    SubjectKind,
    Use,
)
from temppass.core.reset import Aim, Tally
from temppass.core.world import HOUSE, Environment, EnvironmentRecord, read_environment, rewritten
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_batch import Wider
from temppass.storage.postgres_citus import distribute
from temppass.storage.postgres_hosts import Hosts
from temppass.storage.postgres_lane import Lane
from temppass.storage.postgres_link import NAMES_OF_BEFORE, Line
from temppass.storage.postgres_rows import columns, ledger_of, raises_of, record_row
from temppass.storage.postgres_schema import migrate
from temppass.storage.postgres_slots import Ground, Home, Node, SlotLane, WideLane
from temppass.storage.postgres_spread import Spread, Told
from temppass.storage.schema import migrations
from temppass.storage.search import AFTER_ALL, BEFORE_ALL, anchor_of, recorded_of, search
from temppass.storage.titles import Titles
from temppass.store import (
    STATEMENT_KEPT_MS,
    Amendment,
    AmendmentOfAll,
    Arrivals,
    Brood,
    Faded,
    Fading,
    IntegrationKey,
    Keys,
    Outdated,
    SchemaOutdated,
    Stale,
    Standing,
    StoreUnavailable,
    Tallied,
    Whereabouts,
    Whole,
)

A = TypeVar("A")

#: for a migration, in seconds
MIGRATION_WAIT_S = 600

if TYPE_CHECKING:
    from asyncpg import Record

    from temppass.storage.postgres_link import Connection


class PostgresStore:
    """
    A store in the database that `url` names (a libpq URL), on one host or several. It connects when it is first asked,
    and again after every loss, and serves one event loop at a time. Raises ValueError for a URL that cannot be read.
    `moved` is told when another host has become the primary.
    """

    def __init__(self, url: str, moved: Callable[[Whereabouts], None] = lambda _: None) -> None:
        self._hosts = Hosts(url, moved)
        self._ground = Ground(self._hosts)
        self._others = Line(self._ground)
        #: of its own, because counting takes its time
        self._counting = Line(self._ground)
        self._url = url
        #: which slots there are, once that is known, and who carries steps
        self._spread: Spread | None = None
        self._lane = Lane(self._ground)
        self._slots: list[SlotLane] = []
        #: parts of a cluster that gave no answer when they were last asked, in words
        self._away: tuple[str, ...] = ()
        self._finding: asyncio.Task[Spread] | None = None
        self._ids: dict[IntegrationKey, int] = {}

    @property
    def retries(self) -> int:
        return self._lane.retries + sum(lane.retries for lane in self._slots)

    @property
    def whereabouts(self) -> Whereabouts:
        return replace(self._hosts.whereabouts, away=self._away)

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        if self._spread is None:
            await self._find_slots()
        if self._slots and (number := self._slot_of(keys)) is not None:
            try:
                return await self._slots[number].transact(keys, step)
            except Wider:
                pass
        return await self._lane.transact(keys, step)

    async def _find_slots(self) -> Spread:
        """Answer which slots there are, and have the lanes for them. Raises StoreUnavailable, SchemaOutdated."""
        if self._spread is not None:
            return self._spread
        loop = asyncio.get_running_loop()
        if self._finding is None or self._finding.done() or self._finding.get_loop() is not loop:
            self._finding = loop.create_task(self._look_for_slots())
        return await asyncio.shield(self._finding)

    async def _look_for_slots(self) -> Spread:
        await self._others.once(_schema_number)  # by now a connection has seen them
        spread = self._ground.spread
        if not spread.is_whole:
            home = Home(self._others, self._ground)
            self._lane = WideLane(home)
            self._slots = [SlotLane(home, Node(self._url, home, n), n) for n in range(len(spread.keys))]
        self._spread = spread
        return spread

    def _slot_of(self, keys: Keys) -> int | None:
        """Answer the slot that can carry a step of these keys by itself, if one can."""
        if not keys.subjects or keys.kept or keys.raises or keys.client_id is not None or keys.house is not None:
            return None
        assert self._spread is not None
        numbers = {self._spread.number(subject.digest) for subject in keys.subjects}
        return numbers.pop() if len(numbers) == 1 else None

    # --- what is asked seldom, on a connection of its own

    async def load(self, environment: str) -> Environment | None:
        for document, statements, ended in await self._fetch(sql.ENVIRONMENT_WHOLE, environment):
            return Environment(
                read_environment(document),
                tuple(Listed(*row) for row in msgspec.json.decode(statements)),
                tuple(Ended(EndedKind(kind), *row) for kind, *row in msgspec.json.decode(ended)),
            )
        return None

    async def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        spread = await self._find_slots()

        async def amend(connection: Connection) -> A:
            document = await connection.fetchval(sql.ENVIRONMENT, environment)
            old = read_environment(document) if document is not None else None
            answer, changed, record = change(old)
            told = Told(((environment, changed.version),)) if changed is not None else Told()
            async with connection.transaction():
                if changed is not None:
                    await spread.lock(connection, [environment])
                if record is not None:
                    await connection.execute(sql.ADD_RECORD, *record_row(environment, record), list(record.subjects))
                if changed is not None:
                    row = (environment, changed.version, rewritten(changed).document, old.version if old else 0)
                    if not await connection.fetchval(sql.WRITE_ENVIRONMENT, *row):
                        raise _LostRace
                    await spread.tell(connection, told)
            await spread.show(connection, told)
            return answer

        while True:
            try:
                return await self._others.once(amend)
            except _LostRace:
                continue

    async def amend_all(self, change: Callable[[Whole], AmendmentOfAll[A]]) -> A:
        spread = await self._find_slots()

        async def amend(connection: Connection) -> A:
            async with connection.transaction():
                await connection.execute(sql.HOLD_SERVERS)
                servers = tuple(Server(*row) for row in await connection.fetch(sql.SERVERS))
                older = tuple(row["program"] for row in await connection.fetch(sql.OLDER_PROGRAMS, NAMES_OF_BEFORE))
                found = {name: read_environment(document) for name, document in await connection.fetch(sql.WHOLE)}
                answer, changed, record = change(Whole(found, servers, older))
                told = Told(tuple((name, each.version) for name, each in changed.items()))
                await spread.lock(connection, changed)
                for name, each in sorted(changed.items()):
                    before = found[name].version if name in found else 0
                    row = (name, each.version, rewritten(each).document, before)
                    if not await connection.fetchval(sql.WRITE_ENVIRONMENT, *row):
                        raise _LostRace
                if record is not None:
                    await connection.execute(sql.ADD_RECORD, *record_row(HOUSE, record), list(record.subjects))
                await spread.tell(connection, told)
            await spread.show(connection, told)
            return answer

        while True:
            try:
                return await self._others.once(amend)
            except _LostRace:
                continue

    async def announce(self, server: Server) -> None:
        async def announce(connection: Connection) -> None:
            await self._hosts.look_at_standbys(connection)
            await connection.execute(sql.WRITE_SERVER, *astuple(server))

        await self._others.once(announce)

    async def withdraw(self, id_: str) -> None:
        await self._fetch(sql.REMOVE_SERVER, id_)

    async def forget_servers(self, before: int) -> None:
        await self._fetch(sql.FORGET_SERVERS, before)

    async def environments(self) -> list[str]:
        return [row["name"] for row in await self._fetch(sql.ENVIRONMENTS)]

    async def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        rows: list[Record] = []
        async for slot, id_ in self._pages(integration, after):
            rows += await self._fetch(sql.LEDGERS, slot, id_, int(kind), after, limit - len(rows))
            if len(rows) == limit:
                break
        titles = Titles()
        return [
            (Subject(kind, subject), ledger_of(started_at, expires_at, generation, titles.read(used), *row))
            for subject, started_at, expires_at, generation, used, *row in rows
        ]

    async def _pages(self, integration: IntegrationKey, after: bytes) -> AsyncIterator[tuple[int, int]]:
        """Answer the slots with a digest after one, in their order, each with the number of an integration."""
        spread = await self._find_slots()
        if integration not in self._ids:
            for id_, *key in await self._fetch(sql.INTEGRATION_IDS, *columns([integration], 3)):
                self._ids[tuple(key)] = id_
        if integration in self._ids:
            for slot in spread.keys[spread.number(after) :]:
                yield slot, self._ids[integration]

    async def clients(
        self, environment: str, brood: Brood, limit: int, after: Registered | None = None
    ) -> list[Registered]:
        last = after or AFTER_ALL
        asked = (brood.application_id, brood.epoch, limit, last.at, last.id, [*brood.statement_ids])
        return [Registered(*row) for row in await self._fetch(sql.APPLICATION_CLIENTS, environment, *asked)]

    async def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        rows = [
            (n, brood.application_id, brood.epoch, id_) for n, brood in enumerate(broods) for id_ in brood.statement_ids
        ]
        found = await self._counting.once(
            lambda connection: connection.fetch(sql.COUNT_CLIENTS, environment, *columns(rows, 4), limit)
        )
        counts = {row["n"]: row["count"] for row in found}
        return [min(limit, counts.get(n, 0)) for n in range(len(broods))]

    async def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        found = await self._counting.once(
            lambda connection: connection.fetch(sql.COUNT_ARRIVALS, environment, *columns(since, 3), limit)
        )
        return [row["n"] for row in found]

    async def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        (statement_id,) = brood.statement_ids
        last = (after.at, after.id) if after is not None else BEFORE_ALL
        asked = (brood.application_id, brood.epoch, statement_id, *last, until, limit)
        row = await self._counting.once(lambda connection: connection.fetchrow(sql.COUNT_PAGE, environment, *asked))
        if row is None:
            return 0, None
        return row["count"], Registered(row["id"], row["issued_at"]) if row["count"] == limit else None

    async def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        if clients:
            await self._fetch(sql.USE_CLIENTS, *columns(map(astuple, clients), 3))
        if statements:
            await self._fetch(sql.USE_STATEMENTS, *columns(map(astuple, statements), 3))

    async def uses(self, environment: str) -> dict[str, int]:
        return {row["id"]: row["used_at"] for row in await self._fetch(sql.USES, environment)}

    async def tally(
        self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int
    ) -> Tallied:
        origin = aim.narrowing.origin
        narrowing = (aim.narrowing.over, aim.narrowing.started_before, origin.app_id, origin.device_user)
        touched, example, looked_at, last = Tally(0, 0), None, 0, None
        async for slot, id_ in self._pages(integration, after):
            values = (slot, id_, int(kind), after, aim.now, aim.floors.of(kind), *narrowing, limit - looked_at)
            row = await self._counting.once(partial(_first_row, sql.TALLY, values))
            touched = Tally(touched.running + row["running"], touched.over + row["over"])
            example = example or row["example"]
            looked_at += row["looked_at"]
            if looked_at == limit:
                last = row["last"]
                break
        return Tallied(touched, example, last)

    async def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        rows = await self._fetch(sql.SEALED, environment, after, limit)
        return [Sealed(Link(sequence, digest), document) for sequence, digest, document in rows]

    async def search(
        self, environment: str, wanted: Wanted, beyond: int | None, limit: int, *, newest_first: bool
    ) -> list[Sealed]:
        statement, values = search(
            environment, wanted, beyond, limit, newest_first=newest_first, mark="${}".format, schema="temppass."
        )
        rows = await self._fetch(statement, *values)
        return [Sealed(Link(sequence, digest), document) for sequence, digest, document in rows]

    async def record(self, environment: str, id_: str) -> Sealed | None:
        if "\0" in id_:  # which no text has here
            return None
        for sequence, digest, document in await self._fetch(sql.RECORD, id_, environment):
            return Sealed(Link(sequence, digest) if sequence is not None else NO_LINK, document)
        return None

    async def unsealed_environments(self) -> list[str]:
        return [row["environment"] for row in await self._fetch(sql.UNSEALED_ENVIRONMENTS)]

    async def unsealed(self, environment: str, limit: int, after: tuple[int, str] | None = None) -> list[bytes]:
        rows = await self._fetch(sql.UNSEALED, environment, limit, *(after or BEFORE_ALL))
        return [document for _, document in rows]

    async def head(self, environment: str) -> Link:
        return await self._others.once(lambda connection: _head(connection, environment))

    async def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        async def seal(connection: Connection) -> int:
            # the head first: where another node seals in between, it has moved, and nothing is written
            head = await _head(connection, environment)
            unsealed = await connection.fetch(sql.UNSEALED, environment, limit, *BEFORE_ALL)
            if not unsealed:
                return 0
            links = step(head, [document for _, document in unsealed])
            async with connection.transaction():
                last = links[-1]
                if not await connection.fetchval(sql.MOVE_HEAD, environment, last.sequence, last.hash, head.sequence):
                    return 0
                ids = [id_ for id_, _ in unsealed]
                sealed = [(link.sequence, link.hash) for link in links]
                await connection.execute(sql.SEAL, ids, *columns(sealed, 2))
            return len(links)

        return await self._others.once(seal)

    async def recorded(self, environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
        rows = await self._fetch(sql.RECORDED, environment, after, limit)
        return [recorded_of(row, subjects) for *row, subjects in rows]

    async def anchor(self, environment: str) -> Anchor:
        return await self._others.once(lambda connection: _anchor(connection, environment))

    async def forget(
        self, environment: str, step: Callable[[Anchor, Sequence[Sealed]], Anchor | None], limit: int
    ) -> int:
        async def forget(connection: Connection) -> int:
            old = await _anchor(connection, environment)
            rows = await connection.fetch(sql.SEALED, environment, old.link.sequence, limit)
            new = step(old, [Sealed(Link(sequence, digest), document) for sequence, digest, document in rows])
            if new is None:
                return 0
            row = (new.link.sequence, new.link.hash, new.at, new.proof, old.link.sequence)
            async with connection.transaction():
                if not await connection.fetchval(sql.MOVE_ANCHOR, environment, *row):
                    return 0
                return int(await connection.fetchval(sql.FORGET, environment, new.link.sequence))

        return await self._others.once(forget)

    async def count(self, counts: Sequence[Count]) -> None:
        rows = sorted(astuple(each) for each in counts)
        await self._fetch(sql.ADD_COUNTS, *columns(rows, 6))

    async def counts(self, environment: str, since: int, until: int, step: int = 1) -> list[Count]:
        rows = await self._counting.once(
            lambda connection: connection.fetch(sql.COUNTS, environment, since, until, step)
        )
        return [Count(environment, *row) for row in rows]

    async def forget_counts(self, before: int, limit: int) -> int:
        ((count,),) = await self._fetch(sql.FORGET_COUNTS, before, limit)
        return int(count)

    async def sweep(self, now: int, raised_before: int, limit: int) -> int:
        async def sweep(connection: Connection) -> int:
            await connection.execute(sql.SWEEP_ISSUED, now, now - STATEMENT_KEPT_MS)
            kept = await connection.fetchval(sql.SWEEP_KEPT, now, limit)
            return max(int(kept), int(await connection.fetchval(sql.SWEEP_RAISES, raised_before, limit)))

        return await self._others.once(sweep)

    async def sweep_clients(self, environment: str, version: int, fading: Fading, after: str, limit: int) -> Faded:
        alive = [(each.application_id, each.epoch, id_) for each in fading.broods for id_ in each.statement_ids]
        moments = (fading.unused_before, fading.idle_before, fading.now)
        (row,) = await self._fetch(sql.SWEEP_CLIENTS, environment, version, after, limit, *columns(alive, 3), *moments)
        if not row["is_present"]:
            raise Outdated
        return Faded(row["ended"], row["unused"], row["idle"], row["last"] if row["looked_at"] == limit else None)

    async def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        found: dict[IntegrationKey, Standing] = {}
        for environment, channel, pass_, *row in await self._fetch(sql.INTEGRATIONS):
            standing = found.setdefault((environment, channel, pass_), Standing(Floors(*row[:5])))
            raises = (*standing.raises, *raises_of([row[5:]]))
            found[environment, channel, pass_] = Standing(standing.floors, raises)
        return [*found.items()]

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        looked_at = removed = 0
        bounds = (stale.generation_min, stale.expired_before)
        async for slot, id_ in self._pages(integration, after):
            (row,) = await self._fetch(sql.SWEEP_LEDGERS, slot, id_, int(kind), after, limit - looked_at, *bounds)
            removed += row["removed"]
            looked_at += row["looked_at"]
            if looked_at == limit:
                return removed, row["last"]
        return removed, None

    async def ping(self) -> None:
        async def ping(connection: Connection) -> None:
            await _schema_number(connection)
            await self._hosts.look_at_standbys(connection)

        await self._find_slots()
        lanes = [lane.ping() for lane in self._slots]
        told = await asyncio.gather(self._others.once(ping), *lanes, return_exceptions=True)
        errors = [each for each in told if isinstance(each, BaseException)]
        if len(errors) == len(told) or not all(isinstance(each, StoreUnavailable) for each in errors):
            raise errors[0]
        self._away = tuple(f"coordinator: {each}" if each is told[0] else str(each) for each in errors)

    async def check(self) -> None:
        present, current = await self._others.once(_schema_number), migrations("postgres")[-1][0]
        if present < current:
            raise SchemaOutdated(f"the database's schema is {present}, this program needs {current}")
        if present > current:
            raise SchemaOutdated(f"the database's schema is {present}, newer than this program's {current}: upgrade it")

    async def migrate(self) -> bool:
        return await self._bring_over(migrate)

    async def distribute(self, slots: int | None) -> list[str]:
        await self._bring_over(migrate)

        async def spread(connection: Connection) -> list[str]:
            return await distribute(connection, slots)

        try:
            return await self._bring_over(spread)
        finally:
            self._ground.forget()
            self._spread, self._slots, self._lane = None, [], Lane(self._ground)

    async def _bring_over(self, work: Callable[[Connection], Awaitable[A]]) -> A:
        async def bring_over(connection: Connection) -> A:
            try:
                await connection.execute("SET statement_timeout = 0")
                return await work(connection)
            finally:
                connection.terminate()  # it has no time limits

        return await self._others.once(bring_over, wait_s=MIGRATION_WAIT_S)

    async def close(self) -> None:
        if self._finding is not None and not self._finding.done():
            await asyncio.wait([self._finding])
        for lane in (*self._slots, self._lane):
            await lane.close()
        await self._others.close()
        await self._counting.close()
        await self._hosts.close()

    async def _fetch(self, statement: str, *arguments: Any) -> list[Record]:
        return await self._others.once(lambda connection: connection.fetch(statement, *arguments))


class _LostRace(Exception):
    """Somebody else changed the environment first."""


async def _first_row(statement: str, values: Sequence[Any], connection: Connection) -> Record:
    row = await connection.fetchrow(statement, *values)
    assert row is not None
    return row


async def _head(connection: Connection, environment: str) -> Link:
    row = await connection.fetchrow(sql.HEAD, environment)
    return Link(*row) if row is not None else NO_LINK


async def _anchor(connection: Connection, environment: str) -> Anchor:
    row = await connection.fetchrow(sql.ANCHOR, environment)
    return anchor_of(*row) if row is not None else NO_ANCHOR


async def _schema_number(connection: Connection) -> int:
    return int(await connection.fetchval(sql.SCHEMA_NUMBER))
