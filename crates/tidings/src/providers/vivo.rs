//! vivo's channel.

use tidings_model::Message;
use tidings_providers::vivo::{
    CONTENT_CHARS_MAX, Click, Credential, Message as Sent, Notification, TITLE_CHARS_MAX, Vivo,
};

use super::android::{Section, Tap, notify_id};
use super::maker::{Field, Given, Maker, unfit};
use crate::api::fields::flag;
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

/// The categories of what the user waits for; all others are operation messages.
const OF_SYSTEM: [&str; 6] = [
    "ACCOUNT",
    "DEVICE_REMINDER",
    "IM",
    "ORDER",
    "SUBSCRIPTION",
    "TODO",
];

pub(super) struct OfVivo;

impl Maker for OfVivo {
    type Protocol = Vivo;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "app_id",
            is_secret: false,
            title: "AppID",
        },
        Field {
            name: "app_key",
            is_secret: true,
            title: "AppKey",
        },
        Field {
            name: "app_secret",
            is_secret: true,
            title: "AppSecret",
        },
    ];
    const ADDRESS: &'static str = "the regId from PushClient.getRegId()";
    const CONSOLE: &'static str =
        "vivo's developer platform (dev.vivo.com.cn), Push, the app, App information";

    fn protocol(given: Given<'_>) -> Result<Vivo, String> {
        let credential = Credential::new(
            given.text("app_id"),
            given.text("app_key"),
            given.text("app_secret"),
        );
        Ok(Vivo {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["10302", "invalidUser1"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "10200" | "10205" | "10094" => {
                "vivo does not know the AppID, or the AppKey is another app's; compare both with vivo's developer platform (dev.vivo.com.cn), Push, the app, App information"
            }
            "10201" | "10202" => {
                "the AppKey is not that of the AppID; compare both with vivo's developer platform (dev.vivo.com.cn), Push, the app, App information"
            }
            "10206" | "10000" => {
                "the AppSecret is not that of the AppID and AppKey; compare all three with vivo's developer platform (dev.vivo.com.cn), Push, the app, App information"
            }
            "10207" => {
                "vivo finds the time of the request more than ten minutes from its own, so the clock of this server is wrong; set it by NTP"
            }
            "10043" => {
                "pushes of the app are switched off; see vivo's developer platform (dev.vivo.com.cn), Push, the app"
            }
            "10045" => {
                "vivo is still reviewing the app, and takes tests only; see vivo's developer platform (dev.vivo.com.cn), Push, the app"
            }
            "10302" | "invalidUser1" => {
                "vivo knows none of the regIds and has taken none since this credential was set, so none was removed; compare the AppID with that of the app that the phones have"
            }
            "10070" => {
                "today's quota of operation messages at vivo is spent, and it takes more from midnight in China on; see vivo's developer platform (dev.vivo.com.cn), Push, the app, for a higher one"
            }
            "10071" => {
                "vivo takes operation messages from 7 to 23 o'clock in China only; see vivo's developer platform (dev.vivo.com.cn), Push, the app, for what is a system message"
            }
            "10073" => {
                "today's quota of system messages at vivo is spent, and it takes more from midnight in China on; see vivo's developer platform (dev.vivo.com.cn), Push, the app, for a higher one"
            }
            "HTTP404" => "there is no vivo at the endpoint; check `endpoint`",
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "add_badge",
        "alert",
        "alert_type",
        "callback_id",
        "category",
        "channel_id",
        "classification",
        "display_foreground",
        "extras",
        "intent",
        "push_mode",
        "title",
        "uri_action",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = Some(128);
    const RECEIPTS: Reader = receipts::vivo;

    fn render(message: &Message, callback: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let section = Section::of(message, "vivo")?;
        let sent = Sent {
            callback: callback.map(str::to_owned),
            callback_param: callback.map(|_| message.id.to_string()),
            ..sent(message, &section)
        };
        Some(Notification::new(&sent).map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let owned = |text: &str| text.to_owned();
    let category = section.vendor_text("category").map(str::to_uppercase);
    let kinds = section.alert_type().filter(|kinds| *kinds >= 0);
    let has = |kind: i8| kinds.is_none_or(|kinds| kinds & kind != 0);
    Sent {
        title: section.title_within(TITLE_CHARS_MAX),
        content: section.alert_within("vpns_content_forshort", CONTENT_CHARS_MAX),
        add_badge: section.vendor("add_badge").and_then(flag),
        callback_id: section.vendor_text("callback_id").map(owned),
        click: click(section),
        custom: section.extras(message),
        expires_at: Some(message.expires_at),
        foreground_show: section.display_foreground(),
        is_system: is_system(section, category.as_deref()),
        category,
        is_test: section.is_test("push_mode"),
        // The app's own channels are optional here, so that of all makers is not meant.
        notification_channel: section.vendor_text("channel_id").map(owned),
        // What is sent again, since its answer was lost, replaces the first on the phone.
        notify_id: Some(notify_id(message)),
        is_silent: !has(1),
        is_still: !has(2),
        ..Sent::default()
    }
}

/// As the push says, or as its category is.
fn is_system(section: &Section<'_>, category: Option<&str>) -> bool {
    match section.classification() {
        Some(said) => said == 1,
        None => category.is_some_and(|category| OF_SYSTEM.contains(&category)),
    }
}

fn click(section: &Section<'_>) -> Click {
    match section.tap() {
        Tap::Action(action) => Click::Page(format!("intent:#Intent;action={action};end")),
        // vivo wants a whole intent, with the package.
        Tap::Activity(_) | Tap::App => Click::App,
        Tap::Intent(intent) => Click::Page(intent.to_owned()),
        Tap::Web(url) => Click::Url(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::message;

    fn rendered(android: Value, vivo: Value) -> Value {
        let notification = OfVivo::render(&message(android, "vivo", vivo), None);
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.single(1, "id", UnixMillis::now());
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let body = rendered(json!({}), json!({}));
        for (name, expected) in [
            ("title", json!("for all")),
            ("content", json!("for all")),
            ("skipType", json!(1)),
            ("notifyType", json!(4)),
            ("classification", json!(0)),
            ("pushMode", json!(0)),
            ("notifyId", json!(77)),
            ("clientCustomMap", json!({"_j_msgid": "77"})),
        ] {
            assert_eq!(body[name], expected, "{name}");
        }
        for absent in [
            "category",
            "foregroundShow",
            "addBadge",
            "extra",
            "skipContent",
        ] {
            assert_eq!(body.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn what_is_false_or_0_is_said() {
        let body = rendered(
            json!({"alert": "a", "alert_type": 0, "display_foreground": "0"}),
            json!({"add_badge": false, "classification": 0, "category": "im", "push_mode": 0}),
        );
        for (name, expected) in [
            ("notifyType", json!(1)),
            ("foregroundShow", json!(false)),
            ("addBadge", json!(false)),
            ("classification", json!(0)),
            ("category", json!("IM")),
            ("pushMode", json!(0)),
        ] {
            assert_eq!(body[name], expected, "{name}");
        }
    }

    #[test]
    fn it_is_a_system_message_if_the_push_says_so_or_else_its_category() {
        let class = |vivo: Value| rendered(json!({}), vivo)["classification"].clone();
        assert_eq!(class(json!({"category": "ORDER"})), 1);
        assert_eq!(class(json!({"category": "MARKETING"})), 0);
        assert_eq!(class(json!({"classification": "1"})), 1);
        assert_eq!(class(json!({"classification": 0, "category": "ORDER"})), 0);
        let mut said = message(json!({}), "vivo", json!({"classification": 1}));
        said.push.options.classification = Some(0);
        let section = Section::of(&said, "vivo").expect("for Android");
        assert!(!is_system(&section, None), "for all makers");
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let cases = [
            (
                json!({"intent": {"url": "app://order/7"}}),
                4,
                Some("app://order/7"),
            ),
            (
                json!({"intent": {"url": "http://example.com/a"}}),
                2,
                Some("http://example.com/a"),
            ),
            (
                json!({"uri_action": "com.example.OPEN"}),
                4,
                Some("intent:#Intent;action=com.example.OPEN;end"),
            ),
            (json!({"uri_activity": "com.example.Order"}), 1, None),
        ];
        for (mut android, kind, content) in cases {
            android["alert"] = "a".into();
            let body = rendered(android.clone(), json!({}));
            assert_eq!(body["skipType"], kind, "{android}");
            assert_eq!(
                body.get("skipContent").and_then(Value::as_str),
                content,
                "{android}"
            );
        }
    }

    #[test]
    fn texts_are_cut_to_what_vivo_takes_and_what_the_app_gets_is_not() {
        let long = "\u{6c49}".repeat(300);
        let body = rendered(json!({"alert": long, "title": long}), json!({}));
        let chars = |name: &str| body[name].as_str().map(|text| text.chars().count());
        assert_eq!((chars("title"), chars("content")), (Some(40), Some(100)));
        let large = json!({"alert": "a", "extras": {"text": "x".repeat(1100)}});
        let refused = OfVivo::render(&message(large, "vivo", json!({})), None);
        let refused = refused.expect("for Android").expect_err("too large");
        assert_eq!(refused.reason.as_str(), "PayloadTooLarge");
    }

    #[test]
    fn receipts_go_where_they_are_wanted() {
        let callback = Some("https://example.com/r");
        let vivo = json!({"callback_id": "R1"});
        let notification = OfVivo::render(&message(json!({}), "vivo", vivo), callback);
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.single(1, "id", UnixMillis::now());
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            body["extra"],
            json!({"callback": "https://example.com/r", "callback.id": "R1", "callback.param": "77"})
        );
    }
}
