//! kill -9 in the middle of a push: nothing is lost, and what comes twice is no more than was in flight or not yet
//! remembered.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::support::phone::Phones;
use crate::support::registry::remembered;
use crate::support::sandbox::{Delivery, Sandbox};
use crate::support::server::Server;
use crate::support::{catch, wait_for};

const ROUNDS: u64 = 10;
const IPHONES: usize = 20_000;
const LINK_DEVICES: usize = 2_000;

/// Part of the push, in thousandths, after which each round kills: spread over the push, and elsewhere in each run.
fn moments() -> impl Iterator<Item = u64> {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed | 1;
    (0..ROUNDS).map(move |round| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (round * 1000 + state % 1000) / ROUNDS
    })
}

fn by_token(deliveries: &[Delivery]) -> HashMap<&str, usize> {
    let mut counted: HashMap<&str, usize> = HashMap::new();
    for delivery in deliveries {
        *counted.entry(&delivery.token).or_default() += 1;
    }
    counted
}

#[test]
fn iphones_lose_nothing_and_double_no_more_than_was_in_flight_or_unflushed() {
    let data = TempDir::new().expect("a directory");
    let sandbox = Sandbox::start();
    let mut server = Server::start(data.path(), Some(&sandbox.control));
    let app = server.app();
    server.register_iphones(&app, IPHONES);
    let mut seq = 0;
    for (round, moment) in moments().enumerate() {
        let kill_at = seq + IPHONES as u64 * moment / 1000;
        let message = server.push_to_all(&app, &format!("round {round}"));
        catch("the moment", || sandbox.has(kill_at).then_some(()));
        server.process.kill();
        let before = sandbox.settled_after(seq);
        let remembered = remembered(data.path(), &app, &message);
        let unremembered = before.len() as u64 - remembered;

        server = Server::start(data.path(), Some(&sandbox.control));
        wait_for("the rest", || {
            (server.counts(&app, &message)["accepted"] == IPHONES).then_some(())
        });
        let all = sandbox.deliveries_after(seq);
        let counted = by_token(&all);
        assert_eq!(counted.len(), IPHONES, "round {round}: every phone got it");
        let twice = all.len() - counted.len();
        println!(
            "round {round}: killed after {} of {IPHONES}; received twice {twice}, in flight or unflushed {unremembered}",
            before.len()
        );
        assert!(twice as u64 <= unremembered, "round {round}");
        let ids: HashMap<&str, &str> = before
            .iter()
            .map(|d| (d.token.as_str(), d.id.as_str()))
            .collect();
        for delivery in &all[before.len()..] {
            if let Some(id) = ids.get(delivery.token.as_str()) {
                assert_eq!(delivery.id, *id, "a repeat carries the id of the first");
            }
        }
        seq = all.last().expect("deliveries").seq;
    }
}

#[test]
fn link_devices_lose_nothing_and_show_nothing_twice() {
    let data = TempDir::new().expect("a directory");
    let mut server = Server::start(data.path(), None);
    // The phones know one address, as they do outside.
    let link = server.link.clone();
    let app = server.app();
    let devices = server.register_link(&app, LINK_DEVICES);
    let phones = Phones::connect(&link, &app.key, &devices);
    for (round, moment) in moments().enumerate() {
        phones.wait_connected(LINK_DEVICES);
        let kill_at = LINK_DEVICES as u64 * moment / 1000;
        let message = server.push_to_all(&app, &format!("round {round}"));
        catch("the moment", || {
            (phones.shown(&message) as u64 >= kill_at).then_some(())
        });
        server.process.kill();
        let before = phones.shown(&message);
        server = Server::start_at(data.path(), None, &link);
        wait_for("the rest", || {
            (phones.shown(&message) == LINK_DEVICES).then_some(())
        });
        wait_for("the last acknowledgements", || {
            (server.counts(&app, &message)["delivered"] == LINK_DEVICES).then_some(())
        });
        println!(
            "round {round}: killed after {before} of {LINK_DEVICES}; sent twice {}, shown twice {}",
            phones.repeats(&message),
            phones.shown_twice(&message)
        );
        assert_eq!(phones.shown_twice(&message), 0, "round {round}");
    }
}
