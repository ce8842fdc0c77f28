"""
Counters on every adapter: what all processes saw is added up by the minute and integration.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from temppass.core.act import ByShell
from temppass.core.catalogue_file import parse
from temppass.core.model import Count, SubjectKind
from temppass.core.oauth import RegistrationRequest, TokenRequest
from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest
from temppass.core.secret import Secret
from temppass.service import Service, serve_from
from temppass.service.context import Caller
from temppass.service.counters import CHUNK, KEPT_MINUTES, MINUTE_MS, Asked, Point
from temppass.service.decisions import Viewer
from temppass.service.desk import Call
from temppass.service.operators import NewOperator
from temppass.service.resets import EVERYBODY, ResetAsk
from temppass.storage.memory import MemoryStore
from temppass.store import StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.storage.conftest import Place

    from temppass.store import Store

#: a full minute
T0, HERE, ANN, SECRET = 1_767_268_800_000, "release-production", ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = parse(
    """
    programmer = [{ id = "a" }]
    channel = [{ id = "C", programmer = "a" }, { id = "D", programmer = "a" }]
    pass = [{ id = "P", kind = "basic", ttl = "1m", channels = ["C", "D"] }]
    application = [{ id = "ops", channels = "all", scopes = ["temporary:passes:owner", "api:client:v2"] }]
    """,
    "catalogue",
)


class Desk:
    """A service with an operator and an application that asks."""

    def __init__(self, rooms: Service, operator: str, token: str) -> None:
        self.rooms = rooms
        self.call = Call(HERE, operator)
        self._token = token

    @classmethod
    async def opened(cls, store: Store, clock: Clock, channels: Sequence[str] = ()) -> Desk:
        rooms = serve_from(store, SECRET, clock=clock)
        await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
        operator = await rooms.operators.create_here(NewOperator("eve", Role.VIEWER, channels=tuple(channels)), ANN)
        statement = (await rooms.statements.mint(HERE, "ops", ANN)).statement
        made = await rooms.credentials.register(HERE, RegistrationRequest(statement, None))
        asked = TokenRequest(made.client_id, made.client_secret, frozenset())
        return cls(rooms, operator.token, (await rooms.credentials.issue_token(HERE, asked)).access_token)

    async def authorize(self, device_id: bytes, channel: str = "C", *titles: str) -> None:
        await self.rooms.decisions.authorize(
            Caller(HERE, self._token, channel), "P", (Viewer(device_id), titles or ("R1",))
        )

    async def reset(self) -> None:
        await self.rooms.resets.reset(HERE, self._token, ResetAsk("C", "P", SubjectKind.DEVICE, EVERYBODY))

    async def counts(self, asked: Asked) -> list[Point]:
        await self.rooms.upkeep.count()
        return await self.rooms.counters.counts(self.call, asked)


def test_what_happened_is_told_by_the_minute_and_integration(place: Place) -> None:
    async def work(store: Store) -> list[Point]:
        clock = Clock(T0)
        desk = await Desk.opened(store, clock)
        await desk.authorize(b"one")
        await desk.authorize(b"one", "C", "R1", "R2")
        await desk.authorize(b"two", "D")
        clock.advance(MINUTE_MS)
        await desk.authorize(b"one")
        await desk.reset()
        await desk.authorize(b"one")
        clock.advance(MINUTE_MS)
        return await desk.counts(Asked())

    over = "temporary_access_duration_limit_exceeded"
    assert place.use(work) == [
        Point(T0, "C", "P", {"permit": 3, "trial": 1}),
        Point(T0, "D", "P", {"permit": 1, "trial": 1}),
        Point(T0 + MINUTE_MS, "C", "P", {"permit": 1, "reset": 1, over: 1, "trial": 1}),
    ]


def test_what_several_processes_saw_is_added_up(place: Place) -> None:
    async def work(store: Store) -> list[Count]:
        rows = [Count(HERE, minute, "C", "P", "permit", 1) for minute in (7, 8, 9)]
        await asyncio.gather(*(store.count(some) for some in (rows, rows[::-1], rows[:2])))
        return await store.counts(HERE, 7, 9)

    assert place.use(work) == [Count(HERE, minute, "C", "P", "permit", 3) for minute in (7, 8)]


def test_the_last_day_is_added_up_once_a_minute(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        clock, seen = Clock(T0), []
        desk = await Desk.opened(store, clock)
        before = [Count(HERE, T0 // MINUTE_MS - back, "C", "P", "permit", 100) for back in (1439, 1440)]
        await store.count(before)
        for waits in (0, 0, MINUTE_MS):
            clock.advance(waits)
            await desk.authorize(b"one")
            await desk.rooms.upkeep.count()
            seen.append(sum(point.counts["permit"] for point in await desk.rooms.counters.day(desk.call)))
        return seen

    assert place.use(work) == [101, 101, 2]


def test_the_minutes_of_a_step_are_added_up_in_the_store(place: Place) -> None:
    async def work(store: Store) -> list[Count]:
        await store.count([Count(HERE, minute, "C", "P", what, 1) for minute in range(5, 13) for what in ("a", "b")])
        await store.count([Count(HERE, 7, "D", "P", "a", 1)])
        return [each for each in await store.counts(HERE, 6, 12, 4) if each.what == "a"]

    sums = [(4, "C", 2), (4, "D", 1), (8, "C", 4)]
    assert place.use(work) == [Count(HERE, minute, channel, "P", "a", n) for minute, channel, n in sums]


def test_a_step_takes_minutes_together_and_a_question_leaves_others_out(place: Place) -> None:
    async def work(store: Store) -> list[list[Point]]:
        desk = await Desk.opened(store, Clock(T0))
        minute = T0 // MINUTE_MS
        for channel, at in (("C", minute - 61), ("C", minute - 3), ("C", minute - 2), ("D", minute - 2)):
            await store.count([Count(HERE, at, channel, "P", "permit", 1), Count("qa", at, channel, "P", "permit", 9)])
        return [
            await desk.counts(asked)
            for asked in (
                Asked("C"),
                Asked(pass_id="Q"),
                Asked("C", step_minutes=10),
                Asked("C", since=T0 - 61 * MINUTE_MS, until=T0 - 2 * MINUTE_MS, step_minutes=60),
            )
        ]

    one = {"permit": 1}
    assert place.use(work) == [
        [Point(T0 - 3 * MINUTE_MS, "C", "P", one), Point(T0 - 2 * MINUTE_MS, "C", "P", one)],
        [],
        [Point(T0 - 10 * MINUTE_MS, "C", "P", {"permit": 2})],
        [Point(T0 - 120 * MINUTE_MS, "C", "P", one), Point(T0 - 60 * MINUTE_MS, "C", "P", one)],
    ]


def test_an_operator_sees_the_counts_of_their_channels(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        desk = await Desk.opened(store, Clock(T0), ["D"])
        for channel in ("C", "D"):
            await desk.authorize(b"one", channel)
        return [point.channel_id for point in await desk.counts(Asked(until=T0 + 1))]

    assert place.use(work) == ["D"]


@pytest.mark.parametrize("asked", [Asked(since=T0), Asked(since=T0 - 1501 * MINUTE_MS)])
def test_a_question_that_goes_too_far_is_refused(place: Place, asked: Asked) -> None:
    async def work(store: Store) -> None:
        desk = await Desk.opened(store, Clock(T0))
        with pytest.raises(InvalidRequest):
            await desk.counts(asked)

    place.use(work)


def test_what_is_older_than_two_weeks_is_forgotten(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        desk = await Desk.opened(store, Clock(T0))
        oldest = T0 // MINUTE_MS - KEPT_MINUTES
        await store.count([Count(HERE, oldest - 1, "C", f"P{number}", "permit", 1) for number in range(CHUNK + 1)])
        await store.count([Count(HERE, oldest, "C", "P", "permit", 1)])
        await desk.rooms.upkeep.tick()
        return [count.minute - oldest for count in await store.counts(HERE, 0, oldest + 1)]

    assert place.use(work) == [0]


class Away(MemoryStore):
    """A store that cannot be counted to."""

    away = True

    async def count(self, counts: Sequence[Count]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().count(counts)


def test_what_cannot_be_brought_to_the_store_is_brought_later() -> None:
    async def work() -> list[Point]:
        store = Away()
        desk = await Desk.opened(store, Clock(T0))
        await desk.authorize(b"one")
        with pytest.raises(StoreUnavailable):
            await desk.rooms.upkeep.count()
        store.away = False
        await desk.authorize(b"one")
        return await desk.counts(Asked(until=T0 + 1))

    assert asyncio.run(work()) == [Point(T0, "C", "P", {"permit": 2, "trial": 1})]


def test_while_the_store_is_away_only_so_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temppass.service.counters.WAITING_MAX", 2)

    async def work() -> list[int]:
        store = Away()
        desk = await Desk.opened(store, Clock(T0))
        for minute in range(3):
            desk.rooms.counters.add(HERE, "C", "P", T0 + minute * MINUTE_MS, ("permit",))
        with pytest.raises(StoreUnavailable):
            await desk.rooms.upkeep.count()
        store.away = False
        return [(point.at - T0) // MINUTE_MS for point in await desk.counts(Asked(until=T0 + 3 * MINUTE_MS))]

    assert asyncio.run(work()) == [1, 2]
