"""
Environments share nothing, and a change holds for the very next request.

Source: design §2, §3, §6 and decisions 8.4, 8.10, 8.12, 8.13, 8.15; contract §2.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.core.refusal import InvalidRequest
from temppass.storage.memory import MemoryStore
from temppass.testing import Double
from temppass.web.host import host_of

T0 = 1_767_261_600_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
BASIC = "/api/v2/ACME1/decisions/authorize/TempPassBasic30m"
RESET = "/reset-tempass/v3/reset?requestor_id=ACME1&mvpd_id=TempPassBasic30m"
R1 = {"resources": ["R1"]}

Header = Callable[..., dict[str, str]]
Verdict = Callable[[Any], str]


# --- environments


@pytest.mark.parametrize(
    ("host", "environment"),
    [
        ("double.test", "release-production"),
        ("localhost:8080", "release-production"),
        ("sp.auth.adobe.com", "release-production"),
        ("release-production.localhost", "release-production"),
        ("sp.auth-staging.adobe.com", "release-staging"),
        ("mgmt.auth-staging.adobe.com:443", "release-staging"),
        ("SP-Prequal.auth.adobe.com", "prequal-production"),
        ("api-prequal.auth-staging.adobe.com", "prequal-staging"),
        ("acme.localhost", "acme"),
        ("ACME.localhost:8080", "acme"),
        ("acme.localhost.", "acme"),
        ("a.acme.localhost", "release-production"),
        ("acme.localhost.evil.example", "release-production"),
    ],
)
def test_the_host_names_the_environment(
    bare: TestClient, double: Double, catalogue: str, token_of: Callable[..., str], host: str, environment: str
) -> None:
    if environment != "release-production":
        double.apply(catalogue, environment)
    headers = {"Host": host, "Authorization": f"Bearer {token_of('ops', environment)}"}
    assert bare.get("/api/v2/ACME1/configuration", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "a", "a.", "A-b_c~d.example", "192.0.2.1:80", "a:", "a:0", "a:65535", "[::1]", "[::1]:8080",
        "[2001:DB8::192.0.2.1]", "a%2Db", "!$&'()*+,;=", "a" * 253 + ".:65535",
    ],
)  # fmt: skip
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert host_of([host.encode()], b"/", "1.1") == host


@pytest.mark.parametrize(
    "host",
    [
        "", " ", ":80", "a b", "a\tb", "a/", "a?b", "a#b", "a@b", "a\\b", "a:b", "a:80:80", "a:-1", "a:65536",
        "a:000080", "::1", "[", "[]", "[::1", "::1]", "[::1]a", "[a]", "[1.2.3.4]", "[::1%25eth0]", "a%", "a%2", "a%zz",
        '"a"', "<a>", "a|b", "{a}", "ä", "\x00", "a\r\n b", "\x0ba", "a" * 261, "[" + ":" * 300,
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequest):
        host_of([host.encode("latin-1")], b"/", "1.1")


@pytest.mark.parametrize(
    "target",
    [b"http:///", b"http://", b"https://:80/", b"http://a b/", b"http://a@b/", b"http:a", b"a", b"ws://a/", b""],
)
def test_a_target_is_a_path_or_a_url_of_ours(target: bytes) -> None:
    with pytest.raises(InvalidRequest):
        host_of([b"a"], target, "1.1")


def at(double: Double, target: str) -> TestClient:
    """Answer a client whose requests have a target in absolute form, at this host, beside a `Host` of another."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        await double.app({**scope, "target": target.encode() + scope["raw_path"] + query}, receive, send)

    return TestClient(app, base_url="http://mgmt.auth.adobe.com")


