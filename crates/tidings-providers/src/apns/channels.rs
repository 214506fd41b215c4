//! Broadcast channels: a Live Activity's updates to everybody who listens, in one request.
//!
//! Sources: Apple, [Sending channel management requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns),
//! [Sending broadcast push notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).

use std::fmt;

use bytes::Bytes;
use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use thiserror::Error;
use tidings_model::{Outcome, ProviderId, Reason, UnixMillis};
use uuid::Uuid;

use super::caller::{Agreed, Call, Caller};
use super::config::{Config, ConfigError};
use super::connect::Service;
use super::flight::APNS_UNIQUE_ID;
use super::notification::{check_payload, is_topic};
use super::{
    Expiration, LiveActivity, LiveActivityEvent, NotificationError, PayloadError, Priority,
    PushType,
};
use crate::attempt::Attempt;

/// Bytes of a broadcast's payload, at most: 5,120.
/// Apple: [Sending broadcast push notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).
pub const BROADCAST_LEN_MAX: usize = 5120;
/// Channels of an app in one environment, at most: 10,000; then `CannotCreateChannelConfig`.
/// Apple: [Sending channel management requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns).
pub const CHANNELS_MAX: usize = 10_000;
/// Characters of a bundle id, at most.
const BUNDLE_ID_LEN_MAX: usize = 155;

const APNS_CHANNEL_ID: HeaderName = HeaderName::from_static("apns-channel-id");
const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_REQUEST_ID: HeaderName = HeaderName::from_static("apns-request-id");

/// What a channel keeps for phones that are away; fixed when it is created.
/// Apple: [Sending channel management requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoragePolicy {
    /// The newest broadcast, for up to 8 hours.
    Newest,
    /// Nothing: more broadcasts may be sent, and each must have no expiration (else `BadExpirationDate`).
    Nothing,
}

impl StoragePolicy {
    fn number(self) -> u8 {
        match self {
            Self::Newest => 1,
            Self::Nothing => 0,
        }
    }
}

/// Why a call to the channel management was in vain.
/// Apple: [Handling error responses from Apple Push Notification service](https://developer.apple.com/documentation/usernotifications/handling-error-responses-from-apns).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// Apple refused it, or it did not get there; see [`Attempt`]. `ChannelNotRegistered` is
    /// [`Outcome::Unregistered`]: the channel is gone.
    #[error("{0}")]
    Failed(Attempt),
    /// Apple agreed, and its answer lacks what was asked for.
    #[error("the answer has no {what}")]
    Unreadable {
        /// The header or field that it lacks, such as `apns-channel-id`.
        what: &'static str,
    },
}

/// Channel management, with one credential in one environment: one call at a time over one connection, which is opened
/// for the first and kept. Nothing is tried again but, once, what was refused for the age of the provider token; an
/// answer that does not come within [`Config::answer_timeout`] is [`Attempt::Unanswered`]. The app needs the broadcast
/// capability, else `FeatureNotEnabled`.
///
/// In all calls a bundle id has 1 to 155 characters, letters, digits, `.`, `-` and `_` (else `BadPath`), and a channel
/// id 1 to 255 of base64 (else `BadChannelId`); both are found out without asking Apple.
/// Apple: [Sending channel management requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns).
///
/// ```no_run
/// use tidings_providers::apns::{ChannelError, Channels, Config, StoragePolicy};
///
/// async fn fresh(config: Config) -> Result<String, Box<dyn std::error::Error>> {
///     let channels = Channels::new(config)?;
///     for old in channels.list("com.example.app").await? {
///         channels.delete("com.example.app", &old).await?;
///     }
///     Ok(channels.create("com.example.app", StoragePolicy::Newest).await?)
/// }
/// ```
pub struct Channels(Caller);

