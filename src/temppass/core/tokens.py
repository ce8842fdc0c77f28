"""
Signed and hashed things: the keys of an environment, software statements, access tokens, media tokens, secrets of
clients.

Only this module knows an algorithm. The three kinds of token are JSON Web Signatures that carry different `typ`
headers and are never accepted for one another; only the algorithm of the key that `kid` names is accepted. Keys and
`now` are arguments. All `iat`, `nbf` and `exp` are seconds, as RFC 7519 §4.1 has them.

Source: RFC 7515, RFC 7519, contract §3.1, §3.4 and §8, design §4.2 and decisions 8.6-8.9.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicKey,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import base64_to_int
from msgspec import Struct

from temppass.core.keys import CLOCK_MS, Jwk, Pair, StoredKeys
from temppass.core.model import OLDER
from temppass.core.refusal import InvalidStatement, InvalidToken

S = TypeVar("S")

ISSUER = "auth.adobe.com"
#: longer strings are refused unread; a real one has under 1 KiB, a media token of the longest title up to 18 KiB
TOKEN_CHARACTERS_MAX = 24_576
ALGORITHMS = ["RS256", "ES256"]

_STATEMENT = "software-statement+jwt"
_ACCESS = "at+jwt"  # RFC 9068 §2.1
_MEDIA = "media-token+jwt"

_json = msgspec.json.Encoder()
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


# --- secrets of clients


def hash_client_secret(client_secret: str, key: bytes) -> bytes:
    """A fast keyed hash: client secrets are long and random, so that guessing is hopeless without stretching."""
    return hmac.digest(key, client_secret.encode(), "sha256")


def keyed(key: bytes, *parts: bytes) -> bytes:
    """Digest `parts` so that nobody without the key can try what they were, and none of them runs into the next."""
    return hmac.digest(key, b"".join(len(part).to_bytes(8, "big") + part for part in parts), "sha256")


def same(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)


# --- the keys of one environment


def make_pair(kids: tuple[str, str]) -> Pair:
    """
    Make an RSA key of 2048 bits, for statements and access tokens, and one on P-256, for media tokens.

    It takes long (50 to 200 ms), during which OpenSSL leaves the interpreter to others: it belongs in a thread.
    """
    rsa_kid, ec_kid = kids
    rsa_key = RSAKey.generate_key(2048, {"kid": rsa_kid, "use": "sig", "alg": "RS256"})
    ec_key = ECKey.generate_key("P-256", {"kid": ec_kid, "use": "sig", "alg": "ES256"})
    return dict(rsa_key.as_dict(private=True)), dict(ec_key.as_dict(private=True))


class Keyring:
    """
    The keys of one environment, ready for use. `jwks` is the public half (RFC 7517 §5). Which key signs is a matter of
    `now`, in milliseconds.
    """

    def __init__(self, stored: StoredKeys, media_algorithm: str) -> None:
        keys = [_imported(jwk) for jwk in stored.keys]
        self.by_kid = {str(key.kid): key for key in keys}
        self.jwks = {"keys": [dict(key.as_dict(private=False)) for key in keys]}
        signers = [
            (stored.life(jwk).signs_from, jwk["kty"], _signer(key), str(key.kid))
            for jwk, key in zip(stored.keys, keys, strict=True)
            if key.is_private
        ]
        # the latest first; of two that came at once the one that servers of before would take
        signers.sort(key=itemgetter(0), reverse=True)
        media = "EC" if media_algorithm == "ES256" else "RSA"
        self._signers = tuple((since, sign) for since, kind, sign, _ in signers if kind == "RSA")
        self._media_signers = tuple((since, sign) for since, kind, sign, _ in signers if kind == media)
        self._kids = tuple((since, kid) for since, kind, _, kid in signers if kind == "RSA")
        rsa = [(kid, since) for since, kind, _, kid in signers if kind == "RSA"]
        #: of keys that have another one before them, from when there can be tokens that they signed
        self._begin = dict(rsa[:-1])
        #: the longest lifetime that any server gives to tokens, as far as the keys know
        self.lasts_ms = max((stored.life(jwk).lasts_ms for jwk in stored.keys), default=0)

    def statement_kid(self, now: int) -> str:
        """Answer which key signs statements."""
        return _at(self._kids, now)

    def sign_statement(self, claims: dict[str, Any], now: int) -> str:
        return _at(self._signers, now)(_STATEMENT, claims).decode()

    def sign_access(self, claims: dict[str, Any], now: int) -> str:
        return _at(self._signers, now)(_ACCESS, claims).decode()

    def sign_media(self, claims: Any, now: int) -> str:
        """Answer `serializedToken`: the base64 of the compact JWS (design §4.2)."""
        return binascii.b2a_base64(_at(self._media_signers, now)(_MEDIA, claims), newline=False).decode()

    def read(self, kind: str, token: str, now: int) -> dict[str, Any] | None:
        """
        Answer the claims of a token of this `typ` that one of these keys signed, and not before its time by any clock;
        None for anything else.
        """
        return _verified(kind, token, partial(self._known, now) if self._begin else self.by_kid.get)

    def _known(self, now: int, kid: str) -> RSAKey | ECKey | None:
        return self.by_kid.get(kid) if self._begin.get(kid, now) <= now + 2 * CLOCK_MS else None


_Sign = Callable[[str, Any], bytes]


def _at(signers: tuple[tuple[int, S], ...], now: int) -> S:
    """Answer what signs at a moment: the last that has begun, or the first of all on a clock that is far behind."""
    for since, signer in signers:
        if since <= now:
            return signer
    return signers[-1][1]


def _imported(jwk: Jwk) -> RSAKey | ECKey:
    """
    Read a key that we sealed ourselves. OpenSSL's proof that a private RSA key is one takes 50 ms, through which nobody
    else has the interpreter, in a thread either; AES-GCM proves already that it is the one that we made.
    """
    if jwk["kty"] != "RSA":
        return ECKey.import_key(jwk)
    n, e, *private = (base64_to_int(jwk[name]) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi") if name in jwk)
    public = RSAPublicNumbers(e, n)
    key: RSAPublicKey | RSAPrivateKey = public.public_key()
    if private:
        d, p, q, dp, dq, qi = private
        numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, public)
        key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    # not by import_key, which takes no such object in joserfc 1.0
    return RSAKey(key, key, {"kid": jwk["kid"], "use": jwk["use"], "alg": jwk["alg"]})


def _signer(key: RSAKey | ECKey) -> _Sign:
    """
    Answer a function that signs claims as a compact JWS (RFC 7515 §7.1).

    It is done here and not by joserfc, because a media token is signed in every permit: 28 µs against 46 µs for
    ES256 (docs/design.md, 2026-11-21).
    """
    algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
    heads = {
        kind: _segment(_json.encode({"alg": algorithm, "kid": key.kid, "typ": kind}))
        for kind in (_STATEMENT, _ACCESS, _MEDIA)
    }
    signature = _rsa_signature(key) if isinstance(key, RSAKey) else _ec_signature(key)

    def sign(kind: str, claims: Any) -> bytes:
        signed = heads[kind] + b"." + _segment(_json.encode(claims))
        return signed + b"." + _segment(signature(signed))

    return sign


def _rsa_signature(key: RSAKey) -> Callable[[bytes], bytes]:
    private, scheme, digest = key.private_key, padding.PKCS1v15(), hashes.SHA256()
    assert private is not None
    return lambda signed: private.sign(signed, scheme, digest)  # RFC 7518 §3.3


def _ec_signature(key: ECKey) -> Callable[[bytes], bytes]:
    private, scheme = key.private_key, ec.ECDSA(Prehashed(hashes.SHA256()))
    assert private is not None

    def signature(signed: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(hashlib.sha256(signed).digest(), scheme))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518 §3.4

    return signature


def _segment(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URLSAFE, b"=")


def _verified(kind: str, token: str, key_of: Callable[[str], Any]) -> dict[str, Any] | None:
    if len(token) > TOKEN_CHARACTERS_MAX:
        return None
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
        key = key_of(str(header.get("kid")))
        if key is None or header.get("typ") != kind:
            return None
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        claims = msgspec.json.decode(jws.deserialize_compact(token, key, algorithms=[algorithm]).payload)
    except (JoseError, ValueError, RecursionError):  # also UnicodeError and msgspec.DecodeError
        return None
    return claims if isinstance(claims, dict) else None


# --- software statements (contract §3.1)


class Statement(Struct, frozen=True):
    """
    Which application a software statement speaks for: `sub` is its UUIDv5, `epoch` its epoch at minting. `id` is its
    `jti` where it is to be found on the list of those that count, OLDER where its program kept no list.
    """

    sub: str
    epoch: int
    id: str


def write_statement(
    keyring: Keyring, statement: Statement, environment: str, now_s: int, issuer: str, ends_at: int | None = None
) -> str:
    """Mint a software statement that ends by revocation, or at a moment (milliseconds) too."""
    end = {"exp": ends_at // 1000} if ends_at is not None else {}
    return keyring.sign_statement({
        "sub": statement.sub, "iss": issuer, "nbf": now_s, "iat": now_s, "aud": environment, "jti": statement.id,
        "epoch": statement.epoch, "listed": True, **end,
    }, now_s * 1000)  # fmt: skip


def read_statement(keyring: Keyring, token: str, environment: str, now_s: int) -> Statement:
    """Refuses: InvalidStatement, also for a statement of another environment (design decision 8.12)."""
    claims = keyring.read(_STATEMENT, token, now_s * 1000)
    if claims is None or claims.get("aud") != environment or not _begun(claims, now_s):
        raise InvalidStatement("Send a software statement that this environment issued.")
    match claims:
        case {"sub": str(sub), "epoch": int(epoch), "listed": True, "jti": str(id_)}:
            return Statement(sub, epoch, id_)
        case {"sub": str(sub), "epoch": int(epoch)} if "listed" not in claims:
            return Statement(sub, epoch, OLDER)
    raise InvalidStatement("The software statement lacks a claim; mint a new one.")


# --- access tokens (contract §3.4)


class Grant(Struct, frozen=True):
    """What a good access token says. `expires_at` is in milliseconds."""

    client_id: str
    application_id: str
    epoch: int
    scopes: frozenset[str]
    expires_at: int
    #: of the client that asked for it
    statement_id: str = OLDER


def write_access_token(keyring: Keyring, grant: Grant, environment: str, now_s: int, jti: str, issuer: str) -> str:
    listed = {"statement": grant.statement_id} if grant.statement_id != OLDER else {}
    return keyring.sign_access({
        "sub": grant.client_id, "iss": issuer, "iat": now_s, "nbf": now_s, "exp": grant.expires_at // 1000,
        "scopes": ",".join(sorted(grant.scopes)), "aud": environment, "jti": jti,
        "app": grant.application_id, "epoch": grant.epoch, **listed,
    }, now_s * 1000)  # fmt: skip


def read_access_token(keyring: Keyring, token: str, environment: str, now_s: int) -> Grant:
    """Refuses: InvalidToken."""
    claims = keyring.read(_ACCESS, token, now_s * 1000)
    if claims is None or claims.get("aud") != environment or not _begun(claims, now_s):
        raise InvalidToken("Send an access token that this environment issued.")
    match claims:
        case {"sub": str(sub), "app": str(app), "epoch": int(epoch), "scopes": str(scopes), "exp": int(exp)}:
            if exp <= now_s:
                raise InvalidToken("The access token has expired; ask /o/client/token for another.")
            statement_id = claims.get("statement", OLDER)
            if isinstance(statement_id, str):
                return Grant(sub, app, epoch, frozenset(scopes.split(",")), exp * 1000, statement_id)
    raise InvalidToken("The access token lacks a claim; ask /o/client/token for another.")


def access_claims(token: str) -> dict[str, Any]:
    """Answer all that an access token says. Its signature is not looked at again: read_access_token has read it."""
    claims: dict[str, Any] = msgspec.json.decode(jws.extract_compact(token.encode("ascii")).payload)
    return claims


def _begun(claims: dict[str, Any], now_s: int) -> bool:
    not_before = claims.get("nbf")
    # a minute for clocks of nodes that differ (RFC 7519 §4.1.5)
    return isinstance(not_before, int) and not_before <= now_s + 60


# --- media tokens (contract §8)


_MEDIA_CLAIMS = {
    "user_id": "sub", "channel_id": "requestor", "pass_id": "mvpd", "issuer": "iss", "environment": "aud",
}  # fmt: skip


class MediaToken(Struct, frozen=True, rename=_MEDIA_CLAIMS):
    """
    The claims of a media token: proof for the video back end that one permit was given.

    `iat` and `exp` are seconds, `ttl` milliseconds; `jti` makes two tokens of one millisecond differ. `issuer` and
    `environment` are None in a token of a server that did not write them yet.
    """

    user_id: str
    channel_id: str
    pass_id: str
    resource: str
    iat: int
    exp: int
    ttl: int
    jti: str
    issuer: str | None = None
    environment: str | None = None


def write_media_token(keyring: Keyring, token: MediaToken) -> str:
    return keyring.sign_media(token, token.iat * 1000)


class MediaTokenStatus(StrEnum):
    """What the vendor's Media Token Verifier can say of a token."""

    VALID_TOKEN = "VALID_TOKEN"
    #: not parseable
    INVALID_TOKEN_FORMAT = "INVALID_TOKEN_FORMAT"
    #: not signed by a key of the JWKS, or not a media token
    INVALID_SIGNATURE = "INVALID_SIGNATURE"
    #: issue time and time to live have passed
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    #: for another channel or resource than the expected one; the claims tell which
    INVALID_RESOURCE_ID = "INVALID_RESOURCE_ID"
    #: anything else: a media token without one of its claims, or of another issuer or environment than expected
    ERROR_UNKNOWN = "ERROR_UNKNOWN"


