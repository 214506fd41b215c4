//! Pushes as a back end makes them, and who gets them.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::phone::Phones;
use crate::support::server::{App, Server, iphone, on_link};
use crate::support::wait_for;

fn push(server: &Server, app: &App, body: &Value) -> String {
    let reply = server
        .call("POST", "/v3/push", &app.basic(), Some(body))
        .good();
    reply["msg_id"].as_str().expect("an id").to_owned()
}

fn alert(audience: &Value) -> Value {
    json!({"platform": "all", "audience": audience, "notification": {"alert": "hi"}})
}

#[test]
fn tags_aliases_and_ids_reach_those_they_name_on_both_ways() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), Some("true"));
    let app = server.app();
    let with = |mut device: Value, alias: &str, tags: &[&str]| {
        device["alias"] = alias.into();
        device["tags"] = json!(tags);
        server.register(&device)
    };
    let ann = with(iphone(&app, 1), "ann", &["a", "b"]);
    let bob = with(on_link(&app), "bob", &["b"]);
    let cid = with(on_link(&app), "cid", &["c"]);
    let phones = Phones::connect(&server.link, &app.key, &[bob, cid.clone()]);
    phones.wait_connected(2);
    let cases = [
        (json!({"tag": ["b"]}), 1, 1),
        (json!({"tag": ["a", "c"]}), 1, 1),
        (json!({"alias": ["bob", "nobody"]}), 0, 1),
        (json!({"registration_id": [ann.id, cid.id]}), 1, 1),
        (json!({"tag": ["b"], "alias": ["ann"]}), 1, 0),
    ];
    for (audience, accepted, delivered) in cases {
        let message = push(&server, &app, &alert(&audience));
        let counts = wait_for("the counts", || {
            let counts = server.counts(&app, &message);
            (counts["accepted"] == accepted && counts["delivered"] == delivered).then_some(counts)
        });
        assert_eq!(counts["targeted"], accepted + delivered, "{audience}");
        assert_eq!(phones.shown(&message), delivered, "{audience}");
    }
    let nobody = server.call(
        "POST",
        "/v3/push",
        &app.basic(),
        Some(&alert(&json!({"tag": ["z"]}))),
    );
    assert_eq!(
        (nobody.status, nobody.body["error"]["code"].clone()),
        (400, json!(1011))
    );
}

#[test]
fn a_repeated_cid_sends_nothing() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), Some("true"));
    let app = server.app();
    server.register(&iphone(&app, 1));
    let mut body = alert(&json!("all"));
    body["cid"] = "once".into();
    let first = push(&server, &app, &body);
    assert_eq!(push(&server, &app, &body), first);
    let other = push(&server, &app, &alert(&json!("all")));
    wait_for("the other push", || {
        (server.counts(&app, &other)["accepted"] == 1).then_some(())
    });
    let deliveries = server.admin("GET", "/v1/sandbox/deliveries", None).good();
    assert_eq!(deliveries["deliveries"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_message_without_a_life_is_for_those_who_are_there() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), None);
    let app = server.app();
    let devices = [
        server.register(&on_link(&app)),
        server.register(&on_link(&app)),
    ];
    let there = Phones::connect(&server.link, &app.key, &devices[..1]);
    there.wait_connected(1);
    for audience in [
        json!("all"),
        json!({"registration_id": [devices[0].id, devices[1].id]}),
    ] {
        let mut body = alert(&audience);
        body["options"] = json!({"time_to_live": 0});
        let fleeting = push(&server, &app, &body);
        wait_for("the delivery", || {
            (server.counts(&app, &fleeting)["delivered"] == 1).then_some(())
        });
        let lasting = push(&server, &app, &alert(&audience));
        let late = Phones::connect(&server.link, &app.key, &devices[1..]);
        wait_for("what lasts", || (late.shown(&lasting) == 1).then_some(()));
        assert_eq!(late.shown(&fleeting), 0);
        assert_eq!(there.shown(&fleeting), 1);
    }
}

#[test]
fn a_device_that_was_away_gets_what_it_missed_in_order_and_once() {
    let data = TempDir::new().expect("a directory");
    let mut server = Server::start(data.path(), None);
    let link = server.link.clone();
    let app = server.app();
    let device = server.register(&on_link(&app));
    let audiences = [json!("all"), json!({"registration_id": [device.id]})];
    let mut messages = Vec::new();
    for round in 0..100 {
        messages.push(push(&server, &app, &alert(&audiences[round % 2])));
    }
    // Pushes to one become inbox rows a moment later than the broadcast between them; a phone comes back later still.
    wait_for("the rows", || {
        messages
            .iter()
            .all(|message| server.counts(&app, message)["targeted"] == 1)
            .then_some(())
    });
    let phones = Phones::connect(&link, &app.key, &[device]);
    wait_for("all of them", || {
        (phones.order(0).len() == messages.len()).then_some(())
    });
    assert_eq!(phones.order(0), messages);
    wait_for("the counts", || {
        messages
            .iter()
            .all(|message| server.counts(&app, message)["delivered"] == 1)
            .then_some(())
    });
    assert!(server.process.terminate().success());
    server = Server::start_at(data.path(), None, &link);
    phones.wait_connected(1);
    let last = push(&server, &app, &alert(&json!("all")));
    wait_for("the last", || (phones.shown(&last) == 1).then_some(()));
    assert_eq!(
        phones.order(0).len(),
        messages.len() + 1,
        "nothing came again"
    );
}
