//! One GET, for the control port of a sandbox.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// More than any control port answers.
const BODY_LEN_MAX: usize = 1 << 20;

/// The body of a good answer.
pub(crate) async fn get(url: &str) -> Result<Bytes> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().context("the URL names no host")?.clone();
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(uri.path())
        .header("host", authority.as_str())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(
        response.status().is_success(),
        "{url} answers {}",
        response.status()
    );
    let body = Limited::new(response.into_body(), BODY_LEN_MAX)
        .collect()
        .await;
    connection.abort();
    Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
}
