-- The clients of an application, by when they registered.
CREATE INDEX client_application ON client (environment, application, epoch, issued_at, id);

-- Where a chain begins of which the oldest records are forgotten: the last of them, under the chain's key.
ALTER TABLE chain ADD COLUMN forgotten_sequence INTEGER;
ALTER TABLE chain ADD COLUMN forgotten_hash BLOB;
ALTER TABLE chain ADD COLUMN forgotten_at INTEGER;
ALTER TABLE chain ADD COLUMN forgotten_proof BLOB;
