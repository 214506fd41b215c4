//! Reading the fields of a JSON body, with words for what is wrong.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object of a body and where it stands.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

/// The text of a field of a JSON object.
pub(crate) fn raw<'a>(object: &'a [u8], name: &str) -> Option<&'a str> {
    let mut fields: HashMap<String, &RawValue> = serde_json::from_slice(object).ok()?;
    fields.remove(name).map(RawValue::get)
}

/// What is wrong, with the field's path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) String);

impl<'a> Fields<'a> {
    pub(crate) fn root(value: &'a Value) -> Result<Self, Wrong> {
        let path = String::new();
        match value.as_object() {
            Some(map) => Ok(Self { path, map }),
            None => Err(Wrong("the body is no JSON object".to_owned())),
        }
    }

    /// A field that is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Its fields.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn wrong(&self, name: &str, what: &str) -> Wrong {
        Wrong(format!("{}{name} {what}", self.path))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Wrong> {
        self.read(name, "must be a string", Value::as_str)
    }

    /// A text that must be there and not be empty.
    pub(crate) fn needed(&self, name: &str) -> Result<&'a str, Wrong> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.wrong(name, "is required"))
    }

    /// A text of so many characters at most.
    pub(crate) fn short(&self, name: &str, chars_max: usize) -> Result<Option<&'a str>, Wrong> {
        let text = self.text(name)?;
        if text.is_some_and(|text| text.chars().count() > chars_max) {
            return Err(self.wrong(name, &format!("must have {chars_max} characters at most")));
        }
        Ok(text)
    }

    /// A text that is one of a list.
    pub(crate) fn word(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>, Wrong> {
        let text = self.text(name)?;
        if text.is_some_and(|text| !words.contains(&text)) {
            return Err(self.wrong(name, &format!("must be one of {}", words.join(", "))));
        }
        Ok(text)
    }

    /// An https URL.
    pub(crate) fn https(&self, name: &str) -> Result<Option<&'a str>, Wrong> {
        let url = self.text(name)?;
        if url.is_some_and(|url| !url.starts_with("https://")) {
            return Err(self.wrong(name, "must be an https URL"));
        }
        Ok(url)
    }

    /// Seconds above 0 as a text, such as `86400s`.
    pub(crate) fn life(&self, name: &str, secs_max: f64) -> Result<(), Wrong> {
        let Some(text) = self.text(name)? else {
            return Ok(());
        };
        if seconds(text).is_some_and(|secs| secs > 0.0 && secs <= secs_max) {
            return Ok(());
        }
        let what = format!("must be seconds as a text such as \"86400s\", {secs_max}s at most");
        Err(self.wrong(name, &what))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Wrong> {
        self.read(name, "must be a boolean", Value::as_bool)
    }

    pub(crate) fn int(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Wrong> {
        let number = self.read(name, "must be an integer", Value::as_i64)?;
        if number.is_some_and(|number| !range.contains(&number)) {
            let (low, high) = range.into_inner();
            return Err(self.wrong(name, &format!("must be {low} to {high}")));
        }
        Ok(number)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Wrong> {
        let map = self.read(name, "must be an object", Value::as_object)?;
        Ok(map.map(|map| Self {
            path: format!("{}{name}.", self.path),
            map,
        }))
    }

    /// A list of so many entries at most.
    pub(crate) fn list(&self, name: &str, max: usize) -> Result<&'a [Value], Wrong> {
        let list = self.read(name, "must be an array", Value::as_array)?;
        let list = list.map_or(&[][..], Vec::as_slice);
        if list.len() > max {
            return Err(self.wrong(name, &format!("must have {max} entries at most")));
        }
        Ok(list)
    }

    /// A list of texts, so many at most and each of so many characters.
    pub(crate) fn texts(
        &self,
        name: &str,
        max: usize,
        chars_max: usize,
    ) -> Result<&'a [Value], Wrong> {
        let list = self.list(name, max)?;
        let fits = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| text.chars().count() <= chars_max)
        };
        if list.iter().all(fits) {
            return Ok(list);
        }
        let what = format!("must hold strings of {chars_max} characters at most");
        Err(self.wrong(name, &what))
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, name: &str, max: usize) -> Result<Vec<Self>, Wrong> {
        let list = self.list(name, max)?.iter().enumerate();
        list.map(|(index, value)| {
            let map = value
                .as_object()
                .ok_or_else(|| self.wrong(name, "must hold objects"))?;
            let path = format!("{}{name}[{index}].", self.path);
            Ok(Self { path, map })
        })
        .collect()
    }

    fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Wrong> {
        self.value(name)
            .map(|value| read(value).ok_or_else(|| self.wrong(name, what)))
            .transpose()
    }
}

/// Digits, with or without a fraction, with or without `s`.
fn seconds(text: &str) -> Option<f64> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(whole) && is_digits(fraction) {
        number.parse().ok()
    } else {
        None
    }
}
