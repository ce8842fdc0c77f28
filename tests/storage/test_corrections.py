"""
What operators set right, on every adapter: resets, grants, and acts taken back, also those of the vendor's wire.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from temppass.core import oauth
from temppass.core.act import ByOperator, ByShell, Grant, NarrowedReset, SubjectReset, Undo, UndoEnd, read_record
from temppass.core.catalogue import Application, Catalogue, Channel, Pass, Programmer
from temppass.core.grant import Gift
from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.model import Changes, Ledger, PassKind, Profile, SubjectKind
from temppass.core.operator import Role
from temppass.core.refusal import (
    InvalidRequest,
    KeyReused,
    LaterReset,
    NewTrial,
    NothingToGrant,
    NothingToUndo,
    NotThere,
    OutsideLimits,
    Refusal,
    RoleMissing,
)
from temppass.core.reset import UNDO_MS
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_RESET, SCOPE_V2
from temppass.service import Service, narrowed, serve_from
from temppass.service.context import Caller, Policy, keys_of
from temppass.service.corrections import GrantWanted, Receipt, ResetWanted, UndoWanted, Whom
from temppass.service.decisions import Viewer, origin_of
from temppass.service.desk import Call, Once
from temppass.service.operators import NewOperator
from temppass.service.resets import EVERYBODY, Everybody, ResetAsk
from temppass.store import StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.storage.conftest import Place

    from temppass.core.act import Record
    from temppass.core.model import Found, Subject
    from temppass.store import Keys, Store

T0, MINUTE, HOUR, HERE = 1_767_261_600_000, 60_000, 3_600_000, "release-production"
#: T0 is ten o'clock
MIDNIGHT = T0 + 14 * HOUR
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
CHANNELS = {name: Channel(name, "acme", name) for name in ("REF", "TWO")}
PASSES = [
    Pass("Basic", PassKind.BASIC, "", HOUR, {"REF": True, "TWO": True}),
    Pass("Promo", PassKind.PROMOTIONAL, "", HOUR, {"REF": True}, 2, "email"),
    Pass("Daily", PassKind.BASIC, "", 48 * HOUR, {"REF": True}, resets="0 0 * * *"),
]
CATALOGUE = Catalogue(
    {"acme": Programmer("acme", "Acme")},
    CHANNELS,
    {entry.id: entry for entry in PASSES},
    {"ops": Application("ops", "Support", None, (SCOPE_V2, SCOPE_RESET))},
)
UNDO = UndoWanted()
TV, KEY = b"tv", canonical_user_key("anna@example.net")


class Rooms(NamedTuple):
    """A service, who calls it over the vendor's wire, and an operator of each role that acts on viewers."""

    store: Store
    clock: Clock
    service: Service
    caller: Caller
    support: Call
    operator: Call

    def on(self, store: Store) -> Rooms:
        """Answer another process on the same database."""
        return self._replace(store=store, service=serving(store, self.clock))

    async def watch(self, pass_id: str, *devices: bytes, title: str = "A", app: str | None = None) -> None:
        for each in devices:
            viewer = Viewer(each, identity() if pass_id == "Promo" else None, app)
            await self.service.decisions.authorize(self.caller, pass_id, (viewer, [title]))

    async def left(self, pass_id: str, *devices: bytes) -> list[int | None]:
        """Answer when the trial of each device began, in milliseconds after T0; None for one that is over or new."""
        told = []
        for each in devices:
            viewer = Viewer(each, identity() if pass_id == "Promo" else None)
            shown = await self.service.decisions.profile(self.caller, pass_id, viewer)
            is_new = shown.standing is not None and shown.standing.state == "new"
            told.append(shown.state.started_at - T0 if isinstance(shown.state, Profile) and not is_new else None)
        return told

    async def wire_reset(
        self, pass_id: str, target: bytes | Everybody, app: str | None = None, kind: SubjectKind = SubjectKind.DEVICE
    ) -> str:
        asked = ResetAsk("REF", pass_id, kind, target, app)
        id_: str = (await self.service.resets.reset(HERE, self.caller.token, asked)).id
        return id_

    async def reset(
        self, whom: Whom | tuple[bytes, ...], pass_id: str = "Basic", by: Call | None = None, channel: str = "REF"
    ) -> Receipt:
        asked = ResetWanted(channel, pass_id, whom, "ticket 1")
        receipt: Receipt = await self.service.corrections.reset(by or self.operator, asked)
        return receipt

    async def undo(self, id_: str, by: Call | None = None, wanted: UndoWanted = UNDO) -> Receipt:
        receipt: Receipt = await self.service.corrections.undo_reset(by or self.operator, id_, wanted)
        return receipt

    async def grant(self, gift: Gift, whom: Whom = Whom(TV), pass_id: str = "Basic") -> Receipt:  # noqa: B008 - it is a tuple
        receipt: Receipt = await self.service.corrections.grant(self.support, GrantWanted("REF", pass_id, whom, gift))
        return receipt

    async def record(self, id_: str) -> Record:
        kept = await self.store.record(HERE, id_)
        assert kept is not None
        return read_record(kept.document)

    async def digest(self, device_id: bytes) -> bytes:
        return device(device_id, (await self.service.world(HERE)).pepper).digest

    async def limited(self, role: Role, *channels: str) -> Call:
        created = await self.service.operators.create_here(
            NewOperator(f"{role}-{'-'.join(channels)}", role, (), channels), ANN
        )
        return Call(HERE, created.token)


