"""
Nodes of a Citus cluster that are killed, hang, and give a slot to one another, under load. `make citus` runs it where
there is a cluster, in three minutes; `make test` does not.

TEMPPASS_TEST_CITUS is the URL of a database at the coordinator, which this empties. TEMPPASS_TEST_NODE is a command
that does to a node what it is told: `kill`, `start`, `freeze` or `thaw`, then the node's port.

Two servers are asked for viewers of one ledger, of two, for new ones, for resets of one and of everybody, for clients
and sessions. Some order has to explain what viewers were told (history.py, failover.py); what else was acknowledged has
to be there in the end.
"""

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import asyncpg
import httpx2
import pytest
from tests.conftest import database_of_slots
from tests.e2e import failover
from tests.e2e.conftest import WAIT_S, Folder, Server, sharing
from tests.e2e.failover import Viewer
from tests.e2e.history import BASIC, PROMO, TTL_MS, is_explained
from tests.e2e.recording import Connection, Tokens, _names

from temppass.core.model import Subject, SubjectKind
from temppass.storage.postgres_sql import SLOT_NODES

NODE = os.environ.get("TEMPPASS_TEST_NODE", "")
KILLS, MOVES = 5, 3
#: viewers of each pass at once; known devices of each slot and server
VIEWERS, KNOWN = 2, 4
#: between two asks of one client, in seconds
PAUSE_S = 0.01
#: all is well again by then, once a node is back
RETURNS_S_MAX = 10
#: passes as long as those of history.py
CATALOGUE = failover.CATALOGUE.replace('"30m"', '"28d"') + "".join(
    f'\n[[pass]]\nid = "{name}"\nkind = "basic"\nttl = "28d"\nchannels = ["ACME1"]\n' for name in ("Known", "Swept")
)


class Asked(NamedTuple):
    """What a client noticed of one ask, on time.monotonic; `tries` is 2 where it was repeated, `ok` of the last."""

    at: float
    seconds: float
    tries: int
    ok: bool


