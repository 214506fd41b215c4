//! The options of a push (JPush's reference, "options").

use std::collections::BTreeSet;

use tidings_model::{PushOptions, Strategies};

use super::strategy;
use super::third_party::third_party_channel;
use crate::api::error::{ApiError, Fault};
use crate::api::fields::{Fields, Ignored, Known, inert, read, refused};

/// Bytes of `apns-collapse-id` (Apple, "Sending notification requests to APNs").
const COLLAPSE_ID_BYTES_MAX: usize = 64;

/// Refused is what changes who gets a push, when or in what place; without effect what is for services that Tidings has no
/// part in.
const OPTIONS: [Known; 23] = [
    refused("active_push"),
    inert("alternate_set"),
    read("apns_collapse_id"),
    read("apns_production"),
    inert("auto_truncation"),
    refused("big_push_duration"),
    inert("business_operation_code"),
    read("classification"),
    refused("geofence"),
    inert("mkt_enable"),
    inert("need_backup"),
    read("notification_3rd_ver"),
    refused("notification_switch_filter"),
    refused("override_msg_id"),
    inert("portal_extra"),
    read("receipt_id"),
    read("sendno"),
    inert("target_event"),
    read("test_message"),
    refused("test_model"),
    read("third_party_channel"),
    read("tidings"),
    read("time_to_live"),
];

/// Reads the options; `push` without any gets the defaults.
pub(crate) fn options(push: &mut Fields, ignored: &mut Ignored) -> Result<PushOptions, ApiError> {
    let Some(fields) = push.object("options")? else {
        return Ok(PushOptions::default());
    };
    let mut fields = fields.of(&[&OPTIONS])?;
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
    // What it is a version of has been read with the message.
    fields.value("notification_3rd_ver");
    let classification = fields.integer("classification", 0..=1)?;
    let fallback_after = strategy::fallback(&mut fields, ignored)?;
    let options = PushOptions {
        apns_collapse_id,
        apns_production: fields.flag("apns_production")?,
        classification: classification.and_then(|class| u8::try_from(class).ok()),
        fallback_after,
        handed_by: BTreeSet::new(),
        ignored: Vec::new(),
        receipt_id: fields.text("receipt_id")?.filter(|id| !id.is_empty()),
        sendno: fields.integer("sendno", i64::MIN..=i64::MAX)?,
        strategies: Strategies::default(),
        test_message: fields.flag("test_message")?.unwrap_or(false),
        third_party_channel: third_party_channel(&mut fields, ignored)?,
        time_to_live,
    };
    fields.finish(ignored)?;
    Ok(options)
}
