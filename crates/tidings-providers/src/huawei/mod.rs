//! Huawei Push Kit for Android and HarmonyOS up to 4: API v1, with an OAuth 2.0 access token.
//!
//! HarmonyOS 5 and later is another channel, with another credential, address and request.
//! Huawei: [Downlink message sending](https://developer.huawei.com/consumer/en/doc/HMSCore-References/https-send-api-0000001050986197).

pub(crate) mod answer;
mod credential;
mod notification;

use bytes::Bytes;
use tidings_model::UnixMillis;

use crate::batch::{Answer, Pace, Protocol, Request, Response, SignIn, oauth};

pub use credential::{Credential, CredentialError};
pub use notification::{
    BODY_LEN_MAX, Badge, Click, Content, Importance, Message, Notification, Shown, Style, TTL_MAX,
    Urgency,
};

/// Tokens of one request, at most.
pub const TOKENS_MAX: usize = 1000;

/// What a [`batch::Config`](crate::batch::Config) for Huawei is made with.
#[derive(Clone, Debug)]
pub struct Huawei {
    /// The app's.
    pub credential: Credential,
}

impl Protocol for Huawei {
    const NAME: &'static str = "Huawei";
    const ENDPOINT: &'static str = "https://push-api.cloud.huawei.com";
    const TOKEN_ENDPOINT: Option<&'static str> = Some("https://oauth-login.cloud.huawei.com");
    /// Huawei's floor, 6,000 a second; apps with many users may have more. It counts devices.
    const PACE: Pace = Pace {
        devices: Some(6000),
        requests: None,
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        TOKENS_MAX
    }

    fn sign_in(&self, _: UnixMillis) -> SignIn {
        let (id, secret) = (self.credential.app_id(), self.credential.app_secret());
        SignIn::Ask(oauth::request("/oauth2/v3/token", id, secret))
    }

    fn is_over(notification: &Notification, now: UnixMillis) -> bool {
        notification.is_over(now)
    }

    fn request(
        &self,
        notification: &Notification,
        tokens: &[&str],
        access: &str,
        now: UnixMillis,
    ) -> Request {
        Request {
            path: format!("/v1/{}/messages:send", self.credential.app_id()),
            headers: vec![
                ("authorization", format!("Bearer {access}")),
                ("content-type", "application/json".to_owned()),
            ],
            body: Bytes::from(notification.body(tokens, now)),
        }
    }

    fn answer(&self, response: &Response, tokens: &[&str]) -> Answer {
        answer::answer(Self::NAME, response, tokens, |_| None)
    }

    fn probe(&self) -> Option<Notification> {
        let shown = Shown {
            title: "check".to_owned(),
            body: "check".to_owned(),
            ..Shown::default()
        };
        let message = Message {
            content: Content::Shown(Box::new(shown)),
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}
