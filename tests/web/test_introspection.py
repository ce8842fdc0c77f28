"""
`/o/client/introspect`: what is told of an application's own access token, and that nothing else is told of anything.

Source: RFC 7662 §2, §4.
"""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

T0 = 1_767_261_600_000
REGISTER, TOKEN, INTROSPECT = "/o/client/register", "/o/client/token", "/o/client/introspect"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache", "content-type": "application/json;charset=UTF-8"}
INACTIVE = {"active": False}
ACME = {"Host": "acme.localhost"}
V2, OWNER = "api:client:v2", "temporary:passes:owner"
WATCH = "/api/v2/ACME1/decisions/authorize/TempPassBasic30m"


class Known:
    """A client of an application, and a token of it."""

    def __init__(self, double: Double, http: TestClient, application_id: str, **host: str) -> None:
        statement = double.mint(application_id, "acme" if host else None)
        made = http.post(REGISTER, json={"software_statement": statement}, headers=host).json()
        self.statement = statement
        self.credentials = {name: made[name] for name in ("client_id", "client_secret")}
        form = {**self.credentials, "grant_type": "client_credentials"}
        self.token = http.post(TOKEN, data=form, headers=host).json()["access_token"]


@pytest.fixture
def ops(double: Double, bare: TestClient) -> Known:
    return Known(double, bare, "ops")


@pytest.fixture
def told(bare: TestClient, ops: Known) -> Callable[..., Any]:
    """Answer what `ops` is told of a token."""

    def ask(token: str, **more: str) -> Any:
        answer = bare.post(INTROSPECT, data={**ops.credentials, "token": token, **more})
        assert (answer.status_code, {name: answer.headers[name] for name in NO_STORE}) == (200, NO_STORE)
        return answer.json()

    return ask


def refused(answer: httpx2.Response) -> tuple[int, str, bool]:
    """Status and word of a refusal, and whether its body and headers have the shape they must have."""
    body = answer.json()
    headed = all(answer.headers[name] == value for name, value in NO_STORE.items())
    return answer.status_code, body["error"], headed and set(body) == {"error", "error_description"}


def test_an_application_is_told_what_its_token_opens(ops: Known, told: Callable[..., Any]) -> None:
    jti = json.loads(base64.urlsafe_b64decode(ops.token.split(".")[1] + "=="))["jti"]
    assert told(ops.token) == {
        "active": True,
        "scope": f"{V2} {OWNER}",
        "client_id": ops.credentials["client_id"],
        "token_type": "bearer",
        "exp": T0 // 1000 + 21_600,
        "iat": T0 // 1000,
        "nbf": T0 // 1000,
        "sub": ops.credentials["client_id"],
        "aud": "release-production",
        "iss": "auth.adobe.com",
        "jti": jti,
    }


def test_another_client_of_the_application_is_told_too(
    double: Double, bare: TestClient, told: Callable[..., Any]
) -> None:
    """A back end checks what the copies of its application send."""
    another = Known(double, bare, "ops")
    assert told(another.token)["client_id"] == another.credentials["client_id"]


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "no such kind", ""])
def test_a_hint_changes_nothing(ops: Known, told: Callable[..., Any], hint: str) -> None:
    assert told(ops.token, token_type_hint=hint) == told(ops.token)


@pytest.mark.parametrize("content_type", [JSON, f"{JSON};charset=utf-8", FORM, f"{FORM}; charset=UTF-8", ""])
def test_a_form_will_do_and_so_will_json(
    bare: TestClient, ops: Known, told: Callable[..., Any], content_type: str
) -> None:
    asked = {**ops.credentials, "token": ops.token}
    body = json.dumps(asked) if JSON in content_type else urlencode(asked)
    headers = {"Content-Type": content_type} if content_type else {}
    assert bare.post(INTROSPECT, content=body, headers=headers).json() == told(ops.token)


# --- what is not told


def changed(token: str, **header: Any) -> str:
    """Answer a token with another header, and its signature, or none where nothing is to prove it."""
    _, claims, signature = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return f"{head}.{claims}.{'' if header.get('alg') == 'none' else signature}"


def header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "==")))


