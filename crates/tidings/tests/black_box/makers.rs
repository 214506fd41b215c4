//! The makers' channels through the whole server, to simulated makers: each goes through the same.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::maker::{Access, Got, Maker, MakerStage};
use crate::support::server::Device;
use crate::support::wait_for;

/// A module for each maker, with the same tests.
macro_rules! makers {
    ($($name:ident = $maker:expr;)+) => {
        $(pub(crate) mod $name {
            use super::*;

            pub(crate) static MAKER: Maker = $maker;

            makers!(@tests
                what_is_sent_to_many_goes_in_few_requests_with_one_access_token
                of_a_batch_only_the_dead_lose_their_tokens
                access_that_ends_is_renewed_and_costs_nothing
                access_that_ends_in_mid_push_is_renewed_once_for_all_senders
                what_it_cannot_take_now_goes_when_it_can
                while_it_is_gone_nothing_ends_and_then_everything_goes_once
                who_is_too_fast_waits_and_loses_nothing
                a_spent_quota_ends_nothing_and_is_told_of
                what_comes_above_a_days_quota_goes_at_midnight_in_china
                what_comes_above_its_rate_is_called_too_fast_and_goes_all_the_same
                a_wrong_credential_costs_no_token_and_nothing_is_lost
                where_all_tokens_are_called_bad_none_is_lost
                what_it_reports_of_a_phone_is_in_the_ledger
            );
        })+
    };
    (@tests $($test:ident)+) => {
        $(#[test]
        fn $test() {
            super::$test(&MAKER);
        })+
    };
}

makers! {
    hmos = Maker {
        name: "hmos",
        platform: "hmos",
        batch: 1000,
        wrong: another_key,
        console: "Service account key",
        access: Access::Made("80200005"),
        all_bad: "80300007",
        too_fast: r#"{"status": 503}"#,
        quota: None,
        names_callback: false,
        tells: &["dead"],
    };
    honor = Maker {
        name: "honor",
        platform: "android",
        batch: 1000,
        wrong: |_| json!({"client_secret": "not-the-secret"}),
        console: "developer.honor.com",
        access: Access::Given,
        all_bad: "80300007",
        too_fast: r#"{"reason": "503"}"#,
        quota: None,
        names_callback: false,
        tells: &[],
    };
    huawei = Maker {
        name: "huawei",
        platform: "android",
        batch: 1000,
        wrong: |_| json!({"app_secret": "not-the-secret"}),
        console: "AppGallery Connect",
        access: Access::Given,
        all_bad: "80300007",
        too_fast: r#"{"status": 503}"#,
        quota: None,
        names_callback: false,
        tells: &["dead"],
    };
    meizu = Maker {
        name: "meizu",
        platform: "android",
        batch: 100,
        wrong: |_| json!({"app_secret": "not-the-secret"}),
        console: "push.meizu.com",
        access: Access::Shown,
        all_bad: "110002",
        too_fast: r#"{"reason": "110010", "status": 200}"#,
        quota: Some("110019"),
        names_callback: true,
        tells: &["clicked"],
    };
    oppo = Maker {
        name: "oppo",
        platform: "android",
        batch: 1000,
        wrong: |_| json!({"master_secret": "not-the-secret"}),
        console: "open.oppomobile.com",
        access: Access::Given,
        all_bad: "10000",
        too_fast: r#"{"reason": "55"}"#,
        quota: Some("33"),
        names_callback: true,
        tells: &["dead"],
    };
    vivo = Maker {
        name: "vivo",
        platform: "android",
        batch: 1000,
        wrong: |_| json!({"app_secret": "not-the-secret"}),
        console: "dev.vivo.com.cn",
        access: Access::Given,
        all_bad: "10302",
        too_fast: r#"{"reason": "10072"}"#,
        quota: Some("10070"),
        names_callback: true,
        tells: &[],
    };
    xiaomi = Maker {
        name: "xiaomi",
        platform: "android",
        batch: 1000,
        wrong: |_| json!({"app_secret": "not-the-secret"}),
        console: "dev.mi.com",
        access: Access::Shown,
        all_bad: "20301",
        too_fast: r#"{"reason": "200002"}"#,
        quota: Some("200001"),
        names_callback: true,
        tells: &["clicked", "dead"],
    };
}

/// A service account whose key has another id.
fn another_key(told: &Value) -> Value {
    let mut account = told["service_account"].clone();
    account["key_id"] = "another".into();
    json!({"service_account": account})
}

