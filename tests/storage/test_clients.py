"""
Clients that live and end, on every adapter: when one was used last is kept without a write for each token, and those
that nobody has any more go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import ByShell
from temppass.core.catalogue import Application, Catalogue, Channel
from temppass.core.keys import CLOCK_MS
from temppass.core.model import GRAIN_MS, NEVER, OLDER, UNKNOWN, Changes, Client, Registered, Use
from temppass.core.oauth import RegistrationRequest, TokenRequest, last_use
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_V2
from temppass.service import Service, clients, serve_from, uses
from temppass.service.context import Policy
from temppass.storage.memory import MemoryStore
from temppass.store import Arrivals, Brood, Faded, Fading, Keys, Outdated, StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.storage.conftest import Place

    from temppass.store import Store

DAY = 86_400_000
#: a full day, and the moment of that day on which everything begins
TODAY = 1_767_225_600_000
T0, HERE = TODAY + 36_000_000, "release-production"
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = Catalogue(
    channels={"REF": Channel("REF", "acme", "Reference")},
    applications={"one": Application("one", "One", None, (SCOPE_V2,)), "two": Application("two", "Two", None, ())},
)


class Node:
    """A server, and what its clients do."""

    def __init__(self, store: Store, clock: Clock, idle_days: int = 400) -> None:
        self.store, self.clock = store, clock
        self.rooms: Service = serve_from(store, SECRET, Policy(client_idle_ms=idle_days * DAY), clock, pause_s=0)

    async def open(self) -> Node:
        await self.rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
        return self

    async def mint(self, application_id: str = "one", ends_at: int | None = None) -> tuple[str, str]:
        minted = await self.rooms.statements.mint(HERE, application_id, ANN, ends_at)
        return minted.id, minted.statement

    async def register(self, statement: str) -> TokenRequest:
        made = await self.rooms.credentials.register(HERE, RegistrationRequest(statement, None))
        return TokenRequest(made.client_id, made.client_secret, frozenset())

    async def token(self, asked: TokenRequest) -> None:
        await self.rooms.credentials.issue_token(HERE, asked)

    async def sweep(self) -> dict[str, int]:
        await self.rooms.upkeep.count()
        await self.rooms.upkeep.clients.sweep()
        return {why: count for why, count in self.rooms.upkeep.clients.removed.items() if count}

    async def used_at(self, statement_id: str) -> list[int]:
        brood = Brood("one", (await self.rooms.world(HERE)).epoch("one"), (statement_id,))
        return [each.used_at for each in await self.store.clients(HERE, brood, 9)]


async def keep(store: Store, *kept: Client, version: int = 0) -> None:
    for each in kept:
        changes = Changes(client=each)
        await store.transact(Keys(HERE, version), lambda _found, changes=changes: (None, changes))  # type: ignore[misc]


def client(id_: str, used_at: int, issued_at: int = T0, statement_id: str = "s", epoch: int = 1) -> Client:
    return Client(id_, "one", epoch, b"h", issued_at, statement_id, used_at)


async def left(store: Store, *statement_ids: str, epoch: int = 1) -> dict[str, int]:
    found = await store.clients(HERE, Brood("one", epoch, statement_ids or ("s", OLDER)), 999)
    return {each.id: each.used_at for each in found}


# --- when they were used last


@pytest.mark.parametrize(
    ("used_at", "now", "kept"),
    [
        (NEVER, T0, T0),
        (UNKNOWN, T0 + GRAIN_MS - 1, T0),
        (T0, T0 + GRAIN_MS - 1, None),
        (T0, T0 + GRAIN_MS, T0 + GRAIN_MS),
        (T0, T0 + 5 * GRAIN_MS - 1, T0 + 4 * GRAIN_MS),
        (T0 + GRAIN_MS, T0, None),
        (T0, T0 - 1, None),
    ],
)
def test_a_last_use_is_kept_to_thirty_days_from_the_registration(used_at: int, now: int, kept: int | None) -> None:
    assert last_use(client("c", used_at), now) == kept


def test_a_later_use_is_never_overwritten_and_who_has_gone_stays_away(place: Place) -> None:
    async def work(store: Store) -> dict[str, int]:
        await keep(store, client("new", NEVER), client("later", T0 + 2), client("unknown", UNKNOWN))
        await store.use([Use(HERE, id_, T0 + 1) for id_ in ("unknown", "new", "later", "gone")], [])
        await store.use([Use("another", "new", T0 + 9)], [Use(HERE, "gone", T0)])
        await store.use([], [])
        return await left(store)

    assert place.use(work) == {"new": T0 + 1, "later": T0 + 2, "unknown": T0 + 1}


def test_processes_that_tell_of_the_same_clients_at_once_do_not_wait_in_a_circle(place: Place) -> None:
    ids = [f"{number:04}" for number in range(200)]

    async def work(store: Store) -> set[int]:
        await keep(store, *(client(id_, NEVER) for id_ in ids))
        async with place.open() as other:
            for at in range(T0, T0 + 10):
                there, back = ([Use(HERE, id_, at) for id_ in some] for some in (ids, ids[::-1]))
                await asyncio.gather(store.use(there, []), other.use(back, []))
        return {*(await left(store)).values()}

    assert place.use(work) == {T0 + 9}


def test_a_token_writes_nothing_and_its_client_is_shown_as_used_after_upkeep(place: Place) -> None:
    async def work(store: Store) -> list[tuple[list[int], int]]:
        node = await Node(store, Clock(T0)).open()
        statement_id, statement = await node.mint()
        asked = await node.register(statement)
        told: list[tuple[list[int], int]] = []
        for wait in (0, 0, 30 * DAY - 1, 1, 59 * DAY):
            node.clock.advance(wait)
            await node.token(asked)
            if told:  # the first time nothing was brought yet
                await node.rooms.upkeep.count()
            (shown,) = await node.rooms.statements.of(HERE, "one")
            told.append((await node.used_at(statement_id), shown.used_at - TODAY))
        return told

    assert place.use(work) == [
        ([NEVER], NEVER - TODAY),
        ([T0], 0),
        ([T0], 30 * DAY),
        ([T0 + 30 * DAY], 30 * DAY),
        ([T0 + 60 * DAY], 89 * DAY),
    ]


class Told(MemoryStore):
    """Counts what is brought; away as long as it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[tuple[int, int]] = []
        self.away = False

    async def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        if self.away:
            raise StoreUnavailable
        self.brought.append((len(clients), len(statements)))
        await super().use(clients, statements)


