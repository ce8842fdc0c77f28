"""
Two nodes on one store: what one of them changes holds for the next request on the other, and costs it little.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import ByShell
from temppass.core.catalogue import EMPTY, Application, Catalogue, Channel, Pass, Programmer
from temppass.core.identity import device
from temppass.core.model import NOTHING, PassKind, SubjectKind
from temppass.core.oauth import IntrospectionRequest, RegistrationRequest, TokenRequest
from temppass.core.refusal import InvalidToken, RevokedApplication, UnapprovedStatement, UnknownChannel
from temppass.core.reset import read_removed
from temppass.core.secret import Secret, WrongSecret
from temppass.core.world import SCOPE_RESET, SCOPE_V2, Environment, EnvironmentRecord, World
from temppass.service import narrowed, serve_from, worlds
from temppass.service.context import Caller
from temppass.service.decisions import Viewer
from temppass.service.resets import EVERYBODY, ResetAsk
from temppass.service.worlds import Plan
from temppass.storage.memory import MemoryStore
from temppass.store import Amendment, Keys, Store, StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

T0, HERE = 1_767_261_600_000, "release-production"
CATALOGUE = Catalogue(
    {"acme": Programmer("acme", "Acme")},
    {"REF": Channel("REF", "acme", "Reference")},
    {"P": Pass("P", PassKind.BASIC, "Free half hour", 1_800_000, {"REF": True})},
    {"ops": Application("ops", "Support", None, (SCOPE_V2, SCOPE_RESET))},
)


class Node:
    """One server's parts on a store that others share."""

    def __init__(self, store: Store, secret: bytes = b"s" * 32) -> None:
        self.clock = Clock(T0)
        self.service = serve_from(store, Secret(secret), clock=self.clock)
        self.worlds = self.service.context.worlds
        self.credentials = self.service.credentials

    async def apply(self, catalogue: Catalogue) -> None:
        await self.service.catalogues.apply(HERE, catalogue, "", ByShell())

    async def token(self) -> str:
        statement = (await self.service.statements.mint(HERE, "ops", ByShell())).statement
        client = await self.credentials.register(HERE, RegistrationRequest(statement, None))
        request = TokenRequest(client.client_id, client.client_secret, frozenset())
        return (await self.credentials.issue_token(HERE, request)).access_token

    async def passes(self, token: str) -> list[str]:
        """Ask for what channel REF offers."""
        _, offered = await self.service.decisions.configuration(Caller(HERE, token, "REF"))
        return [entry.id for entry in offered]


def test_a_catalogue_change_holds_on_every_node(place: Place) -> None:
    async def work(store: Store) -> list[list[str]]:
        first, second = Node(store), Node(store)
        await first.apply(CATALOGUE)
        token = await first.token()
        told = [await second.passes(token)]
        more = {**CATALOGUE.passes, "Q": replace(CATALOGUE.passes["P"], id="Q")}
        await first.apply(replace(CATALOGUE, passes=more))
        return [*told, await second.passes(token)]

    assert place.use(work) == [["P"], ["P", "Q"]]


def test_a_revocation_holds_on_every_node(place: Place) -> None:
    """For the token, for the client and for the statement; what is minted after it is good."""

    async def work(store: Store) -> list[str]:
        first, second = Node(store), Node(store)
        await first.apply(CATALOGUE)
        token, statement = await first.token(), (await first.service.statements.mint(HERE, "ops", ByShell())).statement
        await second.passes(token)
        await first.service.statements.revoke(HERE, "ops", ByShell())
        with pytest.raises(RevokedApplication):
            await second.passes(token)
        with pytest.raises(UnapprovedStatement):
            await second.credentials.register(HERE, RegistrationRequest(statement, None))
        return await second.passes(await first.token())

    assert place.use(work) == ["P"]


def test_what_is_told_of_a_token_is_as_fresh_as_a_decision(place: Place) -> None:
    """The scopes that the application has, on a node that has not heard of the change."""

    async def work(store: Store) -> list[tuple[str, ...] | None]:
        first, second = Node(store), Node(store)
        await first.apply(CATALOGUE)
        statement = (await first.service.statements.mint(HERE, "ops", ByShell())).statement
        client = await first.credentials.register(HERE, RegistrationRequest(statement, None))
        named = (client.client_id, client.client_secret)
        issued = await first.credentials.issue_token(HERE, TokenRequest(*named, frozenset()))

        async def told() -> tuple[str, ...] | None:
            asked = IntrospectionRequest(*named, issued.access_token)
            found = await second.credentials.introspect(HERE, asked)
            return found.scopes if found is not None else None

        answers = [await told()]
        for scopes in ((SCOPE_V2,), ()):
            less = replace(CATALOGUE.applications["ops"], scopes=scopes)
            await first.apply(replace(CATALOGUE, applications={"ops": less}))
            answers.append(await told())
        return answers

    assert place.use(work) == [(SCOPE_V2, SCOPE_RESET), (SCOPE_V2,), None]


