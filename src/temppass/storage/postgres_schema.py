"""
Bringing a database up to date while servers run: each numbered file once, and afterwards what has to wait until no
server of the first version is left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from temppass.storage import postgres_sql as sql
from temppass.storage.schema import migrations

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]

A = TypeVar("A")

#: a migration that cannot lock its tables by then, in milliseconds, lets all go and tries again: a batch of a server
#: may hold one of them and wait for another, and its viewers wait with it
LOCK_MS = 100
#: locks of our own, by number: a migration of any database, and the end of one
_MIGRATING, _FINISHING = 7305118, 7305119


async def migrate(connection: _Connection) -> bool:
    """
    Bring the schema up to date. Answers False where servers of the first version are connected: then names that they
    need are still there, and it is to be called again.
    """
    await _beside_servers(lambda: _run_files(connection))
    await _beside_servers(lambda: _alone(connection, lambda: _build(connection, "client_application")))
    await _beside_servers(lambda: _alone(connection, lambda: _build(connection, "client_statement")))
    return await _beside_servers(lambda: _finish(connection))


async def _run_files(connection: _Connection) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATING})")  # one migration at a time
        await connection.execute("CREATE SCHEMA IF NOT EXISTS temppass")
        await connection.execute("CREATE TABLE IF NOT EXISTS temppass.schema (number integer PRIMARY KEY)")
        present = await connection.fetchval(sql.SCHEMA_NUMBER)
        for number, script in migrations("postgres"):
            if number > present:
                await connection.execute(script)
                await connection.execute("INSERT INTO temppass.schema VALUES ($1)", number)


async def _finish(connection: _Connection) -> bool:
    if await connection.fetchval(sql.IS_FINISHED):
        return True
    if await connection.fetchval(sql.OLDER_SERVERS):
        return False
    await _alone(connection, lambda: _swap(connection))
    return True


async def _swap(connection: _Connection) -> None:
    if await connection.fetchval(sql.IS_FINISHED):  # by now
        return
    await _build(connection, "ledgers_by_slot")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        await connection.execute(sql.FINISH)


async def _build(connection: _Connection, index: str) -> None:
    if await connection.fetchval(sql.BROKEN_INDEX, index):
        await connection.execute(sql.DROP_INDEX + index)
    await connection.execute(sql.INDEXES[index])


async def _alone(connection: _Connection, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` that no other migration does at the same time."""
    # asked for and not waited for: whoever waits is a transaction that the building of an index waits for
    if not await connection.fetchval(f"SELECT pg_try_advisory_lock({_FINISHING})"):
        raise asyncpg.LockNotAvailableError
    try:
        await work()
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({_FINISHING})")


async def _beside_servers(work: Callable[[], Awaitable[A]]) -> A:
    """Do `work` again and again until it gets the locks that it needs, letting go in between."""
    while True:
        try:
            return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(random.uniform(1, 3) * LOCK_MS / 1000)  # noqa: S311 - no secret
