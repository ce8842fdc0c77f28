"""
Every form of one identity leads to the same canonical value, and what is doubtful is said without repeating it.
"""

import base64
import hashlib
import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from temppass.client.errors import InvalidTarget
from temppass.client.flow import Viewer
from temppass.commands.identity import id_
from temppass.core.identity import (
    IDENTITY_BYTES_MAX,
    canonical_user_key,
    decode_base64,
    device_from_header,
    user_key_from_header,
)
from temppass.failure import Failure
from temppass.tools.forms import VALUE_BYTES_MAX, Device, Forms, Kind, UserKey, forms

TVBOX = "tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
FINGERPRINT = "dHZib3gtNGYxOWMyYTAtNzdkMy00YjFlLThjNTUtOTBhYjMxZGU2ZjAy"
UUID = "ba23d141-2a7e-4cbe-8d2d-0d0a3d1c7f4e"
EMAIL = "viewer@example.net"
VIEWER = "6505054d62861944b4cee5193e7466f592e9deeeb2467d1a6ff021843d0babb2"
IDENTITY = "eyJlbWFpbCI6IjY1MDUwNTRkNjI4NjE5NDRiNGNlZTUxOTNlNzQ2NmY1OTJlOWRlZWViMjQ2N2QxYTZmZjAyMTg0M2QwYmFiYjIifQ=="


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def identity(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def device_of(found: Forms) -> Device:
    assert isinstance(found.identity, Device)
    return found.identity


def key_of(found: Forms) -> UserKey:
    assert isinstance(found.identity, UserKey)
    return found.identity


# --- devices


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (TVBOX, "auto"),
        (TVBOX, "device"),
        (f"fingerprint {FINGERPRINT}", "auto"),
        (f"fingerprint {FINGERPRINT}", "device"),
        (f" Fingerprint  {FINGERPRINT}\n", "auto"),
        (f"AP-Device-Identifier: fingerprint {FINGERPRINT}", "auto"),
        (f"ap-device-identifier:fingerprint {FINGERPRINT}", "device"),
        (FINGERPRINT, "auto"),
    ],
)
def test_every_form_of_a_device_leads_to_one_device_id(value: str, kind: Kind) -> None:
    assert device_of(forms(value, kind)) == Device(
        TVBOX, f"device_id={TVBOX}", f"fingerprint {FINGERPRINT}", sha256(TVBOX)
    )


@given(st.binary(min_size=1, max_size=64))
@settings(max_examples=100, deadline=None)
def test_any_device_id_comes_back_from_its_fingerprint(device_id: bytes) -> None:
    encodings = [encode(device_id).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    written = [f"fingerprint {form}" for whole in encodings for form in (whole, whole.rstrip("="))]
    headers = {device_of(forms(value)).header for value in written}
    assert [device_from_header(header) for header in headers] == [device_id]


@given(st.text(min_size=1, max_size=64).filter(str.strip))
@settings(max_examples=100, deadline=None)
def test_a_device_id_under_its_kind_is_the_text_as_it_stands(text: str) -> None:
    bare = text if not text.strip().lower().startswith(("fingerprint", "ap-")) else "tv"
    assert device_from_header(device_of(forms(bare, "device")).header) == bare.encode()


@pytest.mark.parametrize(
    ("value", "kind", "device_id", "query"),
    [
        ("living room tv", "auto", "living room tv", "device_id=living%20room%20tv"),
        ("Fernseher für alle", "auto", "Fernseher für alle", "device_id=Fernseher%20f%C3%BCr%20alle"),
        (UUID, "auto", UUID, f"device_id={UUID}"),
        ("television", "auto", "television", "device_id=television"),
        ("f23804a37802993f", "auto", "f23804a37802993f", "device_id=f23804a37802993f"),  # an ANDROID_ID
        ("a000a001a002", "auto", "a000a001a002", "device_id=a000a001a002"),  # hex that is base64 of text, too
        (VIEWER, "device", VIEWER, f"device_id={VIEWER}"),
        (FINGERPRINT, "device", FINGERPRINT, f"device_id={FINGERPRINT}"),
        (EMAIL, "device", EMAIL, "device_id=viewer%40example.net"),
        (" tv ", "auto", " tv ", "device_id=%20tv%20"),
        ("fingerprint /v8=", "auto", None, "device_id=%FE%FF"),
        ("\udcfe\udcff", "auto", None, "device_id=%FE%FF"),  # bytes of a command line that are not UTF-8
        ("tv\x1b[2J", "device", None, "device_id=tv%1B%5B2J"),
        ("fingerprint YWxs", "auto", None, None),  # all
    ],
)
def test_a_device_id_is_written_so_that_it_can_be_pasted(
    value: str, kind: Kind, device_id: str | None, query: str | None
) -> None:
    found = device_of(forms(value, kind))
    assert (found.device_id, found.query) == (device_id, query)


# --- user keys


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (EMAIL, "auto"),
        (EMAIL, "email"),
        (EMAIL, "key"),
        (VIEWER, "auto"),
        (VIEWER.upper(), "auto"),
        (VIEWER, "key"),
        (IDENTITY, "auto"),
        (IDENTITY.rstrip("="), "auto"),
        (f"AP-TempPass-Identity: {IDENTITY}", "auto"),
        (f"ap-temppass-identity:{IDENTITY}", "key"),
        (identity({"email": EMAIL}), "auto"),
        (f'{{"email": "{EMAIL}"}}', "auto"),
    ],
)
def test_every_form_of_a_user_key_leads_to_one_key(value: str, kind: Kind) -> None:
    assert key_of(forms(value, kind)) == UserKey(VIEWER, "email", IDENTITY)


