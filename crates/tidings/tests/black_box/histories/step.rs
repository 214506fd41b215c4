//! What can happen in a history. Steps name devices, tokens and messages by small numbers; one that names what is not there does
//! nothing, so any of them can be left out of a history.

use serde::{Deserialize, Serialize};

/// The aliases and tags that devices have and pushes ask for.
pub(super) const LABELS: u8 = 3;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Step {
    /// From now on the phone answers so, also what it has not answered yet.
    Answer {
        device: u8,
        answer: Answer,
    },
    /// Absent: stays as it is.
    Change {
        device: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<Vec<u8>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Channels>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tags: Option<Vec<u8>>,
    },
    /// A phone that is there already comes a second time.
    Connect {
        device: u8,
        answer: Answer,
        /// The largest packet that it takes, on MQTT 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packet_max: Option<u32>,
        version: u8,
    },
    Counts {
        message: u8,
    },
    /// The phone's connection ends without a word.
    Cut {
        device: u8,
    },
    Delete {
        device: u8,
    },
    Disconnect {
        device: u8,
    },
    /// The next request to this token is answered with this status.
    Fault {
        token: u8,
        status: u16,
    },
    Opened {
        device: u8,
        message: u8,
    },
    Pause {
        ms: u16,
    },
    Push(Push),
    /// A device that is there already, and proves it, comes again.
    Register {
        device: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<u8>,
        channels: Channels,
        platform: Platform,
        proof: bool,
        tags: Vec<u8>,
    },
    /// The app is removed from, or put back on, the iPhone that has this token.
    Token {
        token: u8,
        installed: bool,
    },
    Verdict {
        device: u8,
        message: u8,
    },
}

/// What a phone does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Acknowledge,
    /// PUBACK with this reason code; takes MQTT 5.
    Refuse(u8),
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Channels {
    pub(super) link: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) environment: Environment,
    pub(super) number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Environment {
    Production,
    Sandbox,
    Unsaid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Platform {
    Android,
    Hmos,
    Ios,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Push {
    pub(super) audience: Audience,
    /// Longer than the phones with a limit take.
    pub(super) big: bool,
    pub(super) message: bool,
    pub(super) notification: bool,
    /// Empty: all.
    pub(super) platforms: Vec<Platform>,
    pub(super) time_to_live: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Audience {
    Aliases(Vec<u8>),
    All,
    Devices(Vec<u8>),
    Tags(Vec<u8>),
}

impl Environment {
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Production => Some("production"),
            Self::Sandbox => Some("sandbox"),
            Self::Unsaid => None,
        }
    }
}

impl Platform {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Android => "android",
            Self::Hmos => "hmos",
            Self::Ios => "ios",
        }
    }
}
