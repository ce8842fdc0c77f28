"""
One row an adapter: where it keeps things while a test runs. Every test that asks for a `place` runs on each of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from temppass.storage.memory import MemoryStore
from temppass.storage.postgres import PostgresStore
from temppass.storage.sqlite import SqliteStore
from temppass.store import Store

A = TypeVar("A")


class Place(NamedTuple):
    """`open` may be entered again after it was left, and finds what was kept."""

    open: Callable[[], AbstractAsyncContextManager[Store]]

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

    return Place(opened)


def postgres(request: pytest.FixtureRequest) -> Place:
    url: str = request.getfixturevalue("postgres")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = PostgresStore(url)
        try:
            yield store
        finally:
            await store.close()

    return Place(opened)


ADAPTERS = {"memory": memory, "sqlite": sqlite, "postgres": postgres}


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest) -> Place:
    return ADAPTERS[request.param](request)
