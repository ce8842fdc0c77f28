"""
What proves who an application is: software statements, client credentials, access tokens.

Source: contract §3, design decisions 8.6-8.12.
"""

from __future__ import annotations

import random
import secrets
import uuid
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act, oauth
from temppass.core.catalogue import EMPTY, Catalogue
from temppass.core.model import NOTHING, Changes
from temppass.core.tokens import Grant, Statement, write_access_token, write_statement
from temppass.core.world import EnvironmentRecord, World, application_sub
from temppass.service.context import Context, keys_of, new_id
from temppass.service.worlds import Plan
from temppass.store import Amendment, Keys


class UnknownApplication(Exception):
    """The catalogue of the environment has no such application."""


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

    async def mint(self, environment: str, application_id: str) -> str:
        """Answer a new software statement; older ones stay good. Raises UnknownApplication."""
        context = self._context
        world = await context.worlds.load(environment)
        if application_id not in world.catalogue.applications or world.keyring is None:
            raise UnknownApplication(_unknown(environment, application_id, world.catalogue))
        statement = Statement(application_sub(environment, application_id), world.epoch(application_id))
        now_s = context.clock() // 1000
        return write_statement(world.keyring, statement, environment, now_s, new_id(), context.policy.issuer)

    async def revoke(self, environment: str, application_id: str, actor: act.Actor) -> None:
        """
        End every statement, client and token that the application was given so far; a later mint starts afresh.

        Raises UnknownApplication. Source: design decision 8.10.
        """
        record = act.recorded(act.Record(new_id(), self._context.clock(), actor, act.StatementRevoke(application_id)))

        def change(old: EnvironmentRecord | None) -> Amendment[None]:
            if old is None or application_id not in old.catalogue.applications:
                raise UnknownApplication(_unknown(environment, application_id, old.catalogue if old else EMPTY))
            epochs = {**old.epochs, application_id: old.epochs.get(application_id, 0) + 1}
            return None, replace(old, version=old.version + 1, epochs=epochs), record

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


def _unknown(environment: str, application_id: str, catalogue: Catalogue) -> str:
    known = ", ".join(catalogue.applications) or "none"
    return f"environment {environment!r} has no application {application_id!r} (it has: {known})"
