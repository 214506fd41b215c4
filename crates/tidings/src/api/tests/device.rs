use serde_json::json;

use super::*;

const TOKEN: &str = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899";

fn iphone(token: &str) -> Value {
    json!({"platform": "ios", "channels": [{"provider": "apns", "token": token, "environment": "sandbox"}]})
}

#[tokio::test]
async fn a_device_registers_and_reads_its_record() {
    let api = TestApi::start();
    let app = api.app().await;
    let mut body = iphone(&TOKEN.to_uppercase());
    body["alias"] = "ann".into();
    body["tags"] = json!(["b", "a", "b"]);
    body["locale"] = "de-AT".into();
    let (id, device) = api.device(&app, body).await;

    let path = format!("/v1/devices/{id}");
    for caller in [&device, &app, &As::Admin] {
        let mut shown = api.get(caller, &path).await;
        for time in ["/created_at", "/channels/0/registered_at"] {
            let time = shown.body.pointer_mut(time).expect("a time").take();
            let time = time
                .as_str()
                .and_then(|time| time.parse::<jiff::Timestamp>().ok());
            assert!(time.is_some(), "{shown:?}");
        }
        let channel = json!({"environment": "sandbox", "provider": "apns", "registered_at": null, "token": TOKEN});
        let expected = json!({
            "alias": "ann", "app_version": null, "channels": [channel], "created_at": null, "locale": "de-AT",
            "platform": "ios", "registration_id": id, "tags": ["a", "b"], "time_zone": null,
        });
        check(&shown, 200, expected);
    }
}

#[tokio::test]
async fn a_known_token_is_the_same_device_for_whoever_has_its_secret_and_else_a_new_one() {
    let api = TestApi::start();
    let app = api.app().await;
    let (id, old) = api.device(&app, iphone(TOKEN)).await;
    let As::App { key, .. } = &app else {
        panic!("no app")
    };
    let mut body = iphone(TOKEN);
    body["app_key"] = key.as_str().into();
    let again = api.send(&old, "POST", "/v1/devices", body.clone()).await;
    assert_eq!(
        (again.status, again.body["registration_id"].as_str()),
        (200, Some(id.as_str()))
    );
    let new = As::Device(
        again.body["device_secret"]
            .as_str()
            .expect("a text")
            .to_owned(),
    );
    let path = format!("/v1/devices/{id}");
    assert_eq!(api.get(&old, &path).await.status, 401);
    assert_eq!(api.get(&new, &path).await.status, 200);
    for nobody in [As::Nobody, old] {
        let other = api.send(&nobody, "POST", "/v1/devices", body.clone()).await;
        assert_eq!(other.status, 201);
        assert_ne!(other.body["registration_id"], id.as_str());
    }
    let former = api.get(&new, &path).await;
    assert_eq!((former.status, &former.body["channels"]), (200, &json!([])));
}

#[tokio::test]
async fn a_device_that_cannot_be_is_refused() {
    let api = TestApi::start();
    let app = api.app().await;
    let As::App { key, .. } = &app else {
        panic!("no app")
    };
    let nobody = "0123456789abcdef01234567";
    let link = json!([{"provider": "link"}]);
    let cases = [
        (json!({"app_key": nobody, "platform": "ios", "channels": link}), 404, "app.not_found", "app_key",
            format!("app_key \"{nobody}\" is that of no app")),
        (json!({"app_key": key, "platform": "ios"}), 400, "field.missing", "channels",
            "channels is missing: give at least one, such as {\"provider\":\"link\"}".into()),
        (json!({"app_key": key, "platform": "ios", "channels": [{"provider": "apns", "token": "abc"}]}), 400,
            "field.invalid", "channels[0].token",
            "channels[0].token must be an even number of 64 to 200 hexadecimal characters, not 3 of them".into()),
        (json!({"app_key": key, "platform": "android", "channels": [{"provider": "apns", "token": TOKEN}]}), 400,
            "field.invalid", "channels[0].provider",
            "channels[0].provider apns reaches devices of the platform ios only, not of android".into()),
        (json!({"app_key": key, "platform": "ios", "channels": link, "colour": 1}), 400, "field.unknown", "colour",
            "colour is not a known key: known are app_key, platform, channels, alias, app_version, locale, tags, time_zone".into()),
    ];
    for (body, status, code, field, text) in cases {
        let answer = api.send(&As::Nobody, "POST", "/v1/devices", body).await;
        check_refused(&answer, status, code, &text);
        assert_eq!(answer.body["error"]["field"], field);
    }
    let answer = api.call(&As::Nobody, "POST", "/v1/devices", "{").await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (400, &json!("body.not_json"))
    );
}

