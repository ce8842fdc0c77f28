"""
`/.well-known/oauth-authorization-server`: what a standard client needs to know, told of the URL that it asked.

Source: RFC 8414 §2, §3.
"""

from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double, build

METADATA = "/.well-known/oauth-authorization-server"


def test_metadata_name_every_endpoint_under_the_url_that_was_asked(bare: TestClient) -> None:
    answer = bare.get(METADATA)
    assert answer.json() == {
        "issuer": "http://double.test",
        "token_endpoint": "http://double.test/o/client/token",
        "registration_endpoint": "http://double.test/o/client/register",
        "introspection_endpoint": "http://double.test/o/client/introspect",
        "jwks_uri": "http://double.test/.well-known/jwks.json",
        "scopes_supported": ["api:client:v2", "temporary:passes:owner"],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_post"],
    }
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json;charset=UTF-8")


def test_the_client_alone_may_keep_them(bare: TestClient) -> None:
    """The host is what the one who asks says it is, so a cache of many must not tell it to the others."""
    assert bare.get(METADATA).headers["cache-control"] == "private, max-age=300"


@pytest.mark.parametrize(
    ("host", "issuer"),
    {
        "sp.auth-staging.adobe.com": "http://sp.auth-staging.adobe.com",
        "acme.localhost:8080": "http://acme.localhost:8080",
        "ACME.localhost.": "http://ACME.localhost.",
        "[::1]:8080": "http://[::1]:8080",
        "nowhere.localhost": "http://nowhere.localhost",
    }.items(),
)
def test_the_issuer_is_the_host_as_the_client_has_it(bare: TestClient, host: str, issuer: str) -> None:
    told = bare.get(METADATA, headers={"Host": host}).json()
    assert (told["issuer"], told["token_endpoint"]) == (issuer, f"{issuer}/o/client/token")


@pytest.mark.parametrize(
    "more",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-URL": "https://evil.example/"},
    ],
)
def test_no_header_but_host_says_where_the_endpoints_are(bare: TestClient, more: dict[str, str]) -> None:
    assert bare.get(METADATA, headers=more).json() == bare.get(METADATA).json()


@pytest.mark.parametrize("host", ["a b", "double.test/", "user@double.test", "double.test#x", '"><script>'])
def test_what_is_no_host_gets_no_metadata(bare: TestClient, host: str) -> None:
    answer = bare.get(METADATA, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_every_endpoint_that_is_named_is_served(double: Double, bare: TestClient) -> None:
    told: dict[str, Any] = bare.get(METADATA).json()
    named = {url.removeprefix(told["issuer"]) for name, url in told.items() if name.endswith(("_endpoint", "_uri"))}
    assert named <= {route.path for route in double.app.routes}


def test_a_port_of_the_control_api_alone_tells_nothing_of_it() -> None:
    double = build()
    double.app.keep_control_to(8081)
    statuses = [
        TestClient(double.app, base_url=f"http://double.test:{port}").get(METADATA).status_code for port in (8080, 8081)
    ]
    assert statuses == [200, 404]


def test_behind_a_proxy_that_ends_tls_every_url_is_what_the_client_has() -> None:
    double = build(TEMPPASS_HTTPS="1")
    http = TestClient(double.app, base_url="http://tp.example")
    told = http.get(METADATA).json()
    help_url = http.get("/api/v2/ACME1/configuration").json()["helpUrl"]
    assert (told["issuer"], told["token_endpoint"], help_url.partition("/help/")[0]) == (
        "https://tp.example",
        "https://tp.example/o/client/token",
        "https://tp.example",
    )
