//! The provider goes away for ten seconds in the middle of a push.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::sandbox::Sandbox;
use crate::support::server::Server;
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
    let devices = server.register_iphones(&app, IPHONES);

    // A whole push first, to know how much memory one takes.
    let message = server.push_to_all(&app, "before");
    wait_for("the first push", || {
        (server.counts(&app, &message)["accepted"] == IPHONES).then_some(())
    });
    let memory_before = server.process.memory_peak_kib();
    let seq = IPHONES as u64;
    let message = server.push_to_all(&app, "hello");
    catch("the middle of the push", || {
        sandbox.has(seq + seq / 3).then_some(())
    });
    let mut reached = sandbox.deliveries_after(seq);
    sandbox.kill();
    pause(AWAY);
    let sandbox = Sandbox::at(&listen, &control);
    let counts = wait_for("the rest", || {
        Some(server.counts(&app, &message)).filter(|counts| counts["accepted"] == IPHONES)
    });
    assert_eq!(counts["targeted"], IPHONES);
    for nothing in ["dropped", "expired", "failed"] {
        assert_eq!(counts[nothing], 0, "{nothing}");
    }
    reached.extend(sandbox.deliveries_after(0));
    reached.sort_by(|a, b| a.token.cmp(&b.token));
    let all = reached.len();
    reached.dedup_by(|a, b| a.token == b.token);
    // The rest reached the sandbox that was killed, after the last look at it.
    println!(
        "{} of {IPHONES} phones seen, {} of them twice",
        reached.len(),
        all - reached.len()
    );
    let memory = server.process.memory_peak_kib();
    println!("peak memory {memory_before} KiB before, {memory} KiB with the outage");
    assert!(memory < memory_before + 16 * 1024, "memory stays flat");
    assert_eq!(devices.len(), IPHONES);
}
