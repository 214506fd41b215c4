//! The sums: what a message's counts must be when what is said of each device is true, and that no count falls.

use std::collections::HashMap;

use http::Method;
use serde_json::Value;

use super::judge::Way;
use super::oracle::Provider;
use super::run::Run;
use super::step::Platform;
use super::world::Call;

/// How a delivery can end.
const ENDINGS: [&str; 6] = [
    "accepted",
    "delivered",
    "dropped",
    "expired",
    "failed",
    "handed_on",
];

/// What was said of all devices of a message.
#[derive(Default)]
pub(super) struct Tally {
    by: HashMap<(&'static str, String), u64>,
    delivered_on: HashMap<&'static str, u64>,
    targeted_on: HashMap<&'static str, u64>,
    /// Devices of which nothing is said any more.
    pub(super) unknown: u64,
}

impl Tally {
    pub(super) fn add(&mut self, platform: Platform, ways: &[Way]) {
        for provider in Provider::ALL {
            let mut its: Vec<&Way> = Vec::new();
            for way in ways.iter().filter(|way| way.provider == provider.name()) {
                // Parts that went one way from the first are one delivery; one that was handed on is its own.
                let was_handed = |way: &Way| {
                    let mut other = ways.iter().filter(|other| other.part == way.part);
                    other
                        .any(|other| other.outcome == "handed_on" && other.provider != way.provider)
                };
                let is_new = its.iter().all(|other| was_handed(other) != was_handed(way));
                if is_new {
                    its.push(way);
                }
            }
            for way in its {
                *self
                    .by
                    .entry((provider.name(), way.outcome.clone()))
                    .or_default() += 1;
                if provider == Provider::Link {
                    *self.targeted_on.entry(platform.name()).or_default() += 1;
                    let delivered = u64::from(way.outcome == "delivered");
                    *self.delivered_on.entry(platform.name()).or_default() += delivered;
                }
            }
        }
    }

    /// Whether the counts say the same.
    pub(super) fn compare(
        &self,
        message: usize,
        shown: &Value,
        received: &Value,
        wrongs: &mut Vec<String>,
    ) {
        let mut wrong = |what: String| wrongs.push(format!("m{message}: {what}: {shown}"));
        let finished = shown["finished"] == true;
        for provider in Provider::ALL {
            let counts = &shown["channels"][provider.name()];
            let of = |word: &str| counts[word].as_u64().unwrap_or(0);
            let ended: u64 = ENDINGS.iter().map(|ending| of(ending)).sum();
            if ended > of("targeted") || (finished && ended != of("targeted")) {
                wrong(format!(
                    "{ended} of {} by {}",
                    of("targeted"),
                    provider.name()
                ));
            }
            let mut targeted = 0;
            for ending in ENDINGS {
                let told = self.told(provider, ending);
                targeted += told;
                let slack = self.slack(provider);
                let most = told + slack;
                // What has expired at a device counts when the message is finished.
                let least = if ending == "expired" && !finished {
                    0
                } else {
                    told
                };
                if !(least..=most).contains(&of(ending)) {
                    wrong(format!(
                        "{} {ending} by {}, and {told} say so",
                        of(ending),
                        provider.name()
                    ));
                }
            }
            targeted += self.told(provider, "waiting") + self.told(provider, "unknown");
            let most = targeted + self.slack(provider);
            if !(targeted..=most).contains(&of("targeted")) {
                wrong(format!(
                    "targeted {} by {}, and {targeted} say so",
                    of("targeted"),
                    provider.name()
                ));
            }
        }
        let waiting = Provider::ALL.map(|provider| self.told(provider, "waiting"));
        if shown["state"] == "finished" && waiting.iter().any(|count| *count > 0) {
            wrong(format!("finished, and {waiting:?} wait"));
        }
        let total = |word: &str| shown["counts"][word].as_u64().unwrap_or(0);
        let ended: u64 = ENDINGS[..5].iter().map(|ending| total(ending)).sum();
        if ended > total("targeted") || (finished && ended != total("targeted")) {
            wrong(format!("{ended} of {} in all", total("targeted")));
        }
        let accepted = self.told(Provider::Apns, "accepted");
        self.compare_received(message, received, accepted, wrongs);
    }

