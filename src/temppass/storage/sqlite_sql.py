"""
Every statement that the SQLite store sends, by name; every look-up is by primary key or index.
"""

from temppass.core.model import GRAIN_MS, NEVER, UNKNOWN

INTEGRATION = """
SELECT id, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead FROM integration
WHERE environment = ? AND channel = ? AND pass = ?
"""
INTEGRATIONS = """
SELECT id, environment, channel, pass, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead
FROM integration ORDER BY environment, channel, pass
"""
WRITE_INTEGRATION = """
INSERT INTO integration (
    environment, channel, pass, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead
) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (environment, channel, pass) DO UPDATE SET
    device_floor = excluded.device_floor, user_key_floor = excluded.user_key_floor, fired_at = excluded.fired_at,
    device_ahead = excluded.device_ahead, user_key_ahead = excluded.user_key_ahead
RETURNING id
"""
LEDGER = """
SELECT started_at, expires_at, generation, used, app_id, device_user, bonus FROM ledger
WHERE integration = ? AND kind = ? AND subject = ?
"""
WRITE_LEDGER = """
INSERT INTO ledger (integration, kind, subject, generation, started_at, expires_at, used, app_id, device_user, bonus)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (integration, kind, subject) DO UPDATE SET
    generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
    used = excluded.used, app_id = excluded.app_id, device_user = excluded.device_user, bonus = excluded.bonus
"""
REMOVE_LEDGER = "DELETE FROM ledger WHERE integration = ? AND kind = ? AND subject = ?"
LEDGERS_AFTER = """
SELECT subject, started_at, expires_at, generation, used, app_id, device_user, bonus FROM ledger
WHERE integration = ? AND kind = ? AND subject > ? ORDER BY subject LIMIT ?
"""
TALLY = """
SELECT count(*), max(subject), sum(is_meant AND NOT is_over), sum(is_meant AND is_over),
    min(CASE WHEN is_meant THEN subject END)
FROM (
    SELECT subject, expires_at <= :now AS is_over,
        generation >= :floor AND (NOT :over OR expires_at <= :now)
            AND (:started_before IS NULL OR started_at < :started_before)
            AND (:app_id IS NULL OR app_id IS :app_id)
            AND (:device_user IS NULL OR device_user IS :device_user) AS is_meant
    FROM ledger WHERE integration = :integration AND kind = :kind AND subject > :after ORDER BY subject LIMIT :limit
)
"""
LAST_OF_CHUNK = """
SELECT max(subject), count(*) FROM (
    SELECT subject FROM ledger WHERE integration = ? AND kind = ? AND subject > ? ORDER BY subject LIMIT ?
)
"""
SWEEP_LEDGERS = """
DELETE FROM ledger
WHERE integration = ? AND kind = ? AND subject > ? AND subject <= ? AND (generation < ? OR expires_at < ?)
"""
RAISES = """
SELECT kind, generation, floor_before, at, act FROM raised WHERE integration = ? ORDER BY kind, generation
"""
ADD_RAISE = "INSERT INTO raised (integration, kind, generation, floor_before, at, act) VALUES (?, ?, ?, ?, ?, ?)"
REMOVE_RAISE = "DELETE FROM raised WHERE integration = ? AND kind = ? AND generation = ?"
SWEEP_RAISES = """
DELETE FROM raised WHERE (integration, kind, generation) IN (
    SELECT integration, kind, generation FROM raised WHERE at < ? LIMIT ?
)
"""
CLIENT = """
SELECT id, application, epoch, secret_hash, issued_at, statement, used_at FROM client WHERE environment = ? AND id = ?
"""
ADD_CLIENT = """
INSERT INTO client (environment, id, application, epoch, secret_hash, issued_at, statement, used_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
REMOVE_CLIENT = "DELETE FROM client WHERE environment = ? AND id = ?"
CLIENTS = """
SELECT id, issued_at, statement, used_at FROM client
WHERE environment = ? AND application = ? AND epoch = ? AND (issued_at, id) < (?, ?)
    AND statement IN (SELECT value FROM json_each(?))
