"""
Operators who have signed in at the console: a session stands for the token that it was opened with, so that it opens
nothing that the token does not, and nothing any more once the operator has been revoked. All sessions of an operator
are one kept document of the house, in digests.

Source: docs/design.md (console).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import Struct

from temppass.core.model import NOTHING, Changes, Found, Kept
from temppass.core.operator import Operator
from temppass.core.refusal import UnknownOperator
from temppass.core.tokens import hash_client_secret, keyed, same
from temppass.core.world import HOUSE, World
from temppass.service.context import Context
from temppass.service.worlds import Plan
from temppass.store import Keys

#: how long a session lasts
SESSION_MS = 12 * 3_600_000
#: how many an operator has at most; the oldest makes room
SESSIONS_MAX = 20
CONSOLE = "console"
_COOKIE_CHARACTERS_MAX = 128


class Opened(NamedTuple):
    """`session` is what its browser keeps, and nobody else."""

    session: str
    ends_at: int


class SignedIn(NamedTuple):
    """Whose session one is, by the hash of their token, and what each of its forms has to say back."""

    name: str
    token_hash: bytes
    form_token: str
    ends_at: int


class _Session(Struct, frozen=True):
    digest: bytes
    token_hash: bytes
    ends_at: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[_Session, ...]).decode


class SignIns:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def open(self, admit: Callable[[World, int], Operator]) -> Opened:
        """Open a session of the operator whom `admit` finds in the house. Refuses: what `admit` does."""
        secret, now = secrets.token_urlsafe(32), self._context.clock()

        def prepare(house: World) -> Plan[Opened]:
            operator = admit(house, now)
            ends_at = min(now + SESSION_MS, operator.ends_at)
            one = _Session(hash_client_secret(secret, house.client_key), operator.token_hash, ends_at)

            def step(found: Found) -> tuple[Opened, Changes]:
                present = [each for each in _sessions(found, now) if each.token_hash == operator.token_hash]
                changes = _keeping(operator.name, (*present[1 - SESSIONS_MAX :], one), now)
                return Opened(f"{secret}.{operator.name}", ends_at), changes

            return Keys(HOUSE, house.version, kept=(_place(operator.name),)), step

        return await self._context.worlds.ask(HOUSE, prepare)

    async def find(self, session: str) -> SignedIn:
        """Refuses: UnknownOperator."""
        secret, name, now = *_parts(session), self._context.clock()

        def prepare(house: World) -> Plan[SignedIn]:
            digest = hash_client_secret(secret, house.client_key)

            def step(found: Found) -> tuple[SignedIn, Changes]:
                for each in _sessions(found, now):
                    if same(each.digest, digest):
                        form_token = keyed(house.client_key, b"form", digest).hex()
                        return SignedIn(name, each.token_hash, form_token, each.ends_at), NOTHING
                raise UnknownOperator("The session has ended; sign in again.")

            return Keys(HOUSE, house.version, kept=(_place(name),)), step

        return await self._context.worlds.ask(HOUSE, prepare)

    async def close(self, session: str, *, everywhere: bool = False) -> None:
        """End a session, or all of its operator; one that is none any more stays so. Refuses: UnknownOperator."""
        secret, name, now = *_parts(session), self._context.clock()

        def prepare(house: World) -> Plan[None]:
            digest = hash_client_secret(secret, house.client_key)

            def step(found: Found) -> tuple[None, Changes]:
                present = _sessions(found, now)
                others = tuple(each for each in present if not same(each.digest, digest))
                if len(others) == len(present):
                    return None, NOTHING
                return None, _keeping(name, () if everywhere else others, now)

            return Keys(HOUSE, house.version, kept=(_place(name),)), step

        await self._context.worlds.ask(HOUSE, prepare)


def _place(name: str) -> str:
    return f"{CONSOLE}:{name}"


def _parts(session: str) -> tuple[str, str]:
    """Answer the secret of a session, and the name of whose it is said to be. Refuses: UnknownOperator."""
    secret, _, name = session.partition(".")
    if not (secret and name and len(session) <= _COOKIE_CHARACTERS_MAX and session.isprintable()):
        raise UnknownOperator("The session has ended; sign in again.")
    return secret, name


def _sessions(found: Found, now: int) -> tuple[_Session, ...]:
    (kept,) = found.kept
    if kept is None:
        return ()
    return tuple(each for each in _decode(kept.document) if now < each.ends_at)


def _keeping(name: str, sessions: tuple[_Session, ...], now: int) -> Changes:
    last = max((each.ends_at for each in sessions), default=now)
    return Changes(kept=(Kept(CONSOLE, _place(name), last, _encode(sessions)),))
