//! A JSON object, taken apart key by key. Every refusal names the path of the field, what was wrong and what is wanted.
//!
//! What an object can hold stands in tables of [`Known`] fields: from them comes what is read, what is known and has no effect,
//! what is refused, and what is none of these.
//!
//! The readings are as lenient as what JPush's SDKs send (its reference, 1.7, and what each SDK was seen to do): `null`
//! is absent; `[]`, `{}` and `""` are absent where an object is wanted; booleans come as texts or 1 and 0; numbers come
//! as texts; PHP writes a list with gaps as an object with numbers for keys.

use std::io;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_model::Secret;

use super::error::{ApiError, Fault, shown};

/// Fields that were accepted and have no effect, by path; bounded, since callers choose the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ignored {
    paths: Vec<String>,
    /// Of each whether it is one of the fields that are known, so that there are only so many.
    known: Vec<bool>,
}

impl Ignored {
    /// Paths of one push.
    const PATHS_MAX: usize = 32;
    const PATH_CHARS_MAX: usize = 128;

    pub(crate) fn known(&mut self, path: String) {
        self.push(path, true);
    }

    pub(crate) fn unknown(&mut self, path: String) {
        self.push(path, false);
    }

    fn push(&mut self, path: String, is_known: bool) {
        let path: String = path.chars().take(Self::PATH_CHARS_MAX).collect();
        if self.paths.len() < Self::PATHS_MAX && !self.paths.contains(&path) {
            self.paths.push(path);
            self.known.push(is_known);
        }
    }

    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Each path as a counter may name it: none for a key of the caller's own.
    pub(crate) fn names(&self) -> impl Iterator<Item = Option<&str>> {
        let known = self.paths.iter().zip(&self.known);
        known.map(|(path, is_known)| is_known.then_some(path.as_str()))
    }
}

/// A field that an object can have.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) key: &'static str,
    pub(crate) role: Role,
}

/// What becomes of a field.
#[derive(Debug)]
pub(crate) enum Role {
    /// It has no effect here, and the caller is told so.
    Inert,
    /// [`Fields::kept`] checks it and keeps it as it is.
    Kept(Check),
    /// It is taken by name.
    Read,
    /// It would change who gets a push, or what happens, and cannot be done yet.
    Refused,
}

/// How the value of a field is checked.
#[derive(Debug)]
pub(crate) enum Check {
    /// Whatever it is.
    Any,
    Flag,
    /// From, to.
    Integer(i64, i64),
    /// `{"url": …}`.
    Intent,
    List,
    Object,
    /// One of these numbers.
    Number(&'static [i64]),
    /// `"1"` or `"0"`.
    Switch,
    Text,
    /// Bytes, at most.
    TextUpTo(usize),
    /// `yyyy-MM-dd HH:mm:ss`.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A field of a table that is kept.
pub(crate) const fn kept(key: &'static str, check: Check) -> Known {
    let role = Role::Kept(check);
    Known { key, role }
}

/// A field of a table that is taken by name.
pub(crate) const fn read(key: &'static str) -> Known {
    let role = Role::Read;
    Known { key, role }
}

/// A field of a table that has no effect.
pub(crate) const fn inert(key: &'static str) -> Known {
    let role = Role::Inert;
    Known { key, role }
}

/// A field of a table that is refused.
pub(crate) const fn refused(key: &'static str) -> Known {
    let role = Role::Refused;
    Known { key, role }
}

/// An object whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields {
    asked: Vec<&'static str>,
    map: Map<String, Value>,
    path: String,
    tables: &'static [&'static [Known]],
}

