"""
Holds every request against the present world, with one call into the store.

Worlds are kept in memory. The store compares the version that a step was built on with the present one in the same
transaction that finds the ledgers, so a catalogue change or a revocation holds for the next request on every node
without a look-up of configuration on the way; only an Outdated answer loads the world anew. A refusal is as fresh as
a permit: it travels through the store as a step that raises.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar

from msgspec.structs import replace

from temppass.core.catalogue import EMPTY
from temppass.core.keys import StoredKeys
from temppass.core.model import NOTHING, Changes, Found
from temppass.core.refusal import InvalidToken, Refusal
from temppass.core.secret import Secret
from temppass.core.tokens import Grant, Keyring
from temppass.core.world import HOUSE, Environment, EnvironmentRecord, World
from temppass.store import Keys, Outdated, Store, StoreUnavailable

A = TypeVar("A")

#: how often a world is loaded anew before a request gives up
RELOADS_MAX = 5
#: verified access tokens that are remembered, an environment
VERIFIED_MAX = 10_000

#: what a use case makes of a world: what to find, and what to do with it
Plan = tuple[Keys, Callable[[Found], tuple[A, Changes]]]


class _Known(NamedTuple):
    world: World
    #: what its keyring was read from, sealed and not; a new world seldom has others
    sealed_keys: bytes
    keys: StoredKeys
    #: by access token; a new world starts with none
    verified: dict[str, Grant]


class Worlds:
    def __init__(self, store: Store, secret: Secret, *, media_algorithm: str) -> None:
        self._store = store
        self._secret = secret
        self._media_algorithm = media_algorithm
        self._known: dict[str, _Known] = {}
        self._loading: dict[str, asyncio.Task[World]] = {}

    async def ask(self, environment: str, prepare: Callable[[World], Plan[A]]) -> A:
        """
        Build a plan from the known world, hand it to the store, and once more where the world has moved on.

        Raises what `prepare` and its step refuse; StoreUnavailable.
        """
        known = self._known.get(environment)  # not by way of `known`: a coroutine for each request costs
        world = known.world if known is not None else await self.load(environment)
        for _ in range(RELOADS_MAX):
            try:
                keys, step = prepare(world)
            except Refusal as refusal:
                keys, step = Keys(world.name, world.version), refusing(refusal)
            try:
                return await self._store.transact(keys, step)
            except Outdated:
                world = await self.load(environment)
        raise StoreUnavailable("the environment changes faster than it can be read")

    async def ask_as(self, environment: str, prepare: Callable[[World, World], Plan[A]]) -> A:
        """
        As `ask`, for what depends on who operates the service too: `prepare` is given the house and the world, and
        the store holds both against the present.
        """
        for _ in range(RELOADS_MAX):
            house, world = await self.known(HOUSE), await self.known(environment)
            try:
                keys, step = prepare(house, world)
            except Refusal as refusal:
                keys, step = Keys(world.name, world.version), refusing(refusal)
            try:
                return await self._store.transact(replace(keys, house=house.version), step)
            except Outdated:
                await self.load(HOUSE)
                await self.load(environment)
        raise StoreUnavailable("the environment changes faster than it can be read")

    async def present(self, environment: str) -> World:
        """Answer the world as it is now, by way of the store, as fresh as a decision."""
        return await self.ask(environment, lambda world: (Keys(world.name, world.version), lambda _: (world, NOTHING)))

    async def known(self, environment: str) -> World:
        """Answer the world that was known last; it may have moved on."""
        known = self._known.get(environment)
        return known.world if known is not None else await self.load(environment)

    def last(self, environment: str) -> World | None:
        """Answer the world that was known last, if one was."""
        known = self._known.get(environment)
        return known.world if known is not None else None

    async def load(self, environment: str) -> World:
        """
        Answer the environment as it is now; one that does not exist is empty and is not kept.

        Those who ask at once share one answer: a catalogue change finds every request of the moment outdated.
        """
        loading = self._loading.get(environment)
        if loading is None:
            loading = self._loading[environment] = asyncio.create_task(self._load(environment))
            loading.add_done_callback(lambda _done: self._loading.pop(environment, None))
        return await asyncio.shield(loading)

    async def _load(self, environment: str) -> World:
        found = await self._store.load(environment)
        known = self._known.get(environment)
        if found is not None and known is not None and known.world.version == found.record.version:
            return known.world
        if found is None:  # so that the names in requests cannot make anything grow
            self._known.pop(environment, None)
            return World(environment, Environment(EnvironmentRecord(0, EMPTY, {}, {}, b"")), keyring=None)
        if known is not None and known.sealed_keys == found.record.sealed_keys:
            keys = known.keys
        else:
            keys = self._secret.open(environment, found.record.sealed_keys)
        world = self._world(environment, found, keys)
        self._known[environment] = _Known(world, found.record.sealed_keys, keys, {})
        return world

    def grant(self, world: World, token: str | None, now: int) -> Grant:
        """
        Read an access token, from memory if it was verified before.

        Refuses: InvalidToken. Expiry and revocation are not judged here but by World.admit, each time.
        """
        if token is None:
            raise InvalidToken("Send Authorization: Bearer <access token>.")
        known = self._known.get(world.name)
        if known is None or known.world is not world:
            return world.read_token(token, now)
        grant = known.verified.get(token)
        if grant is None:
            grant = world.read_token(token, now)
            if len(known.verified) >= VERIFIED_MAX:
                del known.verified[next(iter(known.verified))]
            known.verified[token] = grant
        return grant

    def _world(self, environment: str, found: Environment, keys: StoredKeys) -> World:
        known = self._known.get(environment)
        if known is not None and known.keys == keys:  # also where they were sealed anew
            keyring = known.world.keyring
        else:
            # a house has keys because servers of before look for them, though it signs nothing; some have none
            keyring = Keyring(keys, self._media_algorithm) if keys.keys else None
        return World(
            environment,
            found,
            keyring=keyring,
            pepper=keys.pepper,
            client_key=keys.client_key,
            chain_key=keys.chain_key,
        )


def refusing(refusal: Refusal) -> Callable[[Found], NoReturn]:
    """Answer a step that refuses, so that the refusal is as fresh as a permit."""

    def step(_found: Found) -> NoReturn:
        raise refusal

    return step
