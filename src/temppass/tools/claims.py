"""
Takes a token apart and reads its claims in every form that is met, the vendor's too; nothing of it is proved.

Source: RFC 7515 §3 and §7.1, RFC 7519 §2 and §4.1, contract §3.3 and §3.4.
"""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from temppass.client.errors import TempPassError
from temppass.core.identity import decode_base64

#: what can be explained
ACCEPTED = "give a software statement, an access token, a media token, or a header that names a device or a viewer"
#: below it, a moment is in seconds and not in milliseconds (contract §11 #7)
SECONDS_BELOW = 10**11

_object = msgspec.json.Decoder(dict[str, Any])


class Unexplained(TempPassError):
    """The text is nothing that can be explained, or what would prove it cannot be used."""


class Kind(StrEnum):
    STATEMENT = "software statement"
    ACCESS = "access token"
    MEDIA = "media token"
    VENDOR_MEDIA = "media token of the vendor"
    #: signed, and of none of the kinds above
    TOKEN = "signed token"  # noqa: S105 - a kind, no password
    DEVICE = "device header"
    IDENTITY = "identity header"
    DEVICE_INFO = "device info header"


class Token(Struct, frozen=True):
    """A compact JWS taken apart, its signature left out; nothing of it is proved."""

    header: dict[str, Any]
    claims: dict[str, Any]


def read_token(compact: str) -> Token:
    """Take a compact JWS apart without proving anything. Raises Unexplained."""
    parts = compact.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature (RFC 7515 §7.1)
        raise Unexplained("a token has three parts between dots", hint=ACCEPTED)
    return Token(*(_part(part, name) for part, name in zip(parts, ("header", "claims"), strict=False)))


def claims_of(token: str) -> Mapping[str, Any]:
    """Answer what an access token says; nothing where it cannot be read, for it is opaque by contract (§3.3)."""
    try:
        return read_token(token).claims
    except Unexplained:
        return {}


def kind_of(token: Token) -> Kind:
    """Tell the kind of a token by its `typ`, or by its claims: the vendor writes no `typ`."""
    by_type = {
        "software-statement+jwt": Kind.STATEMENT,
        "at+jwt": Kind.ACCESS,
        "media-token+jwt": Kind.MEDIA,
    }.get(str(token.header.get("typ")))
    claims = token.claims
    if by_type is not None:
        return by_type
    if "ttl" in claims and "resource" in claims:
        return Kind.MEDIA
    if "exp" in claims and (scopes_of(claims) is not None or "sub" in claims):
        return Kind.ACCESS
    return Kind.STATEMENT if "exp" not in claims and "sub" in claims else Kind.TOKEN


def scopes_of(claims: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read the scopes of a token in every form that is met (contract §3.4); None where it does not tell."""
    for name in ("scopes", "scope"):
        match claims.get(name):
            case str(text):
                return tuple(part for part in re.split(r"[,\s]+", text) if part)
            case list(items):
                return tuple(str(item) for item in items)
    return None


def moment_of(claims: Mapping[str, Any], name: str) -> int | None:
    """Read a claim that is a moment, as Unix milliseconds; None where it is absent or none (RFC 7519 §2)."""
    value = claims.get(name)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value * 1000) if abs(value) < SECONDS_BELOW else int(value)


def _part(part: str, name: str) -> dict[str, Any]:
    try:
        return _object.decode(decode_base64(part))
    except (ValueError, RecursionError):
        hint = "was it cut off, or copied with something around it?"
        raise Unexplained(f"the {name} of the token cannot be read", hint=hint) from None
