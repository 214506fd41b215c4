-- Keys start with the app, so that an app's rows lie together and an audience is a range scan in device order.
-- Times are milliseconds since the epoch. Providers, platforms, environments and endings are the numbers in codes.rs.

CREATE TABLE apps (
    id                 INTEGER PRIMARY KEY,
    app_key            BLOB    NOT NULL UNIQUE,
    name               TEXT    NOT NULL,
    master_secret_hash BLOB    NOT NULL,
    created_at         INTEGER NOT NULL
) STRICT;

-- environment is 0 for a provider that has only one world.
CREATE TABLE credentials (
    app         INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    provider    INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    summary     TEXT    NOT NULL,
    sealed      BLOB    NOT NULL,
    rejected    TEXT,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (app, provider, environment)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    app         INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    id          INTEGER NOT NULL,
    platform    INTEGER NOT NULL,
    alias       TEXT,
    secret_hash BLOB    NOT NULL,
    locale      TEXT,
    time_zone   TEXT,
    app_version TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_alias ON devices (app, alias, id) WHERE alias IS NOT NULL;

CREATE TABLE device_tags (
    app    INTEGER NOT NULL,
    tag    TEXT    NOT NULL,
    device INTEGER NOT NULL,
    PRIMARY KEY (app, tag, device),
    FOREIGN KEY (app, device) REFERENCES devices (app, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX device_tags_by_device ON device_tags (app, device);

-- added_at: since when the device has this token; registered_at: when it last said so (APNs' 410 is compared with that).
-- token_hash, 16 bytes of SHA-256, stands for the token in the unique index: random keys make a large index slow.
CREATE TABLE channels (
    app           INTEGER NOT NULL,
    provider      INTEGER NOT NULL,
    device        INTEGER NOT NULL,
    platform      INTEGER NOT NULL,
    environment   INTEGER NOT NULL,
    token         TEXT,
    token_hash    BLOB,
    added_at      INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (app, provider, device),
    FOREIGN KEY (app, device) REFERENCES devices (app, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX channels_by_token ON channels (app, provider, token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX channels_by_device ON channels (app, device);

-- What a device was once reached by, and why no longer.
CREATE TABLE tombstones (
    app           INTEGER NOT NULL,
    device        INTEGER NOT NULL,
    removed_at    INTEGER NOT NULL,
    provider      INTEGER NOT NULL,
    token         TEXT,
    added_at      INTEGER NOT NULL,
    reason        TEXT    NOT NULL,
    PRIMARY KEY (app, device, removed_at, provider),
    FOREIGN KEY (app, device) REFERENCES devices (app, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- logged = 1: for everyone or for tags, read from here by each device after its cursor. Otherwise its link devices
-- have inbox rows. finished = 1: nothing more can happen to it, its counts add up.
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    app         INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    accepted_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    logged      INTEGER NOT NULL,
    finished    INTEGER NOT NULL DEFAULT 0,
    push        TEXT    NOT NULL
) STRICT;

CREATE INDEX messages_log ON messages (app, id) WHERE logged = 1;
CREATE INDEX messages_by_app ON messages (app, id);
CREATE INDEX messages_open ON messages (expires_at) WHERE finished = 0;

CREATE TABLE cids (
    app     INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    cid     TEXT    NOT NULL,
    message INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (app, cid)
) STRICT, WITHOUT ROWID;

CREATE INDEX cids_by_time ON cids (at);

-- How far a message has been turned into pages, by provider; the tasks of one app and provider are done in order. A
-- task that is complete is deleted.
CREATE TABLE tasks (
    app      INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    after    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, provider, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_by_message ON tasks (message);

-- Up to 1,000 deliveries. While owner is set it is out, and detail holds what has been answered so far; then detail
-- holds only the devices whose ending differs from the page's.
CREATE TABLE pages (
    message     INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    provider    INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    owner       INTEGER,
    lease_until INTEGER,
    settled_at  INTEGER,
    detail      BLOB    NOT NULL,
    PRIMARY KEY (message, provider, first)
) STRICT, WITHOUT ROWID;

CREATE INDEX pages_out ON pages (lease_until) WHERE owner IS NOT NULL;

CREATE TABLE inbox (
    app      INTEGER NOT NULL,
    device   INTEGER NOT NULL,
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    acked_at INTEGER,
    PRIMARY KEY (app, device, message),
    FOREIGN KEY (app, device) REFERENCES devices (app, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX inbox_by_message ON inbox (message);

-- The greatest logged message that the device has acknowledged; starts as the device's own id, which no older message
-- exceeds, and so has its full width from the first: an acknowledgement adds no byte.
CREATE TABLE cursors (
    app      INTEGER NOT NULL,
    device   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (app, device),
    FOREIGN KEY (app, device) REFERENCES devices (app, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    message   INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    provider  INTEGER NOT NULL,
    platform  INTEGER NOT NULL,
    targeted  INTEGER NOT NULL DEFAULT 0,
    sent      INTEGER NOT NULL DEFAULT 0,
    accepted  INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    opened    INTEGER NOT NULL DEFAULT 0,
    dropped   INTEGER NOT NULL DEFAULT 0,
    expired   INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (message, provider, platform)
) STRICT, WITHOUT ROWID;

CREATE TABLE reasons (
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    provider INTEGER NOT NULL,
    ending   INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (message, provider, ending, reason)
) STRICT, WITHOUT ROWID;

-- What a device told us itself, each once.
CREATE TABLE events (
    message INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    device  INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (message, device, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_device ON events (device);