impl Channels {
    /// Without an endpoint it is Apple's for channels: `api-manage-broadcast.push.apple.com`, port 2196, in production,
    /// `api-manage-broadcast.sandbox.push.apple.com`, port 2195, in the sandbox. Connects nothing yet; fails as
    /// [`Client::start`](super::Client::start) does, but for the bounds of connections and streams, which are not used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(Caller::new(config, Service::Channels)?))
    }

    /// Makes a channel and answers its id, a text in base64. An app has at most [`CHANNELS_MAX`] in each environment.
    /// One that is [`Attempt::Unanswered`] may have been made: [`list`](Self::list) shows it.
    pub async fn create(
        &self,
        bundle_id: &str,
        policy: StoragePolicy,
    ) -> Result<String, ChannelError> {
        let body = json!({"message-storage-policy": policy.number(), "push-type": "LiveActivity"});
        let body = body.to_string().into();
        let agreed = self
            .call(Method::POST, bundle_id, "channels", None, body)
            .await?;
        let id = agreed.headers.get(APNS_CHANNEL_ID);
        let id = id.and_then(|id| id.to_str().ok().map(str::to_owned));
        id.ok_or(ChannelError::Unreadable {
            what: "apns-channel-id",
        })
    }

    /// What a channel keeps. One that is gone fails with [`Outcome::Unregistered`] `ChannelNotRegistered`.
    pub async fn read(
        &self,
        bundle_id: &str,
        channel_id: &str,
    ) -> Result<StoragePolicy, ChannelError> {
        let agreed = self
            .call(
                Method::GET,
                bundle_id,
                "channels",
                Some(channel_id),
                Bytes::new(),
            )
            .await?;
        match json_of(&agreed)["message-storage-policy"].as_u64() {
            Some(0) => Ok(StoragePolicy::Nothing),
            Some(1) => Ok(StoragePolicy::Newest),
            _ => Err(ChannelError::Unreadable {
                what: "message-storage-policy",
            }),
        }
    }

    /// Deletes a channel; whoever listens to it hears nothing any more. One that is gone fails as in
    /// [`read`](Self::read).
    pub async fn delete(&self, bundle_id: &str, channel_id: &str) -> Result<(), ChannelError> {
        self.call(
            Method::DELETE,
            bundle_id,
            "channels",
            Some(channel_id),
            Bytes::new(),
        )
        .await?;
        Ok(())
    }

    /// The ids of the app's channels; up to 1 MiB of them are read, more than 10,000 take.
    pub async fn list(&self, bundle_id: &str) -> Result<Vec<String>, ChannelError> {
        let agreed = self
            .call(Method::GET, bundle_id, "all-channels", None, Bytes::new())
            .await?;
        let body = json_of(&agreed);
        let ids = body["channels"].as_array();
        let ids = ids.ok_or(ChannelError::Unreadable { what: "channels" })?;
        let text = |id: &Value| id.as_str().map(str::to_owned);
        Ok(ids.iter().filter_map(text).collect())
    }

    async fn call(
        &self,
        method: Method,
        bundle_id: &str,
        what: &str,
        channel_id: Option<&str>,
        body: Bytes,
    ) -> Result<Agreed, ChannelError> {
        let mut headers = HeaderMap::new();
        if let Some(channel_id) = channel_id {
            let id = channel_header(channel_id).map_err(ChannelError::Failed)?;
            headers.insert(APNS_CHANNEL_ID, id);
        }
        let path = path("/1/apps/", bundle_id, what).map_err(ChannelError::Failed)?;
        let call = Call {
            method,
            path,
            headers,
            body,
        };
        self.0.call(&call).await.map_err(ChannelError::Failed)
    }
}

/// An update or end of a Live Activity, for everybody who listens to a channel. Made once, and sent to as many channels
/// as one likes.
/// Apple: [Sending broadcast push notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).
#[derive(Clone, Debug)]
pub struct Broadcast {
    expiration: Expiration,
    payload: Bytes,
    priority: Priority,
}

impl Broadcast {
    /// For those who listen now, at once: expiration 0, priority 10. Refuses a start, which a channel cannot carry,
    /// what [`LiveActivity::encode`] refuses, and more than [`BROADCAST_LEN_MAX`] bytes.
    pub fn new(activity: &LiveActivity) -> Result<Self, NotificationError> {
        if matches!(activity.event, LiveActivityEvent::Start { .. }) {
            let why = "is start; a broadcast can be update or end";
            return Err(PayloadError::new("aps.event", why).into());
        }
        Self::from_json(activity.encode()?)
    }

    /// The same from JSON that is there already, of which is checked only that it is an object of at most
    /// [`BROADCAST_LEN_MAX`] bytes: for what [`LiveActivity`] does not have.
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, NotificationError> {
        let payload = json.into();
        check_payload(&payload, PushType::LiveActivity, BROADCAST_LEN_MAX)?;
        Ok(Self {
            expiration: Expiration::Once,
            payload,
            priority: Priority::Immediate,
        })
    }

    /// Kept until then, in whole seconds rounded up and 8 hours at most, for a channel that keeps the newest; any other
    /// refuses it (`BadExpirationDate`).
    #[must_use]
    pub fn kept_until(mut self, time: UnixMillis) -> Self {
        self.expiration = Expiration::At(time);
        self
    }

