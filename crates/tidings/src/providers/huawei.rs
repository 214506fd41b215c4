//! Huawei's channel for Android and HarmonyOS up to 4.

use serde_json::Value;
use tidings_model::Message;
use tidings_providers::huawei::{
    Badge, Click, Content, Credential, Huawei, Importance, Message as Sent, Notification, Shown,
    Style,
};

use super::android::{Layout, Section, Tap, handed};
use super::maker::{Field, Given, Maker, unfit};
use crate::api::fields::flag;
use crate::dispatch::Unfit;
use crate::receipts::{self, Reader};

pub(super) struct OfHuawei;

impl Maker for OfHuawei {
    type Protocol = Huawei;

    const FIELDS: &'static [Field] = &[
        Field {
            name: "app_id",
            is_secret: false,
            title: "App ID",
        },
        Field {
            name: "app_secret",
            is_secret: true,
            title: "App secret",
        },
    ];
    const ADDRESS: &'static str = "the push token from HmsInstanceId.getToken()";
    const CONSOLE: &'static str =
        "AppGallery Connect, Project settings, General information, App information";

    fn protocol(given: Given<'_>) -> Result<Huawei, String> {
        let credential = Credential::new(given.text("app_id"), given.text("app_secret"));
        Ok(Huawei {
            credential: credential.map_err(|error| error.to_string())?,
        })
    }

    const OF_PHONES: &'static [&'static str] = &["80100000", "80300007"];

    fn words(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "1101" | "invalid_client" => {
                "Huawei does not know the App ID, or the App secret is not its own; compare both with AppGallery Connect, Project settings, General information, App information"
            }
            "80200001" | "80200003" | "HTTP401" => {
                "Huawei refuses the access token that it gave for this App ID and App secret; set both again from one app in AppGallery Connect, Project settings, General information"
            }
            "80300002" => {
                "the app may not push: enable Push Kit in AppGallery Connect, Project settings, Manage APIs, for the site of these phones, and compare the App ID"
            }
            "80300007" => {
                "Huawei calls all tokens bad and has taken none since this credential was set, so none was removed; compare the App ID with that of the app that the phones have"
            }
            "80300037" => {
                "Huawei has stopped the app's pushes as a penalty; see AppGallery Connect, Push Kit"
            }
            "HTTP404" => {
                "there is no such app at the endpoint; compare the App ID with AppGallery Connect, and check `endpoint`"
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
        "category",
        "channel_id",
        "default_sound",
        "display_foreground",
        "extras",
        "icon_bg_color",
        "importance",
        "inbox",
        "intent",
        "large_icon",
        "receipt_id",
        "sound",
        "style",
        "target_user_type",
        "title",
        "uri_action",
    ];
    const CALLBACK_CHARS_MAX: Option<usize> = None;
    const RECEIPTS: Reader = receipts::huawei;
    const HANDS_MESSAGES: bool = true;

    fn render(message: &Message, _: Option<&str>) -> Option<Result<Notification, Unfit>> {
        let sent = match Section::of(message, "huawei") {
            Some(section) => sent(message, &section),
            None => Sent {
                bi_tag: Some(message.id.to_string()),
                content: Content::Data,
                data: Some(handed(message)?),
                expires_at: Some(message.expires_at),
                is_test: message.push.options.test_message,
                ..Sent::default()
            },
        };
        Some(Notification::new(&sent).map_err(unfit))
    }
}

