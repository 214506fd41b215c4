//! What a client needs to be let in: the same at each start.

use std::io;

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::KeyPair;

use serde_json::{Map, Value};

use crate::apns::token::TokenKeys;
use crate::authority::Authority;
use crate::clients::Clients;
use crate::provider::Provider;

const TOKEN_KEY: &str = include_str!("../identity/token.pem");
const KEY_ID: &str = "SANDBOXKEY";
const TEAM_ID: &str = "SANDBOXTEM";
const PASSWORD: &str = "sandbox";

/// Credentials for the simulated providers. They open nothing else, so they may be shown.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The certificate authority of the sandbox, PEM.
    pub ca: String,
    pub apns: ApnsCredentials,
}

/// Both ways to authenticate at the simulated APNs.
#[derive(Clone, Debug)]
pub struct ApnsCredentials {
    /// Token signing key, PKCS #8 in PEM, as in Apple's `.p8` files.
    pub p8: String,
    pub key_id: String,
    pub team_id: String,
    /// Push certificate for `topic` and its key, PKCS #12.
    pub p12: Vec<u8>,
    pub password: String,
    /// The one topic of the certificate; the token key is good for every topic.
    pub topic: String,
}

impl Credentials {
    /// By provider its credential fields, `endpoint` and, where it has one, `token_endpoint`, for a sandbox at `url`.
    /// With `ca` they are what a sender needs.
    pub fn by_provider(&self, url: &str) -> Map<String, Value> {
        Provider::ALL
            .iter()
            .map(|provider| {
                let fields = (provider.simulator().credentials)(self, url);
                (provider.name().to_owned(), fields)
            })
            .collect()
    }

    /// Makes the credentials and registers the token key.
    pub(crate) fn new(
        authority: &Authority,
        token_keys: &TokenKeys,
        topic: &str,
    ) -> io::Result<Self> {
        let key = KeyPair::from_pem(TOKEN_KEY).map_err(io::Error::other)?;
        token_keys
            .register(KEY_ID, TEAM_ID, key.public_key_raw())
            .map_err(io::Error::other)?;
        Ok(Self {
            ca: authority.pem(),
            apns: ApnsCredentials {
                p8: key.serialize_pem(),
                key_id: KEY_ID.to_owned(),
                team_id: TEAM_ID.to_owned(),
                p12: p12(authority, topic)?,
                password: PASSWORD.to_owned(),
                topic: topic.to_owned(),
            },
        })
    }
}

impl Credentials {
    /// The makers' clients that are known from the start.
    pub(crate) fn clients() -> Clients {
        let clients = Clients::default();
        for provider in Provider::ALL {
            if let Some((id, secret)) = provider.simulator().client {
                clients.admits(*provider, id, secret);
            }
        }
        clients
    }
}

fn p12(authority: &Authority, topic: &str) -> io::Result<Vec<u8>> {
    let identity = authority.push(topic).map_err(io::Error::other)?;
    let key = PrivateKey::from_der(identity.key.secret_der()).map_err(io::Error::other)?;
    let certificate = Certificate::from_der(&identity.certificate).map_err(io::Error::other)?;
    let chain = PrivateKeyChain::new("push", key, [certificate]);
    let mut store = KeyStore::new();
    store.add_entry("push", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer(PASSWORD).write().map_err(io::Error::other)
}
