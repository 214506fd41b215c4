//! The bodies of the makers' receipts, each as its reference has it. Numbers come as numbers and as texts, lists of addresses
//! as lists and as texts with commas, since both have been seen. A number that is not known says nothing.

use serde_json::Value;
use tidings_model::{MsgId, Reason, UnixMillis};
use tidings_store::Said;

use super::Told;

/// Reads the body of one maker.
pub(crate) type Reader = fn(&Value) -> Vec<Told>;

/// Huawei, for both of its channels: `{"statuses":[{"token","biTag","deliveryStatus":{"result","timestamp"}}]}`, or flat with
/// `status` and `timestamp`.
pub(crate) fn huawei(body: &Value) -> Vec<Told> {
    statuses(body, |status| {
        Some(match status {
            0 => Said::Delivered,
            // Not installed; not known to this user and device any more; the token is controlled by Huawei.
            2 | 5 | 201 => Said::Dead(number(status)),
            // Switched off; away for 30 days; the network; overwritten; wrong user; not supported; wrong profile; the day's
            // limit; marketing's limit.
            6 | 10 | 14 | 15 | 22 | 31 | 102 | 144 | 256 => Said::Undelivered(number(status)),
            _ => return None,
        })
    })
}

/// Honor: as Huawei's flat form, with other numbers, of which one is known.
pub(crate) fn honor(body: &Value) -> Vec<Told> {
    statuses(body, |status| {
        (status == 40_000_002).then_some(Said::Delivered)
    })
}

fn statuses(body: &Value, means: fn(i64) -> Option<Said>) -> Vec<Told> {
    let entries = body["statuses"].as_array().into_iter().flatten();
    let told = entries.map(|entry| {
        let nested = &entry["deliveryStatus"];
        let (status, at) = match nested.is_object() {
            true => (&nested["result"], &nested["timestamp"]),
            false => (&entry["status"], &entry["timestamp"]),
        };
        Told {
            at: time(at),
            message: message(&entry["biTag"]),
            said: integer(status).and_then(means),
            tokens: tokens(&entry["token"]),
        }
    });
    told.collect()
}

/// Xiaomi: `{"<its message>":{"type","targets":"a,b","param","timestamp"}}`.
pub(crate) fn xiaomi(body: &Value) -> Vec<Told> {
    let entries = body.as_object().into_iter().flatten();
    let told = entries.map(|(_, entry)| Told {
        at: time(&entry["timestamp"]),
        message: message(&entry["param"]),
        said: integer(&entry["type"]).and_then(|kind| {
            Some(match kind {
                1 => Said::Delivered,
                2 => Said::Opened,
                16 => Said::Dead(number(kind)),
                // Switched off in the app; the phone does not fit; the quota.
                32 | 64 | 128 => Said::Undelivered(number(kind)),
                _ => return None,
            })
        }),
        tokens: tokens(&entry["targets"]),
    });
    told.collect()
}

/// OPPO: `[{"messageId","registrationIds":"a,b","param","eventType","eventTime"}]`.
pub(crate) fn oppo(body: &Value) -> Vec<Told> {
    let entries = match body {
        Value::Array(entries) => entries.as_slice(),
        one => std::slice::from_ref(one),
    };
    let told = entries.iter().map(|entry| Told {
        at: time(&entry["eventTime"]),
        message: message(&entry["param"]),
        said: match entry["eventType"].as_str() {
            Some("push_arrive") => Some(Said::Delivered),
            Some("regid_invalid") => Some(Said::Dead(Reason::known("regid_invalid"))),
            Some("user_daily_limit") => Some(Said::Undelivered(Reason::known("user_daily_limit"))),
            _ => None,
        },
        tokens: tokens(&entry["registrationIds"]),
    });
    told.collect()
}

/// vivo: `{"<its task>":{"param","targets":"a","ackTime","ackType"}}`; what has no `ackType` has arrived.
pub(crate) fn vivo(body: &Value) -> Vec<Told> {
    let entries = body.as_object().into_iter().flatten();
    let told = entries.map(|(_, entry)| {
        let kind = &entry["ackType"];
        let has_arrived = kind.is_null() || integer(kind) == Some(0);
        Told {
            at: time(&entry["ackTime"]),
            message: message(&entry["param"]),
            said: has_arrived.then_some(Said::Delivered),
            tokens: tokens(&entry["targets"]),
        }
    });
    told.collect()
}

/// Meizu: `{"<its message>-<type>":{"param","type","targets":["a"]}}`.
pub(crate) fn meizu(body: &Value) -> Vec<Told> {
    let entries = body.as_object().into_iter().flatten();
    let told = entries.map(|(key, entry)| {
        let in_key = || key.rsplit_once('-').and_then(|(_, kind)| kind.parse().ok());
        Told {
            at: None,
            message: message(&entry["param"]),
            said: match integer(&entry["type"]).or_else(in_key) {
                Some(1) => Some(Said::Delivered),
                Some(2) => Some(Said::Opened),
                _ => None,
            },
            tokens: tokens(&entry["targets"]),
        }
    });
    told.collect()
}

fn integer(value: &Value) -> Option<i64> {
    let text = value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_i64().or(text)
}

/// Milliseconds since 1970.
fn time(value: &Value) -> Option<UnixMillis> {
    integer(value).filter(|at| *at > 0).map(UnixMillis)
}

/// The parameter that went with the push.
fn message(value: &Value) -> Option<MsgId> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().filter(|id| *id > 0).map(MsgId),
        _ => None,
    }
}

