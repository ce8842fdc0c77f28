"""
Profiles: by pass, by authentication code, and the list that never holds a Temp Pass.

Source: contract §4.5 and §6.4-6.6, design decisions 8.15 and 8.16.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double
from temppass.web.v2 import TITLES_BYTES_MAX

T0 = 1_767_261_600_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
PROFILES = "/api/v2/ACME1/profiles"
AUTHORIZE = "/api/v2/ACME1/decisions/authorize"
HALF_HOUR, HOUR, MONTH = 1_800_000, 3_600_000, 28 * 86_400_000

Header = Callable[..., dict[str, str]]
Enhanced = Callable[[str], dict[str, Any]]
Steady = Callable[[Any], Any]


def shape(mvpd: str, started_at: int, expires_at: int, **promotional: Any) -> dict[str, Any]:
    values = {**promotional, "expiration_date": expires_at, "userID": "temppass_…"}
    return {
        "profiles": {
            mvpd: {
                "notBefore": started_at,
                "notAfter": expires_at,
                "issuer": "Adobe",
                "type": "temporary",
                "attributes": {name: {"value": value, "state": "plain"} for name, value in values.items()},
            }
        }
    }


# --- of a pass


def test_a_profile_before_any_authorize_is_projected_each_time_anew(
    client: TestClient, double: Double, steady: Steady, identity: Header
) -> None:
    asked = []
    for _ in range(2):
        basic = client.get(f"{PROFILES}/TempPassBasic30m")
        promotional = client.get(f"{PROFILES}/TempPassPromo5", headers=identity("viewer"))
        asked.append((basic.status_code, steady(basic.json()), steady(promotional.json())))
        double.clock.advance(1)
    assert asked == [
        (
            200,
            shape("TempPassBasic30m", now, now + HALF_HOUR),
            shape("TempPassPromo5", now, now + MONTH, remaining_resources=5, used_assets=[]),
        )
        for now in (T0, T0 + 1)
    ]


def test_a_profile_shows_the_trial_that_was_begun(client: TestClient, double: Double, steady: Steady) -> None:
    client.post(f"{AUTHORIZE}/TempPassBasic30m", json={"resources": ["R1"]})
    double.clock.advance(HALF_HOUR - 1)
    last = client.get(f"{PROFILES}/TempPassBasic30m")
    double.clock.advance(1)
    after = client.get(f"{PROFILES}/TempPassBasic30m")
    assert (last.status_code, steady(last.json())) == (200, shape("TempPassBasic30m", T0, T0 + HALF_HOUR))
    assert (after.status_code, after.json()["code"]) == (403, "temporary_access_duration_limit_exceeded")
    assert last.headers["content-type"] == "application/json;charset=UTF-8"


def test_a_promotional_profile_counts_titles(
    client: TestClient, double: Double, steady: Steady, identity: Header, token_of: Callable[..., str]
) -> None:
    path, headers = f"{PROFILES}/TempPassPromo5", identity("viewer")
    titles = ["ACME-FILM-1", "ACME-FILM-2", "ACME-FILM-1"]
    client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": titles}, headers=headers)
    two = steady(client.get(path, headers=headers).json())
    client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": ["R3", "R4", "R5"]}, headers=headers)
    five = client.get(path, headers=headers)
    double.clock.advance(MONTH)
    over = client.get(path, headers=headers | {"Authorization": f"Bearer {token_of('ops')}"})
    assert two == shape(
        "TempPassPromo5", T0, T0 + MONTH, remaining_resources=3, used_assets=["ACME-FILM-1", "ACME-FILM-2"]
    )
    assert [(answer.status_code, answer.json()["code"]) for answer in (five, over)] == [
        (403, "temporary_access_resources_limit_exceeded"),
        (403, "temporary_access_duration_limit_exceeded"),
    ]


def test_a_header_tells_where_a_trial_stands_in_every_case(
    client: TestClient, double: Double, identity: Header, token_of: Callable[..., str]
) -> None:
    """Over or used up, it is the only place where window and titles are."""
    path, headers, told = f"{PROFILES}/TempPassPromo5", identity("viewer"), []
    for watched in ([], ["FILM, 1", "\u00fc"], ["R3", "R4", "R5"], "a month later"):
        if isinstance(watched, list) and watched:
            client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": watched}, headers=headers)
        elif watched:
            double.clock.advance(MONTH)
            headers = headers | {"Authorization": f"Bearer {token_of('ops')}"}
        answer = client.get(path, headers=headers)
        told.append((answer.status_code, answer.headers["TempPass-Trial"], answer.headers["TempPass-Titles"]))
    window, two = f"started_at={T0}; expires_at={T0 + MONTH}", "FILM%2C%201, %C3%BC"
    assert told == [
        (200, f"state=new; {window}; used=0; resources_max=5", ""),
        (200, f"state=running; {window}; used=2; resources_max=5", two),
        (403, f"state=used_up; {window}; used=5; resources_max=5", f"{two}, R3, R4, R5"),
        (403, f"state=over; {window}; used=5; resources_max=5", f"{two}, R3, R4, R5"),
    ]


def test_the_header_of_a_basic_pass_has_no_titles_and_a_pass_without_ttl_has_none(client: TestClient) -> None:
    told = [client.get(f"{PROFILES}/{mvpd}").headers for mvpd in ("TempPassBasic30m", "NoTtl")]
    assert [(headers.get("TempPass-Trial"), headers.get("TempPass-Titles")) for headers in told] == [
        (f"state=new; started_at={T0}; expires_at={T0 + HALF_HOUR}", None),
        (None, None),
    ]


def test_a_header_of_titles_is_of_bounded_length(client: TestClient, identity: Header) -> None:
    headers, long = identity("viewer"), "x" * (TITLES_BYTES_MAX // 2)
    titles = [f"{number}{long}"[:2048] for number in range(3)]
    client.post(f"{AUTHORIZE}/TempPassPromo5", json={"resources": titles}, headers=headers)
    answer = client.get(f"{PROFILES}/TempPassPromo5", headers=headers)
    assert (answer.headers["TempPass-Titles"], "used=3" in answer.headers["TempPass-Trial"]) == (titles[0], True)


@pytest.mark.parametrize(
    ("mvpd", "identity_header", "code"),
    [
        ("Nothing", None, "invalid_parameter_mvpd"),
        ("Disabled", None, "invalid_integration"),
        ("Daily", None, "invalid_integration"),
        ("NoTtl", None, "invalid_configuration_temporary_access"),
        ("NoMax", None, "invalid_configuration_temporary_access"),
        ("NoKey", None, "invalid_configuration_temporary_access"),
        ("TempPassPromo5", None, "invalid_header_identity_for_temporary_access"),
        ("TempPassPromo5", "?", "invalid_header_identity_for_temporary_access"),
    ],
)
def test_an_error_of_a_profile_is_the_whole_body_with_its_own_status(
    client: TestClient, steady: Steady, enhanced: Enhanced, mvpd: str, identity_header: str | None, code: str
) -> None:
    headers = {"AP-TempPass-Identity": identity_header} if identity_header else {}
    answer = client.get(f"{PROFILES}/{mvpd}", headers=headers)
    assert (answer.status_code, steady(answer.json())) == (enhanced(code)["status"], enhanced(code))


def test_the_checks_of_a_profile_have_an_order(
    client: TestClient, bare: TestClient, double: Double, token_of: Callable[..., str], device: Header, identity: Header
) -> None:
    """All faults at once, then mended one by one (contract §6.2)."""
    client.post(f"{AUTHORIZE}/TempPassPromo1", json={"resources": ["R1"]}, headers=identity("viewer"))
    double.clock.advance(HOUR)
    good = {"Authorization": f"Bearer {token_of('player')}"}
    known = {**good, **device(DEVICE)}
    steps: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "ACME9/profiles/Nothing", {}),
        ("GET", "ACME9/profiles/Nothing", {}),
        ("GET", "ACME9/profiles/Nothing", good),
        ("GET", "ACME2/profiles/Nothing", good),
        ("GET", "ACME1/profiles/Nothing", good),
        ("GET", "ACME1/profiles/Nothing", known),
        ("GET", "ACME1/profiles/Disabled", known),
        ("GET", "ACME1/profiles/NoMax", known),
        ("GET", "ACME1/profiles/TempPassPromo1", known),
        ("GET", "ACME1/profiles/TempPassPromo1", known | identity("viewer")),
        ("GET", "ACME1/profiles/TempPassPromo1", {**known, **identity("new"), **device(b"new")}),
    ]
    answers = [bare.request(method, f"/api/v2/{path}", headers=headers) for method, path, headers in steps]
    assert [(answer.status_code, answer.json().get("code")) for answer in answers] == [
        (405, None),
        (401, "invalid_access_token_client_application"),
        (400, "invalid_parameter_service_provider"),
        (401, "invalid_access_token_service_provider"),
        (400, "invalid_header_device_identifier"),
        (400, "invalid_parameter_mvpd"),
        (400, "invalid_integration"),
        (500, "invalid_configuration_temporary_access"),
        (400, "invalid_header_identity_for_temporary_access"),
        (403, "temporary_access_duration_limit_exceeded"),
        (200, None),
    ]


def test_a_basic_profile_ignores_the_identity(client: TestClient) -> None:
    assert client.get(f"{PROFILES}/TempPassBasic30m", headers={"AP-TempPass-Identity": "?"}).status_code == 200


def test_the_user_id_goes_by_device_alone(client: TestClient, device: Header, identity: Header) -> None:
    asked = [
        ("TempPassBasic30m", device(DEVICE)),
        ("TempPassPromo5", device(DEVICE) | identity("a")),
        ("TempPassPromo5", device(DEVICE) | identity("b")),
        ("TempPassBasic30m", device(b"another")),
    ]
    ids = [
        client.get(f"{PROFILES}/{mvpd}", headers=headers).json()["profiles"][mvpd]["attributes"]["userID"]["value"]
        for mvpd, headers in asked
    ]
    assert all(re.fullmatch(r"temppass_[0-9a-f]{40}", id_) for id_ in ids)
    assert [id_ == ids[0] for id_ in ids] == [True, True, True, False]


# --- of an authentication code


@pytest.fixture
def code_of(client: TestClient) -> Callable[..., str]:
    """Open a session, choose a pass on resume where one is named, and answer the session's code."""

    def open_session(pass_id: str | None = None) -> str:
        code = str(client.post("/api/v2/ACME1/sessions").json()["code"])
        if pass_id is not None:
            client.post(f"/api/v2/ACME1/sessions/{code}", data={"mvpd": pass_id})
        return code

    return open_session


