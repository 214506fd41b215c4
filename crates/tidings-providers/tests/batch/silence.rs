//! Requests that are never answered.

use std::sync::Arc;

use tidings_providers::{Client, ClientConfig};

use crate::peer::{Made, Peer};
use crate::{answered, deliveries};

#[tokio::test]
async fn requests_that_hear_no_answer_keep_no_other_from_going() {
    let mut peer = Peer::listen().await;
    let config = peer.config(Made::default());
    let (client, mut answers) = config.start::<usize>().expect("a client");
    let mut silent = Vec::new();
    for number in 0..40 {
        let own = Arc::new(format!("of {number}"));
        client.try_submit_many(&mut deliveries(&own, number..number + 1));
        if number == 0 {
            peer.asked("/access").await.answer("access");
        }
    }
    // Each has a connection of its own, and none of them is answered.
    for _ in 0..40 {
        silent.push(peer.asked("/send").await);
    }
    let good = Arc::new("good".to_owned());
    client.try_submit_many(&mut deliveries(&good, 40..41));
    let asked = peer.asked("/send").await;
    assert_eq!(asked.body, "phone-40");
    asked.answer("ok");
    assert!(answered(&mut answers, 1).await[&40].is_accepted());
    // They have not been given up, and none has been tried again.
    for asked in silent {
        asked.answer("ok");
    }
    let late = answered(&mut answers, 40).await;
    assert!(late.values().all(tidings_providers::Attempt::is_accepted));
    assert!(peer.is_quiet());
}
