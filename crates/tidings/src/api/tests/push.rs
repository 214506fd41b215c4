use serde_json::{Value, json};
use tidings_model::MsgId;

use super::*;

fn to(audience: Value) -> Value {
    json!({"platform": "all", "audience": audience, "notification": {"alert": "Hello"}})
}

const NO_TARGET: &str = "cannot find user by this audience: no registered device matches it on the platforms of this push, with a channel that can carry it";

#[tokio::test]
async fn a_push_is_accepted_and_told_of() {
    let mut api = TestApi::start();
    let app = api.app().await;
    api.link_device(&app).await;
    api.told();

    let mut body = to(json!("all"));
    body["options"] = json!({"sendno": 4294967294_u32});
    let answer = api.send(&app, "POST", "/v3//push/", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let msg_id = answer.body["msg_id"].as_str().expect("a text").to_owned();
    check(
        &answer,
        200,
        json!({"sendno": "4294967294", "msg_id": msg_id}),
    );
    assert_eq!(answer.headers["x-jpush-msgid"], msg_id.as_str());
    for header in ["limit", "quota", "remaining", "reset"] {
        let value = answer.headers[format!("x-rate-limit-{header}")].to_str();
        assert!(value.expect("ASCII").parse::<i32>().is_ok(), "{header}");
    }
    let id: MsgId = msg_id.parse().expect("an id");
    let message = api
        .store
        .message(id)
        .await
        .expect("a store")
        .expect("a message");
    let accepted = Command::MessageAccepted(message.app);
    assert_eq!(api.told(), [accepted]);
}

#[tokio::test]
async fn a_repeated_cid_gets_the_first_answer_and_sends_nothing() {
    let mut api = TestApi::start();
    let app = api.app().await;
    let (id, device) = api.link_device(&app).await;
    let cids = api.get(&app, "/v3/push/cid?count=2&type=push").await;
    let cids = cids.body["cidlist"].as_array().expect("a list").clone();
    assert_eq!(cids.len(), 2);

    let mut body = to(json!({"registration_id": [id]}));
    body["cid"] = cids[0].clone();
    body["options"] = json!({"sendno": 7});
    let first = api.send(&app, "POST", "/v3/push", body.clone()).await;
    assert_eq!(first.status, 200, "{first:?}");
    api.told();
    body["options"] = json!({"sendno": 8});
    check(
        &api.send(&app, "POST", "/v3/push", body.clone()).await,
        200,
        first.body.clone(),
    );
    // Also when its devices have gone since.
    api.call(&device, "DELETE", &format!("/v1/devices/{id}"), "")
        .await;
    api.told();
    check(
        &api.send(&app, "POST", "/v3/push", body.clone()).await,
        200,
        first.body,
    );
    assert_eq!(api.told(), []);
    body["cid"] = cids[1].clone();
    assert_eq!(api.send(&app, "POST", "/v3/push", body).await.status, 400);
}

#[tokio::test]
async fn a_push_that_nobody_can_get_is_refused() {
    let api = TestApi::start();
    let (app, other) = (api.app().await, api.app().await);
    let (id, _) = api.link_device(&app).await;
    let (foreign, _) = api.link_device(&other).await;
    let ios = json!({"platform": ["ios"], "audience": "all", "notification": {"alert": "Hello"}});
    for body in [
        to(json!({"alias": ["nobody"]})),
        to(json!({"tag": ["none"], "registration_id": [id]})),
        ios,
    ] {
        for path in ["/v3/push", "/v3/push/validate"] {
            let answer = api.send(&app, "POST", path, body.clone()).await;
            check_refused(&answer, 400, 1011, NO_TARGET);
            let msg_id = answer.body["msg_id"].as_str().expect("a text");
            assert!(msg_id.parse::<MsgId>().is_ok(), "{msg_id}");
            assert_eq!(answer.headers["x-jpush-msgid"], msg_id);
        }
    }
    for unknown in [foreign.as_str(), "0000000000000001", "1a0018970a000000000"] {
        let answer = api
            .send(
                &app,
                "POST",
                "/v3/push",
                to(json!({"registration_id": [unknown]})),
            )
            .await;
        let text = format!("The registration_id {unknown} is invalid!");
        check_refused(&answer, 400, 1003, &text);
    }
    let mixed = to(json!({"registration_id": ["nonsense", foreign, id]}));
    assert_eq!(api.send(&app, "POST", "/v3/push", mixed).await.status, 200);
}

#[tokio::test]
async fn validate_answers_as_push_does_and_sends_nothing() {
    let mut api = TestApi::start();
    let app = api.app().await;
    api.link_device(&app).await;
    api.told();
    let answer = api
        .send(&app, "POST", "/v3/push/validate", to(json!("all")))
        .await;
    let msg_id = answer.body["msg_id"].as_str().expect("a text").to_owned();
    check(&answer, 200, json!({"sendno": "0", "msg_id": msg_id}));
    assert_eq!(api.told(), []);
    let id = msg_id.parse().expect("an id");
    assert!(api.store.message(id).await.expect("a store").is_none());
    let missing = api
        .send(
            &app,
            "POST",
            "/v3/push/validate",
            json!({"platform": "all"}),
        )
        .await;
    assert_eq!(
        (missing.status, &missing.body["error"]["code"]),
        (400, &json!(1002))
    );
}

#[tokio::test]
async fn a_caller_without_the_right_credentials_is_refused() {
    let api = TestApi::start();
    let app = api.app().await;
    let As::App { key, secret } = app.clone() else {
        panic!("no app")
    };
    let wrong = |key: &str, secret: &str| As::App {
        key: key.into(),
        secret: secret.into(),
    };
    let callers = [
        (As::Nobody, 1004, 7001, 3001),
        (wrong(&key, "0123456789abcdef01234567"), 1004, 7004, 3001),
        (wrong("0123456789abcdef01234567", &secret), 1004, 7004, 3001),
        (As::Admin, 1004, 7004, 3001),
    ];
    for (caller, push, _, report) in callers {
        let answer = api
            .send(&caller, "POST", "/v3/push", to(json!("all")))
            .await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (401, &json!(push)),
            "{caller:?}"
        );
        assert!(answer.headers.contains_key("www-authenticate"));
        let answer = api.get(&caller, "/v3/received?msg_ids=1").await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (401, &json!(report)),
            "{caller:?}"
        );
    }
}