def second_screen(client: TestClient, path: str, **headers: str) -> Any:
    """Ask without a device identifier: the device is the session's."""
    told = {"Authorization": client.headers["Authorization"], **headers}
    return TestClient(client.app, base_url="http://double.test").get(path, headers=told)


@pytest.mark.parametrize("path", ["profiles/code/{}", "profiles/TempPassBasic30m/{}", "profiles/code/{}/"])
def test_a_code_shows_the_profile_of_the_device_that_opened_it(
    client: TestClient, double: Double, code_of: Callable[..., str], path: str
) -> None:
    code = code_of("TempPassBasic30m")
    client.post(f"{AUTHORIZE}/TempPassBasic30m", json={"resources": ["R1"]})
    double.clock.advance(60_000)
    mine = client.get(f"{PROFILES}/TempPassBasic30m").json()
    seen = [second_screen(client, f"/api/v2/ACME1/{path.format(spelling)}") for spelling in (code, code.lower())]
    assert [(answer.status_code, answer.json()) for answer in seen] == [(200, mine), (200, mine)]


def test_a_code_of_a_promotional_pass_takes_the_identity(
    client: TestClient, steady: Steady, code_of: Callable[..., str], identity: Header
) -> None:
    path = f"{PROFILES}/code/{code_of('TempPassPromo1')}"
    without, with_ = second_screen(client, path), second_screen(client, path, **identity("viewer"))
    client.post(f"{AUTHORIZE}/TempPassPromo1", json={"resources": ["R1"]}, headers=identity("viewer"))
    used_up = second_screen(client, path, **identity("another"))
    assert (without.status_code, without.json()["code"]) == (400, "invalid_header_identity_for_temporary_access")
    assert steady(with_.json()) == shape("TempPassPromo1", T0, T0 + HOUR, remaining_resources=1, used_assets=[])
    assert (used_up.status_code, used_up.json()["code"]) == (403, "temporary_access_resources_limit_exceeded")


