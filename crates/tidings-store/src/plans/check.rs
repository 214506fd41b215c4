//! What is wrong with a statement: by the plan that the linked SQLite makes for it, and by the steps that its runs took.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::recorder::Seen;

/// What one run may take beside what its rows explain: some probes of an index.
pub(super) const STEPS_MAX: i64 = 1500;

/// A statement that may do what others may not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excused {
    /// A part of its text, blanks as one.
    pub(super) text: &'static str,
    /// The steps that it may take for once, in place of [`STEPS_MAX`]; 0 is no more than others.
    pub(super) steps: i64,
    /// What its plan may say, by the words of the complaint.
    pub(super) plan: &'static [&'static str],
    /// Why that is bounded.
    pub(super) why: &'static str,
}

/// Everything that is wrong with what was seen, and with the excuses: one that nothing needs any more is to be taken out.
pub(super) fn complaints(sql: &Connection, seen: &Seen, excused: &[Excused]) -> Vec<String> {
    let keys = Keys::of(sql);
    let mut complaints = Vec::new();
    let mut needed = BTreeSet::new();
    for (text, run) in seen {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_query = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|verb| text.starts_with(verb));
        if !is_query {
            continue;
        }
        let excuse = (0..excused.len()).find(|index| text.contains(excused[*index].text));
        let mut complain = |what: String, is_excused: bool| match excuse {
            Some(index) if is_excused => {
                needed.insert(index);
            }
            _ => complaints.push(format!("{what}\n    {text}")),
        };
        if run.excess() > STEPS_MAX {
            let allowed = excuse.map_or(0, |index| excused[index].steps);
            let what = format!("{} steps for {} rows", run.steps, run.rows);
            complain(what, run.excess() <= allowed);
        }
        if run.planned > 0 {
            complain(format!("planned anew {} times", run.planned), false);
        }
        for what in plan_complaints(sql, &keys, &text) {
            let plan = excuse.map_or(&[][..], |index| excused[index].plan);
            let is_excused = plan.iter().any(|part| what.contains(part));
            complain(what, is_excused);
        }
    }
    for (index, excuse) in excused.iter().enumerate() {
        if !needed.contains(&index) {
            complaints.push(format!("{:?} needs no excuse: {}", excuse.text, excuse.why));
        }
    }
    complaints
}

fn plan_complaints(sql: &Connection, keys: &Keys, text: &str) -> Vec<String> {
    let mut explain = match sql.prepare(&format!("EXPLAIN QUERY PLAN {text}")) {
        Ok(explain) => explain,
        Err(error) => return vec![format!("cannot be explained: {error}")],
    };
    let lines: Vec<String> = explain
        .raw_query()
        .mapped(|row| row.get(3))
        .collect::<Result<_, _>>()
        .expect("a plan is rows of text");
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["SCAN", "CONSTANT", "ROW"] => {}
            // A list of ours, as long as we made it; and what another line stands for.
            ["SCAN", _, "VIRTUAL", ..] => {}
            ["SCAN", table, ..] if table.starts_with('(') => {}
            // A queue of what is to be done. That it is not walked, the steps say.
            ["SCAN", _, "USING", .., index] if keys.partial.contains(*index) => {}
            ["SCAN", table, ..] if keys.table(&tokens, table).is_some() => {
                complaints.push(format!("a scan: {line}"));
            }
            ["SEARCH", _, "USING", "AUTOMATIC", ..] => {
                complaints.push(format!("an index made for once: {line}"));
            }
            ["SEARCH", name, ..] => {
                if let Some(table) = keys.table(&tokens, name) {
                    let unbound = keys.unbound(table, name, &tokens, line);
                    if !unbound.is_empty() {
                        let unbound = unbound.join(", ");
                        complaints.push(format!("does not search by {unbound}: {line}"));
                    }
                }
            }
            _ if line.contains("TEMP B-TREE") => complaints.push(format!("sorts: {line}")),
            _ => {}
        }
    }
    complaints
}

/// The keys of all tables: for each its unique ones, and the columns of all.
struct Keys {
    /// Indexes of some rows of their table only.
    partial: BTreeSet<String>,
    tables: BTreeMap<String, Table>,
}

struct Table {
    /// Columns that stand in some key.
    columns: BTreeSet<String>,
    /// The name of `rowid`.
    rowid: Option<String>,
    unique: Vec<BTreeSet<String>>,
}

