-- The secret in the addresses to which makers send an app's receipts: how often it has been changed, and when it last was.
ALTER TABLE apps ADD COLUMN callbacks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN callbacks_since INTEGER;