    /// `apns-priority`, 10 when it is not set. 5 does not count against the activity's budget; 1, which Apple does not name for
    /// Live Activities, is what other senders use for broadcasts.
    /// Apple: [Starting and updating Live Activities with ActivityKit push notifications](https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications).
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// Sends broadcasts, with one credential in one environment: one at a time over one connection, so about one for each
/// round trip. As with [`Channels`], only what was refused for the age of the provider token is tried again.
/// Apple: [Sending broadcast push notification requests to APNs](https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).
///
/// ```no_run
/// use serde_json::Map;
/// use tidings_model::UnixMillis;
/// use tidings_providers::Attempt;
/// use tidings_providers::apns::{Broadcast, Broadcaster, Config, LiveActivity};
/// use uuid::Uuid;
///
/// async fn goal(config: Config, channel: &str) -> Result<Attempt, Box<dyn std::error::Error>> {
///     let state = Map::from_iter([("score".to_owned(), 3.into())]);
///     let broadcast = Broadcast::new(&LiveActivity::update(UnixMillis::now(), state))?;
///     let broadcaster = Broadcaster::new(config)?;
///     Ok(broadcaster.send("com.example.app", channel, Uuid::new_v4(), &broadcast).await)
/// }
/// ```
pub struct Broadcaster(Caller);

impl Broadcaster {
    /// Without an endpoint it is Apple's for devices, port 443. Connects nothing yet; fails as [`Channels::new`] does.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(Caller::new(config, Service::Devices)?))
    }

    /// One try. `id` is sent as `apns-request-id`; keep it when trying again. Bundle id and channel id are as with
    /// [`Channels`]; a channel that is gone is [`Outcome::Unregistered`] `ChannelNotRegistered`. What the outcomes are:
    /// [`outcome`](super::answer::outcome). Cancel safe, but what was sent stays sent.
    pub async fn send(
        &self,
        bundle_id: &str,
        channel_id: &str,
        id: Uuid,
        broadcast: &Broadcast,
    ) -> Attempt {
        match self.try_send(bundle_id, channel_id, id, broadcast).await {
            Ok(agreed) => {
                let id = agreed.headers.get(APNS_UNIQUE_ID);
                let id = id.and_then(|value| ProviderId::heard(value.to_str().ok()?));
                Attempt::Answered(Outcome::Accepted { id })
            }
            Err(attempt) => attempt,
        }
    }

    async fn try_send(
        &self,
        bundle_id: &str,
        channel_id: &str,
        id: Uuid,
        broadcast: &Broadcast,
    ) -> Result<Agreed, Attempt> {
        let mut headers = HeaderMap::new();
        headers.insert(APNS_CHANNEL_ID, channel_header(channel_id)?);
        headers.insert(APNS_PUSH_TYPE, HeaderValue::from_static("liveactivity"));
        let priority = u16::from(broadcast.priority.number());
        headers.insert(APNS_PRIORITY, priority.into());
        if let Some(expiration) = broadcast.expiration.header() {
            headers.insert(APNS_EXPIRATION, expiration);
        }
        let id = HeaderValue::try_from(id.to_string()).expect("a UUID's text is a header value");
        headers.insert(APNS_REQUEST_ID, id);
        let call = Call {
            method: Method::POST,
            path: path("/4/broadcasts/apps/", bundle_id, "")?,
            headers,
            body: broadcast.payload.clone(),
        };
        self.0.call(&call).await
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").finish_non_exhaustive()
    }
}

impl fmt::Debug for Broadcaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster").finish_non_exhaustive()
    }
}

fn json_of(agreed: &Agreed) -> Value {
    serde_json::from_slice(&agreed.body).unwrap_or_default()
}

/// What Apple would say is said here already: the text cannot even be sent.
fn refused(reason: &'static str) -> Attempt {
    let reason = Reason::known(reason);
    Attempt::Answered(Outcome::PayloadRejected { reason })
}

fn channel_header(channel_id: &str) -> Result<HeaderValue, Attempt> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    if channel_id.is_empty() || channel_id.len() > 255 || !channel_id.bytes().all(is_base64) {
        return Err(refused("BadChannelId"));
    }
    HeaderValue::from_str(channel_id).map_err(|_| refused("BadChannelId"))
}

fn path(prefix: &str, bundle_id: &str, what: &str) -> Result<PathAndQuery, Attempt> {
    let fits = (1..=BUNDLE_ID_LEN_MAX).contains(&bundle_id.len());
    if !fits || !is_topic(bundle_id) {
        return Err(refused("BadPath"));
    }
    let path = format!("{prefix}{bundle_id}/{what}");
    PathAndQuery::try_from(path.trim_end_matches('/')).map_err(|_| refused("BadPath"))
}
