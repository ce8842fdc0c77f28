"""
`/o/client/register`: every form that clients send, every error.

Source: contract §3.1-3.2, design decisions 8.6 and 8.10-8.12.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

T0 = 1_767_261_600_000
REGISTER = "/o/client/register"
JSON = {"Content-Type": "application/json;charset=utf-8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache", "content-type": "application/json;charset=UTF-8"}

BOUNDED = """
[[application]]
id = "few"
channels = "all"
scopes = ["api:client:v2"]
registrations_per_minute = 2
clients_max = 4
"""


@pytest.fixture
def statement(double: Double) -> str:
    return double.mint("ops")


def refused(answer: Any) -> tuple[int, str, bool]:
    """Status and word of a refusal, and whether its body and headers have the shape they must have."""
    body = answer.json()
    headed = all(answer.headers[name] == value for name, value in NO_STORE.items())
    return answer.status_code, body["error"], headed and set(body) == {"error", "error_description"}


def claims_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))


def with_claims(token: str, head: dict[str, Any], body: dict[str, Any], signature: str | None = None) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    return ".".join([*parts, token.split(".")[2] if signature is None else signature])


def test_register_answers_every_field(bare: TestClient, statement: str) -> None:
    answer = bare.post(REGISTER, json={"software_statement": statement, "redirect_uri": "https://play.acme.example/cb"})
    body = answer.json()
    assert len(body.pop("client_secret")) >= 32
    assert len(body.pop("client_id")) == 36
    assert body == {
        "client_id_issued_at": T0 // 1000,
        "client_secret_expires_at": 0,
        "redirect_uris": ["https://play.acme.example/cb"],
        "grant_types": ["client_credentials"],
        "scopes": ["temporary:passes:owner", "api:client:v2"],
    }
    assert {name: answer.headers[name] for name in NO_STORE} == NO_STORE
    assert answer.status_code == 201


def test_redirect_uris_default_to_the_domains_of_the_application(bare: TestClient, double: Double) -> None:
    uris = [
        bare.post(REGISTER, json={"software_statement": double.mint(application)}).json()["redirect_uris"]
        for application in ("ops", "player")
    ]
    assert uris == [["https://ops.example", "https://acme.example"], []]


@pytest.mark.parametrize(
    ("headers", "encode"),
    [
        (JSON, json.dumps),
        ({"Content-Type": "APPLICATION/JSON"}, json.dumps),
        ({}, json.dumps),
        (FORM, lambda fields: "&".join(f"{name}={value}" for name, value in fields.items())),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            lambda fields: "software_statement=" + fields["software_statement"],
        ),
        (JSON | {"X-Device-Info": "not base64 at all"}, json.dumps),
        (JSON | {"Accept": "text/html"}, json.dumps),
        (JSON, lambda fields: json.dumps({**fields, "token_endpoint_auth_method": "client_secret_post", "x": [1, {}]})),
        (JSON, lambda fields: json.dumps({**fields, "grant_types": ["client_credentials"]})),
    ],
)
def test_register_takes_every_form_in_the_wild(
    bare: TestClient, statement: str, headers: dict[str, str], encode: Callable[[dict[str, str]], str]
) -> None:
    answer = bare.post(REGISTER, content=encode({"software_statement": statement}), headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, ""),
        (JSON, "{}"),
        (JSON, "{"),
        (JSON, "[]"),
        (JSON, '"text"'),
        (JSON, "null"),
        (JSON, '{"software_statement":NaN}'),
        (JSON, '{"software_statement":""}'),
        (JSON, '{"software_statement":5}'),
        (JSON, '{"software_statement":null}'),
        (JSON, '{"software_statement":["a.b.c"]}'),
        (JSON, '{"software_statement":"a.b.c","software_statement":"a.b.c"}'),
        (JSON, '{"software_statement":"a.b.c","redirect_uri":5}'),
        (JSON, '{"software_statement":"a.b.c","redirect_uri":["https://acme.example"]}'),
        (JSON, '{"software_statement":"a.b.c","x":1,"x":2}'),
        (JSON, '{"software_statement":"\\ud800"}'),
        (JSON, '{"\\ud800":1,"\\ud800":2}'),
        (JSON, "[" * 60_000),
        (JSON, b"\xff\xfe"),
        (JSON, "software_statement=a.b.c"),
        (FORM, "software_statement=a.b.c&software_statement=a.b.c"),
        (FORM, "software_statement=%ff"),
        (FORM, "software_statement="),
        (FORM, '{"software_statement":"a.b.c"}'),
        ({"Content-Type": "text/plain"}, '{"software_statement":"a.b.c"}'),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "software_statement=a.b.c"),
    ],
)
def test_a_registration_that_cannot_be_read_is_an_invalid_request(
    bare: TestClient, headers: dict[str, str], body: str | bytes
) -> None:
    assert refused(bare.post(REGISTER, content=body, headers=headers)) == (400, "invalid_request", True)


def test_register_reads_the_body_only(bare: TestClient, statement: str) -> None:
    in_query = bare.post(f"{REGISTER}?software_statement={statement}")
    in_both = bare.post(f"{REGISTER}?software_statement=other", json={"software_statement": statement})
    assert (refused(in_query), in_both.status_code) == ((400, "invalid_request", True), 201)


@pytest.mark.parametrize(
    ("redirect_uri", "status"),
    [
        ("https://acme.example", 201),
        ("https://acme.example:8443/cb?a=b", 201),
        ("https://deep.below.ops.example/cb", 201),
        ("https://ACME.example/cb", 201),
        ("http://acme.example/cb", 400),
        ("https://acme.example.evil.example/cb", 400),
        ("https://notacme.example/cb", 400),
        ("https://acme.example@evil.example/cb", 400),
        ("https://evil.example\\@acme.example/cb", 400),
        ("https://acme.example/cb#fragment", 400),
        ("https:acme.example", 400),
        ("//acme.example/cb", 400),
        ("acme.example", 400),
        ("javascript:alert(1)//acme.example", 400),
        ("https://[", 400),
        ("https://acme.example:99999/", 400),
        ("https://acme.example/" + "a" * 4096, 400),
        ("", 400),
    ],
)
def test_a_redirect_uri_is_https_on_a_domain_of_the_application(
    bare: TestClient, statement: str, redirect_uri: str, status: int
) -> None:
    answer = bare.post(REGISTER, json={"software_statement": statement, "redirect_uri": redirect_uri})
    if status == 400:
        assert refused(answer) == (400, "invalid_redirect_uri", True)
    else:
        assert (answer.status_code, answer.json()["redirect_uris"]) == (201, [redirect_uri])


def test_an_application_without_domains_has_no_redirect_uri(bare: TestClient, double: Double) -> None:
    body = {"software_statement": double.mint("player"), "redirect_uri": "https://acme.example/cb"}
    assert refused(bare.post(REGISTER, json=body)) == (400, "invalid_redirect_uri", True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "no statement",
        lambda _: "a.b.c",
        lambda token: token + "x",
        lambda token: token[:-10] + "AAAAAAAAAA",
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0],
        lambda token: with_claims(token, *claims_of(token)[:1], {**claims_of(token)[1], "epoch": 7}),
        lambda token: with_claims(token, {"alg": "none"}, claims_of(token)[1], ""),
        lambda token: with_claims(token, {**claims_of(token)[0], "alg": "none"}, claims_of(token)[1], ""),
        lambda token: with_claims(token, {**claims_of(token)[0], "alg": "HS256"}, claims_of(token)[1]),
        lambda token: with_claims(token, {**claims_of(token)[0], "alg": "ES256"}, claims_of(token)[1]),
        lambda token: with_claims(token, {**claims_of(token)[0], "kid": "another"}, claims_of(token)[1]),
        lambda token: token * 20,
    ],
)
def test_only_a_genuine_statement_registers(bare: TestClient, statement: str, spoil: Callable[[str], str]) -> None:
    answer = bare.post(REGISTER, content=json.dumps({"software_statement": spoil(statement)}), headers=JSON)
    assert refused(answer) == (400, "invalid_software_statement", True)


def test_no_other_kind_of_token_is_a_statement(bare: TestClient, client: TestClient) -> None:
    access = client.headers["Authorization"].removeprefix("Bearer ")
    permit = client.post("/api/v2/ACME1/decisions/authorize/TempPassBasic30m", json={"resources": ["R1"]}).json()
    media = base64.b64decode(permit["decisions"][0]["token"]["serializedToken"]).decode()
    refusals = [refused(bare.post(REGISTER, json={"software_statement": token})) for token in (access, media)]
    assert refusals == [(400, "invalid_software_statement", True)] * 2


def test_a_statement_is_good_in_its_environment_only(
    double: Double, bare: TestClient, statement: str, catalogue: str
) -> None:
    double.apply(catalogue, "acme")
    refusals = [
        refused(bare.post(REGISTER, json={"software_statement": statement}, headers={"Host": host}))
        for host in ("acme.localhost", "nowhere.localhost")
    ]
    assert refusals == [(400, "invalid_software_statement", True)] * 2


def test_a_statement_of_a_revoked_application_is_unapproved_until_another_is_minted(
    double: Double, bare: TestClient, statement: str
) -> None:
    double.revoke("ops")
    after = bare.post(REGISTER, json={"software_statement": statement})
    afresh = bare.post(REGISTER, json={"software_statement": double.mint("ops")})
    assert (refused(after), afresh.status_code) == ((400, "unapproved_software_statement", True), 201)


def test_a_statement_of_an_application_that_is_gone_is_unapproved(
    double: Double, bare: TestClient, statement: str
) -> None:
    double.apply("")
    body = {"software_statement": statement, "redirect_uri": "https://evil.example"}
    assert refused(bare.post(REGISTER, json=body)) == (400, "unapproved_software_statement", True)


def test_a_statement_of_an_application_that_was_gone_is_unapproved_until_another_is_minted(
    double: Double, bare: TestClient, statement: str, catalogue: str
) -> None:
    double.apply("")
    double.apply(catalogue)
    after = bare.post(REGISTER, json={"software_statement": statement})
    afresh = bare.post(REGISTER, json={"software_statement": double.mint("ops")})
    assert (refused(after), afresh.status_code) == ((400, "unapproved_software_statement", True), 201)


def test_every_statement_differs_and_the_older_one_stays_good(double: Double, bare: TestClient, statement: str) -> None:
    later = double.mint("ops")
    codes = [bare.post(REGISTER, json={"software_statement": each}).status_code for each in (statement, later)]
    head, claims = claims_of(statement)
    assert (statement != later, codes, head["alg"]) == (True, [201, 201], "RS256")
    assert {name: claims[name] for name in ("iss", "iat", "nbf")} == {
        "iss": "auth.adobe.com", "iat": T0 // 1000, "nbf": T0 // 1000,
    }  # fmt: skip
    assert "exp" not in claims


def test_an_application_registers_so_many_clients_a_minute(double: Double, bare: TestClient, catalogue: str) -> None:
    """Others go on, and so does the application a minute later; metrics tell how much of the bounds is used."""
    double.apply(catalogue + BOUNDED)
    few, ops = ({"software_statement": double.mint(name)} for name in ("few", "ops"))
    told = [bare.post(REGISTER, json=few).status_code for _ in range(2)]
    refused = bare.post(REGISTER, json=few)
    others = bare.post(REGISTER, json=ops).status_code
    metrics = [line for line in bare.get("/metrics").text.splitlines() if '_share{application="few"' in line]
    double.clock.advance(60_000)
    later = bare.post(REGISTER, json=few).status_code
    assert (told, others, later) == ([201, 201], 201, 201)
    assert (refused.status_code, refused.headers["retry-after"], refused.json()) == (
        429,
        "1",
        {
            "error": "too_many_requests",
            "message": "'few' registers over 2 clients a minute; wait and try again.",
            "status": 429,
        },
    )
    assert metrics == [
        'temppass_registrations_share{application="few",environment="release-production"} 1.0',
        'temppass_clients_share{application="few",environment="release-production"} 0.5',
    ]
