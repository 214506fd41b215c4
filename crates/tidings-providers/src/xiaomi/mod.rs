//! Xiaomi's MiPush.
//! Xiaomi: [server API](https://dev.mi.com/console/doc/detail?pId=1559).
//!
//! A phone belongs to a region, and each region has its own host: an app outside China is led there by `endpoint`.

mod answer;
mod credential;
mod notification;

use std::time::Duration;

use bytes::Bytes;
use tidings_model::UnixMillis;

use crate::batch::{Access, Answer, Pace, Protocol, Request, Response, SignIn, oauth::FORM};

pub use credential::{Credential, CredentialError};
pub use notification::{
    Callback, Click, DESCRIPTION_CHARS_MAX, Message, Notification, PAYLOAD_LEN_MAX, Shown,
    TITLE_CHARS_MAX, Template,
};

/// Ids of one request, at most.
pub const IDS_MAX: usize = 1000;

/// What a [`batch::Config`](crate::batch::Config) for Xiaomi is made with.
#[derive(Clone, Debug)]
pub struct Xiaomi {
    /// The app's.
    pub credential: Credential,
}

impl Protocol for Xiaomi {
    const NAME: &'static str = "Xiaomi";
    const ENDPOINT: &'static str = "https://api.xmpush.xiaomi.com";
    const TOKEN_ENDPOINT: Option<&'static str> = None;
    /// Xiaomi's floor, 500 requests a second; apps with more than 100,000 phones a day may have more.
    const PACE: Pace = Pace {
        devices: None,
        requests: Some(500),
    };

    type Notification = Notification;

    fn batch_max(_: &Notification) -> usize {
        IDS_MAX
    }

    /// Each message category has its own quota.
    fn class(notification: &Notification) -> &str {
        notification.channel_id()
    }

    /// The secret itself is shown, and does not end.
    fn sign_in(&self, _: UnixMillis) -> SignIn {
        SignIn::Have(Access {
            token: self.credential.app_secret().expose().to_owned(),
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
        access: &str,
        now: UnixMillis,
    ) -> Request {
        let package = self.credential.package_name();
        Request {
            path: "/v2/message/regid".to_owned(),
            headers: vec![
                ("authorization", format!("key={access}")),
                ("content-type", FORM.to_owned()),
            ],
            body: Bytes::from(notification.body(package, ids, now)),
        }
    }

    fn answer(&self, response: &Response, ids: &[&str]) -> Answer {
        answer::answer(Self::NAME, response, ids)
    }

    fn probe(&self) -> Option<Notification> {
        let shown = Shown {
            title: "check".to_owned(),
            description: "check".to_owned(),
            ..Shown::default()
        };
        let message = Message {
            shown: Some(shown),
            ..Message::default()
        };
        Notification::new(&message).ok()
    }
}