impl Fields {
    /// The body of a request.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self::new(String::new(), map)),
            Ok(other) => Err(ApiError::new(
                Fault::NotJson,
                format!("The body must be a JSON object, not {}.", kind(&other)),
            )),
            Err(error) => Err(ApiError::new(
                Fault::NotJson,
                format!("The body must be a JSON object in UTF-8: {error}."),
            )),
        }
    }

    pub(crate) fn new(path: String, map: Map<String, Value>) -> Self {
        Self {
            asked: Vec::new(),
            map,
            path,
            tables: &[],
        }
    }

    /// Says what the object can hold, and refuses what is to be refused of that.
    pub(crate) fn of(mut self, tables: &'static [&'static [Known]]) -> Result<Self, ApiError> {
        self.tables = tables;
        for field in self.known() {
            let value = self.map.get(field.key);
            if matches!(field.role, Role::Refused) && value.is_some_and(|value| !is_off(value)) {
                return Err(unsupported(self.at(field.key)));
            }
        }
        Ok(self)
    }

    /// The fields of its tables.
    fn known(&self) -> impl Iterator<Item = &'static Known> + use<> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// Takes the fields that are kept, checked. What is blank is left out, but for texts.
    pub(crate) fn kept(&mut self) -> Result<Map<String, Value>, ApiError> {
        let mut kept = Map::new();
        for field in self.known() {
            let (Role::Kept(check), key) = (&field.role, field.key) else {
                continue;
            };
            if let Some(value) = self.checked(key, check)? {
                kept.insert(key.to_owned(), value);
            }
        }
        Ok(kept)
    }

    fn checked(&mut self, key: &'static str, check: &Check) -> Result<Option<Value>, ApiError> {
        let is_blank = self.map.get(key).is_none_or(is_blank);
        if is_blank && !matches!(check, Check::Text | Check::TextUpTo(_)) {
            self.value(key);
            return Ok(None);
        }
        Ok(match check {
            Check::Any => self.value(key),
            Check::Flag => self.flag(key)?.map(Value::from),
            Check::Integer(min, max) => self.integer(key, *min..=*max)?.map(Value::from),
            Check::Intent => self.intent(key)?,
            Check::List => self
                .list(key)?
                .map(|entries| entries.into_iter().map(|(_, entry)| entry).collect()),
            Check::Number(numbers) => self.number(key, numbers)?.map(Value::from),
            Check::Object => Some(self.map(key)?)
                .filter(|map| !map.is_empty())
                .map(Value::Object),
            Check::Switch => self.switch(key)?.map(Value::from),
            Check::Text => self.text(key)?.map(Value::from),
            Check::TextUpTo(bytes_max) => self.text_up_to(key, *bytes_max)?.map(Value::from),
            Check::Time => self.time(key)?.map(Value::from),
            Check::Word(words) => self.word(key, words)?.map(Value::from),
        })
    }

    fn intent(&mut self, key: &'static str) -> Result<Option<Value>, ApiError> {
        let Some(mut intent) = self.object(key)? else {
            return Ok(None);
        };
        let url = intent.text("url")?.filter(|url| !url.is_empty());
        let url = url.map(|url| Map::from_iter([("url".to_owned(), Value::String(url))]));
        Ok(url.map(Value::Object))
    }

    fn number(
        &mut self,
        key: &'static str,
        numbers: &'static [i64],
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match integer(&value) {
            Some(number) if numbers.contains(&number) => Ok(Some(number)),
            _ => {
                let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
                let wanted = format!("one of {}", numbers.join(", "));
                Err(self.wrong(key, &wanted, &value))
            }
        }
    }

    fn switch(&mut self, key: &'static str) -> Result<Option<&'static str>, ApiError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match flag(&value) {
            Some(flag) => Ok(Some(if flag { "1" } else { "0" })),
            None => Err(self.wrong(key, "\"1\" or \"0\"", &value)),
        }
    }

    fn text_up_to(
        &mut self,
        key: &'static str,
        bytes_max: usize,
    ) -> Result<Option<String>, ApiError> {
        let text = self.text(key)?;
        match &text {
            Some(long) if long.len() > bytes_max => Err(ApiError::at(
                Fault::TooLarge,
                self.at(key),
                format!("may have at most {bytes_max} bytes, not {}", long.len()),
            )),
            _ => Ok(text),
        }
    }

    fn time(&mut self, key: &'static str) -> Result<Option<String>, ApiError> {
        const FORM: &str = "%Y-%m-%d %H:%M:%S";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        // The parser takes numbers without their leading zeros, the form does not.
        match jiff::civil::DateTime::strptime(FORM, &text) {
            Ok(time) if time.strftime(FORM).to_string() == text => Ok(Some(text)),
            _ => Err(self.wrong(key, "a time like 2026-09-17 12:00:00", &Value::String(text))),
        }
    }

    fn word(
        &mut self,
        key: &'static str,
        words: &'static [&'static str],
    ) -> Result<Option<String>, ApiError> {
        let Some(word) = self.text(key)? else {
            return Ok(None);
        };
        match words.contains(&word.as_str()) {
            true => Ok(Some(word)),
            false => {
                let wanted = format!("one of {}", words.join(", "));
                Err(self.wrong(key, &wanted, &Value::String(word)))
            }
        }
    }

    /// The path of a key in this object.
    pub(crate) fn at(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The length of the object as it came, by which JPush limits it.
    pub(crate) fn json_len(&self) -> usize {
        json_len(&self.map)
    }

    /// Whether a key is there with an object that says nothing.
    pub(crate) fn is_empty_object(&self, key: &str) -> bool {
        let value = self.map.get(key);
        value.is_some_and(|value| value.as_object().is_some_and(Map::is_empty))
    }

    /// Whether a key is there, be it with `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value of a key, which stays.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// The value of a key; `null` is absent.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value> {
        debug_assert!(
            self.tables.is_empty() || self.known().any(|field| field.key == key),
            "{key} is in no table of {}",
            self.path
        );
        self.asked.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string", &other)),
        }
    }

    /// A text that no message may show.
    pub(crate) fn secret(&mut self, key: &'static str) -> Result<Option<Secret>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(Secret::new(text))),
            Some(_) => Err(ApiError::invalid(self.at(key), "must be a string")),
        }
    }

    /// The same; a file of JSON may stand there as it is.
    pub(crate) fn secret_or_object(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Secret>, ApiError> {
        match self.value(key) {
            Some(Value::Object(file)) => Ok(Some(Secret::new(Value::Object(file).to_string()))),
            Some(Value::String(text)) => Ok(Some(Secret::new(text))),
            Some(_) => Err(ApiError::invalid(self.at(key), "must be a string")),
            None => Ok(None),
        }
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => flag(&value)
                .ok_or_else(|| self.wrong(key, "true or false", &value))
                .map(Some),
        }
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match integer(&value) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let wanted = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.wrong(key, &wanted, &value))
            }
        }
    }

    /// An object that is not empty.
    pub(crate) fn object(&mut self, key: &'static str) -> Result<Option<Self>, ApiError> {
        match self.value(key) {
            Some(Value::Object(map)) if !map.is_empty() => Ok(Some(Self::new(self.at(key), map))),
            Some(value) if !is_blank(&value) => Err(self.wrong(key, "an object", &value)),
            _ => Ok(None),
        }
    }

    /// An object of the caller's own, handed on as it is.
    pub(crate) fn map(&mut self, key: &'static str) -> Result<Map<String, Value>, ApiError> {
        Ok(self
            .object(key)?
            .map(|fields| fields.map)
            .unwrap_or_default())
    }

    /// The entries of a list that is not empty, each with its path.
    pub(crate) fn list(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<(String, Value)>>, ApiError> {
        let values = match self.value(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(Value::Object(map)) => match numbered(map) {
                Ok(values) => values,
                Err(map) => return Err(self.wrong(key, "an array", &Value::Object(map))),
            },
            Some(other) => return Err(self.wrong(key, "an array", &other)),
        };
        let path = self.at(key);
        let entry = |(index, value)| (format!("{path}[{index}]"), value);
        let entries: Vec<_> = values.into_iter().enumerate().map(entry).collect();
        Ok(Some(entries).filter(|entries| !entries.is_empty()))
    }

    /// Takes a key that has no effect here.
    pub(crate) fn ignore(&mut self, key: &'static str, ignored: &mut Ignored) {
        if self.value(key).is_some_and(|value| !is_off(&value)) {
            ignored.known(self.at(key));
        }
    }

    /// Lists what has no effect, and accepts and lists what is unknown, as newer SDKs keep gaining keys; but a known key that
    /// is misspelt is refused.
    pub(crate) fn finish(self, ignored: &mut Ignored) -> Result<(), ApiError> {
        for (key, value) in &self.map {
            if self.known().any(|field| field.key == key) {
                if !is_off(value) {
                    ignored.known(self.at(key));
                }
                continue;
            }
            if let Some(meant) = self.meant(key) {
                return Err(self.unknown(key, &format!("did you mean {meant}?")));
            }
            if !is_off(value) {
                ignored.unknown(self.at(key));
            }
        }
        Ok(())
    }

    /// Refuses what is unknown.
    pub(crate) fn finish_strictly(self) -> Result<(), ApiError> {
        let is_known = |key: &str| self.known().any(|field| field.key == key);
        let Some(key) = self.map.keys().find(|key| !is_known(key)) else {
            return Ok(());
        };
        match self.meant(key) {
            Some(meant) => Err(self.unknown(key, &format!("did you mean {meant}?"))),
            None => Err(self.unknown(key, &format!("known are {}", self.asked.join(", ")))),
        }
    }

    /// The known key that differs only in case, hyphens and underscores, or that JPush names as often meant.
    fn meant(&self, key: &str) -> Option<&'static str> {
        let known = self.known().map(|field| field.key);
        let mut known = known.chain(self.asked.iter().copied());
        if key == "build_id" && known.any(|known| known == "builder_id") {
            return Some("builder_id");
        }
        let letters = |text: &str| -> String {
            text.chars()
                .filter(|c| !matches!(c, '-' | '_'))
                .map(|c| c.to_ascii_lowercase())
                .collect()
        };
        let wanted = letters(key);
        let known = self.known().map(|field| field.key);
        let mut known = known.chain(self.asked.iter().copied());
        known.find(|known| letters(known) == wanted)
    }

    fn unknown(&self, key: &str, hint: &str) -> ApiError {
        let key: String = key.chars().take(64).collect();
        ApiError::at(
            Fault::UnknownKey,
            self.at(&key),
            format!("is not a known key: {hint}"),
        )
    }

    /// The refusal of a key whose value is not what is `wanted`.
    pub(crate) fn wrong(&self, key: &str, wanted: &str, found: &Value) -> ApiError {
        wrong(self.at(key), wanted, found)
    }
}

