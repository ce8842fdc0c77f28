"""
Bytes on disk of a basic ledger, index included, after ledgers of strangers were written in random order by the
adapters' own code, batch by batch, as decisions would. The SQLite file is measured after a checkpoint of its log, and
also holds the (few) other rows; PostgreSQL measures the table with its index, TOAST and maps after a CHECKPOINT.
"""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

from harness import CORES, STORES, claim, empty_store, run, sql
from temppass.core.model import Changes, Found, Ledger, Subject, SubjectKind
from temppass.store import Keys, Store
from temppass.wiring import open_store

LEDGERS = int(os.environ.get("TEMPPASS_BENCH_LEDGERS", "1000000"))
BOUNDS = {"sqlite": 120, "postgres": 160}
#: steps that wait at once, so that batches are full
WAITING = 5_000
TTL_MS = 1_800_000


async def begin_trial(store: Store, now: int) -> None:
    subject = Subject(SubjectKind.DEVICE, os.urandom(16))

    def step(found: Found) -> tuple[None, Changes]:
        assert found.ledgers == (None,)
        return None, Changes(((subject, Ledger(now, now + TTL_MS, found.floors.device)),))

    await store.transact(Keys("bench", 0, ("REF", "TempPassREF"), (subject,)), step)


async def write(url: str) -> None:
    store = open_store(url)
    try:
        for first in range(0, LEDGERS, WAITING):
            now = time.time_ns() // 1_000_000
            await asyncio.gather(*(begin_trial(store, now) for _ in range(min(WAITING, LEDGERS - first))))
    finally:
        await store.close()


def size_of(url: str) -> tuple[int, int]:
    """Answer how many bytes, and how many ledgers, the store holds."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (count,) = connection.execute("SELECT count(*) FROM ledger").fetchone()
        connection.close()
        return path.stat().st_size, count
    size = sql(url, "CHECKPOINT", "SELECT pg_total_relation_size('temppass.ledgers')")
    return size, sql(url, "SELECT count(*) FROM temppass.ledgers")


def main() -> None:
    os.sched_setaffinity(0, CORES)  # nothing is timed here
    for kind in STORES:
        with empty_store(kind) as url:
            start = time.monotonic()
            asyncio.run(write(url))
            size, count = size_of(url)
            assert count == LEDGERS, f"{count} ledgers of {LEDGERS} are there"
            print(f"{kind}: {size:,} bytes for {count:,} ledgers, written in {time.monotonic() - start:.0f} s")
            claim(f"bytes a basic ledger, index included, {kind}", size / count, BOUNDS[kind], " B", at_most=True)


if __name__ == "__main__":
    run(main)
