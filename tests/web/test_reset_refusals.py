"""
What the reset API refuses, in which order, and the paths that were retired.

Source: contract §5.3-5.4, design decisions 8.10 and 8.14.
"""

from collections.abc import Callable
from urllib.parse import unquote_plus

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

RESET, GENERIC = "/reset-tempass/v3/reset", "/reset-tempass/v3/reset/generic"
BASIC = "requestor_id=ACME1&mvpd_id=TempPassBasic30m"


# --- refusals


@pytest.mark.parametrize(
    "query",
    [
        "",
        "requestor_id=ACME1",
        "mvpd_id=TempPassBasic30m",
        "requestor_id=&mvpd_id=TempPassBasic30m",
        "requestor_id=ACME1&mvpd_id=",
        "Requestor_id=ACME1&mvpd_id=TempPassBasic30m",
        f"{BASIC}&requestor_id=ACME1",
        f"{BASIC}&mvpd_id=TempPassBasic30m",
        f"{BASIC}&environment=production&environment=production",
        f"{BASIC}&environment=PROD",
        f"{BASIC}&environment=release-production",
        f"{BASIC}&environment=%ff",
        "requestor_id=%ff&mvpd_id=TempPassBasic30m",
        "requestor_id=ACME1&mvpd_id=%ff",
        "requestor_id=acme1&mvpd_id=TempPassBasic30m",
        "requestor_id=ACME9&mvpd_id=TempPassBasic30m",
        "requestor_id=+ACME1&mvpd_id=TempPassBasic30m",
        "requestor_id=ACME1&mvpd_id=temppassbasic30m",
        "requestor_id=ACME1&mvpd_id=Nothing",
        "requestor_id=ACME1&mvpd_id=Disabled",
        "requestor_id=EMPTY&mvpd_id=TempPassBasic30m",
        "requestor_id=ACME2&mvpd_id=TempPassPromo1",
    ],
)
@pytest.mark.parametrize("path", [RESET, GENERIC])
def test_what_cannot_be_read_or_is_unknown_is_an_invalid_request(client: TestClient, path: str, query: str) -> None:
    answer = client.delete(f"{path}?{query}")
    body = answer.json()
    assert (answer.status_code, body["error"], body["status"], set(body)) == (
        400, "invalid_request", 400, {"error", "message", "status"},
    )  # fmt: skip
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (RESET, "device_id=a&device_id=a"),
        (RESET, "device_id=a&device_id=all"),
        (RESET, "device_id=&device_id="),
        (RESET, "device%5Fid=a&device_id=b"),
        (RESET, "appId=a&appId=a"),
        (RESET, "deviceUser=a&deviceUser=b"),
        (RESET, "appId=%ff"),
        (RESET, "deviceUser=%ff"),
        (RESET, "device_id=" + "x" * 1025),
        (GENERIC, "key=a&key=b"),
        (GENERIC, "key=all&key=a"),
        (GENERIC, "key=%ff"),
        (GENERIC, "key=" + "x" * 1025),
    ],
)
def test_a_target_that_cannot_be_read_resets_nobody(
    client: TestClient, double: Double, watch: Callable[..., bool], path: str, more: str
) -> None:
    watch()
    double.clock.advance(1_800_000)
    answer = client.delete(f"{path}?{BASIC}&{more}")
    assert (answer.status_code, answer.json()["error"], watch()) == (400, "invalid_request", False)


@pytest.mark.parametrize(
    ("path", "more", "unknown"),
    [
        *(
            (RESET, f"{name}=tv", unquote_plus(name))
            for name in (
                "deviceId", "DEVICE_ID", "device_id[]", "device_id%5B%5D", "amp;device_id", "device-id", "+device_id",
                "device_id%20", "key", "", "device_id%00", "%ff",
            )
        ),
        (RESET, "deviceId", "deviceId"),
        (RESET, "device_id=&deviceId=tv", "deviceId"),
        (RESET, "appId=com.acme.tv&deviceId=tv", "deviceId"),
        *((GENERIC, f"{name}=viewer", name) for name in ("Key", "keys", "hash", "amp;key", "device_id")),
        (GENERIC, "key=&device_id=tv", "device_id"),
    ],
)  # fmt: skip
def test_a_target_that_is_misspelt_resets_nobody(
    client: TestClient, double: Double, watch: Callable[..., bool], path: str, more: str, unknown: str
) -> None:
    """Everybody is who a reset means that names no target, so one that may have meant to name one is refused."""
    watch()
    double.clock.advance(1_800_000)
    answer = client.delete(f"{path}?{BASIC}&{more}")
    target = "key" if path == GENERIC else "device_id"
    told = answer.json()["message"]
    assert (answer.status_code, f"Send {target}" in told, repr(unknown) in told, watch()) == (400, True, True, False)


