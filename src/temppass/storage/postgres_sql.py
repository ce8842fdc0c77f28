"""
Every statement that the PostgreSQL store sends, by name. Rows go in as arrays that `unnest` turns back into rows, so a
statement is the same for one row and for a batch; every look-up is by primary key.
"""

from temppass.core.model import GRAIN_MS, NEVER, UNKNOWN
from temppass.store import LEDGER_READ_BYTES_MAX

# --- environments and their chains

ENVIRONMENTS = "SELECT name FROM temppass.environment ORDER BY name"
ENVIRONMENT = "SELECT document FROM temppass.environment WHERE name = $1"
# with what was issued, of one moment
ENVIRONMENT_WHOLE = """
SELECT document, (
    SELECT coalesce(json_agg(json_build_array(id, application, epoch, kid, minted_at, minted_by, ends_at)), '[]')
    FROM temppass.statement WHERE environment = $1
), (
    SELECT coalesce(json_agg(json_build_array(kind, id, epoch, until)), '[]') FROM temppass.ended WHERE environment = $1
) FROM temppass.environment WHERE name = $1
"""
WRITE_ENVIRONMENT = """
INSERT INTO temppass.environment AS present (name, version, document) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, document = excluded.document
WHERE present.version = $4
RETURNING true
"""
WHOLE = "SELECT name, document FROM temppass.environment ORDER BY name"
# whoever says that it is up waits for whoever looks who is, and looks itself after that
HOLD_SERVERS = "LOCK TABLE temppass.server IN SHARE MODE"
SERVERS = "SELECT id, seen_at, document FROM temppass.server ORDER BY id"
# what is asked of the catalogue of all sessions needs no rights
OLDER_PROGRAMS = """
SELECT DISTINCT concat(application_name, ' from ' || host(client_addr)) AS program FROM pg_stat_activity
WHERE datname = current_database() AND application_name = ANY ($1::text[]) ORDER BY program
"""
WRITE_SERVER = """
INSERT INTO temppass.server (id, seen_at, document) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, document = excluded.document
"""
REMOVE_SERVER = "DELETE FROM temppass.server WHERE id = $1"
FORGET_SERVERS = "DELETE FROM temppass.server WHERE seen_at < $1"
ADD_RECORD = """
WITH named AS (
    INSERT INTO temppass.target (environment, subject, act)
    SELECT $3, subject, $1 FROM unnest($9::bytea[]) AS k (subject) ON CONFLICT DO NOTHING
)
INSERT INTO temppass.audit (id, at, environment, document, kind, actor, channel, pass)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
RECORD = "SELECT sequence, hash, document FROM temppass.audit WHERE id = $1 AND environment = $2"
SEALED = """
SELECT sequence, hash, document FROM temppass.audit
WHERE environment = $1 AND sequence > $2 ORDER BY environment, sequence LIMIT $3
"""
RECORDED = """
SELECT sequence, hash, id, at, document, kind, actor, channel, pass, ARRAY(
    SELECT subject FROM temppass.target WHERE target.act = audit.id AND target.environment = audit.environment
) FROM temppass.audit WHERE environment = $1 AND sequence > $2 ORDER BY environment, sequence LIMIT $3
"""
ANCHOR = """
SELECT forgotten_sequence, forgotten_hash, forgotten_at, forgotten_proof FROM temppass.chain WHERE environment = $1
"""
# guarded by the one that was read, as MOVE_HEAD is
MOVE_ANCHOR = """
UPDATE temppass.chain
SET forgotten_sequence = $2, forgotten_hash = $3, forgotten_at = $4, forgotten_proof = $5
WHERE environment = $1 AND coalesce(forgotten_sequence, 0) = $6
RETURNING true
"""
FORGET = """
WITH forgotten AS (
    DELETE FROM temppass.audit WHERE environment = $1 AND sequence <= $2 RETURNING id
), named AS (
    DELETE FROM temppass.target USING forgotten WHERE target.act = forgotten.id AND target.environment = $1
)
SELECT count(*) FROM forgotten
"""
UNSEALED_ENVIRONMENTS = """
SELECT DISTINCT environment FROM temppass.audit WHERE sequence IS NULL ORDER BY environment
"""
UNSEALED = """
SELECT id, document FROM temppass.audit
WHERE environment = $1 AND sequence IS NULL AND (at, id) > ($3, $4) ORDER BY environment, at, id LIMIT $2
"""
HEAD = "SELECT sequence, hash FROM temppass.chain WHERE environment = $1"
# the head is written first and guarded by the one that was read, so of two nodes that seal one waits and does nothing
MOVE_HEAD = """
INSERT INTO temppass.chain AS present (environment, sequence, hash) VALUES ($1, $2, $3)
ON CONFLICT (environment) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
WHERE present.sequence = $4
RETURNING true
"""
SEAL = """
UPDATE temppass.audit SET sequence = k.sequence, hash = k.hash
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS k (id, sequence, hash) WHERE audit.id = k.id
"""

# --- what a batch reads

INTEGRATION_IDS = """
SELECT id, environment, channel, pass FROM temppass.integration
JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (environment, channel, pass) USING (environment, channel, pass)
"""
# where the integration is there already, or its id is another's, nothing is added, and the batch runs and asks again
ADD_INTEGRATIONS = """
INSERT INTO temppass.integration (id, environment, channel, pass, device_floor, user_key_floor, fired_at, version)
SELECT id, environment, channel, pass, 0, 0, 0, 0
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[]) AS k (id, environment, channel, pass)
ON CONFLICT DO NOTHING
"""
# the versions of environments, the floors of integrations and the ledgers of one batch, of one moment
ENVIRONMENT_ROW, INTEGRATION_ROW, LEDGER_ROW, LOCKED_ROW = 0, 1, 2, 3
READ_HOME = """
SELECT 0, n::integer, version, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bytea,
    NULL::integer, NULL::integer
