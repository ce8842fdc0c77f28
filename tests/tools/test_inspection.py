"""
What `temppass inspect` says of every text of the wire, and that it never repeats a secret.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from temppass.client.client import Client
from temppass.client.flow import Permit, Viewer
from temppass.client.place import place_at
from temppass.client.vault import MemoryVault
from temppass.commands.inspection import inspect
from temppass.failure import Failure
from temppass.testing import serving
from temppass.tools.claims import Kind, Unexplained
from temppass.tools.inspection import Explanation, explain, looks_secret, read_moment, span_words, value_words
from temppass.tools.proof import INPUT_BYTES_MAX, Proof, read_key_set

NOW = 1_767_261_600_000
CATALOGUE = """
[[programmer]]
id = "acme"
name = "Acme"
[[channel]]
id = "REF"
programmer = "acme"
name = "Reference"
[[pass]]
id = "Half"
kind = "basic"
name = "Half an hour"
ttl = "30m"
channels = ["REF"]
[[application]]
id = "ops"
name = "Operations"
channels = "all"
scopes = ["api:client:v2"]
"""
SIGNATURE = "c2lnbmF0dXJlLXRoYXQtaXMtYS1zZWNyZXQ"
XML = (
    "<signatureInfo>QUJDREVG</signatureInfo><shortAuthorizationToken><sessionGUID>5f</sessionGUID>"
    "<requestorID>REF</requestorID><resourceID><![CDATA[<rss>A</rss>]]></resourceID><ttl>420000</ttl>"
    "<issueTime>2026-01-01 10:00:00 GMT</issueTime><mvpdId>A&amp;B</mvpdId></shortAuthorizationToken>"
)
INFO = {"model": "Box", "version": "3", "osName": "Linux", "osVersion": "5", "connectionType": "LAN"}


def encoded(value: Any) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else json.dumps(value).encode()).decode()


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(claims: Any, header: Any = {"alg": "RS256"}) -> str:  # noqa: B006 - never changed
    """Answer a token as the vendor writes them, with a signature that nobody made."""
    return f"{segment(header)}.{segment(claims)}.{SIGNATURE}"


STATEMENT = unsigned({"sub": "7b", "iss": "auth.adobe.com", "iat": 1767261000})
ACCESS = unsigned({"sub": "c1", "iat": 1767258000, "exp": 1767279600, "scopes": "api:client:v2,x"})
MEDIA = encoded(unsigned({"sub": "u", "requestor": "REF", "resource": "FILM", "ttl": 420000}))


def told(text: str | bytes, name: str) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return next(fact.words for fact in explain(raw, NOW).facts if fact.name == name)


# --- kinds and words


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (STATEMENT, Kind.STATEMENT),
        (ACCESS, Kind.ACCESS),
        (f"Authorization: Bearer {ACCESS}\n", Kind.ACCESS),
        (f'"{ACCESS}"', Kind.ACCESS),
        (unsigned({"sub": "c1", "exp": 1767279600}), Kind.ACCESS),
        (MEDIA, Kind.MEDIA),
        (f"{MEDIA[:76]}\n{MEDIA[76:]}\n", Kind.MEDIA),
        (base64.b64decode(MEDIA).decode(), Kind.MEDIA),
        (unsigned({}, {"typ": "at+jwt"}), Kind.ACCESS),
        (unsigned({"exp": 1, "scopes": "x"}, {"typ": "software-statement+jwt"}), Kind.STATEMENT),
        (unsigned({}), Kind.TOKEN),
        (f"{segment({'alg': 'none'})}.{segment({'sub': 'x'})}.", Kind.STATEMENT),
        (XML, Kind.VENDOR_MEDIA),
        (encoded(XML), Kind.VENDOR_MEDIA),
        ("fingerprint dHY=", Kind.DEVICE),
        ("AP-Device-Identifier: Fingerprint dHY", Kind.DEVICE),
        (encoded({"email": "a@b.c"}), Kind.IDENTITY),
        (f"AP-Temppass-Identity:{encoded({'model': 'a@b.c'})}", Kind.IDENTITY),
        (encoded(INFO), Kind.DEVICE_INFO),
        (f"X-Device-Info: {encoded({})}", Kind.DEVICE_INFO),
    ],
)
def test_every_text_of_the_wire_is_known_by_its_form_or_its_claims(text: str, kind: Kind) -> None:
    explanation = explain(text.encode(), NOW)
    assert (explanation.kind, explanation.good) == (kind, None)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (STATEMENT, "sub", "the application"),
        (STATEMENT, "iat", "issued 2026-01-01T09:50:00Z, 10 min ago"),
        (ACCESS, "sub", "the client id"),
        (ACCESS, "exp", "expires 2026-01-01T15:00:00Z, in 5 h"),
        (ACCESS, "scopes", "may: api:client:v2 (REST v2), x"),
        (unsigned({"exp": 1767261600, "scope": ["a", "b"]}), "scope", "may: a, b"),
        (unsigned({"exp": 1767261600, "scopes": ""}), "exp", "expired 2026-01-01T10:00:00Z, 0 s ago"),
        (unsigned({"exp": "1767261600000", "sub": "c"}), "exp", "expired 2026-01-01T10:00:00Z, 0 s ago"),
        (unsigned({"exp": 10**18, "sub": "c"}), "exp", "expires a moment of no calendar, in 11574053619 d 15 h"),
        (unsigned({"exp": True, "sub": "c"}), "exp", "not known here"),
        (unsigned({"sub": "c", "aud": "x"}), "aud", "the environment it is for"),
        (unsigned({"sub": "c"}, {"alg": "none"}), "alg", "no signature at all; nobody should take it"),
        (MEDIA, "ttl", "good for 7 min"),
        (XML, "ttl", "good for 7 min"),
        (XML, "mvpdId", "the pass or operator"),
        ("fingerprint dHY=", "device_id", "the device id: what a reset and `--device` take"),
        ("fingerprint /w==", "device_id", "the device id in hex: it is no text in UTF-8"),
        (encoded({"model": "x"}), "osName", "missing, though required"),
    ],
)  # fmt: skip
def test_each_claim_is_put_into_words(text: str, name: str, words: str) -> None:
    assert told(text, name) == words


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (XML, ["5f", "REF", "<rss>A</rss>", "420000", "2026-01-01 10:00:00 GMT", "A&B"]),
        ("fingerprint dHY=", ["tv"]),
        (encoded({"email": "user@domain.com"}), ["f7ee5ec7312165148b69fcca1d29075b14b8aef0b5048a332b18b88d09069fb7"]),
        (encoded({"email": "A" * 64, "other": 1}), ["a" * 64]),
    ],
)
def test_what_is_encoded_is_shown_decoded(text: str, values: list[str]) -> None:
    assert [fact.value for fact in explain(text.encode(), NOW).facts] == values


def test_an_identity_in_the_clear_is_told_and_not_repeated() -> None:
    explanation = explain(encoded({"email": "user@domain.com"}).encode(), NOW)
    assert ("in the clear" in explanation.facts[0].words, "user@" in str(explanation)) == (True, False)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "nothing to explain"),
        (b"  \n", "nothing to explain"),
        (b"Authorization: Bearer ", "nothing to explain"),
        (b"\xff\xfe", "not UTF-8"),
        (b"hello world", "neither a token nor base64"),
        ("é".encode(), "neither a token nor base64"),
        (b"a" * (INPUT_BYTES_MAX + 1), "more than 65536 bytes"),
        (b"a.b.c", "the header of the token cannot be read"),
        (f"{segment([1])}.{segment({})}.x".encode(), "the header of the token cannot be read"),
        (f"{segment({})}.{segment([1])}.x".encode(), "the claims of the token cannot be read"),
        (f"{segment({})}.{segment({})}.x.y.z".encode(), "the token is encrypted"),
        (b"<html></html>", "no media token"),
        (b"fingerprint", "1 to 1024 bytes"),
        (b"fingerprint dHYx!", "not base64"),
        (b"fingerprint ====", "1 to 1024 bytes"),
        (b"AP-Device-Identifier: dHY=", "fingerprint"),
        (encoded("[" * 9000).encode(), "no JSON object inside"),
        (encoded('{"model": "x" "y": 1}').encode(), "no JSON object inside"),
        (encoded({}).encode(), "names no user key"),
        (encoded({"email": ""}).encode(), "names no user key"),
        (encoded({"email": "x" * 1025}).encode(), "at most 1024 bytes"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_hint(raw: bytes, words: str) -> None:
    with pytest.raises(Unexplained, match=words) as caught:
        explain(raw, NOW)
    assert caught.value.hint != ""


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@example(b"\xef\xbb\xbf")
def test_any_bytes_end_in_an_explanation_or_a_refusal(raw: bytes) -> None:
    try:
        ended: object = explain(raw, NOW)
    except Unexplained as refused:
        ended = refused
    assert isinstance(ended, Explanation | Unexplained)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = st.sampled_from(["sub", "iss", "exp", "iat", "nbf", "ttl", "scopes", "scope", "resource", "aud", "kid", "alg"])
KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                  "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}  # fmt: skip


@given(st.dictionaries(CLAIMS | st.text(max_size=5), JSON), st.dictionaries(CLAIMS, JSON), st.booleans())
def test_any_claims_are_explained_without_the_token_and_its_signature(
    claims: dict[str, Any], header: dict[str, Any], is_wrapped: bool  # noqa: FBT001 - drawn by hypothesis
) -> None:  # fmt: skip
    token = unsigned(claims, header)
    done = run(input=encoded(token) if is_wrapped else token)
    shown = done.stdout + done.stderr + str(done.exception)
    assert (isinstance(done.exception, Failure | None), SIGNATURE in shown, token in shown) == (True, False, False)


@given(st.dictionaries(CLAIMS, JSON), st.dictionaries(CLAIMS, JSON))
@example({}, {"alg": "RS256", "crit": ["b64"], "b64": False})
@example({"ttl": 1, "resource": "x"}, {"kid": "k", "typ": "media-token+jwt"})
def test_nothing_that_nobody_signed_is_good(claims: dict[str, Any], header: dict[str, Any]) -> None:
    assert explain(unsigned(claims, header).encode(), NOW, Proof(KEYS)).good is False


# --- proving, against keys and tokens of a real server


class Issued:
    """One of each kind of token of a server, and its key set in a file."""

    def __init__(self, url: str, statement: str, folder: Path) -> None:
        with Client(place_at(url), statement, vault=MemoryVault()) as client:
            access = client.access_token()
            permit = client.authorize("REF", "Half", Viewer("tv"), ["FILM"])[0]
        assert isinstance(permit, Permit)
        self.tokens = {"statement": statement, "access": access, "media": permit.media_token}
        self.tokens["compact"] = base64.b64decode(permit.media_token).decode()
        self.jwks = folder / "jwks.json"
        self.jwks.write_bytes(httpx2.get(f"{url}/.well-known/jwks.json").content)
        self.proof = Proof(read_key_set(self.jwks.read_bytes()))

    def forged(self, name: str) -> str:
        head, claims, signature = self.tokens[name].split(".")
        changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "somebody else"}
        return f"{head}.{segment(changed)}.{signature}"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    with serving(CATALOGUE, now=NOW) as double:
        yield Issued(double.url, double.mint("ops"), tmp_path_factory.mktemp("issued"))


HOUR = 3_600_000


@pytest.mark.parametrize(
    ("name", "later_ms", "resource", "good", "signature"),
    [
        ("statement", 0, None, True, "good"),
        ("statement", 10**6 * HOUR, None, True, "good"),
        ("statement", -HOUR, None, False, "good, but the token is for later"),
        ("access", 0, None, True, "good"),
        ("access", 6 * HOUR, None, False, "good, but the token has expired"),
        ("media", 0, None, True, "VALID_TOKEN: good"),
        ("media", 0, "FILM", True, "VALID_TOKEN: good"),
        ("compact", 0, "FILM", True, "VALID_TOKEN: good"),
        ("media", 420_000, None, False, "TOKEN_EXPIRED: the signature is good, and the token has expired"),
        (
            "media",
            0,
            "X",
            False,
            "INVALID_RESOURCE_ID: the signature is good, and the token is for another channel or title",
        ),
    ],
)
def test_a_key_set_proves_what_it_signed_while_it_holds(
    issued: Issued, name: str, later_ms: int, resource: str | None, good: bool, signature: str  # noqa: FBT001 - a table
) -> None:  # fmt: skip
    explanation = explain(issued.tokens[name].encode(), NOW + later_ms, Proof(issued.proof.key_set, resource))
    assert (explanation.good, explanation.signature) == (good, signature)


@pytest.mark.parametrize(
    ("requestor", "good", "signature"),
    [
        ("REF", True, "VALID_TOKEN: good"),
        ("REF30", False, "INVALID_RESOURCE_ID: the signature is good, and the token is for another channel or title"),
    ],
)
def test_a_media_token_is_held_against_the_channel(
    issued: Issued, requestor: str, good: bool, signature: str  # noqa: FBT001 - a table
) -> None:  # fmt: skip
    explanation = explain(issued.tokens["media"].encode(), NOW, Proof(issued.proof.key_set, "FILM", requestor))
    assert (explanation.good, explanation.signature) == (good, signature)


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("statement", "not good: no key of the key set signed this"),
        ("access", "not good: no key of the key set signed this"),
        ("compact", "INVALID_SIGNATURE: no key of the key set signed it as a media token"),
    ],
)
def test_a_changed_claim_is_found_out(issued: Issued, name: str, signature: str) -> None:
    explanation = explain(issued.forged(name).encode(), NOW, issued.proof)
    assert (explanation.good, explanation.signature) == (False, signature)


@pytest.mark.parametrize("text", ["fingerprint dHY=", encoded({"email": "a@b.c"}), encoded(INFO), XML, STATEMENT])
def test_what_the_key_set_did_not_sign_is_not_good(issued: Issued, text: str) -> None:
    assert explain(text.encode(), NOW, issued.proof).good is False


def test_keys_without_kid_are_tried_one_by_one(issued: Issued) -> None:
    bare = [{name: value for name, value in key.items() if name != "kid"} for key in issued.proof.key_set["keys"]]
    head, claims, _ = issued.tokens["access"].split(".")
    token = f"{segment({'alg': 'RS256'})}.{claims}.{SIGNATURE}"
    assert (head != token, explain(token.encode(), NOW, Proof({"keys": bare})).signature) == (
        True,
        "not good: no key of the key set signed this",
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1]}', b'{"keys":[{"kty":["RSA"]}]}',
        b'{"keys":[{"kty":"RSA","n":5,"e":"AQAB"}]}', b'{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}',
        b'{"keys":[{"kty":"oct","k":"AA"}]}', b'{"a":' * 9000, b"x" * (INPUT_BYTES_MAX + 1), b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(Unexplained) as caught:
        read_key_set(raw)
    assert "/.well-known/jwks.json" in caught.value.hint


# --- the command


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(inspect, arguments, **more)


def failed(*arguments: str, **more: Any) -> Failure:
    done = run(*arguments, **more)
    assert isinstance(done.exception, Failure), done.output
    return done.exception


def test_a_file_and_stdin_are_explained_alike(issued: Issued, tmp_path: Path) -> None:
    (tmp_path / "a.b.c").write_text(issued.tokens["access"])
    shown = [
        run(str(tmp_path / "a.b.c"), "--at", "2026-01-01T10:00:00Z").stdout,
        run("--at", "1767261600", input=issued.tokens["access"]).stdout,
        run("-", "--at", "1767261600000", input=issued.tokens["access"]).stdout,
    ]
    assert ({*shown} == {shown[0]}, shown[0].splitlines()[0].split(None, 1)) == (True, ["kind", "access token"])


def test_without_a_key_set_it_is_said_that_the_signature_is_not_checked(issued: Issued) -> None:
    done = run(input=issued.tokens["access"])
    assert (done.exit_code, "signature not checked" in done.stderr, "not checked" in done.stdout) == (0, True, True)


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [("--resource", "FILM", 0), ("--resource", "OTHER", 1), ("--requestor", "REF", 0), ("--requestor", "REF30", 1)],
)
def test_the_exit_code_tells_whether_a_token_is_proved(issued: Issued, option: str, value: str, code: int) -> None:
    arguments = ["--jwks", str(issued.jwks), "--at", "1767261600", option, value, "--json"]
    done = run(*arguments, input=issued.tokens["media"])
    assert (done.exit_code, json.loads(done.stdout)["good"]) == (code, code == 0)


def test_json_has_kind_facts_and_verdict() -> None:
    assert json.loads(run("--json", input="fingerprint dHY=").stdout) == {
        "kind": "device header",
        "facts": [
            {"name": "device_id", "value": "tv", "words": "the device id: what a reset and `--device` take"}
        ],
        "signature": "none; anybody can write it",
        "good": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["statement", "access", "media", "compact"])
def test_no_output_holds_a_token_or_its_signature(issued: Issued, name: str) -> None:
    token = issued.tokens[name]
    signature = issued.tokens["compact" if name == "media" else name].rpartition(".")[2]
    shown = ""
    for arguments in ([], ["--json"], ["--jwks", str(issued.jwks)], [token], [token, "x"], ["--jwks", token]):
        done = run(*arguments, input=token)
        shown += done.output + str(done.exception) + str(getattr(done.exception, "hint", ""))
    assert [part for part in (token, signature, token.split(".")[0]) if part in shown] == []


@pytest.mark.parametrize(
    "argument",
    ["a.b.c", STATEMENT, MEDIA, encoded({"email": "user@domain.com"}), encoded(XML), "x" * 256, "y" * 9000, "x\0y.z.a"],
)
def test_an_argument_that_looks_like_a_token_is_refused_and_not_repeated(argument: str) -> None:
    error = failed(argument)
    assert (error.code == 0, argument in f"{error} {error.hint}", "stdin" in error.hint) == (False, False, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.txt"], 1, "cannot read nothing.txt: No such file"),
        (["/"], 1, "cannot read /: Is a directory"),
        (["fingerprint", "dHY="], 2, "more than one argument"),
        (["-", "--resource", "X"], 2, "--resource is checked with --jwks only"),
        (["-", "--requestor", "X"], 2, "--requestor is checked with --jwks only"),
        (["-", "--jwks", "https://pass.example/.well-known/jwks.json"], 2, "nothing is fetched"),
        (["-", "--jwks", "nothing.json"], 1, "cannot read nothing.json"),
        (["-", "--at", "tomorrow"], 1, "the moment cannot be read"),
        (["-"], 1, "nothing to explain"),
    ],
)
def test_a_mistake_is_named_with_its_exit_code(arguments: list[str], code: int, words: str) -> None:
    error = failed(*arguments, input="")
    assert (error.code, words in str(error), bool(error.hint)) == (code, True, True)


# --- small things


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        ("statement.jwt", False), ("folder/my.token.txt", False), ("a.b.c", True), (STATEMENT, True), (MEDIA, True),
        ("keys/" + "x" * 255, False), ("keys/" + "x" * 256, True), ("eyJ.json", False),
    ],
)  # fmt: skip
def test_secrets_are_told_from_names_of_files(text: str, is_secret: bool) -> None:  # noqa: FBT001 - a table
    assert looks_secret(text) is is_secret


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-01T10:00:00Z", NOW), ("2026-01-01T11:00:00+01:00", NOW), ("1767261600", NOW),
        ("1767261600000", NOW), ("0", 0),
    ],
)  # fmt: skip
def test_a_moment_is_read_in_every_form(text: str, at: int) -> None:
    assert read_moment(text) == at


@pytest.mark.parametrize("text", ["", "now", "2026-01-01T10:00:00", "-1", "9" * 16, "2026-13-01T00:00:00Z"])
def test_a_moment_without_an_offset_is_none(text: str) -> None:
    with pytest.raises(Unexplained, match="moment"):
        read_moment(text)


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 s"), (-5, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h"), (90_061_000, "1 d 1 h"), (420_000, "7 min")],
)
def test_a_span_has_its_two_largest_units(ms: int, words: str) -> None:
    assert span_words(ms) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb", "a\\nb"),
        ("\u202eabc", "\\u202eabc"),
        ("é", "é"),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_a_value_cannot_steer_the_terminal(value: Any, words: str) -> None:
    assert value_words(value) == words