class MediaTokenVerifier:
    """
    Check media tokens offline, against the key set that `/.well-known/jwks.json` publishes.

    `jwks` is that document, decoded. Fetch it anew when a token answers INVALID_SIGNATURE: keys are published before
    they sign. A token is meant to be used once: keep its `jti` until `exp` and refuse it a second time.

    `issuer` (`iss`) and `environment` (`aud`) are what every token has to say; None checks nothing, because the key
    set proves the environment already. They tell environments apart where key sets are joined, and are to be expected
    once no server of the version before is left: its tokens have neither.

    Source: contract §8; RFC 7519 §4.1.1 and §4.1.3.
    """

    def __init__(self, jwks: dict[str, Any], *, issuer: str | None = None, environment: str | None = None) -> None:
        self._issuer = issuer
        self._environment = environment
        # of a kind that signs no media token, or unreadable: to be ignored (RFC 7517 §5)
        kinds: dict[str, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
        self._keys: dict[str, RSAKey | ECKey] = {}
        for jwk in jwks["keys"]:
            with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):
                self._keys[str(jwk["kid"])] = kinds[jwk["kty"]].import_key(jwk)

    def verify(
        self, serialized_token: str, *, expected_channel: str, expected_resource: str | None, now_ms: int
    ) -> tuple[MediaTokenStatus, MediaToken | None]:
        """
        Answer the status and, for a token whose signature is good, its claims.

        `expected_channel` is the requestor whose video is asked for. `expected_resource` of None accepts any title of
        it; `now_ms` is Unix milliseconds. Raises nothing.
        """
        status = MediaTokenStatus
        try:
            compact = base64.b64decode(serialized_token, validate=True).decode("ascii")
            header = jws.extract_compact(compact.encode("ascii")).headers()
        except (JoseError, ValueError, RecursionError):
            return status.INVALID_TOKEN_FORMAT, None
        if not isinstance(header.get("kid"), str):
            return status.INVALID_SIGNATURE, None
        claims = _verified(_MEDIA, compact, self._keys.get)
        if claims is None:
            return status.INVALID_SIGNATURE, None
        try:
            token = msgspec.convert(claims, MediaToken)
        except msgspec.ValidationError:
            return status.ERROR_UNKNOWN, None
        if self._issuer not in {None, token.issuer} or self._environment not in {None, token.environment}:
            return status.ERROR_UNKNOWN, token
        if now_ms >= token.exp * 1000:
            return status.TOKEN_EXPIRED, token
        if token.channel_id != expected_channel or expected_resource not in {None, token.resource}:
            return status.INVALID_RESOURCE_ID, token
        return status.VALID_TOKEN, token
