"""
What operators set right: trials that are reset or given more, and acts that are taken back, also resets that came over
the vendor's wire. Each is an act, admitted and recorded in the transaction of what it changes.

A viewer is named by device, by user key, or by the digest that an explanation answered; a digest means the subject
that has a ledger, whichever kind it is of.

Source: docs/design.md (acts of operators).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, grant, reset
from temppass.core.catalogue import Offer
from temppass.core.grant import Gift
from temppass.core.identity import device, user_key
from temppass.core.model import NOTHING, Changes, Found, Kept, Subject, SubjectKind
from temppass.core.operator import Role, admitted
from temppass.core.refusal import (
    InvalidRequest,
    LaterReset,
    NewTrial,
    NothingToGrant,
    NothingToUndo,
    NotThere,
    ReasonRequired,
    Refusal,
)
from temppass.core.reset import Narrowing, NotUndone, Refused
from temppass.core.world import World
from temppass.service.context import Context, given, keys_of
from temppass.service.counters import RESET, Counters
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.narrowed import Going
from temppass.service.worlds import Plan

#: viewers that one reset may list
LIST_MAX = 1_000


class Whom(NamedTuple):
    """
    One viewer: a device id, a canonical user key, the digest of either, or whose kind is known. At least one of them is
    given.
    """

    device_id: bytes | None = None
    user_key: str | None = None
    digest: bytes | None = None
    subjects: tuple[Subject, ...] = ()


class ResetWanted(NamedTuple):
    """One viewer, or a list of digests, is to be new to a pass."""

    channel_id: str
    pass_id: str
    whom: Whom | tuple[bytes, ...]
    reason: str | None = None


class GrantWanted(NamedTuple):
    channel_id: str
    pass_id: str
    whom: Whom
    gift: Gift
    reason: str | None = None


class UndoWanted(NamedTuple):
    """`replace` ends the trials that were begun since."""

    reason: str | None = None
    replace: bool = False


class Receipt(Struct, frozen=True):
    """
    `id` is the act's; `matched` is None where counting would need a scan, `undo_until` where there is no undo. With an
    `approval` nothing is done yet: a second person has to confirm what has that name.
    """

    id: str
    matched: int | None
    undo_until: int | None = None
    approval: str | None = None


#: what can be taken back: each is undone as what it is called
RESETS = (act.SubjectReset, act.EverybodyReset, act.NarrowedReset, act.RecurringReset)
GRANTS = (act.Grant,)
Undoable = act.SubjectReset | act.EverybodyReset | act.NarrowedReset | act.RecurringReset | act.Grant


class _Before(NamedTuple):
    """What is to be undone: its record, what was kept aside for it, and whose ledgers that names."""

    record: act.Record
    what: Undoable
    aside: Kept | None
    subjects: tuple[Subject, ...] = ()


class Corrections:
    def __init__(self, context: Context, desk: Desk, counters: Counters, going: Going) -> None:
        self._context = context
        self._desk = desk
        self._counters = counters
        self._going = going

    async def reset(self, call: Call, asked: ResetWanted | Refusal) -> Receipt:
        """
        Make one viewer, or those of a list, new to a pass.

        Refuses: as Desk.act, and what reading refused; UnknownChannel, UnknownPass, InactiveIntegration,
        ReasonRequired.
        """
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Receipt]:
            ask = given(asked)
            role = Role.SUPPORT if isinstance(ask.whom, Whom) else Role.OPERATOR
            offer = offer_for(who, role, ask.channel_id, ask.pass_id, ask.reason)
            named = _named(who.world, ask.whom)

            def step(found: Found) -> tuple[Receipt, Changes]:
                subjects, meant = _present(named, found)
                matched, changes = reset.reset_subjects(meant, offer, subjects, Narrowing(), who.now, id_)
                what = act.SubjectReset(offer.channel_id, offer.pass_id, subjects, matched)
                return _receipt(id_, matched, who.now), recording(changes, who, id_, what, ask.reason)

            return keys_of(who.world, offer, _flat(named), large=True), step

        receipt = await self._desk.act(call, Role.SUPPORT, Receipt, prepare)
        if receipt.id == id_:  # or it was done before
            ask = given(asked)
            self._counters.add(call.environment, ask.channel_id, ask.pass_id, self._context.clock(), (RESET,))
        return receipt

    async def grant(self, call: Call, asked: GrantWanted | Refusal) -> Receipt:
        """
        Give a viewer minutes or titles on top of a trial that runs or is spent.

        Refuses: as `reset`; NothingToGrant where the viewer has no trial.
        """
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Receipt]:
            ask = given(asked)
            offer = offer_for(who, Role.SUPPORT, ask.channel_id, ask.pass_id, ask.reason)
            gift, named = grant.checked(ask.gift, offer), _named(who.world, ask.whom)

            def step(found: Found) -> tuple[Receipt, Changes]:
                subjects, meant = _present(named, found)
                matched, changes = grant.grant(meant, offer, subjects, gift, who.now, id_)
                if not matched:
                    raise NothingToGrant(
                        "This viewer has no trial; the next authorize begins one with all of its time."
                    )
                what = act.Grant(offer.channel_id, offer.pass_id, subjects, matched, gift.minutes, gift.titles)
                return _receipt(id_, matched, who.now), recording(changes, who, id_, what, ask.reason)

            return keys_of(who.world, offer, _flat(named), large=True), step

        return await self._desk.act(call, Role.SUPPORT, Receipt, prepare)

    # --- undo

    async def undo_reset(
        self, call: Call, act_id: str, asked: UndoWanted | Refusal, *, patience_s: float | None = None
    ) -> Receipt:
        """
        Take back a reset, whoever made it, over which wire: once, for 24 hours. The undo of one of a part that takes
        longer than `patience_s` goes on.

        Refuses: as Desk.act, and what reading refused; NotThere, ReasonRequired, NothingToUndo, LaterReset, NewTrial.
        """
        return await self._undo(call, act_id, asked, RESETS, patience_s)

    async def undo_grant(self, call: Call, act_id: str, asked: UndoWanted | Refusal) -> Receipt:
        """Take back what a grant gave and nobody has used. Refuses: as `undo_reset`."""
        return await self._undo(call, act_id, asked, GRANTS)

    async def _undo(
        self,
        call: Call,
        act_id: str,
        asked: UndoWanted | Refusal,
        kinds: tuple[type[Struct], ...],
        patience_s: float | None = None,
    ) -> Receipt:
        who = await self._desk.check(call, Role.SUPPORT)
        before = await self._before(who, act_id, kinds)
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Receipt]:
            ask = given(asked)
            if before is None or not who.operator.sees(before.what.channel_id):
                raise NotThere("There is no such act that can be undone here.")
            offer = offer_for(who, role_to_undo(before.what), before.what.channel_id, before.what.pass_id, ask.reason)
            return _undoing(who, offer, before, ask, id_)

        receipt = await self._desk.act(call, Role.SUPPORT, Receipt, prepare)
        if before is not None and isinstance(before.what, act.NarrowedReset):
            ask = given(asked)
            await self._going.through(
                receipt.id, lambda: self._through(call.environment, before, ask, who.actor), patience_s
            )
        return receipt

    async def _before(self, who: Admitted, act_id: str, kinds: tuple[type[Struct], ...]) -> _Before | None:
        """
        Answer what is to be undone, None where there is no such act.

        A recurring reset that is due fires here, so that it is on record when it stands in the way.
        """
        context, world = self._context, who.world
        kept = await context.store.record(world.name, act_id)
        record = act.read_record(kept.document) if kept is not None else None
        if record is None or not isinstance(what := record.act, kinds):
            return None
        assert isinstance(what, Undoable)

        def prepare(world: World) -> Plan[Kept | None]:
            offer = world.offer(world.channel(what.channel_id), what.pass_id)
            keys = replace(keys_of(world, offer), kept=(reset.undo_key(act_id),))
            return keys, lambda found: (found.kept[0], reset.fire(found, offer, who.now))

        try:
            aside = await context.worlds.ask(world.name, prepare)
        except Refusal:  # of the catalogue: it is met again, once it is certain who asks
            aside = None
        return _Before(record, what, aside, _kept_subjects(what, aside))

    async def _through(self, environment: str, before: _Before, ask: UndoWanted, actor: act.Actor) -> None:
        """
        Go on with the undo of a narrowed reset from where it is, chunk by chunk; it was admitted when it began, whoever
        did. Where two do so at once, or one after another, each chunk returns once and the end is recorded once.
        """
        context, reset_id = self._context, before.record.id
        while (
            chunks := reset.read_chunks(await self._kept(environment, reset.undo_key(reset_id)))
        ) is not None and chunks.undo_id is not None:
            now = context.clock()
            if chunks.undone < chunks.chunks:
                number = chunks.undone + 1
                aside = await self._kept(environment, reset.undo_key(reset_id, number))
                await context.worlds.ask(environment, _returning(before, number, aside, ask, now))
            else:
                await context.worlds.ask(environment, _ending(reset_id, actor, context.act_id(), now))

    async def _kept(self, environment: str, key: str) -> Kept | None:
        def look(world: World) -> Plan[Kept | None]:
            return replace(keys_of(world), kept=(key,)), lambda found: (found.kept[0], NOTHING)

        return await self._context.worlds.ask(environment, look)


def role_to_undo(what: Undoable) -> Role:
    single = isinstance(what, act.SubjectReset | act.Grant) and act.is_one_viewer(what.subjects)
    return Role.SUPPORT if single else Role.OPERATOR


def _undoing(who: Admitted, offer: Offer, before: _Before, ask: UndoWanted, id_: str) -> Plan[Receipt]:
    """Plan to take back an act; of a narrowed reset, to begin with it."""
    target = before.record.id
    keys = replace(keys_of(who.world, offer, before.subjects, large=True), kept=(reset.undo_key(target),), raises=True)

    def step(found: Found) -> tuple[Receipt, Changes]:
        outcome, changes = _undone(found, offer, before, ask, who.now)
        if isinstance(outcome, Refused):
            raise _refusal(outcome)
        if isinstance(before.what, act.NarrowedReset):
            aside, chunks = found.kept[0], reset.read_chunks(found.kept[0])
            assert aside is not None
            assert chunks is not None
            if chunks.undo_id is not None:  # that one was broken off, or is under way: it is gone on with
                return Receipt(chunks.undo_id, None), changes
            begun = reset.write_chunks(aside, replace(chunks, undo_id=id_))
            changes = replace(changes, kept=(*changes.kept, begun))
        what = act.Undo(target, outcome.matched, outcome.replaced, offer.channel_id, offer.pass_id, before.subjects)
        return Receipt(id_, outcome.matched), recording(changes, who, id_, what, ask.reason)

    return keys, step


def _undone(
    found: Found, offer: Offer, before: _Before, ask: UndoWanted, now: int
) -> tuple[reset.Undone | Refused, Changes]:
    nothing = Refused(NotUndone.NOTHING_TO_UNDO)
    match before.what:
        case act.EverybodyReset() | act.RecurringReset():
            return reset.undo_everybody(found, offer, before.record.id, now)
        case act.NarrowedReset(subject_kind=kind):
            return reset.undo_narrowed(found, offer, kind, before.record.at, now)
        case act.SubjectReset():
            removed = reset.read_removed(before.aside) if before.aside is not None else ()
            return reset.undo_subjects(found, offer, removed, now, replace=ask.replace)
        case act.Grant():
            gifts = grant.read_given(before.aside) if before.aside is not None else ()
            matched, changes = grant.undo_grant(found, offer, gifts, now)
            return reset.Undone(matched) if matched else nothing, changes


def _returning(
    before: _Before, number: int, aside: Kept | None, ask: UndoWanted, now: int
) -> Callable[[World], Plan[None]]:
    """Plan to write back what the chunk `number` of a narrowed reset removed, unless somebody else did meanwhile."""
    removed = reset.read_removed(aside) if aside is not None else ()
    kept = (reset.undo_key(before.record.id, number), reset.undo_key(before.record.id))

    def prepare(world: World) -> Plan[None]:
        offer = world.offer(world.channel(before.what.channel_id), before.what.pass_id)
        keys = replace(keys_of(world, offer, [subject for subject, _ in removed], large=True), kept=kept)

        def step(found: Found) -> tuple[None, Changes]:
            count, chunks = found.kept[1], reset.read_chunks(found.kept[1])
            if count is None or chunks is None or chunks.undone != number - 1:
                return None, NOTHING
            undone, changes = reset.undo_chunk(found, offer, removed, now, replace=ask.replace)
            returned, replaced = chunks.returned + (undone.matched or 0), chunks.replaced + undone.replaced
            gone_on = replace(chunks, undone=number, returned=returned, replaced=replaced)
            return None, replace(changes, kept=(*changes.kept, reset.write_chunks(count, gone_on)))

        return keys, step

    return prepare


def _ending(reset_id: str, actor: act.Actor, id_: str, now: int) -> Callable[[World], Plan[None]]:
    """Plan to record the end of the undo of a narrowed reset, once all of its chunks have returned."""

    def prepare(world: World) -> Plan[None]:
        def step(found: Found) -> tuple[None, Changes]:
            count, chunks = found.kept[0], reset.read_chunks(found.kept[0])
            if count is None or chunks is None or chunks.undo_id is None or chunks.undone < chunks.chunks:
                return None, NOTHING
            end = act.Record(id_, now, actor, act.UndoEnd(chunks.undo_id, chunks.returned, chunks.replaced))
            return None, Changes(kept=(reset.forgotten(count),), records=(act.recorded(end),))

        return replace(keys_of(world), kept=(reset.undo_key(reset_id),)), step

    return prepare


def _refusal(outcome: Refused) -> Refusal:
    match outcome.why:
        case NotUndone.NOTHING_TO_UNDO:
            return NothingToUndo("It matched nothing, was undone already, or is more than 24 hours ago.")
        case NotUndone.NEW_TRIAL:
            return NewTrial("A viewer has begun a trial since; send replace: true to put the old one in its place.")
        case NotUndone.LATER_RESET if outcome.act_id is None:
            return LaterReset("A later reset of everybody stands, which cannot be undone.")
        case NotUndone.LATER_RESET:
            return LaterReset(f"A later reset of everybody stands; undo {outcome.act_id} first.")


# --- whose trial, under which offer


def offer_for(who: Admitted, needed: Role, channel_id: str, pass_id: str, reason: str | None) -> Offer:
    """Refuses: RoleMissing, OutsideLimits, UnknownChannel, UnknownPass, InactiveIntegration, ReasonRequired."""
    admitted(who.operator, needed, who.now, channel_id=channel_id)
    offer = who.world.offer(who.world.channel(channel_id), pass_id)
    if offer.reason_required and reason is None:
        raise ReasonRequired(f"Pass {pass_id!r} asks for a reason; send reason, such as a ticket's number.")
    return offer


def _named(world: World, whom: Whom | tuple[bytes, ...]) -> list[tuple[Subject, ...]]:
    """Answer the subjects that are named, each with what else it may be. Refuses: InvalidRequest."""
    if not isinstance(whom, Whom):
        if not 0 < len(whom) <= LIST_MAX:
            raise InvalidRequest(f"A list has 1 to {LIST_MAX} subjects.")
        return [_either(digest) for digest in dict.fromkeys(whom)]
    named: list[tuple[Subject, ...]] = []
    if whom.device_id is not None:
        named.append((device(whom.device_id, world.pepper),))
    if whom.user_key is not None:
        named.append((user_key(whom.user_key, world.pepper),))
    if whom.digest is not None and all(whom.digest != subject.digest for (subject,) in named):
        named.append(_either(whom.digest))
    named += [(subject,) for subject in whom.subjects]
    if not named:
        raise InvalidRequest("Name the viewer: device, email, key or subject.")
    return named


def _either(digest: bytes) -> tuple[Subject, ...]:
    return tuple(Subject(kind, digest) for kind in SubjectKind)


def _flat(named: Sequence[tuple[Subject, ...]]) -> tuple[Subject, ...]:
    return tuple(subject for each in named for subject in each)


def _present(named: Sequence[tuple[Subject, ...]], found: Found) -> tuple[tuple[Subject, ...], Found]:
    """Answer of each that is named the subject that has a ledger, or else the first; and what was found of these."""
    ledgers = dict(zip(_flat(named), found.ledgers, strict=True))
    subjects = tuple(next((one for one in each if ledgers[one] is not None), each[0]) for each in named)
    return subjects, replace(found, ledgers=tuple(ledgers[subject] for subject in subjects))


def _kept_subjects(what: Undoable, aside: Kept | None) -> tuple[Subject, ...]:
    """Answer whose ledgers were kept aside, in that order."""
    if aside is None:
        return ()
    match what:
        case act.SubjectReset():
            return tuple(subject for subject, _ in reset.read_removed(aside))
        case act.Grant():
            return tuple(each.subject for each in grant.read_given(aside))
        case _:
            return ()


def _receipt(id_: str, matched: int, now: int) -> Receipt:
    return Receipt(id_, matched, now + reset.UNDO_MS if matched else None)


def recording(changes: Changes, who: Admitted, id_: str, what: act.Act, reason: str | None) -> Changes:
    record = act.recorded(act.Record(id_, who.now, who.actor, what, reason))
    return replace(changes, records=(*changes.records, record))
