"""
Sessions, and the redirect of `authenticate`.

Source: contract §6.8 and §12 #24, design decisions 8.15 and 8.16.
"""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from temppass.core.model import Device, Session
from temppass.core.refusal import Refusal
from temppass.service.context import Caller
from temppass.service.decisions import Viewer
from temppass.service.sessions import SessionForm
from temppass.storage.memory import MemoryStore
from temppass.testing import Double

T0 = 1_767_261_600_000
HALF_HOUR = 1_800_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
SESSIONS = "/api/v2/ACME1/sessions"
BACK = "https://play.acme.example/back?from=tv"
#: the vector of contract §11.1
DEVICE_INFO = {
    "X-Device-Info": "eyJwcmltYXJ5SGFyZHdhcmVUeXBlIjoiU2V0VG9wQm94IiwibW9kZWwiOiJCb3ggT25lIiwidmVyc2lvbiI6IjMuMSIsIm1h"
    "bnVmYWN0dXJlciI6IkFjbWUiLCJvc05hbWUiOiJMaW51eCIsIm9zVmVyc2lvbiI6IjUuMTUiLCJjb25uZWN0aW9uVHlwZSI6IkxBTiIsImNvbm5l"
    "Y3Rpb25JcCI6IjIwMy4wLjExMy4yNCIsImNvbm5lY3Rpb25Qb3J0IjoiNTE1NDQifQ=="
}

Header = Callable[..., dict[str, str]]
Enhanced = Callable[[str], dict[str, Any]]
Steady = Callable[[Any], Any]

DIRECT = {
    "actionName": "authorize",
    "actionType": "direct",
    "reasonType": "temporary",
    "url": "/api/v2/ACME1/decisions/authorize/TempPassBasic30m",
    "sessionId": "…",
    "mvpd": "TempPassBasic30m",
    "serviceProvider": "ACME1",
}


def version(major: int = 0, minor: int = 0) -> dict[str, Any]:
    return {"major": major, "minor": minor, "patch": 0, "profile": ""}


def waiting(action: str, code: str, missing: list[str]) -> dict[str, Any]:
    return {
        "actionName": action,
        "actionType": "direct",
        "reasonType": "none",
        "url": f"/api/v2/ACME1/sessions/{code}",
        "missingParameters": missing,
        "code": "…",
        "sessionId": "…",
        "serviceProvider": "ACME1",
        "notBefore": str(T0),
        "notAfter": str(T0 + HALF_HOUR),
    }


def opened(client: TestClient, **form: str) -> str:
    return str(client.post(SESSIONS, data=form).json()["code"])


# --- create


@pytest.mark.parametrize("path", [SESSIONS, f"{SESSIONS}/"])
@pytest.mark.parametrize(
    "more",
    [{}, {"domainName": "nowhere.example"}, {"redirectUrl": "not a url"}, {"redirectUrl": "https://evil.example"}],
)
def test_temp_pass_goes_straight_to_authorize(
    client: TestClient, steady: Steady, path: str, more: dict[str, str]
) -> None:
    answer = client.post(path, data={"mvpd": "TempPassBasic30m", **more})
    assert (answer.status_code, steady(answer.json())) == (200, DIRECT)


def test_a_session_begins_no_trial_and_looks_at_none(client: TestClient, double: Double, steady: Steady) -> None:
    client.post("/api/v2/ACME1/decisions/authorize/TempPassBasic30m", json={"resources": ["R1"]})
    double.clock.advance(HALF_HOUR)
    answer = client.post(SESSIONS, data={"mvpd": "TempPassBasic30m"})
    unusable = client.post(SESSIONS, data={"mvpd": "NoTtl"})
    assert (steady(answer.json()), unusable.status_code) == (DIRECT, 200)


