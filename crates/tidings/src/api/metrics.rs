//! `GET /metrics`, for administrators: Prometheus' text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use tidings_model::{AppKey, Environment, Provider};
use tidings_store::CredentialRecord;

use super::Api;
use super::error::ApiError;
use super::fields::Ignored;
use crate::credentials::expires_at;

/// When each credential that expires does so, in seconds since 1970.
const CREDENTIAL_EXPIRY: &str = "tidings_credential_expiry_timestamp_seconds";

/// How many pushes had a field that has no effect.
const IGNORED: &str = "tidings_push_fields_ignored_total";
/// The label of keys that are none of JPush's.
const OTHER: &str = "other";

/// What came as receipts.
const RECEIPTS: &str = "tidings_receipts_total";

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut text = String::new();
    write_credentials(&mut text, &api.store.all_credentials().await?);
    api.ignored.write(&mut text);
    api.receipt_counts.write(&mut text);
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}

/// A line for each credential that expires: at most as many as are stored.
fn write_credentials(text: &mut String, credentials: &[(AppKey, CredentialRecord)]) {
    write_head(
        text,
        CREDENTIAL_EXPIRY,
        "gauge",
        "When the credential expires.",
    );
    for (app, record) in credentials {
        let Some(end) = expires_at(record) else {
            continue;
        };
        let slot = record.slot;
        let labels = [
            ("app_key", app.to_string()),
            ("provider", slot.provider.name().to_owned()),
            (
                "environment",
                slot.environment.map_or("", Environment::name).to_owned(),
            ),
        ];
        write_sample(text, CREDENTIAL_EXPIRY, &labels, end.secs());
    }
}

/// Pushes since the start, by a field that they had without effect. Only fields that are known are told apart, of which there
/// are some hundred.
#[derive(Debug, Default)]
pub(crate) struct IgnoredCounts(Mutex<BTreeMap<String, i64>>);

impl IgnoredCounts {
    pub(crate) fn count(&self, ignored: &Ignored) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in ignored.names() {
            let name = name.unwrap_or(OTHER);
            match counts.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(counts.insert(name.to_owned(), 1)),
            }
        }
    }

    fn write(&self, text: &mut String) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Pushes with a field that has no effect.";
        write_head(text, IGNORED, "counter", help);
        for (field, count) in &*counts {
            write_sample(text, IGNORED, &[("field", field.clone())], *count);
        }
    }
}

/// Receipts since the start, by provider and by what they say: `delivered`, `opened`, `undelivered`, `dead`, or `other` for a
/// number that is not known. Of these `unknown` fit no message and device; `refused` and `unreadable` are calls.
#[derive(Debug, Default)]
pub(crate) struct ReceiptCounts(Mutex<BTreeMap<(Provider, &'static str), u64>>);

impl ReceiptCounts {
    pub(crate) fn count(&self, provider: Provider, said: &'static str, more: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((provider, said)).or_default() += more;
    }

    fn write(&self, text: &mut String) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write_head(text, RECEIPTS, "counter", "What makers report of phones.");
        for ((provider, said), count) in &*counts {
            let labels = [
                ("provider", provider.name().to_owned()),
                ("said", (*said).to_owned()),
            ];
            write_sample(
                text,
                RECEIPTS,
                &labels,
                i64::try_from(*count).unwrap_or(i64::MAX),
            );
        }
    }
}

fn write_head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn write_sample(text: &mut String, name: &str, labels: &[(&str, String)], value: i64) {
    let labels: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}

/// A label's value (Prometheus, "Exposition formats").
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tidings_model::{AppId, Provider, UnixMillis};
    use tidings_store::CredentialSlot;

    #[test]
    fn a_credential_that_expires_is_a_line() {
        let record = |environment, expires_at: Value| CredentialRecord {
            accepted: false,
            rejected: None,
            slot: CredentialSlot {
                app: AppId(1),
                environment: Some(environment),
                provider: Provider::Apns,
            },
            spent: Vec::new(),
            summary: json!({"expires_at": expires_at}),
            updated_at: UnixMillis(0),
        };
        let app = AppKey([0xab; 12]);
        let end = json!("2026-12-24T12:00:00.500Z");
        let credentials = [
            (app, record(Environment::Production, end)),
            (app, record(Environment::Sandbox, Value::Null)),
        ];
        let mut text = String::new();
        write_credentials(&mut text, &credentials);
        let expected = "\
            # HELP tidings_credential_expiry_timestamp_seconds When the credential expires.\n\
            # TYPE tidings_credential_expiry_timestamp_seconds gauge\n\
            tidings_credential_expiry_timestamp_seconds{app_key=\"abababababababababababab\",\
            provider=\"apns\",environment=\"production\"} 1798113600\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn keys_of_a_callers_own_are_one_label() {
        let counts = IgnoredCounts::default();
        for number in 0..100 {
            let mut ignored = Ignored::default();
            ignored.known("sms_message".into());
            ignored.unknown(format!("own{number}"));
            counts.count(&ignored);
        }
        let mut text = String::new();
        counts.write(&mut text);
        assert!(text.contains("{field=\"sms_message\"} 100\n"), "{text}");
        assert!(text.contains("{field=\"other\"} 100\n"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn a_label_cannot_end_itself() {
        let mut text = String::new();
        let labels = [("a", "x\"} 1\ny\\".to_owned())];
        write_sample(&mut text, "m", &labels, 2);
        assert_eq!(text, "m{a=\"x\\\"} 1\\ny\\\\\"} 2\n");
    }
}
