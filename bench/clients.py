"""
Decisions a second while clients that nobody has any more are swept, against the same server with none to sweep; and
what a client takes on the disk.

A million clients are added past the server, all of which asked for a token two years ago. The server that is to sweep
them begins at once, because it is told to look often; it is stopped (SIGSTOP) while the other one is measured. That it
swept all through each measurement is read from its metrics. As in sweep.py, what is quiet is measured twice a round.
"""

import asyncio
import os
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator

import asyncpg

from harness import STORES, claim, empty_store, run, sql, temppass
from sweep import Sweep, compare, measure, tell

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
SWEEP = Sweep("clients", EAGER, CLIENTS, 'temppass_swept_clients_total{reason="idle"}')
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


def main() -> None:
    for store in STORES:
        print(f"decisions a second beside {CLIENTS:,} idle clients that are swept, {store}")
        with empty_store(store) as url, empty_store(store) as quiet_url:
            for each in (url, quiet_url):
                with temppass(each) as ours:
                    measure(ours, "known")
            claim(f"a client with its indexes, {store}", fill(url, CLIENTS), None, " bytes")
            figures = compare(quiet_url, url, SWEEP)
        tell(figures, SWEEP, store, BOUND)


if __name__ == "__main__":
    run(main)
