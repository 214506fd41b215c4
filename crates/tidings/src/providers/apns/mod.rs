//! Apple's service.

mod body;
mod check;
mod credential;
mod ios;
mod render;

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_model::{Environment, Message, Platform, Push, Reason, Spent, UnixMillis};
use tidings_providers::apns::{
    Config, CredentialError, CredentialKind, Notification, NotificationError, PushType, Summary,
    answer,
};

use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::Fields;
use crate::api::v1::{required, rfc3339};
use crate::credentials::{Checked, words};
use crate::dispatch::{Carrier, Sends, Unfit, carrier};
use crate::providers::access::Access;
use crate::providers::{Adapter, Upload};
use crate::receipts::Reader;

use body::ApnsCredentialBody;
pub(crate) use credential::{ApnsCredential, ApnsFile};

/// Hexadecimal characters of a token: 64 today, "of variable length" says Apple (Registering your app with APNs).
const TOKEN_LEN_MIN: usize = 64;
const TOKEN_LEN_MAX: usize = 200;
/// The topic of apps that have no credential: the sandbox's token key is good for any.
const SANDBOX_TOPIC: &str = "com.example.app";

pub(crate) struct Apns;

impl Adapter for Apns {
    fn credential(&self, fields: Fields) -> Result<Upload, ApiError> {
        let ApnsCredentialBody {
            credential,
            environment,
        } = ApnsCredentialBody::read(fields)?;
        let environments = match environment {
            Some(environment) => vec![environment],
            None => Environment::ALL.to_vec(),
        };
        let opened = credential.file.open()?;
        let (now, topic) = (UnixMillis::now(), credential.topic.as_deref());
        let checked = environments
            .into_iter()
            .map(|environment| opened.check(environment, topic, now));
        let summaries = checked.collect::<Result<Vec<_>, CredentialError>>()?;
        summaries.iter().try_for_each(topic_for_alerts)?;
        let slots = summaries.iter().map(|summary| {
            let shown = summarised(summary, &credential);
            (Some(summary.environment), shown)
        });
        Ok(Upload {
            slots: slots.collect(),
            plain: credential
                .to_bytes()
                .map_err(|error| ApiError::internal(error.into()))?,
            world: environment,
        })
    }

    fn check(&self, plain: Vec<u8>, world: Option<Environment>) -> BoxFuture<'static, Checked> {
        async move {
            let environment = world.unwrap_or(Environment::Production);
            match serde_json::from_slice(&plain) {
                Ok(credential) => check::check(credential, environment).await,
                Err(error) => Checked::unusable(error.to_string()),
            }
        }
        .boxed()
    }

    fn can_be_the_credentials(&self, reason: &Reason) -> bool {
        answer::can_be_the_credentials(reason)
    }

    fn rejected(&self, reason: &Reason) -> String {
        words::rejected(reason)
    }

    fn address(&self, fields: &mut Fields) -> Result<String, ApiError> {
        let token = fields.text("token")?;
        let wanted = "the device token from Apple, in hexadecimal";
        let token = required(fields, "token", token, wanted)?;
        let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_sized = (TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len());
        if is_hex && is_sized && token.len().is_multiple_of(2) {
            return Ok(token.to_ascii_lowercase());
        }
        let found = match is_hex {
            true => format!("{} of them", token.len()),
            false => "other characters".to_owned(), // the token itself stays out of messages, which end in logs
        };
        Err(ApiError::invalid(
            fields.at("token"),
            format!(
                "must be an even number of {TOKEN_LEN_MIN} to {TOKEN_LEN_MAX} hexadecimal characters, not {found}"
            ),
        ))
    }

    /// JPush has no such place for Apple.
    fn acts_on(&self) -> &'static [&'static str] {
        &[]
    }

    /// Apple tells nothing of what became of a notification.
    fn receipts(&self) -> Option<Reader> {
        None
    }

    #[cfg(test)]
    fn rendered(&self, _: &Message) -> Option<String> {
        None
    }

    fn accepts(&self, push: &Push) -> Result<(), ApiError> {
        if !push.platforms.contains(Platform::Ios) {
            return Ok(());
        }
        render::check(push).map_err(|error| {
            let fault = match error {
                NotificationError::PayloadTooLarge { .. } => Fault::TooLarge,
                _ => Fault::Invalid,
            };
            let why = format!("would be refused by Apple: {error}");
            ApiError::at(fault, "notification.ios", why)
        })
    }

    fn carrier(
        &self,
        plain: Vec<u8>,
        world: Option<Environment>,
        spent: Vec<Spent>,
    ) -> BoxFuture<'static, Result<Box<dyn Carrier>>> {
        carrier::start::<Self>(plain, world, spent).boxed()
    }

    fn sandbox(&self, told: &Value) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        struct Told {
            ca: String,
            endpoint: String,
            key_id: String,
            p8: String,
            team_id: String,
        }
        let told = Told::deserialize(told)?;
        let credential = ApnsCredential {
            access: Access {
                ca: Some(told.ca),
                endpoint: Some(told.endpoint),
                proxy: None,
            },
            file: ApnsFile::P8 {
                key_id: told.key_id,
                pem: told.p8,
                team_id: told.team_id,
            },
            topic: Some(SANDBOX_TOPIC.into()),
        };
        Ok(credential.to_bytes()?)
    }
}

