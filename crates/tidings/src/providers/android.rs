//! The section of a push for phones as a maker's channel is given it, `android` or `hmos`: JPush's fields, with what the push says
//! to the one maker in their place.

use serde_json::{Map, Value, json};
use tidings_model::{Message, Platform};

use crate::api::fields::{flag, integer, is_blank};

/// A key of an Android intent that only opens the app's first page.
const START_PAGE: &str = "android.intent.action.MAIN";

/// What is shown on a phone.
pub(super) struct Section<'a> {
    classification: Option<u8>,
    general: &'a str,
    section: Option<&'a Map<String, Value>>,
    test_message: bool,
    vendor: Option<&'a Map<String, Value>>,
}

/// What the app is given of a custom message that shows nothing on Android: as it is on the link.
pub(super) fn handed(message: &Message) -> Option<String> {
    let push = &message.push;
    let custom = push.message.as_ref()?;
    if push.notification.is_some() || !push.platforms.contains(Platform::Android) {
        return None;
    }
    let mut given = json!({"msg_content": custom.msg_content});
    for (name, text) in [
        ("content_type", &custom.content_type),
        ("title", &custom.title),
    ] {
        if let Some(text) = text {
            given[name] = text.as_str().into();
        }
    }
    if !custom.extras.is_empty() {
        given["extras"] = custom.extras.clone().into();
    }
    Some(json!({"id": message.id.to_string(), "message": given}).to_string())
}

/// Where a tap leads.
pub(super) enum Tap<'a> {
    /// An intent's action.
    Action(&'a str),
    /// The class of a page of the app.
    Activity(&'a str),
    /// The app's first page.
    App,
    /// `intent:…;end`, or a deep link.
    Intent(&'a str),
    /// A page on the web.
    Web(&'a str),
}

/// How it is laid out.
pub(super) enum Layout<'a> {
    BigPicture(&'a str),
    BigText(&'a str),
    Inbox(Vec<String>),
    Plain,
}

impl<'a> Section<'a> {
    /// None when the message shows nothing on Android.
    pub(super) fn of(message: &'a Message, vendor: &str) -> Option<Self> {
        Self::of_platform(message, Platform::Android, vendor)
    }

    /// The same on another platform.
    pub(super) fn of_platform(
        message: &'a Message,
        platform: Platform,
        vendor: &str,
    ) -> Option<Self> {
        let notification = message.push.shown(platform)?;
        let vendor = message.push.options.third_party_channel.get(vendor);
        Some(Self {
            classification: message.push.options.classification,
            general: notification.alert.as_deref().unwrap_or_default(),
            section: match platform {
                Platform::Hmos => notification.hmos.as_ref(),
                _ => notification.android.as_ref(),
            },
            test_message: message.push.options.test_message,
            vendor: vendor.and_then(Value::as_object),
        })
    }

    /// What the push says to this maker, else to the platform.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        let in_section = self.section.and_then(|map| map.get(key));
        self.vendor(key)
            .or_else(|| in_section.filter(|value| !is_blank(value)))
    }

    /// Only what it says to this maker.
    pub(super) fn vendor(&self, key: &str) -> Option<&'a Value> {
        let value = self.vendor.and_then(|map| map.get(key));
        // SDKs write what was not set as null or as "".
        value.filter(|value| !is_blank(value))
    }

    pub(super) fn vendor_text(&self, key: &str) -> Option<&'a str> {
        self.vendor(key).and_then(Value::as_str)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.value(key).and_then(Value::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.value(key).and_then(integer)
    }

    pub(super) fn alert(&self) -> &'a str {
        self.text("alert").unwrap_or(self.general)
    }

    /// As the push gives it; JPush's default is the app's name, which a maker's channel does not fill in.
    pub(super) fn title(&self) -> &'a str {
        self.text("title").unwrap_or_else(|| self.alert())
    }

    /// A page that the push names for makers' channels goes before an action.
    pub(super) fn tap(&self) -> Tap<'a> {
        let url = self
            .value("intent")
            .and_then(|intent| intent["url"].as_str());
        match url.filter(|url| !url.is_empty()) {
            Some(url) if url.starts_with("intent:") && url.contains(START_PAGE) => Tap::App,
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => Tap::Web(url),
            Some(url) => Tap::Intent(url),
            None => match (self.text("uri_activity"), self.text("uri_action")) {
                (Some(class), _) if is_class(class) => Tap::Activity(class),
                (_, Some(action)) => Tap::Action(action),
                _ => Tap::App,
            },
        }
    }

    /// The same at makers that open web pages of https only, and want a whole intent, with the package, for a page of the app: any
    /// other page of the web is a deep link, which the browser takes.
    pub(super) fn tap_on_https(&self) -> Tap<'a> {
        match self.tap() {
            Tap::Activity(_) => Tap::App,
            Tap::Web(url) if !url.starts_with("https://") => Tap::Intent(url),
            tap => tap,
        }
    }

    /// The alert in at most so many characters; `key` of the extras has a shorter one for this maker.
    pub(super) fn alert_within(&self, key: &str, chars: usize) -> String {
        let extras = self.value("extras");
        let shorter = extras.and_then(|extras| extras[key].as_str());
        let shorter = shorter.filter(|text| !text.trim().is_empty());
        cut(shorter.unwrap_or_else(|| self.alert()), chars)
    }

    /// The title in at most so many characters.
    pub(super) fn title_within(&self, chars: usize) -> String {
        cut(self.title(), chars)
    }

    /// Sound 1, vibration 2, lights 4 together; -1 is all, 0 none.
    pub(super) fn alert_type(&self) -> Option<i8> {
        let kinds = self.number("alert_type");
        let kinds = kinds.filter(|kinds| (-1..=7).contains(kinds))?;
        i8::try_from(kinds).ok()
    }

    pub(super) fn layout(&self) -> Layout<'a> {
        match self.number("style") {
            Some(1) => self.text("big_text").map_or(Layout::Plain, Layout::BigText),
            Some(2) => {
                let lines = self.value("inbox").and_then(Value::as_object);
                let lines = lines
                    .into_iter()
                    .flat_map(Map::values)
                    .map(|line| match line {
                        Value::String(line) => line.clone(),
                        other => other.to_string(),
                    });
                let lines: Vec<_> = lines.collect();
                if lines.is_empty() {
                    Layout::Plain
                } else {
                    Layout::Inbox(lines)
                }
            }
            Some(3) => self
                .text("big_pic_path")
                .map_or(Layout::Plain, Layout::BigPicture),
            _ => Layout::Plain,
        }
    }

    /// Whether it is a test, which the push says of itself or by this key to the maker.
    pub(super) fn is_test(&self, key: &str) -> bool {
        self.test_message || self.vendor(key).and_then(integer) == Some(1)
    }

    /// What it is: 0 marketing, 1 what the user waits for. What the push says to all makers goes before what it says to one.
    pub(super) fn classification(&self) -> Option<u8> {
        let said = self.vendor("classification").and_then(integer);
        let said = said.and_then(|class| u8::try_from(class).ok());
        self.classification.or(said).filter(|class| *class <= 1)
    }

    /// A picture beside the text, whatever the style: makers fetch it, so it is an address of https.
    pub(super) fn picture(&self) -> Option<String> {
        let picture = match self.layout() {
            Layout::BigPicture(picture) => Some(picture),
            Layout::BigText(_) | Layout::Inbox(_) | Layout::Plain => self.text("large_icon"),
        };
        picture
            .filter(|picture| picture.starts_with("https://"))
            .map(str::to_owned)
    }

    /// What is added to the number on the icon, 1 to 99, and what is set in its place, 0 to 99; none when there is neither.
    pub(super) fn badge(&self) -> Option<(Option<u8>, Option<u8>)> {
        let number = |key, range: std::ops::RangeInclusive<i64>| {
            let number = self.number(key).filter(|number| range.contains(number))?;
            u8::try_from(number).ok()
        };
        let (added, set) = (
            number("badge_add_num", 1..=99),
            number("badge_set_num", 0..=99),
        );
        (added.is_some() || set.is_some()).then_some((added, set))
    }

    /// Whether it is shown while the app is in front; none is left to the maker.
    pub(super) fn display_foreground(&self) -> Option<bool> {
        self.value("display_foreground").and_then(flag)
    }

    /// The app's own pairs, with JPush's `_j_msgid`, by which the app reports that it was opened.
    pub(super) fn extras(&self, message: &Message) -> Map<String, Value> {
        let mut extras = match self.value("extras") {
            Some(Value::Object(extras)) => extras.clone(),
            _ => Map::new(),
        };
        extras.insert("_j_msgid".to_owned(), message.id.0.into());
        extras
    }
}

