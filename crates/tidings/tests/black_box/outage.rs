//! The provider goes away for ten seconds in the middle of a push.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::sandbox::Sandbox;
use crate::support::server::{Server, token};
use crate::support::{catch, pause, wait_for};

const IPHONES: usize = 20_000;
const AWAY: Duration = Duration::from_secs(10);

#[test]
fn a_provider_that_comes_back_after_ten_seconds_gets_everything() {
    let data = TempDir::new().expect("a directory");
    let sandbox = Sandbox::start();
    let (listen, control) = (
        sandbox.url.replace("https://", ""),
        sandbox.control.replace("http://", ""),
    );
    let server = Server::start(data.path(), Some(&sandbox.control));
    let app = server.app();
    server.register_iphones(&app, IPHONES);

    // A whole push first, to know how much memory one takes.
    let message = server.push_to_all(&app, "before");
    wait_for("the first push", || {
        (server.counts(&app, &message)["accepted"] == IPHONES).then_some(())
    });
    let memory_before = server.process.memory_peak_kib();

    // Slow answers, so that there is a middle to catch, with many that are not answered yet.
    let slow = json!({"provider": "apns", "delay_ms": 1000});
    sandbox.call("POST", "faults", Some(&slow));
    let seq = IPHONES as u64;
    let message = server.push_to_all(&app, "hello");
    catch("the middle of the push", || {
        sandbox.has(seq + seq / 3).then_some(())
    });
    // The server stands still while we look at what came before the outage.
    server.process.halt();
    let before = sandbox.settled_after(seq);
    assert!(before.len() < IPHONES, "the outage came too late");
    sandbox.kill();
    server.process.resume();
    pause(AWAY);
    let sandbox = Sandbox::at(&listen, &control);
    let counts = wait_for("the rest", || {
        Some(server.counts(&app, &message)).filter(|counts| counts["accepted"] == IPHONES)
    });
    assert_eq!(counts["targeted"], IPHONES);
    for nothing in ["dropped", "expired", "failed"] {
        assert_eq!(counts[nothing], 0, "{nothing}");
    }
    let after = sandbox.deliveries_after(0);
    assert!(!after.is_empty(), "the outage came too late");

    // Each phone has it; twice those whose answer was lost with the provider, under the same id.
    let mut ids: HashMap<&str, &str> = HashMap::new();
    let mut twice = 0;
    for delivery in before.iter().chain(&after) {
        if let Some(first) = ids.insert(&delivery.token, &delivery.id) {
            assert_eq!(first, delivery.id, "a repeat has the first one's id");
            twice += 1;
        }
    }
    for number in 0..IPHONES {
        assert!(ids.contains_key(token(number).as_str()), "phone {number}");
    }
    println!(
        "{} before the outage, {} after it, {twice} of them again",
        before.len(),
        after.len()
    );
    let memory = server.process.memory_peak_kib();
    println!("peak memory {memory_before} KiB before, {memory} KiB with the outage");
    assert!(memory < memory_before + 16 * 1024, "memory stays flat");
}
