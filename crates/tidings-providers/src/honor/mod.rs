//! Honor's push. It is not Huawei's with another name: it has hosts, a body and codes of its own.
//! Honor: [Sending downlink messages](https://developer.honor.com/cn/docs/11002/reference/downlink-message).

mod answer;
mod credential;
mod notification;

use bytes::Bytes;
use tidings_model::UnixMillis;

use crate::batch::{Answer, Pace, Protocol, Request, Response, SignIn, oauth};

pub use credential::{Credential, CredentialError};
pub use notification::{
    BODY_LEN_MAX, Badge, Click, Importance, Message, Notification, Shown, TTL_MAX,
};

/// Tokens of one request, at most.
pub const TOKENS_MAX: usize = 1000;

/// What a [`batch::Config`](crate::batch::Config) for Honor is made with.
#[derive(Clone, Debug)]
pub struct Honor {
    /// The app's.
    pub credential: Credential,
}

impl Protocol for Honor {
    const NAME: &'static str = "Honor";
    const ENDPOINT: &'static str = "https://push-api.cloud.honor.com";
    const TOKEN_ENDPOINT: Option<&'static str> = Some("https://iam.developer.honor.com");
    /// What Honor gives every app, and no more to any.
    const PACE: Pace = Pace {
        devices: None,
        requests: Some(3000),
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        TOKENS_MAX
    }

    fn sign_in(&self, _: UnixMillis) -> SignIn {
        let (id, secret) = (self.credential.client_id(), self.credential.client_secret());
        SignIn::Ask(oauth::request("/auth/token", id, secret))
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
            path: format!("/api/v1/{}/sendMessage", self.credential.app_id()),
            headers: vec![
                ("authorization", format!("Bearer {access}")),
                ("content-type", "application/json".to_owned()),
                // In milliseconds.
                ("timestamp", now.0.to_string()),
            ],
            body: Bytes::from(notification.body(tokens, now)),
        }
    }

    fn answer(&self, response: &Response, tokens: &[&str]) -> Answer {
        answer::answer(Self::NAME, response, tokens)
    }

    fn probe(&self) -> Option<Notification> {
        let shown = Shown {
            title: "check".to_owned(),
            body: "check".to_owned(),
            ..Shown::default()
        };
        let message = Message {
            shown: Some(shown),
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}
