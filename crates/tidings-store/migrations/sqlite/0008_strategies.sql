-- What an app wants where a push does not say it. strategy: JSON; fallback_after: milliseconds.
ALTER TABLE apps ADD COLUMN strategy TEXT;
ALTER TABLE apps ADD COLUMN fallback_after INTEGER;

-- Providers before which the link has it all the same: a bit for each, by its code.
ALTER TABLE log ADD COLUMN link_only INTEGER NOT NULL DEFAULT 0;

-- second: the provider that gets what the link has first, if the device does not acknowledge it in time. went: the first
-- device of the page in which it went to that.
ALTER TABLE inbox ADD COLUMN second INTEGER;
ALTER TABLE inbox ADD COLUMN went INTEGER;
CREATE INDEX inbox_second ON inbox (message, second, device) WHERE second IS NOT NULL AND ending IS NULL;

-- When what the link had first and has not been acknowledged goes to a provider.
CREATE TABLE fallbacks (
    message  INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    app      INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    PRIMARY KEY (message, provider)
) STRICT, WITHOUT ROWID;

CREATE INDEX fallbacks_due ON fallbacks (due);
