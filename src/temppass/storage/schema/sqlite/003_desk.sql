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

-- The clients of an application, by when they registered.
CREATE INDEX client_application ON client (environment, application, epoch, issued_at, id);

-- Where a chain begins of which the oldest records are forgotten: the last of them, under the chain's key.
ALTER TABLE chain ADD COLUMN forgotten_sequence INTEGER;
ALTER TABLE chain ADD COLUMN forgotten_hash BLOB;
ALTER TABLE chain ADD COLUMN forgotten_at INTEGER;
ALTER TABLE chain ADD COLUMN forgotten_proof BLOB;
