//! Providers, platforms, and small sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that is none of those that are known; the text says which are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be one of: {0}")]
pub struct UnknownName(&'static str);

/// All variants of an enum and their names, said once.
macro_rules! named {
    ($type:ident { $first:ident = $first_name:literal $(, $variant:ident = $name:literal)* $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: [Self; [$first_name $(, $name)*].len()] = [Self::$first $(, Self::$variant)*];

            pub fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_name,
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let known = Self::ALL.into_iter().find(|known| known.name() == text);
                known.ok_or(UnknownName(concat!($first_name $(, ", ", $name)*)))
            }
        }
    };
}

/// A service that carries pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Apns,
    Hmos,
    Honor,
    Huawei,
    Meizu,
    Oppo,
    Vivo,
    Xiaomi,
    /// The last resort.
    Link,
}

named!(Provider {
    Apns = "apns",
    Hmos = "hmos",
    Honor = "honor",
    Huawei = "huawei",
    Meizu = "meizu",
    Oppo = "oppo",
    Vivo = "vivo",
    Xiaomi = "xiaomi",
    Link = "link",
});

/// What a provider is, said once for everyone who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Its worlds, each with its own addresses and credential; none when there is only one.
    pub environments: &'static [Environment],
    /// It has a word that it says of dead addresses only. Else what it says of them can always be the credential's fault, too.
    pub has_word_for_dead: bool,
    /// The devices that can have an address there.
    pub platforms: PlatformSet,
    /// As sentences name it.
    pub title: &'static str,
}

impl Provider {
    pub fn nature(self) -> Nature {
        match self {
            Self::Apns => Nature {
                environments: &Environment::ALL,
                has_word_for_dead: true,
                platforms: PlatformSet::of(&[Platform::Ios]),
                title: "Apple",
            },
            Self::Hmos => Nature {
                environments: &[],
                has_word_for_dead: true,
                platforms: PlatformSet::of(&[Platform::Hmos]),
                title: "Huawei (HarmonyOS)",
            },
            Self::Honor => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "Honor",
            },
            Self::Huawei => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "Huawei",
            },
            Self::Meizu => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "Meizu",
            },
            Self::Oppo => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "OPPO",
            },
            Self::Vivo => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "vivo",
            },
            Self::Xiaomi => Nature {
                environments: &[],
                has_word_for_dead: false,
                platforms: PlatformSet::of(&[Platform::Android]),
                title: "Xiaomi",
            },
            Self::Link => Nature {
                environments: &[],
                has_word_for_dead: true,
                platforms: PlatformSet::ALL,
                title: "the link",
            },
        }
    }

    /// Its worlds as lanes, credentials and pages have them: none is the only one.
    pub fn worlds(self) -> impl Iterator<Item = Option<Environment>> + Clone {
        let environments = self.nature().environments;
        let only = environments.is_empty().then_some(None);
        only.into_iter()
            .chain(environments.iter().copied().map(Some))
    }

    /// Whether a delivery goes to it by page and broker, with an address and a credential; the link has inboxes and a log
    /// instead.
    pub fn is_remote(self) -> bool {
        !matches!(self, Self::Link)
    }
}

/// Which of a provider's worlds an address or a credential belongs to; only APNs has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Production,
    Sandbox,
}

named!(Environment {
    Production = "production",
    Sandbox = "sandbox",
});

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

named!(Platform {
    Android = "android",
    Hmos = "hmos",
    Ios = "ios",
    Web = "web",
    Windows = "windows",
});

/// A set of platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlatformSet(u8);

impl PlatformSet {
    pub const ALL: Self = Self(0b1_1111);

    /// Some of them.
    pub const fn of(platforms: &[Platform]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < platforms.len() {
            bits |= 1 << platforms[at] as u8;
            at += 1;
        }
        Self(bits)
    }

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

    /// Those that are in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as a number, for the store; a platform's bit never changes.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of that number; bits of no platform are left out.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
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
pub struct ProviderSet(u16);

// Each provider has a bit.
const _: () = assert!(Provider::ALL.len() <= u16::BITS as usize);

impl ProviderSet {
    pub fn contains(self, provider: Provider) -> bool {
        self.0 & (1 << provider as u16) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Provider> {
        Provider::ALL
            .into_iter()
            .filter(move |provider| self.contains(*provider))
    }

    /// Those that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Provider> for ProviderSet {
    fn from_iter<I: IntoIterator<Item = Provider>>(providers: I) -> Self {
        Self(
            providers
                .into_iter()
                .fold(0, |bits, provider| bits | 1 << provider as u16),
        )
    }
}
