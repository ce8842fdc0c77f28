"""
Asks of many titles, and of ledgers with many, are answered as any other, but one at a time: everybody else goes on.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from temppass.service import context
from temppass.testing import Double

DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
#: of 2 KiB; JSON writes each as 12 KiB
LONG = [f"{number:04d}" + "\x01" * 2044 for number in range(32)]
PASSES = """
[[pass]]
id = "Many"
kind = "promotional"
ttl = "1h"
resources_max = 1000
resource_bytes_max = 65
resources_per_call_max = 1000
identity_key = "email"
channels = ["ACME1"]

[[pass]]
id = "Long"
kind = "promotional"
ttl = "1h"
resources_max = 32
identity_key = "email"
channels = ["ACME1"]
"""
AUTHORIZE = "/api/v2/ACME1/decisions/authorize/"

Header = Callable[..., dict[str, str]]


@pytest.fixture
def viewer(double: Double, client: TestClient, catalogue: str, identity: Header) -> TestClient:
    """A client that names a user too, in a catalogue with PASSES."""
    double.apply(catalogue + PASSES)
    client.headers.update(identity("viewer"))
    return client


def authorized(answer: Any) -> list[bool]:
    return [item["authorized"] for item in answer.json()["decisions"]]


def test_a_thousand_titles_are_decided_in_one_call(viewer: TestClient) -> None:
    titles = [f"{number:055d}" for number in range(1000)]
    answer = viewer.post(AUTHORIZE + "Many", json={"resources": titles})
    assert (authorized(answer), [item["resource"] for item in answer.json()["decisions"]]) == ([True] * 1000, titles)


def test_a_full_ledger_is_asked_like_any_other(viewer: TestClient, double: Double) -> None:
    filled = [authorized(viewer.post(AUTHORIZE + "Long", json={"resources": [title]})) for title in LONG]
    again = authorized(viewer.post(AUTHORIZE + "Long", json={"resources": [LONG[0], "another"]}))
    before = viewer.post(AUTHORIZE.replace("authorize", "preauthorize") + "Long", json={"resources": [LONG[9]]})
    profile = viewer.get("/api/v2/ACME1/profiles/Long")
    reset = viewer.delete(
        "/reset-tempass/v3/reset", params={"device_id": DEVICE.decode(), "requestor_id": "ACME1", "mvpd_id": "Long"}
    )
    assert (filled, again, authorized(before)) == ([[True]] * 32, [True, False], [True])
    assert (profile.json()["code"], reset.status_code, reset.headers["temppass-matched"]) == (
        "temporary_access_resources_limit_exceeded",
        204,
        "1",
    )


@pytest.mark.parametrize(("length", "status"), [(65, 200), (66, 400)])
@pytest.mark.parametrize("act", ["authorize", "preauthorize"])
def test_a_title_is_as_long_as_the_pass_lets_it(viewer: TestClient, act: str, length: int, status: int) -> None:
    """In bytes of UTF-8."""
    title = "\N{LATIN SMALL LETTER SHARP S}" * (length // 2) + "x" * (length % 2)
    path = AUTHORIZE.replace("authorize", act) + "Many"
    answers = [viewer.post(path, json={"resources": titles}) for titles in ([title], ["R1", title])]
    code = None if status == 200 else "invalid_parameter_resources"
    assert [(answer.status_code, answer.json().get("code")) for answer in answers] == [(status, code)] * 2


def test_large_asks_go_one_after_another_and_the_others_in_between(viewer: TestClient, double: Double) -> None:
    """Two viewers ask for a thousand titles each, while a third asks for one after another."""
    done: list[str] = []

    async def large(http: httpx2.AsyncClient, device_id: str) -> None:
        titles = [f"{number}" for number in range(1000)]
        headers = {"AP-Device-Identifier": f"fingerprint {base64.b64encode(device_id.encode()).decode()}"}
        answer = await http.post(AUTHORIZE + "Many", json={"resources": titles}, headers=headers)
        done.append(f"large {answer.status_code}")

    async def small(http: httpx2.AsyncClient) -> None:
        while len([each for each in done if each.startswith("large")]) < 2:
            await http.post(AUTHORIZE + "TempPassBasic30m", json={"resources": ["R1"]})
            done.append("small")

    async def all_at_once() -> None:
        transport = httpx2.ASGITransport(double.app)
        headers = dict(viewer.headers)
        async with httpx2.AsyncClient(transport=transport, base_url="http://double.test", headers=headers) as http:
            await asyncio.gather(large(http, "a"), large(http, "b"), small(http))

    asyncio.run(all_at_once())
    first, second = (number for number, each in enumerate(done) if each == "large 200")
    # two in three of 125 slices of signatures
    assert (first > 80, second - first > 80) == (True, True)


def test_after_a_large_ask_the_others_have_twice_as_long(viewer: TestClient, double: Double) -> None:
    """On a clock of which each look takes 100 ms: four looks, and 200 ms between the second and the last."""
    looks = itertools.count(double.clock.now, 100)
    double.application.service.context.clock = lambda: next(looks)
    viewer.post(AUTHORIZE + "Many", json={"resources": [f"{number}" for number in range(10)]})
    assert double.application.service.context._large_from - double.clock.now == 300 + 2 * 200


def test_a_large_ask_waits_for_its_time_and_the_others_do_not(viewer: TestClient, double: Double) -> None:
    double.application.service.context._large_from = double.clock.now + 500
    done: list[str] = []

    async def ask(http: httpx2.AsyncClient, titles: list[str]) -> None:
        await http.post(AUTHORIZE + "Many", json={"resources": titles})
        done.append("large" if len(titles) > 1 else "small")

    async def at_once() -> None:
        transport = httpx2.ASGITransport(double.app)
        headers = dict(viewer.headers)
        async with httpx2.AsyncClient(transport=transport, base_url="http://double.test", headers=headers) as http:
            large = asyncio.create_task(ask(http, [f"{number}" for number in range(10)]))
            for _ in range(10):
                await ask(http, ["R1"])
            await large

    asyncio.run(at_once())
    assert done == ["small"] * 10 + ["large"]


def test_a_large_ask_whose_turn_does_not_come_is_asked_again_later(
    viewer: TestClient, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "LARGE_WAIT_S", 0)
    asyncio.run(double.application.service.context._large.acquire())
    titles = {"resources": [f"{number}" for number in range(10)]}
    large = viewer.post(AUTHORIZE + "Many", content=json.dumps(titles))
    small = viewer.post(AUTHORIZE + "Many", json={"resources": ["R1"]})
    assert (large.status_code, large.headers["retry-after"], small.status_code) == (503, "1", 200)