@pytest.mark.parametrize(
    ("form", "missing"),
    [
        ({}, ["mvpd", "domain", "redirectUrl"]),
        ({"mvpd": "", "domainName": "", "redirectUrl": ""}, ["mvpd", "domain", "redirectUrl"]),
        ({"domainName": "acme.example"}, ["mvpd", "redirectUrl"]),
        ({"domain": "acme.example"}, ["mvpd", "redirectUrl"]),
        ({"redirectUrl": BACK}, ["mvpd", "domain"]),
        ({"redirectUrl": BACK, "domainName": "acme.example", "unknown": "x"}, ["mvpd"]),
    ],
)
def test_what_is_missing_is_asked_for(
    client: TestClient, steady: Steady, form: dict[str, str], missing: list[str]
) -> None:
    answer = client.post(SESSIONS, data=form)
    code = answer.json()["code"]
    assert (answer.status_code, steady(answer.json())) == (200, waiting("resume", code, missing))
    assert code.isalnum()
    assert (len(code), code.upper()) == (7, code)


def test_every_session_has_a_code_of_its_own(client: TestClient) -> None:
    assert len({opened(client) for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "redirect_url",
    [
        "not a url",
        "/back",
        "//acme.example/back",
        "https://evil.example/back",
        "https://acme.example.evil.example",
        "https://acme.example@evil.example/",
        "ftp://acme.example/",
        "javascript:alert(1)",
        "https://two.example/",
        "https://ops.example/",
    ],
)
def test_a_redirect_url_leads_to_a_domain_of_the_channel(
    client: TestClient, steady: Steady, enhanced: Enhanced, redirect_url: str
) -> None:
    code = opened(client)
    answers = [client.post(path, data={"redirectUrl": redirect_url}) for path in (SESSIONS, f"{SESSIONS}/{code}")]
    expected = (400, enhanced("invalid_parameter_redirect_url"))
    assert [(answer.status_code, steady(answer.json())) for answer in answers] == [expected, expected]


@pytest.mark.parametrize(("mvpd", "code"), [("Nothing", "invalid_parameter_mvpd"), ("Disabled", "invalid_integration")])
def test_an_unknown_pass_is_refused(
    client: TestClient, steady: Steady, enhanced: Enhanced, mvpd: str, code: str
) -> None:
    session = opened(client)
    answers = [client.post(path, data={"mvpd": mvpd}) for path in (SESSIONS, f"{SESSIONS}/{session}")]
    answers.append(client.get(f"/api/v2/ACME1/logout/{mvpd}"))
    assert [(answer.status_code, steady(answer.json())) for answer in answers] == [(400, enhanced(code))] * 3


def test_the_checks_of_a_session_have_an_order(
    bare: TestClient, double: Double, token_of: Callable[..., str], device: Header
) -> None:
    good = {"Authorization": f"Bearer {token_of('player')}"}
    known = {**good, **device(DEVICE)}
    steps: list[tuple[str, str, dict[str, str], str]] = [
        ("PUT", "ACME9/sessions/-", {}, "Nothing"),
        ("POST", "ACME9/sessions/-", {}, "Nothing"),
        ("POST", "ACME9/sessions/-", good, "Nothing"),
        ("POST", "ACME2/sessions/-", good, "Nothing"),
        ("POST", "ACME1/sessions", good, "Nothing"),
        ("POST", "ACME1/sessions/-", known, "Nothing"),
        ("POST", "ACME1/sessions/AAAAAAA", known, "Nothing"),
        ("POST", "ACME1/sessions/AAAAAAA", known, "Disabled"),
        ("POST", "ACME1/sessions/AAAAAAA", known, "TempPassBasic30m"),
    ]
    answers = [
        bare.request(method, f"/api/v2/{path}", headers=headers, data={"mvpd": mvpd})
        for method, path, headers, mvpd in steps
    ]
    assert [(answer.status_code, answer.json().get("code")) for answer in answers] == [
        (405, None),
        (401, "invalid_access_token_client_application"),
        (400, "invalid_parameter_service_provider"),
        (401, "invalid_access_token_service_provider"),
        (400, "invalid_header_device_identifier"),
        (400, "invalid_parameter_code"),
        (400, "invalid_parameter_mvpd"),
        (400, "invalid_integration"),
        (400, "invalid_authentication_session"),
    ]


# --- resume


@pytest.mark.parametrize("path", [SESSIONS + "/{}", "/api/v2/sessions/ACME1/{}", SESSIONS + "/{}/"])
def test_a_session_is_resumed_until_a_pass_is_chosen(
    client: TestClient, double: Double, steady: Steady, path: str
) -> None:
    first = client.post(SESSIONS, data={"domainName": "acme.example"}).json()
    double.clock.advance(1_000)
    still = client.post(path.format(first["code"].lower()), data={"redirectUrl": BACK})
    chosen = client.post(path.format(first["code"]), data={"mvpd": "TempPassBasic30m"})
    later = client.post(path.format(first["code"]))
    assert (still.status_code, steady(still.json())) == (200, waiting("retry", first["code"], ["mvpd"]))
    assert (steady(chosen.json()), steady(later.json())) == (DIRECT, DIRECT)
    assert {answer.json()["sessionId"] for answer in (still, chosen, later)} == {first["sessionId"]}


@pytest.mark.parametrize("header", [None, "fingerprint cGhvbmU=", "fingerprint", "fingerprint !", "", "x" * 4096])
def test_a_second_screen_resumes_whatever_it_says_of_its_own_device(
    client: TestClient, bare: TestClient, steady: Steady, header: str | None
) -> None:
    """It cannot know the first one's device id (contract §6.8); whose trial it is the session says."""
    code = opened(client)
    headers = {"Authorization": client.headers["Authorization"]}
    headers |= {"AP-Device-Identifier": header} if header is not None else {}
    first = client.get("/api/v2/ACME1/profiles/TempPassBasic30m").json()
    resumed = bare.post(f"{SESSIONS}/{code}", data={"mvpd": "TempPassBasic30m"}, headers=headers)
    shown = client.get(f"/api/v2/ACME1/profiles/code/{code}").json()
    assert (resumed.status_code, steady(resumed.json()), shown) == (200, DIRECT, first)


@pytest.mark.parametrize(("method", "form"), [("GET", None), ("POST", {"mvpd": "TempPassBasic30m"}), ("POST", {})])
def test_a_session_ends_after_half_an_hour_and_keeps_to_its_channel(
    client: TestClient, double: Double, method: str, form: dict[str, str] | None
) -> None:
    code = opened(client)
    paths = [f"/api/v2/{channel_id}/sessions/{code}" for channel_id in ("ACME2", "ACME1", "ACME1")]
    asked = []
    for path, wait_ms in zip(paths, (0, HALF_HOUR - 1, 1), strict=True):
        double.clock.advance(wait_ms)
        answer = client.request(method, path, data=None if "ACME2" in path else form)
        asked.append(answer.json().get("code") if answer.status_code == 400 else answer.status_code)
    assert asked == ["invalid_authentication_session", 200, "invalid_authentication_session"]


@pytest.mark.parametrize(
    ("code", "expected"), [("AAAAAAA", "invalid_authentication_session"), ("A", "invalid_parameter_code")]
)
@pytest.mark.parametrize("path", [SESSIONS + "/{}", "/api/v2/sessions/ACME1/{}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_code_is_malformed_or_unknown(
    client: TestClient, steady: Steady, enhanced: Enhanced, method: str, path: str, code: str, expected: str
) -> None:
    answer = client.request(method, path.format(code))
    assert (answer.status_code, steady(answer.json())) == (400, enhanced(expected))


# --- look at one


@pytest.mark.parametrize("path", [SESSIONS + "/{}", "/api/v2/sessions/ACME1/{}"])
def test_a_second_screen_sees_what_a_session_has_and_lacks(
    client: TestClient, bare: TestClient, double: Double, path: str
) -> None:
    code = client.post(SESSIONS, data={"domainName": "acme.example"}, headers=DEVICE_INFO).json()["code"]
    double.clock.advance(5_000)
    second_screen = {"Authorization": client.headers["Authorization"]}
    before = bare.get(path.format(code), headers=second_screen)
    client.post(
        path.format(code), data={"mvpd": "TempPassBasic30m", "redirectUrl": BACK}, headers={"X-Device-Info": "?"}
    )
    after = bare.get(path.format(code.lower()), headers=second_screen)
    assert (before.status_code, before.json()) == (
        200,
        {
            "existingParameters": {
                "domain": "acme.example",
                "domainName": "acme.example",
                "serviceProvider": "ACME1",
            },
            "missingParameters": ["mvpd", "redirectUrl"],
            "device": {
                "type": "SetTopBox",
                "model": "Box One",
                "version": version(3, 1),
                "hardware": {"name": "Box One", "vendor": None, "manufacturer": "Acme", "version": version(3, 1)},
                "operatingSystem": {"name": "Linux", "family": None, "vendor": None, "version": version(5, 15)},
                "browser": {
                    "name": None,
                    "vendor": None,
                    "version": version(),
                    "userAgent": "testclient",
                    "originalUserAgent": "testclient",
                },
                "display": {
                    "width": 0,
                    "height": 0,
                    "ppi": 0,
                    "name": None,
                    "vendor": None,
                    "diagonalSize": 0,
                    "version": version(),
                },
                "applicationId": None,
                "connection": {"type": "LAN", "secure": False, "port": "51544"},
            },
            "notBefore": str(T0),
            "notAfter": str(T0 + HALF_HOUR),
        },
    )
    whole = before.json() | {
        "existingParameters": {
            "mvpd": "TempPassBasic30m",
            "domain": "acme.example",
            "domainName": "acme.example",
            "redirectUrl": BACK,
            "serviceProvider": "ACME1",
        },
    }
    del whole["missingParameters"]
    assert after.json() == whole


def test_a_session_tells_nobody_the_device_id(client: TestClient) -> None:
    assert DEVICE.decode() not in client.get(f"{SESSIONS}/{opened(client)}").text


def test_no_address_is_kept_of_a_session(client: TestClient, double: Double) -> None:
    """Neither of `connectionIp` in the vector nor of the connection."""
    client.post(SESSIONS, headers={**DEVICE_INFO, "X-Forwarded-For": "203.0.113.25"})
    store = double.application.store
    assert isinstance(store, MemoryStore)
    assert re.findall(r"203\.0|ip_?address", str(store._kept), re.IGNORECASE) == []


# --- bounds


def test_an_application_opens_so_many_sessions_a_second(
    client: TestClient, bare: TestClient, double: Double, token_of: Callable[..., str], device: Header
) -> None:
    """Others go on, what needs no session too, and so does the application a moment later."""
    at_once = [client.post(SESSIONS).status_code for _ in range(501)]
    refused = client.post(SESSIONS)
    player = {"Authorization": f"Bearer {token_of('player')}", **device(DEVICE)}
    others = [
        bare.post(SESSIONS, headers=player).status_code,
        client.post(SESSIONS, data={"mvpd": "TempPassBasic30m"}).status_code,
    ]
    double.clock.advance(20)
    later = [client.post(SESSIONS).status_code for _ in range(2)]
    assert (at_once, others, later) == ([200] * 500 + [429], [200, 200], [200, 429])
    assert (refused.headers["retry-after"], refused.json()) == (
        "1",
        {
            "error": "too_many_requests",
            "message": "Application 'ops' opens over 50 sessions a second; wait a second and try again.",
            "status": 429,
        },
    )


def test_a_device_is_described_only_where_a_session_is_kept(
    client: TestClient, double: Double, token_of: Callable[..., str]
) -> None:
    """To read a User-Agent can be made to take 4 ms: not for who has no token, nor for who opens too many."""
    described: list[Device] = []

    def describe() -> Device:
        described.append(Device())
        return described[-1]

    def opening(token: str | None, form: SessionForm) -> str:
        caller = Caller("release-production", token, "ACME1")
        try:
            asyncio.run(double.application.service.sessions.create(caller, Viewer(DEVICE), form, describe))
        except Refusal as refusal:
            return type(refusal).__name__
        return "kept" if described else "not kept"

    token = token_of("player")
    outcomes = [opening(None, SessionForm()), opening(token, SessionForm("TempPassBasic30m"))]
    outcomes += [opening(token, SessionForm()) for _ in range(501)]
    assert (outcomes[:3], outcomes[-1], len(described)) == (
        ["InvalidToken", "not kept", "kept"],
        "TooManySessions",
        500,
    )


@pytest.mark.parametrize("text", ["x" * 60_000, "\x00" * 20_000, "\N{TELEVISION}" * 5_000])
def test_a_session_keeps_little_whatever_it_is_told(client: TestClient, double: Double, text: str) -> None:
    """Of a form, and of a device in the largest head that is taken."""
    info = json.dumps(dict.fromkeys(["model", "vendor", "osName", "applicationId"], text[:256]), ensure_ascii=False)
    told = {"X-Device-Info": base64.b64encode(info.encode()).decode(), "User-Agent": "x" * 20_000}
    code = client.post(SESSIONS, data={"domainName": text}, headers=told).json()["code"]
    url = f"https://acme.example/{text}"
    resumed = client.post(f"{SESSIONS}/{code}", data={"mvpd": "TempPassBasic30m", "redirectUrl": url})
    store = double.application.store
    assert isinstance(store, MemoryStore)
    (kept,) = store._kept.values()
    session = msgspec.json.decode(kept.document, type=Session)
    assert (resumed.status_code, session.pass_id, session.domain, session.redirect_url) == (
        200,
        "TempPassBasic30m",
        None,
        None,
    )
    assert len(kept.document) < 4_096


@pytest.mark.parametrize(("length", "missing"), [(253, []), (254, ["domain"])])
def test_a_domain_is_as_long_as_one_can_be(client: TestClient, length: int, missing: list[str]) -> None:
    answer = client.post(SESSIONS, data={"domainName": "d" * length}).json()
    assert answer["missingParameters"] == ["mvpd", *missing, "redirectUrl"]


# --- authenticate


@pytest.fixture
def destination(client: TestClient, bare: TestClient) -> Callable[..., tuple[int, str | None]]:
    """Open a session, choose a pass, and tell where a browser is sent, or the code of the refusal."""

    def go(path: str = "/api/v2/authenticate/ACME1/{}", **form: str) -> tuple[int, str | None]:
        code = opened(client)
        client.post(f"{SESSIONS}/{code}", data=form)
        answer = bare.get(path.format(code))
        return answer.status_code, answer.headers.get("location") or answer.json()["code"]

    return go


@pytest.mark.parametrize("path", ["/api/v2/authenticate/ACME1/{}", "/api/v2/ACME1/authenticate/{}"])
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"mvpd": "TempPassBasic30m", "redirectUrl": BACK}, (302, BACK)),
        ({"mvpd": "TempPassBasic30m", "redirectUrl": "http://acme.example/"}, (302, "http://acme.example/")),
        ({"mvpd": "TempPassBasic30m"}, (400, "invalid_parameter_redirect_url")),
        ({"mvpd": "TempPassBasic30m", "redirectUrl": "https://evil.example"}, (400, "invalid_parameter_redirect_url")),
        ({"mvpd": "TempPassBasic30m", "redirectUrl": "//acme.example"}, (400, "invalid_parameter_redirect_url")),
        ({"mvpd": "TempPassBasic30m", "redirectUrl": "javascript:0"}, (400, "invalid_parameter_redirect_url")),
        (
            {"mvpd": "TempPassBasic30m", "redirectUrl": "https://acme.example\r\nSet-Cookie: a"},
            (400, "invalid_parameter_redirect_url"),
        ),
        ({"redirectUrl": BACK}, (400, "invalid_parameter_mvpd")),
    ],
)
def test_a_browser_is_sent_to_a_listed_domain_only(
    destination: Callable[..., tuple[int, str | None]], path: str, form: dict[str, str], expected: tuple[int, str]
) -> None:
    assert destination(path, **form) == expected


def test_a_domain_that_is_listed_no_more_is_no_destination(
    destination: Callable[..., tuple[int, str | None]], double: Double, catalogue: str
) -> None:
    double.apply(catalogue.replace('domains = ["acme.example", "localhost"]', ""))
    assert destination(mvpd="TempPassBasic30m", redirectUrl=BACK) == (400, "invalid_parameter_redirect_url")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("ACME9/-", "invalid_parameter_service_provider"),
        ("ACME1/-", "invalid_parameter_code"),
        ("ACME1/AAAAAAA", "invalid_authentication_session"),
    ],
)
def test_a_browser_without_a_session_goes_nowhere(bare: TestClient, path: str, code: str) -> None:
    answer = bare.get(f"/api/v2/authenticate/{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("field", "code"), [("mvpd", "invalid_parameter_mvpd"), ("redirectUrl", "invalid_parameter_redirect_url")]
)
def test_a_text_that_is_too_long_is_refused_and_not_missing(client: TestClient, field: str, code: str) -> None:
    answer = client.post(SESSIONS, data={field: "https://acme.example/" + "x" * 3000})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
