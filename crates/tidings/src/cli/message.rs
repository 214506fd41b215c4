//! `tidings message`.

use anyhow::Result;
use clap::Subcommand;
use tidings_model::{DeviceId, MsgId};

use super::AdminRemote;

#[derive(Debug, Subcommand)]
pub(crate) enum MessageVerb {
    /// Show how far a message is, or why it did or did not reach a device
    Show {
        #[arg(value_name = "MSG_ID")]
        message: MsgId,
        /// The device in question
        #[arg(long, value_name = "REGISTRATION_ID")]
        device: Option<DeviceId>,
        #[command(flatten)]
        remote: AdminRemote,
    },
}

impl MessageVerb {
    pub(super) async fn answer(self) -> Result<String> {
        let Self::Show {
            message,
            device,
            remote,
        } = self;
        let path = match device {
            Some(device) => format!("/v1/messages/{message}/devices/{device}"),
            None => format!("/v1/messages/{message}"),
        };
        let reply = remote.client()?.get(&path).await?;
        Ok(remote.output().record(&reply))
    }
}
