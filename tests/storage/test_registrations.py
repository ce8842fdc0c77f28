"""
Bounds on registrations, on every adapter: whoever has a statement makes so many clients in a minute, so many in all,
and keeps no other application out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest
from msgspec.structs import replace

from temppass.core.act import ByShell
from temppass.core.catalogue import Application, Catalogue
from temppass.core.oauth import RegistrationRequest, TokenRequest
from temppass.core.refusal import InvalidStatement, TooManyRegistrations
from temppass.core.secret import Secret
from temppass.service import Service, registrations, serve_from
from temppass.service.registrations import COUNT_EVERY_MS, MINUTE_MS, Near, Share
from temppass.service.statements import brood_of
from temppass.storage.memory import MemoryStore
from temppass.store import StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.conftest import Place

    from temppass.core.model import Changes, Found
    from temppass.store import Keys, Store

T0, HERE, DAY = 1_767_261_600_000, "release-production", 86_400_000
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
A = TypeVar("A")
#: in a minute, and in all
FEW, ALL = 5, 12
MANY = Application("many", "Many", None, ("api:client:v2",))
SMALL = replace(MANY, id="small", registrations_per_minute=FEW, clients_max=ALL)


class Node:
    """A process that serves."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.near: list[Near] = []
        self.rooms: Service = serve_from(store, SECRET, clock=clock, warn=self.near.append, pause_s=0)

    async def open(self, small: Application = SMALL) -> str:
        """Answer a statement of the application that may do little."""
        await self.rooms.catalogues.apply(HERE, Catalogue(applications={"many": MANY, "small": small}), "", ANN)
        return await self.mint("small")

    async def mint(self, application_id: str) -> str:
        return (await self.rooms.statements.mint(HERE, application_id, ANN)).statement

    async def register(self, statement: str) -> bool:
        try:
            await self.rooms.credentials.register(HERE, RegistrationRequest(statement, None))
        except TooManyRegistrations:
            return False
        return True

    async def flood(self, statement: str, times: int = 50) -> int:
        """Register many at once; answer how many were let in."""
        return sum(await asyncio.gather(*(self.register(statement) for _ in range(times))))

    async def upkeep(self, wait_ms: int = 0) -> None:
        self.clock.advance(wait_ms)
        await self.rooms.upkeep.registrations.look()
        await self.rooms.upkeep.registrations.recount()

    async def rows(self) -> int:
        world = await self.rooms.world(HERE)
        (count,) = await self.store.count_clients(HERE, [brood_of(world, "small", 0)], 999)
        return count


@pytest.mark.parametrize("looks", [False, True])
def test_one_process_keeps_to_both_bounds_and_lets_others_register(place: Place, looks: bool) -> None:  # noqa: FBT001 - a case
    """Whether it looks at what others do or cannot."""

    async def work(store: Store) -> tuple[list[int], int, int]:
        node = Node(store, Clock(T0))
        statement, other, let_in = await node.open(), await node.mint("many"), []
        for wait in (0, MINUTE_MS - 1, 1, MINUTE_MS, MINUTE_MS):
            node.clock.advance(wait)
            if looks:
                await node.upkeep()
            let_in.append(await node.flood(statement))
        return let_in, await node.rows(), await node.flood(other)

    assert place.use(work) == ([5, 0, 5, 2, 0], ALL, 50)


def test_of_two_processes_each_lets_in_what_was_left_when_it_looked(place: Place) -> None:
    """Twice the minute's bound where both begin at one moment, and then nobody until that minute has passed."""

    async def work(store: Store) -> tuple[list[int], int]:
        async with place.open() as beside:
            clock = Clock(T0)
            nodes = [Node(store, clock), Node(beside, clock)]
            statement, let_in = await nodes[0].open(), []
            for wait in (0, 5_000, MINUTE_MS - 5_000, 5_000):
                clock.advance(wait)
                for node in nodes:
                    await node.upkeep()
                let_in.append(sum(await asyncio.gather(*(node.flood(statement) for node in nodes))))
            return let_in, await nodes[0].rows()

    let_in, rows = place.use(work)
    assert (let_in, rows) == ([2 * FEW, 0, 2 * (ALL - 2 * FEW), 0], ALL + ALL - 2 * FEW)