def test_all_that_depends_on_the_host_goes_by_the_target(
    double: Double, catalogue: str, token_of: Callable[..., str]
) -> None:
    double.apply(catalogue.replace("acme.example", "other.example"), "release-staging")
    headers = {"Authorization": f"Bearer {token_of('ops', 'release-staging')}", "Origin": "https://other.example"}
    client = at(double, "http://mgmt.auth-staging.adobe.com:8080")
    resets = [client.delete(f"{RESET}&environment={name}", headers=headers) for name in ("staging", "production")]
    refused = client.get("/api/v2/ACME1/configuration").json()
    assert (
        [answer.status_code for answer in resets],
        resets[0].headers["Access-Control-Allow-Origin"],
        refused["helpUrl"].partition("/help/")[0],
    ) == ([204, 400], "https://other.example", "http://mgmt.auth-staging.adobe.com:8080")


def test_environments_share_nothing(
    verdict: Verdict, client: TestClient, double: Double, catalogue: str, device: Header, token_of: Callable[..., str]
) -> None:
    double.apply(catalogue.replace('ttl = "30m"', 'ttl = "1h"'), "acme")
    there = {"Host": "acme.localhost", **device(DEVICE)}
    form = {"grant_type": "client_credentials"}
    made = client.post("/o/client/register", json={"software_statement": double.mint("ops")}).json()
    form |= {name: made[name] for name in ("client_id", "client_secret")}
    foreign = [
        client.post(BASIC, json=R1, headers=there),
        client.get("/api/v2/ACME1/configuration", headers=there),
        client.delete(RESET, headers=there),
        client.post("/o/client/register", json={"software_statement": double.mint("ops")}, headers=there),
        client.post("/o/client/token", data=form, headers=there),
    ]
    assert [verdict(answer) for answer in foreign] == [
        "invalid_access_token_client_application",
        "invalid_access_token_client_application",
        "access_denied",
        "invalid_software_statement",
        "invalid_client",
    ]
    there["Authorization"] = f"Bearer {token_of('ops', 'acme')}"
    client.post(BASIC, json=R1)
    double.clock.advance(1_800_000)
    code = client.post("/api/v2/ACME1/sessions").json()["code"]
    begun = client.post(BASIC, json=R1, headers=there).json()["decisions"][0]
    client.delete(RESET, headers=there)
    ids = [
        client.get(
            "/api/v2/ACME1/profiles/TempPassPromo5", headers={**where, "AP-TempPass-Identity": "eyJlbWFpbCI6IngifQ"}
        ).json()["profiles"]["TempPassPromo5"]["attributes"]["userID"]["value"]
        for where in ({}, there)
    ]
    keys = [client.get("/.well-known/jwks.json", headers=where).json()["keys"] for where in ({}, there)]
    assert verdict(client.get(f"/api/v2/ACME1/sessions/{code}", headers=there)) == "invalid_authentication_session"
    assert verdict(client.post(BASIC, json=R1)) == "temporary_access_duration_limit_exceeded"
    assert (begun["notBefore"], begun["notAfter"]) == (T0 + 1_800_000, T0 + 1_800_000 + 3_600_000)
    assert ids[0] != ids[1]
    assert not {key["kid"] for key in keys[0]} & {key["kid"] for key in keys[1]}


def test_a_revocation_stays_in_its_environment(
    verdict: Verdict, client: TestClient, double: Double, catalogue: str, device: Header, token_of: Callable[..., str]
) -> None:
    double.apply(catalogue, "acme")
    there = {"Host": "acme.localhost", **device(DEVICE), "Authorization": f"Bearer {token_of('ops', 'acme')}"}
    double.revoke("ops", "acme")
    assert (verdict(client.post(BASIC, json=R1)), client.post(BASIC, json=R1, headers=there).status_code) == (
        "permit",
        401,
    )