FROM unnest($1::text[]) WITH ORDINALITY AS k (name, n) JOIN temppass.environment USING (name)
UNION ALL
SELECT 1, id, version, device_floor, user_key_floor, fired_at, NULL, NULL, NULL, device_ahead, user_key_ahead
FROM temppass.integration WHERE id = ANY ($2::integer[])
"""
READ = f"""
{READ_HOME}
UNION ALL
SELECT 2, n::integer, version, generation, started_at, expires_at,
    CASE WHEN octet_length(used) > {LEDGER_READ_BYTES_MAX} AND NOT $7::boolean THEN ''::bytea ELSE used END,
    app_id, device_user, bonus, NULL
FROM unnest($3::smallint[], $4::integer[], $5::smallint[], $6::bytea[])
    WITH ORDINALITY AS k (slot, integration, kind, subject, n)
JOIN temppass.ledgers USING (slot, integration, kind, subject)
"""  # noqa: S608 - what is put in is our own
CLIENTS = """
SELECT environment, id, application, epoch, secret_hash, issued_at, statement, used_at FROM temppass.client
JOIN unnest($1::text[], $2::text[]) AS k (environment, id) USING (environment, id)
"""
KEPT = """
SELECT environment, key, version, kind, expires_at, document FROM temppass.kept
JOIN unnest($1::text[], $2::text[]) AS k (environment, key) USING (environment, key)
"""
# with the version of the integration at that moment, one row at least for each
RAISES = """
SELECT id, version, raised.kind, generation, floor_before, at, act
FROM temppass.integration LEFT JOIN temppass.raised ON raised.integration = id
WHERE id = ANY ($1::integer[]) ORDER BY id, raised.kind, generation
"""

# --- clients of an application

APPLICATION_CLIENTS = """
SELECT id, issued_at, statement, used_at FROM temppass.client
WHERE environment = $1 AND application = $2 AND epoch = $3 AND (issued_at, id) < ($5, $6) AND statement = ANY ($7)
ORDER BY environment DESC, application DESC, epoch DESC, issued_at DESC, id DESC LIMIT $4
"""
# n says which brood a statement is of
COUNT_CLIENTS = """
SELECT k.n, sum(counted.n)::bigint AS count FROM unnest($2::integer[], $3::text[], $4::integer[], $5::text[])
    AS k (n, application, epoch, statement), LATERAL (
        SELECT count(*) AS n FROM (
            SELECT 1 FROM temppass.client
            WHERE environment = $1 AND client.application = k.application AND client.epoch = k.epoch
                AND client.statement = k.statement LIMIT $6
        ) AS clients
    ) AS counted
