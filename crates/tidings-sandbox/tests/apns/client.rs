//! A bare HTTP/2 client, which can also send what no sender should.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use h2::client::SendRequest;
use http::request::Builder;
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tidings_sandbox::{Sandbox, SandboxConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

pub(crate) const TOPIC: &str = "com.example.app";
pub(crate) const PAYLOAD: &str = r#"{"aps":{"alert":"hello"}}"#;

pub(crate) async fn sandbox() -> Sandbox {
    sandbox_with(SandboxConfig::default()).await
}

pub(crate) async fn sandbox_with(config: SandboxConfig) -> Sandbox {
    Sandbox::start(config).await.expect("the sandbox starts")
}

/// A device token of the right form; different for each byte.
pub(crate) fn token(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

pub(crate) fn now_secs() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_secs().try_into().unwrap()
}

/// A key that signs provider tokens.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    key_id: String,
    team_id: String,
}

impl Signer {
    /// The key that the sandbox made.
    pub(crate) fn registered(sandbox: &Sandbox) -> Self {
        Self::with_algorithm(sandbox, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// The same, with signatures in DER.
    pub(crate) fn registered_der(sandbox: &Sandbox) -> Self {
        Self::with_algorithm(sandbox, &ECDSA_P256_SHA256_ASN1_SIGNING)
    }

    /// A new key of another account.
    pub(crate) fn unknown(key_id: &str, team_id: &str) -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            key_id: key_id.to_owned(),
            team_id: team_id.to_owned(),
        }
    }

    fn with_algorithm(sandbox: &Sandbox, algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let apns = &sandbox.credentials().apns;
        let key = PrivateKeyDer::from_pem_slice(apns.p8.as_bytes()).unwrap();
        Self {
            key: EcdsaKeyPair::from_pkcs8(algorithm, key.secret_der()).unwrap(),
            key_id: apns.key_id.clone(),
            team_id: apns.team_id.clone(),
        }
    }

    /// This key under other names.
    pub(crate) fn named(mut self, key_id: &str, team_id: &str) -> Self {
        self.key_id = key_id.to_owned();
        self.team_id = team_id.to_owned();
        self
    }

    /// A provider token issued `age` seconds ago.
    pub(crate) fn token(&self, age: i64) -> String {
        self.token_of(
            &json!({"alg": "ES256", "kid": self.key_id}),
            &json!({"iss": self.team_id, "iat": now_secs() - age}),
        )
    }

    pub(crate) fn token_of(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }

    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes());
        signature.unwrap().as_ref().to_vec()
    }
}

/// One connection to the sandbox.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    /// How the connection ended, once it has.
    ended: watch::Receiver<Option<String>>,
}

/// What came back on a stream.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn connect(sandbox: &Sandbox) -> Self {
        Self::connect_as(sandbox, None).await
    }

    /// Connects with a client certificate.
    pub(crate) async fn connect_as(
        sandbox: &Sandbox,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(sandbox.credentials().ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(sandbox.addr()).await.unwrap();
        // An address, not a name: so no SNI is sent.
        let name = ServerName::from(sandbox.addr().ip());
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let (report, ended) = watch::channel(None);
        tokio::spawn(async move {
            let end = match connection.await {
                Ok(()) => "closed".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            report.send_replace(Some(end));
        });
        Self { send, ended }
    }

    /// A handle that may open a stream now.
    pub(crate) async fn ready(&self) -> SendRequest<Bytes> {
        self.send.clone().ready().await.unwrap()
    }

    /// Sends a request with its body and reads the answer.
    pub(crate) async fn send(&self, request: Builder, body: &str) -> Result<Reply, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let request = request.body(()).unwrap();
        let end = body.is_empty();
        let (response, mut stream) = send.send_request(request, end)?;
        if !end {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        }
        let (head, mut stream) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            stream.flow_control().release_capacity(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.into(),
        })
    }

    /// How the connection ended.
    pub(crate) async fn end(&mut self) -> String {
        let ended = self.ended.wait_for(Option::is_some).await.unwrap();
        ended.clone().unwrap()
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Status and reason; no reason for an empty body.
    pub(crate) fn verdict(&self) -> (u16, String) {
        let reason = self.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (self.status.as_u16(), reason)
    }
}

/// A request that is right except for its missing authentication.
pub(crate) fn request_to(token: &str) -> Builder {
    post(&format!("/3/device/{token}")).header("apns-topic", TOPIC)
}

pub(crate) fn post(path: &str) -> Builder {
    Request::post(format!("https://localhost{path}"))
}

/// A request that is accepted.
pub(crate) fn good(provider_token: &str) -> Builder {
    authorized(request_to(&token(1)), provider_token)
}

pub(crate) fn authorized(request: Builder, provider_token: &str) -> Builder {
    request.header("authorization", format!("bearer {provider_token}"))
}
