-- One isolated world: its catalogue, keys (encrypted) and epochs, as one document that changes only as a whole.
CREATE TABLE environment (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A (channel, pass) of an environment under a small number, with the generations below which its ledgers do not count.
CREATE TABLE trial (
    id INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    channel TEXT NOT NULL,
    pass TEXT NOT NULL,
    device_floor INTEGER NOT NULL,
    user_key_floor INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    UNIQUE (environment, channel, pass)
) STRICT;

-- What one subject used of one (channel, pass). `subject` is a keyed digest, `used` a JSON list of titles or null.
CREATE TABLE ledger (
    trial INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    subject BLOB NOT NULL,
    generation INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used BLOB,
    app_id BLOB,
    device_user BLOB,
    PRIMARY KEY (trial, kind, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE client (
    environment TEXT NOT NULL,
    id TEXT NOT NULL,
    application TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    secret_hash BLOB NOT NULL,
    issued_at INTEGER NOT NULL,
    PRIMARY KEY (environment, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    environment TEXT NOT NULL,
    code TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (environment, code)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_expires_at ON session (expires_at);

-- What operators did: resets, catalogue changes, revocations.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    environment TEXT NOT NULL,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_environment_at ON audit (environment, at);
