"""
Whom an operator means, in every form in which a device or a user key can be spelled, and which spellings look wrong.
"""

import base64
import json

import pytest

from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.model import Subject, SubjectKind
from temppass.core.refusal import InvalidDeviceIdentifier, InvalidIdentity, InvalidRequest, Refusal
from temppass.core.viewer import Form, Meant, Named, Reading, read_viewer, readings

PEPPER = b"p" * 32
DEVICE = device(b"box-1 of anna", PEPPER)
HEX = DEVICE.digest.hex()
EMAIL = "anna@acme.example"
KEY = user_key(canonical_user_key(EMAIL), PEPPER)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


IDENTITY = encoded(json.dumps({"email": canonical_user_key(EMAIL)}))


@pytest.mark.parametrize(
    ("named", "subjects"),
    [
        (Named(device="box-1 of anna"), (DEVICE,)),
        (Named(device=f"fingerprint {encoded('box-1 of anna')}"), (DEVICE,)),
        (Named(device=f" Fingerprint {encoded('box-1 of anna')}"), (DEVICE,)),
        (Named(device=f"AP-Device-Identifier: fingerprint {encoded('box-1 of anna')}"), (DEVICE,)),
        (Named(key=f"AP-TempPass-Identity: {IDENTITY}"), (KEY,)),
        (Named(email=EMAIL), (KEY,)),
        (Named(key=EMAIL), (KEY,)),
        (Named(key=canonical_user_key(EMAIL).upper()), (KEY,)),
        (Named(key=IDENTITY), (KEY,)),
        (Named(device="box-1 of anna", email=EMAIL), (DEVICE, KEY)),
        (Named(device="box-1 of anna", subject=KEY.digest.hex()), (DEVICE, KEY)),
        (Named(email=EMAIL, subject=HEX), (DEVICE, KEY)),
        (Named(subject=f"device:{HEX}"), (DEVICE,)),
        (Named(subject=f"key:{KEY.digest.hex()}"), (KEY,)),
        (Named(subject=HEX), (DEVICE, Subject(SubjectKind.USER_KEY, DEVICE.digest))),
        (Named(subject=f"device:{HEX.upper()}"), (DEVICE,)),
    ],
)
def test_every_form_means_the_same_viewer(named: Named, subjects: tuple[Subject, ...]) -> None:
    assert read_viewer(named, PEPPER).subjects("email", PEPPER) == subjects


def test_a_pass_that_goes_by_devices_alone_looks_at_no_key() -> None:
    assert read_viewer(Named(device="box-1 of anna", email=EMAIL), PEPPER).subjects(None, PEPPER) == (DEVICE,)


def test_an_identity_is_read_under_the_name_that_a_pass_has_for_it() -> None:
    with pytest.raises(InvalidIdentity):
        read_viewer(Named(key=IDENTITY), PEPPER).subjects("userId", PEPPER)


@pytest.mark.parametrize(
    ("named", "refusal"),
    [
        (Named(), InvalidRequest),
        (Named(device=""), InvalidRequest),
        (Named(device="d", key=" "), InvalidRequest),
        (Named(email=EMAIL, key="k"), InvalidRequest),
        (Named(subject="all"), InvalidRequest),
        (Named(device="d", subject=f"device:{HEX}"), InvalidRequest),
        (Named(email=EMAIL, subject=f"key:{HEX}"), InvalidRequest),
        (Named(device="d", email=EMAIL, subject=HEX), InvalidRequest),
        (Named(device="fingerprint %%%"), InvalidDeviceIdentifier),
        (Named(device="d" * 1025), InvalidDeviceIdentifier),
        (Named(device="\ud800"), InvalidDeviceIdentifier),
        (Named(key="k" * 1025), InvalidIdentity),
        (Named(email="\ud800@acme.example"), InvalidIdentity),
    ],
)
def test_nobody_is_named_by_nothing_and_nobody_twice(named: Named, refusal: type[Refusal]) -> None:
    with pytest.raises(Refusal) as raised:
        read_viewer(named, PEPPER)
    assert type(raised.value) is refusal


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (Named(device="box-1 of anna"), []),
        (Named(device="7f1d7bd0f2e54c1d8c9a6a57a1bb6b9f"), []),
        (Named(email=EMAIL), []),
        (Named(key=canonical_user_key(EMAIL)), []),
        (Named(key="user-17"), []),
        (Named(device=" box-1"), ["white space"]),
        (Named(device=encoded("box-1 of anna")), ["'fingerprint '"]),
        (Named(device=f"fingerprint {encoded('box-1 of anna')}"), ["is the header"]),
        (Named(email="Anna@acme.example"), ["capital letters"]),
        (Named(email=f"{EMAIL} "), ["white space"]),
        (Named(email="anna"), ["does not look like"]),
        (Named(key=canonical_user_key(EMAIL)[:-1]), ["hex digits"]),
        (Named(key="user-17 "), ["white space"]),
        (Named(key="Anna@acme.example"), ["capital letters"]),
        (Named(device=" box-1", email="Anna@acme.example "), ["white space", "white space", "capital letters"]),
    ],
)
def test_a_spelling_that_looks_wrong_is_told_and_not_repeated(named: Named, words: list[str]) -> None:
    warnings = read_viewer(named, PEPPER).warnings
    given = [text for text in (named.device, named.email, named.key) if text is not None]
    assert (
        [word in said for word, said in zip(words, warnings, strict=True)],
        any(text.strip() in said for text in given for said in warnings),
    ) == ([True] * len(words), False)


def test_a_digest_is_of_either_kind() -> None:
    assert read_viewer(Named(subject=HEX), PEPPER) == Meant(either=DEVICE.digest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box-1 of anna", [("device-id", Named(device="box-1 of anna")), ("key", Named(key="box-1 of anna"))]),
        (encoded("box-1 of anna").rstrip("="), [
            ("device-id", Named(device=encoded("box-1 of anna").rstrip("="))),
            ("device-header", Named(device=f"fingerprint {encoded('box-1 of anna').rstrip('=')}")),
            ("key", Named(key=encoded("box-1 of anna").rstrip("="))),
        ]),
        ("fingerprint dHY=", [("device-header", Named(device="fingerprint dHY="))]),
        ("AP-Device-Identifier: dHY=", [("device-header", Named(device="fingerprint dHY="))]),
        (EMAIL, [("email", Named(email=EMAIL))]),
        ("Anna@acme.example", [("email", Named(email="Anna@acme.example")), ("email", Named(email=EMAIL))]),
        (f"{EMAIL} ", [("email", Named(email=EMAIL)), ("email", Named(email=f"{EMAIL} "))]),
        ("a" * 64, [("device-id", Named(device="a" * 64)), ("hash", Named(key="a" * 64))]),
        (IDENTITY, [("identity", Named(key=IDENTITY))]),
        (f"ap-temppass-identity:{IDENTITY}", [("identity", Named(key=IDENTITY))]),
        (f"key:{HEX}", [("key-digest", Named(subject=f"key:{HEX}"))]),
        (HEX, [
            ("device-digest", Named(subject=f"device:{HEX}")),
            ("key-digest", Named(subject=f"key:{HEX}")),
            ("device-id", Named(device=HEX)),
            ("key", Named(key=HEX)),
        ]),
    ],
)  # fmt: skip
def test_a_text_is_read_as_all_that_it_can_be_the_likeliest_first(text: str, expected: list[tuple[str, Named]]) -> None:
    assert readings(text) == [Reading(Form(form), named) for form, named in expected]
