//! One task owns one connection: it reads, feeds, acknowledges and says goodbye. Everyone else only signals it.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidings_model::{AppId, AppKey, DeviceId, MsgId, Secret, SecretHash, UnixMillis};
use tidings_mqtt::server::{
    ConnectAccepted, ConnectRefusal, ConnectRequest, DisconnectReason, Event, PublishReason,
    PublishResult, ServerSession,
};
use tidings_mqtt::{DeviceTopic, PUSH_TOPIC};
use tidings_store::{Ack, Acked, Cursor, LinkEnd, Login, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error};

use crate::acks::Acks;
use crate::feed::{Feed, Next, Outgoing};
use crate::limits::{
    ACKS_WRITTEN_MAX, HEARD_OUT_AFTER, HEARD_OUT_MAX, JUDGED_WRITTEN_AFTER, LAST_WORD_MAX,
    LINGER_MAX, READ_MAX, UPLINK_MAX, WRITE_MAX,
};
use crate::room::{Handle, Room, Signals};
use crate::window::{Window, tag};
use crate::{Inner, Uplink, UplinkEnd, UplinkTopic};

/// Serves a socket until either side ends it.
pub(crate) async fn serve(inner: Arc<Inner>, acks: Acks, socket: TcpStream) {
    let mut connection = Connection {
        acks,
        inner,
        input: BytesMut::new(),
        output: BytesMut::new(),
        session: ServerSession::new(std::time::Instant::now(), tidings_mqtt::Limits::default()),
        socket,
    };
    let mut device = None;
    let end = connection.exchange(&mut device).await;
    // In this order, whatever the end was: nobody is routed here any more, what the device said is on its way to the
    // store, whoever takes its place may look there; then the last words are written.
    if let Some(mut device) = device {
        let id = device.feed.device();
        connection.inner.leave(&device.room, id, &device.handle);
        if end.is_err() {
            // A device that has hung up may have acknowledged before, and what failed was to write to it.
            Box::pin(connection.hear_out(&mut device)).await;
        }
        Box::pin(connection.write_judged(&mut device)).await;
        device.handle.end();
    }
    if let Err(error) = &end {
        debug!(%error, "a connection of the link ended");
    }
    // The other side may be gone.
    let _ = connection.flush().await;
    let _ = timeout(LINGER_MAX, connection.linger()).await;
}

struct Connection {
    acks: Acks,
    inner: Arc<Inner>,
    input: BytesMut,
    output: BytesMut,
    session: ServerSession,
    socket: TcpStream,
}

/// What is known once a device was let in. Boxed, since most of a connection's life is spent waiting.
struct Present {
    app: AppId,
    feed: Feed,
    handle: Arc<Handle>,
    /// How far the log has been judged beyond what was said, and since when that waits to be written.
    judged: Option<(Cursor, Instant)>,
    room: Arc<Room>,
    /// That by which it proved itself: a connection ends when the device gets another.
    secret: SecretHash,
    window: Window,
}

impl Present {
    fn has_next(&self) -> bool {
        self.feed.has_next() || self.is_due()
    }

    /// Whether how far the log has been judged is to be written.
    fn is_due(&self) -> bool {
        self.judged.as_ref().is_some_and(|(judged, since)| {
            !judged.exceptions.is_empty() || since.elapsed() > JUDGED_WRITTEN_AFTER
        })
    }

    /// Of the log nothing more is to be sent up to the cursor's position.
    fn passed(&mut self, passed: Cursor) {
        match &mut self.judged {
            Some((judged, _)) => drop(judged.pass(passed)),
            judged @ None => *judged = Some((passed, Instant::now())),
        }
    }
}

/// Whether the exchange goes on.
enum Step {
    Ended,
    GoOn,
}

impl Connection {
    async fn exchange(&mut self, device: &mut Option<Box<Present>>) -> io::Result<()> {
        loop {
            let refused = self
                .session
                .handle_input(std::time::Instant::now(), &mut self.input)
                .err();
            if let Some(refused) = refused {
                return Err(io::Error::other(refused));
            }
            if let Some(event) = self.session.poll_event() {
                match self.act(device, event).await {
                    Ok(Step::GoOn) => continue,
                    Ok(Step::Ended) => return Ok(()),
                    Err(error) => return Err(self.store_failed(&error)),
                }
            }
            if let Some(device) = device
                && device.has_next()
                && let Err(error) = Box::pin(self.feed(device)).await
            {
                return Err(self.store_failed(&error));
            }
            self.flush().await?;
            if self.input.is_empty() {
                self.input = BytesMut::new(); // An idle connection holds no buffer.
            }
            if matches!(self.wait(device).await?, Step::Ended) {
                return Ok(());
            }
        }
    }

