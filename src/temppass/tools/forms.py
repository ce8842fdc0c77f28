"""
Every form of one identity: what a text was taken for and why, and how the wire, the library and the command line want
it written. Canonical values are those of core.identity, so what is shown here is what a service will compare.

Source: contract §4.2, §5.1, §6.0.
"""

import base64
import hashlib
import re
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from temppass.client.errors import InvalidTarget
from temppass.client.flow import Viewer
from temppass.core.identity import (
    IDENTITY_BYTES_MAX,
    canonical_user_key,
    decode_base64,
    device_from_header,
    user_key_from_header,
)
from temppass.core.refusal import InvalidDeviceIdentifier, InvalidIdentity
from temppass.core.viewer import is_email

Kind = Literal["auto", "device", "key", "email"]

#: a value has at most so many bytes: an identity of IDENTITY_BYTES_MAX in base64, with the name of its header
VALUE_BYTES_MAX = 2048
#: base64 of fewer bytes is no guess worth making
_GUESSED_BYTES_MIN = 6

_HEADER = re.compile(r"\s*(AP-Device-Identifier|AP-TempPass-Identity)\s*:(.*)", re.IGNORECASE | re.DOTALL)
_FINGERPRINT = re.compile(r"\s*fingerprint(\s|$)", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")
#: MD5 and SHA-1 in hex
_WEAK_DIGEST = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_SHA2 = {56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
_object = msgspec.json.Decoder(dict[str, Any])


class Device(Struct, frozen=True):
    """A device id as a command takes it (None where it cannot be typed), in a query (None for `all`), and hashed."""

    device_id: str | None
    query: str | None
    header: str
    sha256: str


class Variant(Struct, frozen=True):
    """The key of an application that hashes another spelling of the same text."""

    of: str
    key: str


class UserKey(Struct, frozen=True):
    """A user key in its canonical form, and as the header of a pass with this identity key."""

    key: str
    identity_key: str
    header: str
    variants: tuple[Variant, ...] = ()


class Forms(Struct, frozen=True):
    """`steps` say what a value was taken for and how it was read; neither they nor `warnings` repeat the value."""

    identity: Device | UserKey
    steps: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def forms(value: str, kind: Kind = "auto", *, identity_key: str = "email") -> Forms:
    """
    Answer every form of the identity that `value` is.

    A kind other than auto takes bare text as it stands. What has the name of its header in front, or `fingerprint`, is
    decoded under every kind. Bytes that are not UTF-8 are surrogates, as Python reads them from a command line.
    Raises InvalidTarget.
    """
    if not identity_key or not identity_key.isprintable():
        raise InvalidTarget("the identity key is empty or no text", hint="it is the pass's own, such as email")
    if not value.strip():
        raise InvalidTarget("the value is empty", hint="is a variable unset?")
    if len(_bytes(value)) > VALUE_BYTES_MAX:
        raise InvalidTarget(f"the value has more than {VALUE_BYTES_MAX} bytes", hint="give one identity at a time")
    named = _HEADER.fullmatch(value)
    if named is not None and named[1].lower() == "ap-temppass-identity":
        _demand(kind, ("auto", "key"), "an AP-TempPass-Identity header")
        return _identity(
            named[2].strip(), identity_key, "taken as a user key: the header AP-TempPass-Identity holds one"
        )
    if named is not None or _FINGERPRINT.match(value):
        _demand(kind, ("auto", "device"), "an AP-Device-Identifier header")
        return _fingerprint(named[2] if named is not None else value)
    match kind:
        case "device":
            return _device(
                _bytes(value), ["taken as a device id, as it stands, because --kind says so"], _doubts(value)
            )
        case "key":
            return _key(value, identity_key, ["taken as a user key because --kind says so"], _doubts_of_key(value))
        case "email":
            if not is_email(value.strip()):
                raise InvalidTarget("the value is no e-mail address", hint="--kind key hashes any text")
            return _key(value, identity_key, ["taken as an e-mail address because --kind says so"], [])
        case _:
            return _guessed(value, identity_key)


def is_digest(text: str) -> bool:
    """Tell whether a text is a SHA-2 digest in hex, which a service takes for a user key as it is."""
    try:
        return canonical_user_key(text) == text.lower()
    except InvalidIdentity:
        return False


def identity_fields(text: str) -> dict[str, Any] | None:
    """Answer the JSON object that a text holds in base64, None where it holds none."""
    try:
        return _object.decode(decode_base64(text))
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None


def hidden_device_id(text: str) -> bytes | None:
    """Answer the printable text that a text holds in base64, None where it holds none; hex is never taken for it."""
    try:
        raw = decode_base64(text)
        shown = raw.decode("ascii")
    except ValueError:
        return None
    return raw if len(raw) >= _GUESSED_BYTES_MIN and shown.isprintable() and not _HEX.fullmatch(text) else None


# --- guessing


def _guessed(value: str, identity_key: str) -> Forms:
    text = value.strip()
    if is_digest(text):
        doubt = f"ambiguous: {len(text)} hex digits may be a device id as well; if they are, add --kind device"
        return _key(value, identity_key, [f"taken as a user key: it is a {_SHA2[len(text)]} digest in hex"], [doubt])
    if is_email(text):
        return _key(value, identity_key, ["taken as an e-mail address, which is to be hashed"], [])
    if text.startswith("{"):
        encoded = base64.b64encode(_bytes(text)).decode()
        return _identity(encoded, identity_key, "taken as a user key: it is a JSON identity before its base64")
    if identity_fields(text) is not None:
        return _identity(text, identity_key, "taken as a user key: it is the base64 of a JSON identity")
    if (device_id := hidden_device_id(text)) is not None:
        doubt = "ambiguous: this may be a device id as it stands; if it is, add --kind device"
        return _device(
            device_id, ["taken as a device id: it is base64 of printable text, as in a fingerprint"], [doubt]
        )
    why = "it is a UUID" if _UUID.fullmatch(text) else "no other form fits"
    return _device(_bytes(value), [f"taken as a device id: {why}"], [])


def _doubts(value: str) -> list[str]:
    text = value.strip()
    if identity_fields(text) is not None:
        return ["this looks like the base64 of a JSON identity; without --kind it is read as a user key"]
    if hidden_device_id(text) is not None:
        return ["this looks like the base64 of a device id; write `fingerprint` in front to have it decoded"]
    return []


def _doubts_of_key(value: str) -> list[str]:
    text, doubts = value.strip(), []
    if is_email(text):
        doubts.append("as a key an e-mail address travels unhashed; send the key below in its place")
    if identity_fields(text) is not None:
        doubts.append("this looks like the base64 of a JSON identity; without --kind the key inside it is read")
    if _WEAK_DIGEST.fullmatch(text):
        doubts.append(
            "this looks like an MD5 or SHA-1 digest; only SHA-2 digests are keys as they are, so it is hashed"
        )
    if text == "all":
        doubts.append("the wire cannot name this key: key=all means every user key")
    return doubts


def _demand(kind: Kind, allowed: tuple[Kind, ...], what: str) -> None:
    if kind not in allowed:
        raise InvalidTarget(f"the value is {what}, not of --kind {kind}", hint="leave out --kind")


# --- devices


def _fingerprint(header: str) -> Forms:
    try:
        device_id = device_from_header(header)
    except InvalidDeviceIdentifier as error:
        raise InvalidTarget(error.detail) from None
    return _device(device_id, ["taken as a device id: the base64 of AP-Device-Identifier holds it"], [])


def _device(device_id: bytes, steps: list[str], warnings: list[str]) -> Forms:
    if len(device_id) > IDENTITY_BYTES_MAX:
        raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
    shown = device_id.decode("utf-8", "replace")
    can_be_typed = shown.encode() == device_id and shown.isprintable()
    is_all = device_id == b"all"
    identity = Device(
        shown if can_be_typed and not is_all else None,
        f"device_id={quote(device_id, safe='')}" if not is_all else None,
        Viewer(device_id).headers()["AP-Device-Identifier"],
        hashlib.sha256(device_id).hexdigest(),
    )
    if (_UUID.fullmatch(shown) or _HEX.fullmatch(shown)) and shown.upper() != shown.lower():
        steps = [*steps, "compared byte for byte: the same id in other letter case is another device"]
    if is_all:
        warnings = [*warnings, "the wire cannot name this device: device_id=all means every device"]
    elif not can_be_typed:
        warnings = [
            *warnings,
            "the device id holds bytes that cannot be typed; write it as in the query, or as a header",
        ]
    if shown != shown.strip():
        warnings = [*warnings, "the device id has white space around it, which counts: trimmed, it is another device"]
    if is_email(shown.strip()):
        warnings = [*warnings, "the device id looks like an e-mail address, and base64 hides nothing"]
    return Forms(identity, tuple(steps), tuple(warnings))


# --- user keys


def _identity(encoded: str, identity_key: str, why: str) -> Forms:
    try:
        user_key_from_header(encoded, identity_key)
    except InvalidIdentity as error:
        names = sorted(name for name in identity_fields(encoded) or {} if _PLAIN_NAME.fullmatch(name))
        hint = f"it has {', '.join(names)}; name one with --identity-key" if names and identity_key not in names else ""
        raise InvalidTarget(error.detail, hint=hint) from None
    held = str((identity_fields(encoded) or {})[identity_key])
    warnings = [] if not is_email(held.strip()) else ["the identity holds an e-mail address that is not hashed"]
    return _key(held, identity_key, [why, "the user key stands in it under the identity key"], warnings)


def _key(text: str, identity_key: str, steps: list[str], warnings: list[str]) -> Forms:
    try:
        key = canonical_user_key(text)
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None
    if is_digest(text):
        steps = [*steps, f"a {_SHA2[len(text)]} digest is the key as it is, in lower case"]
    else:
        steps = [*steps, "the key is the SHA-256 of exactly the UTF-8 bytes of the text"]
        if text != text.strip():
            warnings = [*warnings, "the text has white space around it, which is hashed with it"]
    variants = _variants(text, key)
    if variants:
        steps = [*steps, "an application that trims or lower-cases before it hashes has another key; both must agree"]
    header = Viewer(b"any", key, identity_key).headers()["AP-TempPass-Identity"]
    return Forms(UserKey(key, identity_key, header, variants), tuple(steps), tuple(warnings))


def _variants(text: str, key: str) -> tuple[Variant, ...]:
    spellings = {
        "trimmed": text.strip(),
        "lower-cased": text.lower(),
        "trimmed and lower-cased": text.strip().lower(),
    }
    found: dict[str, str] = {}
    for of, spelling in spellings.items():
        try:
            other = canonical_user_key(spelling)
        except InvalidIdentity:  # a letter may need more bytes in lower case
            continue
        if other != key and other not in found.values():
            found[of] = other
    return tuple(Variant(of, other) for of, other in found.items())


def _bytes(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidTarget("the value is no text in UTF-8") from None
