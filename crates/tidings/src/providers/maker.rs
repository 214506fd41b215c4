//! What the phone makers' channels have in common: a credential of a few texts, an address that is a text, and a client that
//! sends in batches.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_model::{Environment, Message, Push, Reason, Spent};
use tidings_providers::Attempt;
use tidings_providers::batch::check::{Finding, Report, check};
use tidings_providers::batch::{Config, NotificationError, Pace, Protocol};

use super::access::{Access, token_endpoint};
use super::{Adapter, Upload};
use crate::api::error::{ApiError, Fault};
use crate::api::fields::Fields;
use crate::api::v1::required;
use crate::credentials::words::{self, Whom};
use crate::credentials::{CheckResult, Checked};
use crate::dispatch::{Carrier, Sends, Unfit, carrier};
use crate::receipts::Reader;

/// Characters of a field of a credential; a key file has some 2,500.
const FIELD_CHARS_MAX: usize = 8192;
/// Devices, or requests, a second: more than any maker takes.
const RATE_MAX: i64 = 1_000_000;
/// Characters of an address.
const ADDRESS_CHARS_MAX: usize = 512;

/// One maker.
pub(super) trait Maker: Send + Sync + 'static {
    type Protocol: Protocol;

    /// The fields of its credential.
    const FIELDS: &'static [Field];
    /// What an address of it is, and where it comes from.
    const ADDRESS: &'static str;
    /// Where its credential is found and mended.
    const CONSOLE: &'static str;

    /// Checks the form of a credential. The error begins with the field.
    fn protocol(given: Given<'_>) -> Result<Self::Protocol, String>;

    /// Reasons that are said of the phones' own addresses: a check, which asks of none, refutes none of them.
    const OF_PHONES: &'static [&'static str];

    /// What a reason for which it refuses a credential, or takes nothing today, means and what is to be done; none when it is
    /// not known.
    fn words(reason: &str) -> Option<&'static str>;

    /// The fields of `third_party_channel.{provider}` that [`Maker::render`] acts on.
    const ACTS_ON: &'static [&'static str];
    /// Characters of the address that receipts are to go to, which each message names; none when it is entered in the maker's
    /// console.
    const CALLBACK_CHARS_MAX: Option<usize>;
    /// How its receipts are read.
    const RECEIPTS: Reader;
    /// Whether [`Maker::render`] makes data for the app of a custom message that has nothing to show.
    const HANDS_MESSAGES: bool = false;

    /// The message as its phones get it; none when it has nothing for them. `callback` is where receipts are to go, if they
    /// are wanted. The message's id goes with it as the parameter: by that and the address a receipt is known.
    fn render(
        message: &Message,
        callback: Option<&str>,
    ) -> Option<Result<<Self::Protocol as Protocol>::Notification, Unfit>>;
}

/// A field of a credential.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// It is never shown.
    pub(crate) is_secret: bool,
    /// What it is called where it is found.
    pub(crate) title: &'static str,
}

/// What was given for the fields of a credential.
#[derive(Clone, Copy)]
pub(super) struct Given<'a>(&'a BTreeMap<String, String>);

impl<'a> Given<'a> {
    /// Empty where nothing was.
    pub(super) fn text(self, name: &str) -> &'a str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// The adapter of a maker.
pub(super) struct Adapted<M>(PhantomData<fn() -> M>);

impl<M> Adapted<M> {
    pub(super) const NEW: Self = Self(PhantomData);
}

/// What is kept of a credential.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    access: Access,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    fields: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<String>,
}

/// How fast the maker may be asked, where it is not as it publishes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rate {
    #[serde(skip_serializing_if = "Option::is_none")]
    devices_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<u32>,
}

impl Rate {
    fn read(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let Some(mut fields) = fields.object("rate")? else {
            return Ok(None);
        };
        let mut number = |key| {
            let number = fields.integer(key, 1..=RATE_MAX)?;
            Ok::<_, ApiError>(number.and_then(|number| u32::try_from(number).ok()))
        };
        let rate = Self {
            devices_per_second: number("devices_per_second")?,
            requests_per_second: number("requests_per_second")?,
        };
        fields.finish_strictly()?;
        Ok(Some(rate))
    }

