//! Phones on the link, in MQTT 3.1.1 written out by hand, which drop a message whose id they have seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::server::Device;
use super::wait_for;

/// Many phones that stay connected, and come back when the server does.
pub(crate) struct Phones {
    _runtime: Runtime,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// By message: when each device last acknowledged it.
    acknowledged: HashMap<String, HashMap<usize, Instant>>,
    connected: usize,
    /// By device: the messages that were sent to it, in order.
    order: HashMap<usize, Vec<String>>,
    /// By message: how often each device was sent it.
    received: HashMap<String, HashMap<usize, u32>>,
    /// By message: how often each device showed it.
    shown: HashMap<String, HashMap<usize, u32>>,
}

impl Phones {
    pub(crate) fn connect(link: &str, app_key: &str, devices: &[Device]) -> Self {
        Self::some_silent(link, app_key, devices, |_| false)
    }

    /// Some of them acknowledge nothing: their system holds the app.
    pub(crate) fn some_silent(
        link: &str,
        app_key: &str,
        devices: &[Device],
        is_silent: impl Fn(usize) -> bool,
    ) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        for (number, device) in devices.iter().enumerate() {
            let phone = Phone {
                connect: connect(&device.id, app_key, &device.secret),
                is_silent: is_silent(number),
                link: link.to_owned(),
                number,
                seen: Arc::clone(&seen),
            };
            runtime.spawn(phone.live());
        }
        Self {
            _runtime: runtime,
            seen,
        }
    }

    pub(crate) fn wait_connected(&self, count: usize) {
        wait_for("the phones to connect", || {
            (self.seen().connected >= count).then_some(())
        });
    }

    /// How many phones have shown a message.
    pub(crate) fn shown(&self, message: &str) -> usize {
        self.seen().shown.get(message).map_or(0, HashMap::len)
    }

    /// Whether a phone has been sent a message.
    pub(crate) fn was_sent(&self, message: &str, number: usize) -> bool {
        let seen = self.seen();
        let received = seen.received.get(message);
        received.is_some_and(|received| received.contains_key(&number))
    }

    /// When a phone last acknowledged a message.
    pub(crate) fn acknowledged_at(&self, message: &str, number: usize) -> Option<Instant> {
        self.seen().acknowledged.get(message)?.get(&number).copied()
    }

    /// What a device was sent, in order.
    pub(crate) fn order(&self, number: usize) -> Vec<String> {
        self.seen().order.get(&number).cloned().unwrap_or_default()
    }

    pub(crate) fn shown_twice(&self, message: &str) -> usize {
        let seen = self.seen();
        seen.shown.get(message).map_or(0, |shown| {
            shown.values().filter(|times| **times > 1).count()
        })
    }

    /// How many phones were sent a message more than once.
    pub(crate) fn repeats(&self, message: &str) -> usize {
        let seen = self.seen();
        seen.received.get(message).map_or(0, |received| {
            received.values().filter(|times| **times > 1).count()
        })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

struct Phone {
    connect: Vec<u8>,
    is_silent: bool,
    link: String,
    number: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Phone {
    async fn live(self) {
        let mut ids: Vec<String> = Vec::new();
        loop {
            let mut counted = false;
            // However it ends, the phone comes back.
            let _ = self.session(&mut ids, &mut counted).await;
            if counted {
                self.seen.lock().expect("no panic").connected -= 1;
            }
            sleep(Duration::from_millis(50 + self.number as u64 % 100)).await;
        }
    }

    async fn session(&self, ids: &mut Vec<String>, counted: &mut bool) -> std::io::Result<()> {
        let mut socket = TcpStream::connect(&self.link).await?;
        socket.write_all(&self.connect).await?;
        loop {
            let first = socket.read_u8().await?;
            let mut len = 0;
            for shift in (0..28).step_by(7) {
                let byte = socket.read_u8().await?;
                len |= usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; len];
            socket.read_exact(&mut body).await?;
            match first >> 4 {
                2 => {
                    assert_eq!(body[1], 0, "let in");
                    self.seen.lock().expect("no panic").connected += 1;
                    *counted = true;
                }
                3 => {
                    let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let payload: Value = serde_json::from_slice(&body[topic + 2..]).expect("JSON");
                    let id = payload["id"].as_str().expect("an id").to_owned();
                    self.receive(ids, id.clone());
                    if self.is_silent {
                        continue;
                    }
                    socket
                        .write_all(&[0x40, 2, body[topic], body[topic + 1]])
                        .await?;
                    self.acknowledged(id);
                }
                _ => {}
            }
        }
    }

    fn acknowledged(&self, id: String) {
        let mut seen = self.seen.lock().expect("no panic");
        let of = seen.acknowledged.entry(id).or_default();
        of.insert(self.number, Instant::now());
    }

    /// Shows a message that is new to this phone.
    fn receive(&self, ids: &mut Vec<String>, id: String) {
        let mut seen = self.seen.lock().expect("no panic");
        seen.order.entry(self.number).or_default().push(id.clone());
        *seen
            .received
            .entry(id.clone())
            .or_default()
            .entry(self.number)
            .or_default() += 1;
        if !ids.contains(&id) {
            *seen
                .shown
                .entry(id.clone())
                .or_default()
                .entry(self.number)
                .or_default() += 1;
            ids.push(id);
        }
    }
}

/// CONNECT of MQTT 3.1.1, clean session 0, keep-alive 300 s.
fn connect(client_id: &str, username: &str, password: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0000, 1, 44];
    for text in [client_id, username, password] {
        body.extend(
            u16::try_from(text.len())
                .expect("a short text")
                .to_be_bytes(),
        );
        body.extend(text.as_bytes());
    }
    let len = u8::try_from(body.len())
        .ok()
        .filter(|len| *len < 128)
        .expect("a short packet");
    [vec![0x10, len], body].concat()
}
