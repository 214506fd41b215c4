//! How an answer is printed: as the server's JSON, or as lines for people.

use serde_json::Value;

#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Json,
    Text,
}

impl Output {
    /// One thing, a line for each of its fields.
    pub(super) fn record(self, reply: &Value) -> String {
        match self {
            Self::Json => json(reply),
            Self::Text => {
                let mut rows = Vec::new();
                flatten(String::new(), reply, &mut rows);
                aligned(&rows)
            }
        }
    }

    /// The list that `reply` has under `key`, a line for each entry with its `columns`.
    pub(super) fn list(self, reply: &Value, key: &str, columns: &[&str]) -> String {
        match self {
            Self::Json => json(reply),
            Self::Text => {
                let entries = reply[key].as_array().map(Vec::as_slice).unwrap_or_default();
                let row = |entry: &Value| {
                    columns
                        .iter()
                        .map(|column| plain(&entry[*column]))
                        .collect()
                };
                let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
                if rows.is_empty() {
                    "none\n".to_owned()
                } else {
                    aligned(&rows)
                }
            }
        }
    }

    /// A thing whose fields say less than `text` does.
    pub(super) fn said(self, reply: &Value, text: &str) -> String {
        match self {
            Self::Json => json(reply),
            Self::Text => format!("{text}\n"),
        }
    }
}

fn json(reply: &Value) -> String {
    format!("{reply:#}\n")
}

/// The fields of a value that hold something, each with its path.
fn flatten(path: String, value: &Value, rows: &mut Vec<Vec<String>>) {
    let below = |key: &str| match path.as_str() {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        Value::Null => {}
        Value::Array(list) if list.is_empty() => {}
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| flatten(below(key), value, rows)),
        Value::Array(list)
            if list
                .iter()
                .any(|entry| entry.is_object() || entry.is_array()) =>
        {
            let indexed = list.iter().enumerate();
            indexed.for_each(|(index, entry)| flatten(below(&index.to_string()), entry, rows));
        }
        other => rows.push(vec![path, plain(other)]),
    }
}

/// Control characters of a stranger's do not reach the terminal.
pub(super) fn printable(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(printable).collect()
}

/// A value in a line of text.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    printable(&text)
}

/// Rows as lines, their columns one below the other.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_is_a_line_for_each_field() {
        let reply = json!({"name": "Shop\u{1b}[0m", "none": null, "no": [], "tags": ["a", "b"], "channels": [{"provider": "link"}]});
        let text = "channels.0.provider  link\nname                 Shop\u{fffd}[0m\ntags                 a, b\n";
        assert_eq!(Output::Text.record(&reply), text);
        assert_eq!(Output::Json.record(&json!({"a": 1})), "{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn a_list_is_a_line_for_each_entry() {
        let reply = json!({"apps": [{"key": "a", "name": "Shop"}, {"key": "bcd", "name": null}]});
        assert_eq!(
            Output::Text.list(&reply, "apps", &["key", "name"]),
            "a    Shop\nbcd  -\n"
        );
        assert_eq!(
            Output::Text.list(&json!({"apps": []}), "apps", &["key"]),
            "none\n"
        );
    }
}