@given(st.text(min_size=1, max_size=64).filter(str.strip), st.sampled_from(["email", "phone", "Kundennummer"]))
@settings(max_examples=100, deadline=None)
def test_server_client_and_command_agree_on_any_key(text: str, identity_key: str) -> None:
    bare = text if not text.strip().lower().startswith(("fingerprint", "ap-")) else "viewer"
    found = key_of(forms(bare, "key", identity_key=identity_key))
    header = Viewer("tv", bare, identity_key).headers()["AP-TempPass-Identity"]
    again = key_of(forms(f"AP-TempPass-Identity: {found.header}", identity_key=identity_key))
    assert (found.key, found.header, user_key_from_header(header, identity_key), again.key) == (
        canonical_user_key(bare),
        header,
        found.key,
        found.key,
    )


@pytest.mark.parametrize(
    ("value", "variants"),
    [
        (EMAIL, {}),
        (VIEWER.upper(), {}),
        ("Viewer@Example.net", {"lower-cased": VIEWER}),
        (f"{EMAIL}\t", {"trimmed": VIEWER}),
        (
            " Viewer@example.net",
            {
                "trimmed": sha256("Viewer@example.net"),
                "lower-cased": sha256(f" {EMAIL}"),
                "trimmed and lower-cased": VIEWER,
            },
        ),
        (f" {VIEWER}", {"trimmed": VIEWER}),
    ],
)
def test_a_key_tells_what_other_spellings_would_hash_to(value: str, variants: dict[str, str]) -> None:
    found = key_of(forms(value))
    assert (found.key, {variant.of: variant.key for variant in found.variants}) == (canonical_user_key(value), variants)


def test_the_key_of_an_identity_is_read_under_the_identity_key() -> None:
    found = key_of(forms(identity({"email": "x", "phone": VIEWER}), identity_key="phone"))
    assert (found.key, json.loads(decode_base64(found.header))) == (VIEWER, {"phone": VIEWER})


# --- doubts


@pytest.mark.parametrize(
    ("value", "kind", "warnings"),
    [
        (TVBOX, "auto", []),
        (UUID, "auto", []),
        (EMAIL, "auto", []),
        (EMAIL, "email", []),
        (IDENTITY, "auto", []),
        (f"fingerprint {FINGERPRINT}", "auto", []),
        (VIEWER, "auto", ["64 hex digits may be a device id"]),
        (VIEWER, "key", []),
        (VIEWER, "device", []),
        (FINGERPRINT, "auto", ["may be a device id as it stands"]),
        (FINGERPRINT, "device", ["looks like the base64 of a device id"]),
        (IDENTITY, "device", ["looks like the base64 of a JSON identity"]),
        (IDENTITY, "key", ["looks like the base64 of a JSON identity"]),
        (EMAIL, "key", ["travels unhashed"]),
        (EMAIL, "device", ["looks like an e-mail address"]),
        (identity({"email": EMAIL}), "auto", ["an e-mail address that is not hashed"]),
        (identity({"email": "no address"}), "auto", []),
        (" tv", "auto", ["white space around it"]),
        (f" {EMAIL}", "auto", ["white space around it"]),
        ("all", "auto", ["device_id=all means every device"]),
        ("all", "key", ["key=all means every user key"]),
        ("d" * 32, "key", ["MD5 or SHA-1"]),
        ("fingerprint /v8=", "auto", ["cannot be typed"]),
    ],
)
def test_what_is_doubtful_is_warned_of(value: str, kind: Kind, warnings: list[str]) -> None:
    told = forms(value, kind).warnings
    assert [words for words, warning in zip(warnings, told, strict=True) if words in warning] == warnings


