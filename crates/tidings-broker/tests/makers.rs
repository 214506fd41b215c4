//! The broker over a client that sends in batches, to a simulated Huawei.

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Broker, BrokerConfig, Delivery};
use tidings_providers::batch::Config;
use tidings_providers::huawei::{Content, Credential, Huawei, Message, Notification, Shown};
use tidings_sandbox::{Action, Fault, FaultBody, Sandbox, SandboxConfig};
use uuid::Uuid;

fn config(sandbox: &Sandbox) -> Config<Huawei> {
    let told = tidings_sandbox::told(sandbox);
    let text = |name: &str| told["huawei"][name].as_str().expect("a text").to_owned();
    let credential = Credential::new(&text("app_id"), &text("app_secret"));
    Config {
        endpoint: Some(text("endpoint")),
        token_endpoint: Some(text("token_endpoint")),
        ca: Some(told["ca"].as_str().expect("a text").as_bytes().into()),
        ..Config::new(Huawei {
            credential: credential.expect("a credential"),
        })
    }
}

fn deliveries(count: usize) -> Vec<Delivery<Notification>> {
    let shown = Shown {
        title: "title".to_owned(),
        body: "body".to_owned(),
        ..Shown::default()
    };
    let message = Message {
        content: Content::Shown(Box::new(shown)),
        ..Message::default()
    };
    let notification = Arc::new(Notification::new(&message).expect("a notification"));
    let delivery = |number| Delivery {
        id: Uuid::from_u128(number),
        ..Delivery::new(Arc::clone(&notification), format!("token-{number}"))
    };
    (0..count as u128).map(delivery).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_past_its_deadline_hears_what_left_with_a_credential_that_was_replaced() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await;
    let sandbox = sandbox.expect("a sandbox");
    let hangs = FaultBody {
        provider: "huawei".to_owned(),
        action: Some(Action::Hang),
        ..FaultBody::default()
    };
    let hangs = Fault::try_from(hangs).expect("a fault");
    sandbox.faults().add(hangs).expect("room");
    // Whoever tells first may be another each time.
    for _ in 0..20 {
        let started = Broker::start(config(&sandbox), BrokerConfig::default());
        let (broker, mut events) = started.expect("a broker");
        let mut some = deliveries(5);
        broker.queue_many(&mut some).await.expect("it runs");
        // All that the first client has leaves, and the second has nothing.
        while broker.status().in_flight < 5 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.replace(config(&sandbox)).expect("a configuration");
        let report = broker.stop(Duration::ZERO).await;
        assert!(!report.in_time);
        assert_eq!(report.undelivered, 5);
        let mut settled = Vec::new();
        while events.recv_many(&mut settled, 100).await > 0 {}
        assert_eq!(settled.len(), 5, "each is told of");
    }
}
