-- What the use of a credential has shown since it was set. spent: JSON, its quotas that are used up, each until when.
-- accepted: 1 once the provider has taken something that was sent with it.
ALTER TABLE credentials ADD COLUMN spent TEXT;
ALTER TABLE credentials ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
