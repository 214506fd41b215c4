//! What each provider is for the product: its credential as a back end's operator gives it, its addresses as devices register
//! them, and a message as its devices get it. How it is spoken to stands in tidings-providers.

pub(crate) mod access;
mod android;
pub(crate) mod apns;
mod hmos;
mod honor;
mod huawei;
mod maker;
mod meizu;
mod oppo;
mod vivo;
mod xiaomi;

use anyhow::Result;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tidings_model::{Environment, Provider, Push, Reason, Spent};

use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::credentials::Checked;
use crate::dispatch::Carrier;
use crate::receipts::Reader;
use maker::Adapted;
pub(crate) use maker::Field;

/// A provider to which deliveries go with an address and a credential.
pub(crate) trait Adapter: Sync {
    /// The fields of its credential, where those are texts from its console; empty where there is more to it.
    fn fields(&self) -> &'static [Field] {
        &[]
    }

    /// Reads the body of `PUT …/credentials/{provider}` and checks what can be known without asking the provider. May take a
    /// while.
    fn credential(&self, fields: Fields) -> Result<Upload, ApiError>;

    /// Asks the provider whether it takes a stored credential. Takes 15 s at most, and delivers nothing.
    fn check(&self, plain: Vec<u8>, world: Option<Environment>) -> BoxFuture<'static, Checked>;

    /// Whether a reason was said of phones and can be the credential's fault: a check, which asks of none, cannot refute it.
    fn can_be_the_credentials(&self, reason: &Reason) -> bool;

    /// A reason for which the provider refuses a credential, in words: what is wrong, and what to do.
    fn rejected(&self, reason: &Reason) -> String;

    /// Reads an address from a channel of a device, and gives it in the form in which equal ones are the same.
    fn address(&self, fields: &mut Fields) -> Result<String, ApiError>;

    /// The fields of what a push says to this provider alone, `third_party_channel.{provider}`, that it acts on.
    fn acts_on(&self) -> &'static [&'static str];

    /// Whether it hands custom messages to the app, where a push says so.
    fn hands_messages(&self) -> bool {
        false
    }

    /// What its phones get of a message, to be compared; none when it has nothing for them.
    #[cfg(test)]
    fn rendered(&self, message: &tidings_model::Message) -> Option<String>;

    /// How its receipts are read; none when it sends none.
    fn receipts(&self) -> Option<Reader>;

    /// Refuses a push that the provider would refuse for its own sake, so that nothing has to be refused later.
    fn accepts(&self, push: &Push) -> Result<(), ApiError>;

    /// Starts what sends with a stored credential, of which these quotas are used up.
    fn carrier(
        &self,
        plain: Vec<u8>,
        world: Option<Environment>,
        spent: Vec<Spent>,
    ) -> BoxFuture<'static, Result<Box<dyn Carrier>>>;

    /// What is stored of the credential that the sandbox tells, for apps that have none: its fields, address and roots.
    fn sandbox(&self, told: &Value) -> Result<Vec<u8>>;
}

/// A credential that was uploaded and is good as far as is known here.
#[derive(Debug)]
pub(crate) struct Upload {
    /// What is sealed.
    pub(crate) plain: Vec<u8>,
    /// The worlds that it is for, and what may be shown of it in each.
    pub(crate) slots: Vec<(Option<Environment>, Value)>,
    /// The world that it was uploaded for; none is all of them.
    pub(crate) world: Option<Environment>,
}

/// What the product knows of a provider; none of the link, which is here.
pub(crate) fn adapter(provider: Provider) -> Option<&'static dyn Adapter> {
    match provider {
        Provider::Apns => Some(&apns::Apns),
        Provider::Hmos => Some(&Adapted::<hmos::OfHmos>::NEW),
        Provider::Honor => Some(&Adapted::<honor::OfHonor>::NEW),
        Provider::Huawei => Some(&Adapted::<huawei::OfHuawei>::NEW),
        Provider::Meizu => Some(&Adapted::<meizu::OfMeizu>::NEW),
        Provider::Oppo => Some(&Adapted::<oppo::OfOppo>::NEW),
        Provider::Vivo => Some(&Adapted::<vivo::OfVivo>::NEW),
        Provider::Xiaomi => Some(&Adapted::<xiaomi::OfXiaomi>::NEW),
        Provider::Link => None,
    }
}

/// Those that there are.
pub(crate) fn adapters() -> impl Iterator<Item = (Provider, &'static dyn Adapter)> {
    let all = Provider::ALL.into_iter();
    all.filter_map(|provider| Some((provider, adapter(provider)?)))
}

#[cfg(test)]
mod tests;