/// A number above 0 by which the makers know the notifications of one message: what is sent again replaces the first.
pub(super) fn notify_id(message: &Message) -> i32 {
    let id = i32::try_from(message.id.0 & i64::from(i32::MAX));
    id.unwrap_or_default().max(1)
}

/// As much of a text as a maker takes; what is cut ends with an ellipsis.
pub(super) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
    format!("{}\u{2026}", kept.trim_end())
}

/// Whether it can be the name of a class, perhaps within the package.
fn is_class(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'))
}

#[cfg(test)]
pub(super) mod tests {
    use tidings_model::{
        AppId, Audience, MsgId, Notification, PlatformSet, Push, PushOptions, UnixMillis,
    };

    use super::*;

    pub(in crate::providers) fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    /// A message of id 77 with a minute to live and the alert "for all", with an `android` section unless it is empty, and with
    /// what is said to a maker.
    pub(in crate::providers) fn message(android: Value, vendor: &str, said: Value) -> Message {
        Message {
            accepted_at: UnixMillis::now(),
            app: AppId(1),
            expires_at: UnixMillis(UnixMillis::now().0 + 60_000),
            id: MsgId(77),
            push: Push {
                audience: Audience::All,
                message: None,
                notification: Some(Notification {
                    alert: Some("for all".into()),
                    android: Some(map(android)).filter(|android| !android.is_empty()),
                    ..Notification::default()
                }),
                options: PushOptions {
                    third_party_channel: map(json!({vendor: said})),
                    ..PushOptions::default()
                },
                platforms: PlatformSet::ALL,
            },
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("\u{6c49}\u{5b57}", 2), "\u{6c49}\u{5b57}");
        assert_eq!(cut("\u{6c49}\u{5b57}!", 2), "\u{6c49}\u{2026}");
        assert_eq!(cut("a bcd", 3), "a\u{2026}");
    }

    #[test]
    fn a_shorter_text_for_a_maker_goes_before_the_alert() {
        let extras = json!({"alert": "a long text", "extras": {"mipns_content_forshort": "short"}});
        let message = message(extras, "xiaomi", json!({}));
        let section = Section::of(&message, "xiaomi").expect("for Android");
        assert_eq!(section.alert_within("mipns_content_forshort", 20), "short");
        assert_eq!(
            section.alert_within("mzpns_content_forshort", 6),
            "a lon\u{2026}"
        );
    }
}