def test_a_code_without_a_chosen_pass_has_no_profile(client: TestClient, code_of: Callable[..., str]) -> None:
    answer = second_screen(client, f"{PROFILES}/code/{code_of()}")
    assert (answer.status_code, answer.json()) == (200, {"profiles": {}})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AAAAAAA", "invalid_authentication_session"),
        ("aaaaaaa", "invalid_authentication_session"),
        ("", "invalid_parameter_code"),
        ("-------", "invalid_parameter_code"),
        ("AAAA", "invalid_parameter_code"),
        ("A" * 40, "invalid_parameter_code"),
        ("ÄÄÄÄÄÄÄ", "invalid_parameter_code"),
    ],
)
def test_a_code_is_malformed_or_unknown(
    client: TestClient, steady: Steady, enhanced: Enhanced, code: str, expected: str
) -> None:
    answer = client.get(f"{PROFILES}/code/{code}")
    assert (answer.status_code, steady(answer.json())) == (400, enhanced(expected))


def test_a_code_ends_after_half_an_hour_and_is_good_in_its_channel_only(
    client: TestClient, double: Double, code_of: Callable[..., str]
) -> None:
    code = code_of("TempPassBasic30m")
    elsewhere = second_screen(client, f"/api/v2/ACME2/profiles/code/{code}").json()["code"]
    double.clock.advance(HALF_HOUR - 1)
    last = second_screen(client, f"{PROFILES}/code/{code}").status_code
    double.clock.advance(1)
    after = second_screen(client, f"{PROFILES}/code/{code}").json()["code"]
    assert (elsewhere, last, after) == ("invalid_authentication_session", 200, "invalid_authentication_session")


