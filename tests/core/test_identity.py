"""
Every accepted form of a device id and of a user key, against the vectors of contract §4.5 and §6.0.
"""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temppass.core.identity import (
    IDENTITY_BYTES_MAX,
    canonical_user_key,
    decode_base64,
    device,
    device_from_header,
    device_from_text,
    digest_from_hex,
    origin_digest,
    user_id,
    user_key,
    user_key_from_header,
)
from temppass.core.model import Subject, SubjectKind
from temppass.core.refusal import InvalidDeviceIdentifier, InvalidIdentity

DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
FINGERPRINT = "dHZib3gtNGYxOWMyYTAtNzdkMy00YjFlLThjNTUtOTBhYjMxZGU2ZjAy"
VIEWER = "6505054d62861944b4cee5193e7466f592e9deeeb2467d1a6ff021843d0babb2"
IDENTITY = "eyJlbWFpbCI6IjY1MDUwNTRkNjI4NjE5NDRiNGNlZTUxOTNlNzQ2NmY1OTJlOWRlZWViMjQ2N2QxYTZmZjAyMTg0M2QwYmFiYjIifQ=="
#: the SHA-256 of user@domain.com (contract §4.5)
EMAIL_DIGEST = "f7ee5ec7312165148b69fcca1d29075b14b8aef0b5048a332b18b88d09069fb7"
PEPPER = b"p" * 32


def identity(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


# --- devices


@pytest.mark.parametrize(
    ("header", "device_id"),
    [
        (f"fingerprint {FINGERPRINT}", DEVICE),
        (f"Fingerprint {FINGERPRINT}", DEVICE),
        (f"  FINGERPRINT   {FINGERPRINT}  ", DEVICE),
        ("fingerprint YQ==", b"a"),
        ("fingerprint YQ", b"a"),
        ("fingerprint +/++", b"\xfb\xff\xbe"),
        ("fingerprint -_--", b"\xfb\xff\xbe"),
        ("fingerprint QUJD", b"ABC"),  # bytes, never folded
        ("fingerprint " + base64.b64encode(b"d" * IDENTITY_BYTES_MAX).decode(), b"d" * IDENTITY_BYTES_MAX),
    ],
)
def test_accepted_forms_of_a_device(header: str, device_id: bytes) -> None:
    assert device_from_header(header) == device_id


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "fingerprint",
        "fingerprint ",
        "fingerprint =",
        f"uuid {FINGERPRINT}",
        FINGERPRINT,
        "fingerprint no base64!",
        "fingerprint YQ==YQ==",
        "fingerprint Y",
        "fingerprint \xe9\xe9\xe9\xe9",
        "fingerprint YQ, fingerprint YQ",  # a repeated header, joined
        "fingerprint " + base64.b64encode(b"d" * (IDENTITY_BYTES_MAX + 1)).decode(),
    ],
)
def test_refused_forms_of_a_device(header: str | None) -> None:
    with pytest.raises(InvalidDeviceIdentifier):
        device_from_header(header)


# --- user keys


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("user@domain.com", EMAIL_DIGEST),
        (EMAIL_DIGEST, EMAIL_DIGEST),
        (EMAIL_DIGEST.upper(), EMAIL_DIGEST),
        ("viewer@example.net", VIEWER),
        *[(("aB3" * 43)[:digits], ("ab3" * 43)[:digits]) for digits in (56, 64, 96, 128)],
        # one digit more or less is no digest, and what is no digest is hashed exactly as it came
        *[("A" * digits, hashlib.sha256(b"A" * digits).hexdigest()) for digits in (40, 55, 57, 63, 65, 97, 127, 129)],
        ("g" * 64, hashlib.sha256(b"g" * 64).hexdigest()),
        (EMAIL_DIGEST + "\n", hashlib.sha256(EMAIL_DIGEST.encode() + b"\n").hexdigest()),
        ("User@Domain.com", hashlib.sha256(b"User@Domain.com").hexdigest()),
        (" user@domain.com ", hashlib.sha256(b" user@domain.com ").hexdigest()),
        ("\N{ARABIC-INDIC DIGIT ONE}" * 64, hashlib.sha256("\N{ARABIC-INDIC DIGIT ONE}".encode() * 64).hexdigest()),
    ],
)
def test_canonical_user_keys(value: str, canonical: str) -> None:
    assert canonical_user_key(value) == canonical


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
@settings(max_examples=50, deadline=None)
def test_a_canonical_key_is_its_own_canonical_form(value: str) -> None:
    assert canonical_user_key(canonical_user_key(value)) == canonical_user_key(value)