def test_a_request_never_creates_an_environment(verdict: Verdict, client: TestClient, double: Double) -> None:
    nowhere = {"Host": "nowhere.localhost"}
    answers = [
        client.post("/o/client/register", json={"software_statement": double.mint("ops")}, headers=nowhere),
        client.post(
            "/o/client/token",
            data={"client_id": "a", "client_secret": "b", "grant_type": "client_credentials"},
            headers=nowhere,
        ),
        client.post(BASIC, json=R1, headers=nowhere),
        client.delete(RESET, headers=nowhere),
        client.get("/api/v2/authenticate/ACME1/AAAAAAA", headers=nowhere),
    ]
    assert [verdict(answer) for answer in answers] == [
        "invalid_software_statement",
        "invalid_client",
        "invalid_access_token_client_application",
        "access_denied",
        "invalid_parameter_service_provider",
    ]
    assert asyncio.run(double.application.store.environments()) == ["release-production"]


# --- changes count at once

AUTHENTICATED = [
    ("POST", "/api/v2/ACME1/decisions/authorize/TempPassBasic30m"),
    ("POST", "/api/v2/ACME1/decisions/preauthorize/TempPassBasic30m"),
    ("GET", "/api/v2/ACME1/profiles/TempPassBasic30m"),
    ("GET", "/api/v2/ACME1/profiles"),
    ("GET", "/api/v2/ACME1/profiles/code/{code}"),
    ("GET", "/api/v2/ACME1/configuration"),
    ("POST", "/api/v2/ACME1/sessions"),
    ("POST", "/api/v2/ACME1/sessions/{code}"),
    ("GET", "/api/v2/ACME1/sessions/{code}"),
    ("GET", "/api/v2/ACME1/logout"),
    ("GET", "/api/v2/ACME1/logout/TempPassBasic30m"),
    ("DELETE", RESET),
]
OPS_ALONE = """
[[application]]
id = "ops"
channels = "all"
scopes = ["temporary:passes:owner", "api:client:v2"]
"""


def leave_and_return(double: Double, catalogue: str) -> None:
    double.apply("")
    double.apply(catalogue)


CHANGES: list[tuple[str, Callable[[Double, str], None], int, str, int, str]] = [
    (
        "revoked",
        lambda double, _: double.revoke("ops"),
        401, "invalid_access_token_client_application", 403, "invalid_client",
    ),
    (
        "application removed",
        lambda double, catalogue: double.apply(catalogue.replace('id = "ops"', 'id = "other"')),
        401, "invalid_access_token_client_application", 403, "invalid_client",
    ),
    (
        "application removed and declared again",
        leave_and_return,
        401, "invalid_access_token_client_application", 403, "invalid_client",
    ),
    (
        "scopes taken",
        lambda double, catalogue: double.apply(
            catalogue.replace('scopes = ["temporary:passes:owner", "api:client:v2"]', "scopes = []")
        ),
        401, "invalid_access_token_client_application", 403, "insufficient_scope",
    ),
    (
        "channel taken",
        lambda double, catalogue: double.apply(catalogue.replace('channels = "all"', 'channels = ["ACME2"]')),
        401, "invalid_access_token_service_provider", 403, "insufficient_scope",
    ),
    (
        "channel removed",
        lambda double, catalogue: double.apply(catalogue.partition("[[channel]]")[0] + OPS_ALONE),
        400, "invalid_parameter_service_provider", 400, "invalid_request",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), AUTHENTICATED)
@pytest.mark.parametrize(("change", "v2_status", "v2_code", "status", "error"), [row[1:] for row in CHANGES])
def test_a_change_holds_for_the_very_next_request(
    verdict: Verdict,
    client: TestClient,
    double: Double,
    catalogue: str,
    method: str,
    path: str,
    change: Callable[[Double, str], None],
    v2_status: int,
    v2_code: str,
    status: int,
    error: str,
) -> None:
    target = path.format(code=client.post("/api/v2/ACME1/sessions").json()["code"])
    content = json.dumps(R1) if "decisions" in path else ""
    before = client.request(method, target, content=content).status_code
    change(double, catalogue)
    after = client.request(method, target, content=content)
    assert before in {200, 204}
    assert (after.status_code, verdict(after)) == ((status, error) if method == "DELETE" else (v2_status, v2_code))


