-- Where a chain begins of which the oldest records are forgotten: the last of them, under the chain's key.
ALTER TABLE temppass.chain ADD COLUMN forgotten_sequence bigint;
ALTER TABLE temppass.chain ADD COLUMN forgotten_hash bytea;
ALTER TABLE temppass.chain ADD COLUMN forgotten_at bigint;
ALTER TABLE temppass.chain ADD COLUMN forgotten_proof bytea;
