//! Which phones are gone. Every token of the right form is an installed phone until the sandbox is told otherwise.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use thiserror::Error;

use crate::device_token::DeviceToken;
use crate::limits::PHONES_MAX;
use crate::provider::Provider;

/// What the sandbox has been told about one phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// Milliseconds since the Unix epoch at which the app was removed; none while it is installed.
    pub uninstalled_since: Option<i64>,
    /// The app that the token belongs to, as the provider calls it (APNs: topic; Huawei: app id); any when none.
    pub topic: Option<String>,
}

/// More phones than the sandbox keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the sandbox keeps the state of {PHONES_MAX} phones at most; set some back to installed")]
pub struct TooManyPhones;

/// The phones that differ from the rule.
#[derive(Debug, Default)]
pub struct Phones {
    told: RwLock<HashMap<(Provider, DeviceToken), Phone>>,
}

impl Phones {
    /// Sets the state of a phone; an installed one of any topic needs no memory.
    pub fn put(
        &self,
        provider: Provider,
        token: DeviceToken,
        phone: Phone,
    ) -> Result<(), TooManyPhones> {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        let key = (provider, token);
        if phone == Phone::default() {
            told.remove(&key);
            return Ok(());
        }
        if told.len() >= PHONES_MAX && !told.contains_key(&key) {
            return Err(TooManyPhones);
        }
        told.insert(key, phone);
        Ok(())
    }

    /// What is known of a phone, which is nothing for most.
    pub fn look_up(&self, provider: Provider, token: &DeviceToken) -> Option<Phone> {
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        if told.is_empty() {
            return None;
        }
        told.get(&(provider, token.clone())).cloned()
    }
}
