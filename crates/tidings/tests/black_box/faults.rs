//! Apple at its worst, in a push to a hundred thousand: each device has it once, or a reason why not.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::registry::register_iphones;
use crate::support::sandbox::{Delivery, Sandbox};
use crate::support::server::{App, Server, token};
use crate::support::{catch, pause, wait_for};

const IPHONES: usize = 100_000;
/// Those whose app is gone, first of all; and those that Apple says something else of, next.
const GONE: usize = 40;
const REFUSED: usize = 30;
/// Longer than a connection may be silent (10 s) and a PING unanswered (10 s).
const SILENCE: Duration = Duration::from_secs(25);
/// Streams of all connections of an app.
const IN_FLIGHT_MAX: usize = 4 * 1000;

/// Faults that end by themselves when they have struck so often.
struct Scripted<'a> {
    sandbox: &'a Sandbox,
    ids: Vec<(String, Value)>,
}

impl<'a> Scripted<'a> {
    fn set(sandbox: &'a Sandbox, faults: &[Value]) -> Self {
        let ids = faults.iter().map(|fault| {
            let mut fault = fault.clone();
            fault["provider"] = "apns".into();
            let id = sandbox.call("POST", "faults", Some(&fault))["id"].clone();
            (fault.to_string(), id)
        });
        Self {
            sandbox,
            ids: ids.collect(),
        }
    }

    fn assert_all_struck(&self) {
        for (fault, id) in &self.ids {
            let path = format!("faults/{}", id.to_string().trim_matches('"'));
            let answer = self.sandbox.answer("DELETE", &path, None);
            assert_eq!(answer.status, 404, "not met as often as was set: {fault}");
        }
    }
}

/// Waits until nothing of a message is under way, and gives what came of it.
fn ended(server: &Server, app: &App, message: &str) -> Value {
    wait_for("the end of the push", || {
        let path = format!("/v1/messages/{message}");
        let shown = server.call("GET", &path, &app.basic(), None).good();
        let is_over = shown["state"] == "finished";
        is_over.then_some(shown)
    })
}

fn reasons(shown: &Value) -> HashMap<(&str, &str), u64> {
    let reasons = shown["reasons"].as_array().expect("a list").iter();
    reasons
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("a text");
            let count = row["count"].as_u64().expect("a count");
            ((text("outcome"), text("reason")), count)
        })
        .collect()
}

/// How many came again; each of those under the id of its first.
fn repeats(deliveries: &[Delivery]) -> usize {
    let mut ids: HashMap<&str, &str> = HashMap::new();
    let again = deliveries.iter().filter(|delivery| {
        let first = ids.insert(&delivery.token, &delivery.id);
        first.is_some_and(|first| {
            assert_eq!(first, delivery.id, "a repeat has the first one's id");
            true
        })
    });
    again.count()
}

#[test]
fn each_device_gets_it_once_or_ends_with_the_right_reason() {
    let data = TempDir::new().expect("a directory");
    let sandbox = Sandbox::start();
    let server = Server::start(data.path(), Some(&sandbox.control));
    let app = server.app();
    assert!(server.process.terminate().success());
    register_iphones(data.path(), &app, 0..IPHONES);
    let server = Server::start(data.path(), Some(&sandbox.control));

    // What Apple says of single devices.
    for number in 0..GONE {
        let path = format!("phones/apns/{}", token(number));
        sandbox.call("PUT", &path, Some(&json!({"state": "uninstalled"})));
    }
    for number in GONE..GONE + REFUSED {
        let fault = json!({"provider": "apns", "token": token(number), "status": 400, "reason": "BadTopic"});
        sandbox.call("POST", "faults", Some(&fault));
    }
    // All that says for certain that nothing was delivered.
    let certain = Scripted::set(
        &sandbox,
        &[
            json!({"status": 403, "reason": "ExpiredProviderToken", "percent": 0.5, "count": 300}),
            json!({"action": "goaway", "percent": 0.02, "count": 15}),
            json!({"action": "hang", "percent": 0.02, "count": 15}),
            json!({"action": "refuse_stream", "percent": 1, "count": 900}),
            json!({"status": 429, "reason": "TooManyRequests", "percent": 1, "count": 800}),
            json!({"status": 500, "reason": "InternalServerError", "percent": 1, "count": 700}),
            json!({"status": 503, "reason": "ServiceUnavailable", "headers": {"retry-after": "2"}, "percent": 1, "count": 600}),
        ],
    );
    let message = server.push_to_all(&app, "hello");
    let shown = ended(&server, &app, &message);
    certain.assert_all_struck();
    let reached = IPHONES - GONE - REFUSED;
    assert_eq!(shown["counts"]["targeted"], IPHONES);
    assert_eq!(shown["counts"]["accepted"], reached);
    assert_eq!(
        reasons(&shown),
        HashMap::from([
            (("dropped", "Unregistered"), GONE as u64),
            (("failed", "BadTopic"), REFUSED as u64),
        ])
    );
    let deliveries = sandbox.deliveries_after(0);
    assert_eq!(deliveries.len(), reached, "each of them once");
    let tokens: HashSet<&str> = deliveries.iter().map(|d| d.token.as_str()).collect();
    for number in 0..IPHONES {
        let is_reached = number >= GONE + REFUSED;
        assert_eq!(tokens.contains(token(number).as_str()), is_reached);
    }

    // What leaves it open whether something was delivered: connections that break, and a peer that falls silent.
    let seq = deliveries.last().expect("deliveries").seq;
    let open = Scripted::set(
        &sandbox,
        &[json!({"action": "close", "percent": 0.005, "count": 4})],
    );
    let message = server.push_to_all(&app, "hello again");
    catch("the middle of the push", || {
        sandbox.has(seq + IPHONES as u64 / 2).then_some(())
    });
    sandbox.process.halt();
    pause(SILENCE);
    sandbox.process.resume();
    let shown = ended(&server, &app, &message);
    open.assert_all_struck();
    // The tokens of those that are gone have been removed.
    assert_eq!(shown["counts"]["targeted"], IPHONES - GONE);
    assert_eq!(shown["counts"]["accepted"], reached);
    assert_eq!(
        reasons(&shown),
        HashMap::from([(("failed", "BadTopic"), REFUSED as u64)])
    );
    let deliveries = sandbox.deliveries_after(seq);
    let again = repeats(&deliveries);
    assert_eq!(deliveries.len() - again, reached);
    println!(
        "{again} of {reached} again, under the same id, after 4 broken connections and a silence"
    );
    assert!(again <= (4 + 1) * IN_FLIGHT_MAX);
}
