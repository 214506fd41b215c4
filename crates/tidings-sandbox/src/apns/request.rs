//! Judging one request: the checks, in the order in which pushy's mock server makes them.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uuid::Uuid;

use crate::answer::Answer;
use crate::apns::broadcast::{self, Place};
use crate::apns::certificate::PushCertificate;
use crate::apns::reason::Reason;
use crate::apns::token::TokenAuth;
use crate::device_token::DeviceToken;
use crate::provider::Provider;
use crate::state::State;

/// Largest payload, in bytes, and that of VoIP, which is the largest there is.
const PAYLOAD_MAX_MOST: usize = 4_096;
pub(crate) const PAYLOAD_MAX: usize = 5_120;

/// Longest `apns-collapse-id`, in bytes.
const COLLAPSE_ID_MAX: usize = 64;

/// Longest topic, in bytes: a bundle id has 155 characters at most, and the longest suffix 24.
const TOPIC_MAX: usize = 255;

const PATH_PREFIX: &str = "/3/device/";

const APNS_COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
pub(crate) const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
pub(crate) const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
pub(crate) const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const AUTHORIZATION: HeaderName = http::header::AUTHORIZATION;

/// Headers that may come once only.
const SINGLE: [HeaderName; 7] = [
    APNS_COLLAPSE_ID,
    APNS_EXPIRATION,
    APNS_ID,
    APNS_PRIORITY,
    APNS_PUSH_TYPE,
    APNS_TOPIC,
    AUTHORIZATION,
];

/// Apple documents no reason for a body that is no JSON object; it holds no payload that could be read.
const UNREADABLE: Reason = Reason::PayloadEmpty;

/// How the client of one connection authenticates. With a certificate an `authorization` header is ignored.
#[derive(Debug)]
pub(crate) enum Auth {
    Certificate(PushCertificate),
    Token(TokenAuth),
}

/// What `apns-push-type` may say (Apple, "Sending notification requests to APNs").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PushType {
    Alert,
    Background,
    Complication,
    Controls,
    FileProvider,
    LiveActivity,
    Location,
    Mdm,
    PushToTalk,
    Voip,
    Widgets,
}

/// A refusal, with the timestamp that goes with 410.
struct Refusal {
    reason: Reason,
    timestamp: Option<i64>,
}

/// The token in a path of the right form.
pub(crate) fn token_in(path: &str) -> Option<DeviceToken> {
    path.strip_prefix(PATH_PREFIX)?.parse().ok()
}

/// New ids, for one connection: a random start and steps of the golden ratio, which cost no system call.
#[derive(Debug)]
pub(crate) struct IdSource {
    last: u128,
}

impl IdSource {
    const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

    pub(crate) fn new() -> Self {
        Self {
            last: Uuid::new_v4().as_u128(),
        }
    }

    /// The `apns-id` to answer with: the client's when it is a canonical UUID, a new one otherwise.
    pub(crate) fn answer_id(&mut self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(APNS_ID) {
            Some(value) if message_id(value).is_some() => value.clone(),
            _ => self.new_id(),
        }
    }

    fn new_id(&mut self) -> HeaderValue {
        self.last = self.last.wrapping_add(Self::STEP);
        let id = uuid::Builder::from_random_bytes(self.last.to_be_bytes()).into_uuid();
        let mut text = [0; 36];
        HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
            .expect("a UUID is a valid header value")
    }
}

