-- Software statements that count; one that is not here any more was revoked. A client of before is of none, ''.
CREATE TABLE statement (
    environment TEXT NOT NULL,
    id TEXT NOT NULL,
    application TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    kid TEXT NOT NULL,
    minted_at INTEGER NOT NULL,
    minted_by TEXT NOT NULL,
    ends_at INTEGER,
    used_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (environment, id)
) STRICT, WITHOUT ROWID;

-- What was revoked and is remembered, because what it left behind speaks for itself; null is for good.
CREATE TABLE ended (
    environment TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (environment, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_until ON ended (until);

ALTER TABLE client ADD COLUMN statement TEXT NOT NULL DEFAULT '';
-- When it asked for a token last, to thirty days; 0 never, -1 nobody knows.
ALTER TABLE client ADD COLUMN used_at INTEGER NOT NULL DEFAULT -1;
CREATE INDEX client_statement ON client (environment, application, epoch, statement, issued_at, id);

-- Which servers are up, and what they say of themselves.
CREATE TABLE server (
    id TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