GROUP BY k.n
"""

COUNT_ARRIVALS = """
SELECT counted.n FROM unnest($2::text[], $3::integer[], $4::bigint[])
    WITH ORDINALITY AS k (application, epoch, since, place), LATERAL (
        SELECT count(*) AS n FROM (
            SELECT 1 FROM temppass.client
            WHERE environment = $1 AND client.application = k.application AND client.epoch = k.epoch
                AND client.issued_at > k.since LIMIT $5
        ) AS clients
    ) AS counted
ORDER BY k.place
"""
COUNT_PAGE = """
SELECT id, issued_at, count(*) OVER () AS count FROM (
    SELECT id, issued_at FROM temppass.client
    WHERE environment = $1 AND application = $2 AND epoch = $3 AND statement = $4
        AND (issued_at, id) > ($5, $6) AND issued_at <= $7
    ORDER BY environment, application, epoch, statement, issued_at, id LIMIT $8
) AS page
ORDER BY issued_at DESC, id DESC LIMIT 1
"""
# rows are taken in one order everywhere, so that two processes never wait for each other in a circle
USE_CLIENTS = """
WITH held AS (
    SELECT client.environment, client.id, k.at
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (environment, id, at)
        JOIN temppass.client USING (environment, id)
    WHERE client.used_at < k.at ORDER BY environment, id FOR NO KEY UPDATE OF client
)
UPDATE temppass.client SET used_at = held.at FROM held
WHERE client.environment = held.environment AND client.id = held.id AND client.used_at < held.at
"""
_IS_PRESENT = "coalesce((SELECT version FROM temppass.environment WHERE name = $1), 0) = $2"
# a row that somebody is writing has been used, and is left
SWEEP_CLIENTS = f"""
WITH looked_at AS (
    SELECT id, used_at, CASE
        WHEN (application, epoch, statement) NOT IN (SELECT * FROM unnest($5::text[], $6::integer[], $7::text[]))
            THEN 'ended'
        WHEN used_at = {UNKNOWN} THEN 'unknown'
        WHEN used_at = {NEVER} AND issued_at < $8 THEN 'unused'
        WHEN used_at > {NEVER} AND used_at < $9 THEN 'idle'
    END AS why
    FROM temppass.client
    WHERE environment = $1 AND id > $3
        AND {_IS_PRESENT}
    ORDER BY environment, id LIMIT $4
), held AS (
    SELECT client.id, looked_at.why FROM looked_at JOIN temppass.client ON client.environment = $1
        AND client.id = looked_at.id AND client.used_at = looked_at.used_at
    WHERE why IS NOT NULL FOR UPDATE OF client SKIP LOCKED
), known AS (
    UPDATE temppass.client SET used_at = issued_at + greatest(0, $10 - issued_at) / {GRAIN_MS} * {GRAIN_MS}
    FROM held WHERE client.environment = $1 AND client.id = held.id AND held.why = 'unknown'
), removed AS (
    DELETE FROM temppass.client USING held
    WHERE client.environment = $1 AND client.id = held.id AND held.why <> 'unknown' RETURNING held.why
)
SELECT count(*) FILTER (WHERE why = 'ended') AS ended, count(*) FILTER (WHERE why = 'unused') AS unused,
    count(*) FILTER (WHERE why = 'idle') AS idle, (SELECT count(*) FROM looked_at) AS looked_at,
    (SELECT max(id) FROM looked_at) AS last,
    {_IS_PRESENT} AS is_present
FROM removed
"""  # noqa: S608 - what is put in is our own

# --- statements

USE_STATEMENTS = """
WITH held AS (
    SELECT statement.environment, statement.id, k.at
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (environment, id, at)
        JOIN temppass.statement USING (environment, id)
    WHERE statement.used_at < k.at ORDER BY environment, id FOR NO KEY UPDATE OF statement
)
UPDATE temppass.statement SET used_at = held.at FROM held
WHERE statement.environment = held.environment AND statement.id = held.id AND statement.used_at < held.at
"""
USES = "SELECT id, used_at FROM temppass.statement WHERE environment = $1"

# --- what a batch writes

_LEDGER_TYPES = (
    *("smallint", "integer", "smallint", "bytea", "integer", "bigint"),
    *("bigint", "bigint", "bytea", "bytea", "bytea", "smallint"),
)
LEDGER_COLUMNS = len(_LEDGER_TYPES)


def _upsert_ledgers(first: int) -> str:
    """Answer what writes ledgers, whose arrays are the parameters from `first` on."""
    # the key is named by its constraint, which has the slot or, while servers of the first version run, has it not
    arrays = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(_LEDGER_TYPES, first))
    return f"""
