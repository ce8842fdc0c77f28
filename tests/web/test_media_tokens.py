"""
Media tokens verify offline against the published keys.

Source: contract §8, design decision 8.8.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass import MediaToken, MediaTokenStatus, MediaTokenVerifier
from temppass.testing import Double, build

T0 = 1_767_261_600_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
BASIC = "/api/v2/ACME1/decisions/authorize/TempPassBasic30m"
R1 = {"resources": ["R1"]}

Header = Callable[..., dict[str, str]]


def serialized(answer: Any) -> str:
    return str(answer.json()["decisions"][0]["token"]["serializedToken"])


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_media_token_verifies_against_the_published_keys(catalogue: str, device: Header, algorithm: str) -> None:
    double = build(catalogue, now=T0 + 1, TEMPPASS_MEDIA_ALGORITHM=algorithm, TEMPPASS_MEDIA_TOKEN_SECONDS="300")
    client = TestClient(double.app)
    made = client.post("/o/client/register", json={"software_statement": double.mint("ops")}).json()
    form = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    token = client.post("/o/client/token", data=form).json()["access_token"]
    answer = client.post(BASIC, json=R1, headers={"Authorization": f"Bearer {token}", **device(DEVICE)})
    media = serialized(answer)
    verifier = MediaTokenVerifier(client.get("/.well-known/jwks.json").json())
    header = json.loads(base64.urlsafe_b64decode(base64.b64decode(media).split(b".")[0] + b"=="))
    moments = [T0, T0 + 299_999, T0 + 300_000]
    told = [verifier.verify(media, expected_channel="ACME1", expected_resource="R1", now_ms=now)[0] for now in moments]
    assert told == ["VALID_TOKEN"] * 2 + ["TOKEN_EXPIRED"]
    assert header["alg"] == algorithm


def test_a_media_token_says_who_watches_what(client: TestClient, bare: TestClient) -> None:
    keys = bare.get("/.well-known/jwks.json").json()
    verifier = MediaTokenVerifier(keys, issuer="auth.adobe.com", environment="release-production")
    media = serialized(client.post(BASIC, json=R1))
    status, token = verifier.verify(media, expected_channel="ACME1", expected_resource=None, now_ms=T0)
    profile = client.get("/api/v2/ACME1/profiles/TempPassBasic30m").json()["profiles"]["TempPassBasic30m"]
    user_id = profile["attributes"]["userID"]["value"]
    assert token is not None
    claims = MediaToken(
        user_id, "ACME1", "TempPassBasic30m", "R1", T0 // 1000, T0 // 1000 + 420, 420_000, token.jti,
        "auth.adobe.com", "release-production",
    )  # fmt: skip
    assert (status, token) == (MediaTokenStatus.VALID_TOKEN, claims)


def test_the_verifier_has_a_word_for_every_fault(client: TestClient, double: Double, catalogue: str) -> None:
    media = serialized(client.post(BASIC, json=R1))
    keys = client.get("/.well-known/jwks.json").json()
    double.apply(catalogue, "acme")
    foreign = client.get("/.well-known/jwks.json", headers={"Host": "acme.localhost"}).json()
    access = base64.b64encode(client.headers["Authorization"].removeprefix("Bearer ").encode()).decode()
    compact = base64.b64decode(media).decode()
    spoilt = base64.b64encode((compact[:-8] + "AAAAAAAA").encode()).decode()
    asked: list[tuple[dict[str, Any], str, str | None, int]] = [
        (keys, media, "R1", T0),
        (keys, media, None, T0),
        (keys, media, "R2", T0),
        (keys, media, "R1", T0 + 420_000),
        (keys, spoilt, "R1", T0),
        (foreign, media, "R1", T0),
        ({"keys": []}, media, "R1", T0),
        (keys, access, "R1", T0),
        (keys, "?", "R1", T0),
        (keys, "", "R1", T0),
        (keys, compact, "R1", T0),
    ]
    assert [
        MediaTokenVerifier(jwks).verify(token, expected_channel="ACME1", expected_resource=title, now_ms=now)[0].value
        for jwks, token, title, now in asked
    ] == [
        "VALID_TOKEN",
        "VALID_TOKEN",
        "INVALID_RESOURCE_ID",
        "TOKEN_EXPIRED",
        "INVALID_SIGNATURE",
        "INVALID_SIGNATURE",
        "INVALID_SIGNATURE",
        "INVALID_SIGNATURE",
        "INVALID_TOKEN_FORMAT",
        "INVALID_TOKEN_FORMAT",
        "INVALID_TOKEN_FORMAT",
    ]


def test_two_tokens_of_one_millisecond_differ(client: TestClient) -> None:
    decisions = client.post(BASIC, json={"resources": ["R1", "R1", "R1"]}).json()["decisions"]
    assert len({decision["token"]["serializedToken"] for decision in decisions}) == 3


def test_a_media_token_names_its_issuer_and_environment(catalogue: str, device: Header) -> None:
    """As statements and access tokens do: the policy's issuer, and the environment that the host chose."""
    double = build(catalogue, now=T0, TEMPPASS_ISSUER="preview.example")
    double.apply(catalogue, "acme")
    client = TestClient(double.app, headers={"Host": "acme.localhost"})
    made = client.post("/o/client/register", json={"software_statement": double.mint("ops", "acme")}).json()
    form = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    token = client.post("/o/client/token", data=form).json()["access_token"]
    answer = client.post(BASIC, json=R1, headers={"Authorization": f"Bearer {token}", **device(DEVICE)})
    claims = json.loads(base64.urlsafe_b64decode(base64.b64decode(serialized(answer)).split(b".")[1] + b"=="))
    assert (claims["iss"], claims["aud"]) == ("preview.example", "acme")
