//! Providers, platforms, and small sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A service that carries pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Apns,
    Link,
}

impl Provider {
    pub const ALL: [Self; 2] = [Self::Apns, Self::Link];

    pub fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Link => "link",
        }
    }
}

/// Which of a provider's worlds an address or a credential belongs to; only APNs has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Production,
    Sandbox,
}

impl Environment {
    pub const ALL: [Self; 2] = [Self::Production, Self::Sandbox];

    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// What kind of device an app is installed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Android,
    Hmos,
    Ios,
    Web,
    Windows,
}

impl Platform {
    pub const ALL: [Self; 5] = [
        Self::Android,
        Self::Hmos,
        Self::Ios,
        Self::Web,
        Self::Windows,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Android => "android",
            Self::Hmos => "hmos",
            Self::Ios => "ios",
            Self::Web => "web",
            Self::Windows => "windows",
        }
    }
}

/// A name that is none of those that are known; the text says which are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be one of: {0}")]
pub struct UnknownName(&'static str);

macro_rules! named {
    ($type:ty, [$($variant:path),+], $names:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                [$($variant),+].into_iter().find(|known| known.name() == text).ok_or(UnknownName($names))
            }
        }
    };
}

named!(Provider, [Self::Apns, Self::Link], "apns, link");
named!(
    Environment,
    [Self::Production, Self::Sandbox],
    "production, sandbox"
);
named!(
    Platform,
    [
        Self::Android,
        Self::Hmos,
        Self::Ios,
        Self::Web,
        Self::Windows
    ],
    "android, hmos, ios, web, windows"
);

/// A set of platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlatformSet(u8);

impl PlatformSet {
    pub const ALL: Self = Self(0b1_1111);

    pub fn contains(self, platform: Platform) -> bool {
        self.0 & (1 << platform as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Platform> {
        Platform::ALL
            .into_iter()
            .filter(move |platform| self.contains(*platform))
    }
}

impl FromIterator<Platform> for PlatformSet {
    fn from_iter<I: IntoIterator<Item = Platform>>(platforms: I) -> Self {
        Self(
            platforms
                .into_iter()
                .fold(0, |bits, platform| bits | 1 << platform as u8),
        )
    }
}

/// A set of providers: those by which a device can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderSet(u8);

impl ProviderSet {
    pub fn contains(self, provider: Provider) -> bool {
        self.0 & (1 << provider as u8) != 0
    }
}

impl FromIterator<Provider> for ProviderSet {
    fn from_iter<I: IntoIterator<Item = Provider>>(providers: I) -> Self {
        Self(
            providers
                .into_iter()
                .fold(0, |bits, provider| bits | 1 << provider as u8),
        )
    }
}
