"""
A commit waits for the synchronous standby, and whoever asked for it does not wait as long: nobody sees it before the
standby has it, because nothing here cancels it. On a real pair, whose primary logs every wait that is cancelled.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
from tests.replication import WAIT, Node, pair

from temppass.core.catalogue import EMPTY
from temppass.core.model import Changes, Count, Found, Ledger, Subject, SubjectKind
from temppass.core.world import EnvironmentRecord
from temppass.storage.postgres import PostgresStore
from temppass.storage.postgres_link import connect
from temppass.store import Keys, StoreUnavailable

pytestmark = pytest.mark.process
#: rows of each table that the deeds below write to
_SEEN = """
SELECT (SELECT count(*) FROM temppass.counter) + (SELECT count(*) FROM temppass.ledgers)
    + (SELECT count(*) FROM temppass.environment)
"""
_INSERT = "INSERT INTO temppass.counter VALUES ('production', 0, 'REF', 'TempPassREF', 'seen', 1)"
_CANCEL = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
DEVICE = Subject(SubjectKind.DEVICE, b"d" * 16)
KEYS = Keys("staging", 0, ("REF", "TempPassREF"), (DEVICE,))
Deed = Callable[[PostgresStore], Awaitable[object]]
End = Callable[[PostgresStore, Deed, Node], Awaitable[None]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Node, Node]]:
    with pair() as (primary, standby):
        asyncio.run(_migrate(primary.url))
        yield primary, standby


@pytest.fixture
def away() -> Iterator[contextlib.ExitStack]:
    """What is entered here is left again when the test has ended."""
    with contextlib.ExitStack() as stack:
        yield stack


@contextlib.contextmanager
def standby_away(primary: Node, standby: Node) -> Iterator[None]:
    """The primary holds nothing, and its standby is away; in the end nothing waits for that any more."""
    primary.ask("TRUNCATE temppass.counter, temppass.ledgers, temppass.environment")
    with standby.away_from(primary):
        yield


async def _migrate(url: str) -> None:
    store = PostgresStore(url)
    await store.migrate()
    await permit(store)  # so that the integration is there
    await store.close()


async def count(store: PostgresStore) -> None:
    """One statement, which is a transaction."""
    await store.count([Count("production", 0, "REF", "TempPassREF", "seen", 1)])


async def amend(store: PostgresStore) -> None:
    """A transaction of several statements."""
    await store.amend("production", lambda _old: (None, EnvironmentRecord(1, EMPTY, {}, {}, b""), None))


async def permit(store: PostgresStore) -> None:
    """One statement of a batch."""

    def step(_found: Found) -> tuple[None, Changes]:
        return None, Changes(ledgers=((DEVICE, Ledger(0, 0, 1)),))

    await store.transact(KEYS, step)


async def look(store: PostgresStore) -> list[object]:
    """On both connections."""
    ledger = await store.transact(KEYS, lambda found: (found.ledgers, Changes()))
    return [*ledger, len(await store.counts("production", 0, 1))]


DEEDS = (count, amend, permit)


async def too_late(store: PostgresStore, deed: Deed, _primary: Node) -> None:
    with pytest.raises(StoreUnavailable):
        await deed(store)


async def nobody_asks_any_more(store: PostgresStore, deed: Deed, primary: Node) -> None:
    asking = asyncio.ensure_future(deed(store))
    await until_all_wait(primary)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking


async def closed(store: PostgresStore, deed: Deed, primary: Node) -> None:
    asking = asyncio.ensure_future(deed(store))
    await until_all_wait(primary)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await asking


async def left(store: PostgresStore, deed: Deed, primary: Node) -> None:
    """As the event loop ends, which cancels whatever is under way."""
    _left.append(asyncio.ensure_future(deed(store)))
    await until_all_wait(primary)


_left: list[asyncio.Future[object]] = []


async def until_all_wait(primary: Node) -> None:
    while await asyncio.to_thread(primary.ask, WAIT) != len(DEEDS):
        continue


async def cancelled_by_an_operator(store: PostgresStore, deed: Deed, primary: Node) -> None:
    """It is seen then, and whoever asked for it is not told that it is done."""
    asking = asyncio.ensure_future(deed(store))
    while not asking.done():
        await asyncio.to_thread(primary.ask, _CANCEL)
    with pytest.raises(StoreUnavailable, match="cancelled"):
        await asking


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        (too_late, 0),
        (nobody_asks_any_more, 0),
        (closed, 0),
        (left, 0),
        (cancelled_by_an_operator, len(DEEDS)),
    ],
)
def test_what_waits_for_the_standby_is_not_seen_before(
    nodes: tuple[Node, Node], away: contextlib.ExitStack, end: End, seen: int
) -> None:
    primary = nodes[0]

    async def play() -> None:
        tried = [(PostgresStore(primary.url), deed) for deed in DEEDS]
        for store, deed in tried:
            await deed(store)  # so that it is connected
        await asyncio.to_thread(away.enter_context, standby_away(*nodes))
        await asyncio.gather(*(end(store, deed, primary) for store, deed in tried))
        for store, _ in tried if end is not left else []:
            await store.close()

    before = primary.waits_cancelled()
    asyncio.run(play())
    seen_before = primary.ask(_SEEN)
    away.close()
    assert (seen_before, primary.ask(_SEEN), primary.waits_cancelled() - before) == (seen, len(DEEDS), seen)


def test_what_a_primary_finds_in_its_log_is_not_seen_before_the_standby_has_it(
    nodes: tuple[Node, Node], away: contextlib.ExitStack
) -> None:
    """It crashed, and nobody else was promoted. Whoever asks leaves one commit waiting, however often they ask."""
    primary = nodes[0]

    async def play() -> tuple[object, list[object]]:
        store = PostgresStore(primary.url)
        await look(store)
        await asyncio.to_thread(away.enter_context, standby_away(*nodes))
        await too_late(store, count, primary)
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(primary.start)
        await asyncio.gather(*(too_late(store, deed, primary) for deed in (look, look, count, permit)))
        waiting = await asyncio.to_thread(primary.ask, WAIT)
        await asyncio.to_thread(away.close)
        found = await look(store)
        await store.close()
        return waiting, found

    assert asyncio.run(play()) == (1, [None, 1])


@pytest.mark.parametrize("statements", [[_INSERT], ["BEGIN", _INSERT, "COMMIT"]])
def test_a_statement_of_which_the_commit_waits_is_not_ended_by_its_time_limit(
    nodes: tuple[Node, Node], away: contextlib.ExitStack, statements: list[str]
) -> None:
    """As the server sees it: so our limit on statements may stay."""
    primary = nodes[0]

    async def play() -> None:
        connection = await connect(primary.url)
        await connection.execute("SET statement_timeout = 50")
        for statement in statements[:-1]:
            await connection.execute(statement)
        waiting = asyncio.create_task(connection.execute(statements[-1]))
        while not await asyncio.to_thread(primary.ask, f"{WAIT} AND now() - query_start > '500 ms'"):
            assert not waiting.done()
        connection.terminate()
        with pytest.raises(asyncpg.PostgresConnectionError):
            await waiting

    away.enter_context(standby_away(*nodes))
    before = primary.waits_cancelled()
    asyncio.run(play())
    seen_before = primary.ask(_SEEN)
    away.close()
    assert (seen_before, primary.ask(_SEEN), primary.waits_cancelled() - before) == (0, 1, 0)
