-- What acts are looked for by; null in a record of an earlier version.
ALTER TABLE audit ADD COLUMN kind TEXT;
ALTER TABLE audit ADD COLUMN actor TEXT;
ALTER TABLE audit ADD COLUMN channel TEXT;
ALTER TABLE audit ADD COLUMN pass TEXT;
CREATE INDEX audit_actor ON audit (environment, actor, sequence);
CREATE INDEX audit_channel ON audit (environment, channel, sequence);

-- Which acts named a subject; `subject` is a keyed digest.
CREATE TABLE target (
    environment TEXT NOT NULL,
    subject BLOB NOT NULL,
    act TEXT NOT NULL,
    PRIMARY KEY (environment, subject, act)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_act ON target (act);

-- What happened, by the minute (of Unix time) and integration; processes add to it.
CREATE TABLE counter (
    environment TEXT NOT NULL,
    minute INTEGER NOT NULL,
    channel TEXT NOT NULL,
    pass TEXT NOT NULL,
    what TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (environment, minute, channel, pass, what)
) STRICT, WITHOUT ROWID;
CREATE INDEX counter_minute ON counter (minute);
