//! Meizu's push, Flyme.
//! Meizu: [HTTP API](https://github.com/MEIZUPUSH/PushAPI).

mod answer;
mod credential;
mod notification;

use std::time::Duration;

use bytes::Bytes;
use tidings_model::UnixMillis;

use crate::batch::oauth::FORM;
use crate::batch::{Access, Answer, Pace, Protocol, Request, Response, SignIn};

pub use credential::{Credential, CredentialError};
pub use notification::{
    CALLBACK_LEN_MAX, CONTENT_CHARS_MAX, Callback, Click, HOURS_MAX, Message, Notice, Notification,
    TITLE_CHARS_MAX,
};

/// Ids of one request, at most.
pub const IDS_MAX: usize = 100;

/// What a [`batch::Config`](crate::batch::Config) for Meizu is made with.
#[derive(Clone, Debug)]
pub struct Meizu {
    /// The app's.
    pub credential: Credential,
}

impl Protocol for Meizu {
    const NAME: &'static str = "Meizu";
    const ENDPOINT: &'static str = "https://server-api-push.meizu.com";
    const TOKEN_ENDPOINT: Option<&'static str> = None;
    /// What Meizu gives every app; it gives more by mail.
    const PACE: Pace = Pace {
        devices: None,
        requests: Some(200),
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        IDS_MAX
    }

    /// Each request is signed; nothing is shown.
    fn sign_in(&self, _: UnixMillis) -> SignIn {
        SignIn::Have(Access {
            token: String::new(),
            lives: Duration::MAX,
        })
    }

    fn is_over(notification: &Notification, now: UnixMillis) -> bool {
        notification.is_over(now)
    }

    fn request(
        &self,
        notification: &Notification,
        ids: &[&str],
        _: &str,
        now: UnixMillis,
    ) -> Request {
        let (json, ids) = (notification.json(now), ids.join(","));
        let parameters = [
            ("appId", self.credential.app_id()),
            ("messageJson", &json),
            ("pushIds", &ids),
        ];
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .append_pair("sign", &self.credential.sign(&parameters))
            .finish();
        Request {
            path: "/garcia/api/server/push/varnished/pushByPushId".to_owned(),
            headers: vec![("content-type", FORM.to_owned())],
            body: Bytes::from(form),
        }
    }

    fn answer(&self, response: &Response, ids: &[&str]) -> Answer {
        answer::answer(Self::NAME, response, ids)
    }

    fn probe(&self) -> Option<Notification> {
        let message = Message {
            title: "check".to_owned(),
            content: "check".to_owned(),
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}