@pytest.mark.parametrize(
    "garbage",
    ["x", "x.y.z", "..", "é", "\x00", " ", "null", "e" * 24_577, "eyJ" + "x" * 60_000, "tpo_" + "x" * 43],
    ids=lambda value: repr(value[:9]),
)
def test_of_garbage_it_is_told_that_it_is_not_active(told: Callable[..., Any], garbage: str) -> None:
    assert told(garbage) == INACTIVE


def test_of_another_application_s_token_nothing_is_told(
    double: Double, bare: TestClient, told: Callable[..., Any]
) -> None:
    assert told(Known(double, bare, "player").token) == INACTIVE


def test_of_another_environment_s_token_nothing_is_told(
    double: Double, bare: TestClient, catalogue: str, told: Callable[..., Any]
) -> None:
    double.apply(catalogue, "acme")
    assert told(Known(double, bare, "ops", **ACME).token) == INACTIVE


def test_a_client_is_one_in_its_own_environment_alone(
    double: Double, bare: TestClient, catalogue: str, ops: Known
) -> None:
    double.apply(catalogue, "acme")
    asked = {**ops.credentials, "token": ops.token}
    hosts = ("acme.localhost", "nowhere.localhost")
    assert [refused(bare.post(INTROSPECT, data=asked, headers={"Host": host})) for host in hosts] == [
        (401, "invalid_client", True)
    ] * 2


def test_a_token_is_active_for_as_long_as_it_opens_anything(
    double: Double, client: TestClient, ops: Known, told: Callable[..., Any]
) -> None:
    """To the millisecond: the last moment that it opens a call is the last of which it is told."""

    def both() -> tuple[bool, bool]:
        opens = client.post(WATCH, json={"resources": ["R1"]}, headers={"Authorization": f"Bearer {ops.token}"})
        return told(ops.token)["active"], opens.status_code == 200

    double.clock.now = T0 + 21_600_000 - 1
    before = both()
    double.clock.now = T0 + 21_600_000
    assert (before, both()) == ((True, True), (False, False))


def test_a_statement_is_no_token(ops: Known, told: Callable[..., Any]) -> None:
    assert told(ops.statement) == INACTIVE


def test_a_media_token_is_none(client: TestClient, told: Callable[..., Any]) -> None:
    (decision,) = client.post(WATCH, json={"resources": ["R1"]}).json()["decisions"]
    serialized = decision["token"]["serializedToken"]
    assert (told(serialized), told(base64.b64decode(serialized).decode())) == (INACTIVE, INACTIVE)


def test_what_no_key_of_ours_has_signed_is_none(ops: Known, bare: TestClient, told: Callable[..., Any]) -> None:
    header = header_of(ops.token)
    media = next(key["kid"] for key in bare.get("/.well-known/jwks.json").json()["keys"] if key["kty"] == "EC")
    forged = [
        changed(ops.token, **{**header, "alg": "none"}),
        changed(ops.token, **{**header, "alg": "HS256"}),
        changed(ops.token, **{**header, "kid": media, "alg": "ES256"}),
        changed(ops.token, **{**header, "typ": "software-statement+jwt"}),
        changed(ops.token, **header, crit=["exp"]),
        ops.token[:-4] + ("AAAA" if ops.token[-4:] != "AAAA" else "BBBB"),
        ops.token + "." + ops.token,
    ]
    assert [told(token) for token in forged] == [INACTIVE] * len(forged)


def test_what_the_application_lost_is_not_told(
    double: Double, catalogue: str, ops: Known, told: Callable[..., Any]
) -> None:
    double.apply(catalogue.replace('scopes = ["temporary:passes:owner", "api:client:v2"]', f'scopes = ["{OWNER}"]'))
    assert told(ops.token)["scope"] == OWNER


def test_a_token_without_any_scope_that_is_left_is_not_active(
    double: Double, catalogue: str, ops: Known, told: Callable[..., Any]
) -> None:
    double.apply(catalogue.replace('scopes = ["temporary:passes:owner", "api:client:v2"]', "scopes = []"))
    assert told(ops.token) == INACTIVE


def test_a_token_of_a_revocation_ago_is_not_active(double: Double, bare: TestClient, ops: Known) -> None:
    double.revoke("ops")
    fresh = Known(double, bare, "ops")
    answers = [bare.post(INTROSPECT, data={**fresh.credentials, "token": each.token}).json() for each in (ops, fresh)]
    assert [answer["active"] for answer in answers] == [False, True]


# --- who may not ask


