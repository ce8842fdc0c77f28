"""
Lists of viewers, reset part by part: each part is one act, in the transaction that writes down how far the list is, so
nothing is done twice, and whoever opens a list that was broken off goes on where it is. The whole is undone together.

Source: docs/design.md (lists of viewers).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, reset, viewer_list
from temppass.core.model import NOTHING, Changes, Found, Kept
from temppass.core.operator import Role
from temppass.core.refusal import AlreadySo, InvalidRequest, LaterReset, NewTrial, NothingToUndo, NotThere, Refusal
from temppass.core.reset import Narrowing
from temppass.core.viewer_list import Line, LineState, Part, Undoing, ViewerList
from temppass.service.context import Context, given, keys_of, new_id
from temppass.service.corrections import Corrections, Receipt, UndoWanted, offer_for, recording
from temppass.service.counters import RESET, Counters
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.worlds import Plan


class ListWanted(NamedTuple):
    """`text` is a list as core/viewer_list reads it; `kind` what its lines hold where no header says so."""

    channel_id: str
    pass_id: str
    text: str
    kind: str | None = None
    reason: str | None = None


class Made(Struct, frozen=True):
    """`id` is the list's."""

    id: str


class Seen(NamedTuple):
    """A list, and of each of its parts whether it can be taken back."""

    list: ViewerList
    undoing: tuple[Undoing, ...]

    @property
    def is_open(self) -> bool:
        """Whether there are viewers to reset still: what is taken back is not gone on with."""
        return self.list.next_part is not None and Undoing.UNDONE not in self.undoing


class Returned(NamedTuple):
    """What came of the undo of one part."""

    part: Part
    outcome: Receipt | Refusal