upserted AS (
    INSERT INTO temppass.ledgers AS present (
        slot, integration, kind, subject, generation, started_at, expires_at, version, used, app_id, device_user, bonus
    )
    SELECT * FROM unnest({arrays})
    ON CONFLICT ON CONSTRAINT ledger_pkey DO UPDATE SET
        generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
        version = present.version + 1, used = excluded.used, app_id = excluded.app_id,
        device_user = excluded.device_user, bonus = excluded.bonus
    WHERE present.version = -excluded.version
    RETURNING version
)"""  # noqa: S608 - as above


_UPSERTED = "(SELECT count(*) FROM upserted WHERE version > 0)"
_HELD = "CASE WHEN $13::integer[] = '{}' THEN 0 ELSE temppass.hold($13, $14, '{}') END"
WRITE_LEDGERS = f"WITH {_upsert_ledgers(1)} SELECT temppass.expect({_UPSERTED} + {_HELD}, $15)"
_WRITE_HOME = """
moved AS (
    UPDATE temppass.integration SET
        device_floor = k.device_floor, user_key_floor = k.user_key_floor, fired_at = k.fired_at,
        device_ahead = k.device_ahead, user_key_ahead = k.user_key_ahead, version = k.version + 1
    FROM unnest(
        $1::integer[], $2::integer[], $3::integer[], $4::bigint[], $5::integer[], $6::integer[], $7::bigint[]
    ) AS k (id, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead, version)
    WHERE integration.id = k.id AND integration.version = k.version
    RETURNING 1
), raised AS (
    INSERT INTO temppass.raised (integration, kind, generation, floor_before, at, act)
    SELECT * FROM unnest($8::integer[], $9::smallint[], $10::integer[], $11::integer[], $12::bigint[], $13::text[])
), undone AS (
    DELETE FROM temppass.raised USING unnest($14::integer[], $15::smallint[], $16::integer[])
        AS k (integration, kind, generation)
    WHERE raised.integration = k.integration AND raised.kind = k.kind AND raised.generation = k.generation
), kept AS (
    INSERT INTO temppass.kept AS present (environment, key, kind, expires_at, document, version)
    SELECT * FROM unnest($17::text[], $18::text[], $19::text[], $20::bigint[], $21::bytea[], $22::bigint[])
    ON CONFLICT (environment, key) DO UPDATE SET
        kind = excluded.kind, expires_at = excluded.expires_at, document = excluded.document,
        version = excluded.version
    WHERE present.version = excluded.version - 1
    RETURNING 1
), registered AS (
    INSERT INTO temppass.client (environment, id, application, epoch, secret_hash, issued_at, statement, used_at)
    SELECT * FROM unnest(
        $23::text[], $24::text[], $25::text[], $26::integer[], $27::bytea[], $28::bigint[], $29::text[], $30::bigint[]
    )
), recorded AS (
    INSERT INTO temppass.audit (id, at, environment, document, kind, actor, channel, pass)
    SELECT * FROM unnest(
        $31::text[], $32::bigint[], $33::text[], $34::bytea[], $35::text[], $36::text[], $37::text[], $38::text[]
    )
), named AS (
    INSERT INTO temppass.target (environment, subject, act)
    SELECT * FROM unnest($39::text[], $40::bytea[], $41::text[]) ON CONFLICT DO NOTHING
), rewritten AS (
    INSERT INTO temppass.environment AS present (name, version, document)
    SELECT * FROM unnest($42::text[], $43::bigint[], $44::bytea[])
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, document = excluded.document
    WHERE present.version = excluded.version - 1
    RETURNING 1
)"""
_WRITTEN = "(SELECT count(*) FROM moved) + (SELECT count(*) FROM kept) + (SELECT count(*) FROM rewritten)"
#: all but ledgers, which are written slot by slot
WRITE_HOME = f"WITH {_WRITE_HOME} SELECT temppass.expect({_WRITTEN}, $45)"
WRITE_ALL = f"""
WITH {_upsert_ledgers(46)}, {_WRITE_HOME}
SELECT temppass.expect({_UPSERTED} + {_WRITTEN} + temppass.hold($58, $59, $60), $45)
"""
# beside it, in one transaction, where an environment is rewritten
WRITE_ISSUED = """
WITH listed AS (
    INSERT INTO temppass.statement (environment, id, application, epoch, kid, minted_at, minted_by, ends_at)
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::bigint[], $7::text[], $8::bigint[]
    )
), unlisted AS (
    DELETE FROM temppass.statement USING unnest($9::text[], $10::text[]) AS k (environment, id)
    WHERE statement.environment = k.environment AND statement.id = k.id
), ended AS (
    INSERT INTO temppass.ended (environment, kind, id, epoch, until)
    SELECT * FROM unnest($11::text[], $12::text[], $13::text[], $14::integer[], $15::bigint[])
    ON CONFLICT (environment, kind, id) DO UPDATE SET epoch = excluded.epoch, until = excluded.until
)
DELETE FROM temppass.client USING unnest($16::text[], $17::text[]) AS k (environment, id)
WHERE client.environment = k.environment AND client.id = k.id
"""

# --- upkeep

# floors and the resets that stand, of one moment
INTEGRATIONS = """
SELECT environment, channel, pass, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead,
    raised.kind, generation, floor_before, at, act