def identity() -> str:
    return base64.b64encode(json.dumps({"email": "anna@example.net"}).encode()).decode()


def serving(store: Store, clock: Clock) -> Service:
    return serve_from(store, SECRET, Policy(access_token_ms=100 * HOUR), clock)


async def rooms(store: Store) -> Rooms:
    clock = Clock(T0)
    service = serving(store, clock)
    await service.catalogues.apply(HERE, CATALOGUE, "", ANN)
    statement = (await service.statements.mint(HERE, "ops", ANN)).statement
    client = await service.credentials.register(HERE, oauth.RegistrationRequest(statement, None))
    request = oauth.TokenRequest(client.client_id, client.client_secret, frozenset())
    caller = Caller(HERE, (await service.credentials.issue_token(HERE, request)).access_token, "REF")
    calls = [
        Call(HERE, (await service.operators.create_here(NewOperator(role, role), ANN)).token)
        for role in (Role.SUPPORT, Role.OPERATOR)
    ]
    return Rooms(store, clock, service, caller, *calls)


async def refused(asked: Awaitable[object]) -> type[Refusal] | None:
    """Answer how something was refused, None where it was not."""
    try:
        await asked
    except Refusal as refusal:
        return type(refusal)
    return None


# --- resets


def test_device_and_key_of_one_viewer_are_reset_by_one_act_and_one_undo_brings_both_back(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Promo", TV)
        here.clock.advance(MINUTE)
        done = await here.reset(Whom(TV, KEY), "Promo", here.support)
        gone = await here.left("Promo", TV)
        record, pepper = await here.record(done.id), (await here.service.world(HERE)).pepper
        subjects = (device(TV, pepper), user_key(KEY, pepper))
        assert (record.actor, record.act, record.reason) == (
            ByOperator("support", Role.SUPPORT),
            SubjectReset("REF", "Promo", subjects, 2),
            "ticket 1",
        )
        undone = await here.undo(done.id, here.support)
        assert (await here.record(undone.id)).act == Undo(done.id, 2, 0, "REF", "Promo", subjects)
        return done.matched, done.undo_until, gone, undone.matched, await here.left("Promo", TV)

    assert place.use(work) == (2, T0 + MINUTE + UNDO_MS, [None], 2, [0])


def test_a_digest_means_the_subject_that_has_a_ledger(place: Place) -> None:
    async def work(store: Store) -> list[int | None]:
        here = await rooms(store)
        await here.watch("Promo", TV)
        pepper = (await here.service.world(HERE)).pepper
        of_key, of_tv = user_key(KEY, pepper).digest, device(TV, pepper).digest
        done = [await here.reset(Whom(digest=digest), "Promo") for digest in (of_key, of_tv, of_tv, b"x" * 16)]
        return [each.matched for each in done]

    assert place.use(work) == [1, 1, 0, 0]


def test_a_list_is_one_act_and_one_undo(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        devices = [b"d%d" % number for number in range(50)]
        await here.watch("Basic", *devices)
        digests = tuple([await here.digest(each) for each in (*devices, b"unknown", devices[0])])
        refusal = await refused(here.reset(digests, by=here.support))
        done = await here.reset(digests)
        gone = await here.left("Basic", *devices)
        return refusal, done.matched, {*gone}, (await here.undo(done.id)).matched, {*await here.left("Basic", *devices)}

    assert place.use(work) == (RoleMissing, 50, {None}, 50, {0})


@pytest.mark.parametrize("whom", [Whom(), (), tuple(b"%16d" % number for number in range(1_001))])
def test_nobody_or_too_many_named_is_refused(place: Place, whom: Whom | tuple[bytes, ...]) -> None:
    async def work(store: Store) -> object:
        return await refused((await rooms(store)).reset(whom))

    assert place.use(work) == InvalidRequest


def test_an_act_is_done_once_for_its_key(place: Place) -> None:
    """Also a reset that is answered again after somebody came back leaves them alone."""

    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        call = here.support._replace(once=Once("k", "POST /resets", b"body"))
        first = await here.reset(Whom(TV), by=call)
        await here.watch("Basic", TV)
        again = await here.reset(Whom(TV), by=call)
        other = await refused(here.reset(Whom(TV), by=call._replace(once=Once("k", "POST /resets", b"other"))))
        return again == first, other, await here.left("Basic", TV)

    assert place.use(work) == (True, KeyReused, [0])


# --- undo


@pytest.mark.parametrize("everybody", [False, True])
def test_a_reset_of_the_wire_is_undone_at_the_desk_once(place: Place, *, everybody: bool) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV, b"phone")
        id_ = await here.wire_reset("Basic", EVERYBODY if everybody else TV)
        undone = await here.undo(id_)
        second = await refused(here.undo(id_))
        return undone.matched, await here.left("Basic", TV, b"phone"), second

    assert place.use(work) == (None if everybody else 1, [0, 0], NothingToUndo)


def test_who_came_back_after_a_reset_of_everybody_keeps_the_new_trial(place: Place) -> None:
    """And the next reset ends the old trials and the new ones."""

    async def work(store: Store) -> list[list[int | None]]:
        here = await rooms(store)
        await here.watch("Basic", TV, b"phone")
        id_ = await here.wire_reset("Basic", EVERYBODY)
        here.clock.advance(5)
        await here.watch("Basic", TV)
        await here.undo(id_)
        told = [await here.left("Basic", TV, b"phone")]
        await here.wire_reset("Basic", EVERYBODY)
        return [*told, await here.left("Basic", TV, b"phone")]

    assert place.use(work) == [[5, 0], [None, None]]


def test_the_latest_reset_of_everybody_is_undone_first(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        single, first, second = [await here.wire_reset("Basic", whom) for whom in (b"phone", EVERYBODY, EVERYBODY)]
        with pytest.raises(LaterReset, match=second):
            await here.undo(first)
        for id_ in (second, first):
            await here.undo(id_)
        return await here.left("Basic", TV), await refused(here.undo(single))

    assert place.use(work) == ([0], NothingToUndo)


def test_what_a_later_reset_ended_is_not_brought_back_by_the_undo_of_one_viewer(place: Place) -> None:
    async def work(store: Store) -> list[int | None]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        single = await here.wire_reset("Basic", TV)
        later = await here.wire_reset("Basic", EVERYBODY)
        with pytest.raises(LaterReset, match=later):
            await here.undo(single)
        for id_ in (later, single):
            await here.undo(id_)
        return await here.left("Basic", TV)

    assert place.use(work) == [0]


def test_a_new_trial_stands_in_the_way_unless_it_may_go(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        id_ = await here.wire_reset("Basic", TV)
        here.clock.advance(5)
        await here.watch("Basic", TV)
        refusal, kept = await refused(here.undo(id_)), await here.left("Basic", TV)
        undone = await here.undo(id_, wanted=UndoWanted(None, replace=True))
        record = await here.record(undone.id)
        assert isinstance(record.act, Undo)
        return refusal, kept, record.act.replaced, await here.left("Basic", TV)

    assert place.use(work) == (NewTrial, [5], 1, [0])


def test_a_recurring_reset_is_undone_and_one_that_is_due_fires_first(place: Place) -> None:
    """So the act that stands in the way is on record at once, and can be undone itself."""

    async def work(store: Store) -> list[int | None]:
        here = await rooms(store)
        await here.watch("Daily", TV)
        by_hand = await here.wire_reset("Daily", EVERYBODY)
        here.clock.now = MIDNIGHT
        with pytest.raises(LaterReset) as refusal:
            await here.undo(by_hand)
        (due,) = [word for word in refusal.value.detail.split() if word.count("-") == 4]
        for id_ in (due, by_hand):
            await here.undo(id_)
        return await here.left("Daily", TV)

    assert place.use(work) == [0]


@pytest.mark.parametrize("everybody", [False, True])
def test_a_day_later_nothing_can_be_undone(place: Place, *, everybody: bool) -> None:
    async def work(store: Store) -> object:
        here = await rooms(store)
        await here.watch("Basic", TV)
        id_ = await here.wire_reset("Basic", EVERYBODY if everybody else TV)
        here.clock.advance(UNDO_MS)
        return await refused(here.undo(id_))

    assert place.use(work) == NothingToUndo


def test_a_narrowed_reset_is_undone_chunk_by_chunk(place: Place) -> None:
    """Who came back keeps the new trial; the end says how many returned; and it is done once."""

    async def work(store: Store) -> tuple[Any, ...]:
        here = await rooms(store)
        world = await here.service.world(HERE)
        devices, other = [b"d%d" % number for number in range(2 * narrowed.CHUNK + 1)], b"other"
        player = Ledger(T0, T0 + HOUR, 0, (), origin_of(world, "player", None))
        written = [(device(each, world.pepper), player) for each in devices]
        keys = keys_of(world, world.offer(world.channel("REF"), "Basic"), [subject for subject, _ in written])
        await store.transact(keys, lambda _found: (None, Changes(tuple(written))))
        await here.watch("Basic", other, app="else")
        id_ = await here.wire_reset("Basic", EVERYBODY, "player")
        gone = await here.left("Basic", *devices[::100], other)
        here.clock.advance(5)
        await here.watch("Basic", devices[0])
        undone = await here.undo(id_)
        ends = [
            (record.act.matched, record.act.replaced)
            async for _, record in here.service.history.records(HERE)
            if isinstance(record.act, UndoEnd) and record.act.undo_id == undone.id
        ]
        back = await here.left("Basic", *devices[::100])
        return gone, back, ends, undone.matched, await refused(here.undo(id_))

    count = 2 * narrowed.CHUNK + 1
    ended, returned = [None] * (count // 100 + 1), [0] * (count // 100)
    assert place.use(work) == ([*ended, 0], [5, *returned], [(count - 1, 0)], None, NothingToUndo)


@pytest.mark.parametrize("again", ["k", "another"])
def test_an_undo_that_was_broken_off_goes_on_when_it_is_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """
    Wherever that was, under the same idempotency key or another: one act, one end which counts everything, and nobody's
    trial comes back twice.
    """
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices = [b"d%d" % number for number in range(5)]

    async def present(here: Rooms) -> list[bytes]:
        begun = await here.left("Basic", *devices)
        return [each for each, at in zip(devices, begun, strict=True) if at is not None]

    async def attempt(here: Rooms, transactions_max: int) -> tuple[int, bool, type[Refusal] | None]:
        """Answer how many were back when it was broken off, whether it was, and how asking again was refused."""
        await here.watch("Basic", *devices, app="player")
        reset_id = await here.wire_reset("Basic", EVERYBODY, "player")
        calls = [here.operator._replace(once=Once(f"{reset_id} {key}", "undo", b"")) for key in ("k", again)]
        with monkeypatch.context() as patched:
            patched.setattr(here.store, "transact", broken_off(here.store, transactions_max))
            broken = await broken_by(StoreUnavailable, here.undo(reset_id, calls[0]))
        back = await present(here)
        for each in back[:1]:  # is reset once more
            await here.reset(Whom(each))
        second = await refused(here.undo(reset_id, calls[1]))
        acts = [record.act async for _, record in here.service.history.records(HERE)]
        undos = [each for each in acts if isinstance(each, Undo) and each.act_id == reset_id]
        ends = [each.matched for each in acts if isinstance(each, UndoEnd)]
        now = await present(here)
        assert (len(undos), ends[-1], now) == (1, 5, [each for each in devices if each not in back[:1]])
        return len(back), broken, second

    async def work(store: Store) -> set[object]:
        here, seen = await rooms(store), set[object]()
        for transactions_max in itertools.count():
            outcome = await attempt(here, transactions_max)
            seen.add(outcome)
            if not outcome[1]:
                break
        return seen

    last = None if again == "k" else NothingToUndo
    assert place.use(work) == {*[(count, True, None) for count in (0, 2, 4, 5)], (5, True, last), (5, False, last)}


async def broken_by(error: type[Exception], asked: Awaitable[object]) -> bool:
    try:
        await asked
    except error:
        return True
    return False


def broken_off(store: Store, transactions_max: int) -> Callable[..., Awaitable[object]]:
    """Answer the transactions of a store that goes away after so many."""
    transact, left = store.transact, iter(range(transactions_max))

    async def limited(keys: Keys, step: Callable[[Found], tuple[object, Changes]]) -> object:
        if next(left, None) is None:
            raise StoreUnavailable
        return await transact(keys, step)

    return limited


def test_of_undos_of_a_narrowed_reset_at_once_all_are_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices = [b"d%d" % number for number in range(5)]

    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *devices, app="player")
        reset_id = await here.wire_reset("Basic", EVERYBODY, "player")
        receipts = await asyncio.gather(*(here.undo(reset_id) for _ in range(5)))
        acts = [record.act async for _, record in here.service.history.records(HERE)]
        told = sorted((type(each).__name__, each.matched) for each in acts if isinstance(each, Undo | UndoEnd))
        return len({receipt.id for receipt in receipts}), told, {*await here.left("Basic", *devices)}

    assert place.use(work) == (1, [("Undo", None), ("UndoEnd", 5)], {0})


def test_a_narrowed_reset_that_is_undone_meanwhile_goes_no_further(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what it removed behind the undo's back would be nowhere."""
    monkeypatch.setattr(narrowed, "CHUNK", 2)
    devices = [b"d%d" % number for number in range(9)]

    async def work(store: Store) -> set[int | None]:
        here = await rooms(store)
        await here.watch("Basic", *devices, app="player")
        pages, ledgers = itertools.count(), here.store.ledgers

        async def page(*asked: Any) -> list[tuple[Subject, Ledger]]:
            if next(pages) == 2:
                records = [record async for _, record in here.service.history.records(HERE)]
                await here.undo(next(each.id for each in records if isinstance(each.act, NarrowedReset)))
            return await ledgers(*asked)

        monkeypatch.setattr(here.store, "ledgers", page)
        await here.wire_reset("Basic", EVERYBODY, "player")
        return {*await here.left("Basic", *devices)}

    assert place.use(work) == {0}


@pytest.mark.parametrize("target", [TV, EVERYBODY])
def test_of_two_undos_at_once_one_is_done(place: Place, target: bytes | Everybody) -> None:
    async def work(store: Store) -> tuple[int, list[int | None]]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        id_ = await here.wire_reset("Basic", target)
        outcomes = await asyncio.gather(*(refused(here.undo(id_)) for _ in range(5)))
        return outcomes.count(NothingToUndo), await here.left("Basic", TV)

    assert place.use(work) == (4, [0])


def test_whom_an_act_is_of_says_who_may_undo_it(place: Place) -> None:
    """An act of another channel is not there, nor is one that is no reset; support undoes what is of one viewer."""

    async def work(store: Store) -> list[object]:
        here = await rooms(store)
        await here.watch("Basic", TV)
        single, everybody = await here.wire_reset("Basic", TV), await here.wire_reset("Basic", EVERYBODY)
        two, ref = await here.limited(Role.OPERATOR, "TWO"), await here.limited(Role.SUPPORT, "REF")
        return [
            await refused(here.undo("unknown")),
            await refused(here.undo(single, two)),
            await refused(here.undo(everybody, two)),
            await refused(here.undo(everybody, ref)),
            await refused(here.service.corrections.undo_grant(here.operator, single, UNDO)),
            await refused(here.undo(everybody)),
            await refused(here.undo(single, ref)),
            await refused(here.reset(Whom(TV), by=two)),
            await refused(here.reset(Whom(TV), by=ref, channel="TWO")),
        ]

    assert place.use(work) == [
        NotThere, NotThere, NotThere, RoleMissing, NotThere, None, None, OutsideLimits, OutsideLimits,
    ]  # fmt: skip


# --- grants


def test_a_grant_lengthens_a_trial_and_its_undo_takes_back_what_is_left(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        before = await refused(here.grant(Gift(minutes=10)))
        await here.watch("Basic", TV)
        here.clock.advance(HOUR)
        over = await here.left("Basic", TV)
        done = await here.grant(Gift(minutes=10))
        given = await here.left("Basic", TV)
        act = (await here.record(done.id)).act
        here.clock.advance(MINUTE)
        corrections = here.service.corrections
        undone = await corrections.undo_grant(here.support, done.id, UNDO)
        again = await refused(corrections.undo_grant(here.support, done.id, UNDO))
        assert isinstance(act, Grant)
        return (
            before,
            over,
            done.matched,
            given,
            (act.minutes, act.matched),
            undone.matched,
            again,
            await here.left("Basic", TV),
        )

    assert place.use(work) == (NothingToGrant, [None], 1, [0], (10, 1), 1, NothingToUndo, [None])


def test_a_grant_of_titles_lets_a_viewer_watch_more(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        for title in "ABC":
            await here.watch("Promo", TV, title=title)
        spent = await here.left("Promo", TV)
        done = await here.grant(Gift(titles=1), Whom(TV, KEY), "Promo")
        await here.watch("Promo", TV, title="C")
        viewer = Viewer(TV, identity())
        shown = await here.service.decisions.profile(here.caller, "Promo", viewer)
        wrong = await refused(here.grant(Gift(titles=1), pass_id="Basic"))
        assert shown.standing is not None
        return spent, done.matched, shown.standing.used, shown.standing.resources_max, wrong

    assert place.use(work) == ([None], 2, ("A", "B", "C"), 3, InvalidRequest)
