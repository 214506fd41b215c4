//! What hangs on what. Nothing is deleted by a foreign key's action, so whoever adds a table enters it here; a test compares
//! these lists with the schema.

/// A table, and its primary key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
}

const fn table(name: &'static str, key: &'static str) -> Table {
    Table { name, key }
}

pub(crate) const CHANNELS: Table = table("channels", "app, provider, device, since");
pub(crate) const CIDS: Table = table("cids", "app, cid");
const CURSORS: Table = table("cursors", "app, device");
pub(crate) const EVENTS: Table = table("events", "message, device, kind");
pub(crate) const INBOX: Table = table("inbox", "app, device, message, parts");
pub(crate) const LABELS: Table = table("labels", "app, kind, label, device, since");
pub(crate) const TASKS: Table = table("tasks", "app, provider, message");
const TOMBSTONES: Table = table("tombstones", "app, device, id, provider");

/// Those with a column `message`: they go before the message.
pub(crate) const OF_MESSAGE: [Table; 9] = [
    TASKS,
    table("fallbacks", "message, provider"),
    table("pages", "message, provider, environment, first, round"),
    table("members", "message, provider, environment, first, round"),
    INBOX,
    table("log", "app, position"),
    EVENTS,
    table("reasons", "message, provider, ending, reason"),
    table("counts", "message, provider, platform"),
];

/// Those with a column `app`: they go before the app. What also hangs on its messages goes with those.
pub(crate) const OF_APP: [Table; 8] = [
    table("credentials", "app, provider, environment"),
    CIDS,
    CURSORS,
    LABELS,
    CHANNELS,
    TOMBSTONES,
    table("devices", "app, id"),
    table("app_providers", "app, provider, platform"),
];

/// Those with the columns `app` and `device`: they go before the device. Its inbox and its events go by a way of their own.
pub(crate) const OF_DEVICE: [Table; 4] = [LABELS, TOMBSTONES, CURSORS, CHANNELS];

impl Table {
    /// Deletes the rows that `wanted` says, as many as `?{limit}` says.
    pub(crate) fn delete_some(&self, wanted: &str, limit: usize) -> String {
        let Self { name, key } = self;
        format!(
            "DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {name} WHERE {wanted} LIMIT ?{limit})"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rusqlite::Connection;

    use super::*;

    /// The tables with all of `columns`, each with its key.
    fn with(sql: &Connection, columns: &[&str]) -> BTreeMap<String, String> {
        let text = "SELECT t.name, (SELECT group_concat(name, ', ') FROM
                        (SELECT name FROM pragma_table_info(t.name) WHERE pk > 0 ORDER BY pk))
                    FROM sqlite_schema AS t WHERE t.type = 'table' AND
                        (SELECT count(*) FROM pragma_table_info(t.name) AS c
                         WHERE c.name IN (SELECT value FROM json_each(?1))) = json_array_length(?1)";
        let mut select = sql.prepare(text).expect("a statement");
        let columns = serde_json::json!(columns).to_string();
        let rows = select.query_map([columns], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.expect("rows").collect::<Result<_, _>>().expect("read")
    }

    fn listed(tables: &[&[Table]]) -> BTreeMap<String, String> {
        let tables = tables.iter().flat_map(|tables| tables.iter());
        tables
            .map(|table| (table.name.to_owned(), table.key.to_owned()))
            .collect()
    }

    #[test]
    fn no_table_is_forgotten() {
        let mut sql = Connection::open_in_memory().expect("opens");
        crate::schema::migrate(&mut sql).expect("migrated");
        let mut of_message = with(&sql, &["message"]);
        // A message of before, which may be forgotten before the `cid` is.
        of_message.remove("cids");
        assert_eq!(of_message, listed(&[&OF_MESSAGE]));

        let mut of_app = with(&sql, &["app"]);
        of_app.retain(|name, _| name != "messages" && !of_message.contains_key(name));
        assert_eq!(of_app, listed(&[&OF_APP]));

        let mut of_device = with(&sql, &["app", "device"]);
        of_device.remove("inbox");
        assert_eq!(of_device, listed(&[&OF_DEVICE]));
    }
}
