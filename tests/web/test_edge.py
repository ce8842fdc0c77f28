"""
What holds for every route: health, keys, CORS, unknown paths, bounds, a store that is away.

Source: design §6 and decisions 8.13, 8.17; contract §6.10.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import adopt

from temppass.core.secret import Secret
from temppass.service import serve_from
from temppass.storage.memory import MemoryStore
from temppass.store import StoreUnavailable
from temppass.testing import Double
from temppass.web.app import Edge

BASIC = "/api/v2/ACME1/decisions/authorize/TempPassBasic30m"
RESET = "/reset-tempass/v3/reset?requestor_id=ACME1&mvpd_id=TempPassBasic30m"
R1 = {"resources": ["R1"]}

Verdict = Callable[[Any], str]


# --- our own routes


def test_health_and_readiness(bare: TestClient) -> None:
    answers = [bare.get(path) for path in ("/healthz", "/readyz")]
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"status": "ok"}),
        (200, {"status": "ready"}),
    ]


def test_metrics_count_requests_by_endpoint_and_status(client: TestClient) -> None:
    for _ in range(3):
        client.post(BASIC, json=R1)
    client.get(BASIC)
    client.get("/nothing/here")
    answer = client.get("/metrics")
    lines = set(answer.text.splitlines())
    assert answer.headers["content-type"].startswith("text/plain")
    assert {
        'temppass_requests_total{endpoint="authorize",status="200"} 3.0',
        'temppass_requests_total{endpoint="authorize",status="405"} 1.0',
        'temppass_requests_total{endpoint="none",status="404"} 1.0',
        'temppass_decisions_total{verdict="permit"} 3.0',
    } <= lines


def test_the_published_keys_are_the_public_halves(bare: TestClient) -> None:
    answer = bare.get("/.well-known/jwks.json")
    keys = answer.json()["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [("RSA", "RS256", "sig"), ("EC", "ES256", "sig")]
    assert not any({"d", "p", "q", "dp", "dq", "qi", "k"} & set(key) for key in keys)
    assert len({key["kid"] for key in keys}) == 2


def test_an_environment_that_does_not_exist_has_no_keys(bare: TestClient) -> None:
    answer = bare.get("/.well-known/jwks.json", headers={"Host": "nowhere.localhost"})
    assert (answer.status_code, answer.json()) == (200, {"keys": []})


@pytest.mark.parametrize(
    "code", ["invalid_integration", "too_many_resources", "temporary_access_duration_limit_exceeded"]
)
def test_every_code_has_a_page(bare: TestClient, code: str) -> None:
    assert (bare.get(f"/help/{code}").status_code, bare.get(f"/help/{code}s").status_code) == (200, 404)


# --- CORS


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://acme.example", True),
        ("https://play.acme.example", True),
        ("https://a.b.acme.example:8443", True),
        ("https://ops.example", True),
        ("https://two.example", True),
        ("http://localhost", True),
        ("http://localhost:3000", True),
        ("https://localhost:3000", True),
        ("http://acme.example", False),
        ("http://app.localhost:3000", False),
        ("https://notacme.example", False),
        ("https://acme.example.evil.example", False),
        ("https://evil.example", False),
        ("https://acme.example@evil.example", False),
        ("https://acme.example/path", False),
        ("https://evil.example#.acme.example", False),
        ("https://evil.example\\.acme.example", False),
        ("chrome-extension://acme.example", False),
        ("https://acme.example https://evil.example", False),
        ("https://[", False),
        ("null", False),
        ("*", False),
        ("", False),
    ],
)
def test_only_pages_of_the_environment_may_read_an_answer(
    bare: TestClient,
    origin: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    named = ("origin", "credentials", "methods")
    expected = dict(zip(named, (origin, "true", "POST,GET,OPTIONS,DELETE"), strict=True))
    for method, path in [("GET", "/.well-known/jwks.json"), ("OPTIONS", BASIC), ("GET", "/nothing"), ("PUT", BASIC)]:
        headers = bare.request(method, path, headers={"Origin": origin}).headers
        cors = {name: headers.get(f"access-control-allow-{name}") for name in named}
        assert cors == (expected if allowed else dict.fromkeys(named))
        assert headers.get("vary") == ("Origin" if origin else None)


@pytest.mark.parametrize("path", [BASIC, "/o/client/token", "/reset-tempass/v3/reset", "/.well-known/jwks.json"])
def test_a_preflight_lists_what_clients_send(bare: TestClient, path: str) -> None:
    asked = {
        "Origin": "https://acme.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, ap-device-identifier",
    }
    answer = bare.options(path, headers=asked)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert (answer.status_code, answer.content) == (204, b"")
    assert allowed >= {
        "authorization", "content-type", "ap-session-identifier", "ap-device-identifier", "ap-sdk-identifier",
        "x-device-info", "pass_sfp", "ap-temppass-identity", "ap-visitor-identifier", "x-forwarded-for",
    }  # fmt: skip
    assert int(answer.headers["access-control-max-age"]) > 0


def test_a_page_may_read_the_headers_of_a_reset(client: TestClient) -> None:
    headers = client.delete(RESET, headers={"Origin": "https://acme.example"}).headers
    exposed = {name.strip() for name in headers["access-control-expose-headers"].split(",")}
    assert exposed >= {
        "pass_sfp", "Authzf-Error-Code", "Authzf-Sub-Error-Code", "Authzf-Error-Details",
        "TempPass-Reset-Id", "TempPass-Matched",
    }  # fmt: skip


def test_origins_belong_to_their_environment(bare: TestClient, double: Double, catalogue: str) -> None:
    double.apply(catalogue.replace("acme.example", "other.example"), "acme")
    asked = [
        (host, bare.get("/healthz", headers={"Host": host, "Origin": f"https://{origin}"}).headers)
        for host in ("double.test", "acme.localhost", "nowhere.localhost")
        for origin in ("acme.example", "other.example")
    ]
    assert [host for host, headers in asked if "access-control-allow-origin" in headers] == [
        "double.test",
        "acme.localhost",
    ]
    double.apply(catalogue.replace("acme.example", "new.example"))
    assert "access-control-allow-origin" in bare.get("/healthz", headers={"Origin": "https://new.example"}).headers


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (BASIC, "OPTIONS, POST"),
        ("/api/v2/ACME1/sessions/AAAAAAA", "GET, HEAD, OPTIONS, POST"),
        ("/reset-tempass/v3/reset", "DELETE, OPTIONS"),
        ("/api/v2/ACME1/configuration", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_says_what_a_path_takes(bare: TestClient, path: str, allow: str) -> None:
    answer = bare.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allow)


# --- paths and bounds


def sent(double: Double, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Send a request with exactly this path, which no client would."""
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "headers": [(b"host", b"double.test")],
        "server": ("double.test", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    answered: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answered.append(message)

    asyncio.run(double.app(scope, receive, send))
    return answered[0]["status"], b"".join(message.get("body", b"") for message in answered[1:])


@pytest.mark.parametrize(
    ("accept", "media_type", "begins"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<!doctype html>"),
        ("application/json", "application/json;charset=UTF-8", '{"name":"temppass","what":"'),
        ("*/*", "application/json;charset=UTF-8", '{"name":"temppass","what":"'),
    ],
)
def test_the_front_page_says_what_this_is_and_where_to_go(
    client: TestClient, accept: str, media_type: str, begins: str
) -> None:
    answer = client.get("/", headers={"Accept": accept})
    paths = ["/openapi.json", "/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"]
    shown = (answer.status_code, answer.headers["content-type"], answer.headers["vary"], answer.text[: len(begins)])
    assert (*shown, [path for path in paths if path not in answer.text]) == (200, media_type, "Accept", begins, [])


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "",
        "/nothing",
        "/api/v2",
        "/api/v2/ACME1",
        "/api/v1/authorize",
        "/api/v2/ACME1/decisions/authorize/TempPassBasic30m/more",
        "/API/v2/ACME1/configuration",
        "/healthz/",
        "/x/../healthz",
        "/./healthz",
        "//healthz",
        "/api/v2/ACME1/../ACME1/configuration",
        "/api/v2/ACME1/./configuration",
        "/o/client/../client/register",
        "/reset-tempass/v3/../v3/reset",
        "/api/v2/ACME1/configuration//",
        "/\u2028",
        "/nothing\ufffd",
    ],
)
def test_an_unknown_path_is_a_404_in_json_and_dots_are_kept(double: Double, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        status, body = sent(double, path, method)
        assert (status, {**json.loads(body), "message": "…"}) == (
            404,
            {"error": "not_found", "message": "…", "status": 404},
        )


def test_a_dot_is_an_id_like_any_other(client: TestClient, double: Double) -> None:
    status, body = sent(double, "/api/v2/../configuration")
    assert (status, json.loads(body)["code"]) == (401, "invalid_access_token_client_application")


POSTS = [
    BASIC,
    "/api/v2/ACME1/decisions/preauthorize/X",
    "/api/v2/ACME1/sessions",
    "/o/client/register",
    "/o/client/token",
]


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_64_kib_is_too_large_declared_or_not(client: TestClient, path: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(65):
            yield b"x" * 1024

    answers = [client.post(path, content=body) for body in (b"x" * 65_537, chunks())]
    assert [(answer.status_code, answer.json()["error"], answer.headers["connection"]) for answer in answers] == [
        (413, "content_too_large", "close")
    ] * 2


def test_a_body_of_64_kib_is_read_however_it_comes(verdict: Verdict, client: TestClient) -> None:
    whole = json.dumps(R1).encode().ljust(65_536)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(whole), 1000):
            yield whole[start : start + 1000]

    assert [verdict(client.post(BASIC, content=body)) for body in (whole, chunks())] == ["permit", "permit"]


# --- a store that is away


class Away(MemoryStore):
    """A store that answers until it is unplugged."""

    unplugged = False

    async def transact(self, *arguments: Any) -> Any:
        if self.unplugged:
            raise StoreUnavailable("unplugged")
        return await super().transact(*arguments)

    async def ping(self) -> None:
        if self.unplugged:
            raise StoreUnavailable("unplugged")


@pytest.fixture
def away(client: TestClient, double: Double) -> TestClient:
    """The client of `client`, at a node whose store has just gone away."""
    store = Away()
    adopt(store, asyncio.run(double.application.store.load("release-production")))
    secret = Secret(b"a secret of the tests, long enough to be one")
    service = serve_from(store, secret, clock=double.clock)
    there = TestClient(Edge(service), base_url="http://double.test", headers=dict(client.headers))
    assert there.get("/api/v2/ACME1/configuration").status_code == 200
    store.unplugged = True
    return there


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://acme.example"}])
@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("GET", "/readyz", "temporarily_unavailable"),
        ("GET", "/api/v2/ACME1/configuration", "internal_server_error"),
        ("GET", "/api/v2/ACME1/profiles/TempPassBasic30m", "internal_server_error"),
        ("DELETE", RESET, "temporarily_unavailable"),
        (
            "POST",
            "/o/client/token?client_id=a&client_secret=b&grant_type=client_credentials",
            "temporarily_unavailable",
        ),
    ],
)
def test_a_store_that_is_away_is_a_503(
    verdict: Verdict, away: TestClient, method: str, path: str, word: str, origin: dict[str, str]
) -> None:
    answer = away.request(method, path, headers=origin)
    assert (answer.status_code, verdict(answer), int(answer.headers["retry-after"]) > 0) == (503, word, True)


@pytest.mark.parametrize("kind", ["authorize", "preauthorize"])
def test_a_decision_that_takes_too_long_is_an_item(
    away: TestClient, steady: Callable[[Any], Any], enhanced: Callable[[str], dict[str, Any]], kind: str
) -> None:
    answer = away.post(f"/api/v2/ACME1/decisions/{kind}/TempPassBasic30m", json={"resources": ["R1", "R2"]})
    common = {"serviceProvider": "ACME1", "mvpd": "TempPassBasic30m", "source": "temppass", "authorized": False}
    error = enhanced("maximum_execution_time_exceeded")
    assert (answer.status_code, steady(answer.json())) == (
        200,
        {"decisions": [{"resource": title, **common, "error": error} for title in ("R1", "R2")]},
    )


def test_a_process_without_its_store_is_alive(away: TestClient) -> None:
    answers = [away.get(path, headers={"Origin": "https://acme.example"}) for path in ("/healthz", "/metrics")]
    assert [answer.status_code for answer in answers] == [200, 200]
