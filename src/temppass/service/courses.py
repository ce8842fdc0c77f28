"""
What became of a reset of a part of everybody: how far it has gone, or its undo, and what is in the way of one. One that
was broken off between its chunks is finished here.

Source: docs/design.md (undo of resets).
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.model import NOTHING, Changes, Found
from temppass.core.operator import Role
from temppass.core.refusal import NotThere
from temppass.service.context import Context, keys_of
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.narrowed import Going, go_on
from temppass.service.worlds import Plan


class Course(NamedTuple):
    """
    A narrowed reset, and what became of it. `chunks` is what is kept of it, None once it was taken back, or is too old
    for that; `later` the act of the latest reset of everybody that has to be undone before.
    """

    record: act.Record
    what: act.NarrowedReset
    chunks: reset.Chunks | None
    later: str | None
    now: int
    #: whether this process goes through its chunks, or those of its undo
    is_going: bool = False

    @property
    def is_undone(self) -> bool:
        return self.chunks is None and self.now < self.record.at + reset.UNDO_MS

    @property
    def undo_until(self) -> int | None:
        """Until when it can be undone, None where there is nothing to undo."""
        until = self.record.at + reset.UNDO_MS
        return until if self.chunks is not None and self.chunks.chunks and self.now < until else None


class Courses:
    def __init__(self, context: Context, desk: Desk, going: Going) -> None:
        self._context = context
        self._desk = desk
        self._going = going

    async def of(self, call: Call, act_id: str) -> Course:
        """
        Answer what became of a narrowed reset. Refuses: as Desk.look; NotThere, also for what the operator does not
        see, and for any other act; UnknownChannel, UnknownPass, InactiveIntegration.
        """
        await self._desk.check(call, Role.OPERATOR)
        kept = await self._context.store.record(call.environment, act_id)
        record = act.read_record(kept.document) if kept is not None else None

        def prepare(who: Admitted) -> Plan[Course]:
            what = record.act if record is not None else None
            if record is None or not isinstance(what, act.NarrowedReset) or not who.operator.sees(what.channel_id):
                raise NotThere(f"There is no reset of a part of everybody {act_id[:64]!r}.")
            offer, _ = who.world.declared(who.world.channel(what.channel_id), what.pass_id)
            keys = replace(keys_of(who.world, offer), kept=(reset.undo_key(act_id),), raises=True)
            kinds = reset.BOTH if what.subject_kind is None else (what.subject_kind,)

            def step(found: Found) -> tuple[Course, Changes]:
                later = [each for each in found.raises if each.kind in kinds and each.at >= record.at]
                latest = max(later, key=lambda each: each.generation, default=None)
                chunks = reset.read_chunks(found.kept[0])
                return Course(record, what, chunks, latest.act_id if latest else None, who.now), NOTHING

            return keys, step

        course = await self._desk.look(call, Role.OPERATOR, prepare)
        goes = {act_id, course.chunks.undo_id if course.chunks is not None else None}
        return course._replace(is_going=any(each in self._going for each in goes))

    async def finish(self, call: Call, act_id: str, *, patience_s: float | None = None) -> int | None:
        """
        Go on with a narrowed reset that was broken off, and answer how many ledgers it has ended in all; None where
        there is nothing to go on with, or that takes longer than `patience_s`. It was admitted and recorded when it
        began, whoever asked for it. Refuses: as `of`.
        """
        await self.of(call, act_id)
        return await self._going.through(act_id, lambda: go_on(self._context, call.environment, act_id), patience_s)
