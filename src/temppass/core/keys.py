"""
The signing keys of an environment and their lives: when each begins to sign, until when it verifies, when it is gone.

A key is published the moment it is made and signs later, when whoever keeps a copy of the key set has it too. Once its
successor signs it loses its private half, and verifies what it signed until the last of that has ended. Servers of
before sign with the first key of each kind that they find, so keys stand in the order in which they sign.

Source: RFC 7517 §5; docs/operate.md (signing keys).
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

#: how far the clock of a node may be off
CLOCK_MS = 60_000
#: of a private key alone (RFC 7518 §6.2.2 and §6.3.2)
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi"})

Jwk = dict[str, Any]
#: an RSA key and one on P-256, private
Pair = tuple[Jwk, Jwk]


class Life(Struct, frozen=True):
    """The life of one key; a key of before has no other than this one, which always signed."""

    made_at: int = 0
    signs_from: int = 0
    #: since when it has no private half any more
    stopped_at: int | None = None
    #: the longest lifetime of anything that it signed but of statements
    lasts_ms: int = 21_600_000

    @property
    def is_of_before(self) -> bool:
        """Tell whether it was made by a program that listed no statements."""
        return not self.made_at

    @property
    def until(self) -> int | None:
        """
        The moment when all tokens that it signed have ended, on every clock: the one that stamped the token, that of
        whoever judges it, of the node that wrote `stopped_at` and of the one that reads it. None while it may sign.
        """
        return None if self.stopped_at is None else self.stopped_at + self.lasts_ms + 4 * CLOCK_MS


_OF_BEFORE = Life()


class StoredKeys(Struct, frozen=True):
    """What an environment keeps sealed: its JWKs, and the random keys of its digests, client secrets and chain."""

    keys: tuple[Jwk, ...]
    #: 32 bytes each; empty in what the first version stored
    pepper: bytes = b""
    client_key: bytes = b""
    chain_key: bytes = b""
    #: by kid; beside the keys, because servers of before read those and not this
    lives: dict[str, Life] = {}

    def life(self, jwk: Jwk) -> Life:
        return self.lives.get(jwk["kid"], _OF_BEFORE)

    def newest(self) -> Jwk:
        """Answer the key that is to sign last."""
        return max(self.keys, key=lambda jwk: self.life(jwk).signs_from)


class KeyState(StrEnum):
    #: published, and does not sign yet
    NEXT = "next"
    SIGNING = "signing"
    #: signs nothing any more
    VERIFYING = "verifying"


def begun(pair: Pair, now: int, *, pepper: bytes, client_key: bytes, chain_key: bytes) -> StoredKeys:
    """Answer what a new environment keeps; `pepper`, `client_key` and `chain_key` are 32 random bytes each."""
    return StoredKeys(pair, pepper, client_key, chain_key, _lives(pair, Life(now, now)))


def added(stored: StoredKeys, pair: Pair, now: int, *, signs_from: int) -> StoredKeys:
    """Publish the next keys."""
    lives = {**stored.lives, **_lives(pair, Life(now, signs_from))}
    return replace(stored, keys=(*stored.keys, *pair), lives=lives)


def replaced(stored: StoredKeys, pair: Pair, now: int) -> StoredKeys:
    """End every key there is; nothing that one of them signed can be verified any more, and the new ones sign."""
    return replace(stored, keys=pair, lives=_lives(pair, Life(now, now)))


def _lives(pair: Pair, life: Life) -> dict[str, Life]:
    return {jwk["kid"]: life for jwk in pair}


def waits_until(stored: StoredKeys, now: int) -> int | None:
    """Answer from when the next key signs, None where none waits."""
    signs_from = stored.life(stored.newest()).signs_from
    return signs_from if signs_from > now else None


def is_due(stored: StoredKeys, now: int, every_ms: int) -> bool:
    """Tell whether the newest key is so old that a rotation has to begin."""
    return waits_until(stored, now) is None and stored.life(stored.newest()).made_at + every_ms <= now


def kept_up(stored: StoredKeys, now: int, *, lasts_ms: int, holds: Callable[[str, Life], bool]) -> StoredKeys:
    """
    Take the private half of keys whose successor signs by every clock, and the rest of those whose time is over. The
    same value where there is nothing to do.

    `lasts_ms` is the longest lifetime of a token that is signed now; `holds` tells of an RSA key, by its `kid` and its
    life, whether a statement counts that it signed.
    """
    keys, lives = [], {}
    for jwk in stored.keys:
        life = stored.life(jwk)
        if life.stopped_at is None:
            life = replace(life, lasts_ms=max(life.lasts_ms, lasts_ms))
            if _is_superseded(stored, jwk, now):
                jwk, life = _public(jwk), replace(life, stopped_at=now)  # noqa: PLW2901 - what it is from now on
        elif _is_over(life, now) and not (jwk["kty"] == "RSA" and holds(jwk["kid"], life)):
            continue
        keys.append(jwk)
        if life != _OF_BEFORE:
            lives[jwk["kid"]] = life
    keys.sort(key=lambda jwk: ("d" not in jwk, lives.get(jwk["kid"], _OF_BEFORE).signs_from))
    return replace(stored, keys=tuple(keys), lives=lives)


def _is_over(life: Life, now: int) -> bool:
    return life.until is not None and life.until <= now


def _is_superseded(stored: StoredKeys, jwk: Jwk, now: int) -> bool:
    signs_from = stored.life(jwk).signs_from
    return any(signs_from < stored.life(other).signs_from <= now - CLOCK_MS for other in _alike(stored.keys, jwk))


def _alike(keys: Sequence[Jwk], jwk: Jwk) -> list[Jwk]:
    """Answer the keys of the same kind that can sign."""
    return [other for other in keys if other["kty"] == jwk["kty"] and "d" in other]


def _public(jwk: Jwk) -> Jwk:
    return {name: value for name, value in jwk.items() if name not in _PRIVATE}


class Shown(Struct, frozen=True):
    """A key as it is told of: `kind` is RSA or EC, a life of before has moments of None."""

    kid: str
    kind: str
    alg: str
    state: KeyState
    made_at: int | None
    signs_from: int | None
    #: until when it verifies tokens; a statement that it signed keeps it for longer
    until: int | None


def shown(stored: StoredKeys, now: int) -> list[Shown]:
    """Tell of the keys, those that sign first, then the next, then those that only verify."""
    states = {jwk["kid"]: _state(stored, jwk, now) for jwk in stored.keys}
    order = [KeyState.SIGNING, KeyState.NEXT, KeyState.VERIFYING]
    return [
        Shown(
            jwk["kid"],
            jwk["kty"],
            jwk["alg"],
            states[jwk["kid"]],
            stored.life(jwk).made_at or None,
            stored.life(jwk).signs_from or None,
            stored.life(jwk).until,
        )
        for jwk in sorted(stored.keys, key=lambda jwk: order.index(states[jwk["kid"]]))
    ]


def _state(stored: StoredKeys, jwk: Jwk, now: int) -> KeyState:
    signs_from = stored.life(jwk).signs_from
    if "d" not in jwk:
        return KeyState.VERIFYING
    if signs_from > now:
        return KeyState.NEXT
    later = any(signs_from < stored.life(other).signs_from <= now for other in _alike(stored.keys, jwk))
    return KeyState.VERIFYING if later else KeyState.SIGNING
