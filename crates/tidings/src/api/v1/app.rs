//! `POST /v1/apps` and `PATCH /v1/apps/{app_key}`.

use super::{required, short_text};
use crate::api::error::ApiError;
use crate::api::fields::Fields;

/// Characters of an app's name.
const NAME_CHARS_MAX: usize = 100;

/// What an administrator says of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppBody {
    pub(crate) name: String,
}

impl AppBody {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let name = short_text(&mut fields, "name", NAME_CHARS_MAX)?;
        let name = required(&fields, "name", name, "give the app a name")?;
        fields.finish_strictly()?;
        Ok(Self { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_a_name() {
        let long = format!(r#"{{"name":"{}"}}"#, "é".repeat(101));
        let cases = [
            (r#"{"name":"Shop 商店"}"#, Ok("Shop 商店")),
            (r#"{}"#, Err("name is missing: give the app a name")),
            (
                r#"{"name":""}"#,
                Err("name is missing: give the app a name"),
            ),
            (r#"{"name":7}"#, Err("name must be a string, not 7")),
            (
                r#"{"name":" x"}"#,
                Err("name may not hold control characters, or blanks at its ends: \" x\""),
            ),
            (&long, Err("name may have at most 100 characters, not 101")),
            (
                r#"{"name":"x","colour":1}"#,
                Err("colour is not a known key: known are name"),
            ),
            ("[]", Err("The body must be a JSON object, not an array.")),
        ];
        for (body, expected) in cases {
            let parsed = AppBody::parse(body.as_bytes());
            let parsed = parsed.as_ref().map(|app| app.name.as_str());
            assert_eq!(parsed.map_err(ApiError::message), expected, "{body}");
        }
    }
}