@pytest.mark.parametrize(
    "value", ["a" * (IDENTITY_BYTES_MAX + 1), "\N{EURO SIGN}" * (IDENTITY_BYTES_MAX // 3 + 1), "\ud800"]
)
def test_a_user_key_without_a_digest_is_refused(value: str) -> None:
    """Over 1 KiB, or not a text that has a UTF-8 form."""
    with pytest.raises(InvalidIdentity):
        canonical_user_key(value)


@pytest.mark.parametrize(
    ("header", "canonical"),
    [
        (IDENTITY, VIEWER),
        (IDENTITY.rstrip("="), VIEWER),
        (f"  {IDENTITY} ", VIEWER),
        (identity({"email": "user@domain.com"}), EMAIL_DIGEST),
        (identity({"other": 1, "email": EMAIL_DIGEST.upper()}), EMAIL_DIGEST),
        (base64.urlsafe_b64encode(b'{"email":"\xc2\xbf\xc3\xbf"}').decode(), hashlib.sha256("¿ÿ".encode()).hexdigest()),
    ],
)
def test_accepted_forms_of_an_identity(header: str, canonical: str) -> None:
    assert user_key_from_header(header, "email") == canonical


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "not base64!",
        "bm8ganNvbg==",  # "no json"
        identity([VIEWER]),
        identity(VIEWER),
        identity(None),
        identity({}),
        identity({"Email": VIEWER}),
        identity({"email": ""}),
        identity({"email": 5}),
        identity({"email": None}),
        identity({"email": [VIEWER]}),
        identity({"email": "\ud800"}),
        identity({"email": "a" * (IDENTITY_BYTES_MAX + 1)}),
        base64.b64encode(b'{"email":"\xff"}').decode(),
        base64.b64encode(b'{"email":' + b"[" * 100_000).decode(),
    ],
)
def test_refused_forms_of_an_identity(header: str | None) -> None:
    with pytest.raises(InvalidIdentity):
        user_key_from_header(header, "email")


# --- digests


@given(st.binary(max_size=64))
@settings(max_examples=50, deadline=None)
def test_base64_is_read_padded_or_not_in_both_alphabets(raw: bytes) -> None:
    forms = [encode(raw) for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    assert {decode_base64(form.decode()) for whole in forms for form in (whole, whole.rstrip(b"="))} == {raw}


def test_what_is_stored_names_the_subject_under_one_pepper_only() -> None:
    stored = [
        device(DEVICE, PEPPER).digest,
        user_key(DEVICE.decode(), PEPPER).digest,
        origin_digest(DEVICE.decode(), PEPPER),
        device(DEVICE, b"q" * 32).digest,
        device(DEVICE.upper(), PEPPER).digest,
    ]
    assert (len(set(stored)), {len(digest) for digest in stored}) == (5, {16})


def test_a_reset_finds_what_an_authorize_wrote() -> None:
    """`device_id=tvbox-…` and `key=viewer@example.net` name the subjects of the headers."""
    written = device(device_from_header(f"fingerprint {FINGERPRINT}"), PEPPER), user_key_from_header(IDENTITY, "email")
    assert written == (device(DEVICE, PEPPER), canonical_user_key("viewer@example.net"))


def test_a_user_id_is_that_of_the_device() -> None:
    """`temppass_` and 40 hex digits that differ from device to device (contract §4.5)."""
    told = [user_id(Subject(SubjectKind.DEVICE, bytes([number]) * 16)) for number in (1, 2, 1)]
    assert ([bool(re.fullmatch("temppass_[0-9a-f]{40}", each)) for each in told], len(set(told))) == ([True] * 3, 2)


@pytest.mark.parametrize(
    ("text", "device_id"),
    [
        ("tv", b"tv"),
        ("fingerprint dHY=", b"tv"),
        ("Fingerprint dHY", b"tv"),
        ("fingerprints", b"fingerprints"),
        ("\u00fc", b"\xc3\xbc"),
    ],
)
def test_a_device_is_read_as_it_is_typed_or_as_its_header_has_it(text: str, device_id: bytes) -> None:
    assert device_from_text(text) == device_id


@pytest.mark.parametrize("text", ["", "\ud800", "d" * 1025, "fingerprint ", "fingerprint ***"])
def test_a_device_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidDeviceIdentifier):
        device_from_text(text)


def test_a_digest_is_read_in_either_case() -> None:
    assert digest_from_hex("00FF" * 8) == digest_from_hex("00ff" * 8) == b"\x00\xff" * 8


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "x" * 32, "0" * 30 + "\n0"])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentity):
        digest_from_hex(text)
