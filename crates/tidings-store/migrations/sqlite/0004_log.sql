-- The log of large audiences, with positions; inbox rows with parts and endings; cursors with exceptions.

-- A message to a large audience, with what judging whether it is for a device needs and no more. position is drawn in the
-- transaction that writes the row, so who has read up to one has missed none before it. audience is empty for everyone;
-- message_for and notification_for are sets of platforms, one bit each.
CREATE TABLE log (
    app              INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    message          INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    online_only      INTEGER NOT NULL,
    message_for      INTEGER NOT NULL,
    notification_for INTEGER NOT NULL,
    audience         TEXT    NOT NULL,
    PRIMARY KEY (app, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX log_by_message ON log (message);

-- Where a message stands in its app's log; null for one that went to inboxes, or has yet to be decided on.
ALTER TABLE messages ADD COLUMN position INTEGER;

-- Before, the kind of audience decided, and the message's own id was its place: cursors go on standing right.
UPDATE messages SET position = id WHERE logged = 1;

INSERT INTO log (app, position, message, expires_at, online_only, message_for, notification_for, audience)
SELECT app, id, id, expires_at,
       coalesce(json_extract(push, '$.options.time_to_live'), 1) = 0,
       iif(json_extract(push, '$.message') IS NULL, 0, json_extract(push, '$.platforms')),
       json_extract(push, '$.platforms')
           & (iif(json_extract(push, '$.notification.alert') IS NULL, 0, 31)
              | iif(json_extract(push, '$.notification.android') IS NULL, 0, 1)
              | iif(json_extract(push, '$.notification.ios') IS NULL, 0, 4)),
       iif(json_type(push, '$.audience') = 'text', '', json_extract(push, '$.audience'))
FROM messages WHERE logged = 1;

DROP INDEX messages_log;
ALTER TABLE messages DROP COLUMN logged;

-- What waits for a device and what became of it. position is the order in which rows came. parts: 1 message,
-- 2 notification, 3 both. ending is null while the row is open.
CREATE TABLE inbox_new (
    app      INTEGER NOT NULL,
    device   INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    parts    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ending   INTEGER,
    reason   TEXT,
    ended_at INTEGER,
    PRIMARY KEY (app, device, message, parts)
) STRICT, WITHOUT ROWID;

-- An old row did not say which parts it is for. A notification goes with it unless the device has APNs for that.
INSERT INTO inbox_new (app, device, message, parts, position, ending, ended_at)
SELECT i.app, i.device, i.message,
       iif(json_extract(m.push, '$.message') IS NULL, 2,
           iif(json_extract(m.push, '$.notification') IS NULL
               OR EXISTS (SELECT 1 FROM channels AS c WHERE c.app = i.app AND c.provider = 1 AND c.device = i.device
                          AND c.until = 9223372036854775807),
               1, 3)),
       i.message, iif(i.acked_at IS NULL, NULL, 2), i.acked_at
FROM inbox AS i CROSS JOIN messages AS m ON m.id = i.message;

DROP TABLE inbox;
ALTER TABLE inbox_new RENAME TO inbox;
CREATE INDEX inbox_open ON inbox (app, device, position) WHERE ending IS NULL;
CREATE INDEX inbox_by_message ON inbox (message);

-- Everything in the log up to position has been judged for the device. exceptions is packed (cursor.rs); up to forgotten
-- it is not known any more what was one. Of what the old cursors had passed nothing is known.
CREATE TABLE cursors_new (
    app        INTEGER NOT NULL,
    device     INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    forgotten  INTEGER NOT NULL DEFAULT 0,
    exceptions BLOB    NOT NULL DEFAULT x'',
    PRIMARY KEY (app, device)
) STRICT, WITHOUT ROWID;

INSERT INTO cursors_new (app, device, position, forgotten)
SELECT app, device, position, iif(position = device, 0, position) FROM cursors;
DROP TABLE cursors;
ALTER TABLE cursors_new RENAME TO cursors;

UPDATE counts SET expired = 0 WHERE expired < 0;
