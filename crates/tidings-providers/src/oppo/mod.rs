//! OPPO's push, for realme and OnePlus, too.
//! OPPO: [single push](https://open.oppomobile.com/new/developmentDoc/info?id=11238), and the pages beside it.
//!
//! To few phones each gets a copy of the message in one request; for more it is saved first, and broadcast to a list of phones by its
//! id. Phones outside China have another host, to which `endpoint` leads. An app is sent to by its *MasterSecret*.

mod answer;
mod credential;
mod notification;

use std::time::Duration;

use bytes::Bytes;
use tidings_model::{Outcome, UnixMillis};

use crate::batch::{
    Access, Answer, Pace, Protocol, Request, Response, Saving, SignIn, Unsaved, oauth::FORM,
};

pub use credential::{Credential, CredentialError};
pub use notification::{
    Badge, CONTENT_CHARS_MAX, Click, LONG_CONTENT_CHARS_MAX, Message, Notification,
    PARAMETERS_CHARS_MAX, TITLE_CHARS_MAX, TTL_MAX, Template,
};

/// Phones of one broadcast, at most.
pub const TARGETS_MAX: usize = 1000;
/// Copies in one request, at most: OPPO takes more, but each is a whole message.
const COPIES_MAX: usize = 100;

/// What a [`batch::Config`](crate::batch::Config) for OPPO is made with.
#[derive(Clone, Debug)]
pub struct Oppo {
    /// The app's.
    pub credential: Credential,
}

fn post(path: &str, form: String) -> Request {
    Request {
        path: path.to_owned(),
        headers: vec![("content-type", FORM.to_owned())],
        body: Bytes::from(form),
    }
}

impl Protocol for Oppo {
    const NAME: &'static str = "OPPO";
    const ENDPOINT: &'static str = "https://api.push.oppomobile.com";
    const TOKEN_ENDPOINT: Option<&'static str> = Some(Self::ENDPOINT);
    /// OPPO's floor, 5,000 a second; apps with more than ten million phones have more. It counts phones.
    const PACE: Pace = Pace {
        devices: Some(5000),
        requests: None,
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        TARGETS_MAX
    }

    /// What is of service to the user and what is not have quotas of their own.
    fn class(notification: &Notification) -> &str {
        notification.class()
    }

    fn sign_in(&self, now: UnixMillis) -> SignIn {
        let form = self.credential.token_request(now);
        SignIn::Ask(post("/server/v1/auth", form))
    }

    fn is_over(notification: &Notification, now: UnixMillis) -> bool {
        notification.is_over(now)
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
        let form = notification.copies(tokens, access, now);
        match tokens {
            [_] => post("/server/v1/message/notification/unicast", form),
            _ => post("/server/v1/message/notification/unicast_batch", form),
        }
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
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}

impl Saving<Notification> for Oppo {
    fn devices_min(&self) -> usize {
        COPIES_MAX + 1
    }

    fn unsaved_max(&self) -> usize {
        COPIES_MAX
    }

    fn save(
        &self,
        notification: &Notification,
        access: &str,
        now: UnixMillis,
    ) -> (Request, Duration) {
        let (form, lives) = notification.saved(access, now);
        let path = "/server/v1/message/notification/save_message_content";
        (post(path, form), lives)
    }

    fn saved(&self, response: &Response) -> Result<String, Unsaved> {
        answer::saved(response)
    }

    fn send(&self, _: &Notification, id: &str, tokens: &[&str], access: &str) -> Request {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("auth_token", access)
            .append_pair("message_id", id)
            .append_pair("target_type", "2")
            .append_pair("target_value", &tokens.join(";"))
            .finish();
        post("/server/v1/message/notification/broadcast", form)
    }
}
