"""
Who serves the store: each serving process says every few seconds that it is up, and which secrets it knows, so that
nobody changes the secret under a server that would not open anything any more.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from temppass.core.model import Server
from temppass.service.context import Context, new_id

#: how often a server says that it is up, in seconds
SAY_S = 5.0
#: one that has not said so for this long is gone
GONE_MS = 60_000


class Process(Struct, frozen=True):
    """Which process a server is: on which host, and the version of its program."""

    host: str
    number: int
    version: str


class Told(Struct, frozen=True):
    """What a server tells of itself. `place` is where it reads its secret again, if it does."""

    process: Process
    fingerprints: tuple[str, ...]
    place: str | None = None

    @property
    def name(self) -> str:
        return f"process {self.process.number} on {self.process.host} ({self.process.version})"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Told).decode


class Register:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._id = new_id()
        self._process: Process | None = None

    async def enter(self, process: Process) -> None:
        """
        Say that this process serves from now on, then hold its secret against the store: in this order, so that who
        changes the secret sees it, or else it sees the change. Raises WrongSecret, StoreUnavailable.
        """
        self._process = process
        await self.say()
        store, secret = self._context.store, self._context.secret
        await store.amend_all(
            lambda whole: ([secret.open(name, each.sealed_keys) for name, each in whole.environments.items()], {}, None)
        )

    async def say(self) -> None:
        """Say once more that this process serves, if it does."""
        if self._process is not None:
            secret = self._context.secret
            told = Told(self._process, secret.fingerprints(), secret.place)
            await self._context.store.announce(Server(self._id, self._context.clock(), _encode(told)))

    async def leave(self) -> None:
        """Say that this process serves no more."""
        self._process = None
        await self._context.store.withdraw(self._id)

    async def forget(self, now: int) -> None:
        """Forget the servers that are gone without a word."""
        await self._context.store.forget_servers(now - GONE_MS)


def up(servers: tuple[Server, ...], now: int) -> list[Told]:
    """Answer what the servers tell that are up."""
    return [_decode(each.document) for each in servers if each.seen_at >= now - GONE_MS]
