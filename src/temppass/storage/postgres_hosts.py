"""
Which of several hosts is the primary, found again whenever another one has become it.

All hosts are asked at once, each within a time of its own, so one that hangs costs the others nothing. Only a primary
is used, and of several the one of the highest timeline: a standby that is promoted begins the next, so a primary of a
lower one than was ever seen here is one whose time is over, whatever it says of itself. This notices a primary that
should be dead; to see to it that it is dead is for whoever promotes the other.

A primary that waits for synchronous standbys is used only once a commit has gone through: then they have all that can
be seen there, what it found in its own log after a crash included, and no answer rests on what a failover would lose.
One commit is enough until it is started anew, or has not answered in time.

Source: PostgreSQL, "Continuous Archiving: Timelines"; docs/operate.md#failover.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from temppass.storage.postgres_link import CONNECT_WAIT_S, Connection, connect
from temppass.store import StoreUnavailable, Whereabouts

#: between two attempts to reach a database that is away, in seconds: at first, and at most
BACKOFF_S = (0.05, 1.0)
#: once a primary has answered, others have this long to say that they are one too, in seconds
GRACE_S = 0.3
#: of several hosts, one that was not asked anything for as long is asked who is the primary first, in seconds
QUIET_S = 1.0
#: all hosts are asked this often while the database is used, in seconds
LOOK_S = 5.0

_WHO = """
SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
    pg_postmaster_start_time(), current_setting('synchronous_standby_names') <> ''
"""
#: where the other is not to be had
_WHO_ALONE = "SELECT pg_is_in_recovery(), NULL, pg_postmaster_start_time(), true"
# who may not see them is told that they are there, and no more
_STANDBYS = """
SELECT current_setting('synchronous_standby_names') <> '', count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')),
    count(*) FILTER (WHERE sync_state IS NULL)
