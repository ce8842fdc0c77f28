"""
What a channel offers, and the logout that has nothing to do.

Source: contract §6.7 and §6.9, design decisions 8.15 and 8.16.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

T0 = 1_767_261_600_000
HALF_HOUR = 1_800_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
SESSIONS = "/api/v2/ACME1/sessions"
#: the vector of contract §11.1
DEVICE_INFO = {
    "X-Device-Info": "eyJwcmltYXJ5SGFyZHdhcmVUeXBlIjoiU2V0VG9wQm94IiwibW9kZWwiOiJCb3ggT25lIiwidmVyc2lvbiI6IjMuMSIsIm1h"
    "bnVmYWN0dXJlciI6IkFjbWUiLCJvc05hbWUiOiJMaW51eCIsIm9zVmVyc2lvbiI6IjUuMTUiLCJjb25uZWN0aW9uVHlwZSI6IkxBTiIsImNvbm5l"
    "Y3Rpb25JcCI6IjIwMy4wLjExMy4yNCIsImNvbm5lY3Rpb25Qb3J0IjoiNTE1NDQifQ=="
}

Header = Callable[..., dict[str, str]]


# --- configuration


def test_the_configuration_lists_what_a_channel_offers(bare: TestClient, client: TestClient) -> None:
    token = {"Authorization": client.headers["Authorization"]}
    paths = ["/api/v2/ACME1/configuration", "/api/v2/ACME1/configuration/", "/api/v2/ACME1/configuration?profile=x"]
    answers = [bare.get(path, headers=token) for path in paths]

    def offered(id_: str, name: str, logo_url: str = "") -> dict[str, Any]:
        flags = {"authPerAggregator": True, "isTempPass": True}
        return {"id": id_, "displayName": name, "logoUrl": logo_url, **flags}

    domains = [{"name": name, "mvpdInitiated": False} for name in ("acme.example", "localhost")]
    expected = {
        "requestor": {
            "id": "ACME1",
            "name": "Acme One",
            "domains": domains,
            "mvpds": [
                offered("TempPassBasic30m", "Free half hour", "https://cdn.acme.example/free.png"),
                offered("TempPassPromo5", "Five free titles"),
                *(offered(id_, id_) for id_ in ("TempPassPromo1", "NoTtl", "NoMax", "NoKey")),
            ],
        }
    }
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, expected)] * 3


def test_a_channel_without_anything_has_an_empty_configuration(client: TestClient) -> None:
    requestor = {"id": "EMPTY", "name": "EMPTY", "domains": [], "mvpds": []}
    assert client.get("/api/v2/EMPTY/configuration").json() == {"requestor": requestor}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (json.loads(base64.b64decode(DEVICE_INFO["X-Device-Info"])), {"device": "settopbox", "os": "Linux"}),
        ({"browserName": "Firefox", "osName": "Windows"}, {"clientType": "html5", "os": "Windows"}),
        ({}, {}),
    ],
)
def test_the_configuration_says_what_it_took_the_device_for(
    client: TestClient, info: dict[str, str], expected: dict[str, str]
) -> None:
    headers = {"X-Device-Info": base64.b64encode(json.dumps(info).encode()).decode()}
    body = client.get("/api/v2/ACME1/configuration", headers=headers).json()
    assert {name: value for name, value in body.items() if name != "requestor"} == expected


@pytest.mark.parametrize("path", ["configuration", "logout", "logout/Nothing", "profiles"])
def test_other_calls_check_in_the_same_order(
    bare: TestClient, token_of: Callable[..., str], device: Header, path: str
) -> None:
    good = {"Authorization": f"Bearer {token_of('player')}"}
    steps: list[tuple[str, dict[str, str]]] = [
        ("ACME9", {}),
        ("ACME9", good),
        ("", good),
        ("ACME2", good),
        ("ACME1", good),
        ("ACME1", good | device(DEVICE)),
    ]
    asked = [bare.get(f"/api/v2/{channel_id}/{path}", headers=headers) for channel_id, headers in steps]
    table: dict[str, list[str | None]] = {
        "configuration": [None, None],
        "logout/Nothing": ["invalid_header_device_identifier", "invalid_parameter_mvpd"],
    }
    at_last = table.get(path, ["invalid_header_device_identifier", None])
    assert [answer.json().get("code") for answer in asked] == [
        "invalid_access_token_client_application",
        "invalid_parameter_service_provider",
        "invalid_parameter_service_provider",
        "invalid_access_token_service_provider",
        *at_last,
    ]


# --- logout


@pytest.mark.parametrize(
    "path",
    [
        "ACME1/logout/TempPassBasic30m",
        "ACME1/logout/TempPassBasic30m?redirectUrl=https%3A%2F%2Facme.example",
        "logout/ACME1/TempPassBasic30m",
        "ACME1/logout/TempPassBasic30m/",
    ],
)
def test_a_logout_is_complete_and_leaves_the_trial_alone(client: TestClient, double: Double, path: str) -> None:
    client.post("/api/v2/ACME1/decisions/authorize/TempPassBasic30m", json={"resources": ["R1"]})
    answer = client.get(f"/api/v2/{path}")
    double.clock.advance(HALF_HOUR - 1)
    after = client.get("/api/v2/ACME1/profiles/TempPassBasic30m").json()["profiles"]["TempPassBasic30m"]
    done = {"actionName": "complete", "actionType": "none", "mvpd": "TempPassBasic30m"}
    assert (answer.status_code, answer.json()) == (200, {"logouts": {"TempPassBasic30m": done}})
    assert (after["notBefore"], after["notAfter"]) == (T0, T0 + HALF_HOUR)


@pytest.mark.parametrize("path", ["logout", "logout/", "logout?redirectUrl=x"])
def test_a_logout_of_everything_is_a_logout_of_nothing(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v2/ACME1/{path}")
    assert (answer.status_code, answer.json()) == (200, {"logouts": {}})


def test_logout_is_a_get(client: TestClient) -> None:
    answer = client.delete("/api/v2/ACME1/logout/TempPassBasic30m")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_path_of_two_methods_names_both(client: TestClient) -> None:
    answer = client.delete(f"{SESSIONS}/AAAAAAA")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
