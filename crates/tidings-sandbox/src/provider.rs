//! The providers that the sandbox simulates: the one place that lists them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::device_token::{BadDeviceToken, DeviceToken};
use crate::simulator::{Calls, Simulator};
use crate::{apns, hmos, honor, huawei, meizu, oppo, vivo, xiaomi};

macro_rules! providers {
    ($($provider:ident = $module:ident),+ $(,)?) => {
        /// A provider whose wire protocol the sandbox serves. Its module is of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Provider {
            $($provider),+
        }

        impl Provider {
            pub const ALL: &[Self] = &[$(Self::$provider),+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$provider => stringify!($module)),+
                }
            }

            pub(crate) fn simulator(self) -> &'static Simulator {
                match self {
                    $(Self::$provider => &$module::SIMULATOR),+
                }
            }
        }
    };
}

providers! {
    Apns = apns,
    Hmos = hmos,
    Honor = honor,
    Huawei = huawei,
    Meizu = meizu,
    Oppo = oppo,
    Vivo = vivo,
    Xiaomi = xiaomi,
}

/// A provider that the sandbox does not simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownProvider;

impl Provider {
    /// The address of a phone, as this provider writes it.
    pub fn token(self, text: &str) -> Result<DeviceToken, BadDeviceToken> {
        (self.simulator().token)(text)
    }

    /// The calls that a path belongs to; none for APNs' paths and those that nobody has.
    pub(crate) fn calls_at(path: &str) -> Option<&'static Calls> {
        // The way of most requests.
        if path.starts_with("/3/") {
            return None;
        }
        Self::ALL
            .iter()
            .filter_map(|provider| provider.simulator().calls.as_ref())
            .find(|calls| (calls.owns)(path))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sandbox simulates:")?;
        Provider::ALL
            .iter()
            .try_for_each(|provider| write!(f, " {provider}"))
    }
}

impl std::error::Error for UnknownProvider {}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        let named = |provider: &Self| provider.name() == name;
        Self::ALL.iter().copied().find(named).ok_or(UnknownProvider)
    }
}

impl Serialize for Provider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
