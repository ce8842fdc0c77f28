"""
Proves a token by a key set, offline: its signature, that it holds now, and of a media token what it is for.

Source: RFC 7515 §5.2, RFC 7517 §5, RFC 7519 §4.1, contract §8.
"""

import base64
from typing import Any

import msgspec
from msgspec import Struct

from temppass.tools.claims import Kind, Token, Unexplained, moment_of

#: longer texts are refused unread
INPUT_BYTES_MAX = 65_536
#: clocks may differ by so much (RFC 7519 §4.1.5)
_LEEWAY_MS = 60_000

_object = msgspec.json.Decoder(dict[str, Any])


class Proof(Struct, frozen=True):
    """
    What to hold a token against: a key set (RFC 7517 §5), and the title and channel that a media token has to be for,
    None where any will do.
    """

    key_set: dict[str, Any]
    resource: str | None = None
    requestor: str | None = None


def read_key_set(raw: bytes) -> dict[str, Any]:
    """Read a key set (RFC 7517 §5), as `/.well-known/jwks.json` publishes it. Raises Unexplained."""
    hint = "save what /.well-known/jwks.json of the service answers, and give that file"
    if len(raw) > INPUT_BYTES_MAX:
        raise Unexplained(f"the key set has more than {INPUT_BYTES_MAX} bytes", hint=hint)
    try:
        document = _object.decode(raw)
    except (ValueError, RecursionError):
        raise Unexplained("the key set is not a JSON object", hint=hint) from None
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise Unexplained("the key set has no list `keys`", hint=hint)
    usable = [jwk for jwk in keys if isinstance(jwk, dict) and _key(jwk) is not None]
    if not usable:
        raise Unexplained("the key set has no RSA or EC key", hint=hint)
    return {"keys": usable}


def _key(jwk: dict[str, Any]) -> Any:
    """Answer a key that can be used, None for any other (RFC 7517 §5: to be ignored)."""
    from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415 - cryptography takes long to import

    kinds: dict[Any, Any] = {"RSA": RSAKey, "EC": ECKey}
    try:
        return kinds[jwk["kty"]].import_key(jwk)
    except Exception:  # noqa: BLE001 - a key from elsewhere fails in whatever way the libraries have
        return None


def proved(compact: str, token: Token, kind: Kind, proof: Proof, now_ms: int) -> tuple[bool, str]:
    """Answer whether the token is good, and the words for it; a media token has the words of its verifier."""
    if kind is not Kind.MEDIA:
        return _signed(compact, token, proof, now_ms)
    from temppass.core.tokens import MediaTokenStatus, MediaTokenVerifier  # noqa: PLC0415 - as above

    serialized = base64.b64encode(compact.encode()).decode()
    status, _ = MediaTokenVerifier(proof.key_set).verify(
        serialized,
        expected_channel=str(token.claims.get("requestor")) if proof.requestor is None else proof.requestor,
        expected_resource=proof.resource,
        now_ms=now_ms,
    )
    words = {
        MediaTokenStatus.VALID_TOKEN: "good",
        MediaTokenStatus.INVALID_TOKEN_FORMAT: "it cannot be read",
        MediaTokenStatus.INVALID_SIGNATURE: "no key of the key set signed it as a media token",
        MediaTokenStatus.TOKEN_EXPIRED: "the signature is good, and the token has expired",
        MediaTokenStatus.INVALID_RESOURCE_ID: "the signature is good, and the token is for another channel or title",
        MediaTokenStatus.ERROR_UNKNOWN: "the signature is good, and a claim is missing",
    }
    return status is MediaTokenStatus.VALID_TOKEN, f"{status}: {words[status]}"


def _signed(compact: str, token: Token, proof: Proof, now_ms: int) -> tuple[bool, str]:
    kid = token.header.get("kid")
    named = [jwk for jwk in proof.key_set["keys"] if kid is None or jwk.get("kid") == kid]
    if not named:
        return False, "not good: the key set has no key of this kid; is it of the same environment, and fresh?"
    if not any(_signs(compact, _key(jwk)) for jwk in named):
        return False, "not good: no key of the key set signed this"
    expires_at, begins_at = moment_of(token.claims, "exp"), moment_of(token.claims, "nbf")
    if expires_at is not None and expires_at <= now_ms:
        return False, "good, but the token has expired"
    if begins_at is not None and begins_at > now_ms + _LEEWAY_MS:
        return False, "good, but the token is for later"
    return True, "good"


def _signs(compact: str, key: Any) -> bool:
    """Tell whether this key signed a token, with the one algorithm that the key is for."""
    from joserfc import jws  # noqa: PLC0415 - as above
    from joserfc.jwk import RSAKey  # noqa: PLC0415

    try:
        jws.deserialize_compact(compact, key, algorithms=["RS256" if isinstance(key, RSAKey) else "ES256"])
    except Exception:  # noqa: BLE001 - whatever a library finds wrong with a token, it is not proved
        return False
    return True