@pytest.mark.parametrize("by", ["this program", "the program of before"])
def test_an_application_that_left_returns_without_what_it_was_given(place: Place, by: str) -> None:
    """Design §8.24; the program of before took it out of the catalogue and left its epoch as it was."""

    def forget(old: EnvironmentRecord | None) -> Amendment[None]:
        assert old is not None
        return None, replace(old, version=old.version + 1, catalogue=EMPTY), None

    async def work(store: Store) -> list[str]:
        first, second = Node(store), Node(store)
        await first.apply(CATALOGUE)
        token, statement = await first.token(), (await first.service.statements.mint(HERE, "ops", ByShell())).statement
        await second.passes(token)
        await (first.apply(EMPTY) if by == "this program" else store.amend(HERE, forget))
        await first.apply(CATALOGUE)
        with pytest.raises(RevokedApplication):
            await second.passes(token)
        with pytest.raises(UnapprovedStatement):
            await second.credentials.register(HERE, RegistrationRequest(statement, None))
        return await second.passes(await first.token())

    assert place.use(work) == ["P"]


def test_an_application_that_stays_keeps_what_it_was_given(place: Place) -> None:
    """Whatever else of it changes, and whoever comes or goes beside it."""

    async def work(store: Store) -> list[str]:
        node = Node(store)
        await node.apply(CATALOGUE)
        token = await node.token()
        ops, other = (Application(name, "Another", None, (SCOPE_V2,)) for name in ("ops", "other"))
        for applications in ({"ops": ops, "other": other}, {"ops": ops}):
            await node.apply(replace(CATALOGUE, applications=applications))
        return await node.passes(token)

    assert place.use(work) == ["P"]


def test_a_change_leaves_the_keys_as_they_were_read(place: Place) -> None:
    """To read an RSA key takes long; a node that learns of another catalogue goes on with the keys it has."""

    async def work(store: Store) -> list[World]:
        first, second = Node(store), Node(store)
        await first.apply(CATALOGUE)
        worlds = [await second.service.world(HERE)]
        await first.service.statements.revoke(HERE, "ops", ByShell())
        return [*worlds, await second.service.world(HERE), await second.worlds.load(HERE)]

    before, after, loaded = place.use(work)
    assert (before.version, after.version, after.keyring is before.keyring, loaded is after) == (1, 2, True, True)


def test_other_keys_hold_for_the_next_request(place: Place) -> None:
    """What the old ones signed is good no more, also for who read it before."""

    async def work(store: Store) -> None:
        node, elsewhere = Node(store), MemoryStore()
        for each in (node, Node(elsewhere)):
            await each.apply(CATALOGUE)
        other, before = await elsewhere.load(HERE), await node.service.world(HERE)
        await node.passes(token := await node.token())

        def rekeyed(old: EnvironmentRecord | None) -> Amendment[None]:
            assert old is not None
            assert other is not None
            return None, replace(old, version=old.version + 1, sealed_keys=other.record.sealed_keys), None

        await store.amend(HERE, rekeyed)
        with pytest.raises(InvalidToken):
            await node.passes(token)
        node.worlds.grant(before, token, T0)
        with pytest.raises(InvalidToken):
            await node.passes(token)

    place.use(work)