#[tokio::test]
async fn calls_over_the_limit_are_refused_and_told_when_to_come_again() {
    let api = TestApi::start_limited(Some(2));
    let app = api.app().await;
    api.link_device(&app).await;
    for remaining in ["1", "0"] {
        let answer = api.send(&app, "POST", "/v3/push", to(json!("all"))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-rate-limit-remaining"], remaining);
    }
    let answer = api.send(&app, "POST", "/v3/push", to(json!("all"))).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (429, &json!(2002))
    );
    assert_eq!(answer.headers["x-rate-limit-remaining"], "0");
    // Another family of calls has a limit of its own.
    assert_eq!(api.get(&app, "/v3/received?msg_ids=1").await.status, 200);
}

#[tokio::test]
async fn a_wrong_path_or_method_is_answered_in_the_dialect_of_its_family() {
    let api = TestApi::start();
    let app = api.app().await;
    let cases = [
        ("GET", "/v3/push", 405, json!(1001)),
        ("POST", "/v3/pushes", 404, json!(1003)),
        ("POST", "/v3/received", 405, json!(3002)),
        ("GET", "/v1/nothing", 404, json!("path.not_found")),
        ("PUT", "/v1/devices", 405, json!("method.not_allowed")),
    ];
    for (method, path, status, code) in cases {
        let answer = api.call(&app, method, path, "").await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (status, &code),
            "{method} {path}"
        );
    }
    let encrypted = api
        .call(&app, "POST", "/v3/push", "x".repeat((1 << 20) + 1))
        .await;
    assert_eq!(
        (encrypted.status, &encrypted.body["error"]["code"]),
        (413, &json!(1005))
    );
}

#[tokio::test]
async fn cids_are_made_in_the_number_that_is_asked_for() {
    let api = TestApi::start();
    let app = api.app().await;
    let As::App { key, .. } = app.clone() else {
        panic!("no app")
    };
    for (query, count) in [
        ("", 1),
        ("?count=&type=", 1),
        ("?count=1000&type=schedule", 1000),
    ] {
        let answer = api.get(&app, &format!("/v3/push/cid{query}")).await;
        let list = answer.body["cidlist"].as_array().expect("a list");
        assert_eq!(list.len(), count, "{query}");
        let first = list[0].as_str().expect("a text");
        assert!(
            first.starts_with(&format!("{key}-")) && first.len() == 61,
            "{first}"
        );
    }
    for query in ["?count=0", "?count=1001", "?count=x", "?type=file"] {
        let answer = api.get(&app, &format!("/v3/push/cid{query}")).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (400, &json!(1003)),
            "{query}"
        );
    }
}