    /// Waits for bytes, signals or the time, and takes in what comes.
    async fn wait(&mut self, device: &mut Option<Box<Present>>) -> io::Result<Step> {
        let deadline = self.session.poll_timeout();
        let overdue = async {
            match deadline {
                Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
                None => std::future::pending().await,
            }
        };
        let signals = async {
            match device {
                Some(device) => device.handle.signals().await,
                // Nobody knows of it yet, so nobody can say goodbye to it.
                None => {
                    let mut stop = self.inner.stop.subscribe();
                    // Fails only when the link is gone, which is a stop as well.
                    let _ = stop.wait_for(|stop| *stop).await;
                    Signals::GOODBYE
                }
            }
        };
        // Each arm is cancel safe: it only waits, or takes signals that are acted on below.
        let signals = tokio::select! {
            readable = self.socket.readable(), if self.session.wants_input() => {
                readable?;
                // On the stack: most of what comes is an acknowledgement of four bytes, from thousands at once.
                let mut read = [0; READ_MAX];
                return match self.socket.try_read(&mut read) {
                    Ok(0) => Ok(Step::Ended),
                    Ok(count) => {
                        self.input.extend_from_slice(&read[..count]);
                        Ok(Step::GoOn)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::GoOn),
                    Err(error) => Err(error),
                };
            }
            () = overdue => {
                self.session.handle_timeout(std::time::Instant::now());
                return Ok(Step::GoOn);
            }
            signals = signals => signals,
        };
        match device {
            Some(device) => self
                .heed(device, signals)
                .await
                .map_err(|error| self.store_failed(&error)),
            None => Ok(Step::Ended),
        }
    }

    async fn heed(&mut self, device: &mut Present, signals: Signals) -> Result<Step, StoreError> {
        if signals.has(Signals::TAKEN_OVER) {
            // Before the last words: after them the session takes nothing in.
            Box::pin(self.hear_out(device)).await;
        }
        let goodbyes = [
            (Signals::TAKEN_OVER, DisconnectReason::SessionTakenOver),
            (Signals::FORGOTTEN, DisconnectReason::AdministrativeAction),
            (Signals::GOODBYE, DisconnectReason::ServerShuttingDown),
        ];
        if let Some((_, reason)) = goodbyes
            .into_iter()
            .find(|(signal, _)| signals.has(*signal))
        {
            self.session.disconnect(reason);
            return Ok(Step::Ended);
        }
        if signals.has(Signals::REFRESH)
            && let Some(reason) = Box::pin(self.refresh(device)).await?
        {
            // As above: what it has said until now holds.
            Box::pin(self.hear_out(device)).await;
            self.session.disconnect(reason);
            return Ok(Step::Ended);
        }
        if signals.has(Signals::LOG) {
            device.feed.log_news();
        }
        if signals.has(Signals::INBOX) {
            device.feed.inbox_news();
        }
        Ok(Step::GoOn)
    }

    /// Reads the device's record again; returns why it may not stay, if it may not.
    async fn refresh(&self, device: &mut Present) -> Result<Option<DisconnectReason>, StoreError> {
        let id = device.feed.device();
        let login = self.inner.store()?.login(device.app, id).await?;
        let login = match login {
            None => return Ok(Some(DisconnectReason::AdministrativeAction)),
            Some(login) if login.secret != device.secret => None,
            Some(login) => self.welcomed(device.app, login).await?,
        };
        Ok(match login.filter(|login| login.is_on_link) {
            Some(login) => {
                device.feed.set_history(login.history);
                None
            }
            None => Some(DisconnectReason::NotAuthorized),
        })
    }

