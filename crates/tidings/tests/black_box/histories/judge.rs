//! The judgement of a history: what the server says of each message and device, beside what the oracle knows.

use std::collections::HashMap;

use http::Method;
use serde_json::{Value, json};

use super::oracle::{Part, Provider};
use super::run::Run;
use super::tally::Tally;
use super::world::{Call, Delivery, Restart};

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

/// All that the server says of a message.
struct Told {
    /// Its counts before the rest was asked.
    before: Value,
    /// By device.
    of_devices: Vec<OfDevice>,
    received: Value,
    /// Its counts after the rest was asked.
    shown: Value,
}

/// What the server says of a message and a device.
struct OfDevice {
    state: String,
    status: u64,
    ways: Vec<Way>,
}

impl Run {
    /// What is wrong with what the server says of these messages.
    pub(super) async fn judge(&mut self, messages: &[usize]) -> Vec<String> {
        self.look_who_is_back();
        let restarts = self.world.restarts();
        let all_told = self.ask_all(messages).await;
        let now = super::world::now();
        let deliveries = self.world.deliveries(&self.app.key).await;
        let (mut wrongs, mut refused) = (Vec::new(), 0);
        for (message, told) in messages.iter().zip(&all_told) {
            let (from, to) = (&told.before["channels"], &told.shown["channels"]);
            if from != to {
                wrongs.push(format!("m{message} still moves: from {from} to {to}"));
                continue;
            }
            let case = Case {
                deliveries: &deliveries,
                expires_at: millis(&told.shown["expires_at"]),
                finished: told.shown["finished"] == true,
                message: *message,
                now,
                restarts: &restarts,
            };
            self.judge_message(&case, told, &mut wrongs);
            let ways = told.of_devices.iter().flat_map(|told| &told.ways);
            refused += ways.filter(|way| way.reason == "BadPriority").count();
        }
        if refused > self.oracle.refusals {
            let refusals = self.oracle.refusals;
            wrongs.push(format!("{refused} refused, and Apple refused {refusals}"));
        }
        for device in 0..self.oracle.devices.len() {
            self.judge_phone(device, &deliveries, &restarts, &mut wrongs);
        }
        self.judge_deliveries(&deliveries, &mut wrongs);
        wrongs
    }

    async fn ask_all(&mut self, messages: &[usize]) -> Vec<Told> {
        let mut all_told = Vec::new();
        for message in messages {
            let before = self.read_counts(*message).await;
            let statuses = self.statuses(*message).await;
            let mut of_devices = Vec::new();
            for device in 0..self.oracle.messages[*message].expected.len() {
                let status = statuses[self.id(device)]["status"].as_u64();
                let status = status.expect("a status");
                of_devices.push(self.ask_of(device, *message, status).await);
            }
            all_told.push(Told {
                before,
                of_devices,
                received: Value::Null,
                shown: Value::Null,
            });
        }
        let mut received = self.received(messages).await;
        for (message, told) in messages.iter().zip(&mut all_told) {
            let id = &self.oracle.messages[*message].id;
            told.received = received.remove(id).expect("what was received");
            told.shown = self.read_counts(*message).await;
        }
        all_told
    }

    async fn ask_of(&self, device: usize, message: usize, status: u64) -> OfDevice {
        let expected = &self.oracle.messages[message].expected[device];
        // Of devices for which it was not, the verdict is asked now and then: the status is taken from it.
        let is_asked =
            expected.may_be_target() || status != 3 || (device + message).is_multiple_of(4);
        let (state, ways) = match is_asked {
            true => self.ways(device, message).await,
            false => ("not_targeted".to_owned(), Vec::new()),
        };
        OfDevice {
            state,
            status,
            ways,
        }
    }

