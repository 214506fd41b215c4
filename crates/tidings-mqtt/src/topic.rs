//! The topics of the link, and the grammar of topic names and filters (section 4.7).

/// The topic on which every message reaches a device.
pub const PUSH_TOPIC: &str = "push";

/// A topic on which a device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceTopic {
    /// What became of messages: opened, dismissed, received.
    Event,
    /// A change of the device's own record.
    Profile,
}

impl DeviceTopic {
    /// The topic named `name`, which is compared byte by byte [MQTT-4.7.3-4].
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "event" => Some(Self::Event),
            "profile" => Some(Self::Profile),
            _ => None,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Profile => "profile",
        }
    }
}

/// Whether a filter stands for `push`: the topic itself or everything.
pub(crate) fn covers_push(filter: &str) -> bool {
    filter == PUSH_TOPIC || filter == "#"
}

pub(crate) fn has_wildcard(topic: &str) -> bool {
    topic.bytes().any(|byte| matches!(byte, b'#' | b'+'))
}

/// Whether this is a shared subscription (section 4.8.2).
pub(crate) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// Whether a filter is well formed: not empty, `+` alone in its level, `#` alone in the last one [MQTT-4.7.1-1, 4.7.1-2].
pub(crate) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let valid = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !has_wildcard(level),
        };
        if !valid {
            return false;
        }
    }
    !filter.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_well_formed_or_not() {
        for filter in [
            "#",
            "+",
            "/",
            "push",
            "a/+/b",
            "a/#",
            "+/+",
            "/#",
            "$share/g/a",
        ] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "#/a", "a+", "+a", "a/b#", "a/#/b", "##"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }

    #[test]
    fn device_topics_are_found_by_their_own_names() {
        for topic in [DeviceTopic::Event, DeviceTopic::Profile] {
            assert_eq!(DeviceTopic::from_name(topic.name()), Some(topic));
        }
        for name in ["", "Event", "event/", "push"] {
            assert_eq!(DeviceTopic::from_name(name), None, "{name}");
        }
    }
}
