//! The options of a push (JPush's reference, "options").

use tidings_model::PushOptions;

use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Fields, Ignored};

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
const IGNORED: [&str; 14] = [
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
    "third_party_channel",
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
        sendno: fields.integer("sendno", i64::MIN..=i64::MAX)?,
        time_to_live,
    };
    fields.finish(ignored)?;
    Ok(options)
}
