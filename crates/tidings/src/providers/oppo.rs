//! OPPO's channel, for realme and OnePlus, too.

use serde_json::{Map, Value};
use tidings_model::Message;
use tidings_providers::oppo::{
    Badge, Click, Credential, LONG_CONTENT_CHARS_MAX, Message as Sent, Notification, Oppo,
    TITLE_CHARS_MAX, Template,
};

use super::android::{Layout, Section, Tap, cut, notify_id};
use super::maker::{Field, Given, Maker, unfit};
use crate::api::fields::integer;
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfOppo;

impl Maker for OfOppo {
    type Protocol = Oppo;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "app_key",
            is_secret: true,
            title: "AppKey",
        },
        Field {
            name: "master_secret",
            is_secret: true,
            title: "MasterSecret (not the AppSecret)",
        },
    ];
    const ADDRESS: &'static str = "the registration id from HeytapPushManager.getRegisterID()";
    const CONSOLE: &'static str =
        "OPPO's open platform (open.oppomobile.com), Push, the app, App configuration";

    fn protocol(given: Given<'_>) -> Result<Oppo, String> {
        let credential = Credential::new(given.text("app_key"), given.text("master_secret"));
        Ok(Oppo {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["10000"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "14" | "15" => {
                "OPPO does not know the AppKey; compare it with OPPO's open platform (open.oppomobile.com), Push, the app, App configuration"
            }
            "16" | "17" => {
                "the MasterSecret is not that of the AppKey; take the MasterSecret, not the AppSecret, from OPPO's open platform (open.oppomobile.com), Push, the app, App configuration"
            }
            "18" | "19" => {
                "OPPO finds the time of the request more than ten minutes from its own, so the clock of this server is wrong; set it by NTP"
            }
            "11" | "29" => {
                "OPPO refuses the access token that it gave for this AppKey; compare `endpoint` with the region of these phones, and set the credential again"
            }
            "26" => {
                "OPPO has put this server's address on its black list; see OPPO's open platform (open.oppomobile.com), Push, the app"
            }
            "27" | "30" => {
                "the app may not push by the server; apply for it on OPPO's open platform (open.oppomobile.com), Push, the app"
            }
            "28" | "69" => {
                "OPPO has stopped the app's pushes; see OPPO's open platform (open.oppomobile.com), Push, the app"
            }
            "10000" => {
                "OPPO knows none of the registration ids and has taken none since this credential was set, so none was removed; compare the AppKey with that of the app that the phones have, and `endpoint` with their region"
            }
            "33" => {
                "today's quota at OPPO is spent, and it takes more from midnight in China on; see OPPO's open platform (open.oppomobile.com), Push, the app, for what counts as service and has none"
            }
            "HTTP404" => "there is no OPPO at the endpoint; check `endpoint`",
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "alert",
        "badge_add_num",
        "badge_message_count",
        "badge_operation_type",
        "badge_set_num",
        "big_text",
        "category",
        "channel_id",
        "extras",
        "intent",
        "notify_level",
        "private_content_parameters",
        "private_msg_template_id",
        "private_title_parameters",
        "style",
        "title",
        "uri_action",
        "uri_activity",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = Some(200);
    const RECEIPTS: Reader = receipts::oppo;

    fn render(message: &Message, callback: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let section = Section::of(message, "oppo")?;
        let sent = Sent {
            call_back: callback.map(|url| (url.to_owned(), message.id.to_string())),
            ..sent(message, &section)
        };
        Some(Notification::new(&sent).map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let owned = |text: &str| text.to_owned();
    Sent {
        title: section.title_within(TITLE_CHARS_MAX),
        content: content(section),
        action_parameters: section.extras(message),
        // What is sent again, since its answer was lost, is known again, or replaces the first on the phone.
        app_message_id: Some(message.id.to_string()),
        notify_id: Some(notify_id(message)),
        badge: badge(section),
        category: section.vendor_text("category").map(str::to_uppercase),
        channel_id: section.text("channel_id").map(owned),
        click: click(section),
        expires_at: Some(message.expires_at),
        notify_level: section
            .vendor("notify_level")
            .and_then(integer)
            .and_then(|level| u8::try_from(level).ok()),
        template: section
            .vendor_text("private_msg_template_id")
            .map(|id| Template {
                id: owned(id),
                title: parameters(section.vendor("private_title_parameters")),
                content: parameters(section.vendor("private_content_parameters")),
            }),
        ..Sent::default()
    }
}

/// What is long is shown as a long text.
fn content(section: &Section<'_>) -> String {
    match section.layout() {
        Layout::BigText(text) => cut(text, LONG_CONTENT_CHARS_MAX),
        _ => section.alert_within("oppns_content_forshort", LONG_CONTENT_CHARS_MAX),
    }
}

/// As OPPO has it, or as the push says it of Android.
fn badge(section: &Section<'_>) -> Option<Badge> {
    let number = |key| {
        section
            .number(key)
            .and_then(|number| u32::try_from(number).ok())
    };
    let own = number("badge_message_count");
    match (own, section.number("badge_operation_type")) {
        (Some(count), Some(0)) => return Some(Badge::Set(count)),
        (Some(count), _) => return Some(Badge::Add(count)),
        (None, _) => {}
    }
    let set = number("badge_set_num").map(Badge::Set);
    set.or_else(|| number("badge_add_num").map(Badge::Add))
}

/// An object, or one in a text.
fn parameters(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    }
}

fn click(section: &Section<'_>) -> Click {
    match section.tap() {
        Tap::Action(action) => Click::Action(action.to_owned()),
        Tap::Activity(class) => Click::Activity(class.to_owned()),
        Tap::App => Click::App,
        Tap::Intent(intent) => Click::Intent(intent.to_owned()),
        Tap::Web(url) => Click::Web(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::message;

    fn sent_with(android: Value, oppo: Value, callback: Option<&str>) -> Value {
        let notification = OfOppo::render(&message(android, "oppo", oppo), callback);
        let notification = notification.expect("for Android").expect("fit");
        let form = notification.copies(&["id"], "access", UnixMillis::now());
        let mut fields = form_urlencoded::parse(form.as_bytes());
        let (_, text) = fields
            .find(|(name, _)| name == "message")
            .expect("a message");
        let message: Value = serde_json::from_str(&text).expect("JSON");
        message["notification"].clone()
    }

    fn rendered(android: Value, oppo: Value) -> Value {
        sent_with(android, oppo, None)
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let sent = rendered(json!({}), json!({}));
        for (name, expected) in [
            ("title", json!("for all")),
            ("content", json!("for all")),
            ("style", json!(1)),
            ("off_line", json!(true)),
            ("click_action_type", json!(0)),
            ("app_message_id", json!("77")),
            ("notify_id", json!(77)),
            ("action_parameters", json!("{\"_j_msgid\":77}")),
        ] {
            assert_eq!(sent[name], expected, "{name}");
        }
        for absent in [
            "category",
            "channel_id",
            "notify_level",
            "badge_message_count",
        ] {
            assert_eq!(sent.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn what_is_0_is_said_and_a_badge_goes_by_either_name() {
        let badge = |android: Value, oppo: Value| {
            let sent = rendered(android, oppo);
            (
                sent["badge_operation_type"].clone(),
                sent["badge_message_count"].clone(),
            )
        };
        let set = json!({"alert": "a", "badge_set_num": 0});
        assert_eq!(badge(set.clone(), json!({})), (json!(0), json!(0)));
        let own = json!({"badge_operation_type": 1, "badge_message_count": 2});
        assert_eq!(badge(set, own), (json!(1), json!(2)));
        let add = json!({"alert": "a", "badge_add_num": 3});
        assert_eq!(badge(add, json!({})), (json!(1), json!(3)));
    }

    #[test]
    fn a_long_alert_or_a_big_text_is_a_long_text() {
        let of = |android: Value| {
            let sent = rendered(android, json!({}));
            let chars = sent["content"].as_str().map(|text| text.chars().count());
            (sent["style"].clone(), chars)
        };
        let text = |chars| "\u{6c49}".repeat(chars);
        assert_eq!(of(json!({"alert": text(50)})), (json!(1), Some(50)));
        assert_eq!(of(json!({"alert": text(300)})), (json!(2), Some(128)));
        let big = json!({"alert": "a", "style": 1, "big_text": text(90)});
        assert_eq!(of(big), (json!(2), Some(90)));
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let cases = [
            (
                json!({"intent": {"url": "intent:#Intent;component=a/.B;end"}}),
                5,
                "click_action_url",
            ),
            (
                json!({"intent": {"url": "https://example.com/a"}}),
                2,
                "click_action_url",
            ),
            (
                json!({"uri_action": "com.example.OPEN"}),
                1,
                "click_action_activity",
            ),
            (
                json!({"uri_activity": "com.example.Order"}),
                4,
                "click_action_activity",
            ),
        ];
        for (mut android, kind, name) in cases {
            android["alert"] = "a".into();
            let sent = rendered(android.clone(), json!({}));
            assert_eq!(sent["click_action_type"], kind, "{android}");
            assert!(sent[name].is_string(), "{android}");
        }
    }

    #[test]
    fn a_private_message_has_its_template_and_its_class() {
        let sent = sent_with(
            json!({"alert": "a", "channel_id": "general"}),
            json!({
                "category": "order", "notify_level": 16, "private_msg_template_id": "T1",
                "private_title_parameters": "{\"number\":\"7\"}", "private_content_parameters": {"state": "sent"},
            }),
            Some("https://example.com/r"),
        );
        for (name, expected) in [
            ("category", json!("ORDER")),
            ("notify_level", json!(16)),
            ("channel_id", json!("general")),
            ("private_msg_template_id", json!("T1")),
            ("private_title_parameters", json!({"number": "7"})),
            ("private_content_parameters", json!({"state": "sent"})),
            ("call_back_url", json!("https://example.com/r")),
            ("call_back_parameter", json!("77")),
        ] {
            assert_eq!(sent[name], expected, "{name}");
        }
        let without = rendered(json!({}), json!({"notify_level": 2}));
        assert_eq!(without.get("notify_level"), None, "OPPO wants a category");
    }
}
