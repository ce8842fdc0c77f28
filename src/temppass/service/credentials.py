"""
What proves who an application is: software statements, client credentials, access tokens.

Source: contract §3, design decisions 8.6-8.12.
"""

from __future__ import annotations

import random
import secrets
import uuid
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, oauth
from temppass.core.catalogue import EMPTY, Application, Catalogue
from temppass.core.model import NOTHING, Changes
from temppass.core.tokens import Grant, Statement, write_access_token, write_statement
from temppass.core.world import EnvironmentRecord, World, application_sub
from temppass.service.context import Context, keys_of, new_id
from temppass.service.worlds import Plan
from temppass.store import Amendment, Keys


class UnknownApplication(Exception):
    """The catalogue of the environment has no such application."""


class Minted(Struct, frozen=True):
    """`id` is the act's and the statement's `jti`. The statement is shown here and never again."""

    id: str
    statement: str


class Issued(NamedTuple):
    """An access token. `issued_at` is in milliseconds."""

    id: str
    access_token: str
    issued_at: int
    lifetime_ms: int
    scopes: tuple[str, ...]


class Credentials:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def mint(self, environment: str, application_id: str, actor: act.Actor) -> str:
        """Answer a new software statement; older ones stay good. Raises UnknownApplication."""
        worlds, issuer = self._context.worlds, self._context.policy.issuer
        record = act.Record(self._context.act_id(), self._context.clock(), actor, act.StatementMint(application_id))
        await worlds.load(environment)  # or an application that is new could be missed
        return (await worlds.ask(environment, lambda world: minting(world, record, issuer))).statement

    async def require(self, environment: str, application_id: str) -> None:
        """Raises UnknownApplication."""
        _application_of(await self._context.worlds.load(environment), application_id)

    async def revoke(self, environment: str, application_id: str, actor: act.Actor) -> None:
        """
        End every statement, client and token that the application was given so far; a later mint starts afresh.

        Raises UnknownApplication. Source: design decision 8.10.
        """
        now = self._context.clock()
        record = act.recorded(act.Record(self._context.act_id(), now, actor, act.StatementRevoke(application_id)))

        def change(old: EnvironmentRecord | None) -> Amendment[None]:
            if old is None or application_id not in old.catalogue.applications:
                raise UnknownApplication(_unknown(environment, application_id, old.catalogue if old else EMPTY))
            epochs = {**old.epochs, application_id: old.epochs.get(application_id, 0) + 1}
            revoked = {**old.revoked, application_id: now}
            return None, replace(old, version=old.version + 1, epochs=epochs, revoked=revoked), record

        await self._context.store.amend(environment, change)

    async def register(self, environment: str, request: oauth.RegistrationRequest) -> oauth.Registration:
        """Refuses: as core.oauth.register."""
        now, client_id, client_secret = self._context.clock(), new_id(), secrets.token_urlsafe(32)

        def prepare(world: World) -> Plan[oauth.Registration]:
            registered, client = oauth.register(world, request, now, client_id=client_id, client_secret=client_secret)
            return keys_of(world), lambda _found: (registered, Changes(client=client))

        return await self._context.worlds.ask(environment, prepare)

    async def issue_token(self, environment: str, request: oauth.TokenRequest) -> Issued:
        """Refuses: as core.oauth.grant."""
        context = self._context
        now, jti, lifetime_ms = context.clock(), context.nonce(), context.policy.access_token_ms

        def prepare(world: World) -> Plan[tuple[World, Grant]]:
            return (
                Keys(world.name, world.version, client_id=request.client_id),
                lambda found: ((world, oauth.grant(world, found.client, request, now, lifetime_ms)), NOTHING),
            )

        world, grant = await context.worlds.ask(environment, prepare)
        assert world.keyring is not None
        token = write_access_token(world.keyring, grant, environment, now // 1000, jti, context.policy.issuer)
        # the id names a record that nobody keeps: a random number that costs no system call will do (contract §3.3)
        id_ = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return Issued(id_, token, now, lifetime_ms, tuple(sorted(grant.scopes)))

    async def introspect(self, environment: str, request: oauth.IntrospectionRequest) -> oauth.Introspected | None:
        """Refuses: as core.oauth.introspect."""
        now = self._context.clock()

        def prepare(world: World) -> Plan[oauth.Introspected | None]:
            return (
                Keys(world.name, world.version, client_id=request.client_id),
                lambda found: (oauth.introspect(world, found.client, request, now), NOTHING),
            )

        return await self._context.worlds.ask(environment, prepare)


def minting(world: World, record: act.Record, issuer: str) -> Plan[Minted]:
    """Plan what mints the statement that a record (of StatementMint) tells of. Raises UnknownApplication."""
    assert isinstance(record.act, act.StatementMint)
    application = _application_of(world, record.act.application_id)
    assert world.keyring is not None  # an environment that has an application exists
    statement = Statement(application_sub(world.name, application.id), world.epoch(application.id))
    written = write_statement(world.keyring, statement, world.name, record.at // 1000, record.id, issuer)
    changes = Changes(records=(act.recorded(record),))
    return keys_of(world), lambda _found: (Minted(record.id, written), changes)


def _application_of(world: World, application_id: str) -> Application:
    """Raises UnknownApplication."""
    application = world.catalogue.applications.get(application_id)
    if application is None:
        raise UnknownApplication(_unknown(world.name, application_id, world.catalogue))
    return application


def _unknown(environment: str, application_id: str, catalogue: Catalogue) -> str:
    known = ", ".join(catalogue.applications) or "none"
    return f"environment {environment!r} has no application {application_id!r} (it has: {known})"