def test_a_client_is_written_once_in_thirty_days_and_its_statement_once_a_day() -> None:
    async def work() -> list[tuple[int, int]]:
        store = Told()
        node = await Node(store, Clock(T0)).open()
        asked = await node.register((await node.mint())[1])
        for wait in (0, 0, DAY - 36_000_001, 36_000_001, 28 * DAY, DAY):
            node.clock.advance(wait)
            await node.token(asked)
            await node.rooms.upkeep.count()
        return store.brought

    assert asyncio.run(work()) == [(1, 1), (0, 1), (0, 1), (1, 1)]


def test_what_cannot_be_brought_waits_and_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is left out is noted by the next token."""
    monkeypatch.setattr(uses, "WAITING_MAX", 2)
    monkeypatch.setattr(uses, "CHUNK", 1)

    async def work() -> list[int]:
        store = Told()
        store.away = True
        node = await Node(store, Clock(T0)).open()
        statement_id, statement = await node.mint()
        asked, told = [await node.register(statement) for _ in range(3)], []
        for store.away in (True, False, False):
            for each in asked:
                await node.token(each)
            try:
                await node.rooms.upkeep.count()
            except StoreUnavailable:
                assert store.away
            told.append((await node.used_at(statement_id)).count(T0))
        return told

    assert asyncio.run(work()) == [0, 2, 3]


# --- who goes


LIVING = Fading((Brood("one", 1, ("s", OLDER)), Brood("two", 1, ("t",))), T0 + 10, T0 + 100, T0 + GRAIN_MS + 1)
CASES = (
    ("a", client("a", NEVER, T0 + 9), "unused"),
    ("b", client("b", NEVER, T0 + 10), NEVER),
    ("c", client("c", T0 + 99, T0 + 9), "idle"),
    ("d", client("d", T0 + 100, T0 + 9), T0 + 100),
    ("e", client("e", T0 + 100, statement_id="revoked"), "ended"),
    ("f", client("f", T0 + 100, statement_id="t"), "ended"),
    ("g", client("g", T0 + 100, epoch=0), "ended"),
    ("h", client("h", UNKNOWN, 0), (T0 + GRAIN_MS + 1) // GRAIN_MS * GRAIN_MS),
    ("i", client("i", UNKNOWN, T0), T0 + GRAIN_MS),
    ("j", client("j", UNKNOWN, T0 + GRAIN_MS + 9), T0 + GRAIN_MS + 9),
    ("k", client("k", UNKNOWN, statement_id="revoked"), "ended"),
    ("l", client("l", T0 + 100, statement_id=OLDER), T0 + 100),
)


@pytest.mark.parametrize("limit", [1, 5, 12, 99])
def test_idle_unused_and_ended_clients_go_and_of_unknown_use_is_kept_from_now_on(place: Place, limit: int) -> None:
    async def work(store: Store) -> tuple[dict[str, int], list[int]]:
        await keep(store, *(each for _, each, _ in CASES))
        went, last = [0, 0, 0], ""
        for _ in range(99):
            *some, reached = await store.sweep_clients(HERE, 0, LIVING, last, limit)
            went = [one + other for one, other in zip(went, some, strict=True)]
            if reached is None:
                break
            last = reached
        for _, each, what in CASES:  # in whatever epoch
            present = each.id in await left(store, each.statement_id, epoch=each.epoch)
            assert present == (not isinstance(what, str)), each
        return await left(store), went

    stays = {id_: what for id_, _, what in CASES if not isinstance(what, str)}
    assert place.use(work) == (stays, [4, 1, 1])


def test_where_nobody_may_speak_all_clients_go_of_that_environment_alone(place: Place) -> None:
    async def work(store: Store) -> tuple[Faded, Faded]:
        await keep(store, client("a", T0), client("b", T0))
        nobody = replace(LIVING, broods=())
        other = await store.sweep_clients("another", 0, nobody, "", 9)
        return other, await store.sweep_clients(HERE, 0, nobody, "", 9)

    assert place.use(work) == (Faded(0, 0, 0, None), Faded(2, 0, 0, None))


def test_nobody_goes_by_what_was_known_of_another_version(place: Place) -> None:
    """A statement that was minted meanwhile has clients already, which nobody knows here."""

    async def work(store: Store) -> dict[str, int]:
        node = await Node(store, Clock(T0)).open()
        known = await node.rooms.world(HERE)
        statement_id, statement = await node.mint()
        await node.register(statement)
        with pytest.raises(Outdated):
            await store.sweep_clients(HERE, known.version, Fading((), T0, T0, T0), "", 9)
        return await left(store, statement_id, epoch=known.epoch("one"))

    assert len(place.use(work)) == 1


def test_clients_go_after_their_time_and_never_too_early(place: Place) -> None:
    async def work(store: Store) -> list[dict[str, int]]:
        node = await Node(store, Clock(T0), idle_days=60).open()
        _, statement = await node.mint()
        await node.register(statement)
        used = await node.register(statement)
        await node.token(used)
        await node.rooms.upkeep.count()
        told = []
        # it asks on its last day of the first grain, so that it may go 60 days after that
        for wait in (DAY, 1, 29 * DAY - 2, 60 * DAY, 1, DAY):
            node.clock.advance(wait)
            told.append(await node.sweep())
        return told

    unused = {"unused": 1}
    assert place.use(work) == [{}, {}, unused, unused, unused, {**unused, "idle": 1}]


def test_what_came_from_something_that_was_revoked_goes_at_once(place: Place) -> None:
    """Of one statement, of an application, of one that left; and not what came from another."""

    async def work(store: Store) -> tuple[list[dict[str, int]], list[int]]:
        node, told = await Node(store, Clock(T0)).open(), []
        minted = [await node.mint() for _ in range(3)]
        minted.append(await node.mint(ends_at=T0 + 1000))
        for _, statement in minted:
            await node.token(await node.register(statement))
        told.append(await node.sweep())
        await node.rooms.statements.revoke(HERE, "one", ANN, minted[0][0])
        told.append(await node.sweep())
        node.clock.advance(1000 + CLOCK_MS)
        told.append(await node.sweep())
        counts = [len(await node.used_at(id_)) for id_, _ in minted]
        await node.rooms.catalogues.apply(HERE, replace(CATALOGUE, applications={}), "", ANN)
        told.append(await node.sweep())
        return told, counts

    assert place.use(work) == ([{}, {"ended": 1}, {"ended": 2}, {"ended": 4}], [0, 1, 1, 0])


def test_an_outage_does_not_make_a_sweep_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "CHUNK", 2)
    after: list[str] = []

    class Failing(MemoryStore):
        async def sweep_clients(self, environment: str, version: int, fading: Fading, last: str, limit: int) -> Faded:
            if environment:  # the house has no clients
                after.append(last)
                if len(after) == 2:
                    raise StoreUnavailable
            return await super().sweep_clients(environment, version, fading, last, limit)

    async def work() -> list[str]:
        store = Failing()
        node = await Node(store, Clock(T0)).open()
        await keep(store, *(client(id_, T0, epoch=0) for id_ in "abcd"), version=1)
        with pytest.raises(StoreUnavailable):
            await node.rooms.upkeep.clients.sweep()
        await node.rooms.upkeep.clients.sweep()
        await node.rooms.upkeep.clients.sweep()
        return after

    assert asyncio.run(work()) == ["", "b", "b", "d"]


def test_statements_of_what_left_go_off_the_list_on_all_nodes(place: Place) -> None:
    async def work(store: Store) -> tuple[list[int], int]:
        nodes = [await Node(store, Clock(T0)).open(), Node(store, Clock(T0))]
        stays, _ = await nodes[0].mint("two")
        await nodes[0].mint()
        await nodes[0].rooms.catalogues.apply(
            HERE, replace(CATALOGUE, applications={"two": CATALOGUE.applications["two"]}), "", ANN
        )
        before = (await nodes[1].rooms.world(HERE)).version
        for node in nodes:
            await node.rooms.upkeep.tick()
        found = await store.load(HERE)
        assert found is not None
        assert [each.id for each in found.statements] == [stays]
        return [(await node.rooms.world(HERE)).version - before for node in nodes], len(found.statements)

    assert place.use(work) == ([1, 1], 1)


# --- how many there are


def test_clients_are_counted_by_when_they_registered(place: Place) -> None:
    async def work(store: Store) -> list[list[int]]:
        ids = [("a", 1), ("b", 2), ("c", 2), ("d", 3)]
        await keep(store, *(client(id_, NEVER, T0 + at) for id_, at in ids), client("e", NEVER, T0 + 9, epoch=2))
        asked = [Arrivals("one", 1, T0), Arrivals("one", 1, T0 + 1), Arrivals("one", 2, T0), Arrivals("two", 1, 0)]
        return [await store.count_arrivals(HERE, asked, limit) for limit in (9, 2)]

    assert place.use(work) == [[4, 3, 1, 0], [2, 2, 1, 0]]


def test_clients_are_counted_page_by_page(place: Place) -> None:
    async def work(store: Store) -> list[tuple[int, str | None]]:
        ids = [("b", 2), ("a", 1), ("d", 3), ("c", 2), ("e", 4)]
        await keep(store, *(client(id_, NEVER, T0 + at) for id_, at in ids), client("x", NEVER, statement_id="t"))
        told, brood = [], Brood("one", 1, ("s",))
        last: Registered | None = None
        for _ in range(3):
            count, last = await store.count_page(HERE, brood, T0 + 3, last, 2)
            told.append((count, last.id if last is not None else None))
        return told

    assert place.use(work) == [(2, "b"), (2, "d"), (0, None)]
