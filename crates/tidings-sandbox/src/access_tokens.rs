//! The access tokens that the makers' token calls have given out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::ACCESS_TOKENS_MAX;
use crate::provider::Provider;

/// Every access token, the newest up to a bound.
#[derive(Debug, Default)]
pub struct AccessTokens(Mutex<Tokens>);

#[derive(Debug, Default)]
struct Tokens {
    given: HashMap<Arc<str>, Given>,
    order: VecDeque<Arc<str>>,
    issued: HashMap<Provider, u64>,
}

#[derive(Debug)]
struct Given {
    provider: Provider,
    client: Box<str>,
    until_ms: i64,
}

/// Why an access token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadAccessToken {
    Expired,
    Unknown,
}

impl AccessTokens {
    pub(crate) fn give(&self, provider: Provider, client: &str, text: &str, until_ms: i64) {
        let mut tokens = self.lock();
        if tokens.order.len() >= ACCESS_TOKENS_MAX
            && let Some(oldest) = tokens.order.pop_front()
        {
            tokens.given.remove(&oldest);
        }
        let text = Arc::<str>::from(text);
        let given = Given {
            provider,
            client: client.into(),
            until_ms,
        };
        tokens.order.push_back(Arc::clone(&text));
        tokens.given.insert(text, given);
        *tokens.issued.entry(provider).or_default() += 1;
    }

    /// The client that a token was given to.
    pub(crate) fn client(
        &self,
        provider: Provider,
        text: &str,
        now_ms: i64,
    ) -> Result<Box<str>, BadAccessToken> {
        match self.lock().given.get(text) {
            Some(given) if given.provider != provider => Err(BadAccessToken::Unknown),
            Some(given) if given.until_ms <= now_ms => Err(BadAccessToken::Expired),
            Some(given) => Ok(given.client.clone()),
            None => Err(BadAccessToken::Unknown),
        }
    }

    /// How many a provider has given out since the start.
    pub fn issued(&self, provider: Provider) -> u64 {
        self.lock().issued.get(&provider).copied().unwrap_or(0)
    }

    /// Lets all of a provider's tokens expire now.
    pub fn expire(&self, provider: Provider) {
        for given in self.lock().given.values_mut() {
            if given.provider == provider {
                given.until_ms = i64::MIN;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
