"""
A database of the first version, brought up to date while a server of that version is connected, and finished when it
has gone. The server is a connection that calls itself what such servers do and sends what they send.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import pytest
from tests.conftest import new_database
from tests.storage import first_version as first

from temppass.core.model import NOTHING, Changes, Floors, Found, Kept, Ledger, Subject, SubjectKind
from temppass.storage.postgres import PostgresStore
from temppass.storage.schema import migrations
from temppass.store import Keys

A = TypeVar("A")

T0 = 1_767_261_600_000
DEVICE = Subject(SubjectKind.DEVICE, b"d" * 16)
KEYS = Keys("here", 0, ("REF", "P"), (DEVICE,), kept=("K7Q2MXA",))
LEDGER, GAINED = Ledger(T0, T0 + 9, 0, ("A",)), Ledger(T0, T0 + 9, 0, ("A", "B"))


def look(found: Found) -> tuple[Found, Changes]:
    return found, NOTHING


class Older:
    """A server of the first version."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def integration(self) -> int:
        """Add the integration, and answer its number."""
        await self._connection.execute(first.ADD_TRIALS, ["here"], ["REF"], ["P"])
        ((id_, *_),) = await self._connection.fetch(first.TRIAL_IDS, ["here"], ["REF"], ["P"])
        return int(id_)

    async def read(self, id_: int) -> list[tuple[Any, ...]]:
        """Answer the rows of the integration and of the device's ledger."""
        rows = await self._connection.fetch(first.READ, [], [id_], [id_], [0], [DEVICE.digest])
        return [tuple(row) for row in rows]

    async def write(self, id_: int, titles: bytes, version: int) -> None:
        """Write the device's ledger over the `version` that was read, negated; any other number begins one."""
        ledger = ([id_], [0], [DEVICE.digest], [0], [T0], [T0 + 9], [version], [titles], [None], [None])
        await self._connection.fetchval(first.WRITE_LEDGERS, *ledger, [], [], 1)

    async def reset_everybody(self, id_: int, floor: int, version: int) -> None:
        """Raise the floor of devices, and keep a session in the same batch."""
        raised = ([id_], [floor], [0], [0], [version])
        session = (["here"], ["K7Q2MXA"], [T0 + 9], [b"{}"], [5])
        none: list[list[Any]] = [[]] * 10
        await self._connection.fetchval(
            first.WRITE_ALL, *none, *raised, *session, *none[:6], *none[:4], [], [], [id_], 2
        )


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[tuple[Older, PostgresStore]]:
    """A server of the first version, and a store on the same database after its migration."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "temppass"})
    store = PostgresStore(url)
    try:
        await connection.execute("CREATE SCHEMA temppass; CREATE TABLE temppass.schema (number integer PRIMARY KEY)")
        await connection.execute(migrations("postgres")[0][1])
        await connection.execute("INSERT INTO temppass.schema VALUES (1)")
        yield Older(connection), store
    finally:
        await store.close()
        await connection.close()


@pytest.fixture
def play(postgres_server: str) -> Callable[[Callable[[Older, PostgresStore], Coroutine[Any, Any, A]]], A]:
    """Let a server of the first version and a store work on one database."""

    def run(work: Callable[[Older, PostgresStore], Coroutine[Any, Any, A]]) -> A:
        async def both(url: str) -> A:
            async with beside(url) as (older, store):
                return await work(older, store)

        with new_database(postgres_server) as url:
            return asyncio.run(both(url))

    return run


Play = Callable[[Callable[[Older, PostgresStore], Coroutine[Any, Any, Any]]], Any]


def test_what_either_writes_the_other_finds(play: Play) -> None:
    async def work(older: Older, store: PostgresStore) -> tuple[Ledger | None, list[tuple[Any, ...]]]:
        id_ = await older.integration()
        await older.write(id_, b'["A"]', 77)
        assert not await store.migrate()
        before = await store.transact(KEYS, lambda found: (found.ledgers[0], Changes(((DEVICE, GAINED),))))
        return before, [row[2:] for row in await older.read(id_) if row[0] == 2]

    assert play(work) == (LEDGER, [(78, 0, T0, T0 + 9, b'["A","B"]', None, None)])


def test_a_reset_of_everybody_by_either_holds_for_the_other(play: Play) -> None:
    async def work(older: Older, store: PostgresStore) -> tuple[Floors, list[tuple[Any, ...]]]:
        id_ = await older.integration()
        await store.migrate()
        await older.reset_everybody(id_, 1, 0)
        seen = (await store.transact(KEYS, look)).floors
        await store.transact(KEYS, lambda found: (None, Changes(floors=found.floors.raised(SubjectKind.DEVICE))))
        return seen, [row[:5] for row in await older.read(id_) if row[0] == 1]

    floors, rows = play(work)
    assert (floors, [(what, version, device) for what, _, version, device, _ in rows]) == (Floors(1), [(1, 2, 2)])


def test_a_session_of_the_first_version_is_a_kept_document(play: Play) -> None:
    async def work(older: Older, store: PostgresStore) -> tuple[Kept | None, ...]:
        id_ = await older.integration()
        await store.migrate()
        await older.reset_everybody(id_, 1, 0)
        return (await store.transact(KEYS, look)).kept

    assert play(work) == (Kept("session", "K7Q2MXA", T0 + 9, b"{}"),)


def test_a_row_that_has_moved_on_is_seen_by_the_first_version(play: Play) -> None:
    """Its guard works through the view."""

    async def work(older: Older, store: PostgresStore) -> None:
        id_ = await older.integration()
        await older.write(id_, b'["A"]', 77)
        await store.migrate()
        await store.transact(KEYS, lambda _found: (None, Changes(((DEVICE, GAINED),))))
        with pytest.raises(asyncpg.SerializationError):
            await older.write(id_, b'["A","C"]', -77)

    play(work)


def test_the_names_of_before_go_once_the_last_of_its_servers_has_gone(play: Play) -> None:
    async def work(older: Older, store: PostgresStore) -> tuple[list[bool], Ledger | None, str]:
        id_ = await older.integration()
        await older.write(id_, b'["A"]', 77)
        finished = [await store.migrate(), await store.migrate()]
        await older._connection.execute("SET application_name = 'somebody else'")
        finished += [await store.migrate(), await store.migrate()]
        key = await older._connection.fetchval("SELECT pg_get_indexdef('temppass.ledger_pkey'::regclass)")
        found = await store.transact(KEYS, lambda found: (found.ledgers[0], Changes(((DEVICE, GAINED),))))
        return finished, found, str(key).partition("USING ")[2]

    assert play(work) == ([False, False, True, True], LEDGER, "btree (slot, integration, kind, subject)")
