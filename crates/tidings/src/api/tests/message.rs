use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidings_model::{
    DeviceId, Environment, Message, MsgId, Platform, Provider, Reason, UnixMillis,
};
use tidings_store::{
    Ack, Acked, Cursor, Delta, End, Ending, LaneKey, LinkEnd, LinkPlan, LinkTask, LogEnd,
    PageFlush, Position, Room, Turn,
};

use super::*;

/// A shop with an iPhone on APNs and a phone on the link.
struct Shop {
    android: (String, As),
    api: TestApi,
    app: As,
    iphone: (String, As),
}

impl Shop {
    async fn start() -> Self {
        let api = TestApi::start();
        let app = api.app().await;
        let token = "ab".repeat(32);
        let body = json!({"platform": "ios", "channels": [{"provider": "apns", "token": token}]});
        Self {
            iphone: api.device(&app, body).await,
            android: api.link_device(&app).await,
            api,
            app,
        }
    }

    /// A push with this audience; the message that it became.
    async fn push(&self, audience: Value) -> Message {
        let body =
            json!({"platform": "all", "audience": audience, "notification": {"alert": "Hi"}});
        let answer = self.api.send(&self.app, "POST", "/v3/push", body).await;
        let id: MsgId = answer.body["msg_id"]
            .as_str()
            .expect("a push")
            .parse()
            .expect("an id");
        self.api
            .store
            .message(id)
            .await
            .expect("a store")
            .expect("a message")
    }

    /// What dispatch does for Apple's part, and what Apple then says.
    async fn settle(&self, message: &Message, ending: Ending, reason: Option<Reason>) {
        let store = &self.api.store;
        let (app, provider) = (message.app, Provider::Apns);
        let open = store.open_tasks(app, provider, Turn::Fresh, 10).await;
        for task in open.expect("tasks").tasks {
            let chunk = store.chunk(task, provider).await.expect("a chunk");
            let cut = store.cut(provider, vec![Arc::new(chunk)]).await;
            cut.expect("cut");
        }
        let lane = LaneKey {
            app,
            provider,
            environment: Some(Environment::Production),
        };
        let room = Room {
            long: 1,
            pages: 1,
            short: 1,
        };
        let lease = Duration::from_secs(60);
        let leased = store
            .lease(lane, room, lease, UnixMillis::now())
            .await
            .expect("leased");
        let opened = store.open_pages(leased.pages, HashMap::new()).await;
        let (page, open) = opened.expect("opened").pop().expect("a page");
        let open = open.expect("it can be read");
        let end = End {
            at: UnixMillis::now(),
            attempts: 1,
            ending,
            reason,
        };
        let (mut delta, mut progress) = (Delta::default(), open.progress);
        assert!(progress.note(0, &end));
        delta.add(open.members[0].platform, &end);
        let settle = PageFlush {
            delta,
            ended: 0,
            key: page.key,
            lease: page.lease,
            leaving: vec![],
            members: open.members,
            message: open.message,
            progress,
            rest: Some(vec![]),
        };
        let flushed = store.flush(vec![settle], vec![]).await.expect("settled");
        assert_eq!(flushed.lost, []);
    }

    /// What dispatch does for the part of the link.
    async fn route(&self, message: &Message) {
        let store = &self.api.store;
        let mut tasks = vec![LinkTask {
            message: message.id,
            from: DeviceId(0),
            plan: LinkPlan::Log(message.clone().into(), vec![]),
            to: Some(DeviceId(1)),
        }];
        while !tasks.is_empty() {
            store.route(message.app, tasks).await.expect("routed");
            let left = store.link_tasks(message.app, Turn::Begun, MsgId(0), 10, 1000);
            tasks = left.await.expect("read");
        }
    }

    async fn acknowledge(&self, message: &Message) {
        self.end(message, LinkEnd::Delivered).await;
    }