impl Keys {
    fn of(sql: &Connection) -> Self {
        let texts = |text: &str| -> Vec<String> {
            let mut select = sql.prepare(text).expect("a statement");
            let rows = select.query_map([], |row| row.get(0)).expect("rows");
            rows.collect::<Result<_, _>>().expect("texts")
        };
        let names = texts("SELECT name FROM sqlite_schema WHERE type = 'table'");
        let table = |name: String| {
            let mut unique = Vec::new();
            let mut columns = BTreeSet::new();
            let list = |wanted: &str| {
                texts(&format!(
                    "SELECT name FROM pragma_index_list('{name}') WHERE {wanted}"
                ))
            };
            for (indexes, is_unique) in [
                (list("\"unique\" AND NOT partial"), true),
                (list("NOT \"unique\" OR partial"), false),
            ] {
                for index in indexes {
                    let text = format!("SELECT name FROM pragma_index_info('{index}')");
                    let key: BTreeSet<String> = texts(&text).into_iter().collect();
                    columns.extend(key.iter().cloned());
                    if is_unique {
                        unique.push(key);
                    }
                }
            }
            let text = format!("SELECT name FROM pragma_table_info('{name}') WHERE pk > 0");
            let primary = texts(&text);
            columns.extend(primary.iter().cloned());
            let rowid = match primary.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            };
            unique.push(primary.into_iter().collect());
            let table = Table {
                columns,
                rowid,
                unique,
            };
            (name, table)
        };
        let partial = "SELECT i.name FROM sqlite_schema AS t CROSS JOIN pragma_index_list(t.name) AS i WHERE i.partial";
        Self {
            partial: texts(partial).into_iter().collect(),
            tables: names.into_iter().map(table).collect(),
        }
    }

    /// The table that a plan calls `name`, which may be its alias; none when it is none of ours.
    fn table(&self, tokens: &[&str], name: &str) -> Option<&Table> {
        self.tables.get(name).or_else(|| {
            tokens.windows(3).find_map(|window| match window {
                [table, "AS", alias] if *alias == name => self.tables.get(*table),
                _ => None,
            })
        })
    }

    /// Columns of keys which the statement compares for equality, and by which the search of `line` does not search. None
    /// when it finds one row at most.
    fn unbound(&self, table: &Table, name: &str, tokens: &[&str], line: &str) -> Vec<String> {
        let bound = match (line.find(" ("), line.rfind(')')) {
            (Some(open), Some(close)) => &line[open + 2..close],
            _ => "",
        };
        let bound: BTreeSet<String> = bound
            .split(" AND ")
            .filter_map(|term| term.strip_suffix("=?"))
            .map(|column| match (&table.rowid, column) {
                (Some(rowid), "rowid") => rowid.clone(),
                _ => column.to_owned(),
            })
            .collect();
        if table.unique.iter().any(|key| key.is_subset(&bound)) {
            return Vec::new();
        }
        let named = compared(tokens, name);
        table
            .columns
            .iter()
            .filter(|column| named.contains(column.as_str()) && !bound.contains(*column))
            .cloned()
            .collect()
    }
}

/// The columns that a statement compares for equality on its left side, those of other tables left out where that is said.
fn compared<'a>(tokens: &[&'a str], name: &str) -> BTreeSet<&'a str> {
    let begin = tokens.iter().position(|token| *token == "WHERE");
    let tokens = &tokens[begin.unwrap_or(tokens.len())..];
    let end = tokens.windows(2).position(|pair| pair == ["DO", "UPDATE"]);
    let tokens = &tokens[..end.unwrap_or(tokens.len())];
    let mut named = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_equal = match *token {
            "=" | "IN" => true,
            "IS" => !matches!(tokens.get(at + 1), Some(&("NULL" | "NOT"))),
            _ => false,
        };
        if !is_equal || at == 0 {
            continue;
        }
        let is_others = at > 2 && tokens[at - 2] == "." && tokens[at - 3] != name;
        if !is_others {
            named.insert(tokens[at - 1]);
        }
    }
    named
}

/// Words and signs. A text that is quoted comes in pieces, which mean nothing here.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |char: char| char.is_alphanumeric() || matches!(char, '_' | '?');
        let end = match is_word(first) {
            true => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
            false if matches!(first, '<' | '>' | '!' | '=') => rest
                .find(|char| !matches!(char, '<' | '>' | '!' | '='))
                .unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        if first != ' ' {
            tokens.push(&rest[..end]);
        }
        rest = &rest[end..];
    }
    tokens
}
