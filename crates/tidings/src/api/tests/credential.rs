use std::path::Path;

use serde_json::json;
use tidings_model::{Environment, Provider};
use tidings_store::CredentialSlot;

use super::*;
use crate::credentials;
use crate::providers::apns::ApnsCredential;

/// A file of those that the provider's own tests are made with.
fn fixture(name: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tidings-providers/tests/fixtures/apns");
    std::fs::read(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn p12(name: &str, environment: &str) -> Value {
    let file = STANDARD.encode(fixture(name));
    json!({"p12": file, "password": "secret", "environment": environment})
}

fn p8(name: &str) -> Value {
    let file = String::from_utf8_lossy(&fixture(name)).into_owned();
    json!({"p8": file, "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": "com.example.app"})
}

struct Shop {
    api: TestApi,
    path: String,
}

impl Shop {
    async fn start() -> Self {
        let mut api = TestApi::start();
        let As::App { key, .. } = api.app().await else {
            panic!("no app")
        };
        api.told();
        Self {
            api,
            path: format!("/v1/apps/{key}/credentials"),
        }
    }

    async fn put(&self, body: Value) -> Answer {
        self.api
            .send(&As::Admin, "PUT", &format!("{}/apns", self.path), body)
            .await
    }

    async fn list(&self) -> Value {
        self.api.get(&As::Admin, &self.path).await.body["credentials"].take()
    }

    async fn stored(&self, environment: Environment) -> Option<ApnsCredential> {
        let app = self
            .api
            .store
            .apps(tidings_model::AppId(0), 1)
            .await
            .expect("a store")[0]
            .id;
        let slot = CredentialSlot {
            app,
            environment: Some(environment),
            provider: Provider::Apns,
        };
        let stored = credentials::stored(&self.api.store, slot).await;
        let plain = stored.expect("a store")?.expect("a credential");
        Some(serde_json::from_slice(&plain).expect("a credential"))
    }
}

#[tokio::test]
async fn a_certificate_is_opened_checked_and_kept() {
    let mut shop = Shop::start().await;
    let mut answer = shop.put(p12("production.p12", "production")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expires_at = answer.body["expires_at"].take();
    assert!(
        expires_at
            .as_str()
            .is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
        "{expires_at}"
    );
    let expected = json!({
        "endpoint": null, "environment": "production", "expires_at": null, "has_ca": false,
        "has_proxy": false, "kind": "certificate",
        "provider": "apns", "topic": "com.example.app", "topics": answer.body["topics"],
    });
    check(&answer, 200, expected);
    assert!(matches!(
        shop.api.told()[..],
        [Command::CredentialChanged(_, Provider::Apns)]
    ));
    let kept = shop
        .stored(Environment::Production)
        .await
        .expect("a credential");
    assert!(kept.config(Environment::Production).is_ok());
    assert!(shop.stored(Environment::Sandbox).await.is_none());
}

#[tokio::test]
async fn a_signing_key_serves_both_environments_unless_told_otherwise() {
    let shop = Shop::start().await;
    let mut body = p8("AuthKey_ABC123DEFG.p8");
    body["endpoint"] = "https://127.0.0.1:2197".into();
    body["proxy"] = "http://user:quiet@proxy:3128".into();
    let answer = shop.put(body.clone()).await;
    assert_eq!(
        (answer.status, &answer.body["environment"]),
        (200, &Value::Null),
        "{answer:?}"
    );
    assert_eq!(
        (&answer.body["kind"], &answer.body["expires_at"]),
        (&json!("token"), &Value::Null)
    );
    for environment in [Environment::Production, Environment::Sandbox] {
        let kept = shop.stored(environment).await.expect("a credential");
        let config = kept.config(environment).expect("a configuration");
        assert_eq!(config.endpoint.as_deref(), Some("https://127.0.0.1:2197"));
        let proxy = config.proxy.as_ref().map(Secret::expose);
        assert_eq!(proxy, Some("http://user:quiet@proxy:3128"));
        assert_eq!(config.topic.as_deref(), Some("com.example.app"));
    }
    body["environment"] = "sandbox".into();
    assert_eq!(shop.put(body).await.body["environment"], "sandbox");
}

#[tokio::test]
async fn the_list_shows_health_and_no_secret() {
    let shop = Shop::start().await;
    shop.put(p12("sandbox.p12", "sandbox")).await;
    shop.put(p8("AuthKey_ABC123DEFG.p8")).await;
    let list = shop.list().await;
    let seen: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (&entry["environment"], &entry["health"], &entry["kind"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("production"), &json!("good"), &json!("token")),
            (&json!("sandbox"), &json!("good"), &json!("token"))
        ]
    );
    let text = list.to_string();
    assert!(
        !text.contains("PRIVATE") && !text.contains("ABC123DEFG"),
        "{text}"
    );

    let app = shop
        .api
        .store
        .apps(tidings_model::AppId(0), 1)
        .await
        .expect("a store")[0]
        .id;
    let slot = CredentialSlot {
        app,
        environment: Some(Environment::Sandbox),
        provider: Provider::Apns,
    };
    let reason = tidings_model::Reason::known("InvalidProviderToken");
    let store = &shop.api.store;
    let set_at = store.credentials(app).await.expect("a store")[1].updated_at;
    let noted = store.note_credential(slot, Some(reason), set_at).await;
    assert!(noted.expect("a store"));
    let list = shop.list().await;
    assert_eq!(
        (&list[1]["health"], &list[1]["rejected"]),
        (&json!("rejected"), &json!("InvalidProviderToken"))
    );
    // A new one starts anew.
    shop.put(p12("sandbox.p12", "sandbox")).await;
    assert_eq!(shop.list().await[1]["health"], "good");
}

#[tokio::test]
async fn credentials_are_forgotten_by_environment_or_all() {
    let shop = Shop::start().await;
    shop.put(p8("AuthKey_ABC123DEFG.p8")).await;
    let delete = async |query: &str| {
        shop.api
            .call(
                &As::Admin,
                "DELETE",
                &format!("{}/apns{query}", shop.path),
                "",
            )
            .await
    };
    check(&delete("?environment=sandbox").await, 200, json!({}));
    assert_eq!(shop.list().await.as_array().map(Vec::len), Some(1));
    let text = "The app has no such credential for apns.";
    check_refused(
        &delete("?environment=sandbox").await,
        404,
        "credential.not_found",
        text,
    );
    check_refused(
        &delete("?environment=x").await,
        400,
        "field.invalid",
        "environment \"x\": must be one of: production, sandbox",
    );
    check(&delete("").await, 200, json!({}));
    assert_eq!(shop.list().await, json!([]));
}

#[tokio::test]
async fn a_bad_credential_is_told_why() {
    let mut shop = Shop::start().await;
    let with = |mut body: Value, key: &str, value: Value| {
        body[key] = value;
        body
    };
    let good = || p12("production.p12", "production");
    let key = || p8("AuthKey_ABC123DEFG.p8");
    let cases = [
        (
            with(good(), "password", json!("wrong")),
            "credential.wrong_password",
            "password",
            "password: does not open the .p12; use the one that was set when it was exported (leave it empty if none was)",
        ),
        (
            with(good(), "environment", json!("sandbox")),
            "credential.wrong_environment",
            "environment",
            "environment: is sandbox; the certificate is for production only",
        ),
        (
            with(good(), "topic", json!("com.other")),
            "credential.topic_not_covered",
            "topic",
            "topic: \"com.other\" is not among those of the certificate: com.example.app",
        ),
        (
            with(good(), "topic", json!("a b")),
            "credential.bad_topic",
            "topic",
            "",
        ),
        (
            p12("signing.p12", "production"),
            "credential.not_for_push",
            "p12",
            "",
        ),
        (
            p12("key-only.p12", "production"),
            "credential.no_certificate",
            "p12",
            "",
        ),
        (
            p12("certificate-only.p12", "production"),
            "credential.no_private_key",
            "p12",
            "",
        ),
        (
            p12("mismatch.p12", "production"),
            "credential.key_does_not_match",
            "p12",
            "",
        ),
        (
            p12("topicless.p12", "production"),
            "credential.topic_missing",
            "topic",
            "",
        ),
        (
            p12("certificate.cer", "production"),
            "credential.not_pkcs12",
            "p12",
            "",
        ),
        (
            with(good(), "p12", json!("%")),
            "credential.unreadable",
            "p12",
            "",
        ),
        (
            with(good(), "environment", Value::Null),
            "field.missing",
            "environment",
            "environment is missing: sandbox or production",
        ),
        (p8("p384.p8"), "credential.not_p8", "p8", ""),
        (p8("sec1.pem"), "credential.not_p8", "p8", ""),
        (p8("rsa1.pem"), "credential.not_p8", "p8", ""),
        (
            with(key(), "key_id", json!("short")),
            "credential.bad_key_id",
            "key_id",
            "",
        ),
        (
            with(key(), "team_id", json!("short")),
            "credential.bad_team_id",
            "team_id",
            "",
        ),
        (
            with(key(), "topic", Value::Null),
            "credential.topic_missing",
            "topic",
            "topic: is missing; name the app's bundle id, such as com.example.app",
        ),
        (
            with(key(), "endpoint", json!("http://x")),
            "field.invalid",
            "endpoint",
            "endpoint must be of the form https://HOST:PORT, not \"http://x\"",
        ),
        (
            with(key(), "ca", json!("x")),
            "credential.unreadable",
            "ca",
            "ca must hold 1 to 16 certificates as PEM, not 0",
        ),
        (
            json!({}),
            "field.missing",
            "p12",
            "p12 is missing: give a p12 with its password and environment, or a p8 with key_id and team_id",
        ),
    ];
    for (body, code, field, text) in cases {
        let answer = shop.put(body).await;
        let error = &answer.body["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["field"]),
            (400, &json!(code), &json!(field))
        );
        let message = error["message"].as_str().expect("a text");
        assert!(
            message.starts_with(field) && message.contains(text),
            "{message}"
        );
    }
    assert_eq!(shop.list().await, json!([]));
    assert_eq!(shop.api.told(), []);
    let remote = Provider::ALL.into_iter().filter(|known| known.is_remote());
    let remote: Vec<_> = remote.map(Provider::name).collect();
    let unknown = format!(
        "provider must be one of: {}; not \"fax\"",
        remote.join(", ")
    );
    for (provider, text) in [
        (
            "link",
            "provider link takes no credential: devices connect to Tidings itself",
        ),
        ("fax", &unknown),
    ] {
        let path = format!("{}/{provider}", shop.path);
        let answer = shop.api.send(&As::Admin, "PUT", &path, json!({})).await;
        check_refused(&answer, 400, "field.invalid", text);
    }
}

#[tokio::test]
async fn a_topic_of_another_push_type_is_refused_by_name() {
    let shop = Shop::start().await;
    for suffix in [
        ".complication",
        ".location-query",
        ".push-type.controls",
        ".push-type.liveactivity",
        ".push-type.widgets",
        ".pushkit.fileprovider",
        ".voip",
        ".voip-ptt",
    ] {
        let mut body = p8("AuthKey_ABC123DEFG.p8");
        body["topic"] = format!("com.example.app{suffix}").into();
        let answer = shop.put(body).await;
        assert_eq!(answer.status, 400, "{suffix}: {answer:?}");
        let error = &answer.body["error"];
        assert_eq!(error["code"], "credential.topic_of_push_type", "{answer:?}");
        assert_eq!(error["field"], "topic");
        let text = error["message"].as_str().expect("a text");
        assert!(text.ends_with("alone: \"com.example.app\""), "{text}");
        assert!(text.contains(suffix), "{text}");
    }
    assert_eq!(shop.list().await, json!([]));
    // An app may be called so.
    for topic in [
        "com.example.voip",
        "com.example.app",
        "com.example.app.push",
    ] {
        let mut body = p8("AuthKey_ABC123DEFG.p8");
        body["topic"] = topic.into();
        assert_eq!(shop.put(body).await.body["topic"], topic);
    }
}

#[tokio::test]
async fn a_maker_is_sent_to_as_fast_as_the_credential_says_or_as_it_publishes() {
    let shop = Shop::start().await;
    let put = async |rate: Value| {
        let body = json!({"app_id": "100", "app_secret": "secret", "rate": rate});
        let path = format!("{}/huawei", shop.path);
        shop.api.send(&As::Admin, "PUT", &path, body).await
    };
    let published = json!({"devices_per_second": 6000, "requests_per_second": null});
    assert_eq!(put(Value::Null).await.body["rate"], published);
    let faster = json!({"devices_per_second": 20_000, "requests_per_second": 30});
    assert_eq!(put(faster.clone()).await.body["rate"], faster);
    assert_eq!(shop.list().await[0]["rate"], faster);
    for (rate, field) in [
        (json!({"devices_per_second": 0}), "rate.devices_per_second"),
        (json!({"messages": 1}), "rate.messages"),
    ] {
        let refused = put(rate).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert_eq!(refused.body["error"]["field"], field, "{refused:?}");
    }
}
