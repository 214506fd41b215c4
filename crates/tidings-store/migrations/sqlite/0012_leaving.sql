-- left_link: the id at which a device lost the link, while what waits for it there has yet to be ended. Gone when that is done, or
-- when the device has the link again.
ALTER TABLE devices ADD COLUMN left_link INTEGER;

UPDATE devices SET left_link = coalesce(
    (SELECT max(c.until) FROM channels AS c WHERE c.app = devices.app AND c.provider = 2 AND c.device = devices.id), id)
WHERE deleted_at IS NULL
    AND EXISTS (SELECT 1 FROM cursors AS u WHERE u.app = devices.app AND u.device = devices.id)
    AND NOT EXISTS (SELECT 1 FROM channels AS c WHERE c.app = devices.app AND c.provider = 2 AND c.device = devices.id
                    AND c.until = 9223372036854775807);

CREATE INDEX devices_left ON devices (app, left_link) WHERE left_link IS NOT NULL;
