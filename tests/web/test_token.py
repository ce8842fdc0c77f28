"""
`/o/client/token`: every form that clients send, every error, and the order of checks.

Source: contract §3.3-3.6, design decisions 8.6, 8.10 and 8.11.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from starlette.testclient import TestClient

from temppass.testing import Double

T0 = 1_767_261_600_000
REGISTER, TOKEN = "/o/client/register", "/o/client/token"
JSON = {"Content-Type": "application/json;charset=utf-8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache", "content-type": "application/json;charset=UTF-8"}


@pytest.fixture
def statement(double: Double) -> str:
    return double.mint("ops")


@pytest.fixture
def made(bare: TestClient, statement: str) -> dict[str, str]:
    """The three parameters of a token request."""
    answer = bare.post(REGISTER, json={"software_statement": statement}).json()
    return {
        "client_id": answer["client_id"],
        "client_secret": answer["client_secret"],
        "grant_type": "client_credentials",
    }


def refused(answer: Any) -> tuple[int, str, bool]:
    """Status and word of a refusal, and whether its body and headers have the shape they must have."""
    body = answer.json()
    headed = all(answer.headers[name] == value for name, value in NO_STORE.items())
    return answer.status_code, body["error"], headed and set(body) == {"error", "error_description"}


def test_token_answers_every_field(bare: TestClient, made: dict[str, str]) -> None:
    answer = bare.post(TOKEN, data=made)
    body = answer.json()
    access_token, id_ = body.pop("access_token"), body.pop("id")
    assert body == {
        "created_at": T0,
        "expires_in": 21_600,
        "token_type": "bearer",
        "scope": "api:client:v2 temporary:passes:owner",
    }
    assert (answer.status_code, len(id_), access_token.count(".")) == (201, 36, 2)
    assert {name: answer.headers[name] for name in NO_STORE} == NO_STORE


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))


def test_an_access_token_holds_the_claims_of_the_contract(bare: TestClient, made: dict[str, str]) -> None:
    token = bare.post(TOKEN, data=made).json()["access_token"]
    keys = KeySet.import_key_set(bare.get("/.well-known/jwks.json").json())
    claims = json.loads(jws.deserialize_compact(token, keys, algorithms=["RS256"]).payload)
    expected = {
        "sub": made["client_id"],
        "iss": "auth.adobe.com",
        "iat": T0 // 1000,
        "nbf": T0 // 1000,
        "exp": T0 // 1000 + 21_600,
        "scopes": "api:client:v2,temporary:passes:owner",
    }
    assert {name: claims[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("scope", "granted", "reset", "configuration"),
    [
        ("api:client:v2", "api:client:v2", 403, 200),
        ("temporary:passes:owner", "temporary:passes:owner", 204, 401),
        ("temporary:passes:owner analytics:client", "temporary:passes:owner", 204, 401),
        ("temporary:passes:owner api:client:v2", "api:client:v2 temporary:passes:owner", 204, 200),
        ("analytics:client", "api:client:v2 temporary:passes:owner", 204, 200),
        ("", "api:client:v2 temporary:passes:owner", 204, 200),
    ],
)
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda c, f: c.post(TOKEN, params=f), id="query"),
        pytest.param(lambda c, f: c.post(TOKEN, data=f), id="form"),
        pytest.param(lambda c, f: c.post(TOKEN, json=f), id="json"),
    ],
)
def test_a_token_is_good_for_the_scopes_that_were_asked_for(
    bare: TestClient,
    made: dict[str, str],
    send: Callable[[TestClient, dict[str, str]], Any],
    scope: str,
    granted: str,
    reset: int,
    configuration: int,
) -> None:
    body = send(bare, {**made, "scope": scope}).json()
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    statuses = (
        bare.delete(
            "/reset-tempass/v3/reset?requestor_id=ACME1&mvpd_id=TempPassBasic30m&device_id=a", headers=headers
        ).status_code,
        bare.get("/api/v2/ACME1/configuration", headers=headers).status_code,
    )
    assert (body["scope"], claims_of(body["access_token"])["scopes"], statuses) == (
        granted, granted.replace(" ", ","), (reset, configuration),
    )  # fmt: skip


def pairs(fields: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda c, f: c.post(TOKEN, data=f), id="a: form"),
        pytest.param(lambda c, f: c.post(TOKEN, content=pairs(f), headers=FORM), id="a: form with charset"),
        pytest.param(lambda c, f: c.post(TOKEN, content=pairs(f)), id="a: form without content type"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}"), id="b: query"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}", headers=JSON), id="c: query, json type, empty body"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}", headers=FORM), id="c: query, form type, empty body"),
        pytest.param(lambda c, f: c.post(TOKEN, json=f), id="d: json"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}", data=f), id="same values in query and form"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}", json=f), id="same values in query and json"),
        pytest.param(
            lambda c, f: c.post(
                f"{TOKEN}?grant_type=client_credentials", data={k: f[k] for k in ("client_id", "client_secret")}
            ),
            id="a part in the query, a part in the form",
        ),
        pytest.param(lambda c, f: c.post(TOKEN, data={**f, "scope": "x", "refresh_token": "y"}), id="ignored fields"),
        pytest.param(lambda c, f: c.post(TOKEN, data=f, headers={"Accept": "text/html"}), id="any Accept"),
        pytest.param(lambda c, f: c.post(TOKEN, data=f, headers={"Authorization": "Bearer x"}), id="an old bearer"),
    ],
)
def test_token_takes_every_form_in_the_wild(
    bare: TestClient, made: dict[str, str], send: Callable[[TestClient, dict[str, str]], Any]
) -> None:
    assert send(bare, made).status_code == 201


BASIC = {"Authorization": "Basic " + base64.b64encode(b"id:secret").decode()}


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda c, _: c.post(TOKEN), id="nothing"),
        pytest.param(lambda c, f: c.post(TOKEN, data={**f, "client_id": ""}), id="client_id empty"),
        *(
            pytest.param(lambda c, f, n=name: c.post(TOKEN, data={k: f[k] for k in f if k != n}), id=f"no {name}")
            for name in ("client_id", "client_secret", "grant_type")
        ),
        *(
            pytest.param(lambda c, f, v=value: c.post(TOKEN, json={**f, "client_id": v}), id=f"client_id is {value}")
            for value in (5, None, ["a"], {"a": 1}, True)
        ),
        pytest.param(lambda c, f: c.post(TOKEN, content=pairs(f) + "&client_id=x", headers=FORM), id="twice in form"),
        pytest.param(
            lambda c, f: c.post(TOKEN, content=f"{pairs(f)}&client_id={f['client_id']}", headers=FORM),
            id="twice in form, same value",
        ),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}&client_id={f['client_id']}"), id="twice in query"),
        pytest.param(
            lambda c, f: c.post(TOKEN, content=json.dumps(f)[:-1] + ',"client_id":"x"}', headers=JSON),
            id="twice in json",
        ),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?client_id=other", data=f), id="two values"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?client_secret=", data=f), id="two values, one empty"),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?client_id=5", json={**f, "client_id": 5}), id="5 and '5'"),
        pytest.param(lambda c, f: c.post(TOKEN, data=f, headers=BASIC), id="HTTP Basic and parameters"),
        pytest.param(
            lambda c, _: c.post(TOKEN, data={"grant_type": "client_credentials"}, headers=BASIC), id="HTTP Basic"
        ),
        pytest.param(lambda c, _: c.post(TOKEN, content="{", headers=JSON), id="no json"),
        pytest.param(lambda c, _: c.post(TOKEN, content="[1]", headers=JSON), id="a list"),
        pytest.param(
            lambda c, f: c.post(TOKEN, content=json.dumps({**f, "client_secret": "\ud800"}), headers=JSON),
            id="a lone surrogate",
        ),
        pytest.param(
            lambda c, f: c.post(TOKEN, content=json.dumps({**f, "client_id": "\ud800"}), headers=JSON),
            id="a lone surrogate in the id",
        ),
        pytest.param(lambda c, f: c.post(TOKEN, data={**f, "client_secret": "wr\u00f6ng"}), id="not ASCII"),
        pytest.param(lambda c, f: c.post(TOKEN, data={**f, "client_id": "no\x00body"}), id="not printable"),
        pytest.param(
            lambda c, f: c.post(TOKEN, content=pairs(f), headers={"Content-Type": "text/plain"}), id="text/plain"
        ),
        pytest.param(lambda c, f: c.post(f"{TOKEN}?{pairs(f)}", content="{", headers=JSON), id="query and bad json"),
    ],
)
def test_a_token_request_that_cannot_be_read_is_an_invalid_request(
    bare: TestClient, made: dict[str, str], send: Callable[[TestClient, dict[str, str]], Any]
) -> None:
    assert refused(send(bare, made)) == (400, "invalid_request", True)


@pytest.mark.parametrize("grant_type", ["authorization_code", "password", "CLIENT_CREDENTIALS", "x" * 300, "é"])
def test_only_one_grant_is_supported(bare: TestClient, made: dict[str, str], grant_type: str) -> None:
    assert refused(bare.post(TOKEN, data={**made, "grant_type": grant_type})) == (400, "unsupported_grant_type", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "00000000-0000-4000-8000-000000000000"},
        {"client_secret": "wrong"},
    ],
)
def test_an_unknown_client_and_a_wrong_secret_are_one_refusal(
    bare: TestClient, made: dict[str, str], wrong: dict[str, str]
) -> None:
    assert refused(bare.post(TOKEN, data=made | wrong)) == (400, "invalid_client", True)


def test_a_client_of_a_revoked_application_is_invalid(double: Double, bare: TestClient, made: dict[str, str]) -> None:
    double.revoke("ops")
    assert refused(bare.post(TOKEN, data=made)) == (400, "invalid_client", True)


def test_a_client_of_an_application_that_is_gone_is_invalid(
    double: Double, bare: TestClient, made: dict[str, str]
) -> None:
    double.apply("")
    assert refused(bare.post(TOKEN, data=made)) == (400, "invalid_client", True)


def test_a_client_of_an_application_that_was_gone_and_returned_is_invalid(
    double: Double, bare: TestClient, made: dict[str, str], catalogue: str
) -> None:
    double.apply("")
    double.apply(catalogue)
    assert refused(bare.post(TOKEN, data=made)) == (400, "invalid_client", True)


def test_a_client_without_any_scope_is_unauthorized(double: Double, bare: TestClient) -> None:
    made = bare.post(REGISTER, json={"software_statement": double.mint("nothing")}).json()
    fields = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    wrong = fields | {"client_secret": "wrong"}
    assert [refused(bare.post(TOKEN, data=each))[1] for each in (fields, wrong)] == [
        "unauthorized_client",
        "invalid_client",
    ]


def test_the_checks_of_a_token_request_have_an_order(double: Double, bare: TestClient, made: dict[str, str]) -> None:
    """All faults at once, then mended one by one."""
    double.revoke("ops")
    nobody = bare.post(REGISTER, json={"software_statement": double.mint("nothing")}).json()
    good = {name: nobody[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    requests = [
        {**made, "grant_type": "password", "client_id": ""},
        {**made, "grant_type": "password"},
        made,
        good,
    ]
    assert [refused(bare.post(TOKEN, data=fields))[1] for fields in requests] == [
        "invalid_request",
        "unsupported_grant_type",
        "invalid_client",
        "unauthorized_client",
    ]


@pytest.mark.parametrize("path", [REGISTER, TOKEN])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_both_take_post_only(bare: TestClient, path: str, method: str) -> None:
    answer = bare.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


def test_credentials_and_tokens_do_not_run_out_with_the_clock(
    double: Double, bare: TestClient, made: dict[str, str]
) -> None:
    """Credentials have unlimited life, an access token six hours (contract §3.6)."""
    token = bare.post(TOKEN, data=made).json()["access_token"]
    double.clock.advance(21_599_999)
    before = bare.get("/api/v2/ACME1/configuration", headers={"Authorization": f"Bearer {token}"}).status_code
    double.clock.advance(1)
    after = bare.get("/api/v2/ACME1/configuration", headers={"Authorization": f"Bearer {token}"}).status_code
    double.clock.advance(3650 * 86_400_000)
    assert (before, after, bare.post(TOKEN, data=made).status_code) == (200, 401, 201)