FROM temppass.integration LEFT JOIN temppass.raised ON raised.integration = id
ORDER BY environment, channel, pass, raised.kind, generation
"""
# a page of one slot and integration; slots follow one another in the order of digests
LEDGERS = """
SELECT subject, started_at, expires_at, generation, used, app_id, device_user, bonus FROM temppass.ledgers
WHERE slot = $1 AND integration = $2 AND kind = $3 AND subject > $4 AND generation >= 0
ORDER BY slot, integration, kind, subject LIMIT $5
"""
TALLY = """
WITH looked_at AS (
    SELECT subject, expires_at <= $5 AS is_over,
        generation >= $6 AND (NOT $7::boolean OR expires_at <= $5)
            AND ($8::bigint IS NULL OR started_at < $8)
            AND ($9::bytea IS NULL OR app_id IS NOT DISTINCT FROM $9)
            AND ($10::bytea IS NULL OR device_user IS NOT DISTINCT FROM $10) AS is_meant
    FROM temppass.ledgers
    WHERE slot = $1 AND integration = $2 AND kind = $3 AND subject > $4
    ORDER BY slot, integration, kind, subject LIMIT $11
)
SELECT count(*) AS looked_at, (SELECT subject FROM looked_at ORDER BY subject DESC LIMIT 1) AS last,
    count(*) FILTER (WHERE is_meant AND NOT is_over) AS running, count(*) FILTER (WHERE is_meant AND is_over) AS over,
    (SELECT subject FROM looked_at WHERE is_meant ORDER BY subject LIMIT 1) AS example
FROM looked_at
"""
SWEEP_LEDGERS = """
WITH looked_at AS (
    SELECT slot, integration, kind, subject, version, generation < $6 OR expires_at < $7::bigint AS stale
    FROM temppass.ledgers
    WHERE slot = $1 AND integration = $2 AND kind = $3 AND subject > $4
    ORDER BY slot, integration, kind, subject LIMIT $5
), removed AS (
    DELETE FROM temppass.ledgers USING looked_at
    WHERE ledgers.slot = $1 AND looked_at.stale AND ledgers.version = looked_at.version
        AND ledgers.slot = looked_at.slot AND ledgers.integration = looked_at.integration
        AND ledgers.kind = looked_at.kind AND ledgers.subject = looked_at.subject
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM looked_at) AS looked_at,
    (SELECT subject FROM looked_at ORDER BY subject DESC LIMIT 1) AS last,
    (SELECT count(*) FROM removed) AS removed
