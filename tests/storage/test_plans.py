"""
Resets of everybody at the desk, on every adapter: counted, planned, applied, and confirmed by a second person.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from tests.storage.test_corrections import (
    ANN,
    CATALOGUE,
    HERE,
    HOUR,
    MIDNIGHT,
    MINUTE,
    SECRET,
    T0,
    TV,
    Rooms,
    broken_by,
    broken_off,
    refused,
    rooms,
)

from temppass.core.act import (
    ApprovalAsk,
    ApprovalDecline,
    ByOperator,
    EverybodyReset,
    NarrowedReset,
    NarrowedResetEnd,
    read_record,
)
from temppass.core.act import Planned as PlannedAct
from temppass.core.approval import APPROVAL_MS
from temppass.core.model import ANYWHERE, Changes, Floors, Ledger, Origin, Subject, SubjectKind
from temppass.core.operator import Role
from temppass.core.plan import EVERYBODY, PLAN_MS
from temppass.core.refusal import (
    AlreadySo,
    InvalidRequest,
    NothingToUndo,
    NotThere,
    OutsideLimits,
    OwnApproval,
    PlanOutdated,
    PlanRequired,
    RoleMissing,
)
from temppass.core.reset import UNDO_MS, Aim, Narrowing, Tally, tally
from temppass.service import narrowed, serve_from
from temppass.service.context import Policy, keys_of
from temppass.service.corrections import UndoWanted, Whom
from temppass.service.desk import Call, Once
from temppass.service.plans import ApplyWanted, PlanWanted, Wanted
from temppass.store import StoreUnavailable, Tallied
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.service.corrections import Receipt
    from temppass.service.plans import Planned
    from temppass.store import Store

DEVICES, KEYS, BOTH = EVERYBODY["devices"], EVERYBODY["keys"], EVERYBODY["both"]
BASIC = Wanted("REF", "Basic", DEVICES)
PLAYER, ELSEWHERE = Origin(b"p" * 16), Origin(b"e" * 16, b"u" * 16)


async def planned(here: Rooms, wanted: Wanted = BASIC, share: float = 0.1) -> Planned:
    told: Planned = await here.service.plans.plan(here.operator, PlanWanted(wanted, share))
    return told


async def applied(here: Rooms, plan_id: str | None, wanted: Wanted = BASIC, by: Call | None = None) -> Receipt:
    asked = ApplyWanted(wanted, plan_id, "ticket 7")
    receipt: Receipt = await here.service.plans.apply(by or here.operator, asked)
    return receipt


async def crowd(here: Rooms, count: int, ledger: Ledger, pass_id: str = "Basic") -> None:
    """Write the ledgers of as many devices past the engine."""
    world = await here.service.world(HERE)
    subjects = [Subject(SubjectKind.DEVICE, (number * 2**128 // count).to_bytes(16, "big")) for number in range(count)]
    keys = keys_of(world, world.offer(world.channel("REF"), pass_id), subjects)
    await here.store.transact(keys, lambda _found: (None, Changes(tuple((each, ledger) for each in subjects))))


# --- counting


@pytest.mark.parametrize("kind", SubjectKind)
@pytest.mark.parametrize(
    "narrowing",
    [
        Narrowing(),
        Narrowing(over=True),
        Narrowing(started_before=T0 + 1),
        Narrowing(PLAYER),
        Narrowing(Origin(None, b"u" * 16), over=True, started_before=T0 + 9),
        Narrowing(Origin(b"p" * 16, b"u" * 16)),
    ],
)
def test_pages_of_ledgers_are_counted_as_the_core_counts_them(
    place: Place, kind: SubjectKind, narrowing: Narrowing
) -> None:
    """And each page tells the first that is meant."""
    parts = itertools.product((T0, T0 + 1), (T0 + HOUR, T0 + 2 * HOUR), (0, 1, 2), (ANYWHERE, PLAYER, ELSEWHERE), BOTH)
    ledgers = [
        (Subject(of, bytes([number]) * 16), Ledger(started, expires, generation, ("A",), origin))
        for number, (started, expires, generation, origin, of) in enumerate(parts)
    ]
    aim = Aim(Floors(1, 2), narrowing, T0 + HOUR)
    of_kind = [entry for entry in ledgers if entry[0].kind is kind]

    async def work(store: Store) -> list[Tallied]:
        here = await rooms(store)
        world = await here.service.world(HERE)
        offer = world.offer(world.channel("REF"), "Basic")
        await store.transact(
            keys_of(world, offer, [subject for subject, _ in ledgers]),
            lambda _found: (None, Changes(tuple(ledgers), Floors(1, 2))),
        )
        last: bytes | None = b""
        told = []
        while last is not None:
            page = await store.tally((HERE, "REF", "Basic"), kind, aim, last, 7)
            last = page.last
            told.append(page)
        return [*told, await store.tally((HERE, "REF", "Daily"), kind, aim, b"", 7)]

    pages = [of_kind[first : first + 7] for first in range(0, len(of_kind), 7)]
    meant = [[subject.digest for subject, ledger in page if aim.touches(subject, ledger)] for page in pages]
    lasts = [page[-1][0].digest for page in pages[:-1]]
    assert place.use(work) == [
        *(
            Tallied(tally(page, aim), digests[0] if digests else None, last)
            for page, digests, last in zip(pages, meant, [*lasts, None], strict=True)
        ),
        Tallied(Tally(), None, None),
    ]


def test_a_plan_tells_what_a_reset_would_touch_and_changes_nothing(place: Place) -> None:
    async def work(store: Store) -> tuple[Any, ...]:
        here = await rooms(store)
        await here.watch("Promo", *[b"d%d" % number for number in range(20)])
        here.clock.advance(MINUTE)
        told = {name: await planned(here, Wanted("REF", "Promo", kinds)) for name, kinds in EVERYBODY.items()}
        examples = told["both"].examples
        assert {(each.started_at, each.titles) for each in examples} == {(T0, 1)}
        counts = {name: (each.running, each.over, each.exact, each.ends_at) for name, each in told.items()}
        return counts, len(set(examples)), await here.left("Promo", b"d7")

    until = T0 + MINUTE + PLAN_MS
    counted = {"devices": (20, 0, True, until), "keys": (1, 0, True, until), "both": (21, 0, True, until)}
    assert place.use(work) == (counted, 5, [0])


class Ticking(Clock):
    """Moves with each look at it."""

    def __call__(self) -> int:
        self.now += 100
        return self.now


def test_what_takes_more_than_a_second_to_count_is_estimated_and_says_so(place: Place) -> None:
    async def work(store: Store) -> tuple[bool, bool, bool]:
        here = await rooms(store)
        await crowd(here, 4_000, Ledger(T0, T0 + HOUR, 0))
        slow = serve_from(store, SECRET, Policy(), Ticking(T0))
        told = await planned(here._replace(service=slow))
        return told.exact, abs(told.running - 4_000) < 40, told.over == 0

    assert place.use(work) == (False, True, True)


# --- applying


def test_everybody_is_reset_by_a_plan_and_comes_back_by_an_undo(place: Place) -> None:
    async def work(store: Store) -> tuple[Any, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV, b"phone")
        told = await planned(here)
        done = await applied(here, told.id)
        gone, record = await here.left("Basic", TV, b"phone"), await here.record(done.id)
        assert (record.actor, record.reason) == (ByOperator("operator", Role.OPERATOR), "ticket 7")
        assert record.act == EverybodyReset("REF", "Basic", DEVICES, PlannedAct(2, 0, exact=True))
        await here.undo(done.id)
        return done.matched, done.undo_until, gone, await here.left("Basic", TV, b"phone")

    assert place.use(work) == (None, T0 + UNDO_MS, [None, None], [0, 0])


def test_a_plan_is_applied_once_also_by_many_at_once(place: Place) -> None:
    async def work(store: Store) -> tuple[int, object]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        told = await planned(here)
        outcomes = await asyncio.gather(*(refused(applied(here, told.id)) for _ in range(4)))
        return outcomes.count(None), await refused(applied(here, told.id))

    assert place.use(work) == (1, PlanOutdated)


def test_of_two_plans_of_the_same_only_the_first_holds(place: Place) -> None:
    """Whatever was counted by other floors than those that hold when it is done tells nothing."""

    async def work(store: Store) -> list[object]:
        here = await rooms(store)
        await crowd(here, 11, Ledger(T0, T0 + HOUR, 0))
        plans = [await planned(here) for _ in range(2)]
        outcomes = await asyncio.gather(*(refused(applied(here, each.id)) for each in plans))
        return sorted(outcomes, key=str)

    assert place.use(work) == [PlanOutdated, None]


@pytest.mark.parametrize(("waited_ms", "outcome"), [(PLAN_MS - 1, None), (PLAN_MS, PlanOutdated)])
def test_a_plan_holds_for_a_quarter_of_an_hour(place: Place, waited_ms: int, outcome: object) -> None:
    async def work(store: Store) -> object:
        here = await rooms(store)
        told = await planned(here)
        here.clock.advance(waited_ms)
        return await refused(applied(here, told.id))

    assert place.use(work) == outcome


@pytest.mark.parametrize(("more", "share", "outcome"), [(10, 0, None), (11, 0, PlanOutdated), (11, 1, None)])
def test_a_plan_holds_while_about_as_many_are_meant(place: Place, more: int, share: float, outcome: object) -> None:
    """Ten more or fewer always may be, and so much of what was planned as its maker said."""

    async def work(store: Store) -> object:
        here = await rooms(store)
        await here.watch("Basic", *[b"a%d" % number for number in range(11)])
        told = await planned(here, share=share)
        await here.watch("Basic", *[b"b%d" % number for number in range(more)])
        return await refused(applied(here, told.id))

    assert place.use(work) == outcome


def test_who_may_not_and_what_was_not_planned_is_refused(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        two = await here.limited(Role.OPERATOR, "TWO")
        plans = here.service.plans
        told = await planned(here)
        asked = [
            plans.plan(here.support, PlanWanted(BASIC)),
            plans.plan(two, PlanWanted(BASIC)),
            planned(here, BASIC._replace(kinds=KEYS)),
            applied(here, None, by=here.support),
            applied(here, told.id, by=two),
            applied(here, None),
            applied(here, "unknown"),
            applied(here, told.id, BASIC._replace(over=True)),
            applied(here, told.id, BASIC._replace(pass_id="Daily")),
        ]
        return [*[await refused(each) for each in asked], await here.left("Basic", TV)]

    assert place.use(work) == [
        RoleMissing, OutsideLimits, InvalidRequest, RoleMissing, OutsideLimits, PlanRequired, PlanOutdated,
        InvalidRequest, InvalidRequest, [0],
    ]  # fmt: skip


def test_a_pass_without_user_keys_has_devices_alone(place: Place) -> None:
    async def work(store: Store) -> object:
        here = await rooms(store)
        both = BASIC._replace(kinds=BOTH)
        done = await applied(here, (await planned(here, both)).id, both)
        return (await here.record(done.id)).act

    assert place.use(work) == EverybodyReset("REF", "Basic", DEVICES, PlannedAct(0, 0, exact=True))


def test_an_applied_plan_is_answered_again_by_its_key(place: Place) -> None:
    async def work(store: Store) -> tuple[bool, list[int | None]]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        told = await planned(here)
        call = here.operator._replace(once=Once("k", "POST /resets", b"body"))
        first = await applied(here, told.id, by=call)
        await here.watch("Basic", TV)
        return await applied(here, told.id, by=call) == first, await here.left("Basic", TV)

    assert place.use(work) == (True, [0])


def test_a_recurring_reset_that_is_due_fires_before_anything_is_counted(place: Place) -> None:
    async def work(store: Store) -> tuple[int, list[str]]:
        here = await rooms(store)
        await here.watch("Daily", TV)
        here.clock.now = MIDNIGHT
        wanted = BASIC._replace(pass_id="Daily")
        told = await planned(here, wanted)
        here.clock.advance(1)
        await applied(here, told.id, wanted)
        await here.service.history.seal()
        sealed = await store.records(HERE, 2, 10)
        return told.running, [type(read_record(each.document).act).__name__ for each in sealed]

    assert place.use(work) == (0, ["RecurringReset", "EverybodyReset"])


# --- a part of everybody


@pytest.mark.parametrize(
    ("only", "touched", "left"),
    [
        ({"over": True}, (0, 1), {b"tv", b"new"}),
        ({"started_before": T0 + HOUR + 1}, (1, 1), {b"new"}),
        ({"app_id": "player"}, (1, 0), {b"old", b"new"}),
        ({"app_id": "player", "over": True}, (0, 0), {b"old", b"tv", b"new"}),
    ],
)
def test_a_part_of_everybody_is_planned_reset_and_undone(
    place: Place, only: dict[str, Any], touched: tuple[int, int], left: set[bytes]
) -> None:
    """Of three trials: one that is over, one of the application `player`, and one that has just begun."""

    async def work(store: Store) -> tuple[Any, ...]:
        here = await rooms(store)
        await here.watch("Basic", b"old")
        here.clock.advance(HOUR)
        await here.watch("Basic", TV, app="player")
        here.clock.advance(MINUTE)
        await here.watch("Basic", b"new")
        digests = {await here.digest(each): each for each in (b"old", b"tv", b"new")}

        async def on_record() -> set[bytes]:
            ledgers = await here.store.ledgers((HERE, "REF", "Basic"), SubjectKind.DEVICE, b"", 10)
            return {digests[subject.digest] for subject, _ in ledgers}

        wanted = BASIC._replace(**only)
        told = await planned(here, wanted)
        done = await applied(here, told.id, wanted)
        after, record = await on_record(), await here.record(done.id)
        assert isinstance(record.act, NarrowedReset)
        undone = await refused(here.undo(done.id))
        return (told.running, told.over), done.matched, after, undone, await on_record()

    matched = sum(touched)
    back = None if matched else NothingToUndo
    assert place.use(work) == (touched, matched, left, back, {b"old", b"tv", b"new"})


def test_a_reset_of_a_part_that_was_broken_off_goes_on_when_it_is_asked_for_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Wherever that was: one act, one end which counts everything, an undo that brings all of it back; and who came back
    in between keeps the new trial.
    """
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices, wanted = [b"d%d" % number for number in range(5)], BASIC._replace(app_id="player")

    async def gone(here: Rooms) -> list[bytes]:
        begun = await here.left("Basic", *devices)
        return [each for each, at in zip(devices, begun, strict=True) if at is None]

    async def attempt(here: Rooms, transactions_max: int) -> tuple[int, bool]:
        """Answer how many were gone when it was broken off, and whether it was."""
        call = here.operator._replace(once=Once(f"{transactions_max}", "apply", b""))
        plan = await planned(here, wanted)
        with monkeypatch.context() as patched:
            patched.setattr(here.store, "transact", broken_off(here.store, transactions_max))
            is_broken = await broken_by(StoreUnavailable, applied(here, plan.id, wanted, call))
        before = await gone(here)
        here.clock.advance(2)
        await here.watch("Basic", *before[:1], app="player")
        done = await applied(here, plan.id, wanted, call)
        left = [each for each in devices if each not in before[:1]]
        acts = [record async for _, record in here.service.history.records(HERE)]
        ends = [each.act.matched for each in acts if isinstance(each.act, NarrowedResetEnd)][-1:]
        begun = [each for each in acts if isinstance(each.act, NarrowedReset)]
        assert (done.matched, ends, len(begun), await gone(here)) == (5, [5], transactions_max + 1, left)
        await here.undo(done.id, wanted=UndoWanted(replace=True))
        assert await here.left("Basic", *devices) == [0] * 5
        return len(before), is_broken

    async def work(store: Store) -> set[tuple[int, bool]]:
        here, seen = await rooms(store), set[tuple[int, bool]]()
        await here.watch("Basic", *devices, app="player")
        for transactions_max in itertools.count():
            seen.add(await attempt(here, transactions_max))
            if (5, False) in seen:
                break
        return seen

    assert place.use(work) == {*[(count, True) for count in (0, 2, 4, 5)], (5, False)}


