//! The makers' senders against the simulated makers: each alone, with what it is made from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_providers::batch::check::{Finding, check};
use tidings_providers::batch::{Config, Protocol};
use tidings_providers::{Answers, Client, ClientConfig, Delivery, Route};
use tidings_providers::{hmos, honor, meizu, xiaomi};
use tidings_sandbox::{Sandbox, SandboxConfig};
use tokio::time::timeout;
use uuid::Uuid;

fn config<P: Protocol>(told: &Value, name: &str, protocol: P) -> Config<P> {
    let text = |name: &str| name.to_owned();
    let own = &told[name];
    Config {
        endpoint: own["endpoint"].as_str().map(text),
        token_endpoint: own["token_endpoint"].as_str().map(text),
        ca: told["ca"].as_str().map(|ca| ca.as_bytes().into()),
        ..Config::new(protocol)
    }
}

/// Sends to more phones than a request takes; asks whether the credential is good, and whether one with `wrong` fields is.
async fn goes_through<P: Protocol>(
    name: &str,
    protocol: fn(&Value) -> P,
    hello: P::Notification,
    wrong: fn(&mut Value),
) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await;
    let sandbox = sandbox.expect("a sandbox");
    let mut told = tidings_sandbox::told(&sandbox);
    let config_of = |told: &Value| config(told, name, protocol(&told[name]));
    let phones = P::batch_max(&hello) + 3;
    let hello = Arc::new(hello);
    let (client, mut answers) = config_of(&told).start::<usize>().expect("a client");
    let delivery = |number| Delivery {
        token: format!("phone-{number:06}").into(),
        id: Uuid::new_v4(),
        notification: Arc::clone(&hello),
        route: Route::default(),
        tag: number,
    };
    let mut deliveries: VecDeque<_> = (0..phones).map(delivery).collect();
    client.try_submit_many(&mut deliveries);
    drop(client);
    let mut answered = Vec::new();
    let fetching = async { while answers.recv_many(&mut answered, 100).await > 0 {} };
    let within = Duration::from_secs(60);
    timeout(within, fetching).await.expect("an end");
    assert_eq!(answered.len(), phones);
    for (delivery, attempt) in &answered {
        assert!(attempt.is_accepted(), "{}: {attempt}", delivery.token);
    }
    assert_eq!(usize::try_from(sandbox.deliveries().count()), Ok(phones));

    let finding = check(config_of(&told))
        .await
        .expect("a configuration")
        .finding;
    assert!(matches!(finding, Finding::Good), "{finding:?}");
    wrong(&mut told[name]);
    let finding = check(config_of(&told))
        .await
        .expect("a configuration")
        .finding;
    assert!(matches!(finding, Finding::Rejected(_)), "{finding:?}");
    let printed = format!("{:?}", protocol(&told[name]));
    for secret in ["app_secret", "client_secret"] {
        if let Some(secret) = told[name][secret].as_str() {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
    assert!(!printed.contains("PRIVATE"), "{printed}");
}

fn text<'a>(told: &'a Value, name: &str) -> &'a str {
    told[name].as_str().expect("a text")
}

#[tokio::test]
async fn hmos_goes_through() {
    let shown = hmos::Shown {
        category: "WORK".to_owned(),
        title: "title".to_owned(),
        body: "body".to_owned(),
        ..hmos::Shown::default()
    };
    let message = hmos::Message {
        content: hmos::Content::Alert(Box::new(shown)),
        bi_tag: None,
        expires_at: None,
        is_test: false,
        receipt_id: None,
    };
    let hello = hmos::Notification::new(&message).expect("a notification");
    let protocol = |told: &Value| {
        let file = told["service_account"].to_string();
        let credential = hmos::Credential::from_file(&file).expect("a credential");
        hmos::Hmos { credential }
    };
    goes_through("hmos", protocol, hello, |told| {
        told["service_account"]["key_id"] = json!("another");
    })
    .await;
}

#[tokio::test]
async fn honor_goes_through() {
    let shown = honor::Shown {
        title: "title".to_owned(),
        body: "body".to_owned(),
        ..honor::Shown::default()
    };
    let message = honor::Message {
        shown: Some(shown),
        ..honor::Message::default()
    };
    let hello = honor::Notification::new(&message).expect("a notification");
    let protocol = |told: &Value| {
        let (app, client) = (text(told, "app_id"), text(told, "client_id"));
        let credential = honor::Credential::new(app, client, text(told, "client_secret"));
        honor::Honor {
            credential: credential.expect("a credential"),
        }
    };
    goes_through("honor", protocol, hello, |told| told["app_id"] = json!("1")).await;
}

#[tokio::test]
async fn meizu_goes_through() {
    let message = meizu::Message {
        title: "title".to_owned(),
        content: "a & b = c".to_owned(),
        ..meizu::Message::default()
    };
    let hello = meizu::Notification::new(&message).expect("a notification");
    let protocol = |told: &Value| {
        let credential = meizu::Credential::new(text(told, "app_id"), text(told, "app_secret"));
        meizu::Meizu {
            credential: credential.expect("a credential"),
        }
    };
    goes_through("meizu", protocol, hello, |told| {
        told["app_secret"] = json!("another");
    })
    .await;
}

#[tokio::test]
async fn xiaomi_goes_through() {
    // Given to the app, and not shown.
    let message = xiaomi::Message {
        payload: Some("a & b = %41".to_owned()),
        ..xiaomi::Message::default()
    };
    let hello = xiaomi::Notification::new(&message).expect("a notification");
    let protocol = |told: &Value| {
        let package = text(told, "package_name");
        let credential = xiaomi::Credential::new(package, text(told, "app_secret"));
        xiaomi::Xiaomi {
            credential: credential.expect("a credential"),
        }
    };
    goes_through("xiaomi", protocol, hello, |told| {
        told["app_secret"] = json!("another");
    })
    .await;
}
