-- One isolated world: its catalogue, keys (encrypted) and epochs, as one document that changes only as a whole.
CREATE TABLE temppass.environment (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    document bytea NOT NULL
);

-- A (channel, pass) of an environment under a small number, with the generations below which its ledgers do not count.
-- The number is the next free one; an identity column would keep Citus from replicating the table.
CREATE TABLE temppass.trial (
    id integer PRIMARY KEY,
    environment text NOT NULL,
    channel text NOT NULL,
    pass text NOT NULL,
    device_floor integer NOT NULL,
    user_key_floor integer NOT NULL,
    fired_at bigint NOT NULL,
    version bigint NOT NULL,
    UNIQUE (environment, channel, pass)
);

-- What one subject used of one (channel, pass). `subject` is a keyed digest, `used` a JSON list of titles or null.
-- `version` starts at a random number and counts up, so that no row is mistaken for one that was removed before it.
CREATE TABLE temppass.ledger (
    trial integer NOT NULL,
    generation integer NOT NULL,
    started_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    version bigint NOT NULL,
    kind smallint NOT NULL,
    subject bytea NOT NULL,
    used bytea,
    app_id bytea,
    device_user bytea,
    PRIMARY KEY (trial, kind, subject)
) WITH (fillfactor = 95, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE TABLE temppass.client (
    environment text NOT NULL,
    id text NOT NULL,
    application text NOT NULL,
    epoch integer NOT NULL,
    secret_hash bytea NOT NULL,
    issued_at bigint NOT NULL,
    PRIMARY KEY (environment, id)
);

CREATE TABLE temppass.session (
    environment text NOT NULL,
    code text NOT NULL,
    expires_at bigint NOT NULL,
    document bytea NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (environment, code)
);

CREATE INDEX session_expires_at ON temppass.session (expires_at);

-- What operators did: resets, catalogue changes, revocations.
CREATE TABLE temppass.audit (
    id text PRIMARY KEY,
    at bigint NOT NULL,
    environment text NOT NULL,
    document bytea NOT NULL
);

CREATE INDEX audit_environment_at ON temppass.audit (environment, at);

-- Ends the statement that calls it where a guarded write met a row that had moved on; the batch is run again.
CREATE FUNCTION temppass.expect(written bigint, wanted bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF written <> wanted THEN
        RAISE EXCEPTION 'a row has moved on' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN written;
END
$$;

-- Answers how many of `trials` still have the versions that a batch read. What it answers holds until the batch is
-- committed: a batch that raises floors waits for those that rest on the floors as they were, and those come after it.
-- Only so has a ledger that is written beside a reset of everybody one place in one order of all that happened.
-- Called last in a statement and for trials in ascending order, so that nobody waits in a circle.
CREATE FUNCTION temppass.hold(trials integer[], versions bigint[], raised integer[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    trial_id integer;
BEGIN
    FOR trial_id IN SELECT unnest(trials || raised) ORDER BY 1 LOOP
        IF trial_id = ANY (raised) THEN
            PERFORM pg_advisory_xact_lock(7305118, trial_id);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(7305118, trial_id);
        END IF;
    END LOOP;
    -- in a snapshot of its own, which sees what was committed while it waited
    RETURN (SELECT count(*) FROM unnest(trials, versions) AS k (id, version) JOIN temppass.trial USING (id, version));
END
$$;