def test_a_reset_of_a_part_that_is_asked_for_again_while_it_is_under_way_is_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears no answer sends it once more; what either removes comes back."""
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices, wanted = [b"d%d" % number for number in range(9)], BASIC._replace(app_id="player")

    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *devices, app="player")
        plan, call = await planned(here, wanted), here.operator._replace(once=Once("k", "apply", b""))
        done = await asyncio.gather(*(applied(here, plan.id, wanted, call) for _ in range(3)))
        gone = {*await here.left("Basic", *devices)}
        acts = [record.act async for _, record in here.service.history.records(HERE)]
        ends = [each.matched for each in acts if isinstance(each, NarrowedResetEnd)]
        await here.undo(done[0].id)
        return len(set(done)), done[0].matched, ends, gone, {*await here.left("Basic", *devices)}

    assert place.use(work) == (1, 9, [9], {None}, {0})


@pytest.mark.parametrize("what", ["another's", "too old", "applied"])
def test_a_plan_is_shown_to_who_made_it_while_it_holds(place: Place, what: str) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        plans, plan = here.service.plans, await planned(here, BASIC._replace(over=True))
        shown = (await plans.made(here.operator, plan.id)).what
        if what == "too old":
            here.clock.advance(PLAN_MS)
        elif what == "applied":
            await applied(here, plan.id, BASIC._replace(over=True))
        call = await here.limited(Role.OPERATOR, "REF") if what == "another's" else here.operator
        return shown.target.narrowing, shown.ends_at, await refused(plans.made(call, plan.id))

    assert place.use(work) == (Narrowing(over=True), T0 + PLAN_MS, PlanOutdated)


# --- what became of one


def test_what_is_in_the_way_of_the_undo_of_a_part_is_told(place: Place) -> None:
    """A later reset of everybody, and a day."""

    async def work(store: Store) -> list[object]:
        here, wanted = await rooms(store), BASIC._replace(app_id="player")
        await here.watch("Basic", TV, app="player")
        first = (await applied(here, (await planned(here, wanted)).id, wanted)).id
        here.clock.advance(1)
        second = (await applied(here, (await planned(here)).id)).id
        courses = [await here.service.courses.of(here.operator, first)]
        await here.undo(second)
        courses.append(await here.service.courses.of(here.operator, first))
        here.clock.advance(UNDO_MS)
        courses.append(await here.service.courses.of(here.operator, first))
        return [(each.later == second, each.undo_until) for each in courses]

    assert place.use(work) == [(True, T0 + UNDO_MS), (False, T0 + UNDO_MS), (False, None)]


def test_what_became_of_a_reset_is_told_to_operators_of_its_channel(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        here, wanted = await rooms(store), BASIC._replace(over=True)
        id_ = (await applied(here, (await planned(here, wanted)).id, wanted)).id
        callers = [await here.limited(Role.OPERATOR, "TWO"), await here.limited(Role.SUPPORT, "REF")]
        courses = here.service.courses
        one = await here.reset(Whom(TV))
        outcomes = [
            await refused(ask) for call in callers for ask in (courses.of(call, id_), courses.finish(call, id_))
        ]
        return [*outcomes, await refused(courses.of(here.operator, one.id))]

    assert place.use(work) == [NotThere, NotThere, RoleMissing, RoleMissing, NotThere]


def test_a_reset_of_a_part_that_was_broken_off_is_told_so_and_finished(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices, wanted = [b"d%d" % number for number in range(5)], BASIC._replace(app_id="player")

    async def work(store: Store) -> list[object]:
        here = await rooms(store)
        await here.watch("Basic", *devices, app="player")
        courses, plan = here.service.courses, await planned(here, wanted)
        with monkeypatch.context() as patched:
            patched.setattr(here.store, "transact", broken_off(here.store, 5))
            assert await broken_by(StoreUnavailable, applied(here, plan.id, wanted))
        records = [record async for _, record in here.service.history.records(HERE)]
        (id_,) = [record.id for record in records if isinstance(record.act, NarrowedReset)]
        before = await courses.of(here.operator, id_)
        matched = await courses.finish(here.operator, id_)
        after = await courses.of(here.operator, id_)
        await here.undo(id_)
        undone = await courses.of(here.operator, id_)
        told = [
            (each.chunks and (each.chunks.matched, each.chunks.ended), each.is_undone)
            for each in (before, after, undone)
        ]
        return [matched, *told]

    assert place.use(work) == [5, ((2, False), False), ((5, True), False), (None, True)]


@pytest.mark.parametrize("once", ["new", "again"])
def test_a_reset_of_a_part_goes_on_when_nobody_waits_for_it_any_more(
    place: Place, monkeypatch: pytest.MonkeyPatch, once: str
) -> None:
    devices, wanted = [b"d%d" % number for number in range(5)], BASIC._replace(app_id="player")

    async def work(store: Store) -> tuple[object, ...]:
        here, gate = await rooms(store), asyncio.Event()
        await here.watch("Basic", *devices, app="player")
        plans, plan, ledgers = here.service.plans, await planned(here, wanted), here.store.ledgers
        call = here.operator._replace(once=Once("one", "apply", b""))

        async def held(*asked: Any) -> Any:
            if asked[-1] == narrowed.CHUNK:  # and not what counting asks for
                await gate.wait()
            return await ledgers(*asked)

        monkeypatch.setattr(here.store, "ledgers", held)
        for _ in range(2 if once == "again" else 1):
            receipt = await plans.apply(call, ApplyWanted(wanted, plan.id, "ticket 7"), patience_s=0)
        before = await here.service.courses.of(here.operator, receipt.id)
        gate.set()
        matched = await here.service.courses.finish(here.operator, receipt.id, patience_s=60)
        after = await here.service.courses.of(here.operator, receipt.id)
        assert before.chunks is not None
        assert after.chunks is not None
        return receipt.matched, before.is_going, before.chunks.matched, matched, after.chunks.ended

    assert place.use(work) == (None, True, 0, 5, True)


# --- two persons

GUARDED = replace(CATALOGUE, passes={**CATALOGUE.passes, "Basic": replace(CATALOGUE.passes["Basic"], approvals=2)})


async def guarded(store: Store) -> tuple[Rooms, Call]:
    """Answer rooms in which a reset of everybody needs two persons, and the other one."""
    here = await rooms(store)
    await here.service.catalogues.apply(HERE, GUARDED, "", ANN)
    await here.watch("Basic", TV)
    return here, await here.limited(Role.OPERATOR, "REF")


def test_what_one_has_asked_for_another_confirms(place: Place) -> None:
    """And both are on record."""

    async def work(store: Store) -> tuple[Any, ...]:
        here, other = await guarded(store)
        asked = await applied(here, (await planned(here)).id)
        waits, plans = await here.left("Basic", TV), here.service.plans
        (waiting,) = await plans.approvals(other)
        own = await refused(plans.decide(here.operator, waiting.id, True))
        done = await plans.decide(other, waiting.id, True)
        gone, rest = await here.left("Basic", TV), await plans.approvals(other)
        asking, record = await here.record(asked.id), await here.record(done.id)
        counted = PlannedAct(1, 0, exact=True)
        assert (asking.actor, asking.reason) == (ByOperator("operator", Role.OPERATOR), "ticket 7")
        assert asking.act == ApprovalAsk("REF", "Basic", DEVICES, ANYWHERE, False, None, counted)
        assert (record.actor, record.reason) == (ByOperator("operator-REF", Role.OPERATOR), "ticket 7")
        assert record.act == EverybodyReset("REF", "Basic", DEVICES, counted, asked.id)
        await here.undo(done.id)
        return asked.approval == waiting.id, waits, own, gone, rest, await here.left("Basic", TV)

    assert place.use(work) == (True, [0], OwnApproval, [None], [], [0])


@pytest.mark.parametrize("own", [False, True])
def test_what_is_declined_is_not_done(place: Place, *, own: bool) -> None:
    async def work(store: Store) -> tuple[Any, ...]:
        here, other = await guarded(store)
        asked = await applied(here, (await planned(here)).id)
        plans = here.service.plans
        declined = await plans.decide(here.operator if own else other, asked.id, False)
        assert (await here.record(declined.id)).act == ApprovalDecline(asked.id, "REF", "Basic")
        late = await refused(plans.decide(other, asked.id, True))
        return declined.undo_until, late, await here.left("Basic", TV)

    assert place.use(work) == (None, NotThere, [0])


def test_an_hour_ends_what_waits_and_the_age_of_its_plan_does_not(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        here, other = await guarded(store)
        outcomes: list[object] = []
        for waited_ms in (APPROVAL_MS - 1, APPROVAL_MS):
            await here.watch("Basic", TV)
            asked = await applied(here, (await planned(here)).id)
            here.clock.advance(waited_ms)
            outcomes.append(await refused(here.service.plans.decide(other, asked.id, True)))
        return outcomes

    assert place.use(work) == [None, NotThere]


def test_what_is_confirmed_is_counted_anew(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here, other = await guarded(store)
        asked = await applied(here, (await planned(here)).id)
        await here.watch("Basic", *[b"b%d" % number for number in range(11)])
        return await refused(here.service.plans.decide(other, asked.id, True)), await here.left("Basic", TV)

    assert place.use(work) == (PlanOutdated, [0])


def test_one_reset_of_a_pass_waits_at_a_time_and_others_do_not_see_it(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here, _ = await guarded(store)
        two, plans = await here.limited(Role.OPERATOR, "TWO"), [await planned(here) for _ in range(2)]
        asked = await applied(here, plans[0].id)
        again = await refused(applied(here, plans[1].id))
        unseen = await refused(here.service.plans.decide(two, asked.id, True))
        return again, await here.service.plans.approvals(two), unseen

    assert place.use(work) == (AlreadySo, [], NotThere)


def test_of_two_who_confirm_at_once_one_does_it(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        here, other = await guarded(store)
        third = await here.limited(Role.OPERATOR, "REF", "TWO")
        asked = await applied(here, (await planned(here)).id)
        yes = [here.service.plans.decide(by, asked.id, True) for by in (other, third)]
        return sorted([*await asyncio.gather(*map(refused, yes))], key=str)

    assert place.use(work) == [NotThere, None]
