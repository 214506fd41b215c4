-- What is deleted goes in slices: it is marked first, and gone from then on for everyone who asks.

-- The greatest of what was ever given out, so that nothing is given again, whatever has been deleted since and whatever the
-- clock says. id: of the clock that devices, messages and lives draw from; app: of apps.
CREATE TABLE marks (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO marks SELECT 'app', coalesce(max(id), 0) FROM apps;
INSERT INTO marks SELECT 'id', coalesce(max(id), 0) FROM (
    SELECT max(id) AS id FROM messages
    UNION ALL SELECT max(id) FROM devices
    UNION ALL SELECT max(since) FROM channels
    UNION ALL SELECT max(until) FROM channels WHERE until < 9223372036854775807
    UNION ALL SELECT max(id) FROM tombstones
);

ALTER TABLE apps ADD COLUMN deleted_at INTEGER;
CREATE INDEX apps_deleted ON apps (id) WHERE deleted_at IS NOT NULL;

-- Retention goes by time: ids may have run ahead of it.
CREATE INDEX messages_over ON messages (accepted_at) WHERE finished = 1;

-- deleted_at is an id of the clock here: what is deleted is still asked about for messages that are older.
DROP INDEX devices_deleted;
CREATE INDEX devices_deleted ON devices (app, deleted_at) WHERE deleted_at IS NOT NULL;
