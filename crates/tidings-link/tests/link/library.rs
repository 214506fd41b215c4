//! A client library that others wrote, in both versions of MQTT.

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, v5};
use serde_json::Value;
use tidings_store::Registered;
use tokio::time::{Duration, timeout};

use crate::Stage;

const PATIENCE: Duration = Duration::from_secs(20);

fn id_of(payload: &[u8]) -> String {
    let payload: Value = serde_json::from_slice(payload).expect("JSON");
    payload["id"].as_str().expect("an id").to_owned()
}

async fn taken_by_3_1_1(stage: &Stage, device: &Registered) -> Vec<String> {
    let addr = stage.link.local_addr();
    let mut options = MqttOptions::new(device.id.to_string(), addr.ip().to_string(), addr.port());
    options.set_credentials(stage.app.key.to_string(), device.secret.expose());
    options.set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = AsyncClient::new(options, 8);
    let mut taken = Vec::new();
    while taken.len() < 3 {
        match events.poll().await.expect("an event") {
            Event::Incoming(Packet::ConnAck(_)) => client
                .subscribe("push", rumqttc::QoS::AtLeastOnce)
                .await
                .expect("subscribed"),
            Event::Incoming(Packet::Publish(publish)) => taken.push(id_of(&publish.payload)),
            _ => {}
        }
    }
    client.disconnect().await.expect("queued");
    while events.poll().await.is_ok() {}
    taken
}

async fn taken_by_5(stage: &Stage, device: &Registered) -> Vec<String> {
    let addr = stage.link.local_addr();
    let mut options =
        v5::MqttOptions::new(device.id.to_string(), addr.ip().to_string(), addr.port());
    options.set_credentials(stage.app.key.to_string(), device.secret.expose());
    options.set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = v5::AsyncClient::new(options, 8);
    let mut taken = Vec::new();
    while taken.len() < 3 {
        match events.poll().await.expect("an event") {
            v5::Event::Incoming(v5::Incoming::ConnAck(_)) => client
                .subscribe("push", v5::mqttbytes::QoS::AtLeastOnce)
                .await
                .expect("subscribed"),
            v5::Event::Incoming(v5::Incoming::Publish(publish)) => {
                taken.push(id_of(&publish.payload));
            }
            _ => {}
        }
    }
    client.disconnect().await.expect("queued");
    while events.poll().await.is_ok() {}
    taken
}

#[tokio::test]
async fn a_client_library_takes_what_was_missed_in_either_version() {
    let stage = Stage::new().await;
    let (older, newer) = (stage.register(&[]).await, stage.register(&[]).await);
    let messages = vec![
        stage.to_all().await,
        stage.to_all().await,
        stage.to_all().await,
    ];
    let older = timeout(PATIENCE, taken_by_3_1_1(&stage, &older));
    assert_eq!(older.await.expect("in time"), messages);
    let newer = timeout(PATIENCE, taken_by_5(&stage, &newer));
    assert_eq!(newer.await.expect("in time"), messages);
    stage.delivered(&messages[2], 2).await;
}
