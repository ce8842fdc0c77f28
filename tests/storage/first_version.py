# ruff: noqa: E501, W291 - word for word
"""
What servers of the first version send, word for word: a migrated database has to answer it until they have gone.
"""

TRIAL_IDS = """
SELECT id, environment, channel, pass FROM temppass.trial
JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (environment, channel, pass) USING (environment, channel, pass)
"""
ADD_TRIALS = """
INSERT INTO temppass.trial (id, environment, channel, pass, device_floor, user_key_floor, fired_at, version)
SELECT (SELECT coalesce(max(id), 0) FROM temppass.trial) + n, environment, channel, pass, 0, 0, 0, 0
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (environment, channel, pass, n)
ON CONFLICT DO NOTHING
"""
READ = """
SELECT 0, n::integer, version, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bytea
FROM unnest($1::text[]) WITH ORDINALITY AS k (name, n) JOIN temppass.environment USING (name)
UNION ALL
SELECT 1, id, version, device_floor, user_key_floor, fired_at, NULL, NULL, NULL
FROM temppass.trial WHERE id = ANY ($2::integer[])
UNION ALL
SELECT 2, n::integer, version, generation, started_at, expires_at, used, app_id, device_user
FROM unnest($3::integer[], $4::smallint[], $5::bytea[]) WITH ORDINALITY AS k (trial, kind, subject, n)
JOIN temppass.ledger USING (trial, kind, subject)
"""
SESSIONS = """
SELECT environment, code, version, document FROM temppass.session
JOIN unnest($1::text[], $2::text[]) AS k (environment, code) USING (environment, code)
"""
WRITE_LEDGERS = """
WITH 
upserted AS (
    INSERT INTO temppass.ledger AS present (
        trial, kind, subject, generation, started_at, expires_at, version, used, app_id, device_user
    )
    SELECT * FROM unnest(
        $1::integer[], $2::smallint[], $3::bytea[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bytea[], $9::bytea[], $10::bytea[]
    )
    ON CONFLICT (trial, kind, subject) DO UPDATE SET
        generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
        version = present.version + 1, used = excluded.used, app_id = excluded.app_id,
        device_user = excluded.device_user
    WHERE present.version = -excluded.version
    RETURNING version
) SELECT temppass.expect((SELECT count(*) FROM upserted WHERE version > 0) + CASE WHEN $11::integer[] = '{}' THEN 0 ELSE temppass.hold($11, $12, '{}') END, $13)
"""
WRITE_ALL = """
WITH 
upserted AS (
    INSERT INTO temppass.ledger AS present (
        trial, kind, subject, generation, started_at, expires_at, version, used, app_id, device_user
    )
    SELECT * FROM unnest(
        $1::integer[], $2::smallint[], $3::bytea[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bytea[], $9::bytea[], $10::bytea[]
    )
    ON CONFLICT (trial, kind, subject) DO UPDATE SET
        generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
        version = present.version + 1, used = excluded.used, app_id = excluded.app_id,
        device_user = excluded.device_user
    WHERE present.version = -excluded.version
    RETURNING version
), raised AS (
    UPDATE temppass.trial SET
        device_floor = k.device_floor, user_key_floor = k.user_key_floor, fired_at = k.fired_at,
        version = k.version + 1
    FROM unnest($11::integer[], $12::integer[], $13::integer[], $14::bigint[], $15::bigint[])
        AS k (id, device_floor, user_key_floor, fired_at, version)
    WHERE trial.id = k.id AND trial.version = k.version
    RETURNING 1
), kept AS (
    INSERT INTO temppass.session AS present (environment, code, expires_at, document, version)
    SELECT * FROM unnest($16::text[], $17::text[], $18::bigint[], $19::bytea[], $20::bigint[])
    ON CONFLICT (environment, code) DO UPDATE SET
        expires_at = excluded.expires_at, document = excluded.document, version = excluded.version
    WHERE present.version = excluded.version - 1
    RETURNING 1
), registered AS (
    INSERT INTO temppass.client (environment, id, application, epoch, secret_hash, issued_at)
    SELECT * FROM unnest($21::text[], $22::text[], $23::text[], $24::integer[], $25::bytea[], $26::bigint[])
), recorded AS (
    INSERT INTO temppass.audit (id, at, environment, document)
    SELECT * FROM unnest($27::text[], $28::bigint[], $29::text[], $30::bytea[])
)
SELECT temppass.expect(
    (SELECT count(*) FROM upserted WHERE version > 0) + (SELECT count(*) FROM raised) + (SELECT count(*) FROM kept) + temppass.hold($31, $32, $33),
    $34
)
"""
