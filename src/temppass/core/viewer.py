"""
Whom an operator means: a viewer named in any form in which somebody on the phone can spell a device or a user key, and
what looks wrong with the spelling. Nothing that is said here repeats what was given.

Source: docs/design.md (explain); contract §6.0, design §3 for the canonical values.
"""

import re
from typing import Any, Literal

import msgspec
from msgspec import Struct

from temppass.core.identity import (
    DIGEST_BYTES,
    canonical_user_key,
    decode_base64,
    device,
    device_from_header,
    device_from_text,
    user_key,
    user_key_from_header,
)
from temppass.core.model import Subject, SubjectKind
from temppass.core.refusal import InvalidRequest

#: what the two kinds of subjects are called beside their digest
WORDS: dict[SubjectKind, Literal["device", "key"]] = {SubjectKind.DEVICE: "device", SubjectKind.USER_KEY: "key"}
#: base64 of fewer bytes may be anything
_HIDDEN_BYTES_MIN = 6

#: the name of a header, where it was copied with its value
_NAME = re.compile(r"\s*AP-(?:Device-Identifier|TempPass-Identity)\s*:", re.IGNORECASE)
_FINGERPRINT = re.compile(r"\s*fingerprint\s", re.IGNORECASE)
_SUBJECT = re.compile(rf"(?:(device|key):)?([0-9a-fA-F]{{{2 * DIGEST_BYTES}}})")
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_SHA2_DIGITS = {56, 64, 96, 128}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Named(Struct, frozen=True):
    """
    A viewer as an operator names one: at least one of these, and none twice.

    `device` is a device id or the value of AP-Device-Identifier; `key` a hash, a raw key or the value of
    AP-TempPass-Identity; `subject` a digest in hex that the service told before, if need be with `device:` or `key:`
    before it.
    """

    device: str | None = None
    email: str | None = None
    key: str | None = None
    subject: str | None = None


class Meant(Struct, frozen=True):
    """Whom a name means. What a user's identity holds depends on the pass, so that it is read for each."""

    device: Subject | None = None
    user_key: Subject | None = None
    #: a value of AP-TempPass-Identity
    identity: str | None = None
    #: a digest of one kind or the other
    either: bytes | None = None
    warnings: tuple[str, ...] = ()

    def subjects(self, identity_key: str | None, pepper: bytes) -> tuple[Subject, ...]:
        """
        Answer whom this means under a pass whose users are known by `identity_key` (None: it goes by devices alone).

        A digest of either kind is one of each. Refuses: InvalidIdentity.
        """
        found = [self.device] if self.device is not None else []
        if self.either is not None and self.device is None:
            found.append(Subject(SubjectKind.DEVICE, self.either))
        if identity_key is not None:
            if self.identity is not None:
                found.append(user_key(user_key_from_header(self.identity, identity_key), pepper))
            elif self.user_key is not None:
                found.append(self.user_key)
            elif self.either is not None:
                found.append(Subject(SubjectKind.USER_KEY, self.either))
        return tuple(found)

    @property
    def names_key(self) -> bool:
        return self.user_key is not None or self.identity is not None


def read_viewer(named: Named, pepper: bytes) -> Meant:
    """Refuses: InvalidRequest where nobody is named, or somebody twice; InvalidDeviceIdentifier; InvalidIdentity."""
    given = [name for name in ("device", "email", "key", "subject") if getattr(named, name) is not None]
    if not given:
        raise InvalidRequest("Name a viewer: a device, an email, a key or a subject, one or two of them.")
    if any(not getattr(named, name).strip() for name in given):
        raise InvalidRequest("What names a viewer is empty; leave it out, or say whom you mean.")
    if named.email is not None and named.key is not None:
        raise InvalidRequest("An email is a key; send one of the two.")
    meant = Meant()
    if named.device is not None:
        meant = _with_device(meant, named.device, pepper)
    if named.email is not None:
        meant = msgspec.structs.replace(
            meant,
            user_key=user_key(canonical_user_key(named.email), pepper),
            warnings=(*meant.warnings, *_doubts_of_email(named.email)),
        )
    if named.key is not None:
        meant = _with_key(meant, named.key, pepper)
    return meant if named.subject is None else _with_subject(meant, named.subject)


