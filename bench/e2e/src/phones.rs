//! Devices on the link: MQTT 3.1.1 written out by hand, one small task each, which acknowledge at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::backend::Device;

/// Connections being opened at once.
const OPENING_MAX: usize = 64;

/// What one phone has seen of the push.
#[derive(Default)]
pub(crate) struct Seen {
    /// Microseconds from the start of the clock to the first PUBLISH; 0 for none.
    pub(crate) first_us: AtomicU32,
    pub(crate) times: AtomicU32,
}

/// A group of phones that are connected.
pub(crate) struct Phones {
    received: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Phones {
    /// Connects all of them. `seen` has one place for each; times are counted from `clock`.
    pub(crate) async fn connect(
        link: &str,
        app_key: &str,
        devices: &[Device],
        seen: &Arc<Vec<Seen>>,
        first: usize,
        clock: Instant,
    ) -> Result<Self> {
        let opening = Arc::new(Semaphore::new(OPENING_MAX));
        let received = Arc::new(AtomicUsize::new(0));
        let mut connecting = JoinSet::new();
        for (number, device) in devices.iter().enumerate() {
            let (link, connect) = (
                link.to_owned(),
                connect(&device.id, app_key, &device.secret)?,
            );
            let (opening, received, seen) = (
                Arc::clone(&opening),
                Arc::clone(&received),
                Arc::clone(seen),
            );
            connecting.spawn(async move {
                let _place = opening.acquire().await?;
                let mut socket = TcpStream::connect(link).await?;
                socket.write_all(&connect).await?;
                let mut connack = [0; 4];
                socket.read_exact(&mut connack).await?;
                ensure!(connack == [0x20, 2, 0, 0], "not let in: {connack:?}");
                Ok::<_, anyhow::Error>(async move {
                    // The end of the connection is the end of the task.
                    let _ = receive(socket, &seen[first + number], &received, clock).await;
                })
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(connected) = connecting.join_next().await {
            tasks.spawn(connected.context("a phone panicked")??);
        }
        Ok(Self { received, tasks })
    }

    /// How many have had their first PUBLISH.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) async fn disconnect(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn receive(
    mut socket: TcpStream,
    seen: &Seen,
    received: &AtomicUsize,
    clock: Instant,
) -> std::io::Result<()> {
    let mut body = Vec::new();
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
        body.resize(len, 0);
        socket.read_exact(&mut body).await?;
        if first >> 4 == 3 {
            let now = u32::try_from(clock.elapsed().as_micros()).unwrap_or(u32::MAX);
            if seen.times.fetch_add(1, Ordering::Relaxed) == 0 {
                seen.first_us.store(now.max(1), Ordering::Relaxed);
                received.fetch_add(1, Ordering::Relaxed);
            }
            let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            socket
                .write_all(&[0x40, 2, body[topic], body[topic + 1]])
                .await?;
        }
    }
}

/// CONNECT of MQTT 3.1.1, clean session 0, keep-alive 1,800 s.
fn connect(client_id: &str, username: &str, password: &str) -> Result<Vec<u8>> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0000, 7, 8];
    for text in [client_id, username, password] {
        body.extend(u16::try_from(text.len())?.to_be_bytes());
        body.extend(text.as_bytes());
    }
    let len = u8::try_from(body.len())
        .ok()
        .filter(|len| *len < 128)
        .context("a long CONNECT")?;
    Ok([vec![0x10, len], body].concat())
}
