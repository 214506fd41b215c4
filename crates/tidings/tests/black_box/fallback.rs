//! Who of the link and a maker's channel has a push, and what goes from one to the other.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::phone::Phones;
use crate::support::server::Device;
use crate::support::stage::Stage;
use crate::support::{pause, wait_for};

/// Phones with Huawei and the link, half of them connected, of which a third acknowledge nothing.
struct Crowd {
    devices: Vec<Device>,
    phones: Phones,
    /// Of what reached phones by Huawei, so much has been looked at.
    seen: u64,
    stage: Stage,
}

/// What came of one push.
#[derive(Default)]
struct Came {
    /// How often each phone got it by Huawei.
    by_huawei: HashMap<usize, usize>,
}

fn token(number: usize) -> String {
    format!("IQAAAACy0{number:08}-phone_Token")
}

fn is_connected(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn is_silent(number: usize) -> bool {
    number.is_multiple_of(6)
}

impl Crowd {
    fn of(count: usize) -> Self {
        let stage = Stage::wired();
        let devices = stage.server.register_many(count, |number| {
            json!({
                "app_key": stage.app.key,
                "platform": "android",
                "channels": [{"provider": "huawei", "token": token(number)}, {"provider": "link"}],
            })
        });
        let connected: Vec<Device> = (devices.iter().enumerate())
            .filter(|(number, _)| is_connected(*number))
            .map(|(_, device)| Device {
                id: device.id.clone(),
                secret: device.secret.clone(),
            })
            .collect();
        // The phones' numbers are half of the devices'.
        let is_silent = |number| is_silent(2 * number);
        let link = &stage.server.link;
        let phones = Phones::some_silent(link, &stage.app.key, &connected, is_silent);
        phones.wait_connected(connected.len());
        Self {
            devices,
            phones,
            seen: 0,
            stage,
        }
    }

    /// Everything that has reached phones by Huawei since the last time, by the push's text.
    fn new_by_huawei(&mut self, text: &str, came: &mut Came) {
        loop {
            let path = format!("deliveries?provider=huawei&after={}&limit=1000", self.seen);
            let page = self.stage.sandbox.call("GET", &path, None);
            let deliveries = page["deliveries"].as_array().expect("a list");
            for delivery in deliveries {
                self.seen = delivery["seq"].as_u64().expect("a number");
                let shown = &delivery["payload"]["android"]["notification"];
                assert_eq!(shown["body"], text);
                let token = delivery["token"].as_str().expect("a token");
                let number = token["IQAAAACy0".len()..][..8].parse().expect("a number");
                *came.by_huawei.entry(number).or_default() += 1;
            }
            if deliveries.is_empty() {
                return;
            }
        }
    }

    fn push(&self, text: &str, options: &Value) -> String {
        self.stage.push(&json!({
            "notification": {"android": {"alert": text}},
            "options": options,
        }))
    }

    /// Waits until the phones that are to have it by Huawei have it.
    fn wait_for_huawei(&mut self, text: &str, expected: usize) -> Came {
        let mut came = Came::default();
        wait_for(&format!("{expected} by Huawei"), || {
            self.new_by_huawei(text, &mut came);
            (came.by_huawei.len() >= expected).then_some(())
        });
        came
    }

    fn killed(self) -> Self {
        let stage = self.stage.killed();
        Self { stage, ..self }
    }

    fn numbers(&self, wanted: impl Fn(usize) -> bool) -> HashSet<usize> {
        (0..self.devices.len())
            .filter(|number| wanted(*number))
            .collect()
    }
}

fn secondary(after: &str) -> Value {
    json!({
        "third_party_channel": {"huawei": {"distribution": "secondary_push"}},
        "tidings": {"fallback": {"after": after}},
    })
}

/// What was sent to a phone over the link and is about to be written down.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

#[test]
fn whoever_is_away_has_it_by_the_maker_and_whoever_is_silent_after_a_while() {
    let mut crowd = Crowd::of(600);
    let message = crowd.push("hello", &secondary("2s"));
    let came = crowd.wait_for_huawei("hello", 400);
    let by_huawei: HashSet<usize> = came.by_huawei.keys().copied().collect();
    let expected = crowd.numbers(|number| !is_connected(number) || is_silent(number));
    assert_eq!(by_huawei, expected);
    assert!(came.by_huawei.values().all(|times| *times == 1));
    for number in crowd.numbers(is_connected) {
        assert!(crowd.phones.was_sent(&message, number / 2), "{number}");
    }
    let counts = [("accepted", 400), ("delivered", 200), ("targeted", 600)];
    crowd.stage.wait_for_counts(&message, &counts);
    let ways = |number: usize| {
        let journey = crowd.stage.journey(&message, &crowd.devices[number].id);
        let ways = journey["ways"].as_array().expect("a list").iter();
        let ways = ways.map(|way| format!("{} {}", way["provider"], way["outcome"]));
        ways.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    assert_eq!(ways(0), "link handed_on, huawei accepted");
    assert_eq!(ways(1), "huawei accepted");
    assert_eq!(ways(2), "link delivered");
}

#[test]
fn everyone_has_it_once_whenever_the_server_is_killed() {
    let mut crowd = Crowd::of(2000);
    let (mut excused, mut shown_twice) = (0, 0);
    for round in 0..10_u64 {
        let text = format!("round {round}");
        let message = crowd.push(&text, &secondary("2s"));
        // From at once to after the turn of Huawei.
        pause(Duration::from_millis(round * 277 + 13));
        let killed_at = Instant::now();
        crowd = crowd.killed();
        let away_or_silent = crowd.numbers(|number| !is_connected(number) || is_silent(number));
        let mut came = crowd.wait_for_huawei(&text, away_or_silent.len());
        wait_for("the link", || {
            let heard = crowd.numbers(|number| is_connected(number) && !is_silent(number));
            let has = |number: &&usize| {
                let by_link = crowd.phones.acknowledged_at(&message, **number / 2);
                by_link.is_some() || came.by_huawei.contains_key(number)
            };
            let all = heard.iter().filter(has).count() == heard.len();
            crowd.new_by_huawei(&text, &mut came);
            all.then_some(())
        });
        wait_for("the end", || {
            let counts = crowd.stage.counts(&message);
            let ended = ["accepted", "delivered"].map(|name| counts[name].as_u64());
            (ended.into_iter().flatten().sum::<u64>() == 2000).then_some(())
        });
        crowd.new_by_huawei(&text, &mut came);
        for number in &away_or_silent {
            assert!(
                came.by_huawei.contains_key(number),
                "{round}: {number} has it"
            );
        }
        for (number, times) in &came.by_huawei {
            let at = is_connected(*number)
                .then(|| crowd.phones.acknowledged_at(&message, number / 2))
                .flatten();
            // What Huawei had taken when the server was killed, and had not been written down, goes once more.
            shown_twice += usize::from(*times > 1);
            let Some(at) = at else { continue };
            let on_its_way = at + ON_ITS_WAY > killed_at;
            assert!(on_its_way, "{round}: {number} has it twice");
            excused += 1;
        }
        assert_eq!(crowd.phones.shown_twice(&message), 0, "what a client drops");
    }
    println!(
        "of 20000: {excused} by Huawei though the phone had acknowledged it, on its way when the server was killed; \
         {shown_twice} twice by Huawei, answered when it was killed"
    );
}

#[test]
fn with_a_fallback_the_link_has_it_first_also_for_whoever_is_away() {
    let mut crowd = Crowd::of(60);
    let fallback = json!({"tidings": {"fallback": {"after": "2s"}}});
    let message = crowd.push("hello", &fallback);
    let state = |number: usize| {
        let journey = crowd.stage.journey(&message, &crowd.devices[number].id);
        journey["ways"][0]["provider"].as_str().map(str::to_owned)
    };
    wait_for("the inbox", || state(1).filter(|way| way == "link"));
    let came = crowd.wait_for_huawei("hello", 40);
    let by_huawei: HashSet<usize> = came.by_huawei.keys().copied().collect();
    assert_eq!(
        by_huawei,
        crowd.numbers(|number| !is_connected(number) || is_silent(number))
    );
    let counts = [("accepted", 40), ("delivered", 20), ("targeted", 60)];
    crowd.stage.wait_for_counts(&message, &counts);
}

#[test]
fn what_the_maker_refuses_is_in_the_inbox_still() {
    let mut crowd = Crowd::of(12);
    let gone = format!("phones/huawei/{}", token(1));
    let state = json!({"state": "uninstalled"});
    crowd.stage.sandbox.call("PUT", &gone, Some(&state));
    let message = crowd.push("hello", &secondary("1s"));
    crowd.wait_for_huawei("hello", 7);
    let ways = wait_for("the token to be dead", || {
        let journey = crowd.stage.journey(&message, &crowd.devices[1].id);
        (journey["ways"][1]["provider"] == "link").then(|| journey["ways"].clone())
    });
    assert_eq!(ways[0]["outcome"], "handed_on");
    assert_eq!(ways[1]["outcome"], "waiting");
    let phone = &crowd.devices[1..2];
    let phones = Phones::connect(&crowd.stage.server.link, &crowd.stage.app.key, phone);
    wait_for("the link", || (phones.shown(&message) == 1).then_some(()));
    crowd.stage.wait_for_counts(
        &message,
        &[("accepted", 7), ("delivered", 5), ("targeted", 12)],
    );
}

#[test]
fn what_stands_behind_a_rejected_credential_after_its_switch_is_in_the_inbox_still() {
    let mut crowd = Crowd::of(12);
    let fault = json!({"provider": "huawei", "reason": "80300002"});
    crowd.stage.sandbox.call("POST", "faults", Some(&fault));
    let message = crowd.push("hello", &secondary("1s"));
    // One stays, to find out when it is good again.
    let behind = |number: usize| {
        let journey = crowd.stage.journey(&message, &crowd.devices[number].id);
        let ways = journey["ways"].as_array().expect("a list").len();
        (ways < 2 || journey["ways"][ways - 1]["provider"] != "link").then_some(number)
    };
    let away = crowd.numbers(|number| !is_connected(number));
    let stays = wait_for("all but one to be in the inbox again", || {
        let behind: Vec<usize> = away.iter().filter_map(|number| behind(*number)).collect();
        (behind.len() == 1).then(|| behind[0])
    });
    let back: Vec<Device> = (crowd.devices.iter().enumerate())
        .filter(|(number, _)| away.contains(number) && *number != stays)
        .map(|(_, device)| Device {
            id: device.id.clone(),
            secret: device.secret.clone(),
        })
        .collect();
    let phones = Phones::connect(&crowd.stage.server.link, &crowd.stage.app.key, &back);
    wait_for("the link", || {
        (phones.shown(&message) == back.len()).then_some(())
    });
    crowd.stage.sandbox.call("DELETE", "faults", None);
    crowd.wait_for_huawei("hello", 1);
}

#[test]
fn a_phone_with_the_link_does_not_wait_for_its_makers_next_quota() {
    let stage = Stage::wired();
    let devices = stage.server.register_many(2, |number| {
        let mut channels = vec![json!({"provider": "oppo", "token": token(number)})];
        if number == 0 {
            channels.push(json!({"provider": "link"}));
        }
        json!({"app_key": stage.app.key, "platform": "android", "channels": channels})
    });
    let spent = json!({"provider": "oppo", "reason": "33"});
    stage.sandbox.call("POST", "faults", Some(&spent));
    let phones = Phones::connect(&stage.server.link, &stage.app.key, &devices[..1]);
    phones.wait_connected(1);
    for _ in 0..2 {
        let message = stage.push(&json!({"notification": {"android": {"alert": "hello"}}}));
        wait_for("the link", || (phones.shown(&message) == 1).then_some(()));
        let counts = [
            ("delivered", 1),
            ("targeted", 2),
            ("failed", 0),
            ("expired", 0),
        ];
        stage.wait_for_counts(&message, &counts);
        let journey = stage.journey(&message, &devices[1].id);
        assert_eq!(journey["state"], "waiting", "{journey}");
    }
}

#[test]
fn a_life_that_is_shorter_than_the_fallback_is_halved() {
    let mut crowd = Crowd::of(6);
    let mut options = secondary("1h");
    options["time_to_live"] = 6.into();
    let message = crowd.push("hello", &options);
    let came = crowd.wait_for_huawei("hello", 4);
    assert!(came.by_huawei.contains_key(&0), "the silent one");
    let counts = [("accepted", 4), ("delivered", 2), ("targeted", 6)];
    crowd.stage.wait_for_counts(&message, &counts);
}

#[test]
fn an_app_is_set_to_a_strategy_and_a_push_can_say_another() {
    let mut crowd = Crowd::of(6);
    let path = format!("/v1/apps/{}", crowd.stage.app.key);
    let body = json!({"strategy": {"default": "first_ospush", "huawei": "jpush"}, "fallback_after": "20s"});
    let app = crowd.stage.server.admin("PATCH", &path, Some(&body)).good();
    assert_eq!(app["strategy"], body["strategy"]);
    assert_eq!(app["fallback_after"], "20s");
    let by_link = crowd.push("link", &json!({}));
    crowd
        .stage
        .wait_for_counts(&by_link, &[("delivered", 2), ("targeted", 6)]);
    let says = json!({"third_party_channel": {"huawei": {"distribution": "ospush"}}});
    let by_huawei = crowd.push("huawei", &says);
    let came = crowd.wait_for_huawei("huawei", 6);
    assert_eq!(came.by_huawei.len(), 6);
    crowd
        .stage
        .wait_for_counts(&by_huawei, &[("accepted", 6), ("targeted", 6)]);
}
