"""
The world that the edge's tests share: the ids and moments of contract §6.0, a double on a clock that stands still,
and clients of it. Making the keys of an environment takes a tenth of a second, so every double has the same ones.
"""

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.core.model import Changes
from temppass.core.world import Environment, rewritten
from temppass.store import Keys, Store
from temppass.testing import Double, build

#: 2026-01-01T10:00:00Z
T0 = 1_767_261_600_000
DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
PRODUCTION = "release-production"
SECRET = "a secret of the tests, long enough to be one"

#: contract §7.1
ENHANCED = {
    "invalid_parameter_service_provider": (400, "none"),
    "invalid_parameter_mvpd": (400, "none"),
    "invalid_parameter_code": (400, "none"),
    "invalid_parameter_resources": (400, "none"),
    "invalid_parameter_redirect_url": (400, "none"),
    "invalid_header_device_identifier": (400, "none"),
    "invalid_header_identity_for_temporary_access": (400, "none"),
    "invalid_integration": (400, "none"),
    "invalid_authentication_session": (400, "none"),
    "internal_server_error": (500, "none"),
    "too_many_resources": (403, "configuration"),
    "invalid_configuration_temporary_access": (500, "configuration"),
    "invalid_access_token_service_provider": (401, "application-registration"),
    "invalid_access_token_client_application": (401, "application-registration"),
    "temporary_access_duration_limit_exceeded": (403, "authentication"),
    "temporary_access_resources_limit_exceeded": (403, "authentication"),
    "maximum_execution_time_exceeded": (403, "retry"),
}

#: what differs from run to run, and the wording: how each looks, by key
UNSTEADY = {
    "trace": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "sessionId": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "code": r"[A-Z0-9]{7}",
    "message": r".+",
    "helpUrl": r"https?://[^/]+/help/[a-z_]+",
    "serializedToken": r"[A-Za-z0-9+/]+={0,2}",
}

CATALOGUE = """
[[programmer]]
id = "acme"
name = "Acme Media"

[[channel]]
id = "ACME1"
programmer = "acme"
name = "Acme One"
domains = ["acme.example", "localhost"]

[[channel]]
id = "ACME2"
programmer = "acme"
name = "Acme Two"
domains = ["two.example"]
timezone = "America/New_York"

[[channel]]
id = "EMPTY"
programmer = "acme"

[[pass]]
id = "TempPassBasic30m"
kind = "basic"
name = "Free half hour"
ttl = "30m"
logo_url = "https://cdn.acme.example/free.png"
channels = ["ACME1", "ACME2"]

[[pass]]
id = "TempPassPromo5"
kind = "promotional"
name = "Five free titles"
ttl = "28d"
resources_max = 5
identity_key = "email"
channels = ["ACME1"]

[[pass]]
id = "TempPassPromo1"
kind = "promotional"
ttl = "1h"
resources_max = 1
identity_key = "email"
resources_per_call_max = 2
channels = ["ACME1"]

[[pass]]
id = "Daily"
kind = "basic"
ttl = "10m"
resets = "0 0 * * *"
channels = ["ACME2"]

[[pass]]
id = "Disabled"
kind = "basic"
ttl = "10m"
channels = [{ id = "ACME1", enabled = false }]

[[pass]]
id = "NoTtl"
kind = "basic"
allow_invalid = true
channels = ["ACME1"]

[[pass]]
id = "NoMax"
kind = "promotional"
ttl = "1h"
identity_key = "email"
resources_per_call_max = 1
allow_invalid = true
channels = ["ACME1"]

[[pass]]
id = "NoKey"
kind = "promotional"
ttl = "1h"
resources_max = 5
allow_invalid = true
channels = ["ACME1"]

[[application]]
id = "ops"
name = "Support desk"
channels = "all"
scopes = ["temporary:passes:owner", "api:client:v2"]
domains = ["ops.example", "acme.example"]

[[application]]
id = "player"
channels = ["ACME1"]
scopes = ["api:client:v2"]

[[application]]
id = "resetter"
channels = ["ACME1"]
scopes = ["temporary:passes:owner"]

[[application]]
id = "nothing"
channels = ["ACME1"]
scopes = []
"""


@pytest.fixture(scope="session")
def catalogue() -> str:
    return CATALOGUE


@pytest.fixture(scope="session")
def _first() -> Double:
    """The double whose environment, with its keys, all others begin with."""
    return build(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET)


@pytest.fixture(scope="session")
def _token_of_ops(_first: Double) -> str:
    """An access token of application `ops`, good at T0 in every double."""
    return _obtain(_first, TestClient(_first.app, base_url="http://double.test"), "ops")


def adopt(store: Store, environment: Environment | None) -> None:
    """Let a store that has no environment have the default one as it is in another."""
    assert environment is not None
    all_of_it = Changes(
        environment=rewritten(environment.record), listed=environment.statements, ended=environment.ended
    )
    asyncio.run(store.transact(Keys(PRODUCTION, 0), lambda _found: (None, all_of_it)))


