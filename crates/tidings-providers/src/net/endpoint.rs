//! Where a provider listens.

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;

/// Where to connect.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authority: Authority,
    pub(crate) server_name: ServerName<'static>,
}

impl Endpoint {
    /// Reads `https://HOST[:PORT]`, without user, path, query or fragment.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?.clone();
        let plain = uri.scheme_str() == Some("https")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
            // A fragment is none of the parts of the URI; it would be lost.
            && !text.contains('#')
            && !authority.as_str().contains('@');
        if !plain {
            return None;
        }
        // A port that is out of range would be taken for none.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => 443,
            port => port
                .strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port| *port > 0)?,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Some(Self {
            port,
            server_name: ServerName::try_from(host.clone()).ok()?,
            host,
            authority,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_with_a_host() {
        let named = |text| Endpoint::parse(text).map(|endpoint| (endpoint.host, endpoint.port));
        assert_eq!(
            named("https://localhost:2197"),
            Some(("localhost".to_owned(), 2197))
        );
        assert_eq!(
            named("https://api.push.apple.com/"),
            Some(("api.push.apple.com".to_owned(), 443))
        );
        assert_eq!(named("https://[::1]:8443"), Some(("::1".to_owned(), 8443)));
        for wrong in [
            "",
            "localhost:443",
            "http://localhost",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a?b",
            "https://a#b",
            "https://a:99999",
            "https://a:0",
            "https://a:",
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }
}
