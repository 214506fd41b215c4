//! What a push says to the makers' channels (JPush's reference, "third_party_channel").

use serde_json::{Map, Value};
use tidings_model::Provider;

use super::notification::ANDROID;
use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Check, Fields, Ignored, Known, is_off, kept, read};
use crate::providers;

/// Bytes of JSON of what a push says to all makers.
const BYTES_MAX: usize = 8 * 1024;

/// The makers that JPush knows.
const MAKERS: [Known; 10] = [
    read("asus"),
    read("fcm"),
    read("hmos"),
    read("honor"),
    read("huawei"),
    read("meizu"),
    read("nio"),
    read("oppo"),
    read("vivo"),
    read("xiaomi"),
];

/// By which way it goes; words that are none of these would be a way that nobody has meant.
const WAYS: [Known; 3] = [
    kept(
        "distribution",
        Check::Word(&["first_ospush", "jpush", "ospush", "secondary_push"]),
    ),
    kept(
        "distribution_customize",
        Check::Word(&["first_ospush", "jpush", "secondary_push"]),
    ),
    kept(
        "distribution_fcm",
        Check::Word(&[
            "fcm",
            "jpush",
            "pns",
            "secondary_fcm_push",
            "secondary_pns_push",
        ]),
    ),
];

/// What is said to one maker, besides what the android section can have. Which of these a maker's channel acts on its
/// adapter says.
const MAKER: [Known; 34] = [
    kept("add_badge", Check::Flag),
    kept("auditResponse", Check::Any),
    kept("badge_message_count", Check::Integer(0, 99)),
    kept("badge_operation_type", Check::Integer(0, 1)),
    kept("callback_id", Check::Any),
    kept("classification", Check::Integer(0, 1)),
    kept("default_sound", Check::Flag),
    kept("extensionExpireShow", Check::Any),
    kept("honor_push_type", Check::Any),
    kept("hw_live_payload", Check::Any),
    kept("hw_push_type", Check::Any),
    kept("importance", Check::Word(&["HIGH", "LOW", "NORMAL"])),
    kept("mi_live_payload", Check::Any),
    kept("mi_push_type", Check::Any),
    kept("mi_template_id", Check::Text),
    kept("mi_template_param", Check::Any),
    kept("notify_level", Check::Number(&[1, 2, 16])),
    kept("only_use_vendor_style", Check::Flag),
    kept("op_delete_intent_data", Check::Any),
    kept("op_intelligent_intent", Check::Any),
    kept("op_push_type", Check::Any),
    kept("private_content_parameters", Check::Any),
    kept("private_msg_template_id", Check::Text),
    kept("private_title_parameters", Check::Any),
    kept("push_mode", Check::Integer(0, 1)),
    kept("receipt_id", Check::Text),
    kept("skip_quota", Check::Flag),
    kept("small_icon_color", Check::Text),
    kept("target_user_type", Check::Integer(0, 1)),
    kept("urgency", Check::Word(&["HIGH", "NORMAL"])),
    kept("vivo_inapp_msg", Check::Any),
    kept("vivo_liveMessage", Check::Any),
    kept("vivo_push_type", Check::Any),
    kept("voip_extraData", Check::Any),
];

/// What the push says to the makers' channels. What it says to one that is not built has no effect, and so has what a
/// maker's channel does not act on.
pub(super) fn third_party_channel(
    options: &mut Fields,
    ignored: &mut Ignored,
) -> Result<Map<String, Value>, ApiError> {
    let Some(fields) = options.object("third_party_channel")? else {
        return Ok(Map::new());
    };
    let mut fields = fields.of(&[&MAKERS])?;
    let len = fields.json_len();
    if len > BYTES_MAX {
        let why = format!("may have at most {BYTES_MAX} bytes of JSON, not {len}");
        return Err(ApiError::at(Fault::TooLarge, fields.path(), why));
    }
    let mut all = Map::new();
    for Known { key: maker, .. } in &MAKERS {
        let adapter = maker.parse::<Provider>().ok().and_then(providers::adapter);
        let Some(adapter) = adapter else {
            fields.ignore(maker, ignored);
            continue;
        };
        if let Some(said) = fields.object(maker)? {
            all.insert((*maker).to_owned(), said_to(said, adapter, ignored)?.into());
        }
    }
    fields.finish(ignored)?;
    Ok(all)
}

fn said_to(
    fields: Fields,
    adapter: &dyn providers::Adapter,
    ignored: &mut Ignored,
) -> Result<Map<String, Value>, ApiError> {
    let mut fields = fields.of(&[&WAYS, &MAKER, &ANDROID])?;
    let alert = fields.text("alert")?;
    let mut said = fields.kept()?;
    said.extend(alert.map(|alert| ("alert".to_owned(), alert.into())));
    let acts_on = adapter.acts_on();
    for (key, value) in &said {
        // Among a phone's two makers the way is always the same.
        let is_way =
            key == "distribution" || (key == "distribution_customize" && adapter.hands_messages());
        if !is_way && !acts_on.contains(&key.as_str()) && !is_off(value) {
            ignored.known(fields.at(key));
        }
    }
    fields.finish(ignored)?;
    Ok(said)
}

/// Every field that can be said to a maker, but for the choice of the way.
#[cfg(test)]
pub(crate) fn sayable() -> impl Iterator<Item = &'static Known> {
    MAKER.iter().chain(&ANDROID)
}
