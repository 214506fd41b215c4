//! What holds of every provider.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tidings_model::{
    AppId, Audience, Message, MsgId, Notification, Platform, PlatformSet, Push, PushOptions,
    UnixMillis,
};

use super::adapters;
use crate::api::fields::{Check, Known, Role};
use crate::api::v3::third_party::sayable;

/// Something that says more than the default does.
fn sample(field: &Known) -> Value {
    let by_key = match field.key {
        "big_pic_path" | "large_icon" | "small_icon_uri" => json!("https://example.com/a.png"),
        "small_icon_color" | "icon_bg_color" => json!("#102030"),
        "mi_template_param" | "private_content_parameters" | "private_title_parameters" => {
            json!({"number": "7"})
        }
        "alert_type" => json!(0),
        "auditResponse" => json!({"a": "b"}),
        "badge_operation_type" => json!(0),
        "category" => json!("IM"),
        "default_sound" | "display_foreground" => json!(false),
        "style" => json!(0),
        "classification" | "push_mode" | "target_user_type" => json!(1),
        "alert" | "title" => json!(format!("own {}", field.key)),
        _ => Value::Null,
    };
    if !by_key.is_null() {
        return by_key;
    }
    match &field.role {
        Role::Kept(check) => match check {
            Check::Any | Check::Text | Check::TextUpTo(_) => json!("own"),
            Check::Flag => json!(true),
            Check::Integer(_, to) => json!(to),
            Check::Intent => json!({"url": "app://own"}),
            Check::List => json!([{"name": "own"}]),
            Check::Number(numbers) => json!(numbers.last()),
            Check::Object => json!({"own": "1"}),
            Check::Switch => json!("0"),
            Check::Time => json!("2026-12-01 12:00:00"),
            Check::Word(words) => json!(words.last()),
        },
        Role::Inert | Role::Read | Role::Refused => json!("own"),
    }
}

fn message(maker: &str, said: &Map<String, Value>, style: i64) -> Message {
    // What some of the fields need beside them, in the section, where any maker finds it.
    let android = json!({
        "alert": "general alert", "title": "general title", "style": style, "big_text": "general", "inbox": {"1": "general"},
        "big_pic_path": "https://example.com/general.png", "sound": "general", "badge_class": "general.Main", "badge_add_num": 1,
        "channel_id": "general",
    });
    let section = |value: Value| match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    };
    Message {
        accepted_at: UnixMillis(0),
        app: AppId(1),
        expires_at: UnixMillis(4_000_000_000_000),
        id: MsgId(77),
        push: Push {
            audience: Audience::All,
            message: None,
            notification: Some(Notification {
                android: Some(section(android.clone())),
                hmos: Some(section(android)),
                ..Notification::default()
            }),
            options: PushOptions {
                third_party_channel: Map::from_iter([(maker.to_owned(), said.clone().into())]),
                ..PushOptions::default()
            },
            platforms: PlatformSet::ALL,
        },
    }
}

/// Which of the fields change what a phone gets, beside all others or alone.
fn acted_on(adapter: &dyn super::Adapter, maker: &str) -> BTreeSet<&'static str> {
    let all = sayable().map(|field| (field.key.to_owned(), sample(field)));
    let all: Map<String, Value> = all.collect();
    let mut acted_on = BTreeSet::new();
    for field in sayable() {
        let alone = Map::from_iter([(field.key.to_owned(), sample(field))]);
        let mut others = all.clone();
        others.remove(field.key);
        for style in 0..=3 {
            let differs = |one: &Map<String, Value>, other: &Map<String, Value>| {
                adapter.rendered(&message(maker, one, style))
                    != adapter.rendered(&message(maker, other, style))
            };
            if differs(&all, &others) || differs(&alone, &Map::new()) {
                acted_on.insert(field.key);
            }
        }
    }
    acted_on
}

#[test]
fn each_makers_channel_acts_on_what_it_says_that_it_does() {
    for (provider, adapter) in adapters() {
        let platforms = provider.nature().platforms;
        if platforms.contains(Platform::Android) || platforms.contains(Platform::Hmos) {
            let told: BTreeSet<&str> = adapter.acts_on().iter().copied().collect();
            assert_eq!(told, acted_on(adapter, provider.name()), "{provider}");
        }
    }
}