class Cluster:
    """What the coordinator says of its nodes, and a command that ends them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, statement: str, *values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                return list(await connection.fetch(statement, *values))
            finally:
                await connection.close()

        return asyncio.run(ask())

    @property
    def coordinator(self) -> int:
        return int(self.ask("SELECT nodeport FROM pg_dist_node WHERE groupid = 0")[0][0])

    def slots(self) -> list[tuple[int, str, int]]:
        """Answer key, host and port of each."""
        return [(key, host, port) for _, key, host, port in self.ask(SLOT_NODES)]

    def slot_of_newest(self, before: set[bytes]) -> int:
        """Answer the key of the slot that the one ledger is in which was not there before, and know it from now on."""
        ((slot, subject),) = [
            row for row in self.ask("SELECT slot, subject FROM temppass.ledgers") if row[1] not in before
        ]
        before.add(subject)
        return int(slot)

    def move(self, key: int, there: tuple[str, int]) -> None:
        statement = "SELECT citus_move_shard_placement($1, $2, $3, $4, $5, 'force_logical')"
        shard = "SELECT get_shard_id_for_distribution_column('temppass.ledgers', $1::smallint)"
        here = next((host, port) for slot, host, port in self.slots() if slot == key)
        while True:
            try:
                self.ask(statement, self.ask(shard, key)[0][0], *here, *there)
            except asyncpg.DeadlockDetectedError:
                print("a move gave way to a transaction, and is tried again")
            else:
                break


def do(what: str, port: int) -> None:
    subprocess.run([*NODE.split(), what, str(port)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Load:
    """Clients without end on every server, and what they were told."""

    def __init__(self, servers: list[Server], folder: Folder, known: dict[int, list[str]]) -> None:
        self._tokens = [Tokens(folder.application(server).token, "") for server in servers]
        self._statement = folder.temppass("statement", "mint", "ops").out.strip()
        self._servers = servers
        self._known = known
        self.over = False
        self.viewers: list[Viewer] = []
        #: by slot and server
        self.asked: dict[tuple[int, int], list[Asked]] = {(slot, n): [] for slot in known for n in range(len(servers))}
        #: when each kind of thing was last done on each server
        self.done: dict[tuple[str, int], float] = {}
        self.answers = self.faults = 0
        #: of new devices, when their trial began; of resets of everybody, when each was asked for and acknowledged; of
        #: looks at what they end, when each was sent and answered, and the device and the beginning that it showed
        self.begun: dict[str, int] = {}
        self.resets: list[tuple[int, int]] = []
        self.looks: list[tuple[int, int, tuple[str, int]]] = []
        self.clients: list[dict[str, str]] = []
        self.sessions: list[str] = []
        self._connections: list[Connection] = []

    async def run(self) -> None:
        kinds = {
            "new": self._begin,
            "everybody": self._reset_all,
            "swept": self._look_at_swept,
            "client": self._register,
            "session": self._open,
        }
        async with asyncio.TaskGroup() as tasks:
            for number in range(len(self._servers)):
                for name, work in kinds.items():
                    tasks.create_task(self._again(name, number, work))
                for slot in self._known:
                    tasks.create_task(self._ask_known(slot, number))
            for lane, offer in itertools.product(range(VIEWERS), (BASIC, PROMO)):
                tasks.create_task(self._play(lane, offer))

    async def connect(self, number: int) -> Connection:
        there = await asyncio.open_connection("127.0.0.1", self._servers[number].port)
        self._connections.append(Connection(*there, self._tokens[number]))
        return self._connections[-1]

    def hang_up(self) -> None:
        for connection in self._connections:
            connection.writer.close()

    async def _play(self, lane: int, offer: Any) -> None:
        connections = [await self.connect(number) for number in range(len(self._servers))]
        for count in itertools.count():
            if self.over:
                break
            viewer = Viewer(f"{lane}-{count}", offer)
            self.viewers.append(viewer)
            async with asyncio.TaskGroup() as both:
                for connection in connections:
                    both.create_task(viewer.play(connection, self))
            if not viewer.unheard:
                self.done[offer.pass_id, 0] = time.monotonic()

    async def _ask_known(self, slot: int, number: int) -> None:
        connection = await self.connect(number)
        for device in itertools.cycle(self._known[slot]):
            if self.over:
                break
            began = time.monotonic()
            for tries in (1, 2):
                ok = await self._watch(connection, "Known", device) is not None
                if ok:
                    break
                if tries == 1:
                    await asyncio.sleep(1)  # as Retry-After says
            ended = time.monotonic()
            self.asked[slot, number].append(Asked(began, ended - began, tries, ok))
            if ok:
                self.done[f"slot {slot}", number] = ended
            await asyncio.sleep(PAUSE_S)

    async def _again(self, name: str, number: int, work: Callable[[Connection, str], Awaitable[bool]]) -> None:
        connection = await self.connect(number)
        for count in itertools.count():
            if self.over:
                break
            if await work(connection, f"{name}-{number}-{count}"):
                self.answers += 1
                self.done[name, number] = time.monotonic()
            else:
                self.faults += 1
            await asyncio.sleep(PAUSE_S * (20 if name == "everybody" else 2))

    async def _watch(self, connection: Connection, pass_id: str, device: str) -> int | None:
        """Answer when the trial of a device began, None where there was no answer."""
        path, names = (
            f"/api/v2/ACME1/decisions/authorize/{pass_id}",
            _names(Subject(SubjectKind.DEVICE, device.encode())),
        )
        status, _, body = await connection.ask("POST", path, names, b'{"resources": ["A"]}')
        if status != 200:
            assert status == 503, (status, body)
            return None
        (decision,) = json.loads(body)["decisions"]
        if not decision["authorized"]:
            assert decision["error"]["code"] == "maximum_execution_time_exceeded", decision
            return None
        return int(decision["notAfter"]) - TTL_MS

    async def _begin(self, connection: Connection, name: str) -> bool:
        if (began := await self._watch(connection, "Basic", name)) is not None:
            self.begun[name] = began
        return began is not None

    async def _reset_all(self, connection: Connection, _name: str) -> bool:
        began = time.time_ns()
        path = "/reset-tempass/v3/reset?device_id=all&requestor_id=ACME1&mvpd_id=Swept"
        status, _, body = await connection.ask("DELETE", path)
        assert status in {204, 503}, (status, body)
        if status == 204:
            self.resets.append((began, time.time_ns()))
        return status == 204

    async def _look_at_swept(self, connection: Connection, name: str) -> bool:
        asked = time.time_ns()
        device = f"swept-{name[-1]}"
        began = await self._watch(connection, "Swept", device)
        if began is not None:
            self.looks.append((asked, time.time_ns(), (device, began)))
        return began is not None

    async def _register(self, connection: Connection, _name: str) -> bool:
        body = json.dumps({"software_statement": self._statement}).encode()
        status, _, answer = await connection.ask(
            "POST", "/o/client/register", {"Content-Type": "application/json"}, body
        )
        assert status in {201, 503}, (status, answer)
        if status == 201:
            self.clients.append(json.loads(answer))
        return status == 201

    async def _open(self, connection: Connection, name: str) -> bool:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        names = _names(Subject(SubjectKind.DEVICE, name.encode())) | form
        status, _, answer = await connection.ask("POST", "/api/v2/ACME1/sessions", names, b"domainName=a.example")
        assert status in {200, 201, 503}, (status, answer)
        if status == 503:
            return False
        self.sessions.append(json.loads(answer)["code"])
        return True

    # --- what was noticed

    async def well(self, since: float) -> float:
        """Answer how long after `since` everything had been done on every server."""
        deadline = since + 60
        while any(at < since for at in self.done.values()):
            assert time.monotonic() < deadline, [what for what, at in self.done.items() if at < since]
            await asyncio.sleep(0.02)
        return time.monotonic() - since

    def noticed(self, slot: int, since: float, until: float) -> str:
        rows = [row for (of, _), rows in self.asked.items() if of == slot for row in rows if since <= row.at < until]
        served = sorted(row.seconds * 1000 for row in rows if row.ok and row.tries == 1)
        if len(served) < 2:
            return f"{len(served)} of {len(rows)} served"
        p99 = statistics.quantiles(served, n=100)[98]
        rate = len(served) / (until - since)
        late = f"{len(rows) - len(served)} of {len(rows)} not at once"
        return f"{rate:.0f}/s, p99 {p99:.0f} ms, longest {served[-1]:.0f} ms, {late}"

    def lost(self) -> dict[str, list[Any]]:
        """Answer what was acknowledged and cannot be explained by what was told, by kind."""
        return {
            "viewers": [
                viewer for viewer in self.viewers if not is_explained(viewer.told, viewer.offer, viewer.unheard)
            ],
            "resets of everybody": self._lost_resets(),
        }

    def _lost_resets(self) -> list[Any]:
        """Answer trials that were seen before a reset of everybody was asked for, and after it was acknowledged."""
        first: dict[tuple[str, int], int] = {}
        for _, heard, trial in self.looks:
            first[trial] = min(heard, first.get(trial, heard))
        return [
            (asked, done, trial)
            for asked, done in self.resets
            for sent, _, trial in self.looks
            if sent > done and first[trial] < asked
        ]

    async def missing(self) -> dict[str, list[Any]]:
        """Answer what was acknowledged and is not there, asked of every server in turn."""
        trials, clients, sessions = [], [], []
        connections = [await self.connect(number) for number in range(len(self._servers))]
        turns = itertools.cycle(connections)
        for device, began in self.begun.items():
            if await self._watch(next(turns), "Basic", device) != began:
                trials.append((device, began))
        async with httpx2.AsyncClient(base_url=self._servers[0].url, trust_env=False, timeout=WAIT_S) as http:
            for client in self.clients:
                named = {name: client[name] for name in ("client_id", "client_secret")}
                answer = await http.post("/o/client/token", data={"grant_type": "client_credentials", **named})
                if not answer.is_success:
                    clients.append((client["client_id"], answer.status_code))
        for code in self.sessions:
            status, *_ = await next(turns).ask("GET", f"/api/v2/ACME1/sessions/{code}")
            if status != 200:
                sessions.append((code, status))
        return {"trials": trials, "clients": clients, "sessions": sessions}


@pytest.fixture
def folder(tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Folder]:
    assert NODE, "TEMPPASS_TEST_NODE says how a node is ended"
    with database_of_slots(request) as url:
        folder = sharing(tmp_path, url)
        folder.declare(CATALOGUE)
        yield folder
        folder.close()


def _known_devices(cluster: Cluster, server: Server, folder: Folder) -> dict[int, list[str]]:
    """Answer devices that have a trial, by the key of their slot."""
    wire, seen = (
        folder.application(server),
        {row[1] for row in cluster.ask("SELECT slot, subject FROM temppass.ledgers")},
    )
    known: dict[int, list[str]] = {key: [] for key, *_ in cluster.slots()}
    for n in itertools.count():
        if all(len(devices) >= KNOWN for devices in known.values()):
            return known
        assert wire.decide(f"known-{n}", "A", "Known")["authorized"]
        known[cluster.slot_of_newest(seen)].append(f"known-{n}")
    raise AssertionError


@pytest.mark.timeout(900)
def test_nodes_that_go_and_slots_that_move(folder: Folder) -> None:
    assert folder.database is not None
    cluster = Cluster(folder.database)
    servers = [folder.serve(), folder.serve()]
    known = _known_devices(cluster, servers[0], folder)
    load = Load(servers, folder, known)
    try:
        asyncio.run(_play(load, cluster, servers))
    finally:
        (folder.path / "log").write_bytes(b"\n".join(server.log for server in servers))


async def _play(load: Load, cluster: Cluster, servers: list[Server]) -> None:
    running = asyncio.create_task(load.run())
    slots = await asyncio.to_thread(cluster.slots)
    coordinator = await asyncio.to_thread(lambda: cluster.coordinator)
    assert slots[0][1:] != slots[1][1:], "no slot may be where another is"
    returned = []
    await asyncio.sleep(2)
    for n in range(KILLS):
        away = _without(load, servers, slots[n % len(slots)][2], slots, "kill", "start", 2 + n % 3)
        returned.append(await away)
    returned.append(await _without(load, servers, slots[0][2], slots, "freeze", "thaw", 3))
    returned.append(await _without(load, servers, coordinator, slots, "kill", "start", 3))
    for n in range(2 * MOVES):
        moved = _move(load, cluster, slots[1], slots[0], back=bool(n % 2))
        returned.append(await moved)
    load.over = True
    await running
    lost = load.lost() | await load.missing()
    load.hang_up()
    unknown = sum(len(viewer.unheard) for viewer in load.viewers)
    print(
        f"{len(load.viewers)} viewers, {unknown} acts without an answer; {len(load.begun)} trials, {len(load.resets)}"
        f" resets of everybody, {len(load.looks)} looks at them, {len(load.clients)} clients, {len(load.sessions)}"
        f" sessions; lost: { {kind: len(each) for kind, each in lost.items()} }; well again after at most"
        f" {max(returned):.1f} s"
    )
    for kind, each in lost.items():
        print(kind, *each[:3], sep="\n  ")
    assert not any(lost.values())
    assert max(returned) <= RETURNS_S_MAX


async def _without(
    load: Load,
    servers: list[Server],
    port: int,
    slots: list[tuple[int, str, int]],
    end: str,
    begin: str,
    seconds: float,
) -> float:
    """Have a node away for `seconds`; answer how long it took until all was well again."""
    before = time.monotonic()
    await asyncio.sleep(3)
    gone = time.monotonic()
    await asyncio.to_thread(do, end, port)
    await asyncio.sleep(seconds - 0.5)
    said = [await _readiness(server) for server in servers]
    await asyncio.sleep(0.5)
    back = time.monotonic()
    await asyncio.to_thread(do, begin, port)
    started = time.monotonic()
    well = await load.well(started)
    print(f"{end} {port} for {started - gone:.1f} s: well again after {well:.2f} s; readyz {said}")
    for key, _, at in slots:
        where = "away" if at == port else "there"
        print(f"  slot {key} ({where}): before {load.noticed(key, before, gone)}; then {load.noticed(key, gone, back)}")
    return well


async def _readiness(server: Server) -> tuple[int, Any]:
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"{server.url}/readyz")
    return answer.status_code, answer.json().get("store", {}).get("away") if answer.status_code == 200 else answer.text


async def _move(load: Load, cluster: Cluster, slot: Any, other: Any, *, back: bool) -> float:
    """Have a slot moved to the node of another, or back."""
    key, *home = slot
    began = time.monotonic()
    await asyncio.to_thread(cluster.move, key, tuple(home) if back else tuple(other[1:]))
    moved = time.monotonic()
    well = await load.well(moved)
    await asyncio.sleep(6)
    rows = [row for (of, _), rows in load.asked.items() if of == key for row in rows if row.at >= began - 0.5]
    first, second = sum(row.tries > 1 for row in rows), sum(not row.ok for row in rows)
    print(
        f"slot {key} moved in {moved - began:.1f} s: well again after {well:.2f} s; of {len(rows)} asks {first} failed"
        f" at first and {second} again; longest pause {max(row.seconds for row in rows) * 1000:.0f} ms"
    )
    assert second == 0
    return well