    /// Acts on what the session says.
    async fn act(
        &mut self,
        device: &mut Option<Box<Present>>,
        event: Event,
    ) -> Result<Step, StoreError> {
        match (event, device) {
            (Event::Connect(request), device) => {
                // Boxed, as all that runs once or seldom: it would be a part of every idle connection.
                match Box::pin(self.let_in(&request)).await {
                    Ok(present) => *device = Some(Box::new(present)),
                    Err(Refused::Store(error)) => {
                        self.session.reject(ConnectRefusal::ServerUnavailable);
                        return Err(error);
                    }
                    Err(Refused::Told(refusal)) => {
                        self.session.reject(refusal);
                        return Ok(Step::Ended);
                    }
                }
                Ok(Step::GoOn)
            }
            (Event::Acked { tag, code }, Some(device)) => {
                Box::pin(self.end(device, tag, acked(code))).await;
                Ok(Step::GoOn)
            }
            (
                Event::Publish {
                    topic,
                    payload,
                    packet_id,
                },
                Some(device),
            ) => Ok(Box::pin(self.pass_up(device, topic, payload, packet_id)).await),
            (Event::Closed(why), _) => {
                debug!(?why, "a connection of the link was closed");
                Ok(Step::Ended)
            }
            // The session gives neither before a device was let in.
            (Event::Acked { .. } | Event::Publish { .. }, None) => Ok(Step::GoOn),
        }
    }

    /// Checks who it is, and makes it present: first in the room, where it can be told of news, and only then with its
    /// cursor, so that no message falls between.
    async fn let_in(&mut self, request: &ConnectRequest) -> Result<Present, Refused> {
        let inner = Arc::clone(&self.inner);
        let place = || async {
            let place = inner.logins.acquire().await;
            place.map_err(|_| Refused::Told(ConnectRefusal::ServerUnavailable))
        };
        let store = inner.store()?;
        let (app, id, secret) = {
            let _place = place().await?;
            self.identify(request).await?
        };
        let handle = Arc::new(Handle::default());
        let (room, older) = inner.join(app, id, &handle);
        if let Some(older) = older {
            // It may have acknowledgements in its hands. One that is stuck is not waited for: the device drops by their
            // ids what it is sent again.
            let _ = timeout(LAST_WORD_MAX, older.ended()).await;
        }
        // Not for ever, and without a place meanwhile: with a full disk nobody could come in any more. Whoever is let in before
        // is sent again what it has acknowledged, and drops it by its id.
        let _ = timeout(ACKS_WRITTEN_MAX, self.acks.written(id)).await;
        let _place = match place().await {
            Ok(place) => place,
            Err(refused) => {
                inner.leave(&room, id, &handle);
                handle.end();
                return Err(refused);
            }
        };
        let looked = match room.open_tail(&store).await {
            Ok(has_begun) => {
                if has_begun {
                    inner.announce(app);
                }
                self.look(app, id, &secret).await
            }
            Err(error) => Err(error.into()),
        };
        let (login, joined) = match looked {
            Ok(looked) => looked,
            Err(refused) => {
                inner.leave(&room, id, &handle);
                handle.end();
                return Err(refused);
            }
        };
        // A new session each time: what is in flight is known by its message id, not by MQTT's.
        self.session
            .accept(std::time::Instant::now(), ConnectAccepted::default());
        let feed = Feed::new(app, login, joined, Arc::clone(&room), store);
        Ok(Present {
            app,
            feed,
            handle,
            judged: None,
            room,
            secret,
            window: Window::default(),
        })
    }

    /// What a device that has joined is now, and the newest message. Since it proved who it is, it may have been changed or
    /// forgotten, or the server told to stop, and whoever did that could not signal a device that had not joined.
    async fn look(
        &self,
        app: AppId,
        id: DeviceId,
        secret: &SecretHash,
    ) -> Result<(Login, MsgId), Refused> {
        if *self.inner.stop.borrow() {
            return Err(Refused::Told(ConnectRefusal::ServerUnavailable));
        }
        let store = self.inner.store()?;
        let joined = store.newest_message().await?;
        let login = match store.login(app, id).await? {
            Some(login) if login.secret == *secret => Box::pin(self.welcomed(app, login)).await?,
            Some(_) | None => None,
        };
        match login {
            Some(login) if login.is_on_link => Ok((login, joined)),
            Some(_) => Err(Refused::Told(ConnectRefusal::NotAuthorized)),
            None => Err(Refused::Told(ConnectRefusal::BadCredentials)),
        }
    }

