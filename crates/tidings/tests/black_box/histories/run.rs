//! One history, step by step, and then its judgement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::support::server::App;

use super::judge::millis;
use super::link::SLOW_MS;
use super::oracle::{Device, Message, Missing, Oracle};
use super::phone::{Connection, Identity, Memory, Phone, Wishes};
use super::step::{Answer, Audience, Channels, Platform, Push, Step};
use super::world::{Call, World, now};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What has not changed for so long does not, on a busy machine either.
const STILL_MAX: Duration = Duration::from_secs(30);
/// A message is finished so long after it has expired, or later.
const FINISH_GRACE_MS: i64 = 5000;

pub(super) struct Run {
    pub(super) app: App,
    faults: Vec<String>,
    pub(super) oracle: Oracle,
    pub(super) phones: HashMap<usize, (Phone, Wishes)>,
    /// The latest counts of each message, by their paths.
    pub(super) readings: HashMap<usize, HashMap<String, u64>>,
    pub(super) world: Arc<World>,
    /// What cannot be right, whatever comes.
    pub(super) wrongs: Vec<String>,
}

/// What is wrong with a history; nothing when all is as it must be. Its steps wait for a turn, and `done` counts them.
pub(super) async fn run(
    world: Arc<World>,
    steps: &[Step],
    turns: &Semaphore,
    done: &AtomicUsize,
) -> Vec<String> {
    let turn = turns.acquire().await.expect("it is open");
    let app = app(&world).await;
    let mut run = Run {
        app,
        faults: Vec::new(),
        oracle: Oracle::default(),
        phones: HashMap::new(),
        readings: HashMap::new(),
        world,
        wrongs: Vec::new(),
    };
    for step in steps {
        run.step(step).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
    drop(turn);
    let wrongs = run.end().await;
    run.clear().await;
    wrongs
}

pub(super) async fn app(world: &World) -> App {
    let _gate = world.gate.read().await;
    let body = json!({"name": "history"});
    let call = Call::new(Method::POST, "/v1/apps", &world.admin, Some(body));
    let (status, app) = world.ask(call).await;
    assert_eq!(status, 201, "{app}");
    let text = |field: &str| app[field].as_str().expect("a text").to_owned();
    App {
        key: text("app_key"),
        secret: text("master_secret"),
    }
}

/// What was wrong when it was looked at last, and since when it is the same.
#[derive(Default)]
struct Still {
    since: Option<Instant>,
    wrongs: Vec<String>,
}

impl Still {
    /// Whether it has been the same for long. `wait` is until the next look.
    fn is(&mut self, wrongs: &[String], wait: Duration) -> bool {
        // What is indented is only told with it.
        let wrongs = wrongs.iter().filter(|wrong| !wrong.starts_with(' '));
        let wrongs: Vec<String> = wrongs.cloned().collect();
        if self.wrongs != wrongs || wait > LOOK_EVERY {
            (self.since, self.wrongs) = (None, wrongs);
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > STILL_MAX
    }
}

impl Run {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Answer { device, answer } => {
                if let Some(device) = self.oracle.at(*device)
                    && let Some((phone, wishes)) = self.phones.get_mut(&device)
                {
                    phone.answer(*answer);
                    wishes.answer = *answer;
                }
            }
            Step::Change {
                device,
                alias,
                channels,
                tags,
            } => {
                if let Some(device) = self.oracle.at(*device) {
                    self.change(device, alias.as_deref(), *channels, tags.as_deref())
                        .await;
                }
            }
            Step::Connect {
                device,
                answer,
                packet_max,
                version,
            } => {
                let wishes = Wishes {
                    answer: *answer,
                    packet_max: *packet_max,
                    version: *version,
                };
                if let Some(device) = self.oracle.at(*device) {
                    self.connect(device, wishes);
                }
            }
            Step::Counts { message } => {
                if usize::from(*message) < self.oracle.messages.len() {
                    self.read_counts(usize::from(*message)).await;
                }
            }
            Step::Cut { device } => {
                if let Some(device) = self.oracle.at(*device)
                    && let Some((phone, _)) = self.phones.remove(&device)
                {
                    phone.cut();
                }
            }
            Step::Delete { device } => {
                if let Some(device) = self.oracle.at(*device) {
                    self.delete(device).await;
                }
            }
            Step::Disconnect { device } => {
                if let Some(device) = self.oracle.at(*device)
                    && let Some((phone, _)) = self.phones.remove(&device)
                {
                    phone.leave().await;
                }
            }
            Step::Fault { token, status } => self.fault(*token, *status).await,
            Step::Opened { device, message } => {
                if let Some(device) = self.oracle.at(*device) {
                    self.opened(device, usize::from(*message)).await;
                }
            }
            Step::Pause { ms } => sleep(Duration::from_millis((*ms).into())).await,
            Step::Push(push) => self.push(push).await,
            Step::Register {
                device,
                alias,
                channels,
                platform,
                proof,
                tags,
            } => {
                self.register(*device, *alias, *channels, *platform, *proof, tags)
                    .await;
            }
            Step::Token { token, installed } => self.set_installed(*token, *installed).await,
            Step::Verdict { device, message } => {
                if let Some(device) = self.oracle.at(*device)
                    && usize::from(*message) < self.oracle.messages.len()
                {
                    self.glance(device, usize::from(*message)).await;
                }
            }
        }
    }

    fn token(&self, number: u8) -> String {
        format!("{}{number:040x}", self.app.key)
    }

    fn channels(&self, channels: Channels) -> Value {
        let mut list = Vec::new();
        if let Some(token) = channels.token {
            let mut channel = json!({"provider": "apns", "token": self.token(token.number)});
            if let Some(environment) = token.environment.name() {
                channel["environment"] = environment.into();
            }
            list.push(channel);
        }
        if channels.link {
            list.push(json!({"provider": "link"}));
        }
        list.into()
    }

    async fn register(
        &mut self,
        slot: u8,
        alias: Option<u8>,
        channels: Channels,
        platform: Platform,
        proof: bool,
        tags: &[u8],
    ) {
        let mut body = json!({
            "app_key": self.app.key,
            "platform": platform.name(),
            "channels": self.channels(channels),
            "tags": labels("t", tags),
        });
        if let Some(alias) = alias {
            body["alias"] = label("a", alias).into();
        }
        let before = self.oracle.at(slot);
        let proof = proof.then_some(before).flatten();
        let auth = proof.map_or_else(String::new, |device| self.bearer(device));
        let known = channels
            .token
            .and_then(|token| self.oracle.owner(token.number));
        let _gate = self.world.gate.read().await;
        let call = Call::new(Method::POST, "/v1/devices", &auth, Some(body));
        let (status, reply) = self.world.ask(call).await;
        assert!(matches!(status, 200 | 201), "{status} {reply}");
        let text = |field: &str| reply[field].as_str().expect("a text").to_owned();
        let (id, secret) = (text("registration_id"), text("device_secret"));
        let is_same = before.is_some_and(|device| self.id(device) == id);
        if is_same != (status == 200) {
            self.wrongs.push(format!("{status} for the device {id}"));
        }
        let is_sure = known.is_none_or(|owner| {
            let apns = self.oracle.devices[owner].apns;
            apns.is_some_and(|apns| !apns.in_doubt)
        });
        if is_sure && is_same != (proof.is_some() && proof == known) {
            let wrong = format!("the device {id}, its token that of {known:?}, proof of {proof:?}");
            self.wrongs.push(wrong);
        }
        let device = match before {
            Some(device) if is_same => {
                self.oracle.devices[device]
                    .identity
                    .lock()
                    .expect("no panic")
                    .secret = secret;
                device
            }
            Some(_) | None => {
                self.oracle.devices.push(Device {
                    alias: None,
                    apns: None,
                    befell: Vec::new(),
                    deleted: None,
                    identity: Arc::new(Mutex::new(Identity {
                        app_key: self.app.key.clone(),
                        registration_id: id,
                        secret,
                    })),
                    link: false,
                    link_lost: Vec::new(),
                    memory: Arc::default(),
                    missing: Missing::No,
                    platform,
                    tags: tags.iter().copied().collect(),
                });
                self.oracle.devices.len() - 1
            }
        };
        self.oracle.slots.insert(slot, device);
        self.oracle.set_channels(device, channels);
        if let Some((phone, _)) = self.phones.get(&device) {
            phone.changed();
        }
        let device = &mut self.oracle.devices[device];
        // What a device that comes again leaves out stays.
        device.alias = alias.or(device.alias);
        if !tags.is_empty() {
            device.tags = tags.iter().copied().collect();
        }
    }

    async fn change(
        &mut self,
        device: usize,
        alias: Option<&[u8]>,
        channels: Option<Channels>,
        tags: Option<&[u8]>,
    ) {
        let mut body = json!({});
        if let Some(alias) = alias {
            let alias = alias.first().map(|alias| label("a", *alias));
            body["alias"] = json!(alias);
        }
        if let Some(tags) = tags {
            body["tags"] = labels("t", tags);
        }
        if let Some(channels) = channels {
            body["channels"] = self.channels(channels);
        }
        let (path, auth) = (self.device_path(device), self.bearer(device));
        let call = Call::new(Method::PATCH, &path, &auth, Some(body));
        let (status, reply) = self.world.ask(call).await;
        assert_eq!(status, 200, "{reply}");
        self.oracle.devices[device].missing = Missing::No;
        if let Some(alias) = alias {
            self.oracle.devices[device].alias = alias.first().copied();
        }
        if let Some(tags) = tags {
            self.oracle.devices[device].tags = tags.iter().copied().collect();
        }
        if let Some(channels) = channels {
            self.oracle.set_channels(device, channels);
        }
        if let Some((phone, _)) = self.phones.get(&device) {
            phone.changed();
        }
    }

    fn connect(&mut self, device: usize, wishes: Wishes) {
        if let Some((before, _)) = self.phones.remove(&device) {
            before.is_last();
        }
        let Device {
            identity, memory, ..
        } = &self.oracle.devices[device];
        let phone = Phone::start(
            Arc::clone(&self.world),
            Arc::clone(identity),
            Arc::clone(memory),
            wishes,
        );
        self.phones.insert(device, (phone, wishes));
    }

    async fn delete(&mut self, device: usize) {
        let (path, auth) = (self.device_path(device), self.bearer(device));
        let call = Call::new(Method::DELETE, &path, &auth, None);
        let (status, reply) = self.world.ask(call).await;
        // It may have been done by a call whose answer was lost.
        assert!(matches!(status, 200 | 401 | 404), "{status} {reply}");
        self.oracle.delete(device, now());
        if let Some((phone, _)) = self.phones.remove(&device) {
            phone.is_last();
        }
    }

    async fn fault(&mut self, token: u8, status: u16) {
        let mut fault =
            json!({"provider": "apns", "token": self.token(token), "count": 1, "status": status});
        match status {
            400 => fault["reason"] = "BadPriority".into(),
            429 => {
                fault["reason"] = "TooManyRequests".into();
                fault["headers"] = json!({"retry-after": "1"});
            }
            _ => {}
        }
        let call = Call::new(Method::POST, "/v1/sandbox/faults", "", Some(fault));
        let (code, reply) = self.world.ask_apple(call).await;
        assert_eq!(code, 201, "{reply}");
        self.faults
            .push(reply["id"].as_str().expect("an id").to_owned());
        if status == 400 {
            self.oracle.refuse(token);
        }
    }

    async fn set_installed(&mut self, token: u8, installed: bool) {
        let path = format!("/v1/sandbox/phones/apns/{}", self.token(token));
        let state = if installed {
            "installed"
        } else {
            "uninstalled"
        };
        let call = Call::new(Method::PUT, &path, "", Some(json!({"state": state})));
        let (code, reply) = self.world.ask_apple(call).await;
        assert_eq!(code, 200, "{reply}");
        self.oracle.set_installed(token, installed);
    }

    async fn push(&mut self, push: &Push) {
        let number = self.oracle.messages.len();
        let padding = if push.big {
            "x".repeat(300)
        } else {
            String::new()
        };
        let text = format!("m{number} {padding}");
        self.look_who_is_back();
        let expected = self.oracle.expect(push);
        let audience = match &push.audience {
            Audience::Aliases(aliases) => json!({"alias": labels("a", aliases)}),
            Audience::All => json!("all"),
            Audience::Devices(slots) => {
                let devices = slots.iter().filter_map(|slot| self.oracle.slots.get(slot));
                let ids: Vec<String> = devices.map(|device| self.id(*device)).collect();
                if ids.is_empty() {
                    return;
                }
                json!({"registration_id": ids})
            }
            Audience::Tags(tags) => json!({"tag": labels("t", tags)}),
        };
        let platforms: Vec<&str> = push.platforms.iter().map(|one| one.name()).collect();
        let mut body = json!({
            "audience": audience,
            "cid": format!("m{number}-{}", now()),
            "options": {"time_to_live": push.time_to_live},
            "platform": platforms,
        });
        if platforms.is_empty() {
            body["platform"] = "all".into();
        }
        if push.notification {
            body["notification"] = json!({"alert": text});
        }
        if push.message {
            body["message"] = json!({"msg_content": text});
        }
        let auth = self.app.basic();
        let call = Call::new(Method::POST, "/v3/push", &auth, Some(body));
        let (status, reply) = self.world.ask(call).await;
        let (sure, possible) = (
            expected.iter().any(|one| one.is_target()),
            expected.iter().any(|one| one.may_be_target()),
        );
        match status {
            200 if !possible => {
                let wrong = format!("m{number} was accepted, and is for nobody: {push:?}");
                self.wrongs.push(wrong);
            }
            400 if sure => {
                let wrong = format!("m{number} was refused, and is for somebody: {push:?} {reply}");
                self.wrongs.push(wrong);
            }
            200 | 400 => {}
            _ => panic!("{status} {reply}"),
        }
        // A push that was refused has its number all the same, and is for nobody.
        let accepted = status == 200;
        self.oracle.messages.push(Message {
            answered: now(),
            expected: if accepted { expected } else { Vec::new() },
            id: match accepted {
                true => reply["msg_id"].as_str().expect("an id").to_owned(),
                false => String::new(),
            },
            push: push.clone(),
            opened: 0,
        });
    }

    /// Those who lost their tokens to others, and have come to the link since.
    pub(super) fn look_who_is_back(&mut self) {
        for (number, device) in self.oracle.devices.iter_mut().enumerate() {
            let (Missing::InDoubt(at) | Missing::Perhaps(at) | Missing::Since(at)) = device.missing
            else {
                continue;
            };
            let memory = device.memory.lock().expect("no panic");
            let came = |one: &Connection| one.joined.is_some() && one.asked > at;
            // One that has not waited to be let in may be taken for being there some time later.
            let was_there = |one: &Connection| one.ended.is_none_or(|ended| ended >= at - SLOW_MS);
            device.missing = if memory.connections.iter().any(came) {
                Missing::No
            } else if let Missing::Perhaps(_) = device.missing {
                continue;
            } else if self.phones.contains_key(&number) || memory.connections.iter().any(was_there)
            {
                Missing::InDoubt(at)
            } else {
                Missing::Since(at)
            };
        }
    }

    async fn opened(&mut self, device: usize, message: usize) {
        let Some(Message { expected, id, .. }) = self.oracle.messages.get(message) else {
            return;
        };
        if id.is_empty() {
            return;
        }
        let expected = expected.get(device).cloned().unwrap_or_default();
        let body = json!({"events": [{"type": "opened", "msg_id": id}]});
        let path = format!("{}/events", self.device_path(device));
        let auth = self.bearer(device);
        let _gate = self.world.gate.read().await;
        let call = Call::new(Method::POST, &path, &auth, Some(body));
        let (status, reply) = self.world.ask(call).await;
        assert_eq!(status, 200, "{reply}");
        let recorded = reply["recorded"].as_u64().expect("a number");
        self.oracle.messages[message].opened += recorded;
        if recorded > 0 && !expected.may_be_target() {
            let wrong = format!("device {device} opened m{message}, which was not for it");
            self.wrongs.push(wrong);
        }
    }

    /// Waits until all has come to its end and is as it must be, or stays as it must not.
    async fn end(&mut self) -> Vec<String> {
        let mut all: Vec<usize> = (0..self.oracle.messages.len()).collect();
        all.retain(|message| !self.oracle.messages[*message].id.is_empty());
        let mut open = all.clone();
        let mut still = Still::default();
        loop {
            let mut wait = LOOK_EVERY;
            let wrongs = match self.first_open(&mut open).await {
                None => self.judge(&all).await,
                Some((what, until)) => {
                    let until = u64::try_from(until - now()).unwrap_or(0);
                    wait = wait.max(Duration::from_millis(until));
                    vec![what]
                }
            };
            let is_over = open.is_empty() && (wrongs.is_empty() || !self.wrongs.is_empty());
            let is_still = still.is(&wrongs, wait);
            if is_over || is_still {
                let more = match open.is_empty() {
                    true => Vec::new(),
                    false => self.judge(&all).await,
                };
                return [self.wrongs.clone(), wrongs, more].concat();
            }
            sleep(wait).await;
        }
    }

    /// The first of these messages that has not ended, in words, and before when it cannot; those before it are left out.
    async fn first_open(&mut self, open: &mut Vec<usize>) -> Option<(String, i64)> {
        while let Some(message) = open.last() {
            let message = *message;
            let shown = self.read_counts(message).await;
            let has_time = self.oracle.messages[message].push.time_to_live > 60;
            if shown["finished"] != true && (!has_time || shown["state"] == "sending") {
                let until = match has_time {
                    true => 0,
                    false => millis(&shown["expires_at"]) + FINISH_GRACE_MS,
                };
                return Some((format!("m{message} does not end: {shown}"), until));
            }
            open.pop();
        }
        None
    }

    async fn clear(&mut self) {
        for (_, (phone, _)) in self.phones.drain() {
            phone.cut();
        }
        for id in std::mem::take(&mut self.faults) {
            let path = format!("/v1/sandbox/faults/{id}");
            let call = Call::new(Method::DELETE, &path, "", None);
            // One that was met is gone.
            self.world.ask_apple(call).await;
        }
    }

    pub(super) fn id(&self, device: usize) -> String {
        let identity = self.oracle.devices[device].identity.lock();
        identity.expect("no panic").registration_id.clone()
    }

    fn bearer(&self, device: usize) -> String {
        let identity = self.oracle.devices[device].identity.lock();
        format!("Bearer {}", identity.expect("no panic").secret)
    }

    fn device_path(&self, device: usize) -> String {
        format!("/v1/devices/{}", self.id(device))
    }

    pub(super) fn memory<T>(&self, device: usize, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.oracle.devices[device].memory.lock().expect("no panic"))
    }

    pub(super) fn will_answer(&self, device: usize) -> bool {
        let phone = self.phones.get(&device);
        phone.is_some_and(|(_, wishes)| wishes.answer != Answer::Silence)
    }
}

fn label(kind: &str, number: u8) -> String {
    format!("{kind}{number}")
}

fn labels(kind: &str, numbers: &[u8]) -> Value {
    numbers.iter().map(|number| label(kind, *number)).collect()
}
