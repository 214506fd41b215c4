//! The providers that the sandbox simulates.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// A provider whose wire protocol the sandbox serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    Apns,
}

/// A provider that the sandbox does not simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the sandbox simulates: apns")]
pub struct UnknownProvider;

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        match name {
            "apns" => Ok(Self::Apns),
            _ => Err(UnknownProvider),
        }
    }
}

impl Serialize for Provider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
