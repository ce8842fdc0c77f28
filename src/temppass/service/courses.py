"""
What became of a reset of everybody, or of a part of them: whether it stands, how far it has gone, what is in the way of
its undo. One that was broken off between its chunks is finished here.

Source: docs/design.md (undo of resets).
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.model import NOTHING, Found
from temppass.core.operator import Role
from temppass.core.refusal import NotThere
from temppass.service.context import Context, keys_of
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.narrowed import go_on
from temppass.service.worlds import Plan

_WIDE = (act.EverybodyReset, act.NarrowedReset, act.RecurringReset)
_Wide = act.EverybodyReset | act.NarrowedReset | act.RecurringReset


class Course(NamedTuple):
    """
    A reset, and what became of it. `chunks` is what is kept of a narrowed one, None once it was taken back; `later` the
    act of the latest reset of everybody that has to be undone before.
    """

    record: act.Record
    what: _Wide
    is_undone: bool
    chunks: reset.Chunks | None
    later: str | None
    now: int

    @property
    def undo_until(self) -> int | None:
        """Until when it can be undone, None where there is nothing to undo."""
        matched = self.what.kinds if isinstance(self.what, act.EverybodyReset) else True
        if isinstance(self.what, act.NarrowedReset):
            matched = self.chunks is not None and self.chunks.chunks > 0
        until = self.record.at + reset.UNDO_MS
        return until if matched and not self.is_undone and self.now < until else None


class Courses:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    async def of(self, call: Call, act_id: str) -> Course:
        """
        Answer what became of a reset. Refuses: as Desk.look; NotThere, also for what the operator does not see, and for
        any other act; UnknownChannel, UnknownPass, InactiveIntegration.
        """
        await self._desk.check(call, Role.OPERATOR)
        found = await self._context.store.record(call.environment, act_id)
        record = act.read_record(found.document) if found is not None else None

        def prepare(who: Admitted) -> Plan[Course]:
            if record is None or not isinstance(record.act, _WIDE) or not who.operator.sees(record.act.channel_id):
                raise NotThere(f"There is no reset of everybody, or of a part of them, {act_id[:64]!r}.")
            what = record.act
            offer, _ = who.world.declared(who.world.channel(what.channel_id), what.pass_id)
            keys = replace(keys_of(who.world, offer), kept=(reset.undo_key(act_id),), raises=True)
            return keys, lambda found: (_course(record, what, found, who.now), NOTHING)

        return await self._desk.look(call, Role.OPERATOR, prepare)

    async def finish(self, call: Call, act_id: str) -> int | None:
        """
        Go on with a narrowed reset that was broken off, and answer how many ledgers it has ended in all; it was
        admitted and recorded when it began, whoever asked for it. Refuses: as `of`.
        """
        await self.of(call, act_id)
        return await go_on(self._context, call.environment, act_id)


def _course(record: act.Record, what: _Wide, found: Found, now: int) -> Course:
    if isinstance(what, act.NarrowedReset):
        kinds = reset.BOTH if what.subject_kind is None else (what.subject_kind,)
        chunks = reset.read_chunks(found.kept[0])
        later = [each for each in found.raises if each.kind in kinds and each.at >= record.at]
        is_undone = chunks is None and now < record.at + reset.UNDO_MS
    else:
        chunks = None
        mine = {each.kind: each.generation for each in found.raises if each.act_id == record.id}
        later = [each for each in found.raises if each.generation > mine.get(each.kind, each.generation)]
        is_undone = not mine and now < record.at + reset.UNDO_MS and getattr(what, "kinds", reset.BOTH) != ()
    latest = max(later, key=lambda each: each.generation, default=None)
    return Course(record, what, is_undone, chunks, latest.act_id if latest is not None else None, now)
