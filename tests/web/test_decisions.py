"""
Authorize and preauthorize: shapes, codes on both levels, titles, trials, the order of checks.

Source: contract §4 and §6.1-6.3, §7.1, design decisions 8.3, 8.5 and 8.15.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

T0 = 1_767_261_600_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
AUTHORIZE = "/api/v2/ACME1/decisions/authorize"
PREAUTHORIZE = "/api/v2/ACME1/decisions/preauthorize"
BASIC = f"{AUTHORIZE}/TempPassBasic30m"
R1 = {"resources": ["R1"]}

Header = Callable[..., dict[str, str]]
Enhanced = Callable[[str], dict[str, Any]]
Steady = Callable[[Any], Any]
Codes = Callable[[Any], list[str]]


# --- shapes


@pytest.mark.parametrize("mvpd", ["TempPassBasic30m", "TempPassPromo5"])
def test_a_permit(client: TestClient, identity: Header, steady: Steady, mvpd: str) -> None:
    answer = client.post(f"{AUTHORIZE}/{mvpd}", json=R1, headers=identity("user@domain.com"))
    ttl_ms = {"TempPassBasic30m": 1_800_000, "TempPassPromo5": 28 * 86_400_000}[mvpd]
    assert steady(answer.json()) == {
        "decisions": [
            {
                "resource": "R1",
                "serviceProvider": "ACME1",
                "mvpd": mvpd,
                "source": "temppass",
                "authorized": True,
                "token": {"notBefore": T0, "notAfter": T0 + 420_000, "serializedToken": "…"},
                "notBefore": T0,
                "notAfter": T0 + ttl_ms,
            }
        ]
    }
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json;charset=UTF-8")


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
def test_a_denial_is_an_item_inside_200(
    client: TestClient, double: Double, steady: Steady, enhanced: Enhanced, path: str
) -> None:
    client.post(BASIC, json=R1)
    double.clock.advance(1_800_000)
    answer = client.post(f"{path}/TempPassBasic30m", json={"resources": ["R1", "R2"]})
    assert steady(answer.json()) == {
        "decisions": [
            {
                "resource": resource,
                "serviceProvider": "ACME1",
                "mvpd": "TempPassBasic30m",
                "source": "temppass",
                "authorized": False,
                "error": enhanced("temporary_access_duration_limit_exceeded"),
            }
            for resource in ("R1", "R2")
        ]
    }
    assert answer.status_code == 200


def test_a_preauthorize_shows_neither_token_nor_window(client: TestClient, identity: Header) -> None:
    resources = ["ACME-LIVE", "ACME-KIDS"]
    body = {"resources": resources}
    answer = client.post(f"{PREAUTHORIZE}/TempPassPromo5", json=body, headers=identity("viewer"))
    common = {"serviceProvider": "ACME1", "mvpd": "TempPassPromo5", "source": "temppass", "authorized": True}
    assert answer.json() == {"decisions": [{"resource": resource, **common} for resource in resources]}


def test_the_help_url_explains_the_code(client: TestClient) -> None:
    error = client.post(f"{AUTHORIZE}/Nothing", json=R1).json()
    page = client.get(error["helpUrl"])
    assert (page.status_code, page.text.partition("\n")[0]) == (200, "invalid_parameter_mvpd")


# --- the order of checks


def test_the_checks_of_an_authorize_have_an_order(
    codes: Codes,
    client: TestClient,
    bare: TestClient,
    double: Double,
    token_of: Callable[..., str],
    device: Header,
    identity: Header,
) -> None:
    """All faults at once, then mended one by one (contract §6.2)."""
    client.post(f"{AUTHORIZE}/TempPassPromo1", json=R1, headers=identity("viewer"))
    double.clock.advance(3_600_000)
    good = {"Authorization": f"Bearer {token_of('player')}"}
    known = {**good, **device(DEVICE)}
    unfit, six, two, one = {"resources": 5}, {"resources": ["R"] * 6}, {"resources": ["R", "S"]}, {"resources": ["R"]}
    steps: list[tuple[str, str, dict[str, str], Any]] = [
        ("GET", "ACME9/decisions/authorize/Nothing", {}, unfit),
        ("POST", "ACME9/decisions/authorize/Nothing", {}, unfit),
        ("POST", "ACME9/decisions/authorize/Nothing", good, unfit),
        ("POST", "ACME2/decisions/authorize/Nothing", good, unfit),
        ("POST", "ACME1/decisions/authorize/Nothing", good, unfit),
        ("POST", "ACME1/decisions/authorize/Nothing", known, unfit),
        ("POST", "ACME1/decisions/authorize/Nothing", known, six),
        ("POST", "ACME1/decisions/authorize/Disabled", known, six),
        ("POST", "ACME1/decisions/authorize/NoMax", known, two),
        ("POST", "ACME1/decisions/authorize/NoMax", known, one),
        ("POST", "ACME1/decisions/authorize/TempPassPromo1", known, two),
        ("POST", "ACME1/decisions/authorize/TempPassPromo1", known | identity("viewer"), two),
        ("POST", "ACME1/decisions/authorize/TempPassPromo1", {**known, **identity("v"), **device(b"x")}, two),
    ]
    answers = [bare.request(method, f"/api/v2/{path}", headers=h, json=body) for method, path, h, body in steps]
    assert answers[0].status_code == 405
    assert [codes(answer) for answer in answers[1:]] == [
        ["401 invalid_access_token_client_application"],
        ["400 invalid_parameter_service_provider"],
        ["401 invalid_access_token_service_provider"],
        ["400 invalid_header_device_identifier"],
        ["400 invalid_parameter_resources"],
        ["400 invalid_parameter_mvpd"],
        ["400 invalid_integration"],
        ["403 too_many_resources"],
        ["invalid_configuration_temporary_access"],
        ["invalid_header_identity_for_temporary_access"] * 2,
        ["temporary_access_duration_limit_exceeded"] * 2,
        ["permit", "temporary_access_resources_limit_exceeded"],
    ]


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
@pytest.mark.parametrize(
    ("mvpd", "resources", "code"),
    [
        ("Nothing", ["R"], "invalid_parameter_mvpd"),
        ("", ["R"], "invalid_parameter_mvpd"),
        ("temppassbasic30m", ["R"], "invalid_parameter_mvpd"),
        ("Disabled", ["R"], "invalid_integration"),
        ("Daily", ["R"], "invalid_integration"),
        ("TempPassBasic30m", [], "invalid_parameter_resources"),
        ("TempPassBasic30m", ["R"] * 6, "too_many_resources"),
        ("TempPassPromo1", ["R"] * 3, "too_many_resources"),
    ],
)
def test_a_refusal_is_the_whole_body(
    client: TestClient, steady: Steady, enhanced: Enhanced, path: str, mvpd: str, resources: list[str], code: str
) -> None:
    answer = client.post(f"{path}/{mvpd}", json={"resources": resources})
    assert (answer.status_code, steady(answer.json())) == (enhanced(code)["status"], enhanced(code))
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
@pytest.mark.parametrize(
    ("mvpd", "code"),
    [
        ("NoTtl", "invalid_configuration_temporary_access"),
        ("NoMax", "invalid_configuration_temporary_access"),
        ("NoKey", "invalid_configuration_temporary_access"),
        ("TempPassPromo1", "invalid_header_identity_for_temporary_access"),
    ],
)
def test_an_unusable_pass_or_identity_is_an_item(
    client: TestClient, steady: Steady, enhanced: Enhanced, path: str, mvpd: str, code: str
) -> None:
    answer = client.post(f"{path}/{mvpd}", json=R1, headers={"AP-TempPass-Identity": "?"})
    decision = answer.json()["decisions"][0]
    assert (answer.status_code, decision["authorized"], decision["source"]) == (200, False, "temppass")
    assert steady(decision["error"]) == enhanced(code)


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_decisions_take_post_only(client: TestClient, path: str, method: str) -> None:
    answer = client.request(method, f"{path}/TempPassBasic30m")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


# --- titles


def encoded(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "title",
    [
        "R1",
        " ",
        "a,b",
        "x" * 2048,
        "é" * 1024,
        "😀" * 512,
        "\u0000",
        "\uffff",
        '<rss version="2.0"><channel><title>ACME</title></channel></rss>',
    ],
)
def test_every_text_within_bounds_is_a_title(client: TestClient, title: str) -> None:
    decisions = client.post(BASIC, json={"resources": [title]}).json()["decisions"]
    assert [(decision["resource"], decision["authorized"]) for decision in decisions] == [(title, True)]


@pytest.mark.parametrize("path", [AUTHORIZE, PREAUTHORIZE])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'["R1"]',
        b"{}",
        b'{"resource":["R1"]}',
        b'{"resources":null}',
        b'{"resources":"R1"}',
        b'{"resources":[]}',
        b'{"resources":{"0":"R1"}}',
        b'{"resources":[""]}',
        b'{"resources":["R1",""]}',
        b'{"resources":[5]}',
        b'{"resources":[null]}',
        b'{"resources":["R1",{"id":"R2"}]}',
        b'{"resources":["\\ud800"]}',
        b'{"resources":["R1","\\udfff\\ud800"]}',
        b'{"resources":["\xff"]}',
        b'{"resources":["' + b"x" * 2049 + b'"]}',
        '{{"resources":["{}"]}}'.format("é" * 1025).encode(),
        b'{"resources":' + b"[" * 50_000,
        b"resources=R1",
    ],
)
def test_anything_else_is_no_list_of_titles(codes: Codes, client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(f"{path}/TempPassBasic30m", content=body, headers={"Content-Type": "application/json"})
    assert codes(answer) == ["400 invalid_parameter_resources"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json;charset=utf-8"},
        {"Content-Type": "application/json"},
        {},
        {"Content-Type": "text/plain"},
        {"Accept": "application/json;charset=utf-8"},
        {"Accept": "text/html"},
        {"X-Device-Info": "{broken"},
        {"X-Device-Info": encoded({"model": 5})},
        {"X-Device-Info": encoded(["a"])},
        {"X-Device-Info": encoded(b'{"applicationId":"\\ud800"}')},
        {"X-Forwarded-For": "203.0.113.24, 10.0.0.1", "AP-Visitor-Identifier": "x", "Adobe-Subject-Token": "y"},
        {"User-Agent": "\u00e9"},
    ],
)
def test_other_headers_never_fail_a_decision(codes: Codes, client: TestClient, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in {**client.headers, **headers}.items()]
    assert codes(client.post(BASIC, content=b'{"resources":["R1"],"more":{}}', headers=raw)) == ["permit"]


def test_titles_are_decided_in_order_until_they_are_used_up(codes: Codes, client: TestClient, identity: Header) -> None:
    titles = ["R5", "R1", "R5", "R2", "R3"]
    first = client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": titles}, headers=identity("v"))
    then = client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": ["R4", "R6", "R1"]}, headers=identity("v"))
    assert [decision["resource"] for decision in first.json()["decisions"]] == titles
    assert (codes(first), codes(then)) == (
        ["permit"] * 5,
        ["permit", "temporary_access_resources_limit_exceeded", "permit"],
    )


def test_a_preauthorize_judges_each_title_alone_and_consumes_nothing(
    codes: Codes, client: TestClient, double: Double, identity: Header
) -> None:
    two = {"resources": ["R1", "R2"]}
    asked = [codes(client.post(f"{PREAUTHORIZE}/TempPassPromo1", json=two, headers=identity("v"))) for _ in range(2)]
    double.clock.advance(3_600_000)
    begun = client.post(f"{AUTHORIZE}/TempPassPromo1", json={"resources": ["R2"]}, headers=identity("v")).json()
    assert asked == [["permit", "permit"]] * 2
    assert begun["decisions"][0]["notBefore"] == T0 + 3_600_000


@pytest.mark.parametrize(
    ("path", "mvpd", "count"),
    [(AUTHORIZE, "TempPassBasic30m", 5), (PREAUTHORIZE, "TempPassBasic30m", 5), (AUTHORIZE, "TempPassPromo1", 2)],
)
def test_the_most_titles_of_one_call_are_decided(
    codes: Codes, client: TestClient, identity: Header, path: str, mvpd: str, count: int
) -> None:
    body = {"resources": ["R"] * count}
    assert codes(client.post(f"{path}/{mvpd}", json=body, headers=identity("v"))) == ["permit"] * count


# --- trials


def test_both_limits_passed_report_time_first(
    codes: Codes, client: TestClient, double: Double, identity: Header
) -> None:
    client.post(f"{AUTHORIZE}/TempPassPromo1", json=R1, headers=identity("v"))
    double.clock.advance(3_600_000)
    answer = client.post(f"{AUTHORIZE}/TempPassPromo1", json={"resources": ["R2"]}, headers=identity("v"))
    assert codes(answer) == ["temporary_access_duration_limit_exceeded"]


@pytest.mark.parametrize(
    ("device_id", "user_key", "verdict"),
    [
        (b"new", "new", "permit"),
        (b"new", "known", "temporary_access_resources_limit_exceeded"),
        (b"known", "new", "temporary_access_resources_limit_exceeded"),
        (b"known", "known", "temporary_access_resources_limit_exceeded"),
    ],
)
def test_a_promotional_trial_is_found_by_device_or_key(
    codes: Codes, client: TestClient, device: Header, identity: Header, device_id: bytes, user_key: str, verdict: str
) -> None:
    """The table of contract §4.2, and the attachment of whoever was not known."""
    path = f"{AUTHORIZE}/TempPassPromo1"
    client.post(path, json=R1, headers=device(b"known") | identity("known"))
    answer = client.post(path, json={"resources": ["R2"]}, headers=device(device_id) | identity(user_key))
    again = client.post(path, json=R1, headers=device(device_id) | identity(user_key))
    expected = "permit" if verdict != "permit" else "temporary_access_resources_limit_exceeded"
    assert (codes(answer), codes(again)) == ([verdict], [expected])


def test_nothing_is_shared_across_channels_or_passes(
    codes: Codes, client: TestClient, double: Double, identity: Header
) -> None:
    client.post(BASIC, json=R1)
    double.clock.advance(1_800_000)
    others = ["/api/v2/ACME2/decisions/authorize/TempPassBasic30m", f"{AUTHORIZE}/TempPassPromo1", BASIC]
    answers = [codes(client.post(path, json=R1, headers=identity("v"))) for path in others]
    assert answers == [["permit"], ["permit"], ["temporary_access_duration_limit_exceeded"]]


def test_a_later_change_of_the_ttl_does_not_move_the_end(client: TestClient, double: Double, catalogue: str) -> None:
    client.post(BASIC, json=R1)
    double.apply(catalogue.replace('ttl = "30m"', 'ttl = "1m"'))
    double.clock.advance(1_799_999)
    last = client.post(BASIC, json=R1).json()["decisions"][0]
    assert (last["notBefore"], last["notAfter"]) == (T0 + 1_799_999, T0 + 1_800_000)
