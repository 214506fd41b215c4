-- Lanes: a page belongs to one app, provider and environment, is cut and leased in two steps, and settles what has ended
-- and hands the rest to a page of stragglers. No foreign keys, as in 0002.

-- collapse: the id under which a provider replaces the message before; those that share one go in their order.
CREATE TABLE tasks_new (
    app      INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    after    INTEGER NOT NULL DEFAULT 0,
    collapse TEXT,
    PRIMARY KEY (app, provider, message)
) STRICT, WITHOUT ROWID;

INSERT INTO tasks_new (app, provider, message, after)
SELECT app, provider, message, after FROM tasks;
DROP TABLE tasks;
ALTER TABLE tasks_new RENAME TO tasks;
CREATE INDEX tasks_by_message ON tasks (message, provider);
CREATE INDEX tasks_fresh ON tasks (app, provider, message) WHERE after = 0;
CREATE INDEX tasks_begun ON tasks (app, provider, message) WHERE after > 0;
CREATE INDEX tasks_by_collapse ON tasks (app, provider, collapse, message) WHERE collapse IS NOT NULL;

-- Up to 1,000 deliveries. round 0 is cut from the audience's range; a later round is what one before could not end.
-- unknown = 1: devices whose tokens name no environment are in this one. class: 1 a message of one page, 2 a longer one,
-- 3 stragglers. state: 1 ready, 2 out, 3 settled, 4 behind an older message with the same collapse id. due: not before
-- this time. lease names who has it out, for every settlement to be checked by. answered: how many have ended. detail:
-- while it is out, those; once it is settled, the devices whose ending differs from the page's, and all of a later round.
CREATE TABLE pages_new (
    message     INTEGER NOT NULL,
    provider    INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    round       INTEGER NOT NULL,
    app         INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    answered    INTEGER NOT NULL,
    unknown     INTEGER NOT NULL,
    class       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    collapse    TEXT,
    lease       INTEGER,
    lease_until INTEGER,
    settled_at  INTEGER,
    detail      BLOB    NOT NULL,
    PRIMARY KEY (message, provider, environment, first, round)
) STRICT, WITHOUT ROWID;

-- state 5: out in the old form; taken over at the next opening.
INSERT INTO pages_new
SELECT p.message, p.provider, 0, p.first, 0, m.app, p.last, p.count, 0, 1, 2, iif(p.owner IS NULL, 3, 5), 0, NULL, NULL, NULL,
       p.settled_at, p.detail
FROM pages AS p CROSS JOIN messages AS m ON m.id = p.message;
DROP TABLE pages;
ALTER TABLE pages_new RENAME TO pages;
CREATE INDEX pages_ready ON pages (app, provider, environment, class, due, message, first, round) WHERE state = 1;
CREATE INDEX pages_out ON pages (lease_until) WHERE state = 2;
CREATE INDEX pages_old ON pages (message) WHERE state = 5;
CREATE INDEX pages_open ON pages (message) WHERE state <> 3;
CREATE INDEX pages_by_collapse ON pages (app, provider, environment, collapse, message) WHERE collapse IS NOT NULL;

-- Who is in a page that is not settled, packed: a page that is taken out again is its own devices.
CREATE TABLE members (
    message     INTEGER NOT NULL,
    provider    INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    round       INTEGER NOT NULL,
    devices     BLOB    NOT NULL,
    PRIMARY KEY (message, provider, environment, first, round)
) STRICT, WITHOUT ROWID;

-- Which messages an app sent under a collapse id.
ALTER TABLE messages ADD COLUMN collapse TEXT;
CREATE INDEX messages_by_collapse ON messages (app, collapse, id) WHERE collapse IS NOT NULL;

ALTER TABLE counts ADD COLUMN handed_on INTEGER NOT NULL DEFAULT 0;
