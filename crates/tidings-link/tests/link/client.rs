//! A device on a raw socket, in MQTT 5 written out by hand, so that it can do what no client library would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What comes takes milliseconds; what has not come by then does not.
const PATIENCE: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(200);

pub(crate) struct Client {
    socket: TcpStream,
}

/// What a CONNECT says beside who it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) packet_size_max: Option<u32>,
    pub(crate) receive_max: Option<u16>,
}

/// A packet from the server: the first byte and what follows the length.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) body: Vec<u8>,
    pub(crate) first: u8,
}

/// A PUBLISH from the server.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) packet_id: u16,
    pub(crate) payload: Value,
}

impl Push {
    pub(crate) fn id(&self) -> &str {
        self.payload["id"].as_str().expect("an id")
    }
}

impl Client {
    /// Sends CONNECT and gives the reason code of CONNACK.
    pub(crate) async fn connect(
        link: SocketAddr,
        app_key: &str,
        id: &str,
        secret: &str,
        wishes: Wishes,
    ) -> (Self, u8) {
        let connected = Self::try_connect(link, app_key, id, secret, wishes).await;
        connected.expect("CONNACK")
    }

    /// The same; none when the link is gone or closes without an answer.
    pub(crate) async fn try_connect(
        link: SocketAddr,
        app_key: &str,
        id: &str,
        secret: &str,
        wishes: Wishes,
    ) -> Option<(Self, u8)> {
        let mut properties = Vec::new();
        if let Some(max) = wishes.receive_max {
            properties.push(0x21);
            properties.extend(max.to_be_bytes());
        }
        if let Some(max) = wishes.packet_size_max {
            properties.push(0x27);
            properties.extend(max.to_be_bytes());
        }
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0b1100_0000, 0, 60];
        body.push(u8::try_from(properties.len()).expect("few"));
        body.extend(properties);
        for text in [id, app_key, secret] {
            body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
            body.extend(text.as_bytes());
        }
        let socket = TcpStream::connect(link).await.ok()?;
        // Or what it says last may still be in its own kernel when it hangs up.
        socket.set_nodelay(true).ok()?;
        let mut client = Self { socket };
        client.try_send(0x10, &body).await.ok()?;
        let connack = client.packet().await?;
        assert_eq!(connack.first, 0x20);
        Some((client, connack.body[1]))
    }

    pub(crate) async fn send(&mut self, first: u8, body: &[u8]) {
        self.try_send(first, body).await.expect("sent");
    }

    async fn try_send(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![first];
        let mut len = body.len();
        loop {
            let more = if len >= 128 { 0x80 } else { 0 };
            packet.push((len % 128) as u8 | more);
            len /= 128;
            if len == 0 {
                break;
            }
        }
        packet.extend(body);
        self.socket.write_all(&packet).await
    }

    /// The next packet; none when the server has closed.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        let read = async {
            let first = self.socket.read_u8().await.ok()?;
            let mut len = 0;
            for shift in (0..28).step_by(7) {
                let byte = self.socket.read_u8().await.ok()?;
                len |= usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; len];
            self.socket.read_exact(&mut body).await.ok()?;
            Some(Packet { body, first })
        };
        timeout(PATIENCE, read).await.expect("something")
    }

    /// The next message.
    pub(crate) async fn push(&mut self) -> Push {
        let Packet { body, first } = self.packet().await.expect("a PUBLISH");
        assert_eq!(first & 0xf6, 0x32, "PUBLISH, QoS 1: {first:#x} {body:?}");
        let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        assert_eq!(&body[2..2 + topic_len], b"push");
        let rest = &body[2 + topic_len..];
        let packet_id = u16::from_be_bytes([rest[0], rest[1]]);
        let properties_len = usize::from(rest[2]);
        let properties = &rest[3..3 + properties_len];
        let expiry_secs = (properties.first() == Some(&2))
            .then(|| u32::from_be_bytes(properties[1..5].try_into().expect("four bytes")));
        let payload = serde_json::from_slice(&rest[3 + properties_len..]).expect("JSON");
        Push {
            expiry_secs,
            packet_id,
            payload,
        }
    }

    pub(crate) async fn ack(&mut self, push: &Push) {
        self.send(0x40, &push.packet_id.to_be_bytes()).await;
    }

    /// The next message, acknowledged.
    pub(crate) async fn take(&mut self) -> String {
        let push = self.push().await;
        self.ack(&push).await;
        push.id().to_owned()
    }

    /// The reason code of the DISCONNECT that comes next; the server closes after it.
    pub(crate) async fn goodbye(&mut self) -> u8 {
        let packet = self.packet().await.expect("DISCONNECT");
        assert_eq!(packet.first, 0xe0, "{packet:?}");
        assert!(self.packet().await.is_none());
        packet.body[0]
    }

    /// The server has closed its side in order, without a reset.
    pub(crate) async fn is_at_end(&mut self) -> bool {
        let end = timeout(PATIENCE, self.socket.read(&mut [0])).await;
        matches!(end.expect("an end"), Ok(0))
    }

    /// Nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        timeout(QUIET, self.socket.peek(&mut byte)).await.is_err()
    }

    /// PINGREQ and its answer: all that was sent before has been taken in.
    pub(crate) async fn ping(&mut self) {
        self.send(0xc0, &[]).await;
        assert_eq!(self.packet().await.expect("PINGRESP").first, 0xd0);
    }
}
