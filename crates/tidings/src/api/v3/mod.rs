//! JPush's REST API, version 3.

pub(crate) mod audience;
pub(crate) mod body;
pub(crate) mod notification;
pub(crate) mod options;
pub(crate) mod reply;