#[tokio::test]
async fn a_device_changes_itself() {
    let api = TestApi::start();
    let app = api.app().await;
    let (id, device) = api.device(&app, iphone(TOKEN)).await;
    let path = format!("/v1/devices/{id}");
    let patch = json!({"alias": "ben", "tags": ["x"], "time_zone": "Asia/Shanghai", "channels": [{"provider": "link"}]});
    let answer = api.send(&device, "PATCH", &path, patch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (&answer.body["alias"], &answer.body["tags"]),
        (&json!("ben"), &json!(["x"]))
    );
    assert_eq!(answer.body["channels"][0]["provider"], "link");
    let answer = api
        .send(&device, "PATCH", &path, json!({"alias": null}))
        .await;
    assert_eq!(
        (&answer.body["alias"], &answer.body["time_zone"]),
        (&Value::Null, &json!("Asia/Shanghai"))
    );

    let answer = api
        .send(&device, "PATCH", &path, json!({"channels": []}))
        .await;
    check_refused(
        &answer,
        400,
        "field.invalid",
        "channels must have an entry: to take a device's last channel away, delete the device",
    );
    let (android, other) = api.link_device(&app).await;
    let apns = json!({"channels": [{"provider": "apns", "token": TOKEN}]});
    let answer = api
        .send(&other, "PATCH", &format!("/v1/devices/{android}"), apns)
        .await;
    check_refused(
        &answer,
        400,
        "field.invalid",
        "channels[0].provider apns reaches devices of the platform ios only, not of android",
    );
}

#[tokio::test]
async fn only_the_right_callers_reach_a_device() {
    let api = TestApi::start();
    let (app, foreign) = (api.app().await, api.app().await);
    let (id, _) = api.link_device(&app).await;
    let (_, other) = api.link_device(&app).await;
    let (path, unknown) = (format!("/v1/devices/{id}"), "/v1/devices/0000000000000001");
    // A device that does not exist looks like one whose secret is wrong.
    for path in [path.as_str(), unknown, "/v1/devices/nonsense"] {
        for (method, suffix) in [
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/events"),
        ] {
            let path = format!("{path}{suffix}");
            let answer = api.send(&other, method, &path, json!({})).await;
            check_refused(
                &answer,
                401,
                "auth.rejected",
                "The bearer token is not the right one.",
            );
            assert_eq!(
                api.send(&As::Nobody, method, &path, json!({})).await.status,
                401,
                "{method}"
            );
        }
    }
    for (caller, path) in [
        (&foreign, path.as_str()),
        (&app, unknown),
        (&As::Admin, unknown),
    ] {
        let answer = api.get(caller, path).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (404, &json!("device.not_found"))
        );
    }
    assert_eq!(
        api.send(&As::Admin, "PATCH", &path, json!({})).await.status,
        401
    );
}

#[tokio::test]
async fn a_forgotten_device_is_gone() {
    let api = TestApi::start();
    let app = api.app().await;
    let (id, device) = api.link_device(&app).await;
    let path = format!("/v1/devices/{id}");
    check(
        &api.call(&device, "DELETE", &path, "").await,
        200,
        json!({}),
    );
    assert_eq!(api.get(&device, &path).await.status, 401);
}

#[tokio::test]
async fn events_are_recorded_once_and_counted() {
    let api = TestApi::start();
    let app = api.app().await;
    let (id, device) = api.link_device(&app).await;
    let push = json!({"platform": "all", "audience": {"registration_id": [id]}, "notification": {"alert": "Hi"}});
    let msg_id = api.send(&app, "POST", "/v3/push", push).await.body["msg_id"].clone();
    let path = format!("/v1/devices/{id}/events");
    let events = json!({"events": [
        {"type": "opened", "msg_id": msg_id}, {"type": "opened", "msg_id": msg_id}, {"type": "opened", "msg_id": "7"},
    ]});
    check(
        &api.send(&device, "POST", &path, events.clone()).await,
        200,
        json!({"recorded": 1}),
    );
    check(
        &api.send(&device, "POST", &path, events).await,
        200,
        json!({"recorded": 0}),
    );
    let msg_id = msg_id.as_str().expect("a text");
    let message = api.get(&app, &format!("/v1/messages/{msg_id}")).await;
    assert_eq!(message.body["counts"]["opened"], 1);
    let answer = api
        .send(
            &device,
            "POST",
            &path,
            json!({"events": [{"type": "seen", "msg_id": msg_id}]}),
        )
        .await;
    check_refused(
        &answer,
        400,
        "field.invalid",
        "events[0].type must be opened, dismissed or received, not \"seen\"",
    );
}
