use serde_json::json;

use super::*;

#[tokio::test]
async fn an_app_is_made_shown_renamed_and_forgotten() {
    let mut api = TestApi::start();
    let app = api.app().await;
    let As::App { key, secret } = app.clone() else {
        panic!("no app")
    };
    let is_hex = |text: &str| {
        text.len() == 24
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    assert!(is_hex(&key) && is_hex(&secret), "{key} {secret}");

    let path = format!("/v1/apps/{key}");
    let mut shown = api.get(&As::Admin, &path).await;
    shown.body["created_at"].take();
    check(
        &shown,
        200,
        json!({
            "app_key": key,
            "created_at": null,
            "fallback_after": "30s",
            "name": "Shop",
            "strategy": {"default": "first_ospush"},
        }),
    );
    let renamed = api
        .send(&As::Admin, "PATCH", &path, json!({"name": "Market"}))
        .await;
    assert_eq!(
        (renamed.status, &renamed.body["name"]),
        (200, &json!("Market"))
    );
    let list = api.get(&As::Admin, "/v1/apps").await;
    assert_eq!(
        (&list.body["apps"][0]["name"], &list.body["next"]),
        (&json!("Market"), &Value::Null)
    );
    let list = api.get(&As::Admin, &format!("/v1/apps?after={key}")).await;
    check(&list, 200, json!({"apps": [], "next": null}));

    check(
        &api.call(&As::Admin, "DELETE", &path, "").await,
        200,
        json!({}),
    );
    assert!(matches!(api.told()[..], [Command::AppForgotten(_)]));
    let text = format!("app_key \"{key}\" is that of no app");
    check_refused(
        &api.get(&As::Admin, &path).await,
        404,
        "app.not_found",
        &text,
    );
    assert_eq!(api.get(&app, "/v3/push/cid").await.status, 401);
}

#[tokio::test]
async fn a_rotated_secret_is_good_at_once_and_the_old_one_void() {
    let api = TestApi::start();
    let app = api.app().await;
    let As::App { key, .. } = app.clone() else {
        panic!("no app")
    };
    let rotated = api
        .call(
            &As::Admin,
            "POST",
            &format!("/v1/apps/{key}/rotate-secret"),
            "",
        )
        .await;
    let secret = rotated.body["master_secret"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert_eq!(
        (rotated.status, rotated.body["app_key"].as_str()),
        (200, Some(key.as_str()))
    );
    assert_eq!(api.get(&app, "/v3/push/cid").await.status, 401);
    assert_eq!(
        api.get(&As::App { key, secret }, "/v3/push/cid")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn only_administrators_manage_apps() {
    let api = TestApi::start();
    let app = api.app().await;
    let As::App { key, .. } = app.clone() else {
        panic!("no app")
    };
    let calls = [
        ("POST", "/v1/apps".to_owned()),
        ("GET", "/v1/apps".to_owned()),
        ("GET", format!("/v1/apps/{key}")),
        ("PATCH", format!("/v1/apps/{key}")),
        ("DELETE", format!("/v1/apps/{key}")),
        ("POST", format!("/v1/apps/{key}/rotate-secret")),
        ("GET", format!("/v1/apps/{key}/callbacks")),
        ("POST", format!("/v1/apps/{key}/callbacks/rotate")),
        ("GET", format!("/v1/apps/{key}/credentials")),
        ("PUT", format!("/v1/apps/{key}/credentials/apns")),
        ("DELETE", format!("/v1/apps/{key}/credentials/apns")),
    ];
    for (method, path) in calls {
        for (caller, code) in [
            (&As::Nobody, "auth.missing"),
            (&app, "auth.rejected"),
            (&As::Device("x".into()), "auth.rejected"),
        ] {
            let answer = api.send(caller, method, &path, json!({"name": "x"})).await;
            assert_eq!(
                (answer.status, &answer.body["error"]["code"]),
                (401, &json!(code)),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn an_app_needs_a_name() {
    let api = TestApi::start();
    let answer = api.send(&As::Admin, "POST", "/v1/apps", json!({})).await;
    check_refused(
        &answer,
        400,
        "field.missing",
        "name is missing: give the app a name",
    );
    let text = "app_key \"x\" is that of no app";
    check_refused(
        &api.get(&As::Admin, "/v1/apps/x").await,
        404,
        "app.not_found",
        text,
    );
    let answer = api
        .call(&As::Admin, "POST", "/v1/apps", "x".repeat((256 << 10) + 1))
        .await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (413, &json!("body.too_large"))
    );
}

#[tokio::test]
async fn the_simulators_are_for_administrators() {
    let api = TestApi::start();
    let sandbox = Router::new().route(
        "/v1/sandbox/x",
        axum::routing::get(async || axum::Json(json!({"x": 1}))),
    );
    let tell = mpsc::channel(1).0;
    let whole = Api::new(
        Arc::clone(&api.store),
        Secret::new(ADMIN_TOKEN).hash(),
        tell,
        None,
    );
    let api = TestApi {
        router: router(whole, Some(sandbox)),
        ..api
    };
    check(
        &api.get(&As::Admin, "/v1/sandbox/x").await,
        200,
        json!({"x": 1}),
    );
    assert_eq!(api.get(&As::Nobody, "/v1/sandbox/x").await.status, 401);
    assert_eq!(api.get(&As::Admin, "/v1/sandbox/y").await.status, 404);
}