@pytest.mark.parametrize(
    "wrong", [{"client_id": "nobody"}, {"client_secret": "wrong"}, {"client_id": "nobody", "client_secret": "wrong"}]
)
def test_who_is_no_client_is_told_so(bare: TestClient, ops: Known, wrong: dict[str, str]) -> None:
    answer = bare.post(INTROSPECT, data={**ops.credentials, "token": ops.token, **wrong})
    assert (refused(answer), answer.headers["www-authenticate"]) == ((401, "invalid_client", True), "Bearer")


def test_an_unknown_client_and_a_wrong_secret_are_refused_alike(bare: TestClient, ops: Known) -> None:
    bodies = {
        bare.post(INTROSPECT, data={**ops.credentials, "token": token, **wrong}).text
        for wrong in ({"client_id": "nobody"}, {"client_secret": "wrong"})
        for token in (ops.token, "garbage")
    }
    assert len(bodies) == 1


def test_a_revoked_application_may_not_ask(double: Double, bare: TestClient, ops: Known) -> None:
    double.revoke("ops")
    asked = {**ops.credentials, "token": ops.token}
    assert refused(bare.post(INTROSPECT, data=asked)) == (401, "invalid_client", True)


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "token"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"], {"x": 1}])
def test_each_parameter_is_a_text(bare: TestClient, ops: Known, missing: str, value: object) -> None:
    asked = {**ops.credentials, "token": ops.token, missing: value}
    assert refused(bare.post(INTROSPECT, json=asked)) == (400, "invalid_request", True)


@pytest.mark.parametrize("name", ["client_id", "client_secret", "token", "token_type_hint"])
@pytest.mark.parametrize("same", [True, False])
def test_no_parameter_comes_twice(bare: TestClient, ops: Known, name: str, *, same: bool) -> None:
    asked = {**ops.credentials, "token": ops.token, "token_type_hint": "access_token"}
    twice = [*asked.items(), (name, asked[name] if same else "another")]
    assert refused(bare.post(INTROSPECT, content=urlencode(twice), headers={"Content-Type": FORM})) == (
        400,
        "invalid_request",
        True,
    )


def test_no_member_comes_twice(bare: TestClient, ops: Known) -> None:
    body = json.dumps({**ops.credentials, "token": ops.token})[:-1] + ',"token":"another"}'
    assert refused(bare.post(INTROSPECT, content=body, headers={"Content-Type": JSON})) == (
        400,
        "invalid_request",
        True,
    )


def test_nothing_is_read_from_the_url(bare: TestClient, ops: Known) -> None:
    """It would be in logs."""
    query = urlencode({**ops.credentials, "token": ops.token})
    assert refused(bare.post(f"{INTROSPECT}?{query}")) == (400, "invalid_request", True)


def test_what_the_url_says_beside_the_body_is_not_heard(bare: TestClient, ops: Known, told: Callable[..., Any]) -> None:
    query = urlencode({"token": "another", "client_id": "nobody"})
    assert bare.post(f"{INTROSPECT}?{query}", data={**ops.credentials, "token": ops.token}).json() == told(ops.token)


@pytest.mark.parametrize("with_parameters", [True, False])
def test_a_client_proves_itself_by_parameters_alone(bare: TestClient, ops: Known, *, with_parameters: bool) -> None:
    basic = base64.b64encode(":".join(ops.credentials.values()).encode()).decode()
    asked = {"token": ops.token, **(ops.credentials if with_parameters else {})}
    answer = bare.post(INTROSPECT, data=asked, headers={"Authorization": f"Basic {basic}"})
    assert refused(answer) == (400, "invalid_request", True)


def test_a_token_of_its_own_in_the_head_does_no_harm(bare: TestClient, ops: Known, told: Callable[..., Any]) -> None:
    """Sessions of client libraries send it with whatever they send."""
    answer = bare.post(
        INTROSPECT,
        data={**ops.credentials, "token": ops.token},
        headers={"Authorization": f"Bearer {ops.token}"},
    )
    assert answer.json() == told(ops.token)


def test_a_megabyte_is_not_read(bare: TestClient, ops: Known) -> None:
    asked = {**ops.credentials, "token": "x" * 1_000_000}
    assert bare.post(INTROSPECT, data=asked).status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_it_is_asked_by_post_alone(bare: TestClient, method: str) -> None:
    answer = bare.request(method, INTROSPECT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
