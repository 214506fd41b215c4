//! The judgement of a history: what the server says of each message and device, beside what the oracle knows.

use std::collections::HashMap;

use http::Method;
use serde_json::{Value, json};

use super::oracle::{Device, Expected, Message, Part, Provider, Trouble};
use super::phone::{Connection, Pushed};
use super::run::Run;
use super::step::Answer;
use super::tally::Tally;
use super::world::{Call, Delivery, End, Restart};

/// An acknowledgement is durable within this time; one that a kill or a lost connection follows sooner may be lost.
const DURABLE_MS: i64 = 5000;
/// The same, where the server ends in order: what comes while it does may be lost.
const LAST_WORDS_MS: i64 = 1000;
/// What is answered so shortly before the end of a message may be counted after it.
const LATE_MS: i64 = 1000;
/// What left the server in time may come so much later on a busy machine.
const SLOW_MS: i64 = 5000;

/// What the server says became of a part by one way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    pub(super) outcome: String,
    pub(super) part: String,
    pub(super) provider: String,
    pub(super) reason: String,
}

/// What is known of a message when it is judged.
pub(super) struct Case<'a> {
    pub(super) deliveries: &'a [Delivery],
    pub(super) expires_at: i64,
    pub(super) finished: bool,
    pub(super) message: usize,
    pub(super) now: i64,
    pub(super) restarts: &'a [Restart],
}

impl Run {
    pub(super) async fn judge(&mut self, messages: &[usize], wrongs: &mut Vec<String>) {
        let restarts = self.world.restarts();
        for message in messages {
            self.judge_message(*message, &restarts, wrongs).await;
        }
        let deliveries = self.world.deliveries(&self.app.key).await;
        for device in 0..self.oracle.devices.len() {
            self.judge_phone(device, &deliveries, &restarts, wrongs);
        }
        self.judge_deliveries(&deliveries, wrongs);
    }

    async fn judge_message(
        &mut self,
        message: usize,
        restarts: &[Restart],
        wrongs: &mut Vec<String>,
    ) {
        let before = self.read_counts(message).await;
        let mut ways = Vec::new();
        for device in 0..self.oracle.messages[message].expected.len() {
            ways.push(self.ways(device, message).await);
        }
        let statuses = self.statuses(message).await;
        let received = self.received(message).await;
        let shown = self.read_counts(message).await;
        if shown["channels"] != before["channels"] {
            let (from, to) = (&before["channels"], &shown["channels"]);
            wrongs.push(format!("m{message} still moves: from {from} to {to}"));
            return;
        }
        let deliveries = self.world.deliveries(&self.app.key).await;
        let case = Case {
            deliveries: &deliveries,
            expires_at: millis(&shown["expires_at"]),
            finished: shown["finished"] == true,
            message,
            now: super::world::now(),
            restarts,
        };
        let mut tally = Tally::default();
        for (device, (state, ways)) in ways.iter().enumerate() {
            if self.oracle.devices[device].deleted.is_some() {
                if state != "unknown" && state != "not_targeted" {
                    wrongs.push(format!(
                        "m{message} d{device}: {state}, though it is deleted"
                    ));
                }
                tally.unknown += 1;
                self.judge_status(device, "deleted", &statuses, message, wrongs);
                continue;
            }
            let before = wrongs.len();
            self.judge_device(&case, device, state, ways, wrongs);
            self.judge_status(device, state, &statuses, message, wrongs);
            if wrongs.len() > before {
                let all: Vec<String> = ways.iter().map(|way| format!("{way:?}")).collect();
                wrongs.push(format!("    it says {state}: {}", all.join(", ")));
                wrongs.push(format!("    {}", self.phone_says(device, message)));
            }
            tally.add(self.oracle.devices[device].platform, ways);
        }
        let before = wrongs.len();
        tally.compare(message, &shown, &received, wrongs);
        if wrongs.len() > before {
            wrongs.extend(
                ways.iter()
                    .enumerate()
                    .map(|(device, (state, ways))| format!("    d{device} {state}: {ways:?}")),
            );
        }
        let opened = self.oracle.messages[message].opened;
        if shown["counts"]["opened"] != opened {
            let told = &shown["counts"]["opened"];
            wrongs.push(format!("m{message}: opened {told}, recorded {opened}"));
        }
    }