def test_an_integration_that_is_disabled_is_gone_at_once(
    verdict: Verdict, client: TestClient, double: Double, catalogue: str
) -> None:
    listed = client.get("/api/v2/ACME1/configuration").json()["requestor"]["mvpds"]
    double.apply(
        catalogue.replace('channels = ["ACME1", "ACME2"]', 'channels = [{ id = "ACME1", enabled = false }, "ACME2"]')
    )
    after = client.get("/api/v2/ACME1/configuration").json()["requestor"]["mvpds"]
    assert [mvpd["id"] for mvpd in listed if mvpd not in after] == ["TempPassBasic30m"]
    assert [verdict(client.post(BASIC, json=R1)), verdict(client.delete(RESET))] == [
        "invalid_integration",
        "invalid_request",
    ]


def test_a_new_application_and_pass_are_there_at_once(
    verdict: Verdict, client: TestClient, double: Double, catalogue: str, token_of: Callable[..., str]
) -> None:
    path = "/api/v2/ACME1/decisions/authorize/New"
    before = verdict(client.post(path, json=R1))
    more = '[[pass]]\nid="New"\nkind="basic"\nttl="1m"\nchannels=["ACME1"]\n'
    more += '[[application]]\nid="late"\nchannels=["ACME1"]\nscopes=["api:client:v2"]\n'
    double.apply(catalogue + more)
    headers = {"Authorization": f"Bearer {token_of('late')}"}
    assert (before, verdict(client.post(path, json=R1, headers=headers))) == ("invalid_parameter_mvpd", "permit")


# --- recurring resets


MIDNIGHT = 1_767_330_000_000  # 2026-01-02T00:00 in New York
DAILY = "/api/v2/ACME2/decisions/authorize/Daily"


def test_a_recurring_reset_fires_at_midnight_of_the_channel(
    verdict: Verdict, client: TestClient, double: Double, token_of: Callable[..., str]
) -> None:
    asked = []
    for now in (
        T0,
        T0 + 600_000,
        MIDNIGHT - 1,
        MIDNIGHT,
        MIDNIGHT + 600_000,
        MIDNIGHT + 86_399_999,
        MIDNIGHT + 86_400_000,
    ):
        double.clock.now = now
        headers = {"Authorization": f"Bearer {token_of('ops')}"}
        asked.append(verdict(client.post(DAILY, json=R1, headers=headers)))
    over = "temporary_access_duration_limit_exceeded"
    assert asked == ["permit", over, over, "permit", over, over, "permit"]


@pytest.mark.parametrize("ticks", [0, 1, 3])
def test_a_tick_fires_what_nobody_asked_about_and_only_once(
    verdict: Verdict, client: TestClient, double: Double, token_of: Callable[..., str], ticks: int
) -> None:
    client.post(DAILY, json=R1)
    double.clock.now = MIDNIGHT + 1
    for _ in range(ticks):
        asyncio.run(double.application.service.upkeep.tick())
    headers = {"Authorization": f"Bearer {token_of('ops')}"}
    begun = client.post(DAILY, json=R1, headers=headers).json()["decisions"][0]
    for _ in range(ticks):
        asyncio.run(double.application.service.upkeep.tick())
    double.clock.advance(600_000)
    assert (begun["notBefore"], verdict(client.post(DAILY, json=R1, headers=headers))) == (
        MIDNIGHT + 1,
        "temporary_access_duration_limit_exceeded",
    )


def test_a_tick_sweeps_dead_sessions(client: TestClient, double: Double) -> None:
    client.post("/api/v2/ACME1/sessions")
    store = double.application.store
    assert isinstance(store, MemoryStore)
    kept = []
    for wait_ms in (1_799_999, 1):
        double.clock.advance(wait_ms)
        asyncio.run(double.application.service.upkeep.tick())
        kept.append(len(store._kept))
    assert kept == [1, 0]
