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

    /// Whether a device is in it.
    pub fn contains(&self, device: DeviceId, alias: Option<&Alias>, tags: &[Tag]) -> bool {
        let Self::Selection(selection) = self else {
            return true;
        };
        let by_device = selection.devices.is_empty() || selection.devices.contains(&device);
        let by_alias = selection.aliases.is_empty()
            || alias.is_some_and(|alias| selection.aliases.contains(alias));
        let by_tag =
            selection.tags.is_empty() || selection.tags.iter().any(|tag| tags.contains(tag));
        by_device && by_alias && by_tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_alternatives_inside_and_conditions_between() {
        let tag = |text: &str| text.parse::<Tag>().expect("a tag");
        let alias: Alias = "ann".parse().expect("an alias");
        let audience = Audience::Selection(Selection {
            aliases: vec![alias.clone()],
            devices: vec![],
            tags: vec![tag("a"), tag("b")],
        });
        assert!(audience.contains(DeviceId(1), Some(&alias), &[tag("b"), tag("c")]));
        assert!(!audience.contains(DeviceId(1), Some(&alias), &[tag("c")]));
        assert!(!audience.contains(DeviceId(1), None, &[tag("a")]));
        assert!(Audience::All.contains(DeviceId(1), None, &[]));
    }
}