    fn compare_received(
        &self,
        message: usize,
        received: &Value,
        accepted: u64,
        wrongs: &mut Vec<String>,
    ) {
        let on = |platform: Platform| self.delivered_on.get(platform.name()).copied().unwrap_or(0);
        let columns = [
            ("android_received", on(Platform::Android)),
            ("ios_msg_received", on(Platform::Ios)),
            ("ios_apns_sent", accepted),
        ];
        let slack = self.slack(Provider::Apns).max(self.slack(Provider::Link));
        for (column, told) in columns {
            // Nobody was to get it that way.
            let count = received[column].as_u64().unwrap_or(0);
            if !(told..=told + slack).contains(&count) {
                wrongs.push(format!("m{message}: {column} {count}, and {told} say so"));
            }
        }
    }

    /// Deliveries of which nothing is said any more: a device may have had its custom message from the link, and the
    /// notification that was handed on to that as another.
    fn slack(&self, provider: Provider) -> u64 {
        2 * self.unknown + self.told(provider, "unknown")
    }

    fn told(&self, provider: Provider, outcome: &str) -> u64 {
        let key = (provider.name(), outcome.to_owned());
        self.by.get(&key).copied().unwrap_or(0)
    }
}

impl Run {
    /// Reads the counts of a message; none may be less than it was.
    pub(super) async fn read_counts(&mut self, message: usize) -> Value {
        let id = self.oracle.messages[message].id.clone();
        if id.is_empty() {
            return Value::Null;
        }
        let path = format!("/v1/messages/{id}");
        let auth = self.app.basic();
        let call = Call::new(Method::GET, &path, &auth, None);
        let (status, shown) = self.world.ask(call).await;
        assert_eq!(status, 200, "{shown}");
        let mut reading = HashMap::new();
        note("counts", &shown["counts"], &mut reading);
        for part in ["channels", "platforms"] {
            for (name, counts) in shown[part].as_object().into_iter().flatten() {
                note(&format!("{part}.{name}"), counts, &mut reading);
            }
        }
        let before = self.readings.entry(message).or_default();
        for (path, count) in before.iter() {
            let now = reading.get(path).copied().unwrap_or(0);
            if now < *count {
                self.wrongs
                    .push(format!("m{message}: {path} fell from {count} to {now}"));
            }
        }
        *before = reading;
        shown
    }

    /// What is said of a message while it is under way: delivered and accepted are never said too soon.
    pub(super) async fn glance(&mut self, device: usize, message: usize) {
        let known = self.oracle.messages[message].expected.get(device).cloned();
        if self.oracle.messages[message].id.is_empty() {
            return;
        }
        let (state, ways) = self.ways(device, message).await;
        let wrong = match (known, state.as_str()) {
            (None, "not_targeted") => None,
            (None, _) => Some("it is older than the device"),
            (Some(known), "not_targeted") if known.is_target() => Some("it was for the device"),
            (Some(known), "not_targeted") if !known.is_target() => None,
            (Some(known), _) if !known.may_be_target() => Some("it was not for the device"),
            (_, "delivered") if !self.was_acknowledged(device, message) => {
                Some("the phone has not acknowledged it")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let wrong = format!("m{message} d{device}: {state} at a glance: {wrong}: {ways:?}");
            self.wrongs.push(wrong);
        }
    }

    fn was_acknowledged(&self, device: usize, message: usize) -> bool {
        let id = &self.oracle.messages[message].id;
        self.memory(device, |memory| {
            let mut of_it = memory.pushes.iter().filter(|pushed| pushed.msg_id == *id);
            of_it.any(|pushed| pushed.answered.is_some())
        })
    }
}

fn note(path: &str, counts: &Value, reading: &mut HashMap<String, u64>) {
    for (name, count) in counts.as_object().into_iter().flatten() {
        let count = count
            .as_u64()
            .unwrap_or_else(|| panic!("{path}.{name}: {count}"));
        reading.insert(format!("{path}.{name}"), count);
    }
}