    /// The state of a message at a device, and its ways.
    pub(super) async fn ways(&mut self, device: usize, message: usize) -> (String, Vec<Way>) {
        let id = &self.oracle.messages[message].id;
        let path = format!("/v1/messages/{id}/devices/{}", self.id(device));
        let auth = self.app.basic();
        let (status, shown) = self
            .caller
            .ask(&self.world, Call::new(Method::GET, &path, &auth, None))
            .await;
        assert_eq!(status, 200, "{shown}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ways = shown["ways"].as_array().map_or(&[][..], Vec::as_slice);
        let ways = ways.iter().map(|way| Way {
            outcome: text(&way["outcome"]),
            part: text(&way["part"]),
            provider: text(&way["provider"]),
            reason: text(&way["reason"]),
        });
        (text(&shown["state"]), ways.collect())
    }

    async fn statuses(&mut self, message: usize) -> Value {
        let message = &self.oracle.messages[message];
        let devices = 0..message.expected.len();
        let ids: Vec<String> = devices.map(|device| self.id(device)).collect();
        if ids.is_empty() {
            return json!({});
        }
        let body = json!({"msg_id": message.id, "registration_ids": ids});
        let auth = self.app.basic();
        let call = Call::new(Method::POST, "/v3/status/message", &auth, Some(body));
        let (status, shown) = self.caller.ask(&self.world, call).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    async fn received(&mut self, message: usize) -> Value {
        let path = format!("/v3/received?msg_ids={}", self.oracle.messages[message].id);
        let auth = self.app.basic();
        let (status, shown) = self
            .caller
            .ask(&self.world, Call::new(Method::GET, &path, &auth, None))
            .await;
        assert_eq!(status, 200, "{shown}");
        shown[0].clone()
    }

    fn judge_status(
        &self,
        device: usize,
        state: &str,
        statuses: &Value,
        message: usize,
        wrongs: &mut Vec<String>,
    ) {
        let told = &statuses[self.id(device)]["status"];
        let expected = match state {
            "accepted" | "delivered" => 0,
            "dropped" | "expired" | "failed" | "waiting" | "withdrawn" => 1,
            "deleted" => 2,
            "not_targeted" => 3,
            _ => 4,
        };
        if *told != expected {
            let wrong = format!("m{message} d{device}: status {told}, though it is {state}");
            wrongs.push(wrong);
        }
    }

    fn judge_device(
        &self,
        case: &Case<'_>,
        device: usize,
        state: &str,
        ways: &[Way],
        wrongs: &mut Vec<String>,
    ) {
        let message = case.message;
        let expected = &self.oracle.messages[message].expected[device];
        let mut wrong = |what: String| wrongs.push(format!("m{message} d{device}: {what}"));
        if !expected.may_be_target() {
            if state != "not_targeted" {
                wrong(format!("{state}, though it was not for the device"));
            }
            return;
        }
        if state == "not_targeted" {
            if expected.is_target() {
                wrong(format!("not_targeted, though {expected:?}"));
            }
            return;
        }
        for part in Part::ALL {
            let told: Vec<&Way> = ways.iter().filter(|way| way.part == part.name()).collect();
            for what in self.judge_part(case, device, part, &told) {
                wrong(format!("{}: {what}", part.name()));
            }
        }
        let best = ["delivered", "accepted", "waiting"].into_iter();
        let best = best
            .clone()
            .find(|word| ways.iter().any(|way| way.outcome == *word));
        let ended = |word: &str| {
            ["dropped", "expired", "failed", "unknown", "withdrawn"].contains(&word)
                && ways.iter().any(|way| way.outcome == word)
        };
        if best.is_some_and(|best| best != state) || (best.is_none() && !ended(state)) {
            wrong(format!("{state}, though its ways say otherwise"));
        }
    }

    fn judge_part(&self, case: &Case<'_>, device: usize, part: Part, told: &[&Way]) -> Vec<String> {
        let expected = &self.oracle.messages[case.message].expected[device];
        let ways = expected.ways(part);
        let mut wrongs = Vec::new();
        let providers: Vec<&str> = told.iter().map(|way| way.provider.as_str()).collect();
        let starts = |ways: &[Provider]| {
            ways.iter()
                .zip(&providers)
                .all(|(way, told)| way.name() == *told)
                && providers.len() <= ways.len()
                && (!providers.is_empty() || ways.is_empty())
        };
        // A channel that Apple's word may have ended before the push: then it is not among the ways.
        let without = ways.strip_prefix(&[Provider::Apns]).unwrap_or(ways);
        let is_doubted = expected.in_doubt && starts(without);
        // Likewise the link of one that had lost its token, and may not have been back.
        let off_link: Vec<Provider> = ways
            .iter()
            .copied()
            .filter(|way| *way != Provider::Link)
            .collect();
        let is_doubted = is_doubted || (expected.link_in_doubt && starts(&off_link));
        if !starts(ways) && !is_doubted {
            wrongs.push(format!("went by {providers:?}, not by {ways:?}"));
            return wrongs;
        }
        for (index, way) in told.iter().enumerate() {
            let is_last = index + 1 == told.len();
            if is_last == (way.outcome == "handed_on") {
                wrongs.push(format!("{way:?} of {}", told.len()));
            }
            let why = match way.provider.as_str() {
                "apns" => self.judge_apns(case, device, way),
                _ => self.judge_link(case, device, part, way),
            };
            wrongs.extend(why.map(|why| format!("{} by {}: {why}", way.outcome, way.provider)));
        }
        wrongs
    }

    fn judge_apns(&self, case: &Case<'_>, device: usize, way: &Way) -> Option<String> {
        let id = self.delivery_id(case.message, device);
        let arrived: Vec<&Delivery> = case.deliveries.iter().filter(|one| one.id == id).collect();
        let its = &self.oracle.devices[device];
        let trouble: Vec<Trouble> = its.trouble(case.message).collect();
        let has = |wanted: &[Trouble]| trouble.iter().any(|one| wanted.contains(one));
        // What Apple took just before the end of a server may not have been heard of; then the repeat decides.
        let unheard = |delivery: &&Delivery| {
            let near = |restart: &Restart| {
                delivery.at >= restart.at - DURABLE_MS
                    && restart.ready.is_none_or(|ready| delivery.at <= ready)
            };
            case.restarts.iter().any(near)
        };
        let certain = arrived.iter().any(|delivery| !unheard(delivery));
        let push = &self.oracle.messages[case.message].push;
        // Where the channel is another by now, the server may say that it does not know.
        if way.outcome == "unknown" && has(&[Trouble::Changed]) {
            return None;
        }
        if way.outcome != "accepted" && certain {
            return Some("Apple delivered it".into());
        }
        match way.outcome.as_str() {
            "accepted" => arrived.is_empty().then(|| "Apple had it never".into()),
            "waiting" => Some("Apple was to be asked long ago".into()),
            "expired" => (push.time_to_live > 60).then(|| "its time is not over".into()),
            "handed_on" => {
                (!has(&ALL_TROUBLE)).then(|| "nothing was wrong with the channel".into())
            }
            "dropped" | "failed" => {
                let on_link = its.is_on_link_since(case.message)
                    && self.oracle.messages[case.message].expected[device]
                        .notification
                        .contains(&Provider::Link);
                if on_link {
                    return Some(format!("{}: the link was its next way", way.reason));
                }
                let reason = way.reason.as_str();
                let is_right = match reason {
                    "Unregistered" => has(&[Trouble::Dead]),
                    "BadPriority" => has(&[Trouble::Refused]),
                    "moved" => has(&[Trouble::Moved]),
                    "replaced" => has(&[Trouble::Changed]),
                    _ => false,
                };
                (!is_right).then(|| format!("{reason}, where it met {trouble:?}"))
            }
            _ => Some("no such outcome".into()),
        }
    }

    fn judge_link(&self, case: &Case<'_>, device: usize, part: Part, way: &Way) -> Option<String> {
        let push = &self.oracle.messages[case.message].push;
        let has_time = push.time_to_live > 60;
        let answers = self.answers(case, device, part);
        let told = (way.outcome.as_str(), way.reason.as_str());
        // The first answer that is certain to have been read decides; one before it may have been.
        for (answer, at, is_certain) in &answers {
            let is_it = match (answer, told) {
                (Answer::Acknowledge, ("delivered", _)) => true,
                (Answer::Refuse(code), ("dropped", reason)) => {
                    reason.ends_with(&format!("{code:02x}")) && reason.starts_with("Refused")
                }
                (_, ("expired", _)) => !has_time && *at > case.expires_at - LATE_MS,
                _ => false,
            };
            if is_it {
                return None;
            }
            if *is_certain {
                return Some(format!("{}; the phone answered {answer:?}", way.reason));
            }
        }
        let its = &self.oracle.devices[device];
        let small = |connection: &Connection| {
            let since = self.oracle.messages[case.message].answered;
            connection.packet_max.is_some()
                && connection.ended.is_none_or(|end| end >= since - SLOW_MS)
        };
        let met_small =
            push.big && self.memory(device, |memory| memory.connections.iter().any(small));
        let is_there = self.is_there(case, device);
        match told {
            ("waiting", _) if case.finished => Some("the message is finished".into()),
            ("waiting", _) if is_there => Some("the phone is there, and answers".into()),
            ("waiting", _) => None,
            ("expired", _) if has_time => Some("its time is not over".into()),
            ("expired", _) => (case.now < case.expires_at).then(|| "its time is not over".into()),
            ("dropped", "TooLargeForDevice") if met_small => None,
            ("dropped", reason)
                if !its.is_on_link_since(case.message) && !reason.starts_with("Refused") =>
            {
                None
            }
            ("dropped", reason) => Some(format!("{reason}, and the phone answered {answers:?}")),
            ("delivered", _) => Some(format!("the phone answered {answers:?}")),
            _ => Some("no such outcome".into()),
        }
    }

    /// What a phone answered to a part of a message, in time's order, when, and whether it is certain that the server has read
    /// it and has it still.
    fn answers(&self, case: &Case<'_>, device: usize, part: Part) -> Vec<(Answer, i64, bool)> {
        let id = &self.oracle.messages[case.message].id;
        self.memory(device, |memory| {
            let of_it = memory
                .pushes
                .iter()
                .filter(|pushed| pushed.msg_id == *id && has_part(pushed, part));
            let answers = of_it.filter_map(|pushed| {
                let (answer, at) = pushed.answered?;
                let connection = &memory.connections[pushed.connection];
                let is_certain = is_certain(at, connection, case.restarts)
                    && (self.oracle.messages[case.message].push.time_to_live > 60
                        || at <= case.expires_at - LATE_MS);
                Some((answer, at, is_certain))
            });
            answers.collect()
        })
    }

    /// What a phone had to do with a message, in milliseconds since the push.
    fn phone_says(&self, device: usize, message: usize) -> String {
        let Message { answered, id, .. } = &self.oracle.messages[message];
        let since = |at: i64| at - answered;
        let restarts = self.world.restarts();
        let restarts = restarts
            .iter()
            .map(|one| format!("{:?} at {}", one.by, since(one.at)));
        let restarts: Vec<String> = restarts.collect();
        self.memory(device, |memory| {
            let pushes = memory.pushes.iter().filter(|pushed| pushed.msg_id == *id);
            let pushes = pushes.map(|pushed| {
                let answer = pushed.answered.map(|(answer, at)| (answer, since(at)));
                format!(
                    "at {} on {}: {answer:?}",
                    since(pushed.at),
                    pushed.connection
                )
            });
            let connections = memory.connections.iter().map(|one| {
                let (joined, ended) = (one.joined.map(since), one.ended.map(since));
                format!("{joined:?} to {ended:?}, in order: {}", one.in_order)
            });
            let (pushes, connections): (Vec<_>, Vec<_>) = (pushes.collect(), connections.collect());
            let last = connections.len().saturating_sub(6);
            format!(
                "it came {pushes:?}; connections from {last} on {:?}; {restarts:?}",
                &connections[last..]
            )
        })
    }

    /// The phone is connected, and takes and answers whatever comes.
    fn is_there(&self, case: &Case<'_>, device: usize) -> bool {
        let is_open = self.memory(device, |memory| {
            let last = memory.connections.last();
            last.is_some_and(|last| {
                last.ended.is_none() && last.joined.is_some_and(|at| at < case.now - SLOW_MS)
            })
        });
        is_open && self.will_answer(device)
    }

    /// What came over the link, to whom it should not have, or when.
    fn judge_phone(
        &self,
        device: usize,
        deliveries: &[Delivery],
        restarts: &[Restart],
        wrongs: &mut Vec<String>,
    ) {
        let its = &self.oracle.devices[device];
        let mut wrong = |what: String| wrongs.push(format!("d{device}: {what}"));
        let (pushes, connections, own) = self.memory(device, |memory| {
            (
                memory.pushes.clone(),
                memory.connections.clone(),
                memory.wrongs.clone(),
            )
        });
        for what in own {
            wrong(what);
        }
        for (index, pushed) in pushes.iter().enumerate() {
            let mut messages = self.oracle.messages.iter();
            let Some(number) = messages.position(|message| message.id == pushed.msg_id) else {
                wrong(format!("was sent {}, which nobody pushed", pushed.msg_id));
                continue;
            };
            let message = &self.oracle.messages[number];
            let nobody = Expected::default();
            let expected = message.expected.get(device).unwrap_or(&nobody);
            if !pushed.message && !pushed.notification {
                wrong(format!("was sent nothing of m{number}"));
            }
            for part in Part::ALL {
                if has_part(pushed, part) {
                    let why =
                        self.by_link(its, number, expected, part, deliveries, restarts, device);
                    if let Some(why) = why {
                        wrong(format!("was sent the {} of m{number}: {why}", part.name()));
                    }
                    if let Some(why) = again(&pushes, index, part, &connections, restarts) {
                        wrong(format!(
                            "was sent the {} of m{number} again: {why}",
                            part.name()
                        ));
                    }
                }
            }
            let connection = &connections[pushed.connection];
            if message.push.time_to_live == 0 && connection.asked > message.answered {
                wrong(format!("was sent m{number}, though it was away"));
            }
            if its.deleted.is_some_and(|(_, at)| connection.asked > at) {
                wrong(format!("was sent m{number}, though it is deleted"));
            }
            let lives = i64::from(message.push.time_to_live.max(10)) * 1000;
            if pushed.at > message.answered + lives + SLOW_MS {
                wrong(format!("was sent m{number}, though it had expired"));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that decides it")]
    fn by_link(
        &self,
        its: &Device,
        number: usize,
        expected: &Expected,
        part: Part,
        deliveries: &[Delivery],
        restarts: &[Restart],
        device: usize,
    ) -> Option<String> {
        let ways = expected.ways(part);
        match ways {
            [Provider::Link] => None,
            [Provider::Apns, Provider::Link] => {
                let id = self.delivery_id(number, device);
                let arrived = deliveries.iter().find(|one| one.id == id);
                // A repeat that Apple refuses, after an answer that was lost, may be handed on.
                let is_lost = |delivery: &Delivery| {
                    let near = |restart: &&Restart| {
                        delivery.at >= restart.at - DURABLE_MS
                            && restart.ready.is_none_or(|ready| delivery.at <= ready)
                    };
                    restarts.iter().any(|restart| near(&restart))
                };
                match arrived {
                    Some(delivery) if !is_lost(delivery) => Some("it had it from Apple".into()),
                    Some(_) | None => {
                        let has_trouble = its.trouble(number).next().is_some();
                        (!has_trouble && !expected.in_doubt).then(|| "its way is Apple's".into())
                    }
                }
            }
            _ => Some(format!("its ways are {ways:?}")),
        }
    }

    /// What Apple delivered that was not for this device, or not once.
    fn judge_deliveries(&self, deliveries: &[Delivery], wrongs: &mut Vec<String>) {
        let mut known: HashMap<String, (usize, usize)> = HashMap::new();
        for (number, message) in self.oracle.messages.iter().enumerate() {
            if !message.id.is_empty() {
                for device in 0..message.expected.len() {
                    known.insert(self.delivery_id(number, device), (number, device));
                }
            }
        }
        let restarts = self.world.restarts();
        let mut first: HashMap<&str, i64> = HashMap::new();
        for delivery in deliveries {
            let Some((number, device)) = known.get(&delivery.id) else {
                let message = &delivery.message;
                wrongs.push(format!(
                    "Apple delivered {message} to somebody for whom it was not"
                ));
                continue;
            };
            let message = &self.oracle.messages[*number];
            if delivery.message != message.id {
                wrongs.push(format!("Apple delivered {} as m{number}", delivery.message));
            }
            if !message.expected[*device]
                .notification
                .contains(&Provider::Apns)
            {
                wrongs.push(format!(
                    "m{number} d{device}: Apple delivered it, and was not its way"
                ));
            }
            if let Some(before) = first.insert(&delivery.id, delivery.at) {
                let between = |restart: &Restart| {
                    restart.at <= delivery.at && before <= restart.ready.unwrap_or(i64::MAX)
                };
                if !restarts.iter().any(between) {
                    wrongs.push(format!("m{number} d{device}: Apple delivered it twice"));
                }
            }
        }
    }

    fn delivery_id(&self, message: usize, device: usize) -> String {
        let message = self.oracle.messages[message].id.parse().expect("an id");
        let device = self.id(device).parse().expect("an id");
        tidings_model::delivery_id(message, device).to_string()
    }
}

const ALL_TROUBLE: [Trouble; 4] = [
    Trouble::Changed,
    Trouble::Dead,
    Trouble::Moved,
    Trouble::Refused,
];

fn has_part(pushed: &Pushed, part: Part) -> bool {
    match part {
        Part::Message => pushed.message,
        Part::Notification => pushed.notification,
    }
}

/// Why a part should not have come at `index`, when it had come before.
fn again(
    pushes: &[Pushed],
    index: usize,
    part: Part,
    connections: &[Connection],
    restarts: &[Restart],
) -> Option<String> {
    let pushed = &pushes[index];
    let mut before = pushes[..index]
        .iter()
        .filter(|before| before.msg_id == pushed.msg_id && has_part(before, part));
    before.find_map(|before| {
        if before.connection == pushed.connection {
            return Some("on one connection".into());
        }
        let (answer, at) = before.answered?;
        let connection = &connections[before.connection];
        let was_read = at < pushed.at && is_certain(at, connection, restarts);
        was_read.then(|| format!("it had answered {answer:?}"))
    })
}

/// Whether the server has read what was answered at this time on this connection, and still knows it.
fn is_certain(at: i64, connection: &Connection, restarts: &[Restart]) -> bool {
    let lost_by_restart = |restart: &Restart| {
        let before = match restart.by {
            End::Kill => DURABLE_MS,
            End::Terminate => LAST_WORDS_MS,
        };
        at >= restart.at - before && restart.ready.is_none_or(|ready| at <= ready)
    };
    let was_read = match connection.ended {
        None => true,
        Some(_) if connection.in_order => true,
        Some(ended) => at < ended - DURABLE_MS,
    };
    was_read && !restarts.iter().any(lost_by_restart)
}

fn millis(time: &Value) -> i64 {
    let time = time.as_str().expect("a time");
    time.parse::<jiff::Timestamp>()
        .expect("RFC 3339")
        .as_millisecond()
}