    fn judge_message(&self, case: &Case<'_>, told: &Told, wrongs: &mut Vec<String>) {
        let message = case.message;
        let mut tally = Tally::default();
        for (device, told) in told.of_devices.iter().enumerate() {
            let before = wrongs.len();
            self.judge_status(device, told, message, wrongs);
            if self.oracle.devices[device].deleted.is_some() {
                let expected = &self.oracle.messages[message].expected[device];
                tally.unknown += u64::from(expected.may_be_target());
                continue;
            }
            self.judge_device(case, device, &told.state, &told.ways, wrongs);
            if wrongs.len() > before {
                let all: Vec<String> = told.ways.iter().map(|way| format!("{way:?}")).collect();
                wrongs.push(format!("    it says {}: {}", told.state, all.join(", ")));
                wrongs.push(format!("    {}", self.phone_says(device, message)));
            }
            tally.add(self.oracle.devices[device].platform, &told.ways);
        }
        let before = wrongs.len();
        tally.compare(message, &told.shown, &told.received, wrongs);
        if wrongs.len() > before {
            let all = told.of_devices.iter().enumerate();
            wrongs.extend(
                all.map(|(device, told)| format!("    d{device} {}: {:?}", told.state, told.ways)),
            );
        }
        let opened = self.oracle.messages[message].opened;
        if told.shown["counts"]["opened"] != opened {
            let told = &told.shown["counts"]["opened"];
            wrongs.push(format!("m{message}: opened {told}, recorded {opened}"));
        }
    }

    /// The state of a message at a device, and its ways.
    pub(super) async fn ways(&self, device: usize, message: usize) -> (String, Vec<Way>) {
        let id = &self.oracle.messages[message].id;
        let path = format!("/v1/messages/{id}/devices/{}", self.id(device));
        let auth = self.app.basic();
        let call = Call::new(Method::GET, &path, &auth, None);
        let (status, shown) = self.world.ask(call).await;
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

    async fn statuses(&self, message: usize) -> Value {
        let message = &self.oracle.messages[message];
        let devices = 0..message.expected.len();
        let ids: Vec<String> = devices.map(|device| self.id(device)).collect();
        if ids.is_empty() {
            return json!({});
        }
        let body = json!({"msg_id": message.id, "registration_ids": ids});
        let auth = self.app.basic();
        let call = Call::new(Method::POST, "/v3/status/message", &auth, Some(body));
        let (status, shown) = self.world.ask(call).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    /// By the ids of the messages.
    async fn received(&self, messages: &[usize]) -> HashMap<String, Value> {
        let ids = messages.iter().map(|one| &*self.oracle.messages[*one].id);
        let ids: Vec<&str> = ids.collect();
        if ids.is_empty() {
            return HashMap::new();
        }
        let path = format!("/v3/received?msg_ids={}", ids.join(","));
        let auth = self.app.basic();
        let call = Call::new(Method::GET, &path, &auth, None);
        let (status, shown) = self.world.ask(call).await;
        assert_eq!(status, 200, "{shown}");
        let list = shown.as_array().expect("a list").iter();
        let id = |one: &Value| one["msg_id"].as_str().expect("an id").to_owned();
        list.map(|one| (id(one), one.clone())).collect()
    }

    fn judge_status(
        &self,
        device: usize,
        told: &OfDevice,
        message: usize,
        wrongs: &mut Vec<String>,
    ) {
        let is_deleted = self.oracle.devices[device].deleted.is_some();
        let OfDevice { state, status, .. } = told;
        let expected = match state.as_str() {
            "unknown" | "not_targeted" if is_deleted => 2,
            _ if is_deleted => {
                let wrong = format!("m{message} d{device}: {state}, though it is deleted");
                wrongs.push(wrong);
                return;
            }
            "accepted" | "delivered" => 0,
            "dropped" | "expired" | "failed" | "waiting" | "withdrawn" => 1,
            "not_targeted" => 3,
            _ => 4,
        };
        if *status != expected {
            let wrong = format!("m{message} d{device}: status {status}, though it is {state}");
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
}

pub(super) fn millis(time: &Value) -> i64 {
    let time = time.as_str().expect("a time");
    time.parse::<jiff::Timestamp>()
        .expect("RFC 3339")
        .as_millisecond()
}
