-- Only adds: servers of the version before run beside it. What they write is of no statement, '', and says nothing of
-- its last use, -1. All of this is kept beside the environment's document, which they rewrite as a whole.

-- Software statements that count; one that is not here any more was revoked.
CREATE TABLE temppass.statement (
    environment text NOT NULL,
    id text NOT NULL,
    application text NOT NULL,
    epoch integer NOT NULL,
    kid text NOT NULL,
    minted_at bigint NOT NULL,
    minted_by text NOT NULL,
    ends_at bigint,
    used_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (environment, id)
);

-- What was revoked and is remembered, because what it left behind speaks for itself; null is for good.
CREATE TABLE temppass.ended (
    environment text NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    epoch integer NOT NULL,
    until bigint,
    PRIMARY KEY (environment, kind, id)
);
CREATE INDEX ended_until ON temppass.ended (until);

ALTER TABLE temppass.client ADD COLUMN statement text NOT NULL DEFAULT '';
-- When it asked for a token last, to thirty days; 0 never.
ALTER TABLE temppass.client ADD COLUMN used_at bigint NOT NULL DEFAULT -1;

-- Which servers are up, and what they say of themselves.
CREATE TABLE temppass.server (
    id text PRIMARY KEY,
    seen_at bigint NOT NULL,
    document bytea NOT NULL
);
