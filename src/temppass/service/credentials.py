"""
What an application has for its software statement: client credentials, and access tokens for those.

Source: contract §3, design decisions 8.6-8.12.
"""

from __future__ import annotations

import random
import secrets
import uuid
from typing import NamedTuple

from temppass.core import oauth
from temppass.core.model import NOTHING, Changes, Client
from temppass.core.tokens import Grant, write_access_token
from temppass.core.world import World
from temppass.service.context import Context, keys_of, new_id
from temppass.service.registrations import Registrations
from temppass.service.uses import Uses
from temppass.service.worlds import Plan
from temppass.store import Keys


class Issued(NamedTuple):
    """An access token. `issued_at` is in milliseconds."""

    id: str
    access_token: str
    issued_at: int
    lifetime_ms: int
    scopes: tuple[str, ...]


class Credentials:
    def __init__(self, context: Context, uses: Uses, registrations: Registrations) -> None:
        self._context = context
        self._uses = uses
        self._registrations = registrations

    async def register(self, environment: str, request: oauth.RegistrationRequest) -> oauth.Registration:
        """Refuses: as core.oauth.register; TooManyRegistrations."""
        now, client_id, client_secret = self._context.clock(), new_id(), secrets.token_urlsafe(32)
        with self._registrations.turn(now) as take:

            def prepare(world: World) -> Plan[oauth.Registration]:
                made, client = oauth.register(world, request, now, client_id=client_id, client_secret=client_secret)
                take(world, world.catalogue.applications[client.application_id])
                return keys_of(world), lambda _found: (made, Changes(client=client))

            return await self._context.worlds.ask(environment, prepare)

    async def issue_token(self, environment: str, request: oauth.TokenRequest) -> Issued:
        """Refuses: as core.oauth.grant."""
        context = self._context
        now, jti, lifetime_ms = context.clock(), context.nonce(), context.policy.access_token_ms

        def prepare(world: World) -> Plan[tuple[World, Grant, Client | None]]:
            return (
                Keys(world.name, world.version, client_id=request.client_id),
                lambda found: (
                    (world, oauth.grant(world, found.client, request, now, lifetime_ms), found.client),
                    NOTHING,
                ),
            )

        world, grant, client = await context.worlds.ask(environment, prepare)
        assert world.keyring is not None
        assert client is not None  # who was granted something
        self._uses.note(environment, client, now)
        token = write_access_token(world.keyring, grant, environment, now // 1000, jti, context.policy.issuer)
        # the id names a record that nobody keeps: a random number that costs no system call will do (contract §3.3)
        id_ = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return Issued(id_, token, now, grant.expires_at - now, tuple(sorted(grant.scopes)))

    async def introspect(self, environment: str, request: oauth.IntrospectionRequest) -> oauth.Introspected | None:
        """Refuses: as core.oauth.introspect."""
        now = self._context.clock()

        def prepare(world: World) -> Plan[oauth.Introspected | None]:
            return (
                Keys(world.name, world.version, client_id=request.client_id),
                lambda found: (oauth.introspect(world, found.client, request, now), NOTHING),
            )

        return await self._context.worlds.ask(environment, prepare)
