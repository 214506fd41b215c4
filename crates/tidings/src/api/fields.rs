//! A JSON object, taken apart key by key. Every refusal names the path of the field, what was wrong and what is wanted.
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

/// Keys that were accepted and have no effect, by path; bounded, since callers choose the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ignored(Vec<String>);

impl Ignored {
    const PATHS_MAX: usize = 32;
    const PATH_CHARS_MAX: usize = 128;

    pub(crate) fn add(&mut self, path: String) {
        if self.0.len() < Self::PATHS_MAX {
            self.0
                .push(path.chars().take(Self::PATH_CHARS_MAX).collect());
        }
    }

    pub(crate) fn paths(&self) -> &[String] {
        &self.0
    }
}

/// An object whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields {
    asked: Vec<&'static str>,
    map: Map<String, Value>,
    path: String,
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

    /// Whether a key is there, be it with `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value of a key; `null` is absent.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value> {
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

    /// What has not been taken, as it is.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.map
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
            ignored.add(self.at(key));
        }
    }

    /// Takes a key that would change who gets the push or what happens, and that Tidings cannot do yet.
    pub(crate) fn refuse(&mut self, key: &'static str) -> Result<(), ApiError> {
        match self.value(key) {
            Some(value) if !is_off(&value) => Err(unsupported(self.at(key))),
            _ => Ok(()),
        }
    }

    /// Accepts and lists what is unknown, as newer SDKs keep gaining keys; but a known key that is misspelt is refused.
    pub(crate) fn finish(self, ignored: &mut Ignored) -> Result<(), ApiError> {
        for (key, value) in &self.map {
            if let Some(meant) = self.meant(key) {
                return Err(self.unknown(key, &format!("did you mean {meant}?")));
            }
            if !is_off(value) {
                ignored.add(self.at(key));
            }
        }
        Ok(())
    }

    /// Refuses what is unknown.
    pub(crate) fn finish_strictly(self) -> Result<(), ApiError> {
        let Some(key) = self.map.keys().next() else {
            return Ok(());
        };
        match self.meant(key) {
            Some(meant) => Err(self.unknown(key, &format!("did you mean {meant}?"))),
            None => Err(self.unknown(key, &format!("known are {}", self.asked.join(", ")))),
        }
    }

    /// The known key that differs only in case, hyphens and underscores, or that JPush names as often meant.
    fn meant(&self, key: &str) -> Option<&'static str> {
        if key == "build_id" && self.asked.contains(&"builder_id") {
            return Some("builder_id");
        }
        let letters = |text: &str| -> String {
            text.chars()
                .filter(|c| !matches!(c, '-' | '_'))
                .map(|c| c.to_ascii_lowercase())
                .collect()
        };
        let wanted = letters(key);
        self.asked
            .iter()
            .find(|asked| letters(asked) == wanted)
            .copied()
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
fn is_off(value: &Value) -> bool {
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
