//! What a drained link leaves behind.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::timeout;

use crate::Stage;

const GRACE: Duration = Duration::from_secs(10);

/// Above the grace and the time that the last acknowledgements have.
const DRAINED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_drained_link_holds_no_store_though_somebody_holds_the_link() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    let message = stage.to_all().await;
    client.take().await;
    client.ping().await;
    drop(client);
    stage.link.drain(GRACE).await;
    assert_eq!(Arc::strong_count(&stage.store), 1);
    assert_eq!(stage.counts(&message).await.delivered, 1);
}

#[tokio::test]
async fn a_drain_ends_though_the_store_takes_nothing() {
    let stage = Stage::new().await;
    let device = stage.register(&[]).await;
    let mut client = stage.connect(&device).await;
    stage.to_all().await;
    let push = client.push().await;
    // Somebody else writes and does not end, a backup that hangs, say.
    let other = Connection::open(stage.data.path().join("tidings.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    client.ack(&push).await;
    client.ping().await;
    drop(client);
    let drained = timeout(DRAINED, stage.link.drain(GRACE)).await;
    assert!(drained.is_ok());
    assert_eq!(Arc::strong_count(&stage.store), 1);
}