fn what_is_sent_to_many_goes_in_few_requests_with_one_access_token(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.register(2500);
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 2500), ("targeted", 2500)]);
    let got = stage.got();
    let tokens: HashSet<_> = got.iter().map(|got| got.token.clone()).collect();
    assert_eq!((got.len(), tokens.len()), (2500, 2500));
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for got in &got {
        *sizes.entry(got.request).or_default() += 1;
    }
    assert_eq!(sizes.len(), 2500_usize.div_ceil(maker.batch), "{sizes:?}");
    if maker.access == Access::Given {
        assert_eq!(stage.access_tokens(), 1);
    }
}

fn of_a_batch_only_the_dead_lose_their_tokens(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    let phones = stage.register(50);
    for gone in [3, 7] {
        stage.uninstall(gone);
    }
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 48), ("dropped", 2)]);
    assert_eq!(stage.got().len(), 48, "nobody got it twice");
    for (number, phone) in phones.iter().enumerate() {
        let is_dead = number == 3 || number == 7;
        if is_dead {
            stage.wait_for_dead(&message, phone);
        } else {
            assert!(stage.has_token(&message, phone), "{number}");
        }
    }
    let next = stage.push(&json!({}));
    stage.wait_for_counts(&next, &[("accepted", 48), ("targeted", 48)]);
}

fn access_that_ends_is_renewed_and_costs_nothing(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.register(20);
    let first = stage.push(&json!({}));
    stage.wait_for_counts(&first, &[("accepted", 20)]);
    stage.end_access();
    let second = stage.push(&json!({}));
    stage.wait_for_counts(&second, &[("accepted", 20)]);
    assert_eq!(stage.got().len(), 40);
    if maker.access == Access::Given {
        assert_eq!(stage.access_tokens(), 2);
    }
}

fn access_that_ends_in_mid_push_is_renewed_once_for_all_senders(maker: &'static Maker) {
    const PHONES: usize = 1500;
    if maker.access == Access::Shown {
        return; // There is nothing that could end.
    }
    let stage = MakerStage::new(maker);
    // A batch goes each second, and is answered late: so several are out with the same access.
    stage.set_credential(&json!({"rate": {"devices_per_second": PHONES / 5}}));
    stage.register(PHONES);
    stage.meet(json!({"delay_ms": 2500}));
    let batches = |got: &[Got]| -> HashSet<u64> { got.iter().map(|got| got.request).collect() };
    let message = stage.push(&json!({}));
    let before = wait_for("the first batches", || {
        let got = batches(&stage.got());
        (got.len() >= 2).then_some(got)
    });
    stage.end_access();
    stage.wait_for_counts(
        &message,
        &[("accepted", PHONES as u64), ("targeted", PHONES as u64)],
    );
    let got = stage.got();
    let tokens: HashSet<_> = got.iter().map(|got| got.token.clone()).collect();
    assert_eq!(
        (got.len(), tokens.len()),
        (PHONES, PHONES),
        "each got it once"
    );
    assert!(
        batches(&got).len() >= before.len() + 2,
        "it was in mid-push"
    );
    if maker.access == Access::Given {
        assert_eq!(stage.access_tokens(), 2, "one renewal for all senders");
    }
}

fn what_it_cannot_take_now_goes_when_it_can(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.register(20);
    stage.meet(json!({"status": 503, "count": 2}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 20)]);
    assert_eq!(stage.got().len(), 20);
    // Nothing is taken at all.
    stage.meet(json!({"status": 500}));
    let message = stage.push(&json!({}));
    wait_for("a try", || {
        let waits = stage.counts(&message);
        (waits["targeted"] == 20).then_some(())
    });
    stage.meet_none();
    stage.wait_for_counts(&message, &[("accepted", 20)]);
}

fn while_it_is_gone_nothing_ends_and_then_everything_goes_once(maker: &'static Maker) {
    let mut stage = MakerStage::new(maker);
    stage.register(150);
    let before = stage.push(&json!({}));
    stage.wait_for_counts(&before, &[("accepted", 150)]);
    stage.go_away();
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("targeted", 150), ("accepted", 0)]);
    // It comes back without what it has given access by.
    stage.come_back();
    stage.wait_for_counts(&message, &[("accepted", 150)]);
    let counts = stage.counts(&message);
    for nothing in ["dropped", "expired", "failed"] {
        assert_eq!(counts[nothing], 0, "{nothing}");
    }
    assert_eq!(stage.got().len(), 150, "nobody got it twice");
}

