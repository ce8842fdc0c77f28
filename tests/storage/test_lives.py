"""
All that is issued, on every adapter and two servers, held against a model that knows nothing of how it is kept: at
every moment each statement, client and token is taken, or refused as what it came from says, on either server.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct
from msgspec.structs import replace

from temppass.core.act import ByShell
from temppass.core.catalogue import Application, Catalogue, Channel
from temppass.core.model import OLDER
from temppass.core.oauth import RegistrationRequest, TokenRequest
from temppass.core.refusal import AlreadySo, InvalidClient, InvalidStatement, NotThere, Refusal, UnapprovedStatement
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_V2, EnvironmentRecord, application_sub
from temppass.service import Service, serve_from
from temppass.service.context import Caller, Policy
from temppass.service.signing import Rotation
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.storage.conftest import Place

    from temppass.store import Amendment, Store

T0, HERE = 1_767_261_600_000, "release-production"
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ANN = ByShell("ann")
APPLICATIONS = ("one", "two")
WHOLE = Catalogue(
    channels={"REF": Channel("REF", "acme", "Reference")},
    applications={name: Application(name, name, None, (SCOPE_V2,)) for name in APPLICATIONS},
)
HALF = replace(WHOLE, applications={"two": WHOLE.applications["two"]})
POLICY = Policy(access_token_ms=6 * HOUR)
STEPS = 200


class Minted(Struct):
    application: str
    id: str
    text: str
    signed_in: int
    ends_at: int | None = None
    counts: bool = True


class Installed(Struct):
    statement: Minted
    request: TokenRequest
    at: int
    asked_at: int | None = None
    is_there: bool = True


class Token(Struct):
    client: Installed
    text: str
    expires_at: int
    signed_in: int
    is_known: bool = True


class Model:
    """What was issued by servers that do as they are told, and what is to be expected of it."""

    def __init__(self, store: Store, seed: int) -> None:
        self.random, self.clock, self.store = random.Random(seed), Clock(T0), store
        self.nodes = [serve_from(store, Secret(b"s" * 32), POLICY, self.clock, pause_s=0) for _ in range(2)]
        self.statements, self.clients, self.tokens = list[Minted](), list[Installed](), list[Token]()
        #: how often all signing keys were ended, and whether any were ever rotated
        self.keys, self.rotated = 0, False
        self.declared = {*APPLICATIONS}
        #: after so many deeds all was as expected
        self.held = 0

    @property
    def node(self) -> Service:
        return self.random.choice(self.nodes)

    # --- what is done, at either server

    async def mint(self) -> None:
        name = self.random.choice(APPLICATIONS)
        ends_at = self.random.choice([None, self.clock() + self.random.choice([HOUR, 3 * HOUR, DAY, 40 * DAY])])
        try:
            minted = await self.node.statements.mint(HERE, name, ANN, ends_at)
        except NotThere:
            assert name not in self.declared
            return
        self.statements.append(Minted(name, minted.id, minted.statement, self.keys, ends_at))

    async def mint_older(self) -> None:
        """As a program of before would have."""
        world, name = await self.node.world(HERE), self.random.choice(sorted(self.declared))
        assert world.keyring is not None
        now_s = self.clock() // 1000
        claims = {"sub": application_sub(HERE, name), "iss": "auth.adobe.com", "nbf": now_s, "iat": now_s, "aud": HERE}
        text = world.keyring.sign_statement({**claims, "jti": "j", "epoch": world.epoch(name)}, self.clock())
        self.statements.append(Minted(name, OLDER, text, self.keys, counts=world.older_counts(name)))

    async def install(self) -> None:
        if not self.statements:
            return
        minted = self.random.choice(self.statements)
        try:
            made = await self.node.credentials.register(HERE, RegistrationRequest(minted.text, None))
        except InvalidStatement:
            assert "InvalidStatement" in self.registers(minted)
            return
        except UnapprovedStatement:
            assert "UnapprovedStatement" in self.registers(minted)
            return
        assert "" in self.registers(minted)
        request = TokenRequest(made.client_id, made.client_secret, frozenset())
        self.clients.append(Installed(minted, request, self.clock()))

    async def ask(self) -> None:
        if not self.clients:
            return
        client = self.random.choice(self.clients)
        node = self.node
        try:
            issued = await node.credentials.issue_token(HERE, client.request)
        except InvalidClient:
            assert not self.asks(client) or self.may_be_swept(client)
            client.is_there = False
            return
        assert self.asks(client)
        client.asked_at = self.clock()
        expires_at = self.clock() + issued.lifetime_ms
        ends_at = client.statement.ends_at
        assert expires_at == min(self.clock() + POLICY.access_token_ms, ends_at or expires_at)
        self.tokens.append(Token(client, issued.access_token, expires_at // 1000 * 1000, self.keys))
        await node.upkeep.count()

    async def revoke(self) -> None:
        if not self.statements:
            return
        minted = self.random.choice(self.statements)
        try:
            await self.node.statements.revoke(HERE, minted.application, ANN, minted.id)
        except (NotThere, AlreadySo):
            assert minted.application not in self.declared or not self.stands(minted)
            return
        self._end(lambda each: (each.application, each.id) == (minted.application, minted.id))

    async def revoke_all(self) -> None:
        name = self.random.choice(sorted(self.declared))
        await self.node.statements.revoke(HERE, name, ANN)
        self._end(lambda each: each.application == name)

    async def revoke_client(self) -> None:
        if not self.clients:
            return
        client = self.random.choice(self.clients)
        try:
            await self.node.statements.revoke_client(HERE, client.request.client_id, ANN)
        except NotThere:
            assert not self.asks(client) or self.may_be_swept(client)
            client.is_there = False
            return
        client.is_there = False
        for token in self.tokens:
            token.is_known = token.is_known and token.client is not client

    async def declare(self) -> None:
        catalogue = self.random.choice([WHOLE, HALF])
        gone = self.declared - catalogue.applications.keys()
        await self.node.catalogues.apply(HERE, catalogue, "", ANN)
        self.declared = {*catalogue.applications}
        self._end(lambda each: each.application in gone)

    async def rewrite(self) -> None:
        """As a program of before does, without what it does not know."""

        def as_before(old: EnvironmentRecord | None) -> Amendment[None]:
            assert old is not None
            return None, replace(old, version=old.version + 1, listing={}), None

        await self.store.amend(HERE, as_before)

    async def rotate(self) -> None:
        compromised = self.random.random() < 0.3
        try:
            await self.node.signing.rotate_here(HERE, Rotation(compromised), ANN)
        except AlreadySo:
            assert not compromised
            return
        self.keys += compromised
        self.rotated = True

    async def wait(self) -> None:
        self.clock.advance(self.random.choice([MINUTE + 7, HOUR + 7, DAY + 7, 31 * DAY + 7]))

    async def keep(self) -> None:
        """Upkeep, at one server."""
        upkeep = self.node.upkeep
        await upkeep.tick()
        await upkeep.clients.sweep()
        await upkeep.registrations.look()

    def _end(self, is_meant: Callable[[Minted], bool]) -> None:
        for each in self.statements:
            each.counts = each.counts and not is_meant(each)

    # --- what is to be expected

    def stands(self, minted: Minted) -> bool:
        return minted.counts and (minted.ends_at is None or self.clock() < minted.ends_at)

    def registers(self, minted: Minted) -> set[str]:
        """Answer what may come of a registration: a key need not be kept for what counts no more, or is on no list."""
        if minted.signed_in != self.keys:
            return {"InvalidStatement"}
        if not self.stands(minted):
            return {"InvalidStatement", "UnapprovedStatement"}
        return {"", "InvalidStatement"} if minted.id == OLDER and self.rotated else {""}

    def asks(self, client: Installed) -> bool:
        return client.is_there and self.stands(client.statement)

    def may_be_swept(self, client: Installed) -> bool:
        """Tell whether a server that has looked may have taken a client for one that nobody has any more."""
        if client.asked_at is None:
            return self.clock() >= client.at + DAY
        return self.clock() >= client.asked_at + POLICY.client_idle_ms

    def opens(self, token: Token) -> str:
        if token.signed_in != self.keys or self.clock() >= token.expires_at:
            return "InvalidToken"
        return "" if token.is_known and self.stands(token.client.statement) else "RevokedApplication"

    async def hold(self) -> None:
        """Hold all that was issued against both servers."""
        for node in self.nodes:
            for token in self.tokens[-12:]:
                assert await self._told(node.decisions.configuration(Caller(HERE, token.text, "REF"))) == self.opens(
                    token
                )
            for minted in self.statements[-8:]:
                if "" not in self.registers(minted):  # or there would be one more client each time
                    told = await self._told(node.credentials.register(HERE, RegistrationRequest(minted.text, None)))
                    assert told in self.registers(minted)
            for name in self.declared:
                shown = {each.id for each in await node.statements.of(HERE, name)} - {OLDER}
                counting = {m.id for m in self.statements if m.application == name and self.stands(m)} - {OLDER}
                assert counting <= shown

    async def _told(self, asked: Awaitable[object]) -> str:
        try:
            await asked
        except Refusal as refusal:
            return type(refusal).__name__
        return ""


@pytest.mark.parametrize("seed", range(3))
def test_what_is_issued_counts_as_long_as_what_it_came_from(place: Place, seed: int) -> None:
    async def work(store: Store) -> int:
        model = Model(store, seed)
        await model.nodes[0].catalogues.apply(HERE, WHOLE, "", ANN)
        deeds = [
            (model.mint, 4), (model.mint_older, 3), (model.install, 8), (model.ask, 8), (model.revoke, 3),
            (model.revoke_all, 1), (model.revoke_client, 2), (model.declare, 1), (model.rewrite, 1), (model.rotate, 2),
            (model.wait, 4), (model.keep, 2),
        ]  # fmt: skip
        for deed in model.random.choices([deed for deed, _ in deeds], [weight for _, weight in deeds], k=STEPS):
            await deed()
            await model.hold()
            model.held += 1
        return model.held

    assert place.use(work) == STEPS