    /// The maker's figures, but for those that are given.
    fn over(rate: Option<Self>, published: Pace) -> Pace {
        Pace {
            devices: rate
                .and_then(|rate| rate.devices_per_second)
                .or(published.devices),
            requests: rate
                .and_then(|rate| rate.requests_per_second)
                .or(published.requests),
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("endpoint", &self.access.endpoint)
            .finish_non_exhaustive()
    }
}

impl Kept {
    fn config<M: Maker>(&self) -> Result<Config<M::Protocol>, String> {
        let mut config = Config::new(M::protocol(Given(&self.fields))?);
        config.endpoint.clone_from(&self.access.endpoint);
        config.token_endpoint.clone_from(&self.token_endpoint);
        config.proxy = self.access.tunnel();
        config.ca = self.access.roots();
        config.pace = Rate::over(self.rate, config.pace);
        Ok(config)
    }
}

impl<M: Maker> Adapter for Adapted<M> {
    fn fields(&self) -> &'static [Field] {
        M::FIELDS
    }

    fn credential(&self, mut fields: Fields) -> Result<Upload, ApiError> {
        let mut kept = BTreeMap::new();
        for Field { name, title, .. } in M::FIELDS {
            let wanted = format!("the {title}, from {}", M::CONSOLE);
            let value = fields.secret_or_object(name)?;
            let value = required(&fields, name, value, &wanted)?;
            // As it is pasted.
            let value = value.expose().trim();
            if value.is_empty() || value.chars().count() > FIELD_CHARS_MAX {
                let why = format!("must have 1 to {FIELD_CHARS_MAX} characters: {wanted}");
                return Err(ApiError::invalid(fields.at(name), why));
            }
            kept.insert((*name).to_owned(), value.to_owned());
        }
        let kept = Kept {
            access: Access::read(&mut fields)?,
            callback: match M::CALLBACK_CHARS_MAX {
                Some(chars_max) => callback(&mut fields, chars_max)?,
                None => None,
            },
            fields: kept,
            rate: Rate::read(&mut fields)?,
            token_endpoint: match M::Protocol::TOKEN_ENDPOINT {
                Some(_) => token_endpoint(&mut fields)?,
                None => None,
            },
        };
        fields.finish_strictly()?;
        M::protocol(Given(&kept.fields))
            .map_err(|why| ApiError::new(Fault::Credential("unreadable"), why))?;
        let mut shown = json!({"expires_at": null});
        kept.access.show(&mut shown);
        // It holds the secret of the path.
        if M::CALLBACK_CHARS_MAX.is_some() {
            shown["has_callback"] = kept.callback.is_some().into();
        }
        let pace = Rate::over(kept.rate, M::Protocol::PACE);
        shown["rate"] = json!({
            "devices_per_second": pace.devices,
            "requests_per_second": pace.requests,
        });
        for Field { name, .. } in M::FIELDS.iter().filter(|field| !field.is_secret) {
            shown[*name] = kept.fields.get(*name).cloned().into();
        }
        Ok(Upload {
            plain: serde_json::to_vec(&kept).map_err(|error| ApiError::internal(error.into()))?,
            slots: vec![(None, shown)],
            world: None,
        })
    }

    fn check(&self, plain: Vec<u8>, _: Option<Environment>) -> BoxFuture<'static, Checked> {
        async move {
            let kept = serde_json::from_slice::<Kept>(&plain).map_err(|error| error.to_string());
            let config = match kept.and_then(|kept| kept.config::<M>()) {
                Ok(config) => config,
                Err(why) => return Checked::unusable(why),
            };
            match check(config).await {
                Ok(report) => checked::<M>(report),
                Err(error) => Checked::unusable(error.to_string()),
            }
        }
        .boxed()
    }

    fn can_be_the_credentials(&self, reason: &Reason) -> bool {
        M::OF_PHONES.contains(&reason.as_str())
    }

    fn rejected(&self, reason: &Reason) -> String {
        rejected::<M>(reason)
    }

    fn address(&self, fields: &mut Fields) -> Result<String, ApiError> {
        let token = fields.text("token")?;
        let token = required(fields, "token", token, M::ADDRESS)?;
        let is_address = (1..=ADDRESS_CHARS_MAX).contains(&token.len())
            && token
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';'));
        match is_address {
            true => Ok(token),
            false => Err(ApiError::invalid(
                fields.at("token"),
                format!(
                    "must be 1 to {ADDRESS_CHARS_MAX} printable ASCII characters without blanks and commas: {}",
                    M::ADDRESS
                ),
            )),
        }
    }

    fn receipts(&self) -> Option<Reader> {
        Some(M::RECEIPTS)
    }

    fn hands_messages(&self) -> bool {
        M::HANDS_MESSAGES
    }

    fn acts_on(&self) -> &'static [&'static str] {
        M::ACTS_ON
    }

    #[cfg(test)]
    fn rendered(&self, message: &Message) -> Option<String> {
        match M::render(message, None)? {
            Ok(notification) => Some(format!("{notification:?}")),
            Err(Unfit { text, .. }) => panic!("{text}: {message:?}"),
        }
    }

    /// What a maker would refuse goes the device's next way, so it is no reason to refuse the push.
    fn accepts(&self, _: &Push) -> Result<(), ApiError> {
        Ok(())
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
        let text = |name: &str| match &told[name] {
            Value::Object(file) => Some(Value::Object(file.clone()).to_string()),
            value => value.as_str().map(str::to_owned),
        };
        let fields = M::FIELDS.iter().filter_map(|field| {
            let value = text(field.name)?;
            Some((field.name.to_owned(), value))
        });
        let kept = Kept {
            access: Access {
                ca: text("ca"),
                endpoint: text("endpoint"),
                proxy: None,
            },
            callback: None,
            fields: fields.collect(),
            rate: None,
            token_endpoint: text("token_endpoint"),
        };
        Ok(serde_json::to_vec(&kept)?)
    }
}

