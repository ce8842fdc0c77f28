"""
Schedules on every adapter: a pause lets nothing be due, and what falls due meanwhile is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import ByOperator, ByShell, RecurringReset, SchedulePause, ScheduleResume
from temppass.core.catalogue import EMPTY, Application
from temppass.core.catalogue_file import parse
from temppass.core.operator import Role
from temppass.core.refusal import AlreadySo, NotThere, OutsideLimits
from temppass.core.secret import Secret
from temppass.service import Service, serve_from
from temppass.service.desk import Call
from temppass.service.operators import NewOperator
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.storage.conftest import Place

    from temppass.store import Store

#: noon
T0, HOUR, DAY = 1_767_268_800_000, 3_600_000, 86_400_000
HERE, ANN, SECRET = "release-production", ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = parse(
    """
    programmer = [{ id = "a" }]
    channel = [{ id = "C", programmer = "a" }, { id = "D", programmer = "a" }]
    pass = [
      { id = "Daily", kind = "basic", ttl = "10m", resets = "0 0 * * *", channels = ["C", "D"] },
      { id = "Never", kind = "basic", ttl = "10m", channels = ["C"] },
    ]
    """,
    "catalogue",
)


async def opened(store: Store, clock: Clock, channels: Sequence[str] = ()) -> tuple[Service, Call]:
    rooms = serve_from(store, SECRET, clock=clock, pause_s=0)
    await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
    new = NewOperator("eve", Role.OPERATOR, channels=tuple(channels), lasts_ms=100 * DAY)
    return rooms, Call(HERE, (await rooms.operators.create_here(new, ANN)).token)


async def due(rooms: Service) -> list[int]:
    """Answer, in hours after T0, the moments of C's recurring resets that were done."""
    await rooms.upkeep.tick()
    acts = [record.act async for _, record in rooms.history.records(HERE)]
    return [(act.due_at - T0) // HOUR for act in acts if isinstance(act, RecurringReset) and act.channel_id == "C"]


def test_what_falls_due_during_a_pause_is_skipped(place: Place) -> None:
    """Due at midnight each day; paused from the second noon to the fourth."""

    async def work(store: Store) -> list[list[int]]:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        seen = []
        for day in range(6):
            if day == 1:
                await rooms.schedules.set(call, "C", "Daily", True)
            if day == 3:
                await rooms.schedules.set(call, "C", "Daily", False)
            seen.append(await due(rooms))
            clock.advance(DAY)
        return seen

    assert place.use(work) == [[], [12], [12], [12], [12, 84], [12, 84, 108]]


def test_what_was_due_before_a_pause_is_done_with_it(place: Place) -> None:
    """Though nobody had asked since midnight."""

    async def work(store: Store) -> list[int]:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        clock.advance(DAY)
        await rooms.schedules.set(call, "C", "Daily", True)
        return await due(rooms)

    assert place.use(work) == [12]


def test_a_pause_stays_as_long_as_its_reset_does(place: Place) -> None:
    """Whatever else changes in the catalogue; a reset that was taken out and comes back is not paused."""

    async def work(store: Store) -> list[list[bool]]:
        rooms, call = await opened(store, Clock(T0))
        await rooms.schedules.set(call, "D", "Daily", True)
        seen = []
        for catalogue in (
            replace(CATALOGUE, applications={"new": Application("new", "New", None, ())}),
            EMPTY,
            CATALOGUE,
        ):
            await rooms.catalogues.apply(HERE, catalogue, "", ANN)
            seen.append([each.paused_at is not None for each in await rooms.schedules.all(call)])
        return seen

    assert place.use(work) == [[False, True], [], [False, False]]


def test_a_schedule_tells_what_comes_and_what_came(place: Place) -> None:
    async def work(store: Store) -> object:
        clock = Clock(T0)
        rooms, call = await opened(store, clock, ["C"])
        clock.advance(2 * DAY)
        await rooms.upkeep.tick()
        await rooms.history.seal()
        await rooms.schedules.set(call, "C", "Daily", True)
        (schedule,) = await rooms.schedules.all(call)
        ahead = [(each.at - T0) // HOUR for each in schedule.ahead]
        back = [(each.due_at - T0) // HOUR for each in schedule.back]
        return schedule.channel_id, schedule.paused_at, ahead, back

    assert place.use(work) == ("C", T0 + 2 * DAY, [60, 84, 108, 132, 156], [36])


def test_who_paused_and_who_let_it_go_on_is_on_record(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        for paused in (True, False):
            clock.advance(1)
            await rooms.schedules.set(call, "C", "Daily", paused)
            with pytest.raises(AlreadySo):
                await rooms.schedules.set(call, "C", "Daily", paused)
        acts: list[object] = [(record.actor, record.act) async for _, record in rooms.history.records(HERE)]
        return acts[1:]

    eve = ByOperator("eve", Role.OPERATOR)
    assert place.use(work) == [(eve, SchedulePause("C", "Daily")), (eve, ScheduleResume("C", "Daily"))]


@pytest.mark.parametrize(("channel", "pass_id"), [("C", "Never"), ("C", "Nope"), ("Nope", "Daily")])
def test_what_resets_by_itself_nowhere_cannot_be_paused(place: Place, channel: str, pass_id: str) -> None:
    async def work(store: Store) -> None:
        rooms, call = await opened(store, Clock(T0))
        with pytest.raises(NotThere):
            await rooms.schedules.set(call, channel, pass_id, True)

    place.use(work)


def test_a_channel_of_others_is_neither_seen_nor_paused(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        rooms, call = await opened(store, Clock(T0), ["C"])
        with pytest.raises(OutsideLimits):
            await rooms.schedules.set(call, "D", "Daily", True)
        return [each.channel_id for each in await rooms.schedules.all(call)]

    assert place.use(work) == ["C"]
