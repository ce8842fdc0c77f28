"""
Fills a store with ledgers of strangers by SQL, past the server, as fast as the database takes them. The schemas are
those of storage/schema; the server must have seen the (channel, pass) once, and should not run meanwhile.
"""

import asyncio
import os
import sqlite3
import time

import asyncpg

from harness import sql
from traffic import CHANNEL, PASS

ENVIRONMENT = "release-production"
TTL_MS = 1_800_000
DEVICE = 0
_INTEGRATION = f"environment = '{ENVIRONMENT}' AND channel = '{CHANNEL}' AND pass = '{PASS}'"


def fill(url: str, count: int) -> None:
    """Add `count` device ledgers that count: of the present generation, begun now."""
    now = int(time.time() * 1000)
    subjects = sorted(os.urandom(16) for _ in range(count))
    if url.startswith("sqlite"):
        _fill_sqlite(url, subjects, now)
    else:
        asyncio.run(_fill_postgres(url, subjects, now))
        sql(url, "VACUUM ANALYZE temppass.ledgers", "CHECKPOINT")


def lower_floor(url: str) -> None:
    """Make every ledger count again that a reset of everybody has made stale; as an undo does, without its act."""
    lower = f"SET device_ahead = device_floor + device_ahead, device_floor = 0 WHERE {_INTEGRATION}"
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(f"UPDATE integration {lower}")
        connection.close()
    else:
        sql(url, f"UPDATE temppass.integration {lower}")


def _fill_sqlite(url: str, subjects: list[bytes], now: int) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    integration, floor = connection.execute(f"SELECT id, device_floor FROM integration WHERE {_INTEGRATION}").fetchone()
    with connection:
        connection.executemany(
            "INSERT INTO ledger (integration, kind, subject, generation, started_at, expires_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            ((integration, DEVICE, subject, floor, now, now + TTL_MS) for subject in subjects),
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def _fill_postgres(url: str, subjects: list[bytes], now: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        integration, floor = await connection.fetchrow(
            f"SELECT id, device_floor FROM temppass.integration WHERE {_INTEGRATION}"
        )
        await connection.copy_records_to_table(
            "ledgers",
            schema_name="temppass",
            columns=["integration", "kind", "subject", "generation", "started_at", "expires_at", "version"],
            records=((integration, DEVICE, subject, floor, now, now + TTL_MS, 1) for subject in subjects),
            timeout=600,
        )
    finally:
        await connection.close()
