"""
Fills a store with ledgers of strangers by SQL, past the server, as fast as the database takes them. The schemas are
those of storage/schema; the server must have seen the (channel, pass) once, and should not run meanwhile.
"""

import asyncio
import os
import sqlite3
import time

import asyncpg

from harness import ENVIRON, sql
from temppass.core.secret import Secret
from temppass.storage.postgres import PostgresStore
from traffic import CHANNEL, PASS

ENVIRONMENT = "release-production"
TTL_MS = 1_800_000
DAY_MS = 86_400_000
DEVICE = 0
#: core/identity.py in SQL: HMAC-SHA-256 (RFC 2104 §2) of a device's id, which is 16 digits in base64
_DIGEST = r"""
substr(sha256('\x{1}'::bytea || sha256('\x{0}'::bytea || 'device:' || decode(lpad(n::text, 16, '0'), 'base64'))), 1, 16)
"""
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


def fill_known(url: str, count: int) -> None:
    """
    Add the ledgers of `count` known devices (traffic.py) to PostgreSQL, which run for a day. They lie in the order in
    which they came, and the index is as full as one that grew with them: two thirds.
    """
    peppers = [bytes(byte ^ pad for byte in asyncio.run(_pepper(url)).ljust(64, b"\0")).hex() for pad in (0x36, 0x5C)]
    now = int(time.time() * 1000)
    index = sql(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'temppass' AND indexname = 'ledger_pkey'")
    sql(
        url,
        "ALTER TABLE temppass.ledgers DROP CONSTRAINT ledger_pkey",
        f"""
        INSERT INTO temppass.ledgers (integration, kind, subject, generation, started_at, expires_at, version)
        SELECT id, {DEVICE}, {_DIGEST.format(*peppers)}, device_floor, {now}, {now + DAY_MS}, 1
        FROM temppass.integration, generate_series(0, {count - 1}) AS n WHERE {_INTEGRATION}
        """,
        "SET maintenance_work_mem = '1GB'",
        f"{index} WITH (fillfactor = 67)",
        "ALTER TABLE temppass.ledgers ADD CONSTRAINT ledger_pkey PRIMARY KEY USING INDEX ledger_pkey",
        "ALTER INDEX temppass.ledger_pkey RESET (fillfactor)",
        "VACUUM ANALYZE temppass.ledgers",
        "CHECKPOINT",
    )


async def _pepper(url: str) -> bytes:
    store = PostgresStore(url)
    try:
        environment = await store.load(ENVIRONMENT)
    finally:
        await store.close()
    assert environment is not None
    return Secret(ENVIRON["TEMPPASS_SECRET"].encode()).open(ENVIRONMENT, environment.record.sealed_keys).pepper


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