impl Sends for Apns {
    type Config = Config;
    /// The topic.
    type Place = String;

    fn open(plain: &[u8], world: Option<Environment>) -> Result<(Config, String)> {
        let Some(environment) = world else {
            anyhow::bail!("APNs has an environment");
        };
        let credential: ApnsCredential = serde_json::from_slice(plain)?;
        // A .p12 takes a while to open: its password is hardened.
        let config = credential.config(environment)?;
        let now = UnixMillis::now();
        // An expired certificate is still tried: it is Apple that decides, and a parked lane says so better than an error here.
        let topic = match &config.topic {
            Some(topic) => topic.clone(),
            None => config.credential.check(environment, None, now)?.topic,
        };
        Ok((config, topic))
    }

    fn render(message: &Message, topic: &String) -> Option<Result<Notification, Unfit>> {
        let rendered = render::apns(message, topic)?;
        Some(rendered.map_err(|error| Unfit {
            reason: error.reason(),
            text: error.to_string(),
        }))
    }
}

/// Refuses a topic that is one of another push type: what is pushed here goes to the app's bundle id alone.
fn topic_for_alerts(summary: &Summary) -> Result<(), ApiError> {
    let Summary { kind, topic, .. } = summary;
    let Some(other) = PushType::by_suffix(topic) else {
        return Ok(());
    };
    let suffix = other.topic_suffix();
    let bundle = topic.strip_suffix(suffix).unwrap_or_default();
    // An app can be called com.example.voip; a certificate tells what it is for, a key does not.
    let can_be_a_name = matches!(other, PushType::Complication | PushType::Voip);
    if can_be_a_name && (*kind == CredentialKind::Certificate || bundle.split('.').count() < 3) {
        return Ok(());
    }
    let why = format!(
        "topic: {} is the topic of push type {other}; name the app's bundle id alone: {}",
        shown(topic),
        shown(bundle)
    );
    Err(ApiError::new(Fault::Credential("topic_of_push_type"), why).with_field("topic"))
}

/// What may be shown of a credential.
fn summarised(summary: &Summary, credential: &ApnsCredential) -> Value {
    let mut shown = json!({
        "expires_at": summary.expires_at.map(rfc3339),
        "kind": summary.kind.name(),
        "topic": summary.topic,
        "topics": summary.topics,
    });
    credential.access.show(&mut shown);
    shown
}

#[cfg(test)]
mod tests {
    use tidings_model::Audience;

    use super::*;

    #[test]
    fn what_apple_would_refuse_is_refused() {
        let push = |alert: String| Push {
            audience: Audience::All,
            message: None,
            notification: Some(tidings_model::Notification {
                alert: Some(alert),
                ..Default::default()
            }),
            options: Default::default(),
            platforms: tidings_model::PlatformSet::ALL,
        };
        assert!(Apns.accepts(&push("x".repeat(4000))).is_ok());
        let error = Apns.accepts(&push("x".repeat(5000)));
        let error = error.expect_err("a refusal");
        assert_eq!(
            (error.fault(), error.field()),
            (Fault::TooLarge, Some("notification.ios"))
        );
    }
}