    /// What a connection says of a logged message at the phone on the link.
    async fn end(&self, message: &Message, end: LinkEnd) {
        let store = &self.api.store;
        let log = store.log_after(message.app, Position(0), 1000).await;
        let log = log.expect("read");
        let entry = log.iter().find(|entry| entry.message == message.id);
        let position = entry.expect("is in the log").position;
        let ended = Some(LogEnd {
            end,
            message: message.id,
            position,
        });
        let ack = Ack {
            app: message.app,
            device: self.android.0.parse().expect("an id"),
            platform: Platform::Android,
            what: Acked::Log {
                ended,
                passed: Cursor::to(position),
            },
        };
        store.acknowledge(vec![ack]).await.expect("acknowledged");
    }

    async fn state(&self, message: &Message) -> Value {
        self.api
            .get(&self.app, &format!("/v1/messages/{}", message.id))
            .await
            .body["state"]
            .take()
    }
}

#[tokio::test]
async fn a_message_tells_how_far_it_is() {
    let shop = Shop::start().await;
    let message = shop.push(json!("all")).await;
    assert_eq!(shop.state(&message).await, "sending");
    shop.settle(&message, Ending::Failed, Some(Reason::known("Unanswered")))
        .await;
    assert_eq!(shop.state(&message).await, "sending");
    shop.route(&message).await;
    assert_eq!(shop.state(&message).await, "waiting");
    shop.acknowledge(&message).await;
    assert_eq!(shop.state(&message).await, "finished");

    let As::App { key, .. } = &shop.app else {
        panic!("no app")
    };
    let counts = |accepted, delivered, failed, targeted| {
        json!({
            "accepted": accepted, "delivered": delivered, "dropped": 0, "expired": 0, "failed": failed, "opened": 0,
            "sent": targeted, "targeted": targeted,
        })
    };
    let expected = json!({
        "msg_id": message.id.to_string(), "app_key": key, "state": "finished", "finished": false,
        "accepted_at": crate::api::v1::rfc3339(message.accepted_at),
        "expires_at": crate::api::v1::rfc3339(message.expires_at),
        "counts": counts(0, 1, 1, 2),
        "channels": {"apns": counts(0, 0, 1, 1), "link": counts(0, 1, 0, 1)},
        "platforms": {"android": counts(0, 1, 0, 1), "ios": counts(0, 0, 1, 1)},
        "reasons": [{"provider": "apns", "outcome": "failed", "reason": "Unanswered", "count": 1}],
        "ignored": [],
    });
    for caller in [&shop.app, &As::Admin] {
        let answer = shop
            .api
            .get(caller, &format!("/v1/messages/{}", message.id))
            .await;
        check(&answer, 200, expected.clone());
    }
}

#[tokio::test]
async fn a_message_is_seen_by_its_app_only() {
    let shop = Shop::start().await;
    let message = shop.push(json!("all")).await;
    let (id, device) = (message.id, &shop.iphone.0);
    let foreign = shop.api.app().await;
    let unknown = |id: &str| {
        format!("msg_id \"{id}\" is that of no message, or of one older than what is kept")
    };
    for suffix in [String::new(), format!("/devices/{device}")] {
        let answer = shop
            .api
            .get(&foreign, &format!("/v1/messages/{id}{suffix}"))
            .await;
        check_refused(&answer, 404, "message.not_found", &unknown(&id.to_string()));
        for id in ["1", "x"] {
            let answer = shop
                .api
                .get(&shop.app, &format!("/v1/messages/{id}{suffix}"))
                .await;
            check_refused(&answer, 404, "message.not_found", &unknown(id));
        }
        let answer = shop
            .api
            .get(&shop.iphone.1, &format!("/v1/messages/{id}{suffix}"))
            .await;
        assert_eq!(answer.status, 401);
    }
    let answer = shop
        .api
        .get(&shop.app, &format!("/v1/messages/{id}/devices/x"))
        .await;
    check_refused(
        &answer,
        400,
        "field.invalid",
        "registration_id \"x\" is wrong: a registration id is 16 lower-case hexadecimal characters",
    );
}