ORDER BY issued_at DESC, id DESC LIMIT ?
"""
COUNT_CLIENTS = """
SELECT count(*) FROM (
    SELECT 1 FROM client WHERE environment = ? AND application = ? AND epoch = ? AND statement = ? LIMIT ?
)
"""
COUNT_ARRIVALS = """
SELECT count(*) FROM (
    SELECT 1 FROM client WHERE environment = ? AND application = ? AND epoch = ? AND issued_at > ? LIMIT ?
)
"""
COUNT_PAGE = """
SELECT id, issued_at, count(*) OVER () FROM (
    SELECT id, issued_at FROM client
    WHERE environment = ? AND application = ? AND epoch = ? AND statement = ?
        AND (issued_at, id) > (?, ?) AND issued_at <= ?
    ORDER BY issued_at, id LIMIT ?
)
ORDER BY issued_at DESC, id DESC LIMIT 1
"""
USE_CLIENT = "UPDATE client SET used_at = ?3 WHERE environment = ?1 AND id = ?2 AND used_at < ?3"
USE_STATEMENT = "UPDATE statement SET used_at = ?3 WHERE environment = ?1 AND id = ?2 AND used_at < ?3"
LAST_CLIENT_OF_CHUNK = """
SELECT max(id), count(*) FROM (SELECT id FROM client WHERE environment = ? AND id > ? ORDER BY id LIMIT ?)
"""
_CHUNK_OF_CLIENTS = "environment = :environment AND id > :after AND id <= :last"
SWEEP_CLIENTS_OF_NOTHING = f"""
DELETE FROM client WHERE {_CHUNK_OF_CLIENTS} AND (application, epoch, statement) NOT IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(:broods)
)
"""  # noqa: S608 - what is put in is our own
SWEEP_UNUSED_CLIENTS = f"""
DELETE FROM client WHERE {_CHUNK_OF_CLIENTS} AND used_at = {NEVER} AND issued_at < :unused_before
"""  # noqa: S608 - as above
SWEEP_IDLE_CLIENTS = f"""
DELETE FROM client WHERE {_CHUNK_OF_CLIENTS} AND used_at > {NEVER} AND used_at < :idle_before
"""  # noqa: S608 - as above
USE_UNKNOWN_CLIENTS = f"""
UPDATE client SET used_at = issued_at + max(0, :now - issued_at) / {GRAIN_MS} * {GRAIN_MS}
WHERE {_CHUNK_OF_CLIENTS} AND used_at = {UNKNOWN}
"""  # noqa: S608 - as above
STATEMENTS = """
SELECT id, application, epoch, kid, minted_at, minted_by, ends_at FROM statement WHERE environment = ? ORDER BY id
"""
ADD_STATEMENT = """
INSERT INTO statement (environment, id, application, epoch, kid, minted_at, minted_by, ends_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
REMOVE_STATEMENT = "DELETE FROM statement WHERE environment = ? AND id = ?"
USES = "SELECT id, used_at FROM statement WHERE environment = ?"
ENDED = "SELECT kind, id, epoch, until FROM ended WHERE environment = ? ORDER BY kind, id"
ADD_ENDED = """
INSERT INTO ended (environment, kind, id, epoch, until) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (environment, kind, id) DO UPDATE SET epoch = excluded.epoch, until = excluded.until
"""
KEPT = "SELECT kind, key, expires_at, document FROM kept WHERE environment = ? AND key = ?"
WRITE_KEPT = """
INSERT INTO kept (environment, key, kind, expires_at, document) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (environment, key) DO UPDATE SET
    kind = excluded.kind, expires_at = excluded.expires_at, document = excluded.document
"""
SWEEP_KEPT = """
DELETE FROM kept WHERE (environment, key) IN (SELECT environment, key FROM kept WHERE expires_at <= ? LIMIT ?)
"""
SWEEP_ENDED = "DELETE FROM ended WHERE until <= ?"
SWEEP_STATEMENTS = "DELETE FROM statement WHERE ends_at <= ?"
ADD_COUNT = """
INSERT INTO counter (environment, minute, channel, pass, what, n) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (environment, minute, channel, pass, what) DO UPDATE SET n = n + excluded.n
"""
COUNTS = """
SELECT minute / ?4 * ?4 AS step, channel, pass, what, sum(n) FROM counter
WHERE environment = ?1 AND minute >= ?2 AND minute < ?3
GROUP BY step, channel, pass, what ORDER BY step, channel, pass, what
"""
FORGET_COUNTS = """
DELETE FROM counter WHERE (environment, minute, channel, pass, what) IN (
    SELECT environment, minute, channel, pass, what FROM counter WHERE minute < ? LIMIT ?
)
"""
WHOLE = "SELECT name, document FROM environment ORDER BY name"
WRITE_SERVER = """
INSERT INTO server (id, seen_at, document) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, document = excluded.document
"""
WRITE_ENVIRONMENT = """
INSERT INTO environment (name, version, document) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, document = excluded.document
"""
ADD_RECORD = """
INSERT INTO audit (id, at, environment, document, kind, actor, channel, pass) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_TARGET = "INSERT OR IGNORE INTO target (environment, subject, act) VALUES (?, ?, ?)"
RECORD = "SELECT sequence, hash, document FROM audit WHERE id = ? AND environment = ?"
SEALED = """
SELECT sequence, hash, document FROM audit WHERE environment = ? AND sequence > ? ORDER BY sequence LIMIT ?
"""
RECORDED = """
SELECT sequence, hash, id, at, document, kind, actor, channel, pass FROM audit
WHERE environment = ? AND sequence > ? ORDER BY sequence LIMIT ?
"""
# in this order, or all targets of the environment would be gone through
TARGETS = """
SELECT audit.id, target.subject FROM audit CROSS JOIN target
WHERE audit.environment = ? AND audit.sequence > ? AND audit.sequence <= ?
    AND target.act = audit.id AND target.environment = audit.environment
"""
ANCHOR = "SELECT forgotten_sequence, forgotten_hash, forgotten_at, forgotten_proof FROM chain WHERE environment = ?"
MOVE_ANCHOR = """
UPDATE chain SET forgotten_sequence = ?, forgotten_hash = ?, forgotten_at = ?, forgotten_proof = ?
WHERE environment = ?
"""
# by their acts, as above
FORGET_TARGETS = """
DELETE FROM target
WHERE act IN (SELECT id FROM audit WHERE environment = ?1 AND sequence <= ?2) AND +environment = ?1
"""
FORGET_RECORDS = "DELETE FROM audit WHERE environment = ? AND sequence <= ?"
UNSEALED_ENVIRONMENTS = "SELECT DISTINCT environment FROM audit WHERE sequence IS NULL ORDER BY environment"
UNSEALED = """
SELECT id, document FROM audit WHERE environment = ? AND sequence IS NULL AND (at, id) > (?, ?)
ORDER BY at, id LIMIT ?
"""
WRITE_HEAD = """
INSERT INTO chain (environment, sequence, hash) VALUES (?, ?, ?)
ON CONFLICT (environment) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
"""
