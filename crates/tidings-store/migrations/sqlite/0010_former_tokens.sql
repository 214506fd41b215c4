-- Who had a token that is another's now, or nobody's: a receipt for it may still come.
CREATE INDEX tombstones_by_token ON tombstones (app, provider, token, id) WHERE token IS NOT NULL;
