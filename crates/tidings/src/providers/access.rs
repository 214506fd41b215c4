//! How a provider is reached, where it is not by its own name: the fields that all credentials take.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_model::Secret;
use tidings_providers::{is_endpoint, is_proxy, is_url};

use crate::api::error::{ApiError, Fault, shown};
use crate::api::fields::Fields;

/// Certificates in `ca`; a bundle of one's own has one or two.
const CA_CERTIFICATES_MAX: usize = 16;
/// Characters of a base URL.
const ENDPOINT_CHARS_MAX: usize = 512;

/// Where a provider is, if not where it is known to be, and how to get there. Does not print.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Access {
    /// PEM of the certificates to trust instead of the public roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// `https://HOST:PORT` of something other than the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// `http://[USER:PASSWORD@]HOST:PORT` of a proxy that tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
}

impl Access {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self {
            ca: ca(fields)?,
            endpoint: endpoint(fields)?,
            proxy: proxy(fields)?,
        })
    }

    /// Says of it what may be shown.
    pub(super) fn show(&self, shown: &mut Value) {
        shown["endpoint"] = self.endpoint.clone().into();
        shown["has_ca"] = self.ca.is_some().into();
        shown["has_proxy"] = self.proxy.is_some().into();
    }

    pub(super) fn roots(&self) -> Option<Arc<[u8]>> {
        self.ca.as_ref().map(|pem| pem.as_bytes().into())
    }

    pub(super) fn tunnel(&self) -> Option<Secret> {
        self.proxy.as_deref().map(Secret::new)
    }
}

/// The text of a file, or another that is not empty.
pub(super) fn text(fields: &mut Fields, key: &'static str) -> Result<Option<String>, ApiError> {
    Ok(fields.text(key)?.filter(|text| !text.trim().is_empty()))
}

/// A base URL: `https`, host, perhaps a port.
fn endpoint(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(text) = fields.text("endpoint")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.len() > ENDPOINT_CHARS_MAX || !is_endpoint(&text) {
        let why = format!(
            "must be of the form https://HOST:PORT, not {}",
            shown(&text)
        );
        return Err(ApiError::invalid(fields.at("endpoint"), why));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// Where access tokens are given: `https`, host, perhaps a port and a path.
pub(super) fn token_endpoint(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(url) = text(fields, "token_endpoint")? else {
        return Ok(None);
    };
    if url.len() > ENDPOINT_CHARS_MAX || !is_url(&url) {
        let why = format!(
            "must be of the form https://HOST:PORT/PATH, not {}",
            shown(&url)
        );
        return Err(ApiError::invalid(fields.at("token_endpoint"), why));
    }
    Ok(Some(url))
}

/// An HTTP proxy. Its text is not shown, since a password may be in it.
fn proxy(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(proxy) = fields.secret("proxy")? else {
        return Ok(None);
    };
    let text = proxy.expose();
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > ENDPOINT_CHARS_MAX || !is_proxy(text) {
        let why = "must be of the form http://[USER:PASSWORD@]HOST:PORT";
        return Err(ApiError::invalid(fields.at("proxy"), why));
    }
    Ok(Some(text.to_owned()))
}

/// PEM of certificates that can be trusted.
fn ca(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(text) = text(fields, "ca")? else {
        return Ok(None);
    };
    let unreadable =
        |why: String| ApiError::at(Fault::Credential("unreadable"), fields.at("ca"), why);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|error| unreadable(format!("is not PEM: {error}")))?;
    if !(1..=CA_CERTIFICATES_MAX).contains(&certificates.len()) {
        return Err(unreadable(format!(
            "must hold 1 to {CA_CERTIFICATES_MAX} certificates as PEM, not {}",
            certificates.len()
        )));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| {
            unreadable(format!("holds a certificate that cannot be read: {error}"))
        })?;
    }
    Ok(Some(text))
}
