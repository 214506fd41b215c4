//! A phone on the link that remembers all it was sent and what it answered.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::step::Answer;
use super::world::{World, now};

/// Before a phone whose connection was lost comes again. One that was refused comes when its device has changed, or later.
const AWAY: Duration = Duration::from_millis(100);
const REFUSED: Duration = Duration::from_secs(5);
/// After its last words a server closes within this time.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// What a phone says of itself; a registration can change it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) app_key: String,
    pub(super) registration_id: String,
    pub(super) secret: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) answer: Answer,
    pub(super) packet_max: Option<u32>,
    pub(super) version: u8,
}

/// All that happened to a phone. Times are milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) connections: Vec<Connection>,
    pub(super) pushes: Vec<Pushed>,
    /// What no server may do.
    pub(super) wrongs: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) asked: i64,
    pub(super) ended: Option<i64>,
    /// The phone said goodbye, and the server closed after it: it has read all.
    pub(super) in_order: bool,
    /// When it was let in.
    pub(super) joined: Option<i64>,
    pub(super) packet_max: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Pushed {
    /// What it was answered, and when.
    pub(super) answered: Option<(Answer, i64)>,
    pub(super) at: i64,
    pub(super) connection: usize,
    pub(super) message: bool,
    pub(super) msg_id: String,
    pub(super) notification: bool,
    packet_id: [u8; 2],
}

enum Command {
    Answer(Answer),
    /// Its device is another than it was.
    Changed,
    Cut,
    /// It does not come again once its connection has ended.
    Last,
    Leave(oneshot::Sender<()>),
}

/// A phone that is there, and comes back when it loses its connection.
pub(super) struct Phone {
    commands: mpsc::UnboundedSender<Command>,
}

impl Phone {
    pub(super) fn start(
        world: Arc<World>,
        identity: Arc<Mutex<Identity>>,
        memory: Arc<Mutex<Memory>>,
        wishes: Wishes,
    ) -> Self {
        let (commands, commanded) = mpsc::unbounded_channel();
        let life = Life {
            answer: wishes.answer,
            commanded,
            identity,
            is_last: false,
            memory,
            packet_max: wishes.packet_max,
            version: wishes.version,
            world,
        };
        tokio::spawn(life.live());
        Self { commands }
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.tell(Command::Answer(answer));
    }

    pub(super) fn changed(&self) {
        self.tell(Command::Changed);
    }

    pub(super) fn cut(self) {
        self.tell(Command::Cut);
    }

    pub(super) fn is_last(&self) {
        self.tell(Command::Last);
    }

    /// Says goodbye, and waits until the server has read everything.
    pub(super) async fn leave(self) {
        let (done, left) = oneshot::channel();
        self.tell(Command::Leave(done));
        // It may have ended by itself.
        let _ = left.await;
    }

    fn tell(&self, command: Command) {
        // It may have ended by itself.
        let _ = self.commands.send(command);
    }
}

struct Life {
    answer: Answer,
    commanded: mpsc::UnboundedReceiver<Command>,
    identity: Arc<Mutex<Identity>>,
    is_last: bool,
    memory: Arc<Mutex<Memory>>,
    packet_max: Option<u32>,
    version: u8,
    world: Arc<World>,
}

enum End {
    Gone,
    Lost,
    Refused,
}

impl Life {
    async fn live(mut self) {
        loop {
            let number = self.remember(|memory| {
                memory.connections.push(Connection {
                    asked: now(),
                    ended: None,
                    in_order: false,
                    joined: None,
                    packet_max: self.packet_max,
                });
                memory.connections.len() - 1
            });
            let end = self.session(number).await.unwrap_or(End::Lost);
            self.remember(|memory| {
                memory.connections[number].ended.get_or_insert_with(now);
            });
            let wait = match end {
                End::Gone => return,
                End::Lost | End::Refused if self.is_last => return,
                End::Lost => AWAY,
                End::Refused => REFUSED,
            };
            if !self.wait(wait).await {
                return;
            }
        }
    }

    /// False when it has been told to stay away.
    async fn wait(&mut self, wait: Duration) -> bool {
        loop {
            match timeout(wait, self.commanded.recv()).await {
                Err(_) => return true,
                Ok(Some(Command::Answer(answer))) => self.answer = answer,
                Ok(Some(Command::Changed)) => return true,
                Ok(Some(Command::Cut | Command::Last | Command::Leave(_)) | None) => return false,
            }
        }
    }

