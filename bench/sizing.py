"""
How many server cores, database cores and connections a load takes, and where it saturates. What a decision costs is
measured here first: work of the server and of the database, for each batch and for each decision in it. Formulas make a
table of that; a simulation of lanes (queue, batch, network, commit) says what waiting does to it.

The simulation is held against what really happens at small scale: one server process and two on one core, with 0 to
2 ms put between server and database by a proxy on loopback. There load generator and database share the other core, as
they do here; the table is for machines that they have for themselves.
"""

import asyncio
import contextlib
import functools
import heapq
import itertools
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from harness import (
    LOAD_CORES,
    SECONDS,
    SERVER_CORES,
    claim,
    database_pids,
    empty_store,
    run,
    sql,
    temppass,
    worked_s,
    wrk,
)
from temppass.core.model import NOTHING, Changes, Found, Ledger, Subject, SubjectKind
from temppass.storage.postgres import PostgresStore
from temppass.store import BATCH_MAX, Keys
from traffic import authorize

TTL_MS = 1_800_000
#: asks that wait at once, where costs are measured
WIDTHS = (1, 4, 16, 64, 256)
CLIENTS = 64
DELAYS_MS = (0, 0.5, 1, 2)
#: what a decision takes of a worker's core, times what it takes of one PostgreSQL's: an input, there is no cluster here
CITUS = float(os.environ.get("TEMPPASS_BENCH_CITUS_COST", "3"))
#: of the time of a core that is planned with; the rest is for what a model does not know
BUSY = 0.6
SIMULATED_S = 3
#: in a simulation that is told a rate
DECISIONS = 40_000
#: what the table asks of a database
P99_MS = 20
#: by how much the simulation may be off, as a share of what was measured
BOUND = 0.25


class Cost(NamedTuple):
    """Processor time: of each batch, and of each decision in it, in microseconds."""

    batch: float
    decision: float

    def of(self, decisions: float) -> float:
        return self.batch + self.decision * decisions


class Costs(NamedTuple):
    """What a decision takes; `write` comes on top of `read`."""

    server_read: Cost
    server_write: Cost
    database_read: Cost
    database_write: Cost
    #: the rest of a request in the server: HTTP, signature
    request: float
    #: beyond processor time: what a trip waits on this machine, and what its commit adds
    trip: float
    commit: float
    #: what the load generator takes for a request
    generator: float = 0


# --- measured


async def _decide(store: PostgresStore, subject: Subject) -> None:
    now = time.time_ns() // 1_000_000

    def step(found: Found) -> tuple[None, Changes]:
        if found.ledgers != (None,):
            return None, NOTHING
        return None, Changes(((subject, Ledger(now, now + TTL_MS, found.floors.device)),))

    await store.transact(Keys("bench", 0, ("REF", "TempPassREF"), (subject,)), step)


class _Measured(NamedTuple):
    """A decision: its share of a batch, its processor time, and how long one took that was neither fast nor slow."""

    batches: float
    server_us: float
    database_us: float
    took_us: float


def _drive(url: str, subjects: Sequence[Subject], width: int) -> _Measured:
    """Decide on `subjects`, `width` at once, on a store of its own."""
    commits = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{urllib.parse.urlsplit(url).path[1:]}'"

    took: list[float] = []

    async def drive() -> tuple[float, float]:
        store, rest = PostgresStore(url), iter(subjects)

        async def one() -> None:
            for subject in rest:
                start = time.perf_counter()
                await _decide(store, subject)
                took.append(time.perf_counter() - start)

        await store.ping()
        await _decide(store, subjects[0])
        pids = await asyncio.to_thread(database_pids, url)
        work, own = sum(map(worked_s, pids)), time.process_time()
        await asyncio.gather(*(one() for _ in range(width)))
        spent = time.process_time() - own, sum(map(worked_s, pids)) - work
        await store.close()
        return spent

    before = sql(url, commits)
    own_s, work_s = asyncio.run(drive())
    share = 1e6 / len(subjects)
    return _Measured(
        (sql(url, commits) - before) / len(subjects), own_s * share, work_s * share, statistics.median(took) * 1e6
    )


def _least(url: str, subjects: Callable[[], Sequence[Subject]], width: int) -> _Measured:
    """Answer the least of some measurements, each column by itself: all that disturbs makes them larger."""
    return _Measured(*map(min, *(_drive(url, subjects(), width) for _ in range(3))))