FROM pg_stat_replication
"""
ATTACHED, MISSING, NOT_WAITED_FOR, UNKNOWN = "attached", "missing", "not waited for", "unknown"
#: some managed ones keep their log to themselves
_NOT_TO_BE_HAD = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InsufficientPrivilegeError,
)
#: a transaction that changes nothing, and whose commit waits for the standbys all the same
_COMMIT = "SELECT pg_logical_emit_message(true, 'temppass', '')"
_PORT = 5432


class Host(NamedTuple):
    """`name` is what it is called in messages, `place` what the driver is told beyond the URL."""

    name: str
    place: dict[str, Any]


class Answer(NamedTuple):
    """What a host is; `connection` only where it is a primary. A `temporary` no may be a yes the next time."""

    host: str
    what: str
    connection: Connection | None = None
    temporary: bool = True


#: one run of one server: its host, its timeline, when it was started
Instance = tuple[str, int | None, datetime | None]


class Hosts:
    """
    The hosts that a libpq URL names, as a Database. It serves one event loop at a time. Raises ValueError for a URL
    that cannot be read; no message holds any of it but hosts.
    """

    def __init__(self, url: str, moved: Callable[[Whereabouts], None]) -> None:
        self._url = url
        self._moved = moved
        self._hosts = hosts_of(url)
        #: what each of them was when it last answered, in words
        self._heard: dict[str, str] = {}
        #: those that gave no answer in time
        self._silent: set[str] = set()
        #: the timeline of each primary, where it says it, and the highest that was seen
        self._timelines: dict[str, int] = {}
        self._timeline = 0
        self._looked_at = self._look_due_at = -LOOK_S
        self._tasks: set[asyncio.Task[Any]] = set()
        #: which run of which server a commit went through on, and those on which one waits
        self._confirmed: Instance | None = None
        self._confirming: dict[Instance, asyncio.Task[None]] = {}
        #: where connections lead to, since when (time.monotonic), and how often that became another
        self._primary: tuple[str, int | None] | None = None
        self._since, self._moves = 0.0, 0
        self._standby = UNKNOWN

    @property
    def trouble(self) -> str:
        asked = ", ".join(f"{host.name} {self._heard.get(host.name, _SILENT)}" for host in self._hosts)
        outdated = any(timeline < self._timeline for timeline in self._timelines.values())
        return f"no primary: {asked}" + (f"; timeline {self._timeline} was seen" if outdated else "")

    @property
    def whereabouts(self) -> Whereabouts:
        host, timeline = self._primary or (None, None)
        seconds = int(time.monotonic() - self._since) if host is not None else None
        standby = MISSING if self._confirming else self._standby
        heard = {each.name: self._heard[each.name] for each in self._hosts if each.name in self._heard}
        return Whereabouts(host, timeline, seconds, self._moves, standby, heard)

    async def look_at_standbys(self, connection: Connection) -> None:
        """Keep whether a synchronous standby is attached, for whoever asks where the store is."""
        row = await connection.fetchrow(_STANDBYS)
        assert row is not None
        names, attached, hidden = row
        if not names:
            self._standby = NOT_WAITED_FOR
        else:
            self._standby = ATTACHED if attached else UNKNOWN if hidden else MISSING

    async def connect(self, present: Connection | None = None) -> Connection:
        pause_s = BACKOFF_S[0]
        while True:
            found = await self._look()
            if found is not None and not self._is_confirmed(found):
                if await self._confirm(found):
                    continue
                found = None
            if found is not None and present is not None and _is_as_good(present, found):
                found.terminate()
                return present
            if present is not None:
                present.terminate()
                present = None
            if found is not None:
                self._settle((found.host, found.timeline))
                return found
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that nodes do not come all at once
            pause_s = min(2 * pause_s, BACKOFF_S[1])

    def trusts(self, connection: Connection) -> bool:
        if connection.is_closed() or not self._is_of_today(connection):
            return False
        if len(self._hosts) == 1:
            return True
        now = time.monotonic()
        # what was begun before has been answered, or the connection would be closed
        if now - max(connection.used_at, self._looked_at) > QUIET_S or connection.host in self._silent:
            return False
        connection.used_at = now
        if now > self._look_due_at:
            self._look_due_at = now + LOOK_S
            self._keep(asyncio.create_task(self._look_around()))
        return True

    def doubt(self, connection: Connection) -> None:
        if self._confirmed == connection.instance:
            self._confirmed = None

    async def close(self) -> None:
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _settle(self, primary: tuple[str, int | None]) -> None:
        if primary == self._primary:
            return
        is_first, self._primary, self._since = self._primary is None, primary, time.monotonic()
        if not is_first:
            self._moves += 1
            self._moved(self.whereabouts)

    def _is_confirmed(self, connection: Connection) -> bool:
        return not connection.waits or connection.instance == self._confirmed

    async def _confirm(self, found: Connection) -> bool:
        """
        Wait until a commit went through where `found` leads to; answer whether it did. It is left waiting when the
        caller's time is over, and nobody begins another: each occupies a process of the server until a standby is
        there.
        """
        committing = self._confirming.get(found.instance)
        if committing is None:
            committing = self._confirming[found.instance] = asyncio.create_task(self._commit(found))
            self._keep(committing)
        else:
            found.terminate()
        self._heard[found.host] = f"{_primary(found)} that waits for its standby"
        await asyncio.wait([committing])
        return found.instance == self._confirmed

    async def _commit(self, connection: Connection) -> None:
        try:
            await connection.execute(_COMMIT)
            if not connection.is_unsafe:
                self._confirmed = connection.instance
        except _NOT_TO_BE_HAD:
            self._confirmed = connection.instance
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # it is asked anew what it is
        finally:
            del self._confirming[connection.instance]
            connection.terminate()

    async def _look_around(self) -> None:
        """Learn of another primary while there is one that answers."""
        if (found := await self._look()) is not None:
            found.terminate()

    async def _look(self) -> Connection | None:
        """
        Ask all hosts once; answer the primary. Who is silent for longer than the others is heard all the same, later.
        Raises StoreUnavailable where no host will ever be one.
        """
        asked = [asyncio.create_task(self._ask(host), name=host.name) for host in self._hosts]
        used: Connection | None = None
        try:
            pending, until = set(asked), None
            while pending:
                best = self._best(asked)
                if best is not None and all(task.get_name() in self._silent for task in pending):
                    break
                if best is not None and until is None:
                    until = time.monotonic() + GRACE_S
                wait_s = until - time.monotonic() if until is not None else None
                done, pending = await asyncio.wait(pending, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
            best = self._best(asked)
            self._silent |= {task.get_name() for task in pending}
            self._looked_at = time.monotonic()
            if best is None and not any(task.result().temporary for task in asked):
                raise StoreUnavailable(self.trouble)
            if best is not None:
                best.used_at = self._looked_at
            used = best
            return used
        finally:
            for task in asked:
                if used is None or not task.done() or task.result().connection is not used:
                    self._keep(task)
                    task.add_done_callback(_put_away)

    async def _ask(self, host: Host) -> Answer:
        """Ask one host what it is, and keep that."""
        answer = await _ask(self._url, host)
        self._heard[host.name] = answer.what
        if answer.what == _SILENT:
            self._silent.add(host.name)
        else:
            self._silent.discard(host.name)
        self._timelines.pop(host.name, None)
        if answer.connection is not None and answer.connection.timeline is not None:
            self._timelines[host.name] = answer.connection.timeline
            self._timeline = max(self._timeline, answer.connection.timeline)
        return answer

    def _best(self, asked: Iterable[asyncio.Task[Answer]]) -> Connection | None:
        primaries = [task.result().connection for task in asked if task.done() and not task.cancelled()]
        current = [each for each in primaries if each is not None and self._is_of_today(each)]
        return max(current, key=lambda each: each.timeline or 0, default=None)

    def _is_of_today(self, connection: Connection) -> bool:
        """Whether no primary that came after this one was seen. One that cannot say its timeline is believed."""
        return connection.timeline is None or connection.timeline >= self._timeline

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_SILENT = "gives no answer"


async def _ask(url: str, host: Host) -> Answer:
    try:
        async with asyncio.timeout(CONNECT_WAIT_S):
            connection = await connect(url, **host.place)
            try:
                in_recovery, timeline, started_at, waits = await _who(connection)
            except BaseException:
                connection.terminate()
                raise
    except TimeoutError:
        return Answer(host.name, _SILENT)
    except ConnectionRefusedError:
        return Answer(host.name, "refuses connections")
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
        return Answer(host.name, f"cannot be reached ({error})")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return Answer(host.name, f"refuses us ({error})", temporary=False)
    if in_recovery:
        connection.terminate()
        return Answer(host.name, "is a standby")
    connection.host, connection.timeline = host.name, int(timeline, 16) if timeline is not None else None
    connection.started_at, connection.waits = started_at, waits
    return Answer(host.name, _primary(connection), connection)


def _primary(connection: Connection) -> str:
    return f"is a primary of timeline {connection.timeline or UNKNOWN}"


async def _who(connection: Connection) -> asyncpg.Record:
    try:
        row = await connection.fetchrow(_WHO)
    except _NOT_TO_BE_HAD:
        row = await connection.fetchrow(_WHO_ALONE)
    assert row is not None
    return row


def _is_as_good(present: Connection, found: Connection) -> bool:
    return not present.is_closed() and present.instance == found.instance


def _put_away(task: asyncio.Task[Answer]) -> None:
    if not task.cancelled() and (connection := task.result().connection) is not None:
        connection.terminate()


def hosts_of(url: str) -> list[Host]:
    """
    Answer the hosts of a URL, as the driver reads it. Where it names one at most, that is left to the driver. Raises
    ValueError.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    ports = query["port"].split(",") if query.get("port") else []
    named = parts.netloc.partition("@")[2] if "@" in parts.netloc else parts.netloc
    if named:
        places, ports = [_place(each, unquoted=True) for each in named.split(",")], []
    else:
        places = [_place(each) for each in query.get("host", "").split(",")]
    if len(places) == 1 and len(ports) <= 1:
        host, port = places[0]
        _number(text := port or "".join(ports) or str(_PORT), 1)
        return [Host(_name(host or os.environ.get("PGHOST", "localhost"), text), {})]
    if len(ports) not in {0, 1, len(places)}:
        raise ValueError(f"it names {len(places)} hosts and {len(ports)} ports")
    hosts = []
    for n, (host, port) in enumerate(places):
        if not host:
            raise ValueError(f"its host {n + 1} has no name")
        text = (ports[n] if len(ports) > 1 else ports[0]) if ports else port or os.environ.get("PGPORT", str(_PORT))
        place = {"host": host, "port": _number(text, n + 1), "target_session_attrs": "any"}
        hosts.append(Host(_name(host, text), place))
    return hosts


def _number(port: str, host: int) -> int:
    if not port.isdecimal():
        raise ValueError(f"the port of its host {host} is not a number")
    return int(port)


def _place(text: str, *, unquoted: bool = False) -> tuple[str, str]:
    """Tell host and port apart; "" where there is none."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":") if not text.startswith("/") else (text, "", "")
    return (unquote(host), unquote(port)) if unquoted else (host, port)


def _name(host: str, port: str) -> str:
    return host if host.startswith("/") else f"{host}:{port}"
