"""
Whom an operator means: a viewer named in any form in which somebody on the phone can spell a device or a user key, and
what looks wrong with the spelling. Nothing that is said here repeats what was given.

Source: docs/design.md (explain); contract §6.0, design §3 for the canonical values.
"""

import re
from enum import StrEnum
from typing import Any, Literal, NamedTuple

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
_NAME = re.compile(r"\s*AP-(Device-Identifier|TempPass-Identity)\s*:", re.IGNORECASE)
_FINGERPRINT = re.compile(r"\s*fingerprint\s", re.IGNORECASE)
_SUBJECT = re.compile(rf"(?:(device|key):)?([0-9a-fA-F]{{{2 * DIGEST_BYTES}}})")
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_SHA2_DIGITS = {56, 64, 96, 128}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Doubt(StrEnum):
    """What looks wrong with a spelling, in a word that can be handed on without it."""

    HEADER = "header"
    DEVICE_SPACE = "device-space"
    BASE64 = "base64"
    DIGITS = "digits"
    KEY_SPACE = "key-space"
    EMAIL_SPACE = "email-space"
    CAPITALS = "capitals"
    NO_EMAIL = "no-email"


_DOUBTS = {
    Doubt.HEADER: "This is the header AP-Device-Identifier; the device id in its base64 was looked at.",
    Doubt.DEVICE_SPACE: "The device id has white space around it, which counts; without it, this is another device.",
    Doubt.BASE64: "The device id looks like the base64 of the header AP-Device-Identifier; if it is, write "
    "'fingerprint ' before it.",
    Doubt.DIGITS: "The key is of hex digits, but not of as many as any SHA-2 hash has, so it was hashed like a raw "
    "key; was it copied whole?",
    Doubt.KEY_SPACE: "The key has white space around it, which is hashed with it; without it, this is another user.",
    Doubt.EMAIL_SPACE: "The e-mail address has white space around it, which is hashed with it.",
    Doubt.CAPITALS: "The e-mail address has capital letters, which count: if the application writes it small before "
    "it hashes it, ask for the small one.",
    Doubt.NO_EMAIL: "This does not look like an e-mail address.",
}


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


class Form(StrEnum):
    """In which form a device or a user key was typed."""

    DEVICE_ID = "device-id"
    DEVICE_HEADER = "device-header"
    DEVICE_DIGEST = "device-digest"
    EMAIL = "email"
    HASH = "hash"
    KEY = "key"
    IDENTITY = "identity"
    KEY_DIGEST = "key-digest"


class Meant(Struct, frozen=True):
    """Whom a name means. What a user's identity holds depends on the pass, so that it is read for each."""

    device: Subject | None = None
    user_key: Subject | None = None
    #: a value of AP-TempPass-Identity
    identity: str | None = None
    #: a digest of one kind or the other
    either: bytes | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubts, a sentence each."""
        return tuple(_DOUBTS[doubt] for doubt in self.doubts)

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
            doubts=(*meant.doubts, *_doubts_of_email(named.email)),
        )
    if named.key is not None:
        meant = _with_key(meant, named.key, pepper)
    return meant if named.subject is None else _with_subject(meant, named.subject)


class Reading(NamedTuple):
    """What a text may be, and whom it names then."""

    form: Form
    named: Named


def readings(text: str) -> list[Reading]:
    """
    Answer all that a text can be that somebody typed to name a device or a user key, the likeliest first.

    White space around it, and capital letters of an e-mail address, may have come along by mistake: without them is a
    reading of its own, the first for white space, the last for letters.
    """
    bare = text.strip()
    if name := _NAME.match(bare):
        bare = bare[name.end() :].strip()
        if name[1].lower() == "temppass-identity":
            return [Reading(Form.IDENTITY if _holds_object(bare) else Form.KEY, Named(key=bare))]
        bare = bare if _FINGERPRINT.match(bare) else f"fingerprint {bare}"
    if _FINGERPRINT.match(bare):
        return [Reading(Form.DEVICE_HEADER, Named(device=bare))]
    if _holds_object(bare):
        return [Reading(Form.IDENTITY, Named(key=bare))]
    found = []
    if subject := _SUBJECT.fullmatch(bare):
        words = [subject[1]] if subject[1] else WORDS.values()
        found = [Reading(Form(f"{word}-digest"), Named(subject=f"{word}:{subject[2]}")) for word in words]
        if subject[1]:
            return found
    for spelling in dict.fromkeys((bare, text)):
        found += _spelled(spelling)
    if _EMAIL.fullmatch(bare) and bare != bare.lower():
        found.append(Reading(Form.EMAIL, Named(email=bare.lower())))
    return found


def _spelled(text: str) -> list[Reading]:
    bare = text.strip()
    if _EMAIL.fullmatch(bare):
        return [Reading(Form.EMAIL, Named(email=text))]
    found = [Reading(Form.DEVICE_ID, Named(device=text))]
    if _hides_text(text):
        found.append(Reading(Form.DEVICE_HEADER, Named(device=f"fingerprint {text}")))
    is_hash = _HEX.fullmatch(bare) and len(bare) in _SHA2_DIGITS
    return [*found, Reading(Form.HASH if is_hash else Form.KEY, Named(key=text))]


def _with_device(meant: Meant, text: str, pepper: bytes) -> Meant:
    """Refuses: InvalidDeviceIdentifier."""
    text = text[name.end() :] if (name := _NAME.match(text)) else text
    if _FINGERPRINT.match(text):
        return Meant(device(device_from_header(text), pepper), doubts=(Doubt.HEADER,))
    doubts = []
    if text != text.strip():
        doubts.append(Doubt.DEVICE_SPACE)
    elif _hides_text(text):
        doubts.append(Doubt.BASE64)
    return msgspec.structs.replace(meant, device=device(device_from_text(text), pepper), doubts=tuple(doubts))


def _with_key(meant: Meant, text: str, pepper: bytes) -> Meant:
    """Refuses: InvalidIdentity."""
    text = text[name.end() :] if (name := _NAME.match(text)) else text
    if _holds_object(text):
        return msgspec.structs.replace(meant, identity=text)
    doubts = []
    if _HEX.fullmatch(text.strip()) and len(text.strip()) not in _SHA2_DIGITS:
        doubts.append(Doubt.DIGITS)
    elif is_email(text.strip()):
        doubts += _doubts_of_email(text)
    if text != text.strip() and not doubts:
        doubts.append(Doubt.KEY_SPACE)
    subject = user_key(canonical_user_key(text), pepper)
    return msgspec.structs.replace(meant, user_key=subject, doubts=(*meant.doubts, *doubts))


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


def is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def _doubts_of_email(text: str) -> list[Doubt]:
    doubts = []
    if text != text.strip():
        doubts.append(Doubt.EMAIL_SPACE)
    if text != text.lower():
        doubts.append(Doubt.CAPITALS)
    if not is_email(text.strip()):
        doubts.append(Doubt.NO_EMAIL)
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