fn sent(message: &Message, section: &Section<'_>) -> Sent {
    let owned = |text: &str| text.to_owned();
    let shown = Shown {
        title: owned(section.title()),
        body: owned(section.alert()),
        click_action: click(section),
        style: style(section),
        badge: badge(section),
        channel_id: section.text("channel_id").map(owned),
        color: section.text("icon_bg_color").map(owned),
        // Huawei takes a false only beside a sound of the app's own.
        default_sound: section
            .vendor("default_sound")
            .and_then(flag)
            .filter(|is_default| *is_default || section.text("sound").is_some()),
        foreground_show: section.display_foreground(),
        image: section.picture(),
        importance: section.vendor_text("importance").and_then(importance),
        sound: section.text("sound").map(sound),
        // What is sent again, since its answer was lost, replaces the first on the phone.
        tag: Some(message.id.to_string()),
        ..Shown::default()
    };
    Sent {
        // By this and the token a receipt is known.
        bi_tag: Some(message.id.to_string()),
        content: Content::Shown(Box::new(shown)),
        // Android's category is another thing.
        category: section.vendor_text("category").map(owned),
        data: Some(Value::Object(section.extras(message)).to_string()),
        expires_at: Some(message.expires_at),
        receipt_id: section.vendor_text("receipt_id").map(owned),
        is_test: section.is_test("target_user_type"),
        ..Sent::default()
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

fn style(section: &Section<'_>) -> Style {
    match section.layout() {
        Layout::BigText(text) => Style::BigText {
            title: section.title().to_owned(),
            body: text.to_owned(),
        },
        Layout::Inbox(lines) => Style::Inbox(lines.into_iter().take(5).map(short).collect()),
        // A picture is shown beside the text, whatever the style.
        Layout::BigPicture(_) | Layout::Plain => Style::Plain,
    }
}

/// As long as Huawei takes a line.
fn short(line: String) -> String {
    line.chars().take(1024).collect()
}

/// Huawei wants to know the class of the app's first page for it.
fn badge(section: &Section<'_>) -> Option<Badge> {
    let (add_num, set_num) = section.badge()?;
    Some(Badge {
        add_num,
        set_num,
        class: section.text("badge_class")?.to_owned(),
    })
}

fn importance(word: &str) -> Option<Importance> {
    match word {
        "LOW" => Some(Importance::Low),
        "NORMAL" => Some(Importance::Normal),
        "HIGH" => Some(Importance::High),
        _ => None,
    }
}

/// A name in `res/raw`, as JPush has it.
fn sound(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/raw/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_model::{Platform, UnixMillis};

    use super::*;
    use crate::providers::android::tests::message;

    /// `message.android` as Huawei is given it.
    fn rendered(android: Value, huawei: Value) -> Value {
        let notification = OfHuawei::render(&message(android, "huawei", huawei), None);
        let notification = notification.expect("for Android").expect("fit");
        let body = notification.body(&["token"], UnixMillis::now());
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["message"]["token"], json!(["token"]));
        body["message"]["android"].clone()
    }

    #[test]
    fn a_push_without_a_section_shows_its_text() {
        let android = rendered(json!({}), json!({}));
        let shown = &android["notification"];
        assert_eq!(
            (&shown["title"], &shown["body"]),
            (&json!("for all"), &json!("for all"))
        );
        assert_eq!(shown["click_action"], json!({"type": 3}));
        assert_eq!(shown["tag"], "77");
        assert_eq!(android["data"], "{\"_j_msgid\":77}");
        for absent in [
            "badge",
            "image",
            "sound",
            "style",
            "foreground_show",
            "importance",
        ] {
            assert_eq!(shown.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn each_style_is_laid_out_as_huawei_has_it() {
        let style = |android: Value| rendered(android, json!({}))["notification"].clone();
        let lines = style(json!({"alert": "a", "style": 2, "inbox": {"1": "one", "2": "two"}}));
        assert_eq!(
            (&lines["style"], &lines["inbox_content"]),
            (&json!(3), &json!(["one", "two"]))
        );
        let picture = style(json!({"alert": "a", "style": 3, "big_pic_path": "https://x/p.png"}));
        assert_eq!(
            (picture.get("style"), &picture["image"]),
            (None, &json!("https://x/p.png"))
        );
        let icon = style(json!({"alert": "a", "large_icon": "https://x/i.png"}));
        assert_eq!(icon["image"], "https://x/i.png");
        let local = style(json!({"alert": "a", "large_icon": "icon"}));
        assert_eq!(local.get("image"), None, "Huawei fetches it");
    }

    #[test]
    fn a_tap_leads_where_the_push_says() {
        let cases = [
            (
                json!({"intent": {"url": "intent:#Intent;action=android.intent.action.MAIN;end"}}),
                json!({"type": 3}),
            ),
            (
                json!({"intent": {"url": "app://order/7"}}),
                json!({"type": 1, "intent": "app://order/7"}),
            ),
            (
                json!({"intent": {"url": "https://example.com/a"}}),
                json!({"type": 2, "url": "https://example.com/a"}),
            ),
            (
                json!({"intent": {"url": "http://example.com/a"}}),
                json!({"type": 1, "intent": "http://example.com/a"}),
            ),
            (
                json!({"uri_action": "com.example.OPEN"}),
                json!({"type": 1, "action": "com.example.OPEN"}),
            ),
        ];
        for (mut android, expected) in cases {
            android["alert"] = "a".into();
            let click =
                rendered(android.clone(), json!({}))["notification"]["click_action"].clone();
            assert_eq!(click, expected, "{android}");
        }
    }

    #[test]
    fn what_the_push_says_to_huawei_goes_before_what_it_says_to_android() {
        let android = rendered(
            json!({"alert": "a", "channel_id": "general", "category": "msg", "sound": "bell", "icon_bg_color": "#102030", "badge_add_num": 2}),
            json!({"channel_id": "orders", "default_sound": "false", "target_user_type": "1", "category": "IM", "sound": null, "badge_class": "com.example.Main"}),
        );
        let shown = &android["notification"];
        assert_eq!(shown["channel_id"], "orders");
        assert_eq!(shown["default_sound"], false);
        assert_eq!(shown["color"], "#102030");
        assert_eq!(
            shown["badge"],
            json!({"add_num": 2, "class": "com.example.Main"})
        );
        assert_eq!(
            (&android["category"], &android["target_user_type"]),
            (&json!("IM"), &json!(1))
        );
    }

    #[test]
    fn what_sdks_leave_empty_hides_nothing() {
        let android = rendered(
            json!({"alert": "a", "channel_id": "general", "badge_add_num": "2", "badge_class": "c", "display_foreground": "0"}),
            json!({"channel_id": null, "badge_add_num": "", "display_foreground": false, "badge_set_num": 150}),
        );
        let shown = &android["notification"];
        assert_eq!(shown["channel_id"], "general");
        assert_eq!(shown["badge"], json!({"add_num": 2, "class": "c"}));
        assert_eq!(shown["foreground_show"], false);
        assert_eq!(android.get("category"), None);
    }

    #[test]
    fn what_is_not_for_android_is_not_for_huawei() {
        let mut message = message(json!({}), "huawei", json!({}));
        message.push.platforms = [Platform::Ios].into_iter().collect();
        assert!(OfHuawei::render(&message, None).is_none());
    }
}
