//! Honor's channel.

use serde_json::Value;
use tidings_model::Message;
use tidings_providers::honor::{
    Badge, Click, Credential, Honor, Importance, Message as Sent, Notification, Shown,
};

use super::android::{Layout, Section, Tap, handed};
use super::maker::{Field, Given, Maker, unfit};
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfHonor;

impl Maker for OfHonor {
    type Protocol = Honor;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "app_id",
            is_secret: false,
            title: "APP ID",
        },
        Field {
            name: "client_id",
            is_secret: false,
            title: "Client ID",
        },
        Field {
            name: "client_secret",
            is_secret: true,
            title: "Client Secret",
        },
    ];
    const ADDRESS: &'static str = "the push token from HonorPushClient.getPushToken()";
    const CONSOLE: &'static str =
        "Honor's developer console (developer.honor.com), Push, the app, App information";

    fn protocol(given: Given<'_>) -> Result<Honor, String> {
        let (app, client) = (given.text("app_id"), given.text("client_id"));
        let credential = Credential::new(app, client, given.text("client_secret"));
        Ok(Honor {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["80300007", "expireTokens", "failTokens"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "invalid_client" | "unauthorized_client" => {
                "Honor does not know the Client ID, or the Client Secret is not its own; compare both, which are neither the APP ID nor the APP Secret, with Honor's developer console (developer.honor.com), Push, the app, App information"
            }
            "401" | "403" | "80200001" | "80200003" | "HTTP401" | "HTTP403" => {
                "Honor refuses the access token that it gave for this Client ID; compare APP ID and Client ID, which are of one app, with Honor's developer console (developer.honor.com), Push, the app, App information"
            }
            "10205" | "404" | "HTTP404" => {
                "Honor has no app of this APP ID for the client; compare the APP ID, which is not the Client ID, with Honor's developer console (developer.honor.com), Push, the app, App information, and check `endpoint`"
            }
            "10001" | "10207" => {
                "Honor does not take the time of its requests, so the clock of this server is wrong; set it by NTP"
            }
            "80300007" | "expireTokens" | "failTokens" => {
                "Honor calls all tokens bad and has taken none since this credential was set, so none was removed; compare the APP ID with that of the app that the phones have"
            }
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "alert",
        "badge_add_num",
        "badge_class",
        "badge_set_num",
        "big_pic_path",
        "big_text",
        "extras",
        "importance",
        "intent",
        "large_icon",
        "style",
        "target_user_type",
        "title",
        "uri_action",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = None;
    const RECEIPTS: Reader = receipts::honor;
    const HANDS_MESSAGES: bool = true;

    fn render(message: &Message, _: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let sent = match Section::of(message, "honor") {
            Some(section) => sent(message, &section),
            None => Sent {
                shown: None,
                bi_tag: Some(message.id.to_string()),
                data: Some(handed(message)?),
                expires_at: Some(message.expires_at),
                is_test: message.push.options.test_message,
            },
        };
        Some(Notification::new(&sent).map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let big = match section.layout() {
        Layout::BigText(text) => Some(text),
        Layout::BigPicture(_) | Layout::Inbox(_) | Layout::Plain => None,
    };
    let importance = section.vendor_text("importance").and_then(importance);
    let shown = Shown {
        title: section.title().to_owned(),
        // Honor wants the long text and the short one to be the same.
        body: big.unwrap_or_else(|| section.alert()).to_owned(),
        click_action: click(section),
        is_big: big.is_some(),
        badge: badge(section),
        // Honor takes none in a marketing message.
        image: section
            .picture()
            .filter(|_| importance != Some(Importance::Low)),
        importance,
        // What is sent again, since its answer was lost, replaces the first on the phone.
        tag: Some(message.id.to_string()),
        ..Shown::default()
    };
    Sent {
        shown: Some(shown),
        // By this and the token a receipt is known.
        bi_tag: Some(message.id.to_string()),
        data: Some(Value::Object(section.extras(message)).to_string()),
        expires_at: Some(message.expires_at),
        is_test: section.is_test("target_user_type"),
    }
}

fn click(section: &Section<'_>) -> Click {
    match section.tap_on_https() {
        Tap::Action(action) => Click::Action(action.to_owned()),
        Tap::Activity(_) | Tap::App => Click::App,
        Tap::Intent(intent) => Click::Intent(intent.to_owned()),
        Tap::Web(url) => Click::Url(url.to_owned()),
    }
}

/// Honor wants to know the class of the app's first page for it.
fn badge(section: &Section<'_>) -> Option<Badge> {
    let (add_num, set_num) = section.badge()?;
    Some(Badge {
        add_num,
        set_num,
        badge_class: section.text("badge_class")?.to_owned(),
    })
}

fn importance(word: &str) -> Option<Importance> {
    match word {
        "LOW" => Some(Importance::Low),
        "NORMAL" => Some(Importance::Normal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::message;

    /// The body as Honor reads it.
    fn rendered(android: Value, honor: Value) -> Value {
        let notification = OfHonor::render(&message(android, "honor", honor), None);
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.body(&["token"], UnixMillis::now());
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let body = rendered(json!({}), json!({}));
        let shown = json!({
            "title": "for all", "body": "for all", "clickAction": {"type": 3}, "tag": "77",
        });
        assert_eq!(body["android"]["notification"], shown);
        assert_eq!(body["android"]["biTag"], "77");
        assert_eq!(body["data"], "{\"_j_msgid\":77}");
        assert_eq!(body["token"], json!(["token"]));
    }

    #[test]
    fn a_long_text_stands_in_both_places() {
        let big = rendered(
            json!({"alert": "short", "title": "t", "style": 1, "big_text": "long"}),
            json!({}),
        );
        let shown = &big["android"]["notification"];
        assert_eq!(
            (&shown["style"], &shown["body"]),
            (&json!(1), &json!("long"))
        );
        assert_eq!(
            (&shown["bigTitle"], &shown["bigBody"]),
            (&json!("t"), &json!("long"))
        );
    }

    #[test]
    fn what_the_push_says_to_honor_goes_before_what_it_says_to_android() {
        let body = rendered(
            json!({
                "alert": "a", "badge_set_num": 0, "badge_class": "c", "large_icon": "https://x/i.png",
                "uri_action": "com.example.OPEN",
            }),
            json!({"importance": "NORMAL", "target_user_type": 1, "badge_add_num": "3"}),
        );
        let shown = &body["android"]["notification"];
        assert_eq!(
            shown["badge"],
            json!({"addNum": 3, "setNum": 0, "badgeClass": "c"})
        );
        assert_eq!(
            (&shown["importance"], &shown["image"]),
            (&json!("NORMAL"), &json!("https://x/i.png"))
        );
        assert_eq!(
            shown["clickAction"],
            json!({"type": 1, "action": "com.example.OPEN"})
        );
        assert_eq!(body["android"]["targetUserType"], 1);
    }

    #[test]
    fn a_marketing_message_has_no_picture() {
        let body = rendered(
            json!({"alert": "a", "style": 3, "big_pic_path": "https://x/p.png"}),
            json!({"importance": "LOW"}),
        );
        let shown = &body["android"]["notification"];
        assert_eq!(
            (&shown["importance"], shown.get("image")),
            (&json!("LOW"), None)
        );
    }
}