fn who_is_too_fast_waits_and_loses_nothing(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.register(20);
    let mut fault: Value = serde_json::from_str(maker.too_fast).expect("JSON");
    fault["count"] = 2.into();
    stage.meet(fault);
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 20), ("targeted", 20)]);
    assert_eq!(stage.got().len(), 20);
}

fn a_spent_quota_ends_nothing_and_is_told_of(maker: &'static Maker) {
    let Some(quota) = maker.quota else { return };
    let stage = MakerStage::new(maker);
    stage.set_credential(&json!({}));
    let phones = stage.register(3);
    stage.meet(json!({"reason": quota}));
    let message = stage.push(&json!({}));
    let health = wait_for("the quota", || {
        let credential = stage.credential();
        (credential["health"] == "throttled").then_some(credential)
    });
    assert_eq!(health["spent"][0]["reason"], quota, "{health}");
    let waits = wait_for("the trace", || {
        let journey = stage.journey(&message, &phones[0].id);
        journey.to_string().contains(quota).then_some(journey)
    });
    assert_eq!(waits["state"], "waiting", "{waits}");
    for (name, expected) in [
        ("targeted", 3),
        ("dropped", 0),
        ("failed", 0),
        ("expired", 0),
    ] {
        assert_eq!(stage.counts(&message)[name], expected, "{name}");
    }
    assert!(stage.got().is_empty());
    assert!(phones.iter().all(|phone| stage.has_token(&message, phone)));
    let (health, complaint) = stage.complaint();
    assert_eq!(health, "throttled", "{complaint}");
    assert!(
        complaint.contains("quota") && complaint.contains(maker.console),
        "{complaint}"
    );
}

/// The maker counts by itself, server and maker live a little before midnight, and then midnight comes.
fn what_comes_above_a_days_quota_goes_at_midnight_in_china(maker: &'static Maker) {
    let Some(quota) = maker.quota else { return };
    // On a machine that is busy midnight may come too soon.
    let leads = [15, 60].map(Duration::from_secs);
    let latched = leads.into_iter().find_map(|lead| {
        let stage = MakerStage::before_midnight(maker, lead);
        stage.set_credential(&json!({}));
        stage.set_quota(&json!({"phones_per_day": 8}));
        let phones = stage.register(8);
        let to = |phones: &[Device]| {
            let ids: Vec<_> = phones.iter().map(|phone| phone.id.as_str()).collect();
            stage.push_to(&ids)
        };
        let first = to(&phones);
        stage.wait_for_counts(&first, &[("accepted", 8), ("targeted", 8)]);
        let above = to(&phones[..5]);
        let is_over = || stage.counts(&above)["accepted"] != 0;
        let health = wait_for("the health, or the next day", || {
            let health = stage.credential();
            (health["health"] == "throttled" || is_over()).then_some(health)
        });
        // It comes when the lane knows already.
        let late = to(&phones[..3]);
        for message in [&above, &late] {
            let way = wait_for("the trace, or the next day", || {
                let way = stage.journey(message, &phones[0].id)["ways"][0].clone();
                (way["until"].is_string() || is_over()).then_some(way)
            });
            if is_over() {
                return None;
            }
            let until = way["until"].as_str().expect("a time");
            assert!(
                until.ends_with("T16:00:00.000Z"),
                "midnight in China: {until}"
            );
            assert_eq!(
                (&way["until"], &way["reason"]),
                (&health["until"], &json!(quota)),
                "{way}"
            );
        }
        Some((stage, [above, late]))
    });
    let (stage, [above, late]) = latched.expect("midnight always comes too soon");
    assert_eq!(stage.quota()["refused"], 1, "it is not asked again");
    for (message, count) in [(above, 5), (late, 3)] {
        stage.wait_for_counts(&message, &[("accepted", count), ("targeted", count)]);
        let counts = stage.counts(&message);
        for nothing in ["dropped", "expired", "failed"] {
            assert_eq!(counts[nothing], 0, "{nothing}");
        }
    }
    let quota = stage.quota();
    assert_eq!(
        (&quota["refused"], &quota["taken_today"]),
        (&json!(1), &json!(8)),
        "{quota}"
    );
    let got = stage.got();
    let day = |got: &Got| (got.at + 8 * 3_600_000).div_euclid(24 * 3_600_000);
    let days: Vec<_> = got
        .iter()
        .map(|got| day(got) - day(&stage.got()[0]))
        .collect();
    assert_eq!(days, [[0; 8], [1; 8]].concat());
    wait_for("the health", || {
        (stage.credential()["health"] == "good").then_some(())
    });
}