fn tokens(value: &Value) -> Vec<String> {
    let texts: Vec<&str> = match value {
        Value::String(texts) => texts.split(',').collect(),
        Value::Array(entries) => entries.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let texts = texts.into_iter().map(str::trim);
    let are_some = texts.filter(|text| (1..=super::TOKEN_BYTES_MAX).contains(&text.len()));
    are_some.map(str::to_owned).collect()
}

fn number(number: i64) -> Reason {
    Reason::heard(&number.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::receipts::json as of_body;

    fn told(at: Option<i64>, said: Option<Said>, tokens: &[&str]) -> Told {
        Told {
            at: at.map(UnixMillis),
            message: Some(MsgId(77)),
            said,
            tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
        }
    }

    fn dead(word: &str) -> Option<Said> {
        Some(Said::Dead(Reason::heard(word)))
    }

    fn undelivered(word: &str) -> Option<Said> {
        Some(Said::Undelivered(Reason::heard(word)))
    }

    const DELIVERED: Option<Said> = Some(Said::Delivered);

    #[test]
    fn each_makers_receipts_are_read() {
        let v2 = |result: Value| json!({"token": "t", "pushType": 0, "biTag": "77", "requestId": "r", "deliveryStatus": {"result": result, "timestamp": 5}});
        let cases: Vec<(Reader, Value, Vec<Told>)> = vec![
            (
                huawei,
                json!({"statuses": [v2(json!(0)), v2(json!("5")), v2(json!(6)), v2(json!(27)), v2(json!(999))]}),
                vec![
                    told(Some(5), DELIVERED, &["t"]),
                    told(Some(5), dead("5"), &["t"]),
                    told(Some(5), undelivered("6"), &["t"]),
                    told(Some(5), None, &["t"]),
                    told(Some(5), None, &["t"]),
                ],
            ),
            (
                huawei,
                json!({"statuses": [{"appid": "1", "token": "t", "status": 0, "timestamp": "5", "biTag": "77", "requestId": "r"}]}),
                vec![told(Some(5), DELIVERED, &["t"])],
            ),
            (
                honor,
                json!({"statuses": [{"token": "t", "biTag": "77", "status": 40_000_002, "timestamp": 5}, {"token": "t", "biTag": "77", "status": 0}]}),
                vec![told(Some(5), DELIVERED, &["t"]), told(None, None, &["t"])],
            ),
            (
                xiaomi,
                json!({"m1": {"type": 1, "targets": "a, b", "timestamp": 5, "param": "77", "barStatus": "Enable"},
                    "m2": {"type": "2", "targets": "a", "param": "77"}, "m3": {"type": 16, "targets": "c", "param": "77"},
                    "m4": {"type": 128, "targets": "a", "param": "77", "extra": {"ack": "1"}}, "m5": {"type": 8, "targets": "a", "param": "77"}}),
                vec![
                    told(Some(5), DELIVERED, &["a", "b"]),
                    told(None, Some(Said::Opened), &["a"]),
                    told(None, dead("16"), &["c"]),
                    told(None, undelivered("128"), &["a"]),
                    told(None, None, &["a"]),
                ],
            ),
            (
                oppo,
                json!([{"messageId": "m", "appId": "1", "taskId": "m", "registrationIds": "a,b", "eventTime": "5", "param": "77", "eventType": "push_arrive"},
                    {"registrationIds": "c", "param": "77", "eventType": "regid_invalid"},
                    {"registrationIds": "c", "param": "77", "eventType": "something_new"}]),
                vec![
                    told(Some(5), DELIVERED, &["a", "b"]),
                    told(None, dead("regid_invalid"), &["c"]),
                    told(None, None, &["c"]),
                ],
            ),
            (
                vivo,
                json!({"t1": {"param": "77", "targets": "a"}, "t2": {"param": "77", "targets": "b", "ackTime": 5, "ackType": "0"},
                    "t3": {"param": "77", "targets": "c", "ackType": "7"}}),
                vec![
                    told(None, DELIVERED, &["a"]),
                    told(Some(5), DELIVERED, &["b"]),
                    told(None, None, &["c"]),
                ],
            ),
            (
                meizu,
                json!({"m-1": {"param": "77", "type": 1, "targets": ["a", "b"]}, "n-2": {"param": "77", "targets": ["a"]},
                    "o-3": {"param": "77", "type": 3, "targets": ["a"]}}),
                vec![
                    told(None, DELIVERED, &["a", "b"]),
                    told(None, Some(Said::Opened), &["a"]),
                    told(None, None, &["a"]),
                ],
            ),
        ];
        for (read, body, expected) in cases {
            assert_eq!(read(&body), expected, "{body}");
            // As JSON and in a form's field, whatever that is called.
            let text = body.to_string();
            assert_eq!(of_body(text.as_bytes()), Some(body.clone()));
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("access_token", "x")
                .append_pair("cb", &text);
            assert_eq!(of_body(form.finish().as_bytes()), Some(body));
        }
    }

    #[test]
    fn whatever_comes_is_read_without_a_panic() {
        let readers: [Reader; 6] = [huawei, honor, xiaomi, oppo, vivo, meizu];
        let odd = [
            json!([]),
            json!({}),
            json!([1, null, "x"]),
            json!({"statuses": 7}),
            json!({"statuses": [null, [], "x", {"token": 7, "biTag": [], "status": {}}]}),
            json!({"a": null, "b-": [], "c-x": {"targets": {}, "param": {}, "type": 1e300}}),
            json!({"a": {"targets": "x".repeat(1000), "param": "0", "type": 1}}),
        ];
        for body in &odd {
            for read in readers {
                for told in read(body) {
                    assert!(told.message.is_none() && told.tokens.is_empty(), "{told:?}");
                }
            }
        }
        for body in [&b""[..], b"x", b"7", b"a=1&b=%FF", b"\xff"] {
            assert_eq!(of_body(body), None);
        }
    }
}
