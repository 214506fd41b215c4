//! An HTTP proxy between the client and its peer.

use std::net::SocketAddr;

use tidings_model::Secret;
use tidings_providers::apns::{Client, Config, ConfigError};
use tidings_providers::{Attempt, Cause};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::peer::{Peer, attempts, submitted};

/// A proxy that connects whoever has the right authorization, and tells what it was asked.
async fn proxy(authorization: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (asked, asks) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(near.read_u8().await.expect("a request"));
            }
            let request = String::from_utf8(request).expect("text");
            let let_in = authorization.is_none_or(|value| {
                request.contains(&format!("\r\nProxy-Authorization: {value}\r\n"))
            });
            let target = request.split(' ').nth(1).map(str::to_owned);
            asked.send(request).await.expect("a listener");
            if !let_in {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                near.write_all(refusal).await.expect("it is written");
                continue;
            }
            let mut far = TcpStream::connect(target.expect("a target"))
                .await
                .expect("the peer");
            near.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                .await
                .expect("it is written");
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (addr, asks)
}

fn through(peer: &Peer, proxy: &str) -> Config {
    Config {
        proxy: Some(Secret::new(proxy)),
        ..peer.config()
    }
}

#[tokio::test]
async fn deliveries_go_through_the_proxys_tunnel() {
    let peer = Peer::listen().await;
    let (addr, mut asks) = proxy(Some("Basic dXNlcjpwQHNz")).await;
    let config = through(&peer, &format!("http://user:p%40ss@{addr}"));
    assert!(!format!("{config:?}").contains("p%40ss"));
    let target = config.endpoint.clone().expect("an endpoint");
    let (_client, mut answers) = submitted(config, 1).await;
    let serve = async {
        let mut wire = peer.http2().await;
        let stream = wire.request().await.expect("a request");
        wire.accept(stream).await;
        wire
    };
    let (_wire, attempts) = tokio::join!(serve, attempts(&mut answers, 1));
    assert!(attempts.iter().all(Attempt::is_accepted), "{attempts:?}");
    let asked = asks.recv().await.expect("a request to the proxy");
    let target = target.trim_start_matches("https://");
    assert!(
        asked.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")),
        "{asked}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_cause_and_nothing_was_sent() {
    let peer = Peer::listen().await;
    let (addr, _asks) = proxy(Some("Basic dXNlcjpwQHNz")).await;
    let config = through(&peer, &format!("http://user:wrong@{addr}"));
    let (_client, mut answers) = submitted(config, 1).await;
    let attempts = attempts(&mut answers, 1).await;
    let Attempt::NotSent(Cause::ConnectFailed(text)) = &attempts[0] else {
        panic!("{attempts:?}");
    };
    assert!(text.contains("407 Proxy Authentication Required"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_is_none_is_refused_without_showing_it() {
    let peer = Peer::listen().await;
    let config = through(&peer, "socks5://user:secret@localhost:1");
    let Err(error) = Client::<()>::start(config) else {
        panic!("it was taken");
    };
    assert!(matches!(error, ConfigError::Proxy));
    assert!(!error.to_string().contains("secret"));
}