def _fit(points: Sequence[tuple[float, float]]) -> Cost:
    """Fit what a decision takes to its share of a batch."""
    mean_x, mean_y = (statistics.fmean(column) for column in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return Cost(slope, max(0.0, mean_y - slope * mean_x))


def measured(url: str) -> Costs:
    """Measure what the store takes by itself, then what a request takes beyond that."""

    def strangers(count: int) -> list[Subject]:
        return [Subject(SubjectKind.DEVICE, os.urandom(16)) for _ in range(count)]

    pool = strangers(20_000)
    _drive(url, pool, BATCH_MAX)
    os.sched_setaffinity(0, SERVER_CORES)
    known, new = [], []
    for width in WIDTHS:
        count = 600 + width * 60
        known.append(_least(url, functools.partial(random.sample, pool, count), width))
        new.append(_least(url, functools.partial(strangers, count), width))
    os.sched_setaffinity(0, LOAD_CORES)
    fits = []
    for whose in ("server_us", "database_us"):
        read = _fit([(each.batches, getattr(each, whose)) for each in known])
        both = _fit([(each.batches / 2, getattr(each, whose)) for each in new])
        fits += [read, Cost(both.batch - read.batch, max(0.0, both.decision - read.decision))]
    alone = [each.took_us - each.server_us - each.database_us for each in (known[0], new[0])]
    costs = Costs(*fits, request=0, trip=max(0.0, alone[0]), commit=max(0.0, alone[1] - 2 * alone[0]))
    with temppass(url) as ours:
        load = [authorize(ours.token, "@KNOWN@")]
        wrk(ours.served, load)
        before, used, commits = worked_s(ours.served.pid), _children_s(), _commits(url)
        rate = wrk(ours.served, load)
        took, generated = worked_s(ours.served.pid) - before, _children_s() - used
    decisions = rate * SECONDS
    store_us = costs.server_read.batch * (_commits(url) - commits) / decisions + costs.server_read.decision
    return costs._replace(request=took * 1e6 / decisions - store_us, generator=generated * 1e6 / decisions)


def _commits(url: str) -> int:
    return int(sql(url, "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = current_database()"))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- simulated


class Plant(NamedTuple):
    """What there is: processes of servers, and cores."""

    processes: int
    server_cores: int
    database_cores: int
    delay_us: float = 0
    #: databases that share the subjects; each process has a lane to each, and each has `database_cores`
    databases: int = 1
    #: whether the load generator has the database's cores too
    is_shared: bool = False


class _Cores:
    """Cores that take one piece of work after another."""

    def __init__(self, world: "_World", count: int) -> None:
        self._world = world
        self._free = count
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self.worked_us = 0.0

    def work(self, us: float, then: Callable[[], None]) -> None:
        self._queue.append((us, then))
        self._begin()

    def _begin(self) -> None:
        if self._free and self._queue:
            self._free -= 1
            us, then = self._queue.popleft()
            self.worked_us += us
            self._world.after(us, lambda: self._end(then))

    def _end(self, then: Callable[[], None]) -> None:
        self._free += 1
        then()
        self._begin()


class _World:
    """Time, in microseconds, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, us: float, then: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + us, self._number, then))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, then = heapq.heappop(self._events)
            then()


class _Log:
    """Is flushed for all who wait when a flush begins, and for those who come meanwhile by the next one."""

    def __init__(self, world: _World, flush_us: float) -> None:
        self._world = world
        self._flush_us = flush_us
        self._waiting: list[Callable[[], None]] = []
        self._is_busy = False

    def flush(self, then: Callable[[], None]) -> None:
        self._waiting.append(then)
        if not self._is_busy:
            self._begin()

    def _begin(self) -> None:
        self._is_busy = bool(self._waiting)
        if self._is_busy:
            waiting, self._waiting = self._waiting, []
            self._world.after(self._flush_us, lambda: self._end(waiting))

    def _end(self, waiting: list[Callable[[], None]]) -> None:
        self._begin()
        for then in waiting:
            then()


class _Lane:
    """One batch after another, as storage/postgres_lane.py: what waits meanwhile is the next one."""

    def __init__(self, world: _World, costs: Costs, delay_us: float, on: tuple[_Cores, _Cores, _Log | None]) -> None:
        self._world, self._costs, self._delay_us = world, costs, delay_us
        #: no log where nothing is written
        self._server, self._database, self._log = on
        self._waiting: list[Callable[[], None]] = []
        self._is_under_way = False
        self.batches = 0

    def ask(self, then: Callable[[], None]) -> None:
        self._waiting.append(then)
        if not self._is_under_way:
            self._is_under_way = True
            self._server.work(0, self._next)  # once those have asked who are here already

    def _next(self) -> None:
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        self._is_under_way = bool(batch)
        if not batch:
            return
        self.batches += 1

        def answer() -> None:
            self._next()
            for then in batch:
                then()

        def write() -> None:
            self._trip(len(batch), self._costs.server_write, self._costs.database_write, self._log, answer)

        then = write if self._log is not None else answer
        self._trip(len(batch), self._costs.server_read, self._costs.database_read, None, then)

    def _trip(self, decisions: int, server: Cost, database: Cost, log: _Log | None, then: Callable[[], None]) -> None:
        """Let the server make a statement, the database answer it, both wait for the network, and the server read."""
        there = self._costs.trip / 2 + self._delay_us
        half = server.of(decisions) / 2

        def answered() -> None:
            self._world.after(there, lambda: self._server.work(half, then))

        def done() -> None:
            if log is not None:
                log.flush(answered)
            else:
                answered()

        self._server.work(
            half, lambda: self._world.after(there, lambda: self._database.work(database.of(decisions), done))
        )


class Simulated(NamedTuple):
    rate: float
    p99_ms: float
    batch: float
    server: float
    database: float


def simulate(
    costs: Costs, plant: Plant, *, writes: bool, rate: float | None = None, seconds: float = SIMULATED_S
) -> Simulated:
    """
    Let CLIENTS ask again as soon as they are answered or, given a rate, strangers ask at random moments; answer
    decisions a second, p99, decisions a batch, and how busy the cores are.
    """
    world, chance = _World(), random.Random(1)
    servers = [_Cores(world, 1) for _ in range(plant.server_cores)]
    databases = [_Cores(world, plant.database_cores) for _ in range(plant.databases)]
    logs = [_Log(world, costs.commit) if writes else None for _ in databases]
    lanes = [
        [
            _Lane(world, costs, plant.delay_us, (servers[process % plant.server_cores], each, log))
            for each, log in zip(databases, logs, strict=True)
        ]
        for process in range(plant.processes)
    ]
    took: list[float] = []

    def ask(client: int, then: Callable[[], None]) -> None:
        process, lane = client % plant.processes, chance.randrange(plant.databases)
        server, start = servers[process % plant.server_cores], world.now

        def answered() -> None:
            took.append(world.now - start)
            then()

        def decide() -> None:
            lanes[process][lane].ask(lambda: server.work(costs.request / 2, answered))

        if plant.is_shared:
            databases[0].work(costs.generator, lambda: server.work(costs.request / 2, decide))
        else:
            server.work(costs.request / 2, decide)

    if rate is None:
        for client in range(CLIENTS):
            _again(ask, client)
    else:
        _arrive(world, ask, rate, chance)
    world.run(seconds * 1e6)
    took.sort()
    return Simulated(
        len(took) / seconds,
        took[int(len(took) * 0.99)] / 1000,
        len(took) / max(1, sum(lane.batches for each in lanes for lane in each)),
        sum(each.worked_us for each in servers) / plant.server_cores / world.now,
        sum(each.worked_us for each in databases) / plant.databases / plant.database_cores / world.now,
    )


def _again(ask: Callable[[int, Callable[[], None]], None], client: int) -> None:
    ask(client, lambda: _again(ask, client))


def _arrive(world: _World, ask: Callable[[int, Callable[[], None]], None], rate: float, chance: random.Random) -> None:
    number = 0

    def one() -> None:
        nonlocal number
        number += 1
        ask(number, lambda: None)
        world.after(chance.expovariate(rate) * 1e6, one)

    one()


# --- held against what happens

WORKERS = "import sys; from temppass import cli; sys.argv += ['--workers', '{}']; cli.main()"

PROXY = """
import asyncio, sys
from collections import deque
async def main(path, delay_s):
    async def pipe(reader, writer):
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(1 << 18):
                loop.call_later(delay_s, writer.write, data) if delay_s else writer.write(data)
        finally:
            loop.call_later(delay_s, writer.close)
    async def serve(reader, writer):
        there, here = await asyncio.open_unix_connection(path)
        await asyncio.gather(pipe(reader, here), pipe(there, writer), return_exceptions=True)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
import uvloop
uvloop.run(main(sys.argv[1], float(sys.argv[2]) / 1000))
"""


@contextlib.contextmanager
def delayed(url: str, delay_ms: float) -> Iterator[str]:
    """Answer the URL of a proxy to this database; each way takes `delay_ms`."""
    parts = urllib.parse.urlsplit(url)
    (directory,) = urllib.parse.parse_qs(parts.query)["host"]
    command = [sys.executable, "-c", PROXY, f"{directory}/.s.PGSQL.5432", str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"postgresql://postgres@127.0.0.1:{process.stdout.readline().strip()}{parts.path}"
    finally:
        process.terminate()
        process.wait()


def check(url: str, costs: Costs) -> None:
    """Compare decisions a second, simulated and measured, with more and more delay between server and database."""
    off: list[float] = []
    for processes in (1, 2):
        program = (sys.executable, "-c", WORKERS.format(processes))
        for delay_ms in DELAYS_MS:
            with delayed(url, delay_ms) as far, temppass(far, program=program) as ours:
                for kind in ("known", "new"):
                    load = [authorize(ours.token, f"@{kind.upper()}@")]
                    wrk(ours.served, load, seconds=1)
                    really = wrk(ours.served, load)
                    plant = Plant(processes, 1, 1, delay_ms * 1000, is_shared=True)
                    said = simulate(costs, plant, writes=kind == "new")
                    off.append(said.rate / really - 1)
                    print(
                        f"  {processes} on one core, {delay_ms:>3} ms, {kind:<5} measured {really:>6,.0f}/s, "
                        f"simulated {said.rate:>6,.0f}/s ({off[-1]:+.0%}), {said.batch:.0f} a batch"
                    )
    claim("simulation / measured - 1, worst", max(map(abs, off)), BOUND, at_most=True)
    claim("  median of the absolute values", statistics.median(map(abs, off)), None)


# --- how many of what


def plan(costs: Costs, rate: float, databases: int) -> tuple[Plant, Simulated]:
    """
    Answer the fewest cores for this rate of new subjects: each database's with which the p99 is P99_MS at most, and the
    servers' that are BUSY then, each with one process. The longer a database takes the more decisions come in a batch
    and the less each of them costs, so its cores are a least, and all of them as busy as they can be.
    """
    alone = costs.request + costs.server_read.of(1) + costs.server_write.of(1)
    found = _enough(costs, rate, math.ceil(rate * alone / 1e6 / BUSY), databases)
    plant, said = found
    fewer = math.ceil(plant.server_cores * said.server / BUSY)
    return _enough(costs, rate, fewer, databases) if fewer < plant.server_cores else found


def _enough(costs: Costs, rate: float, servers: int, databases: int) -> tuple[Plant, Simulated]:
    least = rate * (costs.database_read.decision + costs.database_write.decision) / 1e6 / databases
    for cores in itertools.count(max(1, math.ceil(least))):
        plant = Plant(servers, servers, cores, databases=databases)
        said = simulate(costs, plant, writes=True, rate=rate, seconds=min(SIMULATED_S, DECISIONS / rate))
        if said.p99_ms <= P99_MS:
            return plant, said
    raise AssertionError


def table(costs: Costs, databases: int = 1) -> None:
    """Say what loads of new subjects take; each of several databases has a part of the subjects."""
    for rate in (1_000, 5_000, 20_000, 83_000):
        plant, said = plan(costs, rate, databases)
        print(
            f"  {rate:>6,} new/s: {plant.server_cores:>3} server cores ({said.server:.0%} busy), {databases} x "
            f"{plant.database_cores:>2} of the database ({said.database:.0%}), {said.batch:4.1f} a batch, "
            f"{2 * said.rate / said.batch:>7,.0f} statements/s, p99 {said.p99_ms:.1f} ms"
        )


def main() -> None:
    with empty_store("postgres") as url:
        costs = measured(url)
        for name, value in costs._asdict().items():
            shown = (
                f"{value.batch:6.1f} a batch, {value.decision:5.1f} a decision"
                if isinstance(value, Cost)
                else f"{value:6.1f}"
            )
            print(f"  {name:<14} {shown} µs")
        check(url, costs)
    print("one PostgreSQL")
    table(costs)
    print(f"Citus, two workers, of which a decision takes {CITUS:g} times as much (TEMPPASS_BENCH_CITUS_COST)")
    dearer = {name: Cost(*(CITUS * us for us in getattr(costs, name))) for name in ("database_read", "database_write")}
    table(costs._replace(**dearer), databases=2)


if __name__ == "__main__":
    run(main)
