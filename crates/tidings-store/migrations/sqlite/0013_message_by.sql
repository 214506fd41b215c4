-- Providers that have the custom message before the link: a bit for each, by its code.
ALTER TABLE log ADD COLUMN message_by INTEGER NOT NULL DEFAULT 0;
