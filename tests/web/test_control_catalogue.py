"""
The catalogue through the control API: what is read is what was written, and nothing is written over what one has not
seen.
"""

import asyncio
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from temppass.core.act import ByOperator, CatalogueApply
from temppass.core.operator import Role
from temppass.testing import Double, build

HERE = "/control/v1/environments/release-production/catalogue"
TABLES: dict[str, Any] = {
    "programmer": [{"id": "acme", "name": "Acme"}],
    "channel": [{"id": "REF", "programmer": "acme", "name": "REF", "domains": [], "timezone": "UTC"}],
    "pass": [
        {
            "id": "P",
            "kind": "basic",
            "name": "P",
            "ttl": "30m",
            "channels": ["REF"],
            "resources_per_call_max": 5,
        }
    ],
}


@pytest.fixture
def double() -> Double:
    return build()


@pytest.fixture
def client(double: Double) -> TestClient:
    token = double.operator("root", "admin")
    return TestClient(double.app, base_url="http://localhost", headers={"Authorization": f"Bearer {token}"})


def put(client: TestClient, tables: Any, over: int, path: str = HERE, **headers: str) -> httpx2.Response:
    return client.put(path, json=tables, headers={"If-Match": f'"{over}"', **headers})


def test_what_is_read_can_be_written_again_in_both_spellings(client: TestClient) -> None:
    assert put(client, TABLES, 0).status_code == 200
    read = client.get(HERE)
    toml = client.get(HERE, headers={"Accept": "application/toml"})
    again = client.post(f"{HERE}/plan", content=toml.content, headers={"Content-Type": "application/toml"})
    assert (read.json(), read.headers["etag"], again.json()) == (TABLES, '"1"', {"version": 1, "differences": []})


def test_a_catalogue_replaces_the_version_that_was_seen_and_no_other(client: TestClient) -> None:
    """Without saying which it is 428; a plan changes nothing."""
    changed = TABLES | {"pass": [TABLES["pass"][0] | {"ttl": "1h"}]}
    statuses = [
        put(client, TABLES, 0).status_code,
        client.post(f"{HERE}/plan", json=changed).status_code,
        put(client, changed, 0).status_code,
        client.put(HERE, json=changed).status_code,
        put(client, changed, 1).status_code,
        put(client, TABLES, 1).status_code,
    ]
    assert (statuses, client.get(HERE).json()["pass"][0]["ttl"]) == ([200, 200, 412, 428, 200, 412], "1h")


def test_two_who_saw_the_same_version_do_not_write_over_one_another(double: Double, client: TestClient) -> None:
    put(client, TABLES, 0)

    async def both() -> list[int]:
        transport = httpx2.ASGITransport(double.app)
        headers = {**client.headers, "If-Match": '"1"'}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
            answers = await asyncio.gather(*(http.put(HERE, json=dict(TABLES, **{"pass": []})) for _ in range(5)))
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(both()) == [200, 412, 412, 412, 412]


def test_a_catalogue_with_problems_names_them_all_and_changes_nothing(client: TestClient) -> None:
    answer = put(client, {"channel": [{"id": "X"}], "pass": [{"id": "P", "kind": "free"}]}, 0)
    problems = answer.json()["detail"].splitlines()
    assert (answer.status_code, len(problems) > 2, client.get(HERE).headers["etag"]) == (400, True, '"0"')


def test_who_applied_it_and_why_is_on_record(double: Double, client: TestClient) -> None:
    receipt = put(client, TABLES, 0, f"{HERE}?description=free%20spring").json()

    async def acts() -> list[object]:
        history = double.application.service.history
        return [(record.id, record.actor, record.act) async for _, record in history.records(double.environment)]

    differences = ("+ programmer acme", "+ channel REF", "+ pass P")
    done = CatalogueApply(1, "free spring", differences)
    assert asyncio.run(acts()) == [(receipt["id"], ByOperator("root", Role.ADMIN), done)]


def test_applying_what_holds_is_no_act(client: TestClient) -> None:
    put(client, TABLES, 0)
    assert put(client, TABLES, 1).json() == {"id": None, "version": 1, "differences": []}


def test_a_key_stands_for_one_reason_too(client: TestClient) -> None:
    """What is asked in the query is part of what was asked."""
    why = [f"{HERE}?description={word}" for word in ("spring", "spring", "summer")]
    statuses = [put(client, TABLES, 0, path, **{"Idempotency-Key": "k1"}).status_code for path in why]
    assert statuses == [200, 200, 422]
