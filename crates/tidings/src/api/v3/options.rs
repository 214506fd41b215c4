//! The options of a push (JPush's reference, "options").

use serde_json::{Map, Value};
use tidings_model::{Platform, PushOptions};

use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Fields, Ignored};
use crate::providers;

/// Bytes of `apns-collapse-id` (Apple, "Sending notification requests to APNs").
const COLLAPSE_ID_BYTES_MAX: usize = 64;

/// Options that change who gets a push, when or in what place.
const REFUSED: [&str; 5] = [
    "active_push",
    "big_push_duration",
    "geofence",
    "override_msg_id",
    "test_model",
];

/// Options for services that Tidings has no part in.
const IGNORED: [&str; 13] = [
    "alternate_set",
    "auto_truncation",
    "business_operation_code",
    "classification",
    "mkt_enable",
    "need_backup",
    "notification_3rd_ver",
    "notification_switch_filter",
    "portal_extra",
    "receipt_id",
    "target_event",
    "test_message",
    "tidings",
];

/// Reads the options; `push` without any gets the defaults.
pub(crate) fn options(push: &mut Fields, ignored: &mut Ignored) -> Result<PushOptions, ApiError> {
    let Some(mut fields) = push.object("options")? else {
        return Ok(PushOptions::default());
    };
    for key in REFUSED {
        fields.refuse(key)?;
    }
    for key in IGNORED {
        fields.ignore(key, ignored);
    }
    let apns_collapse_id = fields.text("apns_collapse_id")?.filter(|id| !id.is_empty());
    if let Some(id) = &apns_collapse_id {
        let path = fields.at("apns_collapse_id");
        if id.len() > COLLAPSE_ID_BYTES_MAX {
            return Err(ApiError::at(
                Fault::TooLarge,
                path,
                format!(
                    "may have at most {COLLAPSE_ID_BYTES_MAX} bytes, not {}",
                    id.len()
                ),
            ));
        }
        // It becomes a header, where anything else would be refused, lost or read in another way.
        let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if !id.bytes().all(is_printable) || id.trim() != id {
            return Err(ApiError::invalid(
                path,
                "must be printable ASCII, without spaces at its ends",
            ));
        }
    }
    let ttl_max = i64::from(PushOptions::TIME_TO_LIVE_MAX);
    let time_to_live = fields
        .integer("time_to_live", 0..=ttl_max)?
        .and_then(|secs| u32::try_from(secs).ok())
        .unwrap_or(PushOptions::TIME_TO_LIVE_DEFAULT);
    let options = PushOptions {
        apns_collapse_id,
        apns_production: fields.flag("apns_production")?,
        third_party_channel: third_party_channel(&mut fields, ignored)?,
        sendno: fields.integer("sendno", i64::MIN..=i64::MAX)?,
        time_to_live,
    };
    fields.finish(ignored)?;
    Ok(options)
}

/// Bytes of JSON of what a push says to all makers.
const THIRD_PARTY_BYTES_MAX: usize = 8 * 1024;

/// What the push says to the makers' channels. What it says to one that is not built has no effect, and so has the choice of
/// the way.
fn third_party_channel(
    options: &mut Fields,
    ignored: &mut Ignored,
) -> Result<Map<String, Value>, ApiError> {
    let Some(mut fields) = options.object("third_party_channel")? else {
        return Ok(Map::new());
    };
    let len = fields.json_len();
    if len > THIRD_PARTY_BYTES_MAX {
        let why = format!("may have at most {THIRD_PARTY_BYTES_MAX} bytes of JSON, not {len}");
        return Err(ApiError::at(Fault::TooLarge, fields.path(), why));
    }
    let mut kept = Map::new();
    let makers = providers::adapters().map(|(provider, _)| provider);
    let makers = makers.filter(|maker| maker.nature().platforms.contains(Platform::Android));
    for provider in makers {
        if let Some(mut vendor) = fields.object(provider.name())? {
            for key in ["distribution", "distribution_customize", "distribution_fcm"] {
                vendor.ignore(key, ignored);
            }
            kept.insert(provider.name().to_owned(), vendor.rest().into());
        }
    }
    fields.finish(ignored)?;
    Ok(kept)
}
