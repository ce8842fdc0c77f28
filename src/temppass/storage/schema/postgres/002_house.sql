-- Runs beside servers of the first version: what they call trial, ledger and session become views of the new tables,
-- until the last of those servers has gone (FINISH in storage/postgres_sql.py).

-- A (channel, pass) is an integration. Its id is derived from its name (storage/postgres.py), so that nodes need not
-- agree on one; ids that were given before stay. `…_ahead` is how far its generation is ahead of its floor: 0 unless a
-- reset was undone.
ALTER TABLE temppass.trial RENAME TO integration;
ALTER INDEX temppass.trial_pkey RENAME TO integration_pkey;
ALTER INDEX temppass.trial_environment_channel_pass_key RENAME TO integration_environment_channel_pass_key;
ALTER TABLE temppass.integration ADD COLUMN device_ahead integer NOT NULL DEFAULT 0;
ALTER TABLE temppass.integration ADD COLUMN user_key_ahead integer NOT NULL DEFAULT 0;
CREATE VIEW temppass.trial AS
SELECT id, environment, channel, pass, device_floor, user_key_floor, fired_at, version FROM temppass.integration;

-- `slot` spreads subjects over the nodes of a cluster; on one PostgreSQL it is 0. `bonus` counts titles given on top of
-- what the pass allows. `ledger` is the name of the view, and goes with it.
ALTER TABLE temppass.ledger RENAME TO ledgers;
ALTER TABLE temppass.ledgers RENAME COLUMN trial TO integration;
ALTER TABLE temppass.ledgers ADD COLUMN slot smallint NOT NULL DEFAULT 0;
ALTER TABLE temppass.ledgers ADD COLUMN bonus smallint NOT NULL DEFAULT 0;
-- Pages are filled: most ledgers are written once, and the slot has made the index larger (docs/design.md).
ALTER TABLE temppass.ledgers SET (fillfactor = 100);
CREATE VIEW temppass.ledger AS
SELECT integration AS trial, generation, started_at, expires_at, version, kind, subject, used, app_id, device_user
FROM temppass.ledgers;

-- Resets of everybody that stand and may be undone: where the floor was before.
CREATE TABLE temppass.raised (
    integration integer NOT NULL,
    kind smallint NOT NULL,
    generation integer NOT NULL,
    floor_before integer NOT NULL,
    at bigint NOT NULL,
    act text NOT NULL,
    PRIMARY KEY (integration, kind, generation)
);

CREATE INDEX raised_at ON temppass.raised (at);

-- What is temporary: sessions, what an undo needs. Keys of one kind are unlike those of any other, so that the kind
-- is no part of the key: the statements of older servers name a session by environment and code alone.
ALTER TABLE temppass.session RENAME TO kept;
ALTER TABLE temppass.kept RENAME COLUMN code TO key;
ALTER TABLE temppass.kept ADD COLUMN kind text NOT NULL DEFAULT 'session';
ALTER INDEX temppass.session_pkey RENAME TO kept_pkey;
ALTER INDEX temppass.session_expires_at RENAME TO kept_expires_at;
CREATE VIEW temppass.session AS
SELECT environment, key AS code, expires_at, document, version FROM temppass.kept WHERE kind = 'session';

-- A record's place in the chain of its environment, once it has one; the head of each chain.
ALTER TABLE temppass.audit ADD COLUMN sequence bigint;
ALTER TABLE temppass.audit ADD COLUMN hash bytea;
CREATE UNIQUE INDEX audit_sequence ON temppass.audit (environment, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX audit_unsealed ON temppass.audit (environment, at, id) WHERE sequence IS NULL;

CREATE TABLE temppass.chain (
    environment text PRIMARY KEY,
    sequence bigint NOT NULL,
    hash bytea NOT NULL
);

-- As before, by its new name (001_initial.sql says what it is for).
CREATE OR REPLACE FUNCTION temppass.hold(trials integer[], versions bigint[], raised integer[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    integration_id integer;
BEGIN
    FOR integration_id IN SELECT unnest(trials || raised) ORDER BY 1 LOOP
        IF integration_id = ANY (raised) THEN
            PERFORM pg_advisory_xact_lock(7305118, integration_id);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(7305118, integration_id);
        END IF;
    END LOOP;
    RETURN (SELECT count(*) FROM unnest(trials, versions) AS k (id, version) JOIN temppass.integration USING (id, version));
END
$$;