def test_a_refusal_names_only_so_many_unknown_parameters(client: TestClient) -> None:
    answer = client.delete(f"{RESET}?{BASIC}&" + "&".join(f"{n}{'%00' * 99}=" for n in range(99)))
    assert (answer.status_code, len(answer.content) < 4096) == (400, True)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (RESET, "device_id=all&deviceId=tv"),
        (RESET, "environment=production"),
        (RESET, "appId=&deviceUser="),
        (GENERIC, "key=all&device_id=tv"),
        (GENERIC, "environment=production"),
        (GENERIC, "appId=com.acme.tv&deviceUser=anna"),
    ],
)
def test_everybody_is_meant_where_that_is_said_or_no_parameter_is_unknown(
    client: TestClient, path: str, more: str
) -> None:
    assert client.delete(f"{path}?{BASIC}&{more}").status_code == 204


@pytest.mark.parametrize(
    ("host", "environment", "status"),
    [
        ("mgmt.auth.adobe.com", "production", 204),
        ("mgmt.auth.adobe.com", "Production", 204),
        ("mgmt.auth.adobe.com:443", "PRODUCTION", 204),
        ("mgmt.auth.adobe.com", "", 204),
        ("mgmt.auth.adobe.com", "staging", 400),
        ("MGMT.auth.adobe.com.", "staging", 400),
        ("api.auth.adobe.com", "STAGING", 400),
        ("double.test", "production", 204),
        ("double.test", "Staging", 204),
        ("127.0.0.1:8080", "staging", 204),
        ("[::1]:8080", "staging", 204),
        ("release-production.localhost:8080", "staging", 204),
        ("double.test", "prequal", 400),
        ("double.test", "stag", 400),
    ],
)
@pytest.mark.parametrize("path", [RESET, GENERIC])
def test_environment_agrees_with_a_documented_host(
    client: TestClient, host: str, environment: str, status: int, path: str
) -> None:
    answer = client.delete(f"{path}?{BASIC}&environment={environment}", headers={"Host": host})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("host", "environment", "status"),
    [
        ("mgmt.auth-staging.adobe.com", "staging", 204),
        ("mgmt.auth-staging.adobe.com", "production", 400),
        ("mgmt-prequal.auth-staging.adobe.com", "Staging", 204),
        ("mgmt-prequal.auth-staging.adobe.com", "production", 400),
        ("mgmt-prequal.auth.adobe.com", "production", 204),
        ("mgmt-prequal.auth.adobe.com", "staging", 400),
    ],
)
def test_every_documented_host_has_its_environment_and_profile(
    double: Double,
    bare: TestClient,
    catalogue: str,
    token_of: Callable[..., str],
    host: str,
    environment: str,
    status: int,
) -> None:
    build = "prequal" if "prequal" in host else "release"
    name = f"{build}-{'staging' if 'staging' in host else 'production'}"
    double.apply(catalogue, name)
    headers = {"Host": host, "Authorization": f"Bearer {token_of('resetter', name)}"}
    assert bare.delete(f"{RESET}?{BASIC}&environment={environment}", headers=headers).status_code == status


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic eDp5", "bearer", "eyJ", "Bearer \xff"],
)
def test_without_a_token_there_is_a_challenge(bare: TestClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    answer = bare.delete(f"{RESET}?{BASIC}", headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"], answer.headers["www-authenticate"]) == (
        401, "access_denied", "Bearer",
    )  # fmt: skip


def test_a_token_in_the_query_or_body_is_none(bare: TestClient, token_of: Callable[..., str]) -> None:
    answer = bare.request("DELETE", f"{RESET}?{BASIC}&access_token={token_of('ops')}", content="access_token=x")
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case_and_the_body_no_meaning(
    bare: TestClient, token_of: Callable[..., str], scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {token_of('resetter')}", "Content-Type": "application/json", "Accept": "a/b"}
    answer = bare.request("DELETE", f"{RESET}?{BASIC}&device_id=x", content="{", headers=headers)
    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("application", "requestor", "status", "error"),
    [
        ("player", "ACME1", 403, "insufficient_scope"),
        ("resetter", "ACME2", 403, "insufficient_scope"),
        ("resetter", "ACME9", 400, "invalid_request"),
        ("player", "ACME9", 403, "insufficient_scope"),
    ],
)
def test_an_application_needs_the_scope_and_the_channel(
    bare: TestClient, token_of: Callable[..., str], application: str, requestor: str, status: int, error: str
) -> None:
    headers = {"Authorization": f"Bearer {token_of(application)}"}
    answer = bare.delete(f"{RESET}?requestor_id={requestor}&mvpd_id=TempPassBasic30m", headers=headers)
    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (status, error, status)


def test_a_revoked_application_is_an_invalid_client_at_once(client: TestClient, double: Double) -> None:
    before = client.delete(f"{RESET}?{BASIC}").status_code
    double.revoke("ops")
    after = client.delete(f"{RESET}?{BASIC}")
    assert (before, after.status_code, after.json()["error"]) == (204, 403, "invalid_client")
    assert "www-authenticate" not in after.headers


def test_an_expired_token_is_denied_and_a_revoked_one_too(client: TestClient, double: Double) -> None:
    double.clock.advance(21_600_000)
    double.revoke("ops")
    assert client.delete(f"{RESET}?{BASIC}").json()["error"] == "access_denied"


def test_a_token_is_good_in_its_environment_only(client: TestClient, double: Double, catalogue: str) -> None:
    double.apply(catalogue, "acme")
    answers = [
        client.delete(f"{RESET}?{BASIC}", headers={"Host": host}) for host in ("acme.localhost", "nowhere.localhost")
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(401, "access_denied")] * 2


@pytest.mark.parametrize("path", [RESET, GENERIC])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH"])
def test_only_delete_resets(client: TestClient, path: str, method: str) -> None:
    answer = client.request(method, f"{path}?{BASIC}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, OPTIONS")


@pytest.mark.parametrize("path", [RESET, GENERIC])
def test_the_checks_of_a_reset_have_an_order(
    bare: TestClient, double: Double, token_of: Callable[..., str], path: str
) -> None:
    """All faults at once, then mended one by one (design decision 8.14)."""
    revoked, unscoped, good = token_of("ops"), token_of("player"), token_of("resetter")
    double.revoke("ops")
    steps = [
        ("POST", "", "requestor_id=ACME9&environment=x"),
        ("DELETE", "x", "requestor_id=ACME9&environment=x"),
        ("DELETE", revoked, "requestor_id=ACME9&environment=x"),
        ("DELETE", unscoped, "requestor_id=ACME9&environment=x"),
        ("DELETE", good, "requestor_id=ACME9&environment=x"),
        ("DELETE", good, "requestor_id=ACME9&mvpd_id=Nothing&environment=x"),
        ("DELETE", good, "requestor_id=ACME9&mvpd_id=Nothing"),
        ("DELETE", good, "requestor_id=ACME2&mvpd_id=Nothing"),
        ("DELETE", good, "requestor_id=ACME1&mvpd_id=Nothing"),
        ("DELETE", good, "requestor_id=ACME1&mvpd_id=Disabled"),
        ("DELETE", good, BASIC),
    ]
    answers = [
        bare.request(method, f"{path}?{query}", headers={"Authorization": f"Bearer {token}"})
        for method, token, query in steps
    ]
    assert [answer.status_code for answer in answers] == [405, 401, 403, 403, 400, 400, 400, 403, 400, 400, 204]
    assert [answer.json()["error"] for answer in answers[1:-1]] == [
        "access_denied",
        "invalid_client",
        "insufficient_scope",
        "invalid_request",
        "invalid_request",
        "invalid_request",
        "insufficient_scope",
        "invalid_request",
        "invalid_request",
    ]


# --- retired paths


@pytest.mark.parametrize("version", ["v1", "v2", "v2.1"])
@pytest.mark.parametrize("path", ["reset", "reset/generic", "anything"])
@pytest.mark.parametrize("method", ["DELETE", "GET", "POST", "PUT"])
def test_retired_paths_name_their_successor(bare: TestClient, version: str, path: str, method: str) -> None:
    answer = bare.request(method, f"/reset-tempass/{version}/{path}?{BASIC}", headers={"ApiKey": "x"})
    assert (answer.status_code, answer.headers["link"], answer.json()["error"]) == (
        410, '</reset-tempass/v3/reset>; rel="successor-version"', "gone",
    )  # fmt: skip


def test_permanent_access_tokens_are_gone(bare: TestClient) -> None:
    assert bare.post("/oauth2/permanent_accesstoken").status_code == 410


@pytest.mark.parametrize(
    "path",
    ["/reset-tempass/v3/", "/reset-tempass/v3/reset/all", "/reset-tempass/v4/reset", "/reset-temppass/v3/reset"],
)
def test_other_paths_are_unknown(client: TestClient, path: str) -> None:
    answer = client.delete(f"{path}?{BASIC}")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
