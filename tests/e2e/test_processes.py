"""
Several processes on one PostgreSQL: what one of them has acknowledged holds for the next request on every other, asks
that cross do not add up, and a process that dies is replaced.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.conftest import new_database
from tests.e2e.conftest import CATALOGUE, TITLES_MAX, WAIT_S, Folder, Server, Wire, sharing

import temppass
from temppass.storage.schema import migrations

ASKS, ROUNDS = 50, 5
CATALOGUE += """
[[pass]]
id = "Seasonal"
kind = "basic"
ttl = "1d"
channels = [{ id = "ACME1", enabled = true }]

[[application]]
id = "kiosk"
channels = ["ACME1"]
scopes = ["api:client:v2"]
"""


class Pair(NamedTuple):
    """Wires to two different processes, for one request after another."""

    one: Wire
    other: Wire

    def close(self) -> None:
        for wire in self:
            wire.close()


@pytest.fixture(scope="module")
def servers(cluster: Folder) -> list[Server]:
    cluster.declare(CATALOGUE)
    return [cluster.serve(), cluster.serve()]


@pytest.fixture(scope="module")
def statement(cluster: Folder, servers: list[Server]) -> str:
    return cluster.temppass("statement", "mint", "ops").out.strip()


@pytest.fixture(scope="module", params=["two servers", "two workers"])
def pair(request: pytest.FixtureRequest, cluster: Folder, servers: list[Server], statement: str) -> Iterator[Pair]:
    if request.param == "two servers":
        one, other = servers
        pair = Pair(Wire(one.url, statement), Wire(other.url, statement))
        yield pair
    else:
        server = cluster.serve("--workers", "2")
        pair = _apart(server, statement)
        yield pair
        assert server.end() == 0
    pair.close()


def _apart(server: Server, statement: str) -> Pair:
    """Connect until two connections are with different workers."""
    for _ in range(WAIT_S):
        pair = Pair(Wire(server.url, statement), Wire(server.url, statement))
        if _is_apart(pair):
            return pair
        pair.close()
    raise AssertionError("all connections are with one worker")


def _is_apart(pair: Pair) -> bool:
    """Tell whether the second wire's process does not count what the first wire asks."""

    def count() -> list[str]:
        return re.findall(r'endpoint="help".*', pair.other.http.get("/metrics").text)

    before = count()
    pair.one.http.get("/help/none")
    return count() == before


# --- what one has acknowledged


@pytest.mark.parametrize(
    ("pass_id", "targets"),
    [
        ("Basic", [{"device_id": "tv-1"}]),
        ("Basic", [{"device_id": "all"}]),
        ("Promo", [{"device_id": "tv-1"}, {"key": "viewer-1"}]),
        ("Promo", [{"device_id": "all"}, {"key": "all"}]),
        ("Promo", [{"device_id": "tv-1"}, {"key": "all"}]),
    ],
)
def test_a_reset_holds_for_the_next_ask_on_the_other(pair: Pair, pass_id: str, targets: list[dict[str, str]]) -> None:
    """Each reset begins another window, on whichever process it was asked for."""
    windows = []
    for number in range(2 * ROUNDS):
        one, other = pair if number % 2 else pair[::-1]
        statuses = [one.reset(pass_id, **target) for target in targets]
        windows.append((*statuses, other.decide("tv-1", f"FILM-{number}", pass_id, "viewer-1")["notAfter"]))
    assert len(set(windows)) == 2 * ROUNDS
    assert {status for *statuses, _ in windows for status in statuses} == {204}


def test_a_catalogue_that_was_applied_holds_for_the_next_request_on_each(cluster: Folder, pair: Pair) -> None:
    told = []
    for enabled in ("true", "false", "true"):
        cluster.declare(CATALOGUE.replace("enabled = true", f"enabled = {enabled}"))
        told += [wire.authorize("tv-2", "FILM", "Seasonal").status_code for wire in pair]
    assert told == [200, 200, 400, 400, 200, 200]


