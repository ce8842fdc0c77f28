"""
What applications are given, through the control API: listed with what came from it, and ended as narrowly as was asked.
"""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from temppass.core.model import NEVER, UNKNOWN, Changes, Client
from temppass.core.world import EnvironmentRecord, application_sub
from temppass.store import Amendment, Keys
from temppass.testing import Double, build

T0, DAY = 1_767_261_600_000, 86_400_000
IN = "/control/v1/environments/release-production"
OPS = f"{IN}/applications/ops"
CATALOGUE = 'application = [{ id = "ops", channels = "all", scopes = ["api:client:v2"] }]'


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=T0)


@pytest.fixture
def client(double: Double) -> TestClient:
    headers = {"Authorization": f"Bearer {double.operator('root', 'admin')}"}
    return TestClient(double.app, base_url="http://localhost", headers=headers)


def register(client: TestClient, statement: str) -> int:
    return client.post("/o/client/register", json={"software_statement": statement}).status_code


async def older_statement(double: Double) -> str:
    """What a program of before would have minted, in an environment that it made."""

    def rewrite(old: EnvironmentRecord | None) -> Amendment[None]:
        assert old is not None
        return None, replace(old, version=old.version + 1, listing={}), None

    await double.application.store.amend(double.environment, rewrite)
    world = await double.application.service.world(double.environment)
    assert world.keyring is not None
    claims = {"sub": application_sub(world.name, "ops"), "iss": "auth.adobe.com", "nbf": T0 // 1000}
    return world.keyring.sign_statement(
        {**claims, "iat": T0 // 1000, "aud": world.name, "jti": "x", "epoch": world.epoch("ops")}, T0
    )


def test_statements_are_told_with_who_minted_them_and_what_came_from_each(double: Double, client: TestClient) -> None:
    """What is of before is one entry, of which nobody knows more."""
    until = {"ends_at": "2026-04-01T00:00:00+02:00"}
    older, minted = double._run(older_statement(double)), client.post(f"{OPS}/statements", json=until).json()
    made = [register(client, statement) for statement in (older, minted["statement"], minted["statement"])]
    of_before = {"id": "older", "minted_at": None, "minted_by": None, "ends_at": None, "used_on": None, "clients": 1}
    listed = {
        "id": minted["id"],
        "minted_at": "2026-01-01T10:00:00.000Z",
        "minted_by": {"kind": "operator", "name": "root"},
        "ends_at": "2026-03-31T22:00:00.000Z",
        "used_on": None,
        "clients": 2,
    }
    told = client.get(f"{OPS}/statements").json()["statements"]
    assert (made, told, minted["ends_at"]) == ([201] * 3, [of_before, listed], listed["ends_at"])


def test_clients_are_told_with_their_statement_and_their_last_use(double: Double, client: TestClient) -> None:
    """Of one that never asked for a token, and of one of which nobody knows, there is none."""
    minted, store = client.post(f"{OPS}/statements").json(), double.application.store
    world = double._run(double.application.service.world(double.environment))
    of = {NEVER: "", UNKNOWN: "", T0 + 40 * DAY: minted["id"]}
    for used_at, statement_id in of.items():
        kept = Client(f"c{used_at}", "ops", world.epoch("ops"), b"", T0, statement_id, used_at)
        keys = Keys(double.environment, world.version)
        double._run(store.transact(keys, lambda _found, kept=kept: (None, Changes(client=kept))))  # type: ignore[misc]

    def told(query: str) -> list[Any]:
        return [[each[name] for name in ("id", "statement", "used_on")] for each in _clients(client, query)]

    of_one = [f"c{T0 + 40 * DAY}", minted["id"], "2026-02-10"]
    of_before = [["c0", "older", None], ["c-1", "older", None]]
    assert (told(f"?statement={minted['id']}"), told("?statement=older")) == ([of_one], of_before)


def _clients(client: TestClient, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{OPS}/clients{query}").json()["clients"]
    return found


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (f"{OPS}/statements/older", [400, 201, 201]),
        (f"{IN}/statements/one", [201, 400, 201]),
        (f"{OPS}/statements", [400, 400, 400]),
    ],
)
def test_as_much_ends_as_was_asked_for(double: Double, client: TestClient, path: str, left: list[int]) -> None:
    older, minted = double._run(older_statement(double)), [client.post(f"{OPS}/statements").json() for _ in range(2)]
    answer = client.delete(path.replace("/one", f"/{minted[0]['id']}"))
    statements = [older, *(each["statement"] for each in minted)]
    assert (answer.status_code, [register(client, each) for each in statements]) == (200, left)


@pytest.mark.parametrize("query", ["?statement=ONE", "?x", "?"])
def test_what_names_less_than_it_would_end_ends_nothing(client: TestClient, query: str) -> None:
    """A query narrows nothing here, so it is refused."""
    minted = client.post(f"{OPS}/statements").json()
    asked = client.delete(f"{OPS}/statements{query}".replace("ONE", minted["id"]))
    named = query != "?"
    assert (asked.status_code, register(client, minted["statement"])) == ((400, 201) if named else (200, 400))


def test_a_reason_of_a_new_statement_is_on_record(client: TestClient) -> None:
    minted = client.post(f"{OPS}/statements", content=json.dumps({"reason": "ticket 7"})).json()
    act = client.get(f"{IN}/acts/{minted['id']}").json()
    assert (act["kind"], act["reason"], act["application"]) == ("statement.mint", "ticket 7", "ops")
