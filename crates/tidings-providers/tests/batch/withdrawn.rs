//! Whoever leaves with a request is still meant at that moment, whatever the batch has waited for.

use std::sync::Arc;

use tidings_providers::{Answers, Attempt, Cause, Client, ClientConfig, Delivery};

use crate::peer::{Made, Peer};
use crate::{answered, deliveries};

fn tags(taken: &[Delivery<String, usize>]) -> Vec<usize> {
    taken.iter().map(|delivery| delivery.tag).collect()
}

#[tokio::test]
async fn who_is_taken_back_while_access_is_renewed_does_not_leave_with_the_new_one() {
    let mut peer = Peer::listen().await;
    let config = peer.config(Made::default());
    let (client, mut answers) = config.start::<usize>().expect("a client");
    let hello = Arc::new("hello".to_owned());
    client.try_submit_many(&mut deliveries(&hello, 0..3));
    peer.asked("/access").await.answer("first");
    let first = peer.asked("/send").await;
    assert_eq!(first.body, "phone-0,phone-1,phone-2");
    // It is out: it cannot be taken back, and does not leave once more.
    assert!(client.withdraw(|delivery| delivery.tag == 0).is_empty());
    first.answer("access");
    let access = peer.asked("/access").await;
    assert_eq!(tags(&client.withdraw(|delivery| delivery.tag == 1)), [1]);
    access.answer("second");
    let again = peer.asked("/send").await;
    assert_eq!(again.body, "phone-2");
    again.answer("ok");
    let answered = answered(&mut answers, 2).await;
    assert_eq!(answered[&0], Attempt::NotSent(Cause::Withdrawn));
    assert!(answered[&2].is_accepted());
    assert_eq!(client.room(), 32_000);
}

#[tokio::test]
async fn who_is_taken_back_while_the_message_is_saved_does_not_get_it() {
    let mut peer = Peer::listen().await;
    let config = peer.config(Made { saves: true });
    let (client, mut answers) = config.start::<usize>().expect("a client");
    let hello = Arc::new("hello".to_owned());
    client.try_submit_many(&mut deliveries(&hello, 0..3));
    peer.asked("/access").await.answer("access");
    let save = peer.asked("/save").await;
    assert_eq!(tags(&client.withdraw(|delivery| delivery.tag == 1)), [1]);
    save.answer("id");
    let list = peer.asked("/list").await;
    assert_eq!(list.body, "phone-0,phone-2");
    list.answer("ok");
    assert_eq!(answered(&mut answers, 2).await.len(), 2);

    // The one that is left goes as one goes; and for nobody there is no request.
    let other = Arc::new("other".to_owned());
    for (taken, left) in [(2, Some("phone-0")), (3, None)] {
        client.try_submit_many(&mut deliveries(&Arc::new(other.to_string()), 0..3));
        let save = peer.asked("/save").await;
        let withdrawn = client.withdraw(|delivery| delivery.tag >= 3 - taken);
        assert_eq!(withdrawn.len(), taken);
        save.answer("id");
        if let Some(left) = left {
            let single = peer.asked("/send").await;
            assert_eq!(single.body, left);
            single.answer("ok");
            assert!(answered(&mut answers, 1).await[&0].is_accepted());
        }
    }
    // Another follows on the same connection at once.
    client.try_submit_many(&mut deliveries(&other, 9..10));
    let next = peer.asked("/send").await;
    assert_eq!(next.body, "phone-9");
    next.answer("ok");
    answered(&mut answers, 1).await;
    assert!(peer.is_quiet());
}

#[tokio::test]
async fn who_is_taken_back_between_the_parts_of_a_batch_does_not_get_its_own() {
    let mut peer = Peer::listen().await;
    let config = peer.config(Made::default());
    let (client, mut answers) = config.start::<usize>().expect("a client");
    let hello = Arc::new("hello".to_owned());
    client.try_submit_many(&mut deliveries(&hello, 0..6));
    peer.asked("/access").await.answer("access");
    peer.asked("/send").await.answer("refused");
    let half = peer.asked("/send").await;
    assert_eq!(half.body, "phone-0,phone-1,phone-2");
    assert_eq!(tags(&client.withdraw(|delivery| delivery.tag == 4)), [4]);
    half.answer("ok");
    // What has been answered is told before the others are.
    let first = answered(&mut answers, 3).await;
    assert!(first.values().all(Attempt::is_accepted), "{first:?}");
    let half = peer.asked("/send").await;
    assert_eq!(half.body, "phone-3,phone-5");
    assert!(client.withdraw(|delivery| delivery.tag == 5).is_empty());
    half.answer("refused");
    let single = peer.asked("/send").await;
    assert_eq!(single.body, "phone-3");
    single.answer("ok");
    let answered = answered(&mut answers, 2).await;
    assert_eq!(answered[&5], Attempt::NotSent(Cause::Withdrawn));
    assert!(answered[&3].is_accepted());
}

#[tokio::test]
async fn a_client_that_is_retired_sends_nothing_of_a_batch_that_waits() {
    let mut peer = Peer::listen().await;
    let config = peer.config(Made { saves: true });
    let (client, mut answers) = config.start::<usize>().expect("a client");
    let hello = Arc::new("hello".to_owned());
    client.try_submit_many(&mut deliveries(&hello, 0..3));
    peer.asked("/access").await.answer("access");
    let save = peer.asked("/save").await;
    client.retire();
    let answered = answered(&mut answers, 3).await;
    for attempt in answered.values() {
        assert_eq!(*attempt, Attempt::NotSent(Cause::Shutdown));
    }
    save.answer("id");
    let mut none = Vec::new();
    assert_eq!(answers.recv_many(&mut none, 1).await, 0, "it has ended");
    assert!(peer.is_quiet());
}
