"""
What everything that an environment keeps to itself is sealed under. Only this module knows how, and that there may be
several secrets: while one takes the place of another, both open what is there.

Source: RFC 5869, docs/design.md (a secret that can be changed).
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec.structs import replace

from temppass.core.keys import StoredKeys

SECRET_BYTES_MIN = 32
_FINGERPRINT_BYTES = 8
_NONCE_BYTES = 12

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredKeys).decode


class WrongSecret(Exception):
    """The keys in the store were sealed under another secret than those that are known here."""


#: under which keys are derived for sealing: now, and by the first version of this program
_PURPOSE, _OF_BEFORE = "environment", "keys"


class _One:
    """One secret: one key an environment is derived from it by HKDF (RFC 5869)."""

    def __init__(self, value: bytes) -> None:
        if len(value) < SECRET_BYTES_MIN:
            raise ValueError(f"the secret needs at least {SECRET_BYTES_MIN} bytes, not {len(value)}")
        self._value = value

    def seal(self, environment: str, keys: StoredKeys, nonce: bytes) -> bytes:
        derived = (keys.pepper, keys.client_key) == (self._pepper(environment), self._client_key(environment))
        key = self._derive(_OF_BEFORE if derived else _PURPOSE, environment)
        return nonce + AESGCM(key).encrypt(nonce, _encode(keys), environment.encode())

    def open(self, environment: str, sealed: bytes) -> StoredKeys | None:
        """Answer None for what was sealed under another one."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for purpose in (_PURPOSE, _OF_BEFORE):
            with contextlib.suppress(InvalidTag):
                keys = _decode(AESGCM(self._derive(purpose, environment)).decrypt(nonce, rest, environment.encode()))
                if keys.pepper:
                    return keys
                return replace(keys, pepper=self._pepper(environment), client_key=self._client_key(environment))
        return None

    def fingerprint(self) -> str:
        return self._derive("fingerprint", "")[:_FINGERPRINT_BYTES].hex()

    def _pepper(self, environment: str) -> bytes:
        return self._derive("pepper", environment)

    def _client_key(self, environment: str) -> bytes:
        return self._derive("client-secret", environment)

    def _derive(self, purpose: str, environment: str) -> bytes:
        info = f"temppass:{purpose}:{environment}".encode()
        return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(self._value)


class Source(NamedTuple):
    """
    Where secrets may change while the service runs: `read` answers them anew, at least one, and raises WrongSecret
    where it cannot. `place` is the same for all who read the same ones.
    """

    place: str
    read: Callable[[], Sequence[bytes]]


class Secret:
    """
    What is sealed under the secret; everything that an environment keeps is random. The first version derived peppers
    and client keys from the secret too; those stay.

    `values` are all that may open it, the present one first; they are read anew from `source`, if there is one, where a
    seal does not open. Raises ValueError for a value that is too short.
    """

    def __init__(self, *values: bytes, source: Source | None = None) -> None:
        self._ones = [_One(value) for value in values]
        #: what opened something last: all who share the store know that one, also while some do not know the first yet
        self._proven = self._ones[0]
        self._source = source

    @property
    def place(self) -> str | None:
        """The place of the source, if there is one."""
        return self._source.place if self._source is not None else None

    def fingerprints(self) -> tuple[str, ...]:
        """Answer what may be told of each value in public, in their order: whether it is the same as another."""
        return tuple(one.fingerprint() for one in self._ones)

    def seal(self, environment: str, keys: StoredKeys, nonce: bytes) -> bytes:
        """
        Encrypt what an environment keeps under the secret that opened something last, else the first; `nonce` is 12
        random bytes, never used twice.

        What the first version of this program derived from the secret, and would derive again, is sealed so that it
        can still read its part; anything newer so that it cannot, and says so instead of taking viewers for others.
        """
        return self._proven.seal(environment, keys, nonce)

    def open(self, environment: str, sealed: bytes) -> StoredKeys:
        """Answer what an environment keeps. Raises WrongSecret."""
        keys = self._open(environment, sealed)
        if keys is None and self._source is not None:
            self._ones = [_One(value) for value in self._source.read()]
            keys = self._open(environment, sealed)
        if keys is None:
            which = "another TEMPPASS_SECRET" if len(self._ones) == 1 else "none of the secrets that are known here"
            whose = f"environment {environment!r}" if environment else "the store itself"
            raise WrongSecret(f"the keys of {whose} were stored under {which}")
        return keys

    def renewed(self, environment: str, sealed: bytes, nonce: bytes) -> bytes | None:
        """Answer the same keys sealed under the first secret, None where they are. Raises WrongSecret."""
        keys, first = self.open(environment, sealed), self._ones[0]
        if self._proven is first:
            return None
        self._proven = first
        return first.seal(environment, keys, nonce)

    def _open(self, environment: str, sealed: bytes) -> StoredKeys | None:
        for one in sorted(self._ones, key=lambda one: one is not self._proven):
            keys = one.open(environment, sealed)
            if keys is not None:
                self._proven = one
                return keys
        return None
