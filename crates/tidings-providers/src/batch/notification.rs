//! What a maker would refuse of a message, found out before it is sent.

use thiserror::Error;

/// What is wrong, by the maker's own names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// It is needed.
    #[error("{0}: is empty, and nothing is shown without it")]
    Empty(&'static str),
    /// Not as the maker's page says.
    #[error("{field}: {value} is not {range}")]
    OutOfRange {
        /// By the maker's name.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        range: &'static str,
    },
    /// More bytes than the maker takes.
    #[error("the message has {len} bytes; {max} are taken")]
    TooLarge {
        /// How many there are, addresses left out.
        len: usize,
        /// How many there may be.
        max: usize,
    },
}

impl NotificationError {
    pub(crate) fn out_of_range(
        field: &'static str,
        value: impl Into<String>,
        range: &'static str,
    ) -> Self {
        Self::OutOfRange {
            field,
            value: value.into(),
            range,
        }
    }
}