"""
SWEEP_KEPT = """
WITH swept AS (
    DELETE FROM temppass.kept WHERE (environment, key) IN (
        SELECT environment, key FROM temppass.kept WHERE expires_at <= $1 LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM swept
"""
SWEEP_ISSUED = """
WITH swept AS (DELETE FROM temppass.ended WHERE until <= $1) DELETE FROM temppass.statement WHERE ends_at <= $2
"""
SWEEP_RAISES = """
WITH swept AS (
    DELETE FROM temppass.raised WHERE (integration, kind, generation) IN (
        SELECT integration, kind, generation FROM temppass.raised WHERE at < $1 LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM swept
"""

# one order everywhere (postgres.py), so that two processes never wait for each other in a circle
ADD_COUNTS = """
INSERT INTO temppass.counter AS present (environment, minute, channel, pass, what, n)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
ON CONFLICT (environment, minute, channel, pass, what) DO UPDATE SET n = present.n + excluded.n
"""
COUNTS = """
SELECT minute / $4::bigint * $4::bigint AS step, channel, pass, what, sum(n)::bigint FROM temppass.counter
WHERE environment = $1 AND minute >= $2 AND minute < $3
GROUP BY step, channel, pass, what ORDER BY step, channel, pass, what
"""
FORGET_COUNTS = """
WITH forgotten AS (
    DELETE FROM temppass.counter WHERE (environment, minute, channel, pass, what) IN (
        SELECT environment, minute, channel, pass, what FROM temppass.counter WHERE minute < $1 LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM forgotten
"""

# --- slots (schema/postgres/006_slots.sql), each on the node that has it

SLOTS = "SELECT key FROM temppass.slot ORDER BY number"
READ_SLOT = "SELECT * FROM temppass.read_slot($1, $2, $3, $4, $5, $6, $7, $8, $9)"
LOCK_SLOT = "SELECT temppass.lock_slot($1, $2, $3)"
WRITE_SLOT = "SELECT temppass.write_slot($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
TELL_SLOT = "SELECT temppass.tell_slot($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
STANDING = "SELECT integration FROM temppass.standing WHERE slot = $1 AND integration = ANY ($2::integer[])"
FLOORS = """
SELECT id, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead, version FROM temppass.integration
WHERE id = ANY ($1::integer[])
"""
SLOT_NODE = """
SELECT nodename, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid)
WHERE shardid = get_shard_id_for_distribution_column('temppass.ledgers', $1::smallint) AND noderole = 'primary'
"""

# --- the schema

SCHEMA_NUMBER = "SELECT coalesce(max(number), 0) FROM temppass.schema"
#: whether the key of the ledgers has the slot already
IS_FINISHED = "SELECT to_regclass('temppass.ledger') IS NULL"
# servers of the first version call themselves so; what is asked of the catalogue of all sessions needs no rights
OLDER_SERVERS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'temppass'
"""
# an index whose building was broken off is there all the same, and good for nothing
BROKEN_INDEX = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('temppass.' || $1) AND NOT indisvalid"
DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS temppass."
#: by name: indexes of tables that are large where servers run, which go on writing while one is built
INDEXES = {
    "client_application": """
CREATE INDEX CONCURRENTLY IF NOT EXISTS client_application
ON temppass.client (environment, application, epoch, issued_at, id)
""",
    "client_statement": """
CREATE INDEX CONCURRENTLY IF NOT EXISTS client_statement
ON temppass.client (environment, application, epoch, statement, issued_at, id)
""",
    "ledgers_by_slot": """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ledgers_by_slot ON temppass.ledgers (slot, integration, kind, subject)
""",
}
FINISH = """
DROP VIEW temppass.trial, temppass.ledger, temppass.session;
ALTER TABLE temppass.ledgers DROP CONSTRAINT ledger_pkey;
ALTER TABLE temppass.ledgers ADD CONSTRAINT ledger_pkey PRIMARY KEY USING INDEX ledgers_by_slot;
"""
# --- several slots, which come about while nobody serves

# a program that begins to look which slots there are sees those that come about now; whoever has looked is connected
CLOSE_DATABASE = "LOCK TABLE temppass.ledgers, temppass.slot IN ACCESS EXCLUSIVE MODE"
# those who are connected and are programs of ours, but not this one
OTHER_PROGRAMS = """
SELECT DISTINCT concat(application_name, ' from ' || host(client_addr)) AS program FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'temppass%' AND pid <> pg_backend_pid() ORDER BY program
"""
# no slot of several has the key 0, so that a program that knows of no slots can write no ledger
CLEAR_SLOTS = """
DELETE FROM temppass.slot;
DELETE FROM temppass.edition;
DELETE FROM temppass.standing;
ALTER TABLE temppass.ledgers DROP CONSTRAINT IF EXISTS ledgers_slot;
ALTER TABLE temppass.ledgers ALTER COLUMN slot DROP DEFAULT;
"""
ADD_SLOTS = "INSERT INTO temppass.slot SELECT n - 1, key FROM unnest($1::smallint[]) WITH ORDINALITY AS k (key, n)"
# as Spread.number (postgres_spread.py)
MOVE_LEDGERS = """
UPDATE temppass.ledgers
SET slot = ($1::smallint[])[1 + (get_byte(subject, 0) * 256 + get_byte(subject, 1)) * cardinality($1) / 65536]
"""
INTRODUCE_ALL = """
WITH editions AS (
    INSERT INTO temppass.edition SELECT key, name, version FROM temppass.environment, unnest($1::smallint[]) AS k (key)
)
INSERT INTO temppass.standing (
    slot, integration, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead, version
)
SELECT key, id, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead, version
FROM temppass.integration, unnest($1::smallint[]) AS k (key)
"""
CLOSE_SLOTS = "ALTER TABLE temppass.ledgers ADD CONSTRAINT ledgers_slot CHECK (slot > 0)"

# --- Citus

IS_CITUS = "SELECT to_regclass('pg_dist_node') IS NOT NULL"
CITUS_NODES = """
SELECT groupid, nodename, nodeport, shouldhaveshards, hasmetadata, isactive FROM pg_dist_node WHERE noderole = 'primary'
ORDER BY groupid
"""
ON_WORKERS = "SELECT result FROM run_command_on_workers($1)"
# as OTHER_PROGRAMS; the nodes call themselves otherwise
PROGRAMS = """
SELECT coalesce(json_agg(DISTINCT concat(application_name, ' from ' || host(client_addr))), '[]') FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'temppass%'
"""
CITUS_SETTING = "SELECT nodeid, success, result FROM run_command_on_all_nodes($1)"
IS_DISTRIBUTED = "SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = to_regclass('temppass.ledgers')"
SLOT_NODES = """
SELECT number, key, nodename, nodeport FROM temppass.slot
JOIN pg_dist_placement ON shardid = get_shard_id_for_distribution_column('temppass.ledgers', key)
JOIN pg_dist_node USING (groupid) WHERE noderole = 'primary' ORDER BY number
"""
# tables and functions in one transaction want one connection for each node
ONE_CONNECTION = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"
UNDISTRIBUTE = "SELECT undistribute_table($1::regclass)"
DISTRIBUTE = "SELECT create_distributed_table($1::regclass, 'slot', shard_count := $2, colocate_with := 'none')"
DISTRIBUTE_BESIDE = "SELECT create_distributed_table($1::regclass, 'slot', colocate_with := $2)"
LOCAL_BYTES = "SELECT pg_relation_size($1::regclass)"
EMPTY_LOCALLY = "SELECT truncate_local_data_after_distributing_table($1::regclass)"
# which values of `slot` are on a shard of their own; they are the same for every table of so many shards
PROBE = "CREATE TABLE temppass.probe (slot smallint)"
PROBE_KEYS = """
SELECT min(key)::smallint AS key FROM generate_series(1, 32767) AS k (key)
GROUP BY get_shard_id_for_distribution_column('temppass.probe', key) ORDER BY key
"""
DROP_PROBE = "DROP TABLE temppass.probe"
# their first argument says which node they run on, also within a transaction
SLOT_FUNCTIONS = """
SELECT oid::regprocedure::text AS function, proname <> 'expect' AS is_of_slot FROM pg_proc
WHERE pronamespace = 'temppass'::regnamespace
    AND proname IN ('expect', 'read_slot', 'lock_slot', 'write_slot', 'tell_slot')
ORDER BY is_of_slot
"""
SPREAD_FUNCTION = "SELECT create_distributed_function($1::regprocedure)"
SEND_FUNCTION = """
SELECT create_distributed_function(
    $1::regprocedure, '_slot', colocate_with := 'temppass.ledgers', force_delegation := true
)
"""
