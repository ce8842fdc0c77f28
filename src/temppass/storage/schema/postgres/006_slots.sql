-- Only adds: servers of the version before run beside it. One PostgreSQL is one slot, and all of this stays empty and
-- unused; the ledgers of a cluster are in several, each on one node (storage/postgres_spread.py).

-- Which slots there are: subjects go to them in the order of their digests. `key` is what `slot` is in the other
-- tables, chosen so that each is on a shard of its own. Empty where all is one slot, whose key is 0.
CREATE TABLE temppass.slot (
    number smallint PRIMARY KEY,
    key smallint NOT NULL UNIQUE
);

-- What a slot has to know of environments and integrations in order to decide by itself: as the tables of before, which
-- stay and are of one node. Both change together.
CREATE TABLE temppass.edition (
    slot smallint NOT NULL,
    environment text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (slot, environment)
);
CREATE TABLE temppass.standing (
    slot smallint NOT NULL,
    integration integer NOT NULL,
    device_floor integer NOT NULL,
    user_key_floor integer NOT NULL,
    fired_at bigint NOT NULL,
    device_ahead integer NOT NULL,
    user_key_ahead integer NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (slot, integration)
);

-- What several slots have to show at one moment is committed by each node at a moment of its own. So whoever changes it
-- locks it on each of them until all have committed, and who meets such a lock looks again a little later: nobody sees
-- one half. A lock is a number, and not a row, because a first ask has none. `shared` and `exclusive` answer which were
-- not to be had, as rows (3, place in `shared` then in `exclusive`); the rest is read after that, in a snapshot of its
-- own.
CREATE FUNCTION temppass.read_slot(
    _slot smallint, shared bigint[], exclusive bigint[], environments text[], integrations integer[],
    ledger_integrations integer[], kinds smallint[], subjects bytea[], titles_max integer
) RETURNS TABLE (
    what integer, n integer, version bigint, a bigint, b bigint, c bigint, used bytea, app_id bytea, device_user bytea,
    d integer, e integer
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 3, k.n::integer, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea,
        NULL::bytea, NULL::integer, NULL::integer
    FROM unnest(shared) WITH ORDINALITY AS k (lock, n) WHERE NOT pg_try_advisory_xact_lock_shared(lock);
    RETURN QUERY
    SELECT 3, (cardinality(shared) + k.n)::integer, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea,
        NULL::bytea, NULL::bytea, NULL::integer, NULL::integer
    FROM unnest(exclusive) WITH ORDINALITY AS k (lock, n) WHERE NOT pg_try_advisory_xact_lock(lock);
    RETURN QUERY
    SELECT 0, k.n::integer, edition.version, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea,
        NULL::bytea, NULL::integer, NULL::integer
    FROM unnest(environments) WITH ORDINALITY AS k (environment, n) JOIN temppass.edition USING (environment)
    WHERE edition.slot = _slot
    UNION ALL
    SELECT 1, integration, standing.version, device_floor::bigint, user_key_floor::bigint, fired_at, NULL, NULL, NULL,
        device_ahead, user_key_ahead
    FROM temppass.standing WHERE standing.slot = _slot AND integration = ANY (integrations)
    UNION ALL
    SELECT 2, k.n::integer, found.version, generation::bigint, started_at, expires_at,
        CASE WHEN octet_length(found.used) > titles_max THEN ''::bytea ELSE found.used END,
        found.app_id, found.device_user, bonus::integer, NULL
    FROM unnest(ledger_integrations, kinds, subjects) WITH ORDINALITY AS k (integration, kind, subject, n),
        -- each by its whole key, also before statistics say that a slot is not one in two hundred rows of its shard
        LATERAL (
            SELECT * FROM temppass.ledgers
            WHERE slot = _slot AND integration = k.integration AND kind = k.kind AND subject = k.subject LIMIT 1
        ) AS found;
END
$$;

-- Waits for locks, to have them alone: `wait_ms` for each at most, 0 for as long as the statement may take.
CREATE FUNCTION temppass.lock_slot(_slot smallint, locks bigint[], wait_ms integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', wait_ms::text, true);
    PERFORM pg_advisory_xact_lock(lock) FROM unnest(locks) AS k (lock);
    PERFORM set_config('lock_timeout', '0', true);
END
$$;

-- Writes ledgers as UPSERT_LEDGERS does (storage/postgres_sql.py), all or none, while nobody else has a lock and
-- integrations are as they were read.
CREATE FUNCTION temppass.write_slot(
    _slot smallint, shared bigint[], held integer[], held_versions bigint[], integrations integer[], kinds smallint[],
    subjects bytea[], generations integer[], starts bigint[], ends bigint[], versions bigint[], titles bytea[],
    app_ids bytea[], device_users bytea[], bonuses smallint[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    written bigint;
    standing_still bigint;
BEGIN
    PERFORM temppass.expect(count(*), cardinality(shared))
    FROM unnest(shared) AS k (lock) WHERE pg_try_advisory_xact_lock_shared(lock);
    IF cardinality(held) > 0 THEN
        SELECT count(*) INTO standing_still
        FROM unnest(held, held_versions) AS k (integration, version) JOIN temppass.standing USING (integration, version)
        WHERE slot = _slot;
        PERFORM temppass.expect(standing_still, cardinality(held));
    END IF;
    WITH upserted AS (
        INSERT INTO temppass.ledgers AS present (
            slot, integration, kind, subject, generation, started_at, expires_at, version, used, app_id, device_user,
            bonus
        )
        SELECT _slot, k.* FROM unnest(
            integrations, kinds, subjects, generations, starts, ends, versions, titles, app_ids, device_users, bonuses
        ) AS k
        ON CONFLICT ON CONSTRAINT ledger_pkey DO UPDATE SET
            generation = excluded.generation, started_at = excluded.started_at, expires_at = excluded.expires_at,
            version = present.version + 1, used = excluded.used, app_id = excluded.app_id,
            device_user = excluded.device_user, bonus = excluded.bonus
        WHERE present.version = -excluded.version
        RETURNING version
    )
    SELECT count(*) INTO written FROM upserted WHERE version > 0;
    RETURN temppass.expect(written, cardinality(subjects));
END
$$;

-- Tells a slot of environments and integrations as they are from now on.
CREATE FUNCTION temppass.tell_slot(
    _slot smallint, environments text[], editions bigint[], integrations integer[], device_floors integer[],
    user_key_floors integer[], fired bigint[], devices_ahead integer[], user_keys_ahead integer[], versions bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO temppass.edition (slot, environment, version)
    SELECT _slot, k.* FROM unnest(environments, editions) AS k
    ON CONFLICT (slot, environment) DO UPDATE SET version = excluded.version;
    INSERT INTO temppass.standing (
        slot, integration, device_floor, user_key_floor, fired_at, device_ahead, user_key_ahead, version
    )
    SELECT _slot, k.* FROM unnest(
        integrations, device_floors, user_key_floors, fired, devices_ahead, user_keys_ahead, versions
    ) AS k
    ON CONFLICT (slot, integration) DO UPDATE SET
        device_floor = excluded.device_floor, user_key_floor = excluded.user_key_floor, fired_at = excluded.fired_at,
        device_ahead = excluded.device_ahead, user_key_ahead = excluded.user_key_ahead, version = excluded.version;
END
$$;