def _with_device(meant: Meant, text: str, pepper: bytes) -> Meant:
    """Refuses: InvalidDeviceIdentifier."""
    text = text[name.end() :] if (name := _NAME.match(text)) else text
    if _FINGERPRINT.match(text):
        warning = "This is the header AP-Device-Identifier; the device id in its base64 was looked at."
        return Meant(device(device_from_header(text), pepper), warnings=(warning,))
    doubts = []
    if text != text.strip():
        doubts.append("The device id has white space around it, which counts; without it, this is another device.")
    elif _hides_text(text):
        doubts.append(
            "The device id looks like the base64 of the header AP-Device-Identifier; if it is, write 'fingerprint ' "
            "before it."
        )
    return msgspec.structs.replace(meant, device=device(device_from_text(text), pepper), warnings=tuple(doubts))


def _with_key(meant: Meant, text: str, pepper: bytes) -> Meant:
    """Refuses: InvalidIdentity."""
    text = text[name.end() :] if (name := _NAME.match(text)) else text
    if _holds_object(text):
        return msgspec.structs.replace(meant, identity=text)
    doubts = []
    if _HEX.fullmatch(text.strip()) and len(text.strip()) not in _SHA2_DIGITS:
        doubts.append(
            f"The key has {len(text.strip())} hex digits, and no SHA-2 hash has so many, so it was hashed like a raw "
            "key; was it copied whole?"
        )
    elif _EMAIL.fullmatch(text.strip()):
        doubts += _doubts_of_email(text)
    if text != text.strip() and not doubts:
        doubts.append("The key has white space around it, which is hashed with it; without it, this is another user.")
    subject = user_key(canonical_user_key(text), pepper)
    return msgspec.structs.replace(meant, user_key=subject, warnings=(*meant.warnings, *doubts))


def _with_subject(meant: Meant, text: str) -> Meant:
    """Refuses: InvalidRequest."""
    match = _SUBJECT.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"A subject is a digest of {2 * DIGEST_BYTES} hex digits, as explain tells.")
    digest, word = bytes.fromhex(match[2]), match[1]
    if meant.device is not None and meant.names_key:
        raise InvalidRequest("A device and a key are named already; leave out the subject.")
    if (word == "device" and meant.device is not None) or (word == "key" and meant.names_key):
        raise InvalidRequest(f"The subject is a second {word}; name one viewer.")
    if word == "device" or (word is None and meant.names_key):
        return msgspec.structs.replace(meant, device=Subject(SubjectKind.DEVICE, digest))
    if word == "key" or meant.device is not None:
        return msgspec.structs.replace(meant, user_key=Subject(SubjectKind.USER_KEY, digest))
    return msgspec.structs.replace(meant, either=digest)


def _doubts_of_email(text: str) -> list[str]:
    doubts = []
    if text != text.strip():
        doubts.append("The e-mail address has white space around it, which is hashed with it.")
    if text != text.lower():
        doubts.append(
            "The e-mail address has capital letters, which count: if the application writes it small before it hashes "
            "it, ask for the small one."
        )
    if not _EMAIL.fullmatch(text.strip()):
        doubts.append("This does not look like an e-mail address.")
    return doubts


def _hides_text(text: str) -> bool:
    """Tell whether a text is the base64 of a printable one; hex and words in lower case are not taken for it."""
    try:
        raw = decode_base64(text)
        shown = raw.decode("ascii")
    except ValueError:
        return False
    return len(raw) >= _HIDDEN_BYTES_MIN and shown.isprintable() and not _HEX.fullmatch(text)


def _holds_object(text: str) -> bool:
    try:
        _object(decode_base64(text.strip()))
    except (ValueError, RecursionError):
        return False
    return True
