//! Form bodies and queries, `application/x-www-form-urlencoded`.

use crate::limits::FORM_FIELDS_MAX;

/// The fields of a form, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads leniently: what is no escape stands for itself, bytes that are no text are replaced, and what comes after
    /// a thousand fields is left out.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let pairs = text
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
            .take(FORM_FIELDS_MAX)
            .map(|pair| {
                let mut halves = pair.splitn(2, |&byte| byte == b'=');
                let mut half = || decoded(halves.next().unwrap_or_default());
                (half(), half())
            });
        Self(pairs.collect())
    }

    /// The first field of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let named = |pair: &&(String, String)| pair.0 == name;
        self.0.iter().find(named).map(|(_, value)| value.as_str())
    }
}

impl IntoIterator for Form {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The body of a form with these fields.
pub(crate) fn encoded(fields: &[(&str, String)]) -> String {
    let escaped = |text: &str| -> String {
        let bytes = text.bytes();
        bytes
            .map(|byte| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'*' => {
                    char::from(byte).to_string()
                }
                b' ' => "+".to_owned(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// Undoes URL encoding.
pub(crate) fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                str::from_utf8(&digits)
                    .ok()
                    .filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        match (escaped, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (None, b'+') => bytes.push(b' '),
            (None, other) => bytes.push(*other),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let form = Form::parse(b"a=1&b=x+y%2Bz%e4%bd%a0&c&d=%zz%4&a=2&=e");
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), Some("x y+z\u{4f60}"));
        assert_eq!(form.get("c"), Some(""));
        assert_eq!(form.get("d"), Some("%zz%4"));
        assert_eq!(form.get(""), Some("e"));
        assert_eq!(form.get("e"), None);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let fields = [
            ("data", "{\"a b\":\"\u{4f60}&=+%\"}".to_owned()),
            ("e", String::new()),
        ];
        let form = Form::parse(encoded(&fields).as_bytes());
        for (name, value) in &fields {
            assert_eq!(form.get(name), Some(value.as_str()));
        }
    }
}
