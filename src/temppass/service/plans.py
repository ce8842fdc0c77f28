"""
Resets of everybody, or of a part of them, at the desk: counted first, applied by what was counted, and where a pass
wants two persons for it, done only once another one has said yes.

Counting is bounded to a second, on a connection of its own. What was counted is compared with what a reset would touch
when it is done, and the floors that it was counted by have to hold until then.

Source: docs/design.md (plans, two persons).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, approval, plan, reset
from temppass.core.approval import Approval
from temppass.core.catalogue import Offer
from temppass.core.model import NOTHING, Changes, Floors, Found, Subject, SubjectKind
from temppass.core.operator import Role, admitted
from temppass.core.plan import Counted, Example, Target
from temppass.core.refusal import InvalidRequest, NotThere, OwnApproval, PlanOutdated, PlanRequired, Refusal
from temppass.core.reset import Aim, Narrowing, Tally
from temppass.core.world import World
from temppass.service.context import Context, given, keys_of, new_id
from temppass.service.corrections import Receipt, offer_for, recording
from temppass.service.counters import RESET, Counters
from temppass.service.decisions import origin_of
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.narrowed import Going, Narrowed, go_on, go_through
from temppass.service.worlds import Plan

#: for how long is counted; the rest of 1.2 s is for what comes before and after
COUNT_MS = 950
#: ledgers of the largest page; the first are small, because each brings one example
PAGE_MAX = 1_000
#: after a page the database has so many times as long for decisions
REST = 3
EXAMPLES = 5


class Wanted(NamedTuple):
    """
    Whom a reset is to mean: everybody of `kinds`, or only those whose time is over, who began before a moment, who came
    by an application.
    """

    channel_id: str
    pass_id: str
    kinds: tuple[SubjectKind, ...]
    over: bool = False
    started_before: int | None = None
    app_id: str | None = None


class PlanWanted(NamedTuple):
    """`share` is by how much of it the number may have moved when the plan is applied."""

    target: Wanted | Target
    share: float = plan.SHARE


class ApplyWanted(NamedTuple):
    target: Wanted | Target
    plan_id: str | None
    reason: str | None = None


class Made(NamedTuple):
    """A plan that was made and holds, and what it is of."""

    what: plan.Plan
    offer: Offer


class Planned(Struct, frozen=True):
    """A plan, until `ends_at`; `exact` where all were counted, else it is an estimate."""

    id: str
    running: int
    over: int
    exact: bool
    examples: tuple[Example, ...]
    ends_at: int


class Plans:
    def __init__(self, context: Context, desk: Desk, counters: Counters, going: Going) -> None:
        self._context = context
        self._desk = desk
        self._counters = counters
        self._going = going

    async def plan(self, call: Call, asked: PlanWanted | Refusal) -> Planned:
        """
        Count what a reset would touch, and keep that for a quarter of an hour.

        Refuses: as Desk.act, and what reading refused; UnknownChannel, UnknownPass, InactiveIntegration, InvalidRequest
        for keys of a pass that knows none.
        """
        who = await self._desk.check(call, Role.OPERATOR)
        id_, counted = new_id(), await self._counted(who, asked if isinstance(asked, Refusal) else asked.target)

        def prepare(who: Admitted) -> Plan[Planned]:
            ask = given(asked)
            target, offer = _target(who, ask.target)
            present, examples = given(counted)
            made = plan.Plan(target, present, ask.share, who.now, who.operator.name, examples)
            kept = plan.kept_plan(id_, made)
            touched = present.touched
            told = Planned(id_, touched.running, touched.over, present.is_exact, examples, kept.expires_at)
            return keys_of(who.world, offer), lambda _found: (told, Changes(kept=(kept,)))

        return await self._desk.act(call, Role.OPERATOR, Planned, prepare)

    async def made(self, call: Call, plan_id: str) -> Made:
        """
        Answer a plan that the same operator made. Refuses: as Desk.look, and `plan`; PlanOutdated, also for a plan of
        somebody else.
        """

        def prepare(who: Admitted) -> Plan[Made]:
            def step(found: Found) -> tuple[Made, Changes]:
                made = plan.read_plan(found.kept[0], who.now, who.operator.name)
                _, offer = _target(who, made.target)
                return Made(made, offer), NOTHING

            return replace(keys_of(who.world), kept=(plan.plan_key(plan_id),)), step

        return await self._desk.look(call, Role.OPERATOR, prepare)

    async def apply(self, call: Call, asked: ApplyWanted | Refusal, *, patience_s: float | None = None) -> Receipt:
        """
        Do what was planned, once; where the pass wants two persons for it, ask for the other one. A reset of a part
        that takes longer than `patience_s` goes on, and the receipt does not say how many it matched.

        Refuses: as `plan`; ReasonRequired, PlanRequired, PlanOutdated, AlreadySo.
        """
        who = await self._desk.check(call, Role.OPERATOR)
        wanted: Wanted | Target | Refusal
        if isinstance(asked, Refusal):
            wanted = asked
        elif asked.plan_id is None:
            wanted = PlanRequired("Everybody is reset by a plan, which tells how many that is: POST …/plans.")
        else:
            wanted = asked.target
        id_, counted = self._context.act_id(), await self._counted(who, wanted)

        def prepare(who: Admitted) -> Plan[Receipt]:
            ask = given(asked)
            target, _ = _target(who, ask.target)
            offer = offer_for(who, Role.OPERATOR, target.channel_id, target.pass_id, ask.reason)
            present, _ = given(counted)
            keys = replace(keys_of(who.world, offer), kept=(plan.plan_key(ask.plan_id or ""),))

            def made_of(found: Found) -> tuple[plan.Plan, Changes]:
                made = plan.read_plan(found.kept[0], who.now)
                plan.check(made, target, present)
                assert found.kept[0] is not None
                return made, Changes(kept=(reset.forgotten(found.kept[0]),))

            def step(found: Found) -> tuple[Receipt, Changes]:
                _, used = made_of(found)
                return _resetting(found, offer, target, present, who, id_, used, reason=ask.reason)

            def ask_for_another(found: Found) -> tuple[Receipt, Changes]:
                made, used = made_of(found)
                entry = Approval(id_, target, made.counted, made.share, who.operator.name, who.now, ask.reason)
                changes = replace(used, kept=(*used.kept, approval.added(found.kept[1], entry, who.now)))
                return Receipt(id_, None, approval=id_), recording(changes, who, id_, entry.act, ask.reason)

            if offer.approvals > 1:
                return replace(keys, kept=(*keys.kept, approval.KEY)), ask_for_another
            return keys, step

        receipt = await self._desk.act(call, Role.OPERATOR, Receipt, prepare)
        if receipt.approval is not None:
            return receipt
        if receipt.id != id_:
            return await self._go_on(who, receipt, patience_s)
        return await self._finish(who, _target(who, given(asked).target)[0], receipt, patience_s)

    # --- two persons

    async def approvals(self, call: Call) -> list[Approval]:
        """Answer what waits for a second person, the oldest first. Refuses: as Desk.look."""

        def prepare(who: Admitted) -> Plan[list[Approval]]:
            def step(found: Found) -> tuple[list[Approval], Changes]:
                waiting = approval.pending(found.kept[0], who.now)
                return [each for each in waiting if who.operator.sees(each.target.channel_id)], NOTHING

            return replace(keys_of(who.world), kept=(approval.KEY,)), step

        return await self._desk.look(call, Role.OPERATOR, prepare)

    async def decide(
        self,
        call: Call,
        approval_id: str,
        asked: bool | Refusal,  # noqa: FBT001 - told by name
        *,
        patience_s: float | None = None,
    ) -> Receipt:
        """
        Say yes to what another operator asked for, and it is done, as `apply` does it; or no, and it is not. Whoever
        asked may take it back, and that is all.

        Refuses: as Desk.act, and what reading refused; NotThere, OwnApproval, PlanOutdated.
        """
        who = await self._desk.check(call, Role.OPERATOR)
        waiting = next((each for each in await self.approvals(call) if each.id == approval_id), None)
        id_, approves = self._context.act_id(), asked is True
        counted = await self._counted(who, waiting.target) if waiting is not None and approves else None

        def prepare(who: Admitted) -> Plan[Receipt]:
            given(asked)
            if waiting is None:
                raise NotThere("Nothing of this name waits for a second person; an hour ends it.")
            target = waiting.target
            offer = offer_for(who, Role.OPERATOR, target.channel_id, target.pass_id, waiting.reason)

            def step(found: Found) -> tuple[Receipt, Changes]:
                rest = approval.without(found.kept[0], waiting, who.now)
                if counted is None:
                    what = act.ApprovalDecline(approval_id, target.channel_id, target.pass_id)
                    return Receipt(id_, None), recording(Changes(kept=(rest,)), who, id_, what, None)
                if waiting.asked_by == who.operator.name:
                    raise OwnApproval("Nobody confirms what they asked for themselves; another operator has to.")
                present, _ = given(counted)
                plan.check(plan.Plan(target, waiting.counted, waiting.share, who.now), target, present)
                taken = Changes(kept=(rest,))
                return _resetting(found, offer, target, present, who, id_, taken, waiting.reason, approval_id)

            return replace(keys_of(who.world, offer), kept=(approval.KEY,)), step

        receipt = await self._desk.act(call, Role.OPERATOR, Receipt, prepare)
        if not approves:
            return receipt
        if receipt.id != id_:
            return await self._go_on(who, receipt, patience_s)
        assert waiting is not None
        return await self._finish(who, waiting.target, receipt, patience_s)

    async def _finish(self, who: Admitted, target: Target, receipt: Receipt, patience_s: float | None) -> Receipt:
        """Count a reset that was done, and remove the ledgers that no floor can tell from the others."""
        environment = who.world.name
        self._counters.add(environment, target.channel_id, target.pass_id, self._context.clock(), (RESET,))
        if target.is_everybody:
            return receipt
        offer = who.world.offer(who.world.channel(target.channel_id), target.pass_id)
        narrowed = Narrowed(receipt.id, offer, target.kinds, target.narrowing, who.actor)
        matched = await self._going.through(
            receipt.id, lambda: go_through(self._context, environment, narrowed), patience_s
        )
        return _through(receipt, matched)

    async def _go_on(self, who: Admitted, receipt: Receipt, patience_s: float | None) -> Receipt:
        """Answer what was done before; where that was broken off between its chunks, finish it first."""
        matched = await self._going.through(
            receipt.id, lambda: go_on(self._context, who.world.name, receipt.id), patience_s
        )
        return _through(receipt, matched)

    # --- counting

    async def _counted(
        self, who: Admitted, wanted: Wanted | Target | Refusal
    ) -> tuple[Counted, tuple[Example, ...]] | Refusal:
        """
        Answer how many ledgers a reset would touch, with a few of them; a refusal is due only once it is certain who
        asks, and whether the same was answered before. A recurring reset that is due fires first.
        """
        context, environment, now = self._context, who.world.name, self._context.clock()
        try:
            if isinstance(wanted, Refusal):
                return wanted
            target, _ = _target(who, wanted)

            def settle(world: World) -> Plan[Floors]:
                offer = world.offer(world.channel(target.channel_id), target.pass_id)
                return keys_of(world, offer), lambda found: (
                    reset.settle(found.floors, offer, now),
                    reset.fire(found, offer, now),
                )

            floors = await context.worlds.ask(environment, settle)
            counted, subjects = await self._count(environment, target, Aim(floors, target.narrowing, now))

            def look(world: World) -> Plan[tuple[Example, ...]]:
                offer = world.offer(world.channel(target.channel_id), target.pass_id)
                return keys_of(world, offer, subjects, large=True), lambda found: (_examples(subjects, found), NOTHING)

            return counted, await context.worlds.ask(environment, look)
        except Refusal as refusal:
            return refusal

    async def _count(self, environment: str, target: Target, aim: Aim) -> tuple[Counted, list[Subject]]:
        """Count page by page; kinds take turns, so that where the time does not suffice a part of each was counted."""
        store, integration = self._context.store, (environment, target.channel_id, target.pass_id)
        touched = dict.fromkeys(target.kinds, Tally())
        last: dict[SubjectKind, bytes | None] = dict.fromkeys(target.kinds, b"")
        subjects: list[Subject] = []
        loop, limit = asyncio.get_running_loop(), 1
        while any(each is not None for each in last.values()) and self._context.clock() < aim.now + COUNT_MS:
            for kind, after in last.items():
                if after is not None:
                    began = loop.time()
                    page = await store.tally(integration, kind, aim, after, limit)
                    await asyncio.sleep(REST * (loop.time() - began))  # so that the database has time for decisions
                    touched[kind], last[kind] = touched[kind].plus(page.touched), page.last
                    if page.example is not None and len(subjects) < EXAMPLES:
                        subjects.append(Subject(kind, page.example))
            limit = min(2 * limit, PAGE_MAX)
        whole = Tally()
        for kind in target.kinds:
            whole = whole.plus(plan.estimated(touched[kind], last[kind]))
        return Counted(whole, all(each is None for each in last.values()), aim.floors), subjects


def _resetting(
    found: Found,
    offer: Offer,
    target: Target,
    present: Counted,
    who: Admitted,
    id_: str,
    taken: Changes,
    reason: str | None,
    approval_id: str | None = None,
) -> tuple[Receipt, Changes]:
    """
    Do a reset as it was counted, or begin with it; `taken` is what it uses up. Refuses: PlanOutdated where the floors
    by which it was counted have moved.
    """
    if reset.settle(found.floors, offer, who.now) != present.floors:
        raise PlanOutdated("Another reset of everybody came in between; make a new plan.")
    planned, narrowing = present.planned, target.narrowing
    what: act.Act
    if target.is_everybody:
        changes = reset.reset_everybody(found, offer, target.kinds, who.now, id_)
        what = act.EverybodyReset(offer.channel_id, offer.pass_id, target.kinds, planned, approval_id)
    else:
        fired = reset.fire(found, offer, who.now)
        changes = replace(fired, kept=(*fired.kept, reset.no_chunks(id_, who.now)))
        what = act.NarrowedReset(
            offer.channel_id,
            offer.pass_id,
            target.kinds[0] if len(target.kinds) == 1 else None,
            narrowing.origin,
            narrowing.over,
            narrowing.started_before,
            planned,
            approval_id,
        )
    changes = replace(changes, kept=(*changes.kept, *taken.kept))
    return Receipt(id_, None, who.now + reset.UNDO_MS), recording(changes, who, id_, what, reason)


def _through(receipt: Receipt, matched: int | None) -> Receipt:
    """
    Answer the receipt of a narrowed reset that has gone through so many ledgers; None where it is another act, or has
    not gone through all of them.
    """
    if matched is None:
        return receipt
    return replace(receipt, matched=matched, undo_until=receipt.undo_until if matched else None)


def _target(who: Admitted, wanted: Wanted | Target) -> tuple[Target, Offer]:
    """
    Answer whom a reset means, and under which offer. A pass without user keys has devices alone.

    Refuses: RoleMissing, OutsideLimits, UnknownChannel, UnknownPass, InactiveIntegration, InvalidRequest.
    """
    admitted(who.operator, Role.OPERATOR, who.now, channel_id=wanted.channel_id)
    offer = who.world.offer(who.world.channel(wanted.channel_id), wanted.pass_id)
    kinds = tuple(kind for kind in wanted.kinds if kind is SubjectKind.DEVICE or offer.identity_key is not None)
    if not kinds:
        raise InvalidRequest(f"Pass {offer.pass_id!r} knows nobody by a user key; reset its devices.")
    if isinstance(wanted, Target):
        narrowing = wanted.narrowing
    else:
        narrowing = Narrowing(origin_of(who.world, wanted.app_id, None), wanted.over, wanted.started_before)
    return Target(offer.channel_id, offer.pass_id, kinds, narrowing), offer


def _examples(subjects: list[Subject], found: Found) -> tuple[Example, ...]:
    return tuple(
        Example(subject, ledger.started_at, len(ledger.used))
        for subject, ledger in zip(subjects, found.ledgers, strict=True)
        if ledger is not None
    )
