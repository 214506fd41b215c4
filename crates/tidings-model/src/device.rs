//! What a back end calls a device by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A tag or alias that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    #[error("must not be empty")]
    Empty,
    #[error("must be at most {LABEL_LEN_MAX} bytes of UTF-8")]
    TooLong,
    #[error("may hold letters, digits, Chinese characters and _ @ ! # $ & * + = . | ¥ - only")]
    Character,
}

/// Bytes of UTF-8 in a tag or an alias, at most (JPush's limit).
pub const LABEL_LEN_MAX: usize = 40;

/// Tags of one device, at most (JPush's limit).
pub const TAGS_MAX: usize = 1000;

/// A label that many devices share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(String);

/// A back end's own name for the user of a device; a device has at most one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alias(String);

macro_rules! label {
    ($type:ident) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, LabelError> {
                check_label(text).map(|()| Self(text.to_owned()))
            }
        }
    };
}

label!(Tag);
label!(Alias);

/// JPush's rule, and the hyphen besides: user ids are often UUIDs.
fn check_label(text: &str) -> Result<(), LabelError> {
    let allowed = |c: char| c.is_alphanumeric() || "_@!#$&*+=.|¥￥-".contains(c);
    match text {
        "" => Err(LabelError::Empty),
        _ if text.len() > LABEL_LEN_MAX => Err(LabelError::TooLong),
        _ if !text.chars().all(allowed) => Err(LabelError::Character),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_rule() {
        let cases = [
            ("vip", Ok(())),
            ("北京_8", Ok(())),
            ("0b6e4f4e-5a0b-4f64-9d0c-1de4c8b0a0a1", Ok(())),
            ("", Err(LabelError::Empty)),
            ("a b", Err(LabelError::Character)),
            ("a\n", Err(LabelError::Character)),
            ("一二三四五六七八九十一二三四", Err(LabelError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Tag>().map(|_| ()), expected, "{text:?}");
        }
    }
}
