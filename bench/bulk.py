"""
Fills a store with ledgers of strangers by SQL, past the server, as fast as the database takes them. The schemas are
those of storage/schema; the server must have seen the (channel, pass) once, and should not run meanwhile.
"""

import asyncio
import os
import sqlite3
import time
import uuid

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


# --- what operators see

_WHATS = ("permit", "trial", "temporary_access_duration_limit_exceeded", "temporary_access_resources_limit_exceeded")


def fill_acts(url: str, count: int) -> None:
    """
    Copy the one act of the environment that names a subject, sealed, `count` times: each an act of its own, a minute
    before the next, on a subject of its own. Their places in the chain are right, its hashes are not.
    """
    if url.startswith("sqlite"):
        _fill_acts_sqlite(url, count)
    else:
        _fill_acts_postgres(url, count)


def _fill_acts_sqlite(url: str, count: int) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        row = connection.execute("SELECT act FROM target WHERE environment = ? LIMIT 1", [ENVIRONMENT]).fetchone()
        names = "at, environment, document, kind, actor, channel, pass"
        at, *rest = connection.execute(f"SELECT {names} FROM audit WHERE id = ?", row).fetchone()
        (head,) = connection.execute("SELECT sequence FROM chain WHERE environment = ?", [ENVIRONMENT]).fetchone()
        new = [(str(uuid.uuid4()), head + 1 + n, at - 60_000 * (count - n)) for n in range(count)]
        connection.executemany(
            f"INSERT INTO audit (id, sequence, hash, {names}) VALUES (?, ?, zeroblob(32), ?, ?, ?, ?, ?, ?, ?)",
            [
                (id_, n, moment, rest[0], rest[1].replace(row[0].encode(), id_.encode()), *rest[2:])
                for id_, n, moment in new
            ],
        )
        connection.executemany(
            "INSERT INTO target (environment, subject, act) VALUES (?, randomblob(16), ?)",
            [(ENVIRONMENT, id_) for id_, *_ in new],
        )
        connection.execute("UPDATE chain SET sequence = ? WHERE environment = ?", [head + count, ENVIRONMENT])


def _fill_acts_postgres(url: str, count: int) -> None:
    sql(
        url,
        f"""
        WITH one AS (
            SELECT audit.* FROM temppass.target JOIN temppass.audit ON audit.id = act
            WHERE target.environment = '{ENVIRONMENT}' LIMIT 1
        ), head AS (
            UPDATE temppass.chain SET sequence = sequence + {count} WHERE environment = '{ENVIRONMENT}'
            RETURNING sequence
        ), new AS (
            INSERT INTO temppass.audit (id, sequence, hash, at, environment, document, kind, actor, channel, pass)
            SELECT made.id, head.sequence - {count} + n, decode(repeat('00', 32), 'hex'),
                at - 60000::bigint * ({count} - n), environment,
                convert_to(replace(convert_from(document, 'UTF8'), one.id, made.id), 'UTF8'),
                kind, actor, channel, pass
            FROM one, head,
                LATERAL (SELECT n, gen_random_uuid()::text AS id FROM generate_series(1, {count}) AS n) AS made
            RETURNING id
        )
        INSERT INTO temppass.target (environment, subject, act)
        SELECT '{ENVIRONMENT}', substr(sha256(id::bytea), 1, 16), id FROM new
        """,
        "VACUUM ANALYZE temppass.audit",
        "VACUUM ANALYZE temppass.target",
    )


def fill_counters(url: str, days: int = 14) -> None:
    """Add what was counted in each minute of the last days, of the one integration."""
    minute = int(time.time() // 60)
    rows = [
        (ENVIRONMENT, minute - 1 - back, CHANNEL, PASS, what, 1 + (back * len(what)) % 50)
        for back in range(days * 1440 - 60)
        for what in _WHATS
    ]
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO counter (environment, minute, channel, pass, what, n) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
    else:
        asyncio.run(_fill_counters_postgres(url, rows))


async def _fill_counters_postgres(url: str, rows: list[tuple[str, int, str, str, str, int]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "INSERT INTO temppass.counter (environment, minute, channel, pass, what, n) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT DO NOTHING",
            rows,
        )
        await connection.execute("VACUUM ANALYZE temppass.counter")
    finally:
        await connection.close()