def test_the_checks_of_a_profile_by_code_have_an_order(
    bare: TestClient, double: Double, token_of: Callable[..., str], code_of: Callable[..., str], catalogue: str
) -> None:
    code = code_of("TempPassBasic30m")
    good = {"Authorization": f"Bearer {token_of('player')}"}
    steps: list[tuple[str, dict[str, str]]] = [
        ("ACME9/profiles/code/-", {}),
        ("ACME9/profiles/code/-", good),
        ("ACME2/profiles/code/-", good),
        ("ACME1/profiles/code/-", good),
        ("ACME1/profiles/code/AAAAAAA", good),
    ]
    asked = [bare.get(f"/api/v2/{path}", headers=headers).json()["code"] for path, headers in steps]
    double.apply(catalogue.replace('channels = ["ACME1", "ACME2"]', 'channels = ["ACME2"]'))
    asked.append(bare.get(f"{PROFILES}/code/{code}", headers=good).json()["code"])
    assert asked == [
        "invalid_access_token_client_application",
        "invalid_parameter_service_provider",
        "invalid_access_token_service_provider",
        "invalid_parameter_code",
        "invalid_authentication_session",
        "invalid_integration",
    ]


# --- the list


@pytest.mark.parametrize("path", [PROFILES, f"{PROFILES}/"])
def test_the_list_of_profiles_never_holds_a_temp_pass(client: TestClient, path: str) -> None:
    client.post(f"{AUTHORIZE}/TempPassBasic30m", json={"resources": ["R1"]})
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (200, {"profiles": {}})


@pytest.mark.parametrize("path", [PROFILES, f"{PROFILES}/TempPassBasic30m", f"{PROFILES}/code/AAAAAAA"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_profiles_are_only_read(client: TestClient, path: str, method: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_looking_at_a_profile_begins_nothing(client: TestClient, double: Double) -> None:
    client.get(f"{PROFILES}/TempPassBasic30m")
    double.clock.advance(HALF_HOUR)
    begun = client.post(f"{AUTHORIZE}/TempPassBasic30m", json={"resources": ["R1"]}).json()["decisions"][0]
    assert begun["notAfter"] == T0 + 2 * HALF_HOUR


def test_a_trailing_slash_changes_nothing(client: TestClient) -> None:
    answers = [client.get(f"{PROFILES}/{mvpd}") for mvpd in ("TempPassBasic30m", "TempPassBasic30m/")]
    assert answers[0].json() == answers[1].json()
