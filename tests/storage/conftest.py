"""
One row an adapter: where it keeps things while a test runs. Every test that asks for a `place` runs on each of them.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncpg
import msgspec
import pytest

from temppass.core.model import Record
from temppass.storage.memory import MemoryStore
from temppass.storage.postgres import PostgresStore
from temppass.storage.sqlite import SqliteStore
from temppass.store import Store

A = TypeVar("A")


class Place(NamedTuple):
    """`open` may be entered again after it was left, and finds what was kept; `records` reads the audit trail."""

    open: Callable[[], AbstractAsyncContextManager[Store]]
    #: (environment, record), the oldest first
    records: Callable[[], list[tuple[str, Record]]]

    def use(self, work: Callable[[Store], Coroutine[Any, Any, A]]) -> A:
        """Open the store, do `work` with it, and close it again."""

        async def opened() -> A:
            async with self.open() as store:
                return await work(store)

        return asyncio.run(opened())


def memory(_request: pytest.FixtureRequest) -> Place:
    """Keeps what it has as long as the process lives: here, the test."""
    store = MemoryStore()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        yield store

    return Place(opened, lambda: store.records)


def sqlite(request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("tmp_path")
    path = folder / "store.db"

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = SqliteStore(path)
        try:
            yield store
        finally:
            await store.close()

    def records() -> list[tuple[str, Record]]:
        connection = sqlite3.connect(path)
        try:
            rows = connection.execute("SELECT environment, document FROM audit ORDER BY at").fetchall()
        finally:
            connection.close()
        return [(environment, msgspec.json.decode(document, type=Record)) for environment, document in rows]

    return Place(opened, records)


def postgres(request: pytest.FixtureRequest) -> Place:
    url: str = request.getfixturevalue("postgres")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = PostgresStore(url)
        try:
            yield store
        finally:
            await store.close()

    async def read() -> list[tuple[str, Record]]:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("SELECT environment, document FROM temppass.audit ORDER BY at")
        finally:
            await connection.close()
        return [(environment, msgspec.json.decode(document, type=Record)) for environment, document in rows]

    return Place(opened, lambda: asyncio.run(read()))


ADAPTERS = {"memory": memory, "sqlite": sqlite, "postgres": postgres}


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest) -> Place:
    return ADAPTERS[request.param](request)
