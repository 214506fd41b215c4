//! What is kept of an APNs credential.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidings_model::{Environment, Secret};
use tidings_providers::apns::{Config, Credential, CredentialError};

use crate::providers::access::Access;

/// What is kept of an APNs credential: the file as it was uploaded, and where it is used. Does not print its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ApnsCredential {
    #[serde(flatten)]
    pub(crate) access: Access,
    pub(crate) file: ApnsFile,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApnsFile {
    P12 {
        base64: String,
        password: String,
    },
    P8 {
        key_id: String,
        pem: String,
        team_id: String,
    },
}

impl fmt::Debug for ApnsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsCredential")
            .field("endpoint", &self.access.endpoint)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl ApnsFile {
    pub(crate) fn p12(der: &[u8], password: &Secret) -> Self {
        Self::P12 {
            base64: STANDARD.encode(der),
            password: password.expose().to_owned(),
        }
    }

    /// The credential itself.
    pub(crate) fn open(&self) -> Result<Credential, CredentialError> {
        match self {
            Self::P12 { base64, password } => {
                Credential::from_p12(&STANDARD.decode(base64).unwrap_or_default(), password)
            }
            Self::P8 {
                key_id,
                pem,
                team_id,
            } => Credential::from_p8(pem.as_bytes(), key_id, team_id),
        }
    }
}

impl ApnsCredential {
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// How to send with it.
    pub(crate) fn config(&self, environment: Environment) -> Result<Config, CredentialError> {
        let mut config = Config::new(self.file.open()?, environment);
        config.topic.clone_from(&self.topic);
        config.endpoint.clone_from(&self.access.endpoint);
        config.proxy = self.access.tunnel();
        config.ca = self.access.roots();
        Ok(config)
    }
}
