//! An HTTP proxy in between: a tunnel by CONNECT (RFC 9110, section 9.3.6), in which TLS goes on to the far end.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use http::uri::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a proxy's answer, at most.
const ANSWER_LEN_MAX: usize = 8 * 1024;

/// Where the proxy is, and who says so. Does not print.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `proxy-authorization`.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]HOST:PORT`; user and password may be percent-encoded.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let plain = uri.scheme_str() == Some("http")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        if !plain || authority.host().is_empty() {
            return None;
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = match user {
            Some(user) => {
                let user = decoded(user)?;
                let has_both = user.contains(&b':');
                has_both.then(|| Some(format!("Basic {}", BASE64_STANDARD.encode(user))))?
            }
            None => None,
        };
        let host = authority.host();
        Some(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: authority.port_u16().filter(|port| *port > 0)?,
            authorization,
        })
    }

    /// Has the proxy connect to `target`, whose port is given.
    pub(crate) async fn tunnel(
        &self,
        mut tcp: TcpStream,
        target: &Authority,
        port: u16,
    ) -> io::Result<TcpStream> {
        let host = target.host();
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // By the byte, since what follows belongs to the tunnel.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_LEN_MAX {
                return Err(io::Error::other("the proxy's answer has no end"));
            }
            answer.push(tcp.read_u8().await?);
        }
        let first = answer.split(|byte| *byte == b'\r').next();
        let line = String::from_utf8_lossy(first.unwrap_or_default()).into_owned();
        let mut words = line.split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        if is_http && words.next().is_some_and(is_success) {
            return Ok(tcp);
        }
        let line: String = line.chars().filter(|c| !c.is_control()).take(100).collect();
        Err(io::Error::other(format!("the proxy answers {line:?}")))
    }
}

fn is_success(status: &str) -> bool {
    status.len() == 3 && status.starts_with('2')
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_http_with_host_and_port() {
        let parsed = |text| {
            let proxy = Proxy::parse(text)?;
            Some((proxy.host, proxy.port, proxy.authorization))
        };
        let plain = |host: &str, port| Some((host.to_owned(), port, None));
        assert_eq!(parsed("http://proxy:3128"), plain("proxy", 3128));
        assert_eq!(parsed("http://[::1]:80/"), plain("::1", 80));
        // user:p@ss
        let (_, _, authorization) = parsed("http://user:p%40ss@proxy:3128").expect("a proxy");
        assert_eq!(authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        for wrong in [
            "",
            "proxy:3128",
            "https://proxy:3128",
            "http://proxy",
            "http://proxy:0",
            "http://proxy:99999",
            "http://:3128",
            "http://proxy:3128/path",
            "http://proxy:3128?a",
            "http://user@proxy:3128",
            "http://user:%4@proxy:3128",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
