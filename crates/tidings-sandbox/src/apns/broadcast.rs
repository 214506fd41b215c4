//! Channel management and broadcasts (Apple, "Sending channel management requests to APNs" and the pages around it).
//!
//! Apple serves them on ports of their own; here one port serves all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::Answer;
use crate::apns::answer::error_body;
use crate::apns::reason::Reason;
use crate::apns::request::{
    APNS_EXPIRATION, APNS_PRIORITY, APNS_PUSH_TYPE, Auth, PAYLOAD_MAX, is_unix_time,
};
use crate::channels::{Channel, ChannelId, logged};
use crate::provider::Provider;
use crate::state::State;

const APNS_CHANNEL_ID: HeaderName = HeaderName::from_static("apns-channel-id");
const APNS_REQUEST_ID: HeaderName = HeaderName::from_static("apns-request-id");
const APNS_UNIQUE_ID: HeaderName = HeaderName::from_static("apns-unique-id");

const MANAGEMENT: &str = "/1/apps/";
const BROADCASTS: &str = "/4/broadcasts/apps/";

/// What a path asks for, and of which app.
pub(crate) struct Place<'a> {
    app: &'a str,
    call: Call,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    AllChannels,
    Broadcast,
    Channels,
    /// None that Apple has.
    Unknown,
}

impl<'a> Place<'a> {
    /// None when the path does not begin as these calls' do.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let (app, call) = if let Some(app) = path.strip_prefix(BROADCASTS) {
            (app, Call::Broadcast)
        } else {
            let (app, what) = path.strip_prefix(MANAGEMENT)?.split_once('/')?;
            match what {
                "all-channels" => (app, Call::AllChannels),
                "channels" => (app, Call::Channels),
                _ => (app, Call::Unknown),
            }
        };
        let is_app = !app.is_empty()
            && app
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let call = if is_app { call } else { Call::Unknown };
        Some(Self { app, call })
    }
}

/// What a call comes to: status, more headers, body.
type Agreed = (StatusCode, HeaderMap, Bytes);

/// Judges a call and does it.
pub(crate) fn judge(
    state: &State,
    auth: &mut Auth,
    place: &Place<'_>,
    head: &Parts,
    body: &[u8],
    now_ms: i64,
) -> Answer {
    let given = head.headers.get(APNS_REQUEST_ID);
    let known = given.and_then(|given| Some((given, request_id(given)?)));
    let (echo, id) = known.map_or_else(
        || {
            let id = Uuid::new_v4();
            (header(&id.to_string()), id)
        },
        |(given, id)| (given.clone(), id),
    );
    let result = if given.is_some() && known.is_none() {
        Err(Reason::BadMessageId)
    } else {
        act(state, auth, place, head, body, now_ms, id)
    };
    let (status, mut headers, body) = result.unwrap_or_else(|reason| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (reason.status(), headers, error_body(reason.name(), None))
    });
    headers.insert(APNS_REQUEST_ID, echo);
    Answer::new(status, headers, body)
}

fn act(
    state: &State,
    auth: &mut Auth,
    place: &Place<'_>,
    head: &Parts,
    body: &[u8],
    now_ms: i64,
    id: Uuid,
) -> Result<Agreed, Reason> {
    let headers = &head.headers;
    if place.call == Call::Unknown {
        return Err(Reason::BadPath);
    }
    match auth {
        Auth::Certificate(certificate) => {
            certificate
                .check(place.app, now_ms)
                .map_err(|reason| match reason {
                    Reason::TopicDisallowed => Reason::TopicMismatch,
                    other => other,
                })?;
        }
        Auth::Token(token) => {
            token.check(&state.token_keys, headers.get(AUTHORIZATION), now_ms)?;
        }
    }
    match (place.call, &head.method) {
        (Call::AllChannels, &Method::GET) => {
            let ids = state.channels.list(place.app);
            let ids: Vec<String> = ids.iter().map(|id| STANDARD.encode(id)).collect();
            Ok(agreed(StatusCode::OK, Some(&json!({"channels": ids}))))
        }
        (Call::Channels, &Method::POST) => create(state, place.app, body),
        (Call::Channels, &Method::GET) => {
            let (_, channel) = channel(state, place.app, headers)?;
            let policy = u8::from(channel.keeps_newest);
            let body = json!({"message-storage-policy": policy, "push-type": "LiveActivity"});
            Ok(agreed(StatusCode::OK, Some(&body)))
        }
        (Call::Channels, &Method::DELETE) => {
            let (id, _) = channel(state, place.app, headers)?;
            if !state.channels.delete(place.app, &id) {
                return Err(Reason::ChannelNotRegistered);
            }
            Ok(agreed(StatusCode::NO_CONTENT, None))
        }
        (Call::Broadcast, &Method::POST) => {
            let channel = check_broadcast(state, place.app, headers, body)?;
            let token = logged(&channel).ok_or(Reason::BadChannelId)?;
            let is_json = state
                .deliveries
                .record(Provider::Apns, token, id, now_ms, body);
            if !is_json {
                return Err(Reason::BadRequestPayload);
            }
            let mut sent = agreed(StatusCode::OK, None);
            sent.1
                .insert(APNS_UNIQUE_ID, header(&Uuid::new_v4().to_string()));
            Ok(sent)
        }
        _ => Err(Reason::MethodNotAllowed),
    }
}

