//! Huawei's channel for HarmonyOS 5 and later.

use serde_json::{Map, Value};
use tidings_model::{Message, Platform};
use tidings_providers::hmos::{
    Badge, Click, Content, Credential, Hmos, LINE_CHARS_MAX, LINES_MAX, Message as Sent,
    Notification, Shown, Style, Target,
};

use super::android::{Layout, Section, notify_id};
use super::maker::{Field, Given, Maker, unfit};
use crate::api::fields::flag;
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfHmos;

/// Huawei takes nothing without one; marketing is what an app may push without a right.
const CATEGORY: &str = "MARKETING";
/// JPush's word for the app's first page.
const HOME: &str = "action.system.home";

impl Maker for OfHmos {
    type Protocol = Hmos;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "project_id",
            is_secret: false,
            title: "Project ID",
        },
        Field {
            name: "service_account",
            is_secret: true,
            title: "service account's key file (JSON)",
        },
    ];
    const ADDRESS: &'static str = "the push token from pushService.getToken()";
    const CONSOLE: &'static str =
        "Huawei Developers, API Console, Credentials, Service account key";

    fn protocol(given: Given<'_>) -> Result<Hmos, String> {
        let credential = Credential::from_file(given.text("service_account"));
        let credential = credential.map_err(|error| error.to_string())?;
        let (named, own) = (given.text("project_id"), credential.project_id());
        if named != own {
            return Err(format!(
                "project_id: {named:?} is not the project of the service account, {own:?}"
            ));
        }
        Ok(Hmos { credential })
    }

    const OF_PHONES: &'static [&'static str] = &["80100000", "80300007", "noRight"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "80200001" | "80200003" | "HTTP401" | "HTTP403" => {
                "Huawei does not take the service account for this project; set the key file again, which is made in Huawei Developers, API Console, Credentials, Service account key, for the project of the app in AppGallery Connect"
            }
            "80200005" => {
                "Huawei finds a token expired that was just made, so the clock of this server is wrong; set it by NTP"
            }
            "80300002" => {
                "the app may not push: enable Push Kit in AppGallery Connect for the app and the site of these phones, and compare the Project ID with Huawei Developers, API Console, Credentials, Service account key"
            }
            "80300007" | "noRight" => {
                "Huawei calls all tokens another project's and has taken none since this credential was set, so none was removed; compare the Project ID with that of the app that the phones have"
            }
            "80300037" | "disableSendHuaweiMsgBecauseOfPenalty" => {
                "Huawei has stopped the app's pushes as a penalty; see AppGallery Connect, Push Kit"
            }
            "HTTP404" => {
                "there is no such project at the endpoint; compare the Project ID with AppGallery Connect, and check `endpoint`"
            }
            _ => return None,
        })
    }

    const ACTS_ON: &'static [&'static str] = &[
        "alert",
        "badge_add_num",
        "badge_set_num",
        "category",
        "display_foreground",
        "extras",
        "inbox",
        "intent",
        "large_icon",
        "receipt_id",
        "sound",
        "style",
        "title",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = None;
    const RECEIPTS: Reader = receipts::huawei;

    fn render(message: &Message, _: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let section = Section::of_platform(message, Platform::Hmos, "hmos")?;
        let built = Notification::new(&sent(message, &section));
        Some(built.map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let options = &message.push.options;
    let receipt_id = section.text("receipt_id").or(options.receipt_id.as_deref());
    Sent {
        content: content(message, section),
        // By this and the token a receipt is known.
        bi_tag: Some(message.id.to_string()),
        expires_at: Some(message.expires_at),
        is_test: options.test_message || section.value("test_message").and_then(flag) == Some(true),
        receipt_id: receipt_id.map(str::to_owned),
    }
}

/// By JPush's `push_type`, whose numbers are Huawei's.
fn content(message: &Message, section: &Section<'_>) -> Content {
    let shown = || Box::new(shown(message, section));
    let extra_data = || section.text("extra_data").unwrap_or_default().to_owned();
    let payload = || match section.value("hm_payload") {
        Some(Value::Object(payload)) => payload.clone(),
        _ => Map::new(),
    };
    match section.number("push_type") {
        Some(1) => Content::Card(payload()),
        Some(2) => Content::Extension {
            shown: shown(),
            extra_data: extra_data(),
        },
        Some(7) => Content::LiveView(payload()),
        Some(10) => Content::Voip {
            extra_data: extra_data(),
        },
        _ => Content::Alert(shown()),
    }
}

fn shown(message: &Message, section: &Section<'_>) -> Shown {
    let owned = |text: &str| text.to_owned();
    let sound = section.text("sound").map(owned);
    let secs = section.number("sound_duration");
    let secs = secs.filter(|secs| (1..=60).contains(secs) && sound.is_some());
    Shown {
        category: section.text("category").unwrap_or(CATEGORY).to_owned(),
        title: section.title().to_owned(),
        body: section.alert().to_owned(),
        click_action: Click {
            to: target(section),
            data: section.extras(message),
        },
        style: style(section),
        badge: section
            .badge()
            .map(|(add_num, set_num)| Badge { add_num, set_num }),
        foreground_show: section.display_foreground(),
        image: section
            .text("large_icon")
            .filter(|icon| icon.starts_with("https://"))
            .map(owned),
        // What is sent again, since its answer was lost, replaces the first on the phone.
        notify_id: Some(notify_id(message)),
        sound_duration: secs.and_then(|secs| u8::try_from(secs).ok()),
        sound,
    }
}

fn target(section: &Section<'_>) -> Target {
    let intent = section.value("intent");
    let url = intent.and_then(|intent| intent["url"].as_str());
    match url.filter(|url| !url.is_empty()) {
        None | Some(HOME) => Target::App,
        Some(uri) if uri.contains("://") => Target::Uri(uri.to_owned()),
        Some(action) => Target::Action(action.to_owned()),
    }
}

fn style(section: &Section<'_>) -> Style {
    let short = |line: String| line.chars().take(LINE_CHARS_MAX).collect();
    match section.layout() {
        Layout::Inbox(lines) => {
            Style::Inbox(lines.into_iter().take(LINES_MAX).map(short).collect())
        }
        Layout::BigPicture(_) | Layout::BigText(_) | Layout::Plain => Style::Plain,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::UnixMillis;

    use super::*;
    use crate::providers::android::tests::{map, message};

    /// The body as Huawei reads it, and the header `push-type`.
    fn rendered(hmos: Value, said: Value) -> (Value, &'static str) {
        let mut message = message(json!({}), "hmos", said);
        let notification = message.push.notification.as_mut().expect("a notification");
        notification.hmos = Some(map(hmos)).filter(|hmos| !hmos.is_empty());
        let notification = OfHmos::render(&message, None)
            .expect("for HarmonyOS")
            .expect("fit");
        let body = notification.body(&["token"], UnixMillis::now());
        let body = serde_json::from_slice(&body).expect("JSON");
        (body, notification.push_type().number())
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let (body, push_type) = rendered(json!({}), json!({}));
        let shown = json!({
            "category": "MARKETING", "title": "for all", "body": "for all", "notifyId": 77,
            "clickAction": {"actionType": 0, "data": {"_j_msgid": 77}},
        });
        assert_eq!(body["payload"], json!({"notification": shown}));
        assert_eq!(body["target"], json!({"token": ["token"]}));
        assert_eq!(body["pushOptions"]["biTag"], "77");
        assert_eq!(push_type, "0");
    }

    #[test]
    fn each_field_of_the_section_is_what_huawei_has_of_it() {
        let (body, _) = rendered(
            json!({
                "alert": "body", "title": "title", "category": "WORK", "large_icon": "https://x/i.png",
                "badge_set_num": 0, "display_foreground": "0", "style": 2, "inbox": {"1": "one", "2": "two"},
                "sound": "bell.mp3", "sound_duration": 5, "test_message": true, "receipt_id": "R1",
                "intent": {"url": "app://order/7"}, "extras": {"order": 7},
            }),
            json!({"category": "IM"}),
        );
        let shown = json!({
            "category": "IM", "title": "title", "body": "body", "notifyId": 77, "image": "https://x/i.png",
            "badge": {"setNum": 0}, "foregroundShow": false, "style": 3, "inboxContent": ["one", "two"],
            "sound": "bell.mp3", "soundDuration": 5,
            "clickAction": {"actionType": 1, "uri": "app://order/7", "data": {"_j_msgid": 77, "order": 7}},
        });
        assert_eq!(body["payload"]["notification"], shown);
        let options = &body["pushOptions"];
        assert_eq!(
            (&options["testMessage"], &options["receiptId"]),
            (&json!(true), &json!("R1"))
        );
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let click = |url: &str| {
            let hmos = json!({"alert": "a", "intent": {"url": url}});
            let mut click =
                rendered(hmos, json!({})).0["payload"]["notification"]["clickAction"].clone();
            click.as_object_mut().expect("an object").remove("data");
            click
        };
        assert_eq!(click("action.system.home"), json!({"actionType": 0}));
        assert_eq!(click("app://a"), json!({"actionType": 1, "uri": "app://a"}));
        assert_eq!(
            click("com.x.OPEN"),
            json!({"actionType": 1, "action": "com.x.OPEN"})
        );
    }

    #[test]
    fn other_push_types_carry_what_they_are_given() {
        let payload = json!({"moduleName": "entry", "formId": 3});
        let (body, push_type) = rendered(
            json!({"alert": "a", "push_type": 1, "hm_payload": payload}),
            json!({}),
        );
        assert_eq!((&body["payload"], push_type), (&payload, "1"));
        let (body, push_type) = rendered(
            json!({"alert": "a", "push_type": 10, "extra_data": "call"}),
            json!({}),
        );
        assert_eq!(
            (&body["payload"], push_type),
            (&json!({"extraData": "call"}), "10")
        );
        let (body, push_type) = rendered(
            json!({"alert": "a", "push_type": 2, "extra_data": "say"}),
            json!({}),
        );
        assert_eq!(
            (&body["payload"]["extraData"], push_type),
            (&json!("say"), "2")
        );
        assert_eq!(body["payload"]["notification"]["body"], "a");
    }
}