/// The refusal of a field whose value is not what is `wanted`.
pub(crate) fn wrong(path: impl Into<String>, wanted: &str, found: &Value) -> ApiError {
    ApiError::invalid(path, format!("must be {wanted}, not {}", kind(found)))
}

/// The refusal of a field that would change who gets the push or what happens.
pub(crate) fn unsupported(path: impl Into<String>) -> ApiError {
    ApiError::invalid(path, "is not supported yet: leave it out")
}

/// Whether a value stands for an absent object.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
    }
}

/// Whether a value says that something is not wanted: absent, false or 0.
pub(crate) fn is_off(value: &Value) -> bool {
    is_blank(value) || flag(value) == Some(false)
}

pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

/// The length of a value as compact JSON in UTF-8, which is how JPush counts its limits.
pub(crate) fn json_len(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("JSON values serialise, and counting works");
    counter.0
}

/// The values of an object whose keys are all numbers, in their order.
fn numbered(map: Map<String, Value>) -> Result<Vec<Value>, Map<String, Value>> {
    if !map.keys().all(|key| key.parse::<u32>().is_ok()) {
        return Err(map);
    }
    let mut entries: Vec<_> = map
        .into_iter()
        .map(|(key, value)| (key.parse::<u32>().unwrap_or(u32::MAX), value))
        .collect();
    entries.sort_by_key(|(index, _)| *index);
    Ok(entries.into_iter().map(|(_, value)| value).collect())
}

