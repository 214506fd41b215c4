//! vivo's push.
//! vivo: [Server API](https://dev.vivo.com.cn/documentCenter/doc/362).
//!
//! One phone gets a message as it is; to more it is saved first, and a list of phones gets it by its id. vivo sends receipts for
//! single phones only. It has one quota a day for what it calls system messages and one for the others, which are taken from 7
//! to 23 o'clock, and lowers the quota of whoever goes on when it is used up.

mod answer;
mod credential;
mod notification;

use std::time::Duration;

use bytes::Bytes;
use tidings_model::{Outcome, Reason, UnixMillis};
use uuid::Uuid;

use crate::batch::{Access, Answer, Pace, Protocol, Request, Response, Saving, SignIn, Unsaved};

pub use credential::{Credential, CredentialError};
pub use notification::{
    CONTENT_CHARS_MAX, CUSTOM_CHARS_MAX, Click, Message, Notification, TITLE_CHARS_MAX, TTL_MAX,
    TTL_MIN,
};

/// Phones of one list, at most, and at least.
pub const LIST_MAX: usize = 1000;
const LIST_MIN: usize = 2;

/// What a [`batch::Config`](crate::batch::Config) for vivo is made with.
#[derive(Clone, Debug)]
pub struct Vivo {
    /// The app's.
    pub credential: Credential,
}

impl Vivo {
    fn post(path: &str, access: Option<&str>, body: Vec<u8>) -> Request {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(access.map(|access| ("authtoken", access.to_owned())));
        Request {
            path: path.to_owned(),
            headers,
            body: Bytes::from(body),
        }
    }
}

impl Protocol for Vivo {
    const NAME: &'static str = "vivo";
    const ENDPOINT: &'static str = "https://api-push.vivo.com.cn";
    const TOKEN_ENDPOINT: Option<&'static str> = Some(Self::ENDPOINT);
    /// vivo's floor, 3,000 a second; apps with more than five million phones have more. It counts phones.
    const PACE: Pace = Pace {
        devices: Some(3000),
        requests: None,
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        LIST_MAX
    }

    /// System messages and the others have quotas of their own, and tests none.
    fn class(notification: &Notification) -> &str {
        notification.class()
    }

    fn sign_in(&self, now: UnixMillis) -> SignIn {
        let body = self.credential.token_request(now);
        SignIn::Ask(Self::post("/message/auth", None, body))
    }

    fn is_over(notification: &Notification, now: UnixMillis) -> bool {
        notification.is_over(now)
    }

    fn too_late(notification: &Notification, now: UnixMillis) -> Option<Reason> {
        notification.too_late(now)
    }

    fn signed_in(&self, response: &Response) -> Result<Access, Outcome> {
        answer::access(response)
    }

    fn request(
        &self,
        notification: &Notification,
        tokens: &[&str],
        access: &str,
        now: UnixMillis,
    ) -> Request {
        let token = tokens.first().copied().unwrap_or_default();
        let body = notification.single(self.credential.app_id(), token, now);
        Self::post("/message/send", Some(access), body)
    }

    fn saving(&self) -> Option<&dyn Saving<Notification>> {
        Some(self)
    }

    fn answer(&self, response: &Response, tokens: &[&str]) -> Answer {
        answer::answer(response, tokens)
    }

    fn probe(&self) -> Option<Notification> {
        let message = Message {
            title: "check".to_owned(),
            content: "check".to_owned(),
            is_test: true,
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}

impl Saving<Notification> for Vivo {
    fn devices_min(&self) -> usize {
        LIST_MIN
    }

    fn unsaved_max(&self) -> usize {
        1
    }

    fn save(
        &self,
        notification: &Notification,
        access: &str,
        now: UnixMillis,
    ) -> (Request, Duration) {
        let (body, lives) = notification.saved(self.credential.app_id(), now);
        let request = Self::post("/message/saveListPayload", Some(access), body);
        (request, lives)
    }

    fn saved(&self, response: &Response) -> Result<String, Unsaved> {
        answer::saved(response)
    }

    fn send(
        &self,
        notification: &Notification,
        id: &str,
        tokens: &[&str],
        access: &str,
    ) -> Request {
        let body = serde_json::json!({
            "appId": self.credential.app_id(),
            "taskId": id,
            "regIds": tokens,
            "requestId": Uuid::new_v4().to_string(),
            "pushMode": u8::from(notification.is_test()),
        });
        Self::post("/message/pushToList", Some(access), body.to_string().into())
    }
}
