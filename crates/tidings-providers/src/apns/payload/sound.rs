//! What a notification sounds like.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{PayloadError, check_unit};

/// The system's own sound.
/// What is heard. A file is in the app's bundle or in its `Library/Sounds`. Apple, table 3 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, PartialEq)]
pub enum Sound {
    /// Heard even when the phone is silent; the app needs Apple's entitlement.
    Critical {
        /// A file in the app, or `default`.
        name: String,
        /// 0 (silent) to 1 (full); none leaves it to the phone.
        volume: Option<f64>,
    },
    /// A file in the app, or `default`.
    Named(String),
}

impl Sound {
    /// A sound that breaks through silence, at `volume`: 0 to 1, else [`Payload::encode`](super::Payload::encode)
    /// refuses it.
    pub fn critical(name: impl Into<String>, volume: f64) -> Self {
        Self::Critical {
            name: name.into(),
            volume: Some(volume),
        }
    }

    pub(super) fn check(&self) -> Result<(), PayloadError> {
        match self {
            Self::Critical { volume, .. } => check_unit("aps.sound.volume", *volume),
            Self::Named(_) => Ok(()),
        }
    }
}

impl Serialize for Sound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Critical { name, volume } => {
                let mut parts = serializer.serialize_map(None)?;
                parts.serialize_entry("critical", &1)?;
                parts.serialize_entry("name", name)?;
                if let Some(volume) = volume {
                    parts.serialize_entry("volume", volume)?;
                }
                parts.end()
            }
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}