def test_a_revocation_holds_for_the_next_request_on_each(cluster: Folder, pair: Pair) -> None:
    def told(token: str) -> list[int]:
        headers = {"Authorization": f"Bearer {token}"}
        return [wire.http.get("/api/v2/ACME1/configuration", headers=headers).status_code for wire in pair]

    kiosk = Wire(str(pair.one.http.base_url), cluster.temppass("statement", "mint", "kiosk").out.strip())
    before = told(kiosk.token)
    cluster.temppass("statement", "revoke", "kiosk")
    assert (before, told(kiosk.token)) == ([200, 200], [401, 401])
    kiosk.close()


def test_a_client_of_one_gets_its_token_from_the_other(pair: Pair) -> None:
    form = {**pair.one.credentials, "grant_type": "client_credentials"}
    assert pair.other.http.post("/o/client/token", data=form).status_code == 201


# --- races


@pytest.fixture
def crowd(pair: Pair, statement: str) -> Iterator[Pair]:
    """Wires for many requests at once, each to the process of a pair's or to both."""
    crowd = Pair(*[Wire(str(wire.http.base_url), statement) for wire in pair])
    yield crowd
    crowd.close()


def at_once(ask: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(ASKS) as viewers:
        return list(viewers.map(ask, range(ASKS)))


def test_asks_that_cross_devices_and_keys_do_not_add_up(crowd: Pair) -> None:
    """Seven devices and five users in all combinations, each ask on either process and for a title of its own."""
    watched = defaultdict(set)

    def ask(number: int) -> None:
        device, key, title = f"cross-{number % 7}", f"cross-{number % 5}", f"FILM-{number}"
        if crowd[number % 2].decide(device, title, "Promo", key)["authorized"]:
            watched[device, "device"].add(title)
            watched[key, "key"].add(title)

    for _ in range(ROUNDS):
        at_once(ask)
    assert max(map(len, watched.values())) == TITLES_MAX


def test_one_viewer_gets_exactly_the_titles_of_the_pass(crowd: Pair) -> None:
    def ask(number: int) -> bool:
        return bool(crowd[number % 2].decide("one", f"FILM-{number}", "Promo", "one")["authorized"])

    assert sum(at_once(ask)) == TITLES_MAX


def test_a_device_gets_one_window_however_often_it_asks_at_once(crowd: Pair) -> None:
    def ask(number: int) -> tuple[int, bool, int]:
        decision = crowd[number % 2].decide(f"window-{number % 5}", f"FILM-{number}")
        return number % 5, decision["authorized"], decision["notAfter"]

    told = set(at_once(ask))
    assert (len(told), {authorized for _, authorized, _ in told}) == (5, {True})


def test_races_are_counted_and_few_and_nobody_waits_in_vain(servers: list[Server], statement: str) -> None:
    wires = [Wire(server.url, statement) for server in servers]

    def ask(number: int) -> bool:
        return bool(wires[number % 2].decide("race", f"FILM-{number}", "Promo", "race")["authorized"])

    def count(metric: str) -> float:
        pages = [wire.http.get("/metrics").text for wire in wires]
        return sum(float(value) for page in pages for value in re.findall(rf"(?m)^{metric}\S* (\S+)$", page))

    for _ in range(WAIT_S):
        at_once(ask)
        wires[0].reset("Promo", device_id="race")
        wires[1].reset("Promo", key="race")
        if retries := count("temppass_store_retries_total"):
            break
    assert 0 < retries < count("temppass_decisions_total") / 2
    assert [server.log.decode() for server in servers] == [f"listening on {server.url}\n" for server in servers]
    for wire in wires:
        wire.close()


# --- workers come and go


def children(server: Server) -> set[int]:
    return set(map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()))


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline


def test_a_worker_that_is_killed_is_replaced(cluster: Folder, statement: str) -> None:
    server = cluster.serve("--workers", "2")
    before = children(server)
    wire = Wire(server.url, statement)
    told = {wire.decide("worker", "FILM")["notAfter"]}
    wire.close()
    os.kill(min(before), signal.SIGKILL)

    def ask() -> bool:
        # the one that was killed may have taken the connection
        with contextlib.suppress(httpx2.TransportError), contextlib.closing(Wire(server.url, statement)) as wire:
            told.add(wire.decide("worker", "FILM")["notAfter"])
        return len(children(server)) == 2 and children(server) != before

    until(ask)
    assert (len(before), len(told), server.end()) == (2, 1, 0)