/// What a value is, with the value itself where it is short.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => "null".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => shown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::parse(value.to_string().as_bytes()).expect("an object")
    }

    #[test]
    fn booleans_come_in_many_forms() {
        let cases = [
            (json!(true), Some(true)),
            (json!("true"), Some(true)),
            (json!(1), Some(true)),
            (json!("1"), Some(true)),
            (json!(false), Some(false)),
            (json!("false"), Some(false)),
            (json!(0), Some(false)),
            (json!("0"), Some(false)),
            (json!("yes"), None),
            (json!(2), None),
            (json!([]), None),
        ];
        for (value, expected) in cases {
            assert_eq!(flag(&value), expected, "{value}");
        }
    }

    #[test]
    fn numbers_come_as_texts() {
        let cases = [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!(-7), Some(-7)),
            (json!("-7"), Some(-7)),
            (json!("+7"), None),
            (json!(7.5), None),
            (json!("7x"), None),
            (json!(""), None),
            (json!(u64::MAX), None),
        ];
        for (value, expected) in cases {
            assert_eq!(integer(&value), expected, "{value}");
        }
    }

    #[test]
    fn blanks_are_absent_objects() {
        for blank in [json!([]), json!({}), json!(""), json!(null)] {
            let object = fields(json!({"a": blank})).object("a");
            assert!(object.expect("no refusal").is_none(), "{blank}");
        }
        for value in [json!(1), json!("x"), json!([1]), json!(false)] {
            assert!(fields(json!({"a": value})).object("a").is_err(), "{value}");
        }
    }

    #[test]
    fn a_list_with_gaps_keeps_its_order() {
        let list = fields(json!({"a": {"10": "c", "9": "b", "0": "a"}})).list("a");
        let values: Vec<Value> = list
            .expect("a list")
            .expect("entries")
            .into_iter()
            .map(|(_, v)| v)
            .collect();
        assert_eq!(values, [json!("a"), json!("b"), json!("c")]);
        assert!(fields(json!({"a": {"x": 1}})).list("a").is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused_and_a_new_one_noted() {
        let mut ignored = Ignored::default();
        let mut misspelt = fields(json!({"Content_Available": 1}));
        assert!(misspelt.flag("content-available").is_ok());
        let error = misspelt.finish(&mut ignored).expect_err("misspelt");
        assert_eq!(
            (error.fault(), error.message()),
            (
                Fault::UnknownKey,
                "Content_Available is not a known key: did you mean content-available?"
            )
        );

        let new = fields(json!({"shiny": 1, "off": false}));
        assert!(new.finish(&mut ignored).is_ok());
        assert_eq!(ignored.paths(), ["shiny"]);

        let mut own = fields(json!({"name": "x", "nmae": "y"}));
        assert!(own.text("name").is_ok());
        let error = own.finish_strictly().expect_err("unknown");
        assert_eq!(error.message(), "nmae is not a known key: known are name");
    }

    #[test]
    fn what_is_ignored_is_bounded() {
        let many: Map<String, Value> = (0..1000)
            .map(|i| (format!("{i}{}", "k".repeat(500)), json!(1)))
            .collect();
        let mut ignored = Ignored::default();
        assert!(
            Fields::new(String::new(), many)
                .finish(&mut ignored)
                .is_ok()
        );
        assert_eq!(ignored.paths().len(), Ignored::PATHS_MAX);
        assert!(
            ignored
                .paths()
                .iter()
                .all(|path| path.len() <= Ignored::PATH_CHARS_MAX)
        );
    }

    #[test]
    fn no_body_panics() {
        let deep = "[".repeat(100_000);
        for body in ["", "null", "[]", "\"x\"", "{", "{\"a\":1}x", &deep] {
            let error = Fields::parse(body.as_bytes()).expect_err(body);
            assert_eq!(error.fault(), Fault::NotJson);
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
    }
}
