-- Few acts of a kind among many others are found without reading those, e.g. the last catalogues that were applied.
CREATE INDEX audit_kind ON audit (environment, kind, sequence) WHERE sequence IS NOT NULL;
