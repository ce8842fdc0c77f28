"""
Both shells against the real service, and many callers on one cold vault.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import pytest

from temppass.client.client import AsyncClient, Client
from temppass.client.flow import ALL_DEVICES, Deny, Permit, ProfileState, Viewer
from temppass.client.place import place_at
from temppass.client.vault import FileVault, MemoryVault
from temppass.testing import Double, build, serving

VIEWER = Viewer("living-room-tv", "viewer@example.net")
PROMO = ("REF", "flexibleTempPass")


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with serving((resources.files("temppass") / "demo.toml").read_text("utf-8")) as listening:
        yield listening


def registrations(double: Double) -> int:
    metrics = httpx2.get(f"{double.url}/metrics").text
    line = 'temppass_requests_total{endpoint="register",status="201"} '
    return sum(int(float(found.removeprefix(line))) for found in metrics.splitlines() if found.startswith(line))


def test_a_viewer_is_permitted_denied_reset_and_permitted_again(double: Double) -> None:
    with Client(place_at(double.url), double.mint("demo"), vault=MemoryVault()) as client:
        verdicts = client.authorize(*PROMO, VIEWER, ["A", "B", "C"])
        spent = client.profile(*PROMO, VIEWER)
        done = (
            client.reset_device(*PROMO, "living-room-tv").matched,
            client.reset_key(*PROMO, "viewer@example.net").matched,
        )
        fresh = client.profile(*PROMO, VIEWER)
        everybody = client.reset_device(*PROMO, ALL_DEVICES).matched
    assert [type(verdict) for verdict in verdicts] == [Permit, Permit, Deny]
    assert isinstance(spent, Deny)
    assert spent.code == "temporary_access_resources_limit_exceeded"
    assert isinstance(fresh, ProfileState)
    assert (done, fresh.remaining, everybody) == ((1, 1), 2, None)


def test_the_same_from_an_event_loop(double: Double) -> None:
    async def work() -> tuple[list[type], bool]:
        async with AsyncClient(place_at(double.url), double.mint("demo"), vault=MemoryVault()) as client:
            verdicts = await client.preauthorize("REF", "TempPassREF", Viewer("another-tv"), ["A"])
            return [type(verdict) for verdict in verdicts], "requestor" in await client.configuration("REF")

    assert asyncio.run(work()) == ([Permit], True)


def test_fifty_threads_on_a_cold_vault_register_once(double: Double, tmp_path: Path) -> None:
    before, statement = registrations(double), double.mint("demo")
    clients = [Client(place_at(double.url), statement, vault=FileVault(tmp_path)) for _ in range(50)]
    threads = [threading.Thread(target=client.access_token) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert registrations(double) - before == 1


def test_fifty_tasks_on_a_cold_vault_register_once(double: Double, tmp_path: Path) -> None:
    before, statement = registrations(double), double.mint("demo")

    async def work() -> None:
        async with AsyncClient(place_at(double.url), statement, vault=FileVault(tmp_path)) as client:
            await asyncio.gather(*(client.access_token() for _ in range(50)))

    asyncio.run(work())
    assert registrations(double) - before == 1


_CHILD = """
import sys
from pathlib import Path
from temppass.client.client import Client
from temppass.client.place import place_at
from temppass.client.vault import FileVault
with Client(place_at(sys.argv[1]), sys.stdin.read(), vault=FileVault(Path(sys.argv[2]))) as client:
    client.access_token()
"""


@pytest.mark.process
def test_four_processes_on_a_cold_vault_register_once(double: Double, tmp_path: Path) -> None:
    before, statement = registrations(double), double.mint("demo")
    command = [sys.executable, "-c", _CHILD, double.url, str(tmp_path)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(statement)
        child.stdin.close()
    assert ([child.wait(60) for child in children], registrations(double) - before) == ([0] * 4, 1)


def test_what_is_kept_is_for_its_owner_only_and_names_no_statement(double: Double, tmp_path: Path) -> None:
    statement = double.mint("demo")
    with Client(place_at(double.url), statement, vault=FileVault(tmp_path / "vault")) as client:
        client.access_token()
    kept = [path for path in (tmp_path / "vault").iterdir() if path.suffix == ".json"]
    assert [oct(path.stat().st_mode & 0o777) for path in [tmp_path / "vault", *kept]] == ["0o700", "0o600"]
    assert statement not in kept[0].read_text() + kept[0].name


@pytest.mark.parametrize("begun", [build, serving])
def test_a_double_can_be_made_where_an_event_loop_runs(begun: Callable[..., Any]) -> None:
    """As in a test that is a coroutine."""
    catalogue = (resources.files("temppass") / "demo.toml").read_text("utf-8")

    async def work() -> int:
        with contextlib.ExitStack() as ending:
            made = begun(catalogue)
            double: Double = made if isinstance(made, Double) else ending.enter_context(made)
            asked = httpx2.AsyncClient(
                base_url=double.url or "http://double",
                transport=None if double.url else httpx2.ASGITransport(double.app),
                trust_env=False,
            )
            async with asked as http:
                answer = await http.post("/o/client/register", json={"software_statement": double.mint("demo")})
            return answer.status_code

    assert asyncio.run(work()) == 201


def test_both_clients_have_the_same_methods() -> None:
    def face(client: type) -> dict[str, str]:
        public = {name: member for name, member in vars(client).items() if not name.startswith("_")}
        return {name: str(inspect.signature(member)) for name, member in public.items()}

    assert face(Client) == face(AsyncClient)
