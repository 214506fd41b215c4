//! Xiaomi's channel.

use serde_json::Value;
use tidings_model::Message;
use tidings_providers::xiaomi::{
    Callback, Click, Credential, DESCRIPTION_CHARS_MAX, Message as Sent, Notification, Shown,
    TITLE_CHARS_MAX, Template, Xiaomi,
};

use super::android::{Section, Tap, notify_id};
use super::maker::{Field, Given, Maker, unfit};
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfXiaomi;

impl Maker for OfXiaomi {
    type Protocol = Xiaomi;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "package_name",
            is_secret: false,
            title: "package name",
        },
        Field {
            name: "app_secret",
            is_secret: true,
            title: "AppSecret",
        },
    ];
    const ADDRESS: &'static str = "the regId from MiPushClient.getRegId()";
    const CONSOLE: &'static str =
        "Xiaomi's developer console (dev.mi.com), Push, the app, App information";

    fn protocol(given: Given<'_>) -> Result<Xiaomi, String> {
        let credential = Credential::new(given.text("package_name"), given.text("app_secret"));
        Ok(Xiaomi {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["10029", "20301", "66007", "bad_regids"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "21301" | "21302" | "21303" | "HTTP401" | "HTTP403" => {
                "Xiaomi does not take the AppSecret; compare it with Xiaomi's developer console (dev.mi.com), Push, the app, App information, and `endpoint` with the region of these phones"
            }
            "22000" | "22006" | "22007" | "22022" => {
                "the package name is not that of the AppSecret's app; compare both with Xiaomi's developer console (dev.mi.com), Push, the app, App information"
            }
            "10022" => {
                "Xiaomi takes requests of this app from listed addresses only; add this server's to the white list in Xiaomi's developer console (dev.mi.com), Push, the app"
            }
            "10031" | "10033" | "10036" => {
                "Xiaomi has stopped the app's pushes; see Xiaomi's developer console (dev.mi.com), Push, the app"
            }
            "20301" | "10029" | "66007" | "bad_regids" => {
                "Xiaomi calls all regIds bad and has taken none since this credential was set, so none was removed; compare the package name with the app that the phones have, and `endpoint` with their region"
            }
            "200001" | "10034" => {
                "today's quota at Xiaomi is spent, and it takes more from midnight in China on; see Xiaomi's developer console (dev.mi.com), Push, the app, Message categories, for a higher one"
            }
            "HTTP404" => "there is no Xiaomi at the endpoint; check `endpoint`",
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "alert",
        "alert_type",
        "channel_id",
        "display_foreground",
        "extras",
        "intent",
        "mi_template_id",
        "mi_template_param",
        "sound",
        "title",
        "uri_action",
        "uri_activity",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = Some(256);
    const RECEIPTS: Reader = receipts::xiaomi;

    fn render(message: &Message, callback: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let section = Section::of(message, "xiaomi")?;
        let callback = callback.map(|url| Callback {
            url: url.to_owned(),
            param: message.id.to_string(),
        });
        let sent = Sent {
            callback,
            ..sent(message, &section)
        };
        Some(Notification::new(&sent).map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let owned = |text: &str| text.to_owned();
    let shown = Shown {
        title: section.title_within(TITLE_CHARS_MAX),
        description: section.alert_within("mipns_content_forshort", DESCRIPTION_CHARS_MAX),
        click: click(section),
        foreground_show: section.display_foreground(),
        // Xiaomi shows one notification of each id, so that each message has its own.
        notify_id: Some(notify_id(message)),
        notify_type: section.alert_type(),
        sound: section.text("sound").map(owned),
    };
    Sent {
        callback: None,
        shown: Some(shown),
        // Android's own channel is another thing.
        channel_id: section.vendor_text("channel_id").map(owned),
        expires_at: Some(message.expires_at),
        // What is sent again, since its answer was lost, is shown once.
        job_key: Some(message.id.to_string()),
        payload: Some(Value::Object(section.extras(message)).to_string()),
        template: section.vendor_text("mi_template_id").map(|id| Template {
            id: owned(id),
            params: section.vendor("mi_template_param").map(text_of),
        }),
    }
}

/// JSON, as a text or as it is.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn click(section: &Section<'_>) -> Click {
    match section.tap() {
        Tap::Action(action) => Click::Intent(format!("intent:#Intent;action={action};end")),
        Tap::Activity(class) => Click::Activity(class.to_owned()),
        Tap::App => Click::App,
        Tap::Intent(intent) => Click::Intent(intent.to_owned()),
        Tap::Web(url) => Click::Web(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::message;

    /// The form as Xiaomi reads it.
    fn rendered(android: Value, xiaomi: Value) -> HashMap<String, String> {
        let notification = OfXiaomi::render(&message(android, "xiaomi", xiaomi), None);
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.body("com.example.app", &["id"], UnixMillis::now());
        let form = form_urlencoded::parse(body.as_bytes());
        form.into_owned().collect()
    }

    fn get<'a>(form: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
        form.get(name).map(String::as_str)
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let form = rendered(json!({}), json!({}));
        for (name, value) in [
            ("title", "for all"),
            ("description", "for all"),
            ("pass_through", "0"),
            ("extra.notify_effect", "1"),
            ("extra.jobkey", "77"),
            ("notify_id", "77"),
            ("payload", "%7B%22_j_msgid%22%3A77%7D"),
        ] {
            assert_eq!(get(&form, name), Some(value), "{name}");
        }
        for absent in ["extra.channel_id", "notify_type", "extra.notify_foreground"] {
            assert_eq!(get(&form, absent), None, "{absent}");
        }
    }

    #[test]
    fn receipts_are_asked_for_where_there_is_somewhere_to_send_them() {
        let message = message(json!({}), "xiaomi", json!({}));
        let notification = OfXiaomi::render(&message, Some("https://example.com/c"));
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.body("com.example.app", &["id"], UnixMillis::now());
        for said in [
            "extra.callback=https%3A%2F%2Fexample.com%2Fc",
            "extra.callback.param=77",
            "extra.callback.type=243",
        ] {
            assert!(body.contains(said), "{body}");
        }
        assert_eq!(get(&rendered(json!({}), json!({})), "extra.callback"), None);
    }

    #[test]
    fn what_is_false_or_0_is_said() {
        let form = rendered(
            json!({"alert": "a", "alert_type": 0, "display_foreground": "0"}),
            json!({}),
        );
        assert_eq!(get(&form, "notify_type"), Some("0"));
        assert_eq!(get(&form, "extra.notify_foreground"), Some("0"));
    }

    #[test]
    fn texts_are_cut_to_what_xiaomi_takes() {
        let long = "\u{6c49}".repeat(300);
        let form = rendered(json!({"alert": long, "title": long}), json!({}));
        let chars = |name: &str| get(&form, name).map(|text| text.chars().count());
        assert_eq!(
            (chars("title"), chars("description")),
            (Some(49), Some(127))
        );
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let cases = [
            (
                json!({"intent": {"url": "app://order/7"}}),
                "2",
                Some(("extra.intent_uri", "app://order/7")),
            ),
            (
                json!({"intent": {"url": "https://example.com/a"}}),
                "3",
                Some(("extra.web_uri", "https://example.com/a")),
            ),
            (
                json!({"uri_action": "com.example.OPEN"}),
                "2",
                Some((
                    "extra.intent_uri",
                    "intent:#Intent;action=com.example.OPEN;end",
                )),
            ),
            (
                json!({"uri_activity": "com.example.app.Order"}),
                "2",
                Some((
                    "extra.intent_uri",
                    "intent:#Intent;component=com.example.app/com.example.app.Order;end",
                )),
            ),
            (
                json!({"intent": {"url": "intent:#Intent;action=android.intent.action.MAIN;end"}}),
                "1",
                None,
            ),
        ];
        for (mut android, effect, expected) in cases {
            android["alert"] = "a".into();
            let form = rendered(android.clone(), json!({}));
            assert_eq!(get(&form, "extra.notify_effect"), Some(effect), "{android}");
            if let Some((name, value)) = expected {
                assert_eq!(get(&form, name), Some(value), "{android}");
            }
        }
    }

    #[test]
    fn a_private_message_has_its_template() {
        let form = rendered(
            json!({"alert": "a", "channel_id": "general", "sound": "bell"}),
            json!({"channel_id": "private1", "mi_template_id": "T1", "mi_template_param": {"number": "7"}}),
        );
        for (name, value) in [
            ("extra.channel_id", "private1"),
            ("extra.template_id", "T1"),
            ("extra.template_param", r#"{"number":"7"}"#),
            (
                "extra.sound_uri",
                "android.resource://com.example.app/raw/bell",
            ),
        ] {
            assert_eq!(get(&form, name), Some(value), "{name}");
        }
    }
}
