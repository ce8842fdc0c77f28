"""
Whose trial it is: every accepted form of a device id or user key becomes one canonical value, and a canonical
value becomes a digest. Server, client library and command line all use this module, so a reset finds what an
authorize wrote. Neither device ids nor user keys are ever stored; their digests are, keyed with a pepper.
"""

import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from typing import Any

import msgspec

from temppass.core.model import Subject, SubjectKind
from temppass.core.refusal import InvalidDeviceIdentifier, InvalidIdentity

#: device ids and user keys are at most this long, in bytes (design decision 8.5)
IDENTITY_BYTES_MAX = 1024
#: of the HMAC, as stored: 128 bits, NIST SP 800-107 §5.1 (docs/design.md, 2026-11-21)
DIGEST_BYTES = 16

#: SHA-224, 256, 384 and 512 in hex
_SHA2_HEX = re.compile(r"(?:[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})")
_DIGEST_HEX = re.compile(rf"[0-9a-fA-F]{{{2 * DIGEST_BYTES}}}")
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_object = msgspec.json.Decoder(dict[str, Any])


def decode_base64(text: str) -> bytes:
    """
    Decode standard or URL-safe base64, padded or not.

    Raises ValueError on anything else. Source: contract §6.0.
    """
    raw = text.encode("ascii").translate(_URLSAFE).rstrip(b"=")
    return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)


def device_from_header(value: str | None) -> bytes:
    """
    Read the canonical device id out of `AP-Device-Identifier: fingerprint <base64(device id)>`.

    Refuses: InvalidDeviceIdentifier. Source: contract §6.0.
    """
    kind, _, encoded = (value or "").strip().partition(" ")
    if kind.lower() != "fingerprint":
        raise InvalidDeviceIdentifier("Send AP-Device-Identifier: fingerprint <base64 of the device id>.")
    try:
        device_id = decode_base64(encoded.strip())
    except ValueError:
        raise InvalidDeviceIdentifier("The fingerprint in AP-Device-Identifier is not base64.") from None
    if not 0 < len(device_id) <= IDENTITY_BYTES_MAX:
        raise InvalidDeviceIdentifier(f"A device id has 1 to {IDENTITY_BYTES_MAX} bytes.")
    return device_id


def user_key_from_header(value: str | None, identity_key: str) -> str:
    """
    Read the canonical user key out of `AP-TempPass-Identity: base64({"<identity_key>": "<hash>"})`.

    Refuses: InvalidIdentity, also when the header is absent. Source: contract §6.0, design decision 8.2.
    """
    try:
        fields = _object.decode(decode_base64((value or "").strip()))
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        raise InvalidIdentity("AP-TempPass-Identity is not the base64 of a JSON object.") from None
    user_key = fields.get(identity_key)
    if not isinstance(user_key, str) or not user_key:
        raise InvalidIdentity(f"AP-TempPass-Identity does not hold a text under {identity_key!r}.")
    return canonical_user_key(user_key)


def device_from_text(value: str) -> bytes:
    """
    Read a device id as somebody types it, or as AP-Device-Identifier carries it, with its `fingerprint`.

    Refuses: InvalidDeviceIdentifier.
    """
    if value.lower().startswith("fingerprint "):
        return device_from_header(value)
    try:
        device_id = value.encode()
    except UnicodeEncodeError:
        raise InvalidDeviceIdentifier("A device id that is typed is a text in UTF-8.") from None
    if not 0 < len(device_id) <= IDENTITY_BYTES_MAX:
        raise InvalidDeviceIdentifier(f"A device id has 1 to {IDENTITY_BYTES_MAX} bytes.")
    return device_id


def digest_from_hex(value: str) -> bytes:
    """Read the digest of a subject. Refuses: InvalidIdentity."""
    if _DIGEST_HEX.fullmatch(value) is None:
        raise InvalidIdentity(f"The digest of a subject is {2 * DIGEST_BYTES} hex digits.")
    return bytes.fromhex(value)


def canonical_user_key(value: str) -> str:
    """
    Answer a SHA-2 hex digest in lower case as it is; anything else as the SHA-256 hex of exactly its UTF-8 bytes.

    Refuses: InvalidIdentity over 1 KiB, or with a lone surrogate. Source: design §3, decisions 8.2 and 8.5.
    """
    if _SHA2_HEX.fullmatch(value):
        return value.lower()
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise InvalidIdentity("A user key is a text in UTF-8.") from None
    if len(raw) > IDENTITY_BYTES_MAX:
        raise InvalidIdentity(f"A user key has at most {IDENTITY_BYTES_MAX} bytes.")
    return hashlib.sha256(raw).hexdigest()


def device(device_id: bytes, pepper: bytes) -> Subject:
    return Subject(SubjectKind.DEVICE, _digest(b"device:" + device_id, pepper))


def user_key(canonical: str, pepper: bytes) -> Subject:
    return Subject(SubjectKind.USER_KEY, _digest(b"key:" + canonical.encode(), pepper))


def origin_digest(value: str, pepper: bytes) -> bytes:
    """Digest an `applicationId` or `deviceUser`: they are only ever compared, so they are not kept in the clear."""
    return _digest(b"origin:" + value.encode(), pepper)


def _digest(value: bytes, pepper: bytes) -> bytes:
    mac = _keyed(pepper).copy()
    mac.update(value)
    return mac.digest()[:DIGEST_BYTES]


@lru_cache(maxsize=64)
def _keyed(pepper: bytes) -> hmac.HMAC:
    """Answer an HMAC to copy: to key one takes longer than the rest, and an environment has but one pepper."""
    return hmac.new(pepper, digestmod="sha256")


def user_id(subject: Subject) -> str:
    """Answer the wire's user id of a device: `temppass_` and 40 hex digits (contract §4.5)."""
    return "temppass_" + hashlib.blake2b(subject.digest, digest_size=20, person=b"user").hexdigest()
