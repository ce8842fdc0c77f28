"""
The control API over HTTP: every role on every route, with and without limits, and what a browser of another origin is
told.
"""

import asyncio
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from temppass.core.operator import Role
from temppass.testing import Double, build
from temppass.web.problems import CONTROL_SURFACE

PRODUCTION = "release-production"
ROUTES = [route for route in build().app.routes if route.surface is CONTROL_SURFACE]
#: what each route that reads a body is sent
BODIES: dict[str, Any] = {
    "create_operator": {"name": "new", "role": "viewer"},
    "set_schedule": {"paused": True},
    "explain": {"device": "d", "channel": "C", "pass": "P"},
    "plan_catalogue": {},
    "apply_catalogue": {},
    "reset": {"channel": "C", "pass": "P", "device": "tv"},
    "plan": {"channel": "C", "pass": "P", "everybody": "devices"},
    "decide": {"approve": True},
    "grant": {"channel": "C", "pass": "P", "device": "tv", "minutes": 5},
}
#: what the paths of routes name
NAMES = {
    "environment": PRODUCTION,
    "name": "nobody",
    "act": "nothing",
    "approval": "nothing",
    "statement": "nothing",
    "client": "nobody",
    "application": "A",
    "channel": "C",
    "pass": "P",
}
LIMITED = [route.name for route in ROUTES if "{environment}" in route.path_format]
#: which of these a route takes, in its path or body
TAKEN = {route.name: {*route.param_convertors} | {*BODIES.get(route.name, ())} for route in ROUTES}
#: who of the admins of some environments may not: those of everything look after operators
OF_EVERYTHING = {"operators", "create_operator", "revoke_operator", "search_house_acts", "house_act"}


@pytest.fixture
def double() -> Double:
    return build()


def outcome(double: Double, name: str, token: str | None) -> tuple[int, str | None]:
    """Answer the status and the code of a call of one route, of whose answer nobody waits for the end."""
    (route,) = [route for route in ROUTES if route.name == name]
    (method,) = (route.methods or set()) - {"HEAD"}
    headers = [(b"host", b"localhost")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope = {
        "type": "http", "method": method, "path": route.path_format.format_map(NAMES), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    asked = [{"type": "http.request", "body": json.dumps(BODIES[name]).encode() if name in BODIES else b""}]
    told: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)

    asyncio.run(double.app(scope, receive, send))
    status = told[0]["status"]
    return status, json.loads(told[1]["body"])["code"] if status >= 400 else None


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", [route.name for route in ROUTES])
def test_a_role_may_what_its_route_says_and_no_more(double: Double, name: str, role: Role) -> None:
    (route,) = [route for route in ROUTES if route.name == name]
    assert route.operation.role is not None
    _, code = outcome(double, name, double.operator("anna", role))
    assert (code != "role_missing") == role.may(route.operation.role)


@pytest.mark.parametrize("name", [route.name for route in ROUTES])
@pytest.mark.parametrize("token", [None, "tpo_wrong", "x" * 300])
def test_nobody_may_anything(double: Double, name: str, token: str | None) -> None:
    assert outcome(double, name, token) == (401, "unknown_operator")


@pytest.mark.parametrize("name", sorted(OF_EVERYTHING))
def test_who_looks_after_operators_is_limited_to_no_environment(double: Double, name: str) -> None:
    assert outcome(double, name, double.operator("anna", "admin", [PRODUCTION])) == (403, "outside_limits")


@pytest.mark.parametrize("name", LIMITED)
def test_who_is_limited_to_other_environments_may_nothing_in_this_one(double: Double, name: str) -> None:
    assert outcome(double, name, double.operator("anna", "admin", ["qa"])) == (403, "outside_limits")


@pytest.mark.parametrize("name", [name for name in LIMITED if "channel" in TAKEN[name]])
def test_who_is_limited_to_other_channels_may_nothing_on_this_one(double: Double, name: str) -> None:
    assert outcome(double, name, double.operator("anna", "operator", channels=["D"])) == (403, "outside_limits")


def test_no_page_of_another_origin_speaks_for_an_operator(double: Double) -> None:
    """Though the same origin may call REST v2; nor is a preflight answered."""
    double.apply(
        'programmer = [{ id = "a" }]\nchannel = [{ id = "C", programmer = "a", domains = ["acme.example"] }]\n'
    )
    client = TestClient(double.app, base_url="http://localhost", headers={"Origin": "https://acme.example"})
    told = [
        "access-control-allow-origin" in client.request(method, path).headers
        for method, path in (
            ("GET", "/api/v2/C/profiles"),
            ("GET", "/control/v1/whoami"),
            ("OPTIONS", "/control/v1/operators"),
            ("GET", "/control/v1/nothing"),
        )
    ]
    assert told == [True, False, False, False]


def test_a_moment_is_told_to_the_millisecond_and_read_in_any_zone(double: Double) -> None:
    admin = double.operator("root", "admin")
    client = TestClient(double.app, base_url="http://localhost", headers={"Authorization": f"Bearer {admin}"})
    body = {"name": "anna", "role": "viewer", "ends_at": "2099-01-01T01:00:00.25+01:00"}
    assert client.post("/control/v1/operators", json=body).json()["ends_at"] == "2099-01-01T00:00:00.250Z"


def test_the_control_api_can_have_a_port_of_its_own_or_none(double: Double) -> None:
    """Our own pages are on every port; what is nowhere is not described either."""
    asked = ("/control/v1/whoami", "/api/v2/C/profiles", "/healthz")

    def told() -> list[list[int]]:
        clients = [TestClient(double.app, base_url=f"http://localhost:{port}") for port in (8080, 9090)]
        return [[client.get(path).status_code for path in asked] for client in clients]

    def described() -> bool:
        document = TestClient(double.app, base_url="http://localhost:9090").get("/openapi.json").json()
        return "/control/v1/whoami" in document["paths"]

    seen: list[object] = [told()]
    double.app.keep_control_to(9090)
    seen += [told(), described()]
    other = build()
    other.app.keep_control_to(None)
    answers = [TestClient(other.app, base_url="http://localhost").get(path) for path in (*asked, "/openapi.json")]
    seen += [[answer.status_code for answer in answers[:3]], "/control/v1/whoami" in answers[3].json()["paths"]]
    assert seen == [
        [[401, 401, 200]] * 2,
        [[404, 401, 200], [401, 404, 200]],
        True,
        [404, 401, 200],
        False,
    ]


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("environment", ["%C3%9C", "a%20b", "a%00b", "A" * 65])
def test_what_is_no_name_of_an_environment_is_refused(double: Double, name: str, environment: str) -> None:
    """Least of all does a catalogue bring it into being."""
    (route,) = [route for route in ROUTES if route.name == name]
    target = route.path_format.format_map(NAMES | {"environment": environment})
    (method,) = (route.methods or set()) - {"HEAD"}
    headers = {"Authorization": f"Bearer {double.operator('root', 'admin')}", "If-Match": '"0"'}
    client = TestClient(double.app, base_url="http://localhost")
    answer = client.request(method, target, headers=headers, json=BODIES.get(name))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