#[tokio::test]
async fn the_journey_to_a_device_is_told() {
    let shop = Shop::start().await;
    let message = shop.push(json!("all")).await;
    let journey = async |id: &str| {
        shop.api
            .get(
                &shop.app,
                &format!("/v1/messages/{}/devices/{id}", message.id),
            )
            .await
    };
    let (iphone, android) = (&shop.iphone.0, &shop.android.0);
    assert_eq!(journey(iphone).await.body["state"], "waiting");
    shop.settle(&message, Ending::Accepted, None).await;
    shop.route(&message).await;

    let mut told = journey(iphone).await;
    let verdict = told.body["verdict"].take();
    assert!(
        verdict
            .as_str()
            .is_some_and(|text| text.starts_with("Apple accepted it at ")),
        "{verdict}"
    );
    let at = told.body["delivery"]["at"].take();
    assert!(at.is_string(), "{told:?}");
    assert_eq!(told.body["ways"][0]["at"].take(), at);
    told.body["channels"].take();
    let expected = json!({
        "msg_id": message.id.to_string(), "registration_id": iphone, "verdict": null, "state": "accepted",
        "reason": null,
        "ways": [{
            "provider": "apns", "part": "notification", "at": null, "outcome": "accepted", "reason": null, "attempts": 1,
        }],
        "channels": null, "history": [], "in_audience": true, "providers": ["apns"],
        "delivery": {"provider": "apns", "outcome": "accepted", "reason": null, "at": null, "attempts": 1},
        "acknowledged_at": null, "events": [],
    });
    check(&told, 200, expected);

    let told = journey(android).await;
    assert_eq!(
        (&told.body["state"], &told.body["delivery"]),
        (&json!("waiting"), &Value::Null)
    );
    shop.acknowledge(&message).await;
    assert_eq!(journey(android).await.body["state"], "delivered");
    let unknown = journey("0000000000000001").await;
    assert_eq!(
        (&unknown.body["state"], &unknown.body["reason"]),
        (&json!("unknown"), &json!("NoDevice"))
    );
    let (later, _) = shop.api.link_device(&shop.app).await;
    let later = journey(&later).await;
    assert_eq!(
        (&later.body["state"], &later.body["reason"]),
        (&json!("not_targeted"), &json!("RegisteredLater"))
    );
}

#[tokio::test]
async fn what_the_phone_refused_is_called_so_everywhere() {
    let shop = Shop::start().await;
    let message = shop.push(json!("all")).await;
    shop.route(&message).await;
    shop.end(&message, LinkEnd::Refused(0x97)).await;
    let (id, android) = (message.id, &shop.android.0);
    let path = format!("/v1/messages/{id}/devices/{android}");
    let told = shop.api.get(&shop.app, &path).await;
    assert_eq!(
        (&told.body["state"], &told.body["reason"]),
        (&json!("dropped"), &json!("Refused0x97"))
    );
    let ways = json!([{
        "provider": "link", "part": "notification", "at": told.body["ways"][0]["at"], "outcome": "dropped",
        "reason": "Refused0x97", "attempts": 1,
    }]);
    assert_eq!(told.body["ways"], ways);
    let body = json!({"msg_id": id.to_string(), "registration_ids": [android]});
    let status = shop.api.send(&shop.app, "POST", "/v3/status/message", body);
    check(&status.await, 200, json!({android: {"status": 1}}));
    let counts = shop.api.get(&shop.app, &format!("/v1/messages/{id}")).await;
    assert_eq!(counts.body["counts"]["dropped"], 1);
    let reasons =
        json!([{"provider": "link", "outcome": "dropped", "reason": "Refused0x97", "count": 1}]);
    assert_eq!(counts.body["reasons"], reasons);
}

