"""
How the database is reached: what a connection is told, how long it is tried, and what is said of it when it is lost.

A statement is never cancelled. A commit that waits for a synchronous standby and is cancelled becomes visible although
no standby has it; somebody would be answered by it, and a failover would lose what that answer rests on. Whatever takes
too long loses its connection instead, and what became of it is unknown.

Source: PostgreSQL, syncrep.c (SyncRepWaitForLSN); docs/design.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import asyncpg

from temppass.store import SchemaOutdated, StoreUnavailable

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

A = TypeVar("A")

#: a statement that takes longer is ended by the server, in milliseconds; its commit is not, however long it waits
STATEMENT_MS = 1_000
#: an ask is answered after this long at the latest, whatever the database does, in seconds
ANSWER_WAIT_S = 1.5
CONNECT_WAIT_S = 1.0

#: what programs of this version are called among the sessions of the database, and what those of before were
NAME, NAMES_OF_BEFORE = "temppass 3", ("temppass", "temppass 2")

#: plans are made once a connection, always by the primary key: a table that grows by millions within minutes outruns
#: the statistics that would choose otherwise
_SETTINGS = {
    "application_name": NAME,
    "statement_timeout": str(STATEMENT_MS),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class Connection(_Connection):
    """A connection that is dropped where the driver would ask the server to cancel what it is doing."""

    #: the host as it is named in messages; the timeline that it writes, None where that is unknown
    host: str = ""
    timeline: int | None = None
    started_at: datetime | None = None
    #: whether commits wait for a standby there
    waits: bool = False
    #: whether the wait of one was cancelled, so that it can be seen and may be lost all the same
    is_unsafe: bool = False
    #: when something was last begun on it, by time.monotonic
    used_at: float = 0.0

    @property
    def instance(self) -> tuple[str, int | None, datetime | None]:
        """One run of one server."""
        return self.host, self.timeline, self.started_at

    def vouch(self) -> None:
        """
        See to it that the standbys have what was committed, where they are waited for: an operator may end such a wait.
        Raises asyncpg.QueryCanceledError.
        """
        if self.is_unsafe:
            raise asyncpg.QueryCanceledError("the wait for the synchronous standby was cancelled")

    def _cancel_current_command(self, *waiting: asyncio.Future[None]) -> None:
        # the one place from which the driver cancels: after its own time limits, after those of a caller, after a task
        # that was cancelled, and before it closes a connection on which something is under way. What called has first
        # to come to its end
        asyncio.get_running_loop().call_soon(self._drop, waiting)

    def _drop(self, waiting: tuple[asyncio.Future[None], ...]) -> None:
        self.terminate()
        for each in waiting:
            if not each.done():
                each.set_result(None)


class Database(Protocol):
    """Where connections to one database come from; all that use it share one such object."""

    @property
    def trouble(self) -> str:
        """What stood in the way when it was last looked for; "" where nothing did."""
        ...

    async def connect(self, present: Connection | None) -> Connection:
        """
        Answer a connection that may be used, the present one where it is as good as any; else that one is dropped.
        Tries again and again until the caller's time is over. Raises StoreUnavailable where that is of no use.
        """
        ...

    def trusts(self, connection: Connection) -> bool:
        """Tell whether a connection may be used at once, or `connect` has to be asked; to be told before each use."""
        ...

    def doubt(self, connection: Connection) -> None:
        """Be told that a connection gave no answer in time."""
        ...


async def connect(url: str, **place: Any) -> Connection:
    """Connect once. `place` says which of several hosts is meant. Raises what the driver raises."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_WAIT_S, server_settings=_SETTINGS, connection_class=Connection, **place
    )
    connection.add_log_listener(_heed)
    return connection


def _heed(connection: Any, message: Any) -> None:
    # it has no code of its own, and its words may be in French
    if message.server_source_function == "SyncRepWaitForLSN":
        connection.is_unsafe = True


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Held:
    """The one connection of somebody who does one thing after another: made when needed, and again after a loss."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.connection: Connection | None = None

    async def ready(self) -> Connection:
        """Answer a connection for what is to be done next. Raises StoreUnavailable."""
        if self.connection is None or not self._database.trusts(self.connection):
            self.connection = await self._database.connect(self.connection)
        return self.connection

    def lost(self, error: Exception) -> StoreUnavailable:
        """Drop the connection, on which something may be under way; answer what is to be said of that."""
        connection, self.connection = self.connection, None
        if not isinstance(error, TimeoutError):
            reason = reason_of(error)
        elif connection is None or connection.is_closed():
            reason = self._database.trouble
        else:
            self._database.doubt(connection)
            reason = f"{connection.host} gave no answer in time, what was asked may be done"
        if connection is not None:
            connection.terminate()
        return StoreUnavailable(reason)

    def leave(self) -> None:
        """Forget a connection whose event loop has ended."""
        self.connection = None

    async def close(self, *, is_busy: bool = False) -> None:
        """Close the connection, also one that is lost; drop it where something is under way on it."""
        connection, self.connection = self.connection, None
        if connection is not None and is_busy:
            connection.terminate()  # to close it, the driver would cancel that, and call it done
        elif connection is not None and not connection.is_closed():
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=CONNECT_WAIT_S)


class Line:
    """
    One connection, on which one thing is done after another. It connects when it is first asked, and again after every
    loss, and serves one event loop at a time.
    """

    def __init__(self, database: Database) -> None:
        self._held = Held(database)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def once(self, work: Callable[[Connection], Awaitable[A]], wait_s: float = ANSWER_WAIT_S) -> A:
        """Do `work` alone. Raises StoreUnavailable, SchemaOutdated, and what `work` itself refuses."""
        if self._closed:  # or a connection that nobody closes would be made
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop and (self._loop is None or self._loop.is_closed()):
            self._loop, self._turn = loop, asyncio.Lock()
            self._held.leave()
        try:
            async with asyncio.timeout(wait_s), self._turn:
                connection = await self._held.ready()
                answer = await work(connection)
                connection.vouch()
                return answer
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            raise SchemaOutdated("the database has no schema of temppass yet") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            lost = self._held.lost(error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the driver says instead that it cannot roll back
                raise asyncio.CancelledError from None
            raise lost from None

    async def close(self) -> None:
        self._closed = True
        await self._held.close(is_busy=self._turn.locked())
