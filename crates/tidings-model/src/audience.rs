//! Who a push is for.

use serde::{Deserialize, Serialize};

use crate::{Alias, DeviceId, Tag};

/// Who a push is for, before its platforms narrow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Every device of the app.
    All,
    Selection(Selection),
}

/// Devices that meet every list that is not empty; within one list, one entry is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// At most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
    /// At most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// At most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl Selection {
    pub const ALIASES_MAX: usize = 1000;
    pub const DEVICES_MAX: usize = 1000;
    pub const TAGS_MAX: usize = 20;
}

impl Audience {
    /// Whether it can be matched against a device that connects, as one entry of the app's log (everyone and tags),
    /// or else is a bounded list of devices that get an inbox row each.
    pub fn is_logged(&self) -> bool {
        match self {
            Self::All => true,
            Self::Selection(selection) => {
                selection.aliases.is_empty() && selection.devices.is_empty()
            }
        }
    }
}
