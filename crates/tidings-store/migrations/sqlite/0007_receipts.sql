-- What the makers report of phones. provider: who says so; null is the device itself. reason: the maker's own word.
ALTER TABLE events ADD COLUMN provider INTEGER;
ALTER TABLE events ADD COLUMN reason TEXT;

-- Of the accepted, those of which the provider reports that the phone has it.
ALTER TABLE counts ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
