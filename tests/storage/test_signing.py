"""
Signing keys on every adapter: what a rotation writes, that every node goes by it at once, and that of many nodes which
look after the keys one does what there is to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core import act
from temppass.core.act import BySchedule, ByShell, KeysRotate
from temppass.core.catalogue_file import parse
from temppass.core.keys import Shown
from temppass.core.model import OLDER
from temppass.core.oauth import RegistrationRequest, TokenRequest
from temppass.core.refusal import AlreadySo, InvalidStatement, InvalidToken, NotThere
from temppass.core.secret import Secret
from temppass.core.tokens import Grant, write_access_token
from temppass.service import Service, serve_from
from temppass.service.context import Policy
from temppass.service.signing import MintAnew, Rotation
from temppass.storage.memory import MemoryStore
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.core.world import EnvironmentRecord
    from temppass.store import Amendment, Store

T0, MINUTE, HOUR, DAY = 1_767_268_800_000, 60_000, 3_600_000, 86_400_000
HERE, ANN, SECRET = "release-production", ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = parse(
    """
    programmer = [{ id = "a" }]
    channel = [{ id = "C", programmer = "a" }]
    pass = [{ id = "P", kind = "basic", ttl = "10m", channels = ["C"] }]
    application = [{ id = "app", channels = ["C"], scopes = ["api:client:v2"] }]
    """,
    "catalogue",
)
DAILY = Policy(rotation_ms=DAY)


def node(store: Store, clock: Clock, policy: Policy = Policy()) -> Service:  # noqa: B008 - it is frozen
    return serve_from(store, SECRET, policy, clock, pause_s=0)


async def begun(store: Store, clock: Clock, policy: Policy = Policy()) -> tuple[Service, Service]:  # noqa: B008 - so
    """Answer two nodes of one environment, which both know it."""
    one, other = node(store, clock, policy), node(store, clock, policy)
    await one.catalogues.apply(HERE, CATALOGUE, "", ANN)
    await asyncio.gather(one.world(HERE), other.world(HERE))
    return one, other


async def token(rooms: Service) -> str:
    keyring, now = (await rooms.world(HERE)).keyring, rooms.context.clock()
    assert keyring is not None
    grant = Grant("client", "app", 0, frozenset(["api:client:v2"]), now + 6 * HOUR)
    return write_access_token(keyring, grant, HERE, now // 1000, "jti", "auth.adobe.com")


async def is_good(rooms: Service, token: str) -> bool:
    try:
        (await rooms.world(HERE)).read_token(token, rooms.context.clock())
    except InvalidToken:
        return False
    return True


async def told(rooms: Service) -> list[str]:
    return [f"{each.kind} {each.state}" for each in await rooms.signing.all_here(HERE)]


async def rotations(rooms: Service) -> list[act.Record]:
    return [record async for _, record in rooms.history.records(HERE) if isinstance(record.act, KeysRotate)]


ONE = ["RSA signing", "EC signing"]


def test_a_rotation_runs_its_course(place: Place) -> None:
    """Published at once, it signs after ten minutes; a minute on the old pair is public, in six hours it is gone."""

    async def work(store: Store) -> list[list[str]]:
        clock = Clock(T0)
        one, other = await begun(store, clock)
        rotated = await one.signing.rotate_here(HERE, Rotation(), ANN)
        assert rotated.signs_from == T0 + 10 * MINUTE
        seen = []
        for wait_ms in (0, 10 * MINUTE, MINUTE, 6 * HOUR + 4 * MINUTE):
            clock.advance(wait_ms)
            await one.upkeep.tick()
            seen.append(await told(other))
        return seen

    rest = ["RSA verifying", "EC verifying"]
    assert place.use(work) == [[*ONE, "RSA next", "EC next"], [*ONE, *rest], [*ONE, *rest], ONE]


@pytest.mark.parametrize(
    ("ends", "left"),
    [("never", ["RSA verifying"] * 3), ("in a week", ["RSA verifying"] * 2), ("revoked", []), ("all revoked", [])],
)
def test_a_key_stays_as_long_as_a_statement_counts_that_it_signed(place: Place, ends: str, left: list[str]) -> None:
    """Also on a clock a minute behind; looked at after six days, at the end of the week, and a minute later."""

    async def work(store: Store) -> list[list[str]]:
        clock = Clock(T0)
        one, other = await begun(store, clock)
        minted = await one.statements.mint(HERE, "app", ANN, T0 + 7 * DAY if ends == "in a week" else None)
        await one.signing.rotate_here(HERE, Rotation(), ANN)
        await one.upkeep.tick()
        clock.advance(HOUR)
        await one.upkeep.tick()
        if "revoked" in ends:
            await one.statements.revoke(HERE, "app", ANN, minted.id if ends == "revoked" else None)
        seen = []
        for wait_ms in (6 * DAY, DAY - HOUR, MINUTE):
            clock.advance(wait_ms)
            await one.upkeep.tick()
            seen.append([word for word in await told(other) if word not in ONE])
        return seen

    assert [word for seen in place.use(work) for word in seen] == left


def lifeless(old: EnvironmentRecord | None) -> Amendment[None]:
    """Bring an environment to where a server of before left it: keys without lives, statements that are not listed."""
    assert old is not None
    keys = SECRET.seal(HERE, replace(SECRET.open(HERE, old.sealed_keys), lives={}), b"n" * 12)
    return None, replace(old, version=old.version + 1, sealed_keys=keys, listing={}), None


def test_a_key_of_before_stays_as_long_as_a_statement_of_before_may_count(place: Place) -> None:
    """Nobody knows which of them it signed; once all that the application was given of before is ended, it goes."""

    async def work(store: Store) -> list[list[str]]:
        clock = Clock(T0)
        one, _ = await begun(store, clock)
        await store.amend(HERE, lifeless)
        await one.signing.rotate_here(HERE, Rotation(), ANN)
        seen = []
        for ended in (False, True):
            for wait_ms in (HOUR, DAY):
                clock.advance(wait_ms)
                await one.upkeep.tick()
            seen.append(await told(one))
            if not ended:
                await one.statements.revoke(HERE, "app", ANN, OLDER)
        return seen

    assert place.use(work) == [[*ONE, "RSA verifying"], ONE]


def test_what_has_to_be_minted_anew_is_told_once(place: Place) -> None:
    """Statements that count and that one of the lost keys signed; clients that registered with them live on."""

    async def work(store: Store) -> None:
        clock = Clock(T0)
        one, other = await begun(store, clock)
        old = await one.statements.mint(HERE, "app", ANN)
        await one.statements.mint(HERE, "app", ANN, T0 + MINUTE)
        await one.statements.revoke(HERE, "app", ANN, (await one.statements.mint(HERE, "app", ANN)).id)
        client = await other.credentials.register(HERE, RegistrationRequest(old.statement, None))
        clock.advance(MINUTE)
        lost = await one.signing.rotate_here(HERE, Rotation(compromised=True), ANN)
        with pytest.raises(InvalidStatement):
            await other.credentials.register(HERE, RegistrationRequest(old.statement, None))
        token = await other.credentials.issue_token(
            HERE, TokenRequest(client.client_id, client.client_secret, frozenset())
        )
        new = await other.statements.mint(HERE, "app", ANN)
        again = await one.signing.rotate_here(HERE, Rotation(compromised=True), ANN)
        assert (lost.mint_anew, again.mint_anew, len(token.access_token) > 0) == (
            (MintAnew("app", old.id),), (MintAnew("app", new.id),), True
        )  # fmt: skip

    place.use(work)


def test_statements_of_before_are_named_together(place: Place) -> None:
    async def work(store: Store) -> tuple[MintAnew, ...]:
        _, other = await begun(store, Clock(T0))
        await store.amend(HERE, lifeless)
        return (await other.signing.rotate_here(HERE, Rotation(compromised=True), ANN)).mint_anew

    assert place.use(work) == (MintAnew("app", None),)


def test_every_token_is_good_on_every_node_through_a_rotation(place: Place) -> None:
    async def work(store: Store) -> list[bool]:
        clock = Clock(T0)
        nodes = await begun(store, clock)
        tokens = [await token(nodes[0])]
        await nodes[1].signing.rotate_here(HERE, Rotation(), ANN)
        for wait_ms in (0, 10 * MINUTE, MINUTE):
            clock.advance(wait_ms)
            await nodes[0].upkeep.tick()
            tokens += [await token(each) for each in nodes]
        return [await is_good(each, one) for each in nodes for one in tokens]

    assert place.use(work) == [True] * 14


def test_compromised_keys_are_refused_at_the_next_request_on_every_node(place: Place) -> None:
    """And what the new ones sign is good at once."""

    async def work(store: Store) -> tuple[list[bool], list[str]]:
        nodes = await begun(store, Clock(T0))
        old = await token(nodes[1])
        before = [each.kid for each in await nodes[0].signing.all_here(HERE)]
        rotated = await nodes[0].signing.rotate_here(HERE, Rotation(compromised=True, reason="found in a log"), ANN)
        new = await token(nodes[1])
        (record,) = await rotations(nodes[0])
        assert (record.id, record.act) == (rotated.id, KeysRotate(rotated.kids, True, tuple(before)))
        return [await is_good(each, one) for each in nodes for one in (old, new)], await told(nodes[1])

    assert place.use(work) == ([False, True, False, True], ONE)


def test_the_keys_in_the_key_set_are_those_that_are_told_of(place: Place) -> None:
    async def work(store: Store) -> bool:
        one, other = await begun(store, Clock(T0))
        await one.signing.rotate_here(HERE, Rotation(), ANN)
        keyring = (await other.world(HERE)).keyring
        assert keyring is not None
        return {key["kid"] for key in keyring.jwks["keys"]} == {each.kid for each in await other.signing.all_here(HERE)}

    assert place.use(work)


def test_while_the_next_key_waits_no_other_is_made_unless_they_are_compromised(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        one, other = await begun(store, Clock(T0))
        await one.signing.rotate_here(HERE, Rotation(), ANN)
        with pytest.raises(AlreadySo, match="signs in 600 s"):
            await other.signing.rotate_here(HERE, Rotation(), ANN)
        await other.signing.rotate_here(HERE, Rotation(compromised=True), ANN)
        return await told(one)

    assert place.use(work) == ONE


def test_an_environment_that_does_not_exist_has_no_keys(place: Place) -> None:
    async def work(store: Store) -> list[Shown]:
        rooms = node(store, Clock(T0))
        with pytest.raises(NotThere):
            await rooms.signing.rotate_here(HERE, Rotation(), ANN)
        return await rooms.signing.all_here(HERE)

    assert place.use(work) == []


def test_of_many_nodes_that_rotate_at_the_same_time_one_does(place: Place) -> None:
    """Each day, by itself; all that upkeep finds to do after that is done once too."""

    async def work(store: Store) -> tuple[list[tuple[act.Actor, int]], list[int]]:
        clock = Clock(T0)
        nodes = [*await begun(store, clock, DAILY), node(store, clock, DAILY), node(store, clock, DAILY)]
        versions = []
        for wait_ms in (DAY - 1, 1, 10 * MINUTE, MINUTE, MINUTE):
            clock.advance(wait_ms)
            await asyncio.gather(*[each.signing.keep(HERE) for each in nodes])
            versions.append((await nodes[0].context.worlds.load(HERE)).version)
        return [(each.actor, each.at) for each in await rotations(nodes[0])], versions

    assert place.use(work) == ([(BySchedule(), T0 + DAY)], [1, 2, 2, 3, 3])


def test_nothing_rotates_by_itself_unless_it_is_asked_for(place: Place) -> None:
    async def work(store: Store) -> int:
        clock = Clock(T0)
        one, _ = await begun(store, clock)
        clock.advance(999 * DAY)
        await one.upkeep.tick()
        return (await one.context.worlds.load(HERE)).version

    assert place.use(work) == 1


def test_keys_of_before_are_rotated_like_any_other(place: Place) -> None:
    """They were stored without lives, and are old enough for any rhythm."""

    async def work(store: Store) -> tuple[list[str], list[int | None]]:
        clock = Clock(T0)
        one, _ = await begun(store, clock)
        await store.amend(HERE, lifeless)
        before = [each.made_at for each in await one.signing.all_here(HERE)]
        await node(store, clock, DAILY).upkeep.tick()
        return await told(one), before

    assert place.use(work) == ([*ONE, "RSA next", "EC next"], [None, None])


def test_the_loop_goes_on_while_a_key_is_made() -> None:
    """It takes a tenth of a second (RSA)."""

    async def work() -> list[str]:
        rooms, order = node(MemoryStore(), Clock(T0)), []

        async def made() -> None:
            await rooms.context.new_pair()
            order.append("made")

        async def others() -> None:
            order.append("others")

        await asyncio.gather(made(), others())
        return order

    assert asyncio.run(work()) == ["others", "made"]