    /// What a device is that has shown itself: one that lost the link with a token that moved has it again. Boxed where it is
    /// called: it seldom has anything to do, and a connection is to be small.
    async fn welcomed(&self, app: AppId, login: Login) -> Result<Option<Login>, StoreError> {
        if !login.away {
            return Ok(Some(login));
        }
        let (store, id) = (self.inner.store()?, login.history.id);
        store.welcome(app, id).await?;
        store.login(app, id).await
    }

    /// The device that a CONNECT names, if it proves to be that. No more of it is read than what shows that.
    async fn identify(
        &self,
        request: &ConnectRequest,
    ) -> Result<(AppId, DeviceId, SecretHash), Refused> {
        let password = request
            .password
            .as_ref()
            .and_then(|password| std::str::from_utf8(password.expose()).ok());
        let password = password.unwrap_or_default();
        let key = request
            .username
            .as_deref()
            .and_then(|name| name.parse::<AppKey>().ok());
        let id = request.client_id.parse::<DeviceId>().ok();
        let app = match key {
            Some(key) => self.inner.store()?.app(key).await?,
            None => None,
        };
        let known = match (&app, id) {
            (Some(_), Some(id)) => self.inner.store()?.device_secret(id).await?,
            _ => None,
        };
        // One answer, after the same work, whether the app, the device or the secret is wrong.
        let nobody = Secret::new("").hash();
        let is_it = known
            .as_ref()
            .map_or(&nobody, |(_, secret)| secret)
            .matches(password);
        match (app, id, known) {
            (Some(app), Some(id), Some((its, secret))) if is_it && its == app.id => {
                Ok((app.id, id, secret))
            }
            _ => Err(Refused::Told(ConnectRefusal::BadCredentials)),
        }
    }

    /// Sends what comes next, as far as the device's window goes. What waits for the store is boxed: a broadcast comes from memory,
    /// to thousands at once.
    async fn feed(&mut self, device: &mut Present) -> Result<(), StoreError> {
        while self.session.can_send() && !device.handle.has(Signals::TAKEN_OVER) {
            match device.feed.next(&device.handle).await? {
                Some(Next::Send(outgoing)) => {
                    if !self.publish(device, outgoing).await? {
                        break;
                    }
                }
                Some(Next::Passed(cursor)) => device.passed(cursor),
                Some(Next::Over(message, parts, reason)) => {
                    let over = Acked::Inbox {
                        end: LinkEnd::Expired(reason),
                        message,
                        parts,
                    };
                    Box::pin(self.say(device, over)).await;
                }
                None => break,
            }
        }
        // Many in a row are remembered as one: a device that was away for long has missed much.
        if device.is_due() {
            Box::pin(self.write_judged(device)).await;
        }
        Ok(())
    }

    /// False when nothing more can be sent.
    async fn publish(
        &mut self,
        device: &mut Present,
        outgoing: Outgoing,
    ) -> Result<bool, StoreError> {
        let store = self.inner.store()?;
        let platform = device.feed.platform();
        let payload = match outgoing.known_payload(platform) {
            Some(payload) => Some(payload),
            None => Box::pin(outgoing.payload(&store, platform)).await?,
        };
        let Outgoing {
            expires_at,
            message,
            parts,
            place,
            ..
        } = outgoing;
        let Some(payload) = payload else {
            // The message has been forgotten meanwhile, and all that is counted of it.
            if let Some(position) = place {
                device.passed(Cursor::to(position));
            }
            return Ok(true);
        };
        let left = expires_at.since(UnixMillis::now());
        let expiry = u32::try_from(left.as_secs().max(1)).unwrap_or(u32::MAX);
        let (now, tag) = (std::time::Instant::now(), tag(message, parts));
        let session = &mut self.session;
        match session.publish(now, PUSH_TOPIC, &payload, Some(expiry), false, tag) {
            PublishResult::Sent => device.window.sent(message, parts, place),
            PublishResult::TooLargeForClient => {
                device.window.sent(message, parts, place);
                Box::pin(self.end(device, tag, LinkEnd::TooLarge)).await;
            }
            // Not while the session can send; and if it has closed, the message comes on the next connection.
            PublishResult::WindowFull => return Ok(false),
        }
        Ok(true)
    }

