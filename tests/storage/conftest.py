"""
One row an adapter: where it keeps things while a test runs. Every test that asks for a `place` runs on each of them.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from tests.conftest import execute

from temppass.storage.memory import MemoryStore
from temppass.storage.postgres import PostgresStore
from temppass.storage.sqlite import SqliteStore
from temppass.store import Store

A = TypeVar("A")


class Place(NamedTuple):
    """`open` may be entered again after it was left, and finds what was kept."""

    open: Callable[[], AbstractAsyncContextManager[Store]]
    #: sends statements past the store, to tables without a schema's name; where there is a database
    meddle: Callable[[str], None] | None = None

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

    return Place(opened)


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

    def meddle(statements: str) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(statements)

    return Place(opened, meddle)


def postgres(request: pytest.FixtureRequest) -> Place:
    return _place_of_database(request.getfixturevalue("postgres"))


def slots(request: pytest.FixtureRequest) -> Place:
    """Several slots in one database, or on the nodes of a cluster."""
    return _place_of_database(request.getfixturevalue("slots"))


def _place_of_database(url: str) -> Place:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = PostgresStore(url)
        try:
            yield store
        finally:
            await store.close()

    def meddle(statements: str) -> None:
        asyncio.run(execute(url, f"SET search_path TO temppass; {statements}"))

    return Place(opened, meddle)


ADAPTERS = {"memory": memory, "sqlite": sqlite, "postgres": postgres, "slots": slots}


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest) -> Place:
    return ADAPTERS[request.param](request)
