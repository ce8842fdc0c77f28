"""
Who asks: access tokens, device identifiers and identities, in every spelling, good and bad.

Source: contract §3.6, §6.0 and §6.3, design decisions 8.2, 8.5, 8.6 and 8.15.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

AUTHORIZE = "/api/v2/ACME1/decisions/authorize"
PREAUTHORIZE = "/api/v2/ACME1/decisions/preauthorize"
BASIC = f"{AUTHORIZE}/TempPassBasic30m"
R1 = {"resources": ["R1"]}

Header = Callable[..., dict[str, str]]
Enhanced = Callable[[str], dict[str, Any]]
Steady = Callable[[Any], Any]
Codes = Callable[[Any], list[str]]


# --- access tokens


BAD_TOKENS = ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer \xff", "Bearer " + "x" * 30_000]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "decisions/authorize/TempPassBasic30m"),
        ("POST", "decisions/preauthorize/TempPassBasic30m"),
        ("GET", "profiles/TempPassBasic30m"),
        ("GET", "profiles"),
        ("GET", "profiles/code/AAAAAAA"),
        ("GET", "profiles/code/-"),
        ("GET", "configuration"),
        ("POST", "sessions"),
        ("POST", "sessions/AAAAAAA"),
        ("POST", "sessions/-"),
        ("GET", "sessions/AAAAAAA"),
        ("GET", "sessions/-"),
        ("GET", "logout"),
        ("GET", "logout/TempPassBasic30m"),
    ],
)
def test_without_a_good_token_nothing_else_is_looked_at(
    bare: TestClient, steady: Steady, enhanced: Enhanced, method: str, path: str
) -> None:
    told = [[], *([(b"Authorization", value.encode("latin-1"))] for value in BAD_TOKENS)]
    answers = [bare.request(method, f"/api/v2/ACME9/{path}", headers=headers) for headers in told]
    expected = (401, enhanced("invalid_access_token_client_application"))
    assert [(answer.status_code, steady(answer.json())) for answer in answers] == [expected] * len(told)


def test_no_other_kind_of_token_is_an_access_token(
    codes: Codes, bare: TestClient, client: TestClient, double: Double
) -> None:
    permit = client.post(BASIC, json=R1).json()["decisions"][0]["token"]["serializedToken"]
    others = [double.mint("ops"), permit, base64.b64decode(permit).decode()]
    answers = [bare.post(BASIC, json=R1, headers={"Authorization": f"Bearer {token}"}) for token in others]
    assert [codes(answer) for answer in answers] == [["401 invalid_access_token_client_application"]] * 3


def test_a_token_without_the_scope_is_not_good(codes: Codes, bare: TestClient, token_of: Callable[..., str]) -> None:
    answer = bare.post(BASIC, json=R1, headers={"Authorization": f"Bearer {token_of('resetter')}"})
    assert codes(answer) == ["401 invalid_access_token_client_application"]


# --- who asks


NEED_DEVICE = [
    ("POST", "decisions/authorize/TempPassBasic30m"),
    ("POST", "decisions/preauthorize/TempPassBasic30m"),
    ("GET", "profiles/TempPassBasic30m"),
    ("GET", "profiles"),
    ("GET", "logout/TempPassBasic30m"),
    ("POST", "sessions"),
]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("fingerprint dHY=", True),
        ("FingerPrint dHY=", True),
        ("fingerprint dHY", True),
        ("fingerprint   dHY= ", True),
        ("fingerprint _-8", True),
        ("fingerprint /+8=", True),
        ("fingerprint " + base64.b64encode(b"x" * 1024).decode(), True),
        ("fingerprint " + base64.b64encode(b"x" * 1025).decode(), False),
        ("fingerprint " + base64.b64encode(b"\x00\xff").decode(), True),
        (None, False),
        ("", False),
        ("fingerprint", False),
        ("fingerprint ", False),
        ("fingerprint =", False),
        ("fingerprint d", False),
        ("fingerprint dH!Y", False),
        ("fingerprint dHY= dHY=", False),
        ("fingerprint dHY=, fingerprint dHY=", False),
        ("dHY=", False),
        ("session dHY=", False),
        ("fingerprint:dHY=", False),
        ("fingerprint \xe9", False),
    ],
)
def test_the_device_identifier_is_a_fingerprint(
    bare: TestClient,
    client: TestClient,
    value: str | None,
    good: bool,  # noqa: FBT001
) -> None:
    raw = [(b"Authorization", client.headers["Authorization"].encode())]
    raw += [(b"AP-Device-Identifier", value.encode("latin-1"))] if value is not None else []
    refusals = []
    for method, path in NEED_DEVICE:
        content = json.dumps(R1).encode() if "decisions" in path else b""
        answer = bare.request(method, f"/api/v2/ACME1/{path}", headers=raw, content=content)
        refusals.append((answer.status_code, answer.json().get("code") == "invalid_header_device_identifier"))
    assert refusals == [(200, False) if good else (400, True)] * len(NEED_DEVICE)


def test_every_spelling_of_a_device_is_one_device(codes: Codes, client: TestClient, double: Double) -> None:
    client.post(BASIC, json=R1, headers={"AP-Device-Identifier": "fingerprint _-9_"})
    double.clock.advance(1_800_000)
    spellings = ["fingerprint /+9/", "FINGERPRINT _-9_", "fingerprint  /-9_"]
    answers = [client.post(BASIC, json=R1, headers={"AP-Device-Identifier": spelling}) for spelling in spellings]
    assert [codes(answer) for answer in answers] == [["temporary_access_duration_limit_exceeded"]] * 3


def encoded(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


USABLE = [
    encoded({"email": "user@domain.com"}),
    encoded({"email": "f" * 64, "phone": 5}),
    encoded({"email": "x"}).rstrip("="),
    base64.urlsafe_b64encode('{"email":"ÿÿÿ>>>???"}'.encode()).decode(),
    encoded({"email": "x" * 1024}),
]
UNUSABLE = [
    "",
    "?",
    encoded(b""),
    encoded(b"{"),
    encoded(b"\xff\xfe"),
    encoded(["email"]),
    encoded("email"),
    encoded({}),
    encoded({"Email": "x"}),
    encoded({"email": ""}),
    encoded({"email": None}),
    encoded({"email": 5}),
    encoded({"email": ["x"]}),
    encoded({"email": "x" * 1025}),
    encoded(b'{"email":"\\ud800"}'),
    encoded(b'{"email":"x"} {"email":"y"}'),
    encoded(b'{"email":' + b"[" * 20_000),
    '{"email":"x"}',
]


@pytest.mark.parametrize(
    ("value", "permitted"), [*((value, True) for value in USABLE), *((value, False) for value in UNUSABLE)]
)
def test_the_identity_is_a_json_object_with_the_key_of_the_pass(
    codes: Codes,
    client: TestClient,
    value: str,
    permitted: bool,  # noqa: FBT001
) -> None:
    expected = ["permit" if permitted else "invalid_header_identity_for_temporary_access"]
    answers = [
        client.post(f"{path}/TempPassPromo5", json=R1, headers={"AP-TempPass-Identity": value})
        for path in (PREAUTHORIZE, AUTHORIZE)
    ]
    assert [codes(answer) for answer in answers] == [expected, expected]


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
@pytest.mark.parametrize("value", [None, "?", encoded({"email": ""})])
def test_a_basic_pass_ignores_the_identity(codes: Codes, client: TestClient, path: str, value: str | None) -> None:
    headers = {"AP-TempPass-Identity": value} if value is not None else {}
    assert codes(client.post(f"{path}/TempPassBasic30m", json=R1, headers=headers)) == ["permit"]


def test_an_authorize_needs_the_identity_and_a_preauthorize_goes_by_the_device(
    codes: Codes, client: TestClient, identity: Header, device: Header
) -> None:
    """Contract §6.3: header absent, so evaluate by device only; permit if unseen."""
    before = codes(client.post(f"{PREAUTHORIZE}/TempPassPromo1", json=R1))
    without = codes(client.post(f"{AUTHORIZE}/TempPassPromo1", json=R1))
    client.post(f"{AUTHORIZE}/TempPassPromo1", json=R1, headers=identity("viewer"))
    two = {"resources": ["R1", "R2"]}
    after = [
        codes(client.post(f"{PREAUTHORIZE}/TempPassPromo1", json=two, headers=headers))
        for headers in ({}, device(b"another"), device(b"another") | identity("viewer"), identity("another"))
    ]
    used_up = ["permit", "temporary_access_resources_limit_exceeded"]
    assert (before, without) == (["permit"], ["invalid_header_identity_for_temporary_access"])
    assert after == [used_up, ["permit", "permit"], used_up, used_up]


def test_every_spelling_of_a_user_is_one_user(
    codes: Codes, client: TestClient, device: Header, identity: Header
) -> None:
    digest = hashlib.sha256(b"viewer").hexdigest()
    client.post(f"{AUTHORIZE}/TempPassPromo1", json=R1, headers=identity("viewer"))
    answers = [
        client.post(f"{AUTHORIZE}/TempPassPromo1", json={"resources": ["R2"]}, headers={**device(b"x"), **spelling})
        for spelling in (
            identity(digest),
            identity(digest.upper()),
            {"ap-temppass-identity": encoded({"email": digest})},
        )
    ]
    assert [codes(answer) for answer in answers] == [["temporary_access_resources_limit_exceeded"]] * 3