@given(
    st.from_regex(r"[q-z]{6}[0-9]{4}", fullmatch=True),
    st.sampled_from(
        ["{}", "{}@example.net", " {} ", "fingerprint {}", '{{"{}":"{}"}}', "AP-TempPass-Identity: {}", "{}\x00"]
    ),
    st.sampled_from(["auto", "device", "key", "email"]),
)
@settings(max_examples=100, deadline=None)
def test_neither_steps_nor_warnings_nor_errors_repeat_the_value(personal: str, shape: str, kind: Kind) -> None:
    result = CliRunner().invoke(id_, ["--kind", kind, "--", shape.format(personal, personal)])
    failure = result.exception if isinstance(result.exception, Failure) else Failure("")
    # the name of a JSON key is told, because it is what --identity-key wants
    hint = failure.hint if not shape.startswith("{{") else ""
    assert [text for text in (result.stderr, str(failure), hint) if personal in text] == []


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("", "auto", "empty"),
        (" \t", "device", "empty"),
        ("fingerprint", "auto", "1 to 1024 bytes"),
        ("fingerprint no base64!", "device", "not base64"),
        ("AP-Device-Identifier: " + FINGERPRINT, "auto", "fingerprint"),
        ("AP-TempPass-Identity: no base64!", "auto", "not the base64"),
        (identity({"mail": VIEWER}), "auto", "'email'"),
        (identity({"email": 5}), "auto", "'email'"),
        (f"fingerprint {FINGERPRINT}", "key", "AP-Device-Identifier"),
        (f"AP-TempPass-Identity: {IDENTITY}", "device", "AP-TempPass-Identity"),
        (TVBOX, "email", "no e-mail address"),
        ("d" * (IDENTITY_BYTES_MAX + 1), "auto", "at most 1024 bytes"),
        ("k" * (IDENTITY_BYTES_MAX + 1), "key", "at most 1024 bytes"),
        ("d" * (VALUE_BYTES_MAX + 1), "auto", "more than 2048 bytes"),
        ("\udcff", "key", "UTF-8"),
        ("\ud800", "auto", "UTF-8"),
    ],
)
def test_what_names_nobody_is_refused(value: str, kind: Kind, words: str) -> None:
    with pytest.raises(InvalidTarget, match=words):
        forms(value, kind)


def test_an_identity_under_another_key_names_the_keys_it_has() -> None:
    with pytest.raises(InvalidTarget) as caught:
        forms(identity({"mail": VIEWER, EMAIL: 1}))
    assert caught.value.hint == "it has mail; name one with --identity-key"


# --- the command


def test_the_command_prints_forms_on_stdout_and_words_on_stderr() -> None:
    result = CliRunner().invoke(id_, [EMAIL])
    assert (result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()) == (
        0,
        [
            f"user key              {VIEWER}",
            f"query                 key={VIEWER}",
            f"AP-TempPass-Identity  {IDENTITY}",
        ],
        [
            "taken as an e-mail address, which is to be hashed",
            "the key is the SHA-256 of exactly the UTF-8 bytes of the text",
        ],
    )


@pytest.mark.parametrize(
    "words",
    [
        ["fingerprint", FINGERPRINT],
        ["AP-Device-Identifier:", "fingerprint", FINGERPRINT],
        [f"AP-Device-Identifier: fingerprint {FINGERPRINT}"],
    ],
)
def test_a_header_needs_no_quotes(words: list[str]) -> None:
    assert json.loads(CliRunner().invoke(id_, ["--json", *words]).stdout)["device_id"] == TVBOX


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_command_reads_stdin_and_writes_json(end: str) -> None:
    result = CliRunner().invoke(id_, ["-", "--json"], input=f"{VIEWER}{end}")
    shown = json.loads(result.stdout)
    assert (shown["kind"], shown["key"], shown["headers"], len(shown["warnings"])) == (
        "key",
        VIEWER,
        {"AP-TempPass-Identity": IDENTITY},
        1,
    )


def test_a_device_as_json() -> None:
    shown = json.loads(CliRunner().invoke(id_, [TVBOX, "--json"]).stdout)
    assert shown == {
        "kind": "device",
        "device_id": TVBOX,
        "query": f"device_id={TVBOX}",
        "headers": {"AP-Device-Identifier": f"fingerprint {FINGERPRINT}"},
        "sha256": sha256(TVBOX),
        "steps": ["taken as a device id: no other form fits"],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["-"], "one\ntwo\n"),
        (["-"], ""),
        ([], ""),
        ([""], ""),
        ([TVBOX, UUID], ""),
        (["-"], "d" * 5000),
        ([TVBOX, "--identity-key", ""], ""),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], stdin: str) -> None:
    result = CliRunner().invoke(id_, arguments, input=stdin)
    assert isinstance(result.exception, Failure)
    assert (result.exception.code, result.stdout) == (2, "")
