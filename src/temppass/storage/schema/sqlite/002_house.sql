-- A (channel, pass) is an integration. `…_ahead` is how far its generation is ahead of its floor: 0 unless a reset was
-- undone.
ALTER TABLE trial RENAME TO integration;
ALTER TABLE integration ADD COLUMN device_ahead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE integration ADD COLUMN user_key_ahead INTEGER NOT NULL DEFAULT 0;

-- `bonus` counts titles given on top of what the pass allows.
ALTER TABLE ledger RENAME COLUMN trial TO integration;
ALTER TABLE ledger ADD COLUMN bonus INTEGER NOT NULL DEFAULT 0;

-- Resets of everybody that stand and may be undone: where the floor was before.
CREATE TABLE raised (
    integration INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    floor_before INTEGER NOT NULL,
    at INTEGER NOT NULL,
    act TEXT NOT NULL,
    PRIMARY KEY (integration, kind, generation)
) STRICT, WITHOUT ROWID;

CREATE INDEX raised_at ON raised (at);

-- What is temporary: sessions, what an undo needs. Keys of one kind are unlike those of any other.
CREATE TABLE kept (
    environment TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (environment, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_expires_at ON kept (expires_at);
INSERT INTO kept (environment, key, kind, expires_at, document)
SELECT environment, code, 'session', expires_at, document FROM session;
DROP TABLE session;

-- A record's place in the chain of its environment, once it has one; the head of each chain.
ALTER TABLE audit ADD COLUMN sequence INTEGER;
ALTER TABLE audit ADD COLUMN hash BLOB;
CREATE UNIQUE INDEX audit_sequence ON audit (environment, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX audit_unsealed ON audit (environment, at, id) WHERE sequence IS NULL;

CREATE TABLE chain (
    environment TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