@pytest.fixture
def double(_first: Double, _token_of_ops: str) -> Double:
    """A whole service at T0, with the catalogue in its default environment."""
    double = build(now=T0, TEMPPASS_SECRET=SECRET)
    adopt(double.application.store, asyncio.run(_first.application.store.load(PRODUCTION)))
    # to read the keys takes as long as to make them
    first, second = (each.application.service.context.worlds for each in (_first, double))
    second._known.update(first._known)
    return double


def _obtain(double: Double, client: TestClient, application_id: str, environment: str = PRODUCTION) -> str:
    host = {"Host": "double.test" if environment == PRODUCTION else f"{environment}.localhost"}
    statement = {"software_statement": double.mint(application_id, environment)}
    made = client.post("/o/client/register", json=statement, headers=host).json()
    form = {**{name: made[name] for name in ("client_id", "client_secret")}, "grant_type": "client_credentials"}
    return str(client.post("/o/client/token", data=form, headers=host).json()["access_token"])


@pytest.fixture
def bare(double: Double) -> Iterator[TestClient]:
    """A client that sends nothing by itself."""
    with TestClient(double.app, base_url="http://double.test", follow_redirects=False) as client:
        yield client


@pytest.fixture
def token_of(double: Double, bare: TestClient) -> Callable[..., str]:
    """Answer an access token of an application: mint, register, token."""

    def obtain(application_id: str, environment: str = PRODUCTION) -> str:
        return _obtain(double, bare, application_id, environment)

    return obtain


@pytest.fixture
def client(double: Double, _token_of_ops: str, device: Callable[[bytes], dict[str, str]]) -> TestClient:
    """A client of application `ops`, on the device of contract §6.0."""
    headers = {"Authorization": f"Bearer {_token_of_ops}", **device(DEVICE)}
    return TestClient(double.app, base_url="http://double.test", follow_redirects=False, headers=headers)


@pytest.fixture(scope="session")
def device() -> Callable[[bytes], dict[str, str]]:
    """Answer the header that names a device."""

    def header(device_id: bytes) -> dict[str, str]:
        return {"AP-Device-Identifier": f"fingerprint {base64.b64encode(device_id).decode()}"}

    return header


@pytest.fixture(scope="session")
def identity() -> Callable[..., dict[str, str]]:
    """Answer the header that names a user."""

    def header(user_key: object, name: str = "email") -> dict[str, str]:
        return {"AP-TempPass-Identity": base64.b64encode(json.dumps({name: user_key}).encode()).decode()}

    return header


@pytest.fixture(scope="session")
def steady() -> Callable[[Any], Any]:
    """Answer a body with "…" in the place of what differs from run to run, if it looks as it should."""

    def of(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: of(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [of(part) for part in value]
        if isinstance(value, str):
            value = re.sub(r"^temppass_[0-9a-f]{40}$", "temppass_…", value)
            return "…" if key in UNSTEADY and re.fullmatch(UNSTEADY[key], value) else value
        return value

    return of


@pytest.fixture(scope="session")
def enhanced() -> Callable[[str], dict[str, Any]]:
    """Answer the steady form of an enhanced error: the status and action of contract §7.1."""

    def error(code: str) -> dict[str, Any]:
        status, action = ENHANCED[code]
        return {"action": action, "status": status, "code": code, "message": "…", "helpUrl": "…", "trace": "…"}

    return error


@pytest.fixture(scope="session")
def codes() -> Callable[[Any], list[str]]:
    """Answer each item's `permit` or code; of a body that is no decision, its status and code."""

    def of(answer: Any) -> list[str]:
        body = answer.json()
        if "decisions" not in body:
            return [f"{answer.status_code} {body['code']}"]
        assert answer.status_code == 200
        return ["permit" if item["authorized"] else item["error"]["code"] for item in body["decisions"]]

    return of


@pytest.fixture(scope="session")
def verdict() -> Callable[[Any], str]:
    """Answer the first item's `permit` or code; of a body that is no decision, its code or error."""

    def of(answer: Any) -> str:
        body = answer.json()
        if "decisions" not in body:
            return str(body.get("code") or body["error"])
        item = body["decisions"][0]
        return "permit" if item["authorized"] else str(item["error"]["code"])

    return of


@pytest.fixture
def watch(client: TestClient) -> Callable[..., bool]:
    """Watch a title and tell whether it was permitted; a second title of TempPassPromo1 is not."""

    def ask(pass_id: str = "TempPassBasic30m", title: str = "R1", channel_id: str = "ACME1", **headers: str) -> bool:
        path = f"/api/v2/{channel_id}/decisions/authorize/{pass_id}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.post(path, json={"resources": [title]}, headers=named).json()
        return bool(answer["decisions"][0]["authorized"])

    return ask