def test_a_server_that_is_asked_to_end_starts_no_worker_any_more(cluster: Folder) -> None:
    server = cluster.serve("--workers", "2")
    os.kill(min(children(server)), signal.SIGKILL)
    until(lambda: b"worker ended" in server.log)
    assert server.end() == 0


def test_workers_end_with_the_process_that_started_them(cluster: Folder) -> None:
    """So that the port is free for the next server."""
    server = cluster.serve("--workers", "2")
    os.kill(server.pid, signal.SIGKILL)

    def is_free() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", server.port)) != 0

    until(is_free)


# --- the schema


def test_a_database_is_migrated_twice_and_at_once(tmp_path: Path, postgres_server: str) -> None:
    with new_database(postgres_server) as database, ThreadPoolExecutor(2) as operators:
        folder = sharing(tmp_path, database)
        refused = folder.temppass("serve", "--port", "0")
        told = list(operators.map(lambda _: folder.temppass("store", "migrate"), range(2)))
        told.append(folder.temppass("store", "migrate"))
    assert (refused.code, "hint: run `temppass store migrate`" in refused.err) == (1, True)
    assert told == [(0, "", "the schema is up to date\n")] * 3


def test_a_database_is_migrated_while_a_server_works_on_it(
    cluster: Folder, servers: list[Server], statement: str
) -> None:
    wire = Wire(servers[0].url, statement)
    with ThreadPoolExecutor(2) as operators:
        migrations = [operators.submit(cluster.temppass, "store", "migrate") for _ in range(2)]
        decisions: list[bool] = []
        while not all(migration.done() for migration in migrations):
            decisions.append(wire.decide(f"migrate-{len(decisions)}", "FILM")["authorized"])
    wire.close()
    assert ({migration.result().code for migration in migrations}, set(decisions)) == ({0}, {True})


NEXT_SCHEMA = """
ALTER TABLE temppass.ledgers ADD COLUMN undone_at bigint;
ALTER TABLE temppass.integration ADD COLUMN note text NOT NULL DEFAULT '';
CREATE INDEX ledgers_expires_at ON temppass.ledgers (expires_at);
"""


def test_a_server_of_the_previous_schema_works_on_while_and_after_the_next_one_is_made(
    tmp_path: Path, postgres_server: str
) -> None:
    """The next version of the program is this one with one more schema file, in a folder of its own."""
    source = Path(temppass.__file__).parent
    shutil.copytree(source, tmp_path / "next/temppass", ignore=shutil.ignore_patterns("__pycache__"))
    present = migrations("postgres")[-1][0]
    (tmp_path / f"next/temppass/storage/schema/postgres/{present + 1:03}_next.sql").write_text(NEXT_SCHEMA)
    upgraded = {"PYTHONPATH": str(tmp_path / "next")}
    with new_database(postgres_server) as database, ThreadPoolExecutor(1) as operator:
        folder = sharing(tmp_path, database)
        folder.temppass("store", "migrate")
        folder.declare()
        wire = folder.application(folder.serve())
        migration = operator.submit(folder.temppass, "store", "migrate", **upgraded)
        decisions: list[bool] = []
        while not migration.done():
            decisions.append(wire.decide(f"before-{len(decisions)}", "FILM")["authorized"])
        newer = Wire(folder.serve(**upgraded).url, folder.temppass("statement", "mint", "ops", **upgraded).out.strip())
        ends = [side.decide("crossing", "FILM")["notAfter"] for side in (wire, newer)]
        resets = [side.reset("Basic", device_id="crossing") for side in (wire, newer)]
        refused = folder.temppass("serve", "--port", "0")
        newer.close()
        folder.close()
    assert (migration.result().code, set(decisions), len(set(ends)), resets) == (0, {True}, 1, [204, 204])
    assert f"newer than this program's {present}: upgrade it" in refused.err
