"""
How the database is reached: what a connection is told, how long it is tried, and what is said of it when it is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from temppass.store import SchemaOutdated, StoreUnavailable

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

A = TypeVar("A")

#: a statement that takes longer is ended by the server, in milliseconds
STATEMENT_MS = 1_000
#: an ask is answered after this long at the latest, whatever the database does, in seconds
ANSWER_WAIT_S = 1.5
CONNECT_WAIT_S = 1.0
#: between two attempts to reach a database that is away, in seconds: at first, and at most
BACKOFF_S = (0.05, 1.0)

#: plans are made once a connection, always by the primary key: a table that grows by millions within minutes outruns
#: the statistics that would choose otherwise
#: what programs of this version are called among the sessions of the database, and what those of before were
NAME, NAMES_OF_BEFORE = "temppass 3", ("temppass", "temppass 2")

_SETTINGS = {
    "application_name": NAME,
    "statement_timeout": str(STATEMENT_MS),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


async def connect(url: str) -> Connection:
    """Connect, again and again with growing pauses until the caller's time is over."""
    pause_s = BACKOFF_S[0]
    while True:
        try:
            return await asyncpg.connect(url, timeout=CONNECT_WAIT_S, server_settings=_SETTINGS)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, TimeoutError):
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that nodes do not come all at once
            pause_s = min(2 * pause_s, BACKOFF_S[1])


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def let_go(connection: Connection) -> None:
    """Close a connection, also one that is lost."""
    if not connection.is_closed():
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await connection.close(timeout=CONNECT_WAIT_S)


class Line:
    """
    One connection, on which one thing is done after another. It connects when it is first asked, and again after every
    loss, and serves one event loop at a time.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def once(self, work: Callable[[Connection], Awaitable[A]], wait_s: float = ANSWER_WAIT_S) -> A:
        """Do `work` alone. Raises StoreUnavailable, SchemaOutdated, and what `work` itself refuses."""
        if self._closed:  # or a connection that nobody closes would be made
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop and (self._loop is None or self._loop.is_closed()):
            self._loop, self._connection, self._turn = loop, None, asyncio.Lock()
        try:
            async with asyncio.timeout(wait_s), self._turn:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self._url)
                return await work(self._connection)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            raise SchemaOutdated("the database has no schema of temppass yet") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            raise StoreUnavailable(reason_of(error)) from None

    async def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            await let_go(self._connection)
