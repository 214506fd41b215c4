//! `GET /v3/received` and `GET /v3/received/detail`: how many devices got a message.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidings_model::{Platform, Provider};
use tidings_store::{App, Counts, Ledger};

use super::msg_ids;
use crate::api::Api;
use crate::api::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct ReceivedQuery {
    #[serde(default)]
    msg_ids: String,
}

/// The counts of a message; null where nothing was targeted.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    msg_id: String,
    android_received: Option<u64>,
    ios_apns_sent: Option<u64>,
    /// Apple does not tell.
    ios_apns_received: Option<u64>,
    ios_msg_received: Option<u64>,
    wp_mpns_sent: Option<u64>,
}

/// The same in JPush's newer form. Of the makers' channels received is what they report.
#[derive(Debug, Serialize)]
pub(crate) struct Detail {
    msg_id: String,
    jpush_received: Option<u64>,
    android_pns_sent: Option<u64>,
    android_pns_received: Option<u64>,
    ios_apns_sent: Option<u64>,
    ios_apns_received: Option<u64>,
    ios_msg_received: Option<u64>,
    live_acivity_sent: Option<u64>,
    live_acivity_received: Option<u64>,
    wp_mpns_sent: Option<u64>,
    quickapp_jpush_received: Option<u64>,
    quickapp_pns_sent: Option<u64>,
    hmos_hmpns_sent: Option<u64>,
    hmos_hmpns_received: Option<u64>,
    hmos_msg_sent: Option<u64>,
    hmos_msg_received: Option<u64>,
}

pub(crate) async fn received(
    State(api): State<Api>,
    Extension(app): Extension<App>,
    Query(query): Query<ReceivedQuery>,
) -> Result<Json<Vec<Received>>, ApiError> {
    let ledgers = ledgers(&api, &app, &query.msg_ids).await?;
    Ok(Json(ledgers.iter().map(Received::of).collect()))
}

pub(crate) async fn detail(
    State(api): State<Api>,
    Extension(app): Extension<App>,
    Query(query): Query<ReceivedQuery>,
) -> Result<Json<Vec<Detail>>, ApiError> {
    let ledgers = ledgers(&api, &app, &query.msg_ids).await?;
    Ok(Json(ledgers.iter().map(Detail::of).collect()))
}

/// Those of the app's messages; ids of no message of its are left out.
async fn ledgers(api: &Api, app: &App, ids: &str) -> Result<Vec<Ledger>, ApiError> {
    let mut ledgers = Vec::new();
    for id in msg_ids(ids)? {
        ledgers.extend(api.store.ledger(app.id, id).await?);
    }
    Ok(ledgers)
}

impl Received {
    fn of(ledger: &Ledger) -> Self {
        Self {
            msg_id: ledger.message.id.to_string(),
            android_received: delivered(ledger, Platform::Android),
            ios_apns_sent: count(ledger, Provider::Apns, Platform::Ios, |counts| {
                counts.accepted
            }),
            ios_apns_received: None,
            ios_msg_received: delivered(ledger, Platform::Ios),
            wp_mpns_sent: None,
        }
    }
}

impl Detail {
    fn of(ledger: &Ledger) -> Self {
        let by_link = ledger
            .tallies
            .iter()
            .filter(|tally| tally.provider == Provider::Link);
        Self {
            msg_id: ledger.message.id.to_string(),
            jpush_received: by_link
                .map(|tally| tally.counts.delivered)
                .reduce(|sum, more| sum + more),
            android_pns_sent: by_makers(ledger, Platform::Android, |counts| {
                counts.accepted + counts.reported
            }),
            android_pns_received: by_makers(ledger, Platform::Android, |counts| counts.reported),
            ios_apns_sent: count(ledger, Provider::Apns, Platform::Ios, |counts| {
                counts.accepted
            }),
            ios_apns_received: None,
            ios_msg_received: delivered(ledger, Platform::Ios),
            live_acivity_sent: None,
            live_acivity_received: None,
            wp_mpns_sent: None,
            quickapp_jpush_received: None,
            quickapp_pns_sent: None,
            hmos_hmpns_sent: by_makers(ledger, Platform::Hmos, |counts| {
                counts.accepted + counts.reported
            }),
            hmos_hmpns_received: by_makers(ledger, Platform::Hmos, |counts| counts.reported),
            hmos_msg_sent: count(ledger, Provider::Link, Platform::Hmos, |counts| counts.sent),
            hmos_msg_received: delivered(ledger, Platform::Hmos),
        }
    }
}

/// Of all the makers' channels of a platform.
fn by_makers(ledger: &Ledger, platform: Platform, of: fn(&Counts) -> u64) -> Option<u64> {
    let tallies = ledger.tallies.iter();
    let makers = tallies.filter(|tally| tally.provider.is_remote() && tally.platform == platform);
    let counts = makers.map(|tally| tally.counts);
    let sum = counts.reduce(Counts::plus)?;
    (sum.targeted > 0).then(|| of(&sum))
}

fn delivered(ledger: &Ledger, platform: Platform) -> Option<u64> {
    count(ledger, Provider::Link, platform, |counts| counts.delivered)
}

fn count(
    ledger: &Ledger,
    provider: Provider,
    platform: Platform,
    of: fn(&Counts) -> u64,
) -> Option<u64> {
    let mut tallies = ledger.tallies.iter();
    let tally = tallies.find(|tally| (tally.provider, tally.platform) == (provider, platform))?;
    (tally.counts.targeted > 0).then(|| of(&tally.counts))
}
