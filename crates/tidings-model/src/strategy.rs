//! In which order a provider and the link have a notification for a device that has both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Provider;

/// What an app, or a push, wants of one provider.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The link for whoever is connected, the provider for the others, and after a while the provider for whoever has not
    /// acknowledged. JPush's `secondary_push`.
    LinkIfConnected,
    /// The link, and after a while the provider for whoever has not acknowledged. `options.tidings.fallback`.
    LinkFirst,
    /// As if the device had no channel of the provider. JPush's `jpush`.
    LinkOnly,
    /// The provider, and the link where that way ends before the provider has taken it. JPush's `first_ospush`.
    #[default]
    ProviderFirst,
    /// The provider, and nothing else. JPush's `ospush`.
    ProviderOnly,
}

impl Strategy {
    /// Those that JPush has a word for.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("first_ospush", Self::ProviderFirst),
        ("jpush", Self::LinkOnly),
        ("ospush", Self::ProviderOnly),
        ("secondary_push", Self::LinkIfConnected),
    ];

    /// The one of JPush's word.
    pub fn named(name: &str) -> Option<Self> {
        let mut named = Self::NAMED.into_iter();
        named.find_map(|(known, strategy)| (known == name).then_some(strategy))
    }

    /// JPush's word; none for what only Tidings has.
    pub fn name(self) -> Option<&'static str> {
        let mut named = Self::NAMED.into_iter();
        named.find_map(|(name, strategy)| (strategy == self).then_some(name))
    }

    /// Whether the link may have it before the provider.
    pub fn is_link_first(self) -> bool {
        matches!(self, Self::LinkIfConnected | Self::LinkFirst)
    }
}

/// What an app wants where a push does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// Of the providers that are not named.
    pub default: Strategy,
    pub of: BTreeMap<Provider, Strategy>,
}

impl Preference {
    pub fn of(&self, provider: Provider) -> Strategy {
        self.of.get(&provider).copied().unwrap_or(self.default)
    }
}

/// One for each provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<Provider, Strategy>",
    into = "BTreeMap<Provider, Strategy>"
)]
pub struct Strategies([Strategy; Provider::ALL.len()]);

impl Strategies {
    pub fn of(&self, provider: Provider) -> Strategy {
        self.0[provider as usize]
    }

    pub fn set(&mut self, provider: Provider, strategy: Strategy) {
        self.0[provider as usize] = strategy;
    }

    /// Those providers for which the link may have it first.
    pub fn link_first(&self) -> impl Iterator<Item = Provider> {
        let all = Provider::ALL.into_iter();
        all.filter(|provider| self.of(*provider).is_link_first())
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<BTreeMap<Provider, Strategy>> for Strategies {
    fn from(of: BTreeMap<Provider, Strategy>) -> Self {
        let mut all = Self::default();
        for (provider, strategy) in of {
            all.set(provider, strategy);
        }
        all
    }
}

impl From<Strategies> for BTreeMap<Provider, Strategy> {
    fn from(all: Strategies) -> Self {
        let of = Provider::ALL.into_iter();
        let of = of.map(|provider| (provider, all.of(provider)));
        of.filter(|(_, strategy)| *strategy != Strategy::default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_stored() {
        let mut all = Strategies::default();
        assert_eq!(serde_json::to_string(&all).ok().as_deref(), Some("{}"));
        all.set(Provider::Huawei, Strategy::LinkFirst);
        let stored = serde_json::to_string(&all).expect("JSON");
        assert_eq!(stored, r#"{"huawei":"link_first"}"#);
        assert_eq!(serde_json::from_str::<Strategies>(&stored).ok(), Some(all));
        assert_eq!(all.link_first().collect::<Vec<_>>(), [Provider::Huawei]);
    }
}
