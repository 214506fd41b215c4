//! One MQTT 5 connection of a phone, written out by hand, which answers what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::server::{App, Device};

/// Nothing has come within this time: nothing comes.
const SILENCE: Duration = Duration::from_millis(1500);
/// What is to come comes within this time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Line {
    socket: TcpStream,
}

/// A message that came, and has not been answered.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) id: String,
    pub(crate) payload: Value,
    packet: [u8; 2],
}

impl Line {
    /// Connects with clean start 0; `packet_max` is the greatest packet that the phone takes.
    pub(crate) fn connect(link: &str, app: &App, device: &Device, packet_max: Option<u32>) -> Self {
        let mut properties = Vec::new();
        if let Some(max) = packet_max {
            properties.push(0x27);
            properties.extend(max.to_be_bytes());
        }
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0b1100_0000, 1, 44];
        body.push(u8::try_from(properties.len()).expect("few"));
        body.extend(properties);
        for text in [&device.id, &app.key, &device.secret] {
            body.extend(
                u16::try_from(text.len())
                    .expect("a short text")
                    .to_be_bytes(),
            );
            body.extend(text.as_bytes());
        }
        let len = u8::try_from(body.len()).ok().filter(|len| *len < 128);
        let packet = [vec![0x10, len.expect("a short packet")], body].concat();
        let mut socket = TcpStream::connect(link).expect("a connection");
        socket.write_all(&packet).expect("sent");
        let mut line = Self { socket };
        let (first, body) = line.packet(PATIENCE).expect("an answer");
        assert_eq!((first, body[1]), (0x20, 0), "let in");
        line
    }

    /// The next message, which has to come.
    pub(crate) fn next(&mut self) -> Came {
        self.message(PATIENCE).expect("a message")
    }

    /// Whether no other message comes.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.message(SILENCE).is_none()
    }

    /// PUBACK with a reason code; 0 takes the message.
    pub(crate) fn answer(&mut self, came: &Came, code: u8) {
        let [high, low] = came.packet;
        let packet = [0x40, 3, high, low, code];
        self.socket.write_all(&packet).expect("sent");
    }

    fn message(&mut self, within: Duration) -> Option<Came> {
        loop {
            let (first, body) = self.packet(within)?;
            if first >> 4 != 3 {
                continue;
            }
            let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            // Properties are short.
            let payload = topic + 3 + usize::from(body[topic + 2]);
            let payload: Value = serde_json::from_slice(&body[payload..]).expect("JSON");
            return Some(Came {
                id: payload["id"].as_str().expect("an id").to_owned(),
                packet: [body[topic], body[topic + 1]],
                payload,
            });
        }
    }

    fn packet(&mut self, within: Duration) -> Option<(u8, Vec<u8>)> {
        self.socket
            .set_read_timeout(Some(within))
            .expect("a time-out");
        let mut byte = [0];
        self.socket.read_exact(&mut byte).ok()?;
        let first = byte[0];
        let mut len = 0;
        for shift in (0..28).step_by(7) {
            self.socket.read_exact(&mut byte).expect("a length");
            len |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.socket.read_exact(&mut body).expect("a packet");
        Some((first, body))
    }
}