def test_what_a_process_finds_when_it_begins_counts(place: Place) -> None:
    async def work(store: Store) -> tuple[list[int], int]:
        clock = Clock(T0)
        first = Node(store, clock)
        statement, let_in = await first.open(), []
        for wait in (0, MINUTE_MS, 2 * MINUTE_MS):
            clock.advance(wait)
            node = Node(store, clock)
            await node.upkeep()
            let_in.append(await node.flood(statement))
        return let_in, await first.rows()

    assert place.use(work) == ([5, 5, 2], ALL)


def test_all_are_counted_page_by_page_while_others_come(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "PAGE", 2)

    async def work(store: Store) -> list[int]:
        clock, let_in = Clock(T0), []
        node = Node(store, clock)
        statement = await node.open(replace(SMALL, registrations_per_minute=60))
        await node.upkeep()
        for number in range(9):
            clock.advance(MINUTE_MS // 2)
            await node.flood(statement, 1)
            if number == 4:
                clock.advance(COUNT_EVERY_MS)
            await node.upkeep(5_000)
        let_in.append(await node.flood(statement))
        return [*let_in, await node.rows()]

    assert place.use(work) == [ALL - 9, ALL]


def test_who_goes_makes_room_at_the_next_count(place: Place) -> None:
    """At once where it was what a stolen statement brought; within an hour where it was never used."""

    async def work(store: Store) -> list[int]:
        node, let_in = Node(store, Clock(T0)), []
        stolen = await node.open(replace(SMALL, registrations_per_minute=60))
        await node.upkeep()
        let_in.append(await node.flood(stolen))
        await node.upkeep(2 * MINUTE_MS)
        (shown,) = await node.rooms.statements.of(HERE, "small")
        await node.rooms.statements.revoke(HERE, "small", ANN, shown.id)
        good = await node.mint("small")
        let_in.append(await node.flood(good))
        await node.upkeep()
        let_in.append(await node.flood(good))
        node.clock.advance(DAY + 1)
        await node.rooms.upkeep.clients.sweep()
        await node.upkeep()
        let_in.append(await node.flood(good))
        return let_in

    assert place.use(work) == [ALL, 0, ALL, ALL]


def test_an_application_that_begins_afresh_begins_to_count(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        node = Node(store, Clock(T0))
        let_in = [await node.flood(await node.open())]
        await node.rooms.statements.revoke(HERE, "small", ANN)
        return [*let_in, await node.flood(await node.mint("small"))]

    assert place.use(work) == [FEW, FEW]


def test_who_is_not_registered_after_all_takes_no_place() -> None:
    class Away(MemoryStore):
        away = False

        async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
            if self.away:
                raise StoreUnavailable
            return await super().transact(keys, step)

    async def work() -> list[int]:
        store = Away()
        node = Node(store, Clock(T0))
        statement = await node.open()
        await node.flood(statement, 1)
        for store.away, text, error in ((False, "no statement", InvalidStatement), (True, statement, StoreUnavailable)):
            for _ in range(FEW):
                with pytest.raises(error):
                    await node.register(text)
        store.away = False
        return [await node.flood(statement)]

    assert asyncio.run(work()) == [FEW - 1]


def test_it_is_said_once_that_a_bound_is_near_and_shown_how_near(place: Place) -> None:
    async def work(store: Store) -> tuple[list[tuple[str, float]], list[Share]]:
        node = Node(store, Clock(T0))
        statement = await node.open()
        for wait, times in ((0, 3), (5_000, 1), (5_000, 0), (MINUTE_MS, 1), (5_000, 5), (MINUTE_MS, 1), (5_000, 0)):
            node.clock.advance(wait)
            await node.flood(statement, times)
            await node.upkeep()
        return [(each.bound, each.used) for each in node.near], sorted(node.rooms.upkeep.registrations.shares())

    per_minute = "registrations_per_minute"
    assert place.use(work) == (
        [(per_minute, 0.8), (per_minute, 1.0), ("clients_max", 10 / 12)],
        [Share(HERE, "many", 0, 0), Share(HERE, "small", 1 / FEW, 10 / 12)],
    )


def test_what_stands_in_a_minute_is_what_a_token_needs_too(place: Place) -> None:
    """A flood of registrations keeps nobody from getting a token who is registered."""

    async def work(store: Store) -> int:
        node = Node(store, Clock(T0))
        statement = await node.open()
        made = await node.rooms.credentials.register(HERE, RegistrationRequest(statement, None))
        await node.flood(statement)
        asked = TokenRequest(made.client_id, made.client_secret, frozenset())
        return (await node.rooms.credentials.issue_token(HERE, asked)).lifetime_ms

    assert place.use(work) == 21_600_000
