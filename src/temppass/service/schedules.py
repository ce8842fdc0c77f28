"""
Recurring resets as operators see them: when each comes next, what the last ones did, and whether it is paused.

Source: docs/design.md (schedules).
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.calendar import Due, upcoming
from temppass.core.catalogue import integration
from temppass.core.model import Changes, Found
from temppass.core.operator import Role
from temppass.core.refusal import AlreadySo, NotThere, Refusal
from temppass.core.world import rewritten
from temppass.service.context import Context, given, keys_of
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.worlds import Plan

#: moments that are told of each schedule, ahead and back
AHEAD, BACK = 5, 3


class Fired(Struct, frozen=True):
    """A recurring reset that was done: the id of its act, when, and the moment that it was due."""

    id: str
    at: int
    due_at: int


class Schedule(Struct, frozen=True):
    """The recurring reset of one integration. While it is paused no moment is due; `ahead` tells what would be."""

    channel_id: str
    pass_id: str
    cron: str
    timezone: str
    paused_at: int | None
    ahead: tuple[Due, ...]
    back: tuple[Fired, ...]


class Set(Struct, frozen=True):
    """A schedule was paused or goes on. `id` is the act's."""

    id: str


class Schedules:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    async def all(self, call: Call) -> list[Schedule]:
        """Answer what the operator sees; a reset of the last second may be missing. Refuses: as Desk.look."""
        who = await self._desk.check(call, Role.VIEWER)
        return [
            await self._schedule(who, channel_id, pass_id)
            for channel_id, pass_id in who.world.scheduled()
            if who.operator.sees(channel_id)
        ]

    async def set(
        self,
        call: Call,
        channel_id: str,
        pass_id: str,
        asked: bool | Refusal,  # noqa: FBT001 - told by name
        reason: str | Refusal | None = None,
    ) -> Set:
        """
        Pause a schedule, so that no moment is due from now on, or let it go on. What was due before a pause fires
        first; what fell due during one is skipped.

        Refuses: as Desk.act; what reading refused; NotThere, AlreadySo.
        """
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Set]:
            world, now, paused, why = who.world, who.now, given(asked), given(reason)
            if (channel_id, pass_id) not in world.scheduled():
                raise NotThere(f"Channel {channel_id[:64]!r} has no recurring reset of pass {pass_id[:64]!r}.")
            name, record = integration(channel_id, pass_id), world.record
            if (name in record.paused) == paused:
                raise AlreadySo(f"The schedule is {'paused' if paused else 'not paused'} already.")
            offer = world.offer(world.channel(channel_id), pass_id)
            if paused:
                changed = replace(record, paused={**record.paused, name: now})
            else:
                rest = {other: at for other, at in record.paused.items() if other != name}
                changed = replace(record, paused=rest, resets_since={**record.resets_since, name: now})
            what = act.SchedulePause(channel_id, pass_id) if paused else act.ScheduleResume(channel_id, pass_id)
            done = act.recorded(act.Record(id_, now, who.actor, what, why))

            def step(found: Found) -> tuple[Set, Changes]:
                due = reset.fire(found, offer, now)
                after = rewritten(replace(changed, version=record.version + 1))
                return Set(id_), replace(due, environment=after, records=(*due.records, done))

            return keys_of(world, offer), step

        return await self._desk.act(call, Role.OPERATOR, Set, prepare, channel_id=channel_id)

    async def _schedule(self, who: Admitted, channel_id: str, pass_id: str) -> Schedule:
        world = who.world
        cron, timezone = world.rhythm(channel_id, pass_id)
        wanted = act.Wanted(kinds=("reset.recurring",), channels=(channel_id,), pass_id=pass_id)
        found = await self._context.store.search(world.name, wanted, None, BACK, newest_first=True)
        return Schedule(
            channel_id,
            pass_id,
            cron,
            timezone,
            world.record.paused.get(integration(channel_id, pass_id)),
            tuple(upcoming(cron, timezone, who.now, AHEAD)),
            tuple(_fired(each) for each in found),
        )


def _fired(entry: act.Sealed) -> Fired:
    record = act.read_record(entry.document)
    assert isinstance(record.act, act.RecurringReset)
    return Fired(record.id, record.at, record.act.due_at)