    /// Hands on that what is in flight under a tag has ended.
    async fn end(&self, device: &mut Present, tag: u64, end: LinkEnd) {
        if device.is_due() {
            // While this is in flight still, and before the cursor moves past what was missed.
            self.write_judged(device).await;
        }
        let Some(ended) = device.window.end(tag, end) else {
            return;
        };
        if let Acked::Log { passed, .. } = &ended
            && let Some((judged, _)) = &device.judged
            && judged.position <= passed.position
        {
            device.judged = None;
        }
        self.say(device, ended).await;
    }

    /// Hands on how far the log has been judged, if that has not been.
    async fn write_judged(&self, device: &mut Present) {
        if let Some((judged, _)) = device.judged.take() {
            let (ended, passed) = (None, device.window.owing(judged));
            self.say(device, Acked::Log { ended, passed }).await;
        }
    }

    async fn say(&self, device: &Present, what: Acked) {
        let ack = Ack {
            app: device.app,
            device: device.feed.device(),
            platform: device.feed.platform(),
            what,
        };
        self.acks.send(ack).await;
    }

    /// Takes in what the device has said until now, and perhaps before it hung up: its acknowledgements are its own, whoever
    /// takes its place.
    async fn hear_out(&mut self, device: &mut Present) {
        // What is there is not seen before the runtime has looked.
        let _ = timeout(HEARD_OUT_AFTER, self.socket.readable()).await;
        let mut heard = 0;
        loop {
            let now = std::time::Instant::now();
            if self.session.handle_input(now, &mut self.input).is_err() {
                return;
            }
            while let Some(event) = self.session.poll_event() {
                if let Event::Acked { tag, code } = event {
                    self.end(device, tag, acked(code)).await;
                }
                if self.session.handle_input(now, &mut self.input).is_err() {
                    return;
                }
            }
            self.input.reserve(READ_MAX);
            match self.socket.try_read_buf(&mut self.input) {
                Ok(read @ 1..) if heard < HEARD_OUT_MAX => heard += read,
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Passes on what the device said, and acknowledges it once it is durable. The device waits meanwhile.
    async fn pass_up(
        &mut self,
        device: &Present,
        topic: DeviceTopic,
        payload: Bytes,
        packet_id: Option<NonZeroU16>,
    ) -> Step {
        let (done, end) = oneshot::channel();
        let uplink = Uplink {
            app: device.app,
            device: device.feed.device(),
            done,
            payload,
            platform: device.feed.platform(),
            topic: match topic {
                DeviceTopic::Event => UplinkTopic::Event,
                DeviceTopic::Profile => UplinkTopic::Profile,
            },
        };
        let passed = async {
            self.inner.uplinks.send(uplink).await.ok()?;
            end.await.ok()
        };
        let reason = match timeout(UPLINK_MAX, passed).await {
            Ok(Some(UplinkEnd::Done)) => PublishReason::Success,
            Ok(Some(UplinkEnd::Invalid(why))) => {
                debug!(device = %device.feed.device(), why, "a device said what cannot be understood");
                PublishReason::Invalid
            }
            Ok(Some(UplinkEnd::Later) | None) | Err(_) => {
                self.session.disconnect(DisconnectReason::ServerBusy);
                return Step::Ended;
            }
        };
        if let Some(packet_id) = packet_id {
            self.session.ack_publish(packet_id, reason);
        }
        Step::GoOn
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.session.poll_output(&mut self.output);
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        timeout(WRITE_MAX, self.socket.write_all(&output))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Closes our side, and reads on until the other has closed its own.
    async fn linger(&mut self) {
        if self.socket.shutdown().await.is_err() {
            return;
        }
        loop {
            self.input.clear();
            if !matches!(self.socket.read_buf(&mut self.input).await, Ok(1..)) {
                return;
            }
        }
    }

    /// The device is told to come again; what it has not acknowledged it gets again.
    fn store_failed(&mut self, error: &StoreError) -> io::Error {
        error!(%error, "the link cannot read the store");
        self.session.disconnect(DisconnectReason::ServerBusy);
        io::Error::other(error.to_string())
    }
}

enum Refused {
    Store(StoreError),
    Told(ConnectRefusal),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a PUBACK with this reason code says.
fn acked(code: u8) -> LinkEnd {
    match code {
        0x80.. => LinkEnd::Refused(code),
        _ => LinkEnd::Delivered,
    }
}