/// The maker counts by itself.
fn what_comes_above_its_rate_is_called_too_fast_and_goes_all_the_same(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.set_quota(&json!({"requests_per_second": 2}));
    let phones = stage.register(8);
    let messages: Vec<_> = phones
        .iter()
        .map(|phone| stage.push_to(&[&phone.id]))
        .collect();
    for message in messages {
        stage.wait_for_counts(&message, &[("accepted", 1), ("targeted", 1)]);
    }
    assert_eq!(stage.got().len(), 8);
    assert!(stage.quota()["refused"].as_u64() > Some(0));
}

fn a_wrong_credential_costs_no_token_and_nothing_is_lost(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    let phones = stage.register(12);
    let wrong = (maker.wrong)(&stage.told());
    stage.set_credential(&wrong);
    let checked = stage.check();
    assert_eq!(checked["result"], "rejected", "{checked}");
    let (health, complaint) = stage.complaint();
    assert_eq!(health, "rejected", "{complaint}");
    assert!(complaint.contains(maker.console), "{complaint}");
    let message = stage.push(&json!({}));
    let health = stage.rejected();
    for name in wrong.as_object().expect("an object").keys() {
        assert_eq!(health.get(name), None, "a secret is never shown");
    }
    for phone in &phones {
        assert!(stage.has_token(&message, phone));
    }
    stage.set_credential(&json!({}));
    stage.wait_for_counts(&message, &[("accepted", 12)]);
    assert_eq!(stage.got().len(), 12);
    let checked = stage.check();
    assert_eq!(checked["result"], "good", "{checked}");
    assert_eq!(stage.credential()["health"], "good");
    let (code, lines) = stage.doctor(&[]);
    assert_eq!(code, Some(0), "{lines:?}");
}

fn where_all_tokens_are_called_bad_none_is_lost(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.set_credential(&json!({}));
    let phones = stage.register(12);
    stage.meet(json!({"reason": maker.all_bad, "status": 200}));
    let message = stage.push(&json!({}));
    stage.wait_for_counts(&message, &[("dropped", 12)]);
    for phone in &phones {
        assert!(stage.has_token(&message, phone));
    }
    let health = stage.rejected();
    assert_eq!(health["rejected"], maker.all_bad);
}

/// The maker posts it as it does, to where its message or its console says.
fn what_it_reports_of_a_phone_is_in_the_ledger(maker: &'static Maker) {
    let stage = MakerStage::new(maker);
    stage.lead_receipts();
    let phones = stage.register(4);
    // vivo tells nothing of lists.
    let messages = [0, 1, 2, 3].map(|number: usize| stage.push_to(&[&phones[number].id]));
    for message in &messages {
        stage.wait_for_counts(message, &[("accepted", 1), ("targeted", 1)]);
    }
    let arrived = |message: &str, device: &Device| {
        stage.wait_for_counts(
            message,
            &[("accepted", 0), ("delivered", 1), ("targeted", 1)],
        );
        assert_eq!(stage.journey(message, &device.id)["state"], "delivered");
    };
    stage.happens(&json!({"event": "delivered", "token": MakerStage::token(0)}));
    arrived(&messages[0], &phones[0]);
    // The phone has another token by now.
    stage.change(&phones[1], 11);
    stage.happens(&json!({"event": "delivered", "token": MakerStage::token(1)}));
    arrived(&messages[1], &phones[1]);
    if maker.tells.contains(&"clicked") {
        stage.happens(&json!({"event": "clicked", "token": MakerStage::token(0)}));
        stage.wait_for_counts(&messages[0], &[("delivered", 1), ("opened", 1)]);
    }
    if maker.tells.contains(&"dead") {
        stage.happens(&json!({"event": "dead", "token": MakerStage::token(3)}));
        stage.wait_for_dead(&messages[3], &phones[3]);
    }
    // A message that is none of ours.
    stage.happens(
        &json!({"event": "delivered", "token": MakerStage::token(2), "param": "1234567890"}),
    );
    let name = maker.name;
    let unknown = format!("tidings_receipts_total{{provider=\"{name}\",said=\"unknown\"}} 1\n");
    let metrics = stage.server.metrics();
    assert!(metrics.contains(&unknown), "{metrics}");
    let journey = stage.journey(&messages[2], &phones[2].id);
    assert_eq!(journey["state"], "accepted", "{journey}");
}
