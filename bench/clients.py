"""
Decisions a second while clients that nobody has any more are swept, against the same server with none to sweep; and
what a client takes on the disk.

A million clients are added past the server, all of which asked for a token two years ago. The server that is to sweep
them begins at once, because it is told to look often; it is stopped (SIGSTOP) while the other one is measured. That it
swept all through each measurement is read from its metrics. As in sweep.py, what is quiet is measured twice a round.
"""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import asyncpg

from harness import SECONDS, STORES, BenchError, Ours, ask, claim, empty_store, in_turn, ratio, run, sql, temppass
from sweep import GOES_ON_S, KINDS, measure

BOUND = 0.95
CLIENTS = int(os.environ.get("TEMPPASS_BENCH_CLIENTS", "1000000"))
ENVIRONMENT = "release-production"
TWO_YEARS_MS = 730 * 86_400_000
#: our program, where upkeep begins at once
EAGER = (
    sys.executable,
    "-c",
    """
from temppass import cli
from temppass.service import upkeep
upkeep.TICK_S = 0.2
cli.main()
""",
)
_COLUMNS = ("environment", "id", "application", "epoch", "secret_hash", "issued_at", "statement", "used_at")


def fill(url: str, count: int) -> float:
    """Add `count` clients of the demo's statement, idle for two years; answer the bytes that each takes."""
    from_ms = int(time.time() * 1000) - TWO_YEARS_MS
    copied = "SELECT application, epoch, statement FROM {}client WHERE statement <> '' LIMIT 1"

    def rows(application: str, epoch: int, statement: str) -> Iterator[tuple[object, ...]]:
        for number in range(count):
            at = from_ms + number
            yield ENVIRONMENT, str(uuid.uuid4()), application, epoch, os.urandom(32), at, statement, at

    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        (before,) = connection.execute("PRAGMA page_count").fetchone()
        with connection:
            made = rows(*connection.execute(copied.format("")).fetchone())
            connection.executemany(f"INSERT INTO client ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * 8)})", made)
        (after,), (size,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return float((after - before) * size / count)

    async def copy() -> None:
        database = await asyncpg.connect(url)
        try:
            made = rows(*await database.fetchrow(copied.format("temppass.")))
            await database.copy_records_to_table(
                "client", schema_name="temppass", columns=_COLUMNS, records=made, timeout=600
            )
        finally:
            await database.close()

    asyncio.run(copy())
    sql(url, "VACUUM ANALYZE temppass.client", "CHECKPOINT")
    return float(sql(url, "SELECT pg_total_relation_size('temppass.client')") / count)


def swept(ours: Ours) -> int:
    """Answer how many idle clients the server has removed."""
    _, metrics = ask(ours.served, "GET", "/metrics")
    found = re.search(rb'^temppass_swept_clients_total{reason="idle"} (\S+)$', metrics, re.MULTILINE)
    if found is None:
        raise BenchError("the server has no metric of swept clients")
    return int(float(found[1]))


def measure_swept(ours: Ours, kind: str) -> float:
    """Measure between SIGCONT and SIGSTOP. Raises BenchError unless clients went meanwhile."""
    os.kill(ours.served.pid, signal.SIGCONT)
    try:
        before, deadline = swept(ours), time.monotonic() + GOES_ON_S
        while swept(ours) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        before = swept(ours)
        figure = measure(ours, kind)
        after = swept(ours)
    finally:
        os.kill(ours.served.pid, signal.SIGSTOP)
    print(f"    {(after - before) / SECONDS:,.0f} clients swept a second")
    if after == before or after >= CLIENTS:
        raise BenchError(f"nothing was swept, or all of it: {before} before, {after} after")
    return figure


def main() -> None:
    for store in STORES:
        print(f"decisions a second beside {CLIENTS:,} idle clients that are swept, {store}")
        with empty_store(store) as url, empty_store(store) as quiet_url:
            for each in (url, quiet_url):
                with temppass(each) as ours:
                    measure(ours, "known")
            claim(f"a client with its indexes, {store}", fill(url, CLIENTS), None, " bytes")
            with temppass(quiet_url) as quiet, temppass(url, program=EAGER) as sweeping:
                os.kill(sweeping.served.pid, signal.SIGSTOP)
                variants: dict[str, Callable[[], float]] = {}
                for kind in KINDS:
                    variants[f"{kind}, quiet"] = lambda kind=kind: measure(quiet, kind)
                    variants[f"{kind}, sweeping"] = lambda kind=kind: measure_swept(sweeping, kind)
                    variants[f"{kind}, quiet again"] = lambda kind=kind: measure(quiet, kind)
                try:
                    for warm_up in variants.values():
                        warm_up()
                    figures = in_turn(variants)
                finally:
                    os.kill(sweeping.served.pid, signal.SIGCONT)  # or it could not end
        for kind in KINDS:
            share = ratio(figures[f"{kind}, sweeping"], figures[f"{kind}, quiet"])
            claim(f"{kind} subjects while clients are swept / not, {store}", share, BOUND)
            noise = ratio(figures[f"{kind}, quiet again"], figures[f"{kind}, quiet"])
            claim(f"  not sweeping / not, {store}", noise, None)


if __name__ == "__main__":
    run(main)