/// Judges a request, and records the delivery when it is accepted.
pub(crate) fn judge(
    state: &State,
    auth: &mut Auth,
    ids: &mut IdSource,
    head: &Parts,
    body: &[u8],
    now_ms: i64,
) -> Answer {
    if let Some(place) = Place::of(head.uri.path()) {
        return broadcast::judge(state, auth, &place, head, body, now_ms);
    }
    let apns_id = ids.answer_id(&head.headers);
    match check(state, auth, head, body, now_ms) {
        Ok(token) => {
            let id = message_id(&apns_id).unwrap_or_default();
            if state
                .deliveries
                .record(Provider::Apns, token, id, now_ms, body)
            {
                let development = match auth {
                    Auth::Certificate(certificate) => !certificate.is_production_only(),
                    Auth::Token(_) => true,
                };
                let unique_id = development.then(|| ids.new_id());
                Answer::accepted(apns_id, unique_id)
            } else {
                Answer::refused(apns_id, UNREADABLE, None)
            }
        }
        Err(Refusal { reason, timestamp }) => Answer::refused(apns_id, reason, timestamp),
    }
}

fn check(
    state: &State,
    auth: &mut Auth,
    head: &Parts,
    body: &[u8],
    now_ms: i64,
) -> Result<DeviceToken, Refusal> {
    let headers = &head.headers;
    if headers.len() != headers.keys_len()
        && SINGLE
            .iter()
            .any(|name| headers.get_all(name).iter().count() > 1)
    {
        return Err(Reason::DuplicateHeaders.into());
    }
    if headers
        .get(APNS_ID)
        .is_some_and(|value| message_id(value).is_none())
    {
        return Err(Reason::BadMessageId.into());
    }
    if head.method != Method::POST {
        return Err(Reason::MethodNotAllowed.into());
    }
    let (certificate, token_auth) = match auth {
        Auth::Certificate(certificate) => (Some(&*certificate), None),
        Auth::Token(token_auth) => (None, Some(token_auth)),
    };
    let topic = topic(certificate, headers)?;
    if headers
        .get(APNS_COLLAPSE_ID)
        .is_some_and(|value| value.len() > COLLAPSE_ID_MAX)
    {
        return Err(Reason::BadCollapseId.into());
    }
    if let Some(value) = headers.get(APNS_EXPIRATION)
        && !is_unix_time(value)
    {
        return Err(Reason::BadExpirationDate.into());
    }
    let priority = headers.get(APNS_PRIORITY).map(HeaderValue::as_bytes);
    if !matches!(priority, None | Some(b"10" | b"5" | b"1")) {
        return Err(Reason::BadPriority.into());
    }
    let push_type = match headers.get(APNS_PUSH_TYPE) {
        Some(value) => Some(PushType::named(value.as_bytes()).ok_or(Reason::InvalidPushType)?),
        None => None,
    };
    // Whether Apple minds when it is left out, which means 10, is not known.
    if push_type == Some(PushType::Background) && !matches!(priority, None | Some(b"5")) {
        return Err(Reason::BadPriority.into());
    }
    let app = app_of(topic, push_type).ok_or(Reason::BadTopic)?;
    let token = phone(state, head.uri.path(), app)?;
    if let Some(certificate) = certificate {
        certificate.check(topic, now_ms)?;
        if push_type == Some(PushType::Location) {
            // Apple documents that it takes a token, and not what it says to a certificate.
            return Err(Reason::TopicDisallowed.into());
        }
    }
    if let Some(token_auth) = token_auth {
        token_auth.check(&state.token_keys, headers.get(AUTHORIZATION), now_ms)?;
    }
    let payload_max = match push_type {
        Some(PushType::Voip) => PAYLOAD_MAX,
        _ => PAYLOAD_MAX_MOST,
    };
    if body.is_empty() {
        return Err(Reason::PayloadEmpty.into());
    }
    if body.len() > payload_max {
        return Err(Reason::PayloadTooLarge.into());
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(UNREADABLE.into());
    }
    Ok(token)
}

/// The topic of the request, or that of a certificate with just one.
fn topic<'a>(
    certificate: Option<&'a PushCertificate>,
    headers: &'a HeaderMap,
) -> Result<&'a str, Refusal> {
    match headers.get(APNS_TOPIC) {
        Some(value) => value.to_str().map_err(|_| Reason::BadTopic.into()),
        None => certificate
            .and_then(PushCertificate::only_topic)
            .ok_or_else(|| Reason::MissingTopic.into()),
    }
}