fn create(state: &State, app: &str, body: &[u8]) -> Result<Agreed, Reason> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Wanted {
        #[serde(default)]
        message_storage_policy: Value,
        push_type: Option<String>,
    }
    if body.is_empty() {
        return Err(Reason::PayloadEmpty);
    }
    let wanted: Wanted = serde_json::from_slice(body).map_err(|_| Reason::BadRequestPayload)?;
    match wanted.push_type.as_deref() {
        None => return Err(Reason::MissingPushType),
        // Apple's page writes it LiveActivity, node-apn sends liveactivity.
        Some(push_type) if push_type.eq_ignore_ascii_case("LiveActivity") => {}
        Some(_) => return Err(Reason::InvalidPushType),
    }
    let policy = &wanted.message_storage_policy;
    // Apple's page has a number, node-apn's documentation a text.
    let keeps_newest = match (policy.as_u64(), policy.as_str()) {
        (Some(0), _) | (_, Some("0")) => false,
        (Some(1), _) | (_, Some("1")) => true,
        // Not documented, but seen where the policy is absent or wrong.
        _ => return Err(Reason::MissingChannelQueueSize),
    };
    let id = state.channels.create(app, Channel { keeps_newest });
    let id = id.ok_or(Reason::CannotCreateChannelConfig)?;
    let mut created = agreed(StatusCode::CREATED, None);
    created
        .1
        .insert(APNS_CHANNEL_ID, header(&STANDARD.encode(id)));
    Ok(created)
}

/// The channel that a request names.
fn channel(state: &State, app: &str, headers: &HeaderMap) -> Result<(ChannelId, Channel), Reason> {
    let named = headers
        .get(APNS_CHANNEL_ID)
        .ok_or(Reason::MissingChannelId)?;
    let id = STANDARD.decode(named).map_err(|_| Reason::BadChannelId)?;
    if id.is_empty() {
        return Err(Reason::BadChannelId);
    }
    let id = ChannelId::try_from(id).map_err(|_| Reason::ChannelNotRegistered)?;
    let found = state.channels.look_up(app, &id);
    found
        .map(|channel| (id, channel))
        .ok_or(Reason::ChannelNotRegistered)
}

fn check_broadcast(
    state: &State,
    app: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ChannelId, Reason> {
    match headers.get(APNS_PUSH_TYPE).map(HeaderValue::as_bytes) {
        None => return Err(Reason::MissingPushType),
        Some(b"liveactivity") => {}
        Some(_) => return Err(Reason::InvalidPushType),
    }
    let priority = headers.get(APNS_PRIORITY).map(HeaderValue::as_bytes);
    if !matches!(priority, None | Some(b"10" | b"5" | b"1")) {
        return Err(Reason::BadPriority);
    }
    let (id, channel) = channel(state, app, headers)?;
    let expiration = headers.get(APNS_EXPIRATION);
    let is_kept = expiration.is_some_and(|value| value != "0");
    if expiration.is_some_and(|value| !is_unix_time(value)) || (is_kept && !channel.keeps_newest) {
        return Err(Reason::BadExpirationDate);
    }
    if body.is_empty() {
        return Err(Reason::PayloadEmpty);
    }
    if body.len() > PAYLOAD_MAX {
        return Err(Reason::PayloadTooLarge);
    }
    let payload: Value = serde_json::from_slice(body).map_err(|_| Reason::BadRequestPayload)?;
    match payload["aps"]["event"].as_str() {
        Some("update" | "end") => Ok(id),
        _ => Err(Reason::BadRequestPayload),
    }
}

/// A UUID in either case: for `apns-id` Apple asks for the lower one, of this it does not say so, and the
/// documentation of node-apn shows the upper one.
fn request_id(value: &HeaderValue) -> Option<Uuid> {
    let text = value.as_bytes();
    (text.len() == 36).then(|| Uuid::try_parse_ascii(text).ok())?
}

fn agreed(status: StatusCode, body: Option<&Value>) -> Agreed {
    let mut headers = HeaderMap::new();
    let body = body.map_or_else(Bytes::new, |body| {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        body.to_string().into()
    });
    (status, headers, body)
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("base64 and UUIDs fit into a header")
}
