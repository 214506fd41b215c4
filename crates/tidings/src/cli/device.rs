//! `tidings device`.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use tidings_model::DeviceId;

use super::AdminRemote;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// Show a device
    Show {
        #[arg(value_name = "REGISTRATION_ID")]
        device: DeviceId,
        #[command(flatten)]
        remote: AdminRemote,
    },
    /// Forget a device and all its data
    Delete {
        #[arg(value_name = "REGISTRATION_ID")]
        device: DeviceId,
        #[command(flatten)]
        remote: AdminRemote,
    },
}

impl DeviceVerb {
    pub(super) async fn answer(self) -> Result<String> {
        match self {
            Self::Show { device, remote } => {
                let reply = remote
                    .client()?
                    .get(&format!("/v1/devices/{device}"))
                    .await?;
                Ok(remote.output().record(&reply))
            }
            Self::Delete { device, remote } => {
                let path = format!("/v1/devices/{device}");
                let reply = remote.client()?.call(Method::DELETE, &path, None).await?;
                Ok(remote
                    .output()
                    .said(&reply, &format!("forgot device {device}")))
            }
        }
    }
}