impl<M: Maker> Sends for Adapted<M> {
    type Config = Config<M::Protocol>;
    /// Where receipts are to go.
    type Place = Option<String>;

    fn open(plain: &[u8], _: Option<Environment>) -> Result<(Self::Config, Option<String>)> {
        let kept: Kept = serde_json::from_slice(plain)?;
        let config = kept.config::<M>().map_err(anyhow::Error::msg)?;
        Ok((config, kept.callback))
    }

    fn render(
        message: &Message,
        callback: &Option<String>,
    ) -> Option<Result<<M::Protocol as Protocol>::Notification, Unfit>> {
        M::render(message, callback.as_deref())
    }
}

/// Where the maker is to send receipts: what `GET /v1/apps/{app_key}/callbacks` says.
fn callback(fields: &mut Fields, chars_max: usize) -> Result<Option<String>, ApiError> {
    const KEY: &str = "callback";
    let Some(url) = fields.text(KEY)?.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    if !is_url || url.len() > chars_max || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format!(
            "must be an address of https of at most {chars_max} characters, as GET /v1/apps/{{app_key}}/callbacks tells it"
        );
        return Err(ApiError::invalid(fields.at(KEY), why));
    }
    Ok(Some(url))
}

/// Why it refuses the credential.
fn rejected<M: Maker>(reason: &Reason) -> String {
    match M::words(reason.as_str()) {
        Some(words) => words::sentence_of(words),
        None => format!(
            "{} refuses the credential with {reason}; compare it with {}.",
            M::Protocol::NAME,
            M::CONSOLE
        ),
    }
}

/// What the provider says beside the question, in words.
fn undecided<M: Maker>(attempt: &Attempt) -> String {
    let name = M::Protocol::NAME;
    let known = match attempt {
        Attempt::Answered(outcome) => outcome
            .reason()
            .and_then(|reason| M::words(reason.as_str())),
        Attempt::NotSent(_) | Attempt::Unanswered(_) => None,
    };
    match known {
        Some(words) => words::sentence_of(words),
        None => format!(
            "{name} did not say whether it takes the credential ({attempt}); try again later."
        ),
    }
}

fn checked<M: Maker>(report: Report) -> Checked {
    let name = M::Protocol::NAME;
    let (result, reason, text) = match report.finding {
        Finding::Good => (
            CheckResult::Good,
            None,
            format!("{name} takes the credential."),
        ),
        Finding::Rejected(reason) => {
            let text = rejected::<M>(&reason);
            (CheckResult::Rejected, Some(reason), text)
        }
        Finding::Undecided(attempt) => {
            let reason = match &attempt {
                Attempt::Answered(outcome) => outcome.reason().cloned(),
                Attempt::NotSent(_) | Attempt::Unanswered(_) => None,
            };
            (CheckResult::Undecided, reason, undecided::<M>(&attempt))
        }
        Finding::Unreachable { cause, obstacle } => (
            CheckResult::Unreachable,
            None,
            words::unreachable(Whom::maker(name), obstacle, &cause.to_string()),
        ),
    };
    Checked {
        connecting: report.connecting,
        endpoint: Some(format!("https://{}", report.endpoint)),
        reason,
        result,
        text,
    }
}

/// What a maker would refuse of a message.
pub(super) fn unfit(error: NotificationError) -> Unfit {
    Unfit {
        reason: match error {
            NotificationError::TooLarge { .. } => Reason::known("PayloadTooLarge"),
            NotificationError::Empty(_) | NotificationError::OutOfRange { .. } => {
                Reason::known("BadPayload")
            }
        },
        text: error.to_string(),
    }
}
