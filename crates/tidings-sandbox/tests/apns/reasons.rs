//! Every reason, by the request that earns it.

use crate::client::{Client, PAYLOAD, Signer, good, request_to, sandbox, token};
use tidings_sandbox::DeliveryQuery;

#[tokio::test]
async fn a_good_request_is_accepted_and_is_a_delivery() {
    let sandbox = sandbox().await;
    let signer = Signer::registered(&sandbox);
    let client = Client::connect(&sandbox).await;
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let reply = client
        .send(good(&signer).header("apns-id", id), PAYLOAD)
        .await
        .unwrap();
    assert_eq!(reply.verdict(), (200, String::new()));
    assert!(reply.body.is_empty());
    assert_eq!(reply.headers["apns-id"], id);
    assert!(reply.headers.contains_key("apns-unique-id"));
    let page = sandbox.deliveries().page(&DeliveryQuery::default());
    let [delivery] = page.deliveries.as_slice() else {
        panic!("one delivery, not {page:?}");
    };
    assert_eq!((delivery.seq, delivery.token.to_string()), (1, token(1)));
    assert_eq!(
        (delivery.id.to_string().as_str(), &*delivery.payload),
        (id, PAYLOAD)
    );
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let reply = client.send(request_to(&token(1)), PAYLOAD).await.unwrap();
    assert_eq!(reply.verdict(), (403, "MissingProviderToken".to_owned()));
    assert_eq!(sandbox.deliveries().count(), 0);
}