#[tokio::test]
async fn jpush_reports_count_what_happened() {
    let shop = Shop::start().await;
    let message = shop.push(json!("all")).await;
    let id = message.id.to_string();
    let received = async |ids: &str| {
        shop.api
            .get(&shop.app, &format!("/v3//received?msg_ids={ids}"))
            .await
    };
    let report = |android: Value, apns: Value| {
        json!([{
            "msg_id": id, "android_received": android, "ios_apns_sent": apns, "ios_apns_received": null,
            "ios_msg_received": null, "wp_mpns_sent": null,
        }])
    };
    check(&received(&id).await, 200, report(Value::Null, Value::Null));
    shop.route(&message).await;
    check(&received(&id).await, 200, report(json!(0), Value::Null));
    shop.settle(&message, Ending::Accepted, None).await;
    shop.acknowledge(&message).await;
    check(
        &received(&format!("{id}%2C12,{id}")).await,
        200,
        json!([report(json!(1), json!(1))[0], report(json!(1), json!(1))[0]]),
    );
    check(&received("12").await, 200, json!([]));
    let detail = shop
        .api
        .get(
            &shop.app,
            &format!("/v3/report/received/detail?msg_ids={id}"),
        )
        .await;
    assert_eq!(
        (
            &detail.body[0]["jpush_received"],
            &detail.body[0]["ios_apns_sent"]
        ),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        detail.body[0].as_object().map(serde_json::Map::len),
        Some(16)
    );

    let many = vec!["1"; 101].join(",");
    for (ids, text) in [
        (
            "",
            "msg_ids is missing: name one message or more, with commas between",
        ),
        (
            "x",
            "msg_ids names \"x\": a message id is a positive decimal number below 2^63",
        ),
        (
            many.as_str(),
            "msg_ids may name at most 100 messages, not 101",
        ),
    ] {
        check_refused(&received(ids).await, 400, 3002, text);
    }
}

#[tokio::test]
async fn jpush_status_tells_device_by_device() {
    let shop = Shop::start().await;
    let message = shop.push(json!({"registration_id": [shop.iphone.0]})).await;
    let broadcast = shop.push(json!("all")).await;
    shop.route(&broadcast).await;
    shop.acknowledge(&broadcast).await;
    let status = async |body: Value| {
        shop.api
            .send(&shop.app, "POST", "/v3/status/message", body)
            .await
    };
    let (iphone, android) = (&shop.iphone.0, &shop.android.0);
    let ids = json!([iphone, android, "0000000000000001", "x"]);
    let answer =
        status(json!({"msg_id": message.id.0, "registration_ids": ids, "date": "2026-11-24"}))
            .await;
    let unknown = json!({"status": 2});
    check(
        &answer,
        200,
        json!({
            iphone: {"status": 1}, android: {"status": 3}, "0000000000000001": unknown, "x": unknown,
        }),
    );
    let of = |message: &Message, device: &str| {
        status(json!({"msg_id": message.id.to_string(), "registration_ids": [device]}))
    };
    let answer = of(&broadcast, android).await;
    check(&answer, 200, json!({android: {"status": 0}}));
    // Apple tells no more than that it accepted.
    shop.settle(&message, Ending::Accepted, None).await;
    let answer = of(&message, iphone).await;
    check(&answer, 200, json!({iphone: {"status": 0}}));

    for (body, text) in [
        (
            json!({"registration_ids": [android]}),
            "msg_id is missing: the id of a message",
        ),
        (
            json!({"msg_id": "7"}),
            "registration_ids is missing: name one device or more",
        ),
        (
            json!({"msg_id": "7", "registration_ids": [7]}),
            "registration_ids[0] must be a string, not 7",
        ),
        (
            json!({"msg_id": "7", "registration_ids": [android]}),
            "msg_id 7 is no message of this app, or older than what is kept",
        ),
    ] {
        check_refused(&status(body).await, 400, 3002, text);
    }
}
