-- Only adds: servers of the version before run beside it, and what they record is found by its time alone.

-- What acts are looked for by; null in a record of an earlier version.
ALTER TABLE temppass.audit ADD COLUMN kind text;
ALTER TABLE temppass.audit ADD COLUMN actor text;
ALTER TABLE temppass.audit ADD COLUMN channel text;
ALTER TABLE temppass.audit ADD COLUMN pass text;
CREATE INDEX audit_actor ON temppass.audit (environment, actor, sequence);
CREATE INDEX audit_channel ON temppass.audit (environment, channel, sequence);

-- Which acts named a subject; `subject` is a keyed digest.
CREATE TABLE temppass.target (
    environment text NOT NULL,
    subject bytea NOT NULL,
    act text NOT NULL,
    PRIMARY KEY (environment, subject, act)
);
CREATE INDEX target_act ON temppass.target (act);

-- What happened, by the minute (of Unix time) and integration; processes add to it.
CREATE TABLE temppass.counter (
    environment text NOT NULL,
    minute bigint NOT NULL,
    channel text NOT NULL,
    pass text NOT NULL,
    what text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (environment, minute, channel, pass, what)
);
CREATE INDEX counter_minute ON temppass.counter (minute);
