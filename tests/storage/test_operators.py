"""
Operators on every adapter: a token that was revoked through one server opens nothing on another, an idempotency key
does a thing once, and what they did is on record and found.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import (
    ByOperator,
    ByShell,
    CatalogueApply,
    OperatorCreate,
    OperatorRevoke,
    Record,
    Wanted,
    read_record,
    recorded,
    sealed,
)
from temppass.core.catalogue import EMPTY
from temppass.core.model import NOTHING, Changes, Found, Subject, SubjectKind
from temppass.core.operator import DEFAULT_MS, Role
from temppass.core.refusal import (
    AnsweredOnce,
    EndedOperator,
    InvalidRequest,
    KeyReused,
    NotThere,
    OutsideLimits,
    RoleMissing,
    UnknownOperator,
)
from temppass.core.secret import Secret
from temppass.core.world import HOUSE, Environment, EnvironmentRecord, rewritten
from temppass.service import Service, serve_from
from temppass.service.desk import ONCE_MS, Call, Once
from temppass.service.operators import NewOperator
from temppass.store import Keys, Outdated
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.conftest import Place

    from temppass.store import Store

T0, HERE = 1_767_261_600_000, "release-production"
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
BODY = b'{"name":"eve"}'


def service(store: Store, clock: Clock) -> Service:
    return serve_from(store, SECRET, clock=clock)


async def admin(rooms: Service, environments: tuple[str, ...] = ()) -> Call:
    created = await rooms.operators.create_here(NewOperator("root", Role.ADMIN, environments), ANN)
    return Call(HOUSE, created.token)


def test_a_revoked_token_opens_nothing_on_any_server_from_then_on(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        clock = Clock(T0)
        here, there = service(store, clock), service(store, clock)
        call = await admin(here)
        eve = await here.operators.create(call, NewOperator("eve", Role.VIEWER))
        seen = [(await there.operators.whoami(Call(HERE, eve.token))).name]
        await here.operators.revoke(call, "eve")
        with pytest.raises(EndedOperator):
            await there.operators.whoami(Call(HERE, eve.token))
        return seen

    assert place.use(work) == ["eve"]


def test_a_token_ends_with_its_time(place: Place) -> None:
    async def work(store: Store) -> int:
        clock = Clock(T0)
        rooms = service(store, clock)
        call = await admin(rooms)
        clock.advance(DEFAULT_MS - 1)
        ends_at = (await rooms.operators.whoami(call)).ends_at
        clock.advance(1)
        with pytest.raises(EndedOperator):
            await rooms.operators.whoami(call)
        return ends_at - T0

    assert place.use(work) == DEFAULT_MS


@pytest.mark.parametrize("token", [None, "", "tpo_", "tpo_wrong"])
def test_nobody_has_no_rights(place: Place, token: str | None) -> None:
    """Neither before there is a house nor after."""

    async def work(store: Store) -> None:
        rooms = service(store, Clock(T0))
        for _ in range(2):
            with pytest.raises(UnknownOperator):
                await rooms.operators.whoami(Call(HERE, token))
            await admin(rooms) if not await rooms.operators.everyone() else None

    place.use(work)


def test_operators_are_looked_after_by_an_admin_of_everything(place: Place) -> None:
    async def work(store: Store) -> None:
        rooms = service(store, Clock(T0))
        call = await admin(rooms, environments=("qa",))
        support = await rooms.operators.create_here(NewOperator("eve", Role.SUPPORT), ANN)
        for token, refusal in ((call.token, OutsideLimits), (support.token, RoleMissing)):
            for asked in (
                rooms.operators.all(Call(HOUSE, token)),
                rooms.operators.create(Call(HOUSE, token), NewOperator("new", Role.VIEWER)),
                rooms.operators.revoke(Call(HOUSE, token), "eve"),
            ):
                with pytest.raises(refusal):
                    await asked

    place.use(work)


def test_a_key_does_a_thing_once(place: Place) -> None:
    """The second time the first receipt is the answer; for another body, and for what told a secret, there is none."""

    async def work(store: Store) -> tuple[bool, int, int]:
        clock = Clock(T0)
        rooms = service(store, clock)
        call = await admin(rooms)
        once = call._replace(once=Once("k1", "POST /operators", BODY))
        await rooms.operators.create(once, NewOperator("eve", Role.VIEWER))
        with pytest.raises(AnsweredOnce):
            await rooms.operators.create(once, NewOperator("eve", Role.VIEWER))
        with pytest.raises(KeyReused):
            await rooms.operators.create(
                call._replace(once=Once("k1", "POST /operators", b"{}")), NewOperator("bob", Role.VIEWER)
            )
        revoking = call._replace(once=Once("k1", "DELETE /operators/eve", b""))
        receipts = [await rooms.operators.revoke(revoking, "eve") for _ in range(2)]
        clock.advance(ONCE_MS)
        with pytest.raises(NotThere):
            await rooms.operators.revoke(revoking, "eve")
        await rooms.history.seal()
        acts = await store.search(HOUSE, Wanted(), None, 10, newest_first=False)
        return receipts[0] == receipts[1], len(acts), len(await rooms.operators.everyone())

    assert place.use(work) == (True, 3, 2)


@pytest.mark.parametrize("key", ["", "a" * 256, "line\nend"])
def test_a_key_that_is_none_does_nothing(place: Place, key: str) -> None:
    async def work(store: Store) -> int:
        rooms = service(store, Clock(T0))
        call = await admin(rooms)
        with pytest.raises(InvalidRequest):
            await rooms.operators.create(call._replace(once=Once(key, "", b"")), NewOperator("eve", Role.VIEWER))
        return len(await rooms.operators.everyone())

    assert place.use(work) == 1


def test_what_is_done_to_operators_is_on_the_record_of_the_house(place: Place) -> None:
    """With who did it, sealed in a chain of its own that holds."""

    async def work(store: Store) -> tuple[list[object], list[str]]:
        clock = Clock(T0)
        rooms = service(store, clock)
        call = await admin(rooms)
        clock.advance(1)
        await rooms.operators.create(call, NewOperator("eve", Role.VIEWER, ("qa",), ("REF",)))
        clock.advance(1)
        await rooms.operators.revoke(call, "eve")
        await rooms.history.seal()
        acts: list[object] = [(record.actor, record.act) async for _, record in rooms.history.records(HOUSE)]
        return acts, [fault async for fault in rooms.history.faults(HOUSE)]

    root = ByOperator("root", Role.ADMIN)
    assert place.use(work) == (
        [
            (ANN, OperatorCreate("root", Role.ADMIN, (), (), T0 + DEFAULT_MS)),
            (root, OperatorCreate("eve", Role.VIEWER, ("qa",), ("REF",), T0 + 1 + DEFAULT_MS)),
            (root, OperatorRevoke("eve")),
        ],
        [],
    )


def test_no_token_is_at_rest(place: Place) -> None:
    async def work(store: Store) -> bool:
        rooms = service(store, Clock(T0))
        token = (await admin(rooms)).token
        assert token is not None
        house = await store.load(HOUSE)
        assert house is not None
        documents = [await store.unsealed(HOUSE, 10), rewritten(house.record).document]
        return token[4:] in repr(documents)

    assert place.use(work) is False


def test_the_house_is_no_environment(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        rooms = service(store, Clock(T0))
        await admin(rooms)
        await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
        await rooms.upkeep.tick()
        return await rooms.catalogues.check()

    assert place.use(work) == [HERE]


# --- the port


def always(changes: Changes) -> Callable[[Found], tuple[None, Changes]]:
    return lambda _found: (None, changes)


def test_a_step_that_was_built_on_an_older_house_is_not_run(place: Place) -> None:
    async def work(store: Store) -> list[bool]:
        house = EnvironmentRecord(1, EMPTY, {}, {}, b"")
        told = []
        for version in (0, 1, 2):
            try:
                await store.transact(Keys(HERE, 0, house=version), lambda _found: (None, NOTHING))
                told.append(True)
            except Outdated:
                told.append(False)
            if version == 0:
                await store.transact(Keys(HOUSE, 0), lambda _found: (None, Changes(environment=rewritten(house))))
        return told

    assert place.use(work) == [True, True, False]


def test_a_step_that_rewrites_an_environment_outdates_all_others(place: Place) -> None:
    async def work(store: Store) -> Environment | None:
        for version in (0, 1):
            record = EnvironmentRecord(version + 1, EMPTY, {"a/b": version}, {}, b"k")
            await store.transact(Keys(HERE, version), always(Changes(environment=rewritten(record))))
            with pytest.raises(Outdated):
                await store.transact(Keys(HERE, version), lambda _found: (None, NOTHING))
        return await store.load(HERE)

    assert place.use(work) == Environment(EnvironmentRecord(2, EMPTY, {"a/b": 1}, {}, b"k"))


def test_a_record_is_found_by_its_id_sealed_or_not(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        rooms = service(store, Clock(T0))
        await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
        ((_, record),) = [each async for each in rooms.history.records(HERE)]
        found = []
        for id_, name in ((record.id, HERE), (record.id, "elsewhere"), ("nobody's", HERE), ("a\0b", HERE)):
            one = await store.record(name, id_)
            found.append((one.link.sequence, read_record(one.document)) if one else None)
        await rooms.history.seal()
        again = await store.record(HERE, record.id)
        return [*found, again.link.sequence if again else None]

    done = place.use(work)
    assert [done[0][0], type(done[0][1].act), *done[1:]] == [0, CatalogueApply, None, None, None, 1]  # type: ignore[index]


ONE, TWO = (Subject(SubjectKind.DEVICE, bytes([number]) * 16) for number in (1, 2))
#: what is kept: who, when, where, about whom
KEPT = [
    ("reset", "operator:eve", T0, "REF", "P", (ONE,)),
    ("reset", "operator:bob", T0 + 1, "REF", "Q", (ONE, TWO)),
    ("grant", "application:ops", T0 + 2, "ACME1", "P", (TWO,)),
    ("catalogue.apply", "shell:ann", T0 + 3, None, None, ()),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [0, 1, 2, 3]),
        (Wanted(since=T0 + 1, until=T0 + 3), [1, 2]),
        (Wanted(kinds=("grant", "catalogue.apply")), [2, 3]),
        (Wanted(actors=("operator:bob", "shell:ann")), [1, 3]),
        (Wanted(channels=("REF",)), [0, 1]),
        (Wanted(channels=("REF", "ACME1"), pass_id="P"), [0, 2]),
        (Wanted(subjects=(TWO.digest,)), [1, 2]),
        (Wanted(subjects=(ONE.digest, TWO.digest), kinds=("reset",)), [0, 1]),
        (Wanted(subjects=(b"?" * 16,)), []),
    ],
)
def test_records_are_found_by_what_they_are_looked_for(place: Place, wanted: Wanted, found: list[int]) -> None:
    """Forwards and backwards, page by page."""

    async def work(store: Store) -> list[list[int]]:
        for number, (kind, actor, at, channel, pass_id, subjects) in enumerate(KEPT):
            record = recorded(Record(f"id{number}", at, ANN, CatalogueApply(number, "", ())))
            record = replace(
                record,
                kind=kind,
                actor=actor,
                channel_id=channel,
                pass_id=pass_id,
                subjects=tuple(subject.digest for subject in subjects),
            )
            await store.transact(Keys(HERE, 0), always(Changes(records=(record,))))
        await store.seal(HERE, partial(sealed, b"k" * 32), 10)
        ways = []
        for newest_first in (False, True):
            beyond, seen = None, list[int]()
            while page := await store.search(HERE, wanted, beyond, 1, newest_first=newest_first):
                beyond = page[-1].link.sequence
                seen += [each.link.sequence - 1 for each in page]
            ways.append(seen)
        return ways

    assert place.use(work) == [found, found[::-1]]
