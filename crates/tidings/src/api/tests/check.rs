//! The check of credentials against the simulated APNs, their expiry, and the metric.

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::json;
use tidings_model::{AppId, Environment, Provider, Reason};
use tidings_sandbox::{Sandbox, SandboxConfig};
use tidings_store::CredentialSlot;

use super::*;
use crate::providers::access::Access;
use crate::providers::apns::{ApnsCredential, ApnsFile};

/// An app whose credential leads to the simulated APNs.
struct Shop {
    api: TestApi,
    key: String,
    path: String,
    sandbox: Sandbox,
}

impl Shop {
    async fn start() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await;
        let api = TestApi::start();
        let As::App { key, .. } = api.app().await else {
            panic!("no app")
        };
        Self {
            api,
            path: format!("/v1/apps/{key}/credentials"),
            key,
            sandbox: sandbox.expect("a sandbox"),
        }
    }

    /// Sets the sandbox's key for both environments, with `changed` fields.
    async fn set(&self, changed: Value) {
        let credentials = self.sandbox.credentials();
        let made = &credentials.apns;
        let mut body = json!({
            "p8": made.p8, "key_id": made.key_id, "team_id": made.team_id, "topic": "com.example.app",
            "endpoint": format!("https://{}", self.sandbox.addr()), "ca": credentials.ca,
        });
        for (key, value) in changed.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let path = format!("{}/apns", self.path);
        let answer = self.api.send(&As::Admin, "PUT", &path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn check(&self, query: &str) -> Answer {
        let path = format!("{}/apns/check{query}", self.path);
        self.api.call(&As::Admin, "POST", &path, "").await
    }

    async fn checks(&self, query: &str) -> Vec<Value> {
        let answer = self.check(query).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["checks"].as_array().cloned().expect("a list")
    }

    /// Health and days of the credential for the sandbox environment.
    async fn listed(&self) -> Value {
        let listed = self.api.get(&As::Admin, &self.path).await.body;
        let listed = listed["credentials"].as_array().cloned();
        let found = listed
            .into_iter()
            .flatten()
            .find(|entry| entry["environment"] == "sandbox");
        found.expect("a credential")
    }

    fn slot(&self) -> CredentialSlot {
        CredentialSlot {
            app: AppId(1),
            environment: Some(Environment::Sandbox),
            provider: Provider::Apns,
        }
    }
}

/// A push certificate that ends at the midnight that comes after `days` days, as a .p12 without a password.
fn certificate(days: i64) -> Vec<u8> {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * (days + 1));
    let part = |form: &str| end.strftime(form).to_string();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(
        part("%Y").parse().expect("a year"),
        part("%m").parse().expect("a month"),
        part("%d").parse().expect("a day"),
    );
    params
        .distinguished_name
        .push(DnType::CommonName, "Apple Push Services: com.example.app");
    params.distinguished_name.push(
        DnType::from_oid(&[0, 9, 2342, 19_200_300, 100, 1, 1]),
        "com.example.app",
    );
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    let made = Certificate::from_der(made.der()).expect("a certificate");
    let key = PrivateKey::from_der(&key.serialize_der()).expect("a key");
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new("push", key, [made]);
    store.add_entry("push", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer("secret").write().expect("a file")
}

#[tokio::test]
async fn a_good_credential_is_good_in_each_environment_that_is_set() {
    let shop = Shop::start().await;
    shop.set(json!({})).await;
    let checks = shop.checks("").await;
    let environments: Vec<_> = checks.iter().map(|check| &check["environment"]).collect();
    assert_eq!(environments, ["production", "sandbox"]);
    for check in checks {
        assert_eq!(check["result"], "good", "{check}");
        assert_eq!(check["reason"], Value::Null);
        let endpoint = format!("https://{}", shop.sandbox.addr());
        assert_eq!(check["endpoint"], endpoint);
        assert!(check["connect_ms"].is_u64(), "{check}");
        assert_eq!(
            check["text"],
            "Apple takes the credential for com.example.app."
        );
    }
    let checks = shop.checks("?environment=sandbox").await;
    assert_eq!(
        (checks.len(), &checks[0]["environment"]),
        (1, &json!("sandbox"))
    );
}

#[tokio::test]
async fn a_refusal_is_noted_and_a_good_check_ends_it() {
    let mut shop = Shop::start().await;
    shop.set(json!({"team_id": "WRONGTEAM1"})).await;
    let check = &shop.checks("?environment=sandbox").await[0];
    assert_eq!(
        (&check["result"], &check["reason"]),
        (&json!("rejected"), &json!("InvalidProviderToken"))
    );
    let text = check["text"].as_str().expect("a text");
    assert!(
        text.starts_with("The key id, the team id or the key"),
        "{text}"
    );
    let listed = shop.listed().await;
    assert_eq!(
        (&listed["health"], &listed["rejected"]),
        (&json!("rejected"), &json!("InvalidProviderToken"))
    );

    // As a server finds it that was stopped while the lane was parked.
    shop.set(json!({})).await;
    let stale = Reason::known("InvalidProviderToken");
    let store = &shop.api.store;
    let set_at = store.credentials(AppId(1)).await.expect("a store")[1].updated_at;
    let noted = store
        .note_credential(shop.slot(), Some(stale), set_at)
        .await;
    assert!(noted.expect("a store"));
    assert_eq!(shop.listed().await["health"], "rejected");
    shop.api.told();
    assert_eq!(shop.checks("").await[1]["result"], "good");
    assert_eq!(shop.listed().await["health"], "good");
    let resumed = Command::CredentialChanged(AppId(1), Provider::Apns);
    assert_eq!(shop.api.told(), [resumed]);
    assert_eq!(shop.checks("").await[1]["result"], "good");
    assert_eq!(shop.api.told(), [], "nothing to resume");
}

#[tokio::test]
async fn a_finding_is_not_noted_for_a_credential_that_was_set_meanwhile() {
    let shop = Shop::start().await;
    shop.set(json!({})).await;
    let store = &shop.api.store;
    let set_at = store.credentials(AppId(1)).await.expect("a store")[1].updated_at;
    let reason = || Some(Reason::known("BadCertificate"));
    let earlier = tidings_model::UnixMillis(set_at.0 - 1);
    let noted = store.note_credential(shop.slot(), reason(), earlier).await;
    assert!(!noted.expect("a store"));
    assert_eq!(shop.listed().await["health"], "good");
    let noted = store.note_credential(shop.slot(), reason(), set_at).await;
    assert!(noted.expect("a store"));
    assert_eq!(shop.listed().await["health"], "rejected");
}

#[tokio::test]
async fn what_is_in_the_way_is_said_and_changes_no_health() {
    let shop = Shop::start().await;
    for (changed, result, begin) in [
        (
            json!({"endpoint": "https://127.0.0.1:1"}),
            "unreachable",
            "Nothing listens at the endpoint;",
        ),
        (
            json!({"ca": null}),
            "unreachable",
            "The certificate of the endpoint is not trusted; give its authority as `ca`",
        ),
        (
            json!({"proxy": "http://127.0.0.1:1"}),
            "unreachable",
            "The proxy cannot be reached",
        ),
        (
            json!({"endpoint": "https://nowhere.invalid"}),
            "unreachable",
            "The name of the endpoint has no address;",
        ),
    ] {
        shop.set(changed).await;
        let check = &shop.checks("?environment=sandbox").await[0];
        assert_eq!(check["result"], result, "{check}");
        assert_eq!(
            (&check["reason"], &check["connect_ms"]),
            (&Value::Null, &Value::Null)
        );
        let text = check["text"].as_str().expect("a text");
        assert!(text.starts_with(begin), "{text}");
        assert_eq!(shop.listed().await["health"], "good");
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused() {
    let shop = Shop::start().await;
    let text = "The app has no such credential for apns.";
    check_refused(&shop.check("").await, 404, "credential.not_found", text);
    shop.set(json!({"environment": "sandbox"})).await;
    let answer = shop.check("?environment=production").await;
    check_refused(&answer, 404, "credential.not_found", text);
    assert_eq!(shop.check("?environment=x").await.status, 400);
    let path = format!("{}/apns/check", shop.path);
    assert_eq!(
        shop.api.call(&As::Nobody, "POST", &path, "").await.status,
        401
    );
    let version = shop.api.get(&As::Admin, "/v1/version").await;
    check(&version, 200, json!({"version": env!("CARGO_PKG_VERSION")}));
}

/// It was good when it was set, and that was long ago.
#[tokio::test]
async fn a_certificate_that_has_expired_is_not_even_shown_to_apple() {
    let shop = Shop::start().await;
    let credential = ApnsCredential {
        access: Access::default(),
        file: ApnsFile::p12(&certificate(-3), &Secret::new("secret")),
        topic: None,
    };
    let plain = credential.to_bytes().expect("bytes");
    let end = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(50);
    let summary = json!({"expires_at": end.to_string(), "kind": "certificate"});
    let store = &shop.api.store;
    let put = store.put_credential(shop.slot(), &summary, &plain).await;
    put.expect("a store");
    let check = &shop.checks("").await[0];
    assert_eq!(
        (&check["result"], &check["reason"], &check["endpoint"]),
        (&json!("rejected"), &Value::Null, &Value::Null)
    );
    let text = check["text"].as_str().expect("a text");
    assert!(text.starts_with("p12: expired on 20"), "{text}");
    let listed = shop.listed().await;
    assert_eq!(
        (&listed["health"], &listed["expires_in_days"]),
        (&json!("expired"), &json!(-3))
    );
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_of_and_measured() {
    let shop = Shop::start().await;
    for (days, health) in [(12, "expiring"), (29, "expiring"), (31, "good")] {
        let p12 = STANDARD.encode(certificate(days));
        let path = format!("{}/apns", shop.path);
        let body = json!({
            "p12": p12, "password": "secret", "environment": "sandbox",
            "endpoint": format!("https://{}", shop.sandbox.addr()), "ca": shop.sandbox.credentials().ca,
        });
        let answer = shop.api.send(&As::Admin, "PUT", &path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let listed = shop.listed().await;
        assert_eq!(
            (&listed["expires_in_days"], &listed["health"]),
            (&json!(days), &json!(health))
        );
        assert_eq!(shop.checks("").await[0]["result"], "good");

        let request = |token: &str| {
            let request = Request::builder().uri("/metrics");
            let request = request.header("authorization", format!("Bearer {token}"));
            request.body(Body::empty()).expect("a request")
        };
        let answer = shop.api.router.clone().oneshot(request(ADMIN_TOKEN)).await;
        let (parts, body) = answer.expect("infallible").into_parts();
        let kind = &parts.headers["content-type"];
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        let text = to_bytes(body, 1 << 20).await.expect("a body");
        let text = String::from_utf8(text.to_vec()).expect("text");
        let end: jiff::Timestamp = listed["expires_at"]
            .as_str()
            .and_then(|end| end.parse().ok())
            .expect("a time");
        let line = format!(
            "tidings_credential_expiry_timestamp_seconds{{app_key=\"{}\",provider=\"apns\",environment=\"sandbox\"}} {}\n",
            shop.key,
            end.as_second()
        );
        assert!(text.contains(&line), "{text}");
        let answer = shop.api.router.clone().oneshot(request("wrong")).await;
        assert_eq!(answer.expect("infallible").status(), 401);
    }
}