    fn remember<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.memory.lock().expect("no panic"))
    }

    async fn session(&mut self, number: usize) -> io::Result<End> {
        let link = self.world.addresses.borrow().link.clone();
        let mut socket = TcpStream::connect(&link).await?;
        socket.write_all(&self.connect()).await?;
        let mut input = BytesMut::new();
        loop {
            while let Some(packet) = take_packet(&mut input) {
                match packet.first >> 4 {
                    2 if packet.body[1] != 0 => return Ok(End::Refused),
                    2 => self.remember(|memory| {
                        memory.connections[number].joined = Some(now());
                    }),
                    3 => {
                        self.take(number, &packet);
                        self.answer_all(number, &mut socket).await?;
                    }
                    _ => {}
                }
            }
            // Both are cancel safe.
            tokio::select! {
                read = socket.read_buf(&mut input) => if read? == 0 {
                    return Ok(End::Lost);
                },
                command = self.commanded.recv() => match command {
                    Some(Command::Answer(answer)) => {
                        self.answer = answer;
                        self.answer_all(number, &mut socket).await?;
                    }
                    Some(Command::Changed) => {}
                    Some(Command::Last) => self.is_last = true,
                    Some(Command::Leave(done)) => {
                        let left = timeout(CLOSE_MAX, leave(&mut socket)).await;
                        if let Ok(Ok(())) = left {
                            self.remember(|memory| memory.connections[number].in_order = true);
                        }
                        self.remember(|memory| memory.connections[number].ended = Some(now()));
                        // The history may have ended.
                        let _ = done.send(());
                        return Ok(End::Gone);
                    }
                    Some(Command::Cut) | None => return Ok(End::Gone),
                },
            }
        }
    }

    /// CONNECT with a keep-alive of 300 s; on 3.1.1 without a clean session.
    fn connect(&self) -> Vec<u8> {
        let flags = if self.version == 5 {
            0b1100_0010
        } else {
            0b1100_0000
        };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', self.version, flags, 1, 44];
        if self.version == 5 {
            match self.packet_max {
                Some(max) => {
                    body.extend([5, 0x27]);
                    body.extend(max.to_be_bytes());
                }
                None => body.push(0),
            }
        }
        let identity = self.identity.lock().expect("no panic").clone();
        let Identity {
            app_key,
            registration_id,
            secret,
        } = identity;
        for text in [registration_id, app_key, secret] {
            let len = u16::try_from(text.len()).expect("a short text");
            body.extend(len.to_be_bytes());
            body.extend(text.as_bytes());
        }
        let len = u8::try_from(body.len()).expect("a short packet");
        assert!(len < 128, "a short packet");
        [vec![0x10, len], body].concat()
    }

    fn take(&self, number: usize, packet: &Packet) {
        let body = &packet.body;
        let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let packet_id = [body[topic], body[topic + 1]];
        let mut payload = topic + 2;
        if self.version == 5 {
            payload += 1 + usize::from(body[payload]);
        }
        let payload: Value = serde_json::from_slice(&body[payload..]).expect("JSON");
        let pushed = Pushed {
            answered: None,
            at: now(),
            connection: number,
            message: payload.get("message").is_some(),
            msg_id: payload["id"].as_str().expect("an id").to_owned(),
            notification: payload.get("notification").is_some(),
            packet_id,
        };
        self.remember(|memory| {
            if self.packet_max.is_some_and(|max| packet.len > max as usize) {
                let Pushed { msg_id, .. } = &pushed;
                let wrong = format!("was sent {} bytes of {msg_id}", packet.len);
                memory.wrongs.push(wrong);
            }
            memory.pushes.push(pushed);
        });
    }

    /// Answers what this connection brought and has not been answered.
    async fn answer_all(&self, number: usize, socket: &mut TcpStream) -> io::Result<()> {
        let answer = self.answer;
        let mut output = Vec::new();
        if answer != Answer::Silence {
            self.remember(|memory| {
                let open = memory
                    .pushes
                    .iter_mut()
                    .filter(|pushed| pushed.connection == number && pushed.answered.is_none());
                for pushed in open {
                    let [high, low] = pushed.packet_id;
                    match answer {
                        Answer::Refuse(code) if self.version == 5 => {
                            output.extend([0x40, 3, high, low, code]);
                            pushed.answered = Some((answer, now()));
                        }
                        _ => {
                            output.extend([0x40, 2, high, low]);
                            pushed.answered = Some((Answer::Acknowledge, now()));
                        }
                    }
                }
            });
        }
        socket.write_all(&output).await
    }
}

/// DISCONNECT, and then all that the server still says, up to its end.
async fn leave(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(&[0xe0, 0]).await?;
    socket.shutdown().await?;
    let mut rest = [0; 4096];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

struct Packet {
    body: Vec<u8>,
    first: u8,
    len: usize,
}

/// The next packet, when it is whole.
fn take_packet(input: &mut BytesMut) -> Option<Packet> {
    let first = *input.first()?;
    let mut body_len = 0;
    for (index, shift) in (0..28).step_by(7).enumerate() {
        let byte = *input.get(1 + index)?;
        body_len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let len = 2 + index + body_len;
            if input.len() < len {
                return None;
            }
            input.advance(2 + index);
            let body = input.split_to(body_len).to_vec();
            return Some(Packet { body, first, len });
        }
    }
    panic!("a packet length of more than four bytes");
}
