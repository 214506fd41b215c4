-- Channels, tags and aliases have a life: since and until, ids of the clock that messages draw theirs from, so that at each
-- message it is known what a device was and had. 9223372036854775807 is "still". What has ended stays for as long as
-- messages are kept. No foreign keys any more: their actions walk tables inside the writer, and no plan shows them.

-- kind: 1 an alias, 2 a tag.
CREATE TABLE labels (
    app    INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    label  TEXT    NOT NULL,
    device INTEGER NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (app, kind, label, device, since)
) STRICT, WITHOUT ROWID;

-- Since when a label of before was held is not known: since ever.
INSERT INTO labels SELECT app, 1, alias, id, id, 9223372036854775807 FROM devices WHERE alias IS NOT NULL;
INSERT INTO labels SELECT app, 2, tag, device, device, 9223372036854775807 FROM device_tags;
DROP TABLE device_tags;
CREATE INDEX labels_by_device ON labels (app, device, until);
CREATE INDEX labels_ended ON labels (until) WHERE until < 9223372036854775807;

-- forgotten_until: what held only before this id is not known any more. deleted_at: it is gone for everyone who asks, and its
-- rows are still to be cleared.
CREATE TABLE devices_new (
    app             INTEGER NOT NULL,
    id              INTEGER NOT NULL,
    platform        INTEGER NOT NULL,
    secret_hash     BLOB    NOT NULL,
    locale          TEXT,
    time_zone       TEXT,
    app_version     TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    forgotten_until INTEGER NOT NULL DEFAULT 0,
    deleted_at      INTEGER,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;

INSERT INTO devices_new (app, id, platform, secret_hash, locale, time_zone, app_version, created_at, updated_at)
SELECT app, id, platform, secret_hash, locale, time_zone, app_version, created_at, updated_at FROM devices;

-- added_at: since when the device has this token; registered_at: when it last said so (APNs' 410 is compared with that).
-- ended: why it has ended; then there is no token. A changed token is the same channel; what it was stands in tombstones.
CREATE TABLE channels_new (
    app           INTEGER NOT NULL,
    provider      INTEGER NOT NULL,
    device        INTEGER NOT NULL,
    since         INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    platform      INTEGER NOT NULL,
    environment   INTEGER NOT NULL,
    token         TEXT,
    token_hash    BLOB,
    added_at      INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    ended         TEXT,
    PRIMARY KEY (app, provider, device, since)
) STRICT, WITHOUT ROWID;

-- An id is milliseconds since 2020 and 20 bits of counter; a device's first channels are as old as the device.
INSERT INTO channels_new
SELECT app, provider, device, max(device, (added_at - 1577836800000) << 20), 9223372036854775807, platform, environment, token,
       token_hash, added_at, registered_at, NULL
FROM channels;

INSERT OR IGNORE INTO channels_new
SELECT t.app, t.provider, t.device, max(t.device, (t.added_at - 1577836800000) << 20), (t.removed_at - 1577836800000) << 20,
       d.platform, 0, NULL, NULL, t.added_at, t.added_at, t.reason
FROM tombstones AS t JOIN devices AS d ON d.app = t.app AND d.id = t.device;

-- id: the end of what it is for, or when its token was replaced.
CREATE TABLE tombstones_new (
    app        INTEGER NOT NULL,
    device     INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    provider   INTEGER NOT NULL,
    token      TEXT,
    added_at   INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (app, device, id, provider)
) STRICT, WITHOUT ROWID;

INSERT INTO tombstones_new
SELECT app, device, (removed_at - 1577836800000) << 20, provider, token, added_at, removed_at, reason FROM tombstones;

DROP TABLE tombstones;
DROP TABLE channels;
DROP TABLE devices;
ALTER TABLE tombstones_new RENAME TO tombstones;
ALTER TABLE channels_new RENAME TO channels;
ALTER TABLE devices_new RENAME TO devices;

CREATE UNIQUE INDEX devices_by_id ON devices (id);
CREATE INDEX devices_deleted ON devices (app, id) WHERE deleted_at IS NOT NULL;
CREATE UNIQUE INDEX channels_by_token ON channels (app, provider, token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX channels_by_device ON channels (app, device, until);
CREATE INDEX channels_ended ON channels (until) WHERE until < 9223372036854775807;

-- By what an app's devices have ever been reached: a push asks no provider that nobody has.
CREATE TABLE app_providers (
    app      INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    platform INTEGER NOT NULL,
    PRIMARY KEY (app, provider, platform)
) STRICT, WITHOUT ROWID;

INSERT INTO app_providers SELECT DISTINCT app, provider, platform FROM channels;
