"""
What every use case is given: the store, the worlds, what the operator chose, the clock. The only place where time and
random numbers enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Struct

from temppass.core.catalogue import Application, Channel, Offer
from temppass.core.keys import Pair, begun
from temppass.core.model import Subject
from temppass.core.refusal import Refusal
from temppass.core.secret import Secret
from temppass.core.tokens import ISSUER, make_pair
from temppass.core.world import SCOPE_V2, World
from temppass.service.worlds import Worlds
from temppass.store import Keys, Store, StoreBusy

A = TypeVar("A")


class Policy(Struct, frozen=True):
    """What the operator may choose; all lengths of time in milliseconds."""

    issuer: str = ISSUER
    access_token_ms: int = 21_600_000
    media_token_ms: int = 420_000
    media_algorithm: str = "ES256"
    #: for each application, in each process
    sessions_per_s: int = 50
    #: how long records of acts are kept
    audit_ms: int = 400 * 86_400_000
    #: how long others may keep a copy of the key set
    jwks_ms: int = 300_000
    #: how old the newest signing key becomes before the next is made; None makes none
    rotation_ms: int | None = None
    #: how long a client is kept that asks for no token
    client_idle_ms: int = 400 * 86_400_000


class Caller(NamedTuple):
    """Who calls, and for which channel: nothing of it is checked yet."""

    environment: str
    token: str | None
    channel_id: str


def wall_clock() -> int:
    """Answer the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


#: of the id of an act, behind its milliseconds (RFC 9562 §5.7, `rand_a`)
_COUNTER_BITS = 12


def new_id() -> str:
    return str(uuid.uuid4())


#: how long a large ask waits for those before it, in seconds
LARGE_WAIT_S = 5
#: after a large ask the others have so many times as long for themselves
LARGE_PAUSE = 2


class Context:
    """The surroundings of every use case; `clock` answers Unix milliseconds."""

    def __init__(self, store: Store, secret: Secret, policy: Policy, clock: Callable[[], int] = wall_clock) -> None:
        self.store = store
        self.secret = secret
        self.policy = policy
        self.clock = clock
        self._large, self._large_from = asyncio.Lock(), 0
        self.worlds = Worlds(store, secret, media_algorithm=policy.media_algorithm)
        #: tell two tokens of one millisecond apart, on every node, without a system call each (contract §8)
        self._node, self._numbers = secrets.token_hex(8), itertools.count()
        #: moment and counter of the act that got its id last
        self._last_id = 0

    @contextlib.asynccontextmanager
    async def large_turn(self) -> AsyncIterator[None]:
        """
        Wait until no other large ask is under way: what is asked of many titles takes long, and everybody else waits
        for one of those at most, one time in three. Raises StoreBusy where the turn does not come.
        """
        try:
            await asyncio.wait_for(self._large.acquire(), LARGE_WAIT_S)
        except TimeoutError:
            raise StoreBusy(f"large asks wait for one another for more than {LARGE_WAIT_S} s") from None
        try:
            # no longer, in case somebody puts the clock back
            await asyncio.sleep(min((self._large_from - self.clock()) / 1000, LARGE_WAIT_S))
            began = self.clock()
            try:
                yield
            finally:
                ended = self.clock()
                self._large_from = ended + LARGE_PAUSE * max(0, ended - began)
        finally:
            self._large.release()

    async def prove_secret(self) -> None:
        """
        See to it that what comes into being is sealed under the secret that opens what is there. Raises WrongSecret.
        """
        for name in (await self.store.environments())[:1]:
            found = await self.store.load(name)
            assert found is not None  # what there is stays
            self.secret.open(name, found.record.sealed_keys)

    async def new_pair(self) -> Pair:
        """Make two signing keys, while others go on."""
        return await asyncio.to_thread(make_pair, (secrets.token_hex(8), secrets.token_hex(8)))

    async def new_keys(self, environment: str) -> bytes:
        """Make the keys of an environment that is to come into being, sealed. Raises WrongSecret."""
        pair = await self.new_pair()
        await self.prove_secret()
        return self.sealed_keys(environment, pair)

    def sealed_keys(self, environment: str, pair: Pair) -> bytes:
        """Answer what an environment keeps that begins with two signing keys."""
        keys = begun(
            pair,
            self.clock(),
            pepper=secrets.token_bytes(32),
            client_key=secrets.token_bytes(32),
            chain_key=secrets.token_bytes(32),
        )
        return self.secret.seal(environment, keys, secrets.token_bytes(12))

    def act_id(self) -> str:
        """
        Answer the id of a new act. Those of one process are in the order in which they were given, so records of one
        millisecond get their places in that order. Source: RFC 9562 §5.7, §6.2 (a counter behind the milliseconds).
        """
        self._last_id = max(self._last_id + 1, wall_clock() << _COUNTER_BITS)
        moment, counter = divmod(self._last_id, 1 << _COUNTER_BITS)
        return str(uuid.UUID(int=moment << 80 | 7 << 76 | counter << 64 | 2 << 62 | secrets.randbits(62)))

    def nonce(self) -> str:
        return f"{self._node}{next(self._numbers):x}"

    def channel(self, world: World, caller: Caller, now: int) -> Channel:
        """
        Answer the channel for which the caller may use REST v2.

        Refuses: InvalidToken, RevokedApplication, MissingScope, UnknownChannel, UnassignedChannel.
        """
        return world.channel_for(self.application(world, caller, now), caller.channel_id)

    def application(self, world: World, caller: Caller, now: int) -> Application:
        """Answer the application that may use REST v2. Refuses: InvalidToken, RevokedApplication, MissingScope."""
        return world.admit(self.worlds.grant(world, caller.token, now), SCOPE_V2, now)


def given(asked: A | Refusal) -> A:
    """
    Answer what was read from a request, or refuse as reading it did: at the place that the contract's order of checks
    gives to it (contract §6.2, design decisions 8.14 and 8.15).
    """
    if isinstance(asked, Refusal):
        raise asked
    return asked


def keys_of(world: World, offer: Offer | None = None, subjects: Sequence[Subject] = (), *, large: bool = False) -> Keys:
    """Name what a step needs found: the ledgers of `subjects` under an offer, if one is meant; `large` as in Keys."""
    integration = (offer.channel_id, offer.pass_id) if offer is not None else None
    return Keys(world.name, world.version, integration, tuple(subjects), large=large)
