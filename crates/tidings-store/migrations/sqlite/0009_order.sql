-- behind, behind_first: the message, and the first device of the page of it, that a page in state 4 waits for: both have a device
-- and a collapse id. 0 as the first: for the message's task.
ALTER TABLE pages ADD COLUMN behind INTEGER;
ALTER TABLE pages ADD COLUMN behind_first INTEGER;

-- What stood behind whole messages is looked at anew by the opening.
UPDATE pages SET behind = 0, behind_first = 0 WHERE state = 4;

CREATE INDEX pages_behind ON pages (behind, provider, environment, behind_first, last) WHERE state = 4;

-- The pages of a collapse id by their first devices, and those of more devices than one apart.
DROP INDEX pages_by_collapse;
CREATE INDEX pages_by_collapse ON pages (app, provider, environment, collapse, first, message) WHERE collapse IS NOT NULL;
CREATE INDEX pages_wide ON pages (app, provider, environment, collapse, message, last) WHERE collapse IS NOT NULL AND last > first;
