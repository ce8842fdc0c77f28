"""
Another host becomes the primary, and is found; one whose time is over is not used, whatever it says.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from tests.replication import Name, Node, pair, url_of

from temppass.core.model import Count
from temppass.storage import postgres_hosts
from temppass.storage.postgres import PostgresStore
from temppass.store import StoreUnavailable, Whereabouts

A = TypeVar("A")

pytestmark = pytest.mark.process
#: longer than any test
WAIT_S = 60
SEEN = Count("production", 0, "REF", "TempPassREF", "seen", 1)


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """A primary with the present schema, and its synchronous standby."""
    with pair() as (primary, standby):
        using(primary, work=PostgresStore.migrate)
        yield primary, standby


def using(*nodes: Node, work: Callable[[PostgresStore], Coroutine[Any, Any, A]]) -> A:
    async def use() -> A:
        store = PostgresStore(url_of(*nodes))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(use())


async def seen(store: PostgresStore) -> list[int]:
    return [count.n for count in await store.counts("production", 0, 1)]


def test_a_promoted_standby_is_found_behind_a_host_that_hangs(nodes: tuple[Node, Node]) -> None:
    """By one that was connected and by one that is new; when the other is back, no connection uses that one."""
    old, new = nodes

    async def play(store: PostgresStore) -> list[list[int]]:
        await store.count([SEEN])
        await seen(store)  # on the connection that counts
        with old.hanging():
            await asyncio.to_thread(new.promote)
            with pytest.raises(StoreUnavailable):
                await seen(store)
            behind = [await seen(store), await asyncio.to_thread(using, old, new, work=seen)]
        await store.count([SEEN])
        return [*behind, await seen(store), await asyncio.to_thread(using, old, new, work=seen)]

    assert using(old, new, work=play) == [[1], [1], [2], [2]]


def test_another_primary_is_noticed_while_the_old_one_answers(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first use after a rest, and by who never rests: nobody fenced it."""
    old, new = nodes

    async def play() -> list[str | None]:
        rested, busy = PostgresStore(url_of(old, new)), PostgresStore(url_of(old, new))
        await rested.ping()
        monkeypatch.setattr(postgres_hosts, "LOOK_S", 0.1)
        await busy.ping()
        primaries = [rested.whereabouts.primary, busy.whereabouts.primary]
        await asyncio.to_thread(new.promote)
        monkeypatch.setattr(postgres_hosts, "QUIET_S", 0)
        await rested.ping()
        monkeypatch.setattr(postgres_hosts, "QUIET_S", WAIT_S)
        while not busy.whereabouts.moves:
            await busy.ping()
        primaries += [rested.whereabouts.primary, busy.whereabouts.primary]
        await rested.close()
        await busy.close()
        return primaries

    assert asyncio.run(play()) == [old.place, old.place, new.place, new.place]


def test_whoever_is_connected_says_where_the_store_is_and_when_it_moved(nodes: tuple[Node, Node]) -> None:
    old, new = nodes
    told: list[Whereabouts] = []

    async def play() -> Iterator[Whereabouts]:
        store = PostgresStore(url_of(old, new), told.append)
        await store.ping()
        before = store.whereabouts
        await asyncio.to_thread(old.kill)
        await asyncio.to_thread(new.promote)
        with contextlib.suppress(StoreUnavailable):
            await store.ping()
        await store.ping()
        after = store.whereabouts
        await store.close()
        return (replace(each, seconds=0) for each in (before, *told, after))

    was = {old.place: "is a primary of timeline 1", new.place: "is a standby"}
    now = {old.place: "refuses connections", new.place: "is a primary of timeline 2"}
    assert [*asyncio.run(play())] == [
        Whereabouts(old.place, 1, 0, 0, "attached", was),
        Whereabouts(new.place, 2, 0, 1, "attached", now),
        Whereabouts(new.place, 2, 0, 1, "not waited for", now),
    ]


def test_a_primary_whose_time_is_over_is_not_used_behind_one_name_either(nodes: tuple[Node, Node]) -> None:
    old, new = nodes
    old.kill()
    new.promote()
    old.start()

    async def play() -> None:
        name = Name(new)
        async with name as url:
            store = PostgresStore(url)
            await store.ping()
            name.means = old
            name.cut()
            with contextlib.suppress(StoreUnavailable):  # that the connection is lost
                await store.ping()
            with pytest.raises(
                StoreUnavailable, match=r"^no primary: .* is a primary of timeline 1; timeline 2 was seen$"
            ):
                await store.ping()
            name.means = new
            await store.ping()
            await store.close()

    asyncio.run(play())
