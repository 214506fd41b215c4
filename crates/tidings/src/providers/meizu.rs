//! Meizu's channel.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidings_model::{Message, MsgId};
use tidings_providers::meizu::{
    CALLBACK_LEN_MAX, CONTENT_CHARS_MAX, Callback, Click, Credential, Meizu, Message as Sent,
    Notice, Notification, TITLE_CHARS_MAX,
};

use super::android::{Layout, Section, Tap};
use super::maker::{Field, Given, Maker, unfit};
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfMeizu;

impl Maker for OfMeizu {
    type Protocol = Meizu;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "app_id",
            is_secret: false,
            title: "App ID",
        },
        Field {
            name: "app_secret",
            is_secret: true,
            title: "App Secret",
        },
    ];
    const ADDRESS: &'static str = "the pushId from PushManager.getPushId()";
    const CONSOLE: &'static str = "Meizu's push console (push.meizu.com), the app, App information";

    fn protocol(given: Given<'_>) -> Result<Meizu, String> {
        let credential = Credential::new(given.text("app_id"), given.text("app_secret"));
        Ok(Meizu {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["110002", "110003"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "1006" | "110033" => {
                "Meizu does not take the signature, so the App Secret, which is not the App Key, is not that of the App ID; compare both with Meizu's push console (push.meizu.com), the app, App information"
            }
            "110000" | "110001" | "110031" => {
                "Meizu knows no app of this App ID; compare it with Meizu's push console (push.meizu.com), the app, App information"
            }
            "110009" => "Meizu has black-listed the app; see Meizu's push console (push.meizu.com)",
            "110002" | "110003" => {
                "Meizu calls all pushIds bad and has taken none since this credential was set, so none was removed; compare the App ID with that of the app that the phones have"
            }
            "110019" | "110051" => {
                "today's quota at Meizu is used up, and it takes more from midnight in China on; see Meizu's push console (push.meizu.com), the app"
            }
            "HTTP404" => "there is no Meizu at the endpoint; check `endpoint`",
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "alert",
        "alert_type",
        "big_text",
        "classification",
        "extras",
        "intent",
        "style",
        "title",
        "uri_activity",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = Some(CALLBACK_LEN_MAX);
    const RECEIPTS: Reader = receipts::meizu;

    fn render(message: &Message, callback: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let section = Section::of(message, "meizu")?;
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
    let big_text = match section.layout() {
        Layout::BigText(text) => Some(text.to_owned()),
        Layout::BigPicture(_) | Layout::Inbox(_) | Layout::Plain => None,
    };
    Sent {
        title: section.title_within(TITLE_CHARS_MAX),
        content: section.alert_within("mzpns_content_forshort", CONTENT_CHARS_MAX),
        big_text,
        callback: None,
        click: click(section),
        expires_at: Some(message.expires_at),
        is_private: section.classification().map(|class| class == 1),
        // What is sent again, since its answer was lost, replaces the first on the phone.
        notify_key: Some(notify_key(message.id)),
        parameters: section.extras(message),
        notice: section.alert_type().filter(|kinds| *kinds >= 0).map(notice),
    }
}

fn notice(kinds: i8) -> Notice {
    Notice {
        sound: kinds & 1 != 0,
        vibrate: kinds & 2 != 0,
        lights: kinds & 4 != 0,
    }
}

/// The low 48 bits of an id in the eight characters that there are.
fn notify_key(id: MsgId) -> String {
    URL_SAFE_NO_PAD.encode(&id.0.to_be_bytes()[2..])
}

fn click(section: &Section<'_>) -> Click {
    match section.tap() {
        Tap::Activity(class) => Click::Activity(class.to_owned()),
        // Meizu has no actions.
        Tap::Action(_) | Tap::App => Click::App,
        Tap::Intent(intent) => match component(intent) {
            Some(class) => Click::Activity(class),
            None => Click::Uri(intent.to_owned()),
        },
        Tap::Web(url) => Click::Uri(url.to_owned()),
    }
}

/// The whole name of the class that an intent names, `…component=com.example/.Order;…`.
fn component(intent: &str) -> Option<String> {
    let parts = intent.strip_prefix("intent:")?.split(';');
    let name = parts
        .filter_map(|part| part.strip_prefix("component="))
        .next()?;
    let (package, class) = name.split_once('/')?;
    Some(match class.starts_with('.') {
        true => format!("{package}{class}"),
        false => class.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::message;

    /// `messageJson` of a message with so many milliseconds to live.
    fn rendered(android: Value, meizu: Value, left_ms: i64) -> Value {
        let mut message = message(android, "meizu", meizu);
        let now = UnixMillis::now();
        message.expires_at = UnixMillis(now.0 + left_ms);
        let notification = OfMeizu::render(&message, None)
            .expect("for Android")
            .expect("fit");
        serde_json::from_str(&notification.json(now)).expect("JSON")
    }

    const HOUR_MS: i64 = 60 * 60 * 1000;

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let json = rendered(json!({}), json!({}), 2 * HOUR_MS);
        let expected = json!({
            "noticeBarInfo": {"noticeBarType": 0, "title": "for all", "content": "for all"},
            "clickTypeInfo": {"clickType": 0, "parameters": {"_j_msgid": 77}},
            "advanceInfo": {"clearNoticeBar": 1, "notifyKey": "AAAAAABN"},
            "pushTimeInfo": {"offLine": 1, "validTime": 2},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_lives_shorter_than_an_hour_is_for_phones_that_are_there() {
        let time = |left_ms| rendered(json!({}), json!({}), left_ms)["pushTimeInfo"].clone();
        assert_eq!(time(HOUR_MS - 1), json!({"offLine": 0}));
        assert_eq!(time(HOUR_MS), json!({"offLine": 1, "validTime": 1}));
        assert_eq!(time(240 * HOUR_MS), json!({"offLine": 1, "validTime": 72}));
    }

    #[test]
    fn what_is_false_or_0_is_said() {
        let json = rendered(
            json!({"alert": "a", "alert_type": 2}),
            json!({"classification": 0}),
            HOUR_MS,
        );
        assert_eq!(json["noticeBarInfo"]["noticeMsgType"], 0);
        assert_eq!(
            json["advanceInfo"]["notificationType"],
            json!({"vibrate": 1, "lights": 0, "sound": 0})
        );
        let json = rendered(json!({}), json!({"classification": 1}), HOUR_MS);
        assert_eq!(json["noticeBarInfo"]["noticeMsgType"], 1);
    }

    #[test]
    fn texts_are_cut_to_what_meizu_takes_and_the_long_one_is_opened_out() {
        let long = "\u{6c49}".repeat(300);
        let android = json!({
            "alert": long, "title": long, "style": 1, "big_text": long,
            "extras": {"mzpns_content_forshort": "short"},
        });
        let json = rendered(android, json!({}), HOUR_MS);
        let bar = &json["noticeBarInfo"];
        let title = bar["title"].as_str().expect("a text");
        assert_eq!(
            (title.chars().count(), &bar["content"]),
            (32, &json!("short"))
        );
        assert_eq!(
            json["noticeExpandInfo"],
            json!({"noticeExpandType": 1, "noticeExpandContent": long})
        );
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let cases = [
            (
                json!({"intent": {"url": "app://order/7"}}),
                2,
                Some(("url", "app://order/7")),
            ),
            (
                json!({"intent": {"url": "https://x/a"}}),
                2,
                Some(("url", "https://x/a")),
            ),
            (
                json!({"intent": {"url": "intent:#Intent;component=com.example/.Order;end"}}),
                1,
                Some(("activity", "com.example.Order")),
            ),
            (
                json!({"uri_activity": "com.example.A"}),
                1,
                Some(("activity", "com.example.A")),
            ),
            (json!({"uri_action": "com.example.OPEN"}), 0, None),
        ];
        for (mut android, kind, expected) in cases {
            android["alert"] = "a".into();
            let json = rendered(android.clone(), json!({}), HOUR_MS);
            let click = &json["clickTypeInfo"];
            assert_eq!(click["clickType"], kind, "{android}");
            if let Some((name, value)) = expected {
                assert_eq!(click[name], value, "{android}");
            }
        }
    }
}