/// The phone that the path names, if it has the app.
fn phone(state: &State, path: &str, app: &str) -> Result<DeviceToken, Refusal> {
    let Some(text) = path.strip_prefix(PATH_PREFIX) else {
        let reason = if path == PATH_PREFIX.trim_end_matches('/') {
            Reason::MissingDeviceToken
        } else {
            Reason::BadPath
        };
        return Err(reason.into());
    };
    if text.is_empty() {
        return Err(Reason::MissingDeviceToken.into());
    }
    if text.contains('/') {
        return Err(Reason::BadPath.into());
    }
    let token: DeviceToken = text.parse().map_err(|_| Reason::BadDeviceToken)?;
    if let Some(phone) = state.phones.look_up(Provider::Apns, &token) {
        if phone.topic.is_some_and(|topic| topic != app) {
            return Err(Reason::DeviceTokenNotForTopic.into());
        }
        if let Some(since) = phone.uninstalled_since {
            return Err(Refusal {
                reason: Reason::Unregistered,
                timestamp: Some(since),
            });
        }
    }
    Ok(token)
}

/// The bundle id that a topic stands for, when its form and its suffix fit the push type.
fn app_of(topic: &str, push_type: Option<PushType>) -> Option<&str> {
    let is_topic = (1..=TOPIC_MAX).contains(&topic.len())
        && topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !is_topic {
        return None;
    }
    let suffixed = PushType::ALL.into_iter().find_map(|known| {
        let suffix = known.topic_suffix();
        let app = topic.strip_suffix(suffix).filter(|_| !suffix.is_empty());
        app.map(|app| (app, known))
    });
    match push_type {
        // Senders from before the header existed name the kind by the topic alone.
        None => Some(suffixed.map_or(topic, |(app, _)| app)),
        Some(push_type) if push_type.topic_suffix().is_empty() => suffixed
            .is_none_or(|(_, known)| known.suffix_is_a_word())
            .then_some(topic),
        Some(push_type) => topic.strip_suffix(push_type.topic_suffix()),
    }
    .filter(|app| !app.is_empty())
}

/// A canonical UUID in lower case, as Apple asks for.
pub(crate) fn message_id(value: &HeaderValue) -> Option<Uuid> {
    let text = value.as_bytes();
    if text.len() != 36 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    Uuid::try_parse_ascii(text).ok()
}

pub(crate) fn is_unix_time(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_ok()
    })
}

impl PushType {
    const ALL: [Self; 11] = [
        Self::Alert,
        Self::Background,
        Self::Complication,
        Self::Controls,
        Self::FileProvider,
        Self::LiveActivity,
        Self::Location,
        Self::Mdm,
        Self::PushToTalk,
        Self::Voip,
        Self::Widgets,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Background => "background",
            Self::Complication => "complication",
            Self::Controls => "controls",
            Self::FileProvider => "fileprovider",
            Self::LiveActivity => "liveactivity",
            Self::Location => "location",
            Self::Mdm => "mdm",
            Self::PushToTalk => "pushtotalk",
            Self::Voip => "voip",
            Self::Widgets => "widgets",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().as_bytes() == name)
    }

    /// What follows the bundle id in the topic.
    fn topic_suffix(self) -> &'static str {
        match self {
            Self::Alert | Self::Background | Self::Mdm => "",
            Self::Complication => ".complication",
            Self::Controls => ".push-type.controls",
            Self::FileProvider => ".pushkit.fileprovider",
            Self::LiveActivity => ".push-type.liveactivity",
            Self::Location => ".location-query",
            Self::PushToTalk => ".voip-ptt",
            Self::Voip => ".voip",
            Self::Widgets => ".push-type.widgets",
        }
    }

    /// Whether an app's own bundle id may end so, as `com.example.voip` does.
    fn suffix_is_a_word(self) -> bool {
        matches!(self, Self::Complication | Self::Voip)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            timestamp: None,
        }
    }
}