class Lists:
    def __init__(self, context: Context, desk: Desk, counters: Counters, corrections: Corrections) -> None:
        self._context = context
        self._desk = desk
        self._counters = counters
        self._corrections = corrections

    async def make(self, call: Call, asked: ListWanted | Refusal) -> Made:
        """
        Read a list and keep it for a day; nobody is reset yet.

        Refuses: as Desk.act, and what reading refused; UnknownChannel, UnknownPass, InactiveIntegration,
        ReasonRequired, InvalidRequest for what is no list, AlreadySo where too many are kept.
        """
        who = await self._desk.check(call, Role.OPERATOR)
        ask, id_ = given(asked), new_id()
        offer = offer_for(who, Role.OPERATOR, ask.channel_id, ask.pass_id, ask.reason)
        # in a thread, where it keeps nobody waiting
        lines = await asyncio.to_thread(
            viewer_list.read_lines, ask.text, ask.kind, offer.identity_key, who.world.pepper
        )
        parts = viewer_list.parted(lines)

        def prepare(who: Admitted) -> Plan[Made]:
            offer = offer_for(who, Role.OPERATOR, ask.channel_id, ask.pass_id, ask.reason)
            one = ViewerList(
                id_,
                offer.channel_id,
                offer.pass_id,
                ask.reason,
                who.operator.name,
                who.now,
                viewer_list.count(lines, LineState.UNREADABLE),
                viewer_list.count(lines, LineState.REPEATED),
                tuple(
                    Part(part[0].number, part[-1].number, viewer_list.count(part, LineState.WAITING)) for part in parts
                ),
            )

            def step(found: Found) -> tuple[Made, Changes]:
                kept = [viewer_list.kept_lines(one, number, part) for number, part in enumerate(parts)]
                index = viewer_list.added(found.kept[0], one, who.now)
                return Made(id_), Changes(kept=(index, viewer_list.kept_list(one), *kept))

            return replace(keys_of(who.world), kept=(viewer_list.KEY,)), step

        return await self._desk.act(call, Role.OPERATOR, Made, prepare)

    async def all(self, call: Call) -> list[ViewerList]:
        """Answer the lists of the last day, the newest first. Refuses: as Desk.look."""
        who = await self._desk.check(call, Role.OPERATOR)
        now, (index,) = who.now, await self._kept(call, viewer_list.KEY)
        keys = [viewer_list.list_key(id_) for id_ in viewer_list.listed(index, now)]
        found = [viewer_list.read_list(kept, now) for kept in await self._kept(call, *keys)]
        return [each for each in found if each is not None and who.operator.sees(each.channel_id)]

    async def look(self, call: Call, list_id: str) -> Seen:
        """Refuses: as Desk.look; NotThere."""
        return (await self._seen(call, list_id))[0]

    async def lines(self, call: Call, list_id: str, part: int) -> tuple[Line, ...]:
        """Answer the lines of one part, by its number from 0. Refuses: as `look`."""
        await self.look(call, list_id)
        (kept,) = await self._kept(call, viewer_list.list_key(list_id, part))
        return viewer_list.read_part(kept)

    async def go_on(self, call: Call, list_id: str) -> Receipt:
        """
        Reset the viewers of the part that comes next; where somebody else was quicker, or nothing is left, answer what
        was done last.

        Refuses: as `look`; as Corrections.reset; AlreadySo for a list that was taken back.
        """
        seen, number = await self._seen(call, list_id)
        lines = () if number is None else await self.lines(call, list_id, number)
        id_, subjects = self._context.act_id(), viewer_list.subjects_of(lines)
        places = (viewer_list.list_key(list_id), viewer_list.list_key(list_id, number or 0))
        asides = [reset.undo_key(part.act_id) for part in seen.list.parts if part.act_id is not None]

        def prepare(who: Admitted) -> Plan[Receipt]:
            one = seen.list
            offer = offer_for(who, Role.OPERATOR, one.channel_id, one.pass_id, one.reason)

            def step(found: Found) -> tuple[Receipt, Changes]:
                present = _visible(found.kept[0], who)
                if number is None or present.parts[number].is_done:
                    return _last(present), NOTHING
                if Undoing.UNDONE in _undoing(present, found.kept[2:], who.now):
                    raise AlreadySo("What this list did was taken back; make a list anew of whom you mean.")
                matched, changes = reset.reset_subjects(found, offer, subjects, Narrowing(), who.now, id_)
                ended = [subject for subject, _ in changes.ledgers]
                done = replace(present.parts[number], act_id=id_, matched=matched, done_at=who.now)
                gone_on = replace(present, parts=(*present.parts[:number], done, *present.parts[number + 1 :]))
                kept = (
                    viewer_list.kept_list(gone_on),
                    viewer_list.kept_lines(present, number, viewer_list.gone_through(lines, ended)),
                )
                what = act.SubjectReset(offer.channel_id, offer.pass_id, viewer_list.meant(lines, ended), matched)
                changes = replace(changes, kept=(*changes.kept, *kept))
                return _receipt(done), recording(changes, who, id_, what, one.reason)

            keys = keys_of(who.world, offer, subjects, large=True)
            return replace(keys, kept=(*places, *asides)), step

        receipt = await self._desk.act(call, Role.OPERATOR, Receipt, prepare)
        if receipt.id == id_:
            one, now = seen.list, self._context.clock()
            self._counters.add(call.environment, one.channel_id, one.pass_id, now, (RESET,))
        return receipt

    async def undo(self, call: Call, list_id: str, asked: UndoWanted | Refusal) -> list[Returned]:
        """
        Take back what a list did, the part that was done last first, and answer what came of each; one that cannot be
        taken back keeps no other from it. A list that was not done to the end stays so.

        Refuses: as `look`; as Corrections.undo_reset, but for what concerns one part alone; NothingToUndo.
        """
        ask, told = given(asked), dict[str, Returned]()
        while waiting := [
            part
            for part, undoing in zip(*await self._parts(call, list_id), strict=True)
            if undoing is Undoing.POSSIBLE and part.act_id is not None and part.act_id not in told
        ]:
            part = waiting[-1]
            assert part.act_id is not None
            once = call.once._replace(path=f"{call.once.path} {part.act_id}") if call.once is not None else None
            try:
                outcome: Receipt | Refusal = await self._corrections.undo_reset(
                    call._replace(once=once), part.act_id, ask
                )
            except (NewTrial, LaterReset, NothingToUndo) as refusal:
                outcome = refusal
            told[part.act_id] = Returned(part, outcome)
        if not told:
            raise NothingToUndo("It ended no trial, was undone already, or is more than 24 hours ago.")
        return [*told.values()]

    # --- what is kept

    async def _parts(self, call: Call, list_id: str) -> tuple[tuple[Part, ...], tuple[Undoing, ...]]:
        seen = await self.look(call, list_id)
        return seen.list.parts, seen.undoing

    async def _seen(self, call: Call, list_id: str) -> tuple[Seen, int | None]:
        """Answer a list, and the number of the part that comes next. Refuses: as `look`."""
        who = await self._desk.check(call, Role.OPERATOR)
        one = _visible((await self._kept(call, viewer_list.list_key(list_id)))[0], who)
        keys = [reset.undo_key(part.act_id) for part in one.parts if part.act_id is not None]
        return Seen(one, _undoing(one, await self._kept(call, *keys), who.now)), one.next_part

    async def _kept(self, call: Call, *keys: str) -> tuple[Kept | None, ...]:
        """Refuses: as Desk.look."""

        def prepare(who: Admitted) -> Plan[tuple[Kept | None, ...]]:
            return replace(keys_of(who.world), kept=keys), lambda found: (found.kept, NOTHING)

        return await self._desk.look(call, Role.OPERATOR, prepare)


def _visible(kept: Kept | None, who: Admitted) -> ViewerList:
    """Refuses: NotThere."""
    one = viewer_list.read_list(kept, who.now)
    if one is None or not who.operator.sees(one.channel_id):
        raise NotThere("There is no such list here; what is kept of a list ends after a day.")
    return one


def _undoing(one: ViewerList, asides: tuple[Kept | None, ...], now: int) -> tuple[Undoing, ...]:
    """Tell of each part whether it can be taken back; `asides` are of the first parts that were done."""
    found = iter(asides)
    return tuple(
        viewer_list.undoing(part, next(found, None) if part.act_id is not None else None, now) for part in one.parts
    )


def _receipt(part: Part) -> Receipt:
    return Receipt(part.act_id or "", part.matched, part.undo_until)


def _last(one: ViewerList) -> Receipt:
    """Refuses: InvalidRequest where there is nobody to reset."""
    if not one.is_begun:
        raise InvalidRequest("No line of this list names a viewer who could be reset.")
    return _receipt(max(one.parts, key=lambda part: part.done_at))