def test_only_so_many_verified_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are forgotten are verified again."""
    monkeypatch.setattr(worlds, "VERIFIED_MAX", 2)

    async def work() -> tuple[list[list[str]], int]:
        node = Node(MemoryStore())
        await node.apply(CATALOGUE)
        tokens = [await node.token() for _ in range(3)]
        told = [await node.passes(token) for token in [*tokens, *tokens]]
        return told, len(node.worlds._known[HERE].verified)

    assert asyncio.run(work()) == ([["P"]] * 6, 2)


class Counting(MemoryStore):
    """`loads` counts how often an environment was loaded."""

    loads = 0

    async def load(self, environment: str) -> Environment | None:
        self.loads += 1
        await asyncio.sleep(0)
        return await super().load(environment)


def test_those_who_find_their_world_outdated_at_once_share_one_load() -> None:
    async def work() -> int:
        store = Counting()
        node = Node(store)
        await node.apply(CATALOGUE)
        await node.service.world(HERE)
        await node.service.statements.revoke(HERE, "ops", ByShell())
        store.loads = 0
        await asyncio.gather(*(node.service.world(HERE) for _ in range(10)))
        return store.loads

    assert asyncio.run(work()) == 1


def test_an_environment_that_does_not_exist_is_empty_and_not_kept(place: Place) -> None:
    async def work(store: Store) -> tuple[list[object], list[str], int]:
        node = Node(store)
        for name in ("one", "two"):
            with pytest.raises(InvalidToken):
                await node.service.decisions.configuration(Caller(name, "token", "REF"))
        world = await node.service.world("one")
        return [world.catalogue, world.keyring], await store.environments(), len(node.worlds._known)

    assert place.use(work) == ([EMPTY, None], [], 0)


def test_a_refusal_is_as_fresh_as_a_permit(place: Place) -> None:
    """The channel is unknown to the world that the node remembers, and known by now."""

    async def work(store: Store) -> list[str]:
        first, second = Node(store), Node(store)
        await first.apply(Catalogue(applications=CATALOGUE.applications))
        token = await first.token()
        with pytest.raises(UnknownChannel):
            await second.passes(token)
        await first.apply(CATALOGUE)
        return await second.passes(token)

    assert place.use(work) == ["P"]


def test_a_world_that_never_stands_still_is_given_up(place: Place) -> None:
    async def work(store: Store) -> None:
        def outdated(world: World) -> Plan[None]:
            return Keys(world.name, world.version + 1), lambda _found: (None, NOTHING)

        with pytest.raises(StoreUnavailable):
            await Node(store).worlds.ask(HERE, outdated)

    place.use(work)


def test_another_secret_is_told_and_not_guessed(place: Place) -> None:
    async def work(store: Store) -> None:
        await Node(store).apply(CATALOGUE)
        with pytest.raises(WrongSecret):
            await Node(store, b"t" * 32).service.catalogues.check()

    place.use(work)


def test_a_narrowed_reset_goes_on_through_changes_of_the_catalogue(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was admitted when it began; every chunk finds the environment as it is by then."""
    monkeypatch.setattr(narrowed, "CHUNK", 2)

    async def work(store: Store) -> int | None:
        node, other = Node(store), Node(store)
        await node.apply(CATALOGUE)
        token, world = await node.token(), await node.service.world(HERE)
        viewers = [Viewer(str(number).encode(), None, "tv") for number in range(20)]
        for viewer in viewers:
            await node.service.decisions.authorize(Caller(HERE, token, "REF"), "P", (viewer, ["A"]))
        asked = ResetAsk("REF", "P", SubjectKind.DEVICE, EVERYBODY, "tv")
        reset = asyncio.create_task(node.service.resets.reset(HERE, token, asked))
        subjects = tuple(device(viewer.device_id, world.pepper) for viewer in viewers)
        keys = Keys(HERE, world.version, ("REF", "P"), subjects)
        while not reset.done() and await store.transact(keys, lambda found: (None not in found.ledgers, NOTHING)):
            continue  # until the first chunk is gone
        for number in range(3):
            programmers = {"acme": Programmer("acme", f"Acme {number}")}
            await other.apply(replace(CATALOGUE, programmers=programmers))
        return (await reset).matched

    assert place.use(work) == 20


def test_every_chunk_of_a_narrowed_reset_leaves_what_its_undo_needs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowed, "CHUNK", 2)

    async def work(store: Store) -> list[int]:
        node = Node(store)
        await node.apply(CATALOGUE)
        token = await node.token()
        for number in range(3):
            viewer = Viewer(str(number).encode(), None, "tv")
            await node.service.decisions.authorize(Caller(HERE, token, "REF"), "P", (viewer, ["A"]))
        asked = ResetAsk("REF", "P", SubjectKind.DEVICE, EVERYBODY, "tv")
        done = await node.service.resets.reset(HERE, token, asked)
        version = (await node.service.world(HERE)).version
        keys = Keys(HERE, version, kept=(f"undo:{done.id}:1", f"undo:{done.id}:2"))
        kept = await store.transact(keys, lambda found: (found.kept, NOTHING))
        return [len(read_removed(each)) for each in kept if each is not None]

    assert place.use(work) == [2, 1]


def test_a_step_that_finds_its_world_outdated_is_built_anew(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        node, versions = Node(store), list[int]()
        await node.apply(CATALOGUE)
        await node.service.world(HERE)
        await Node(store).service.statements.revoke(HERE, "ops", ByShell())

        def prepare(world: World) -> Plan[None]:
            versions.append(world.version)
            return Keys(world.name, world.version), lambda _found: (None, NOTHING)

        await node.worlds.ask(HERE, prepare)
        return versions

    assert place.use(work) == [1, 2]
