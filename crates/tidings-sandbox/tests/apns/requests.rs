//! What a request must be like, and the reason for refusing each that is not.

use bytes::Bytes;
use http::Request;
use http::request::Builder;
use tidings_sandbox::{DeliveryQuery, Phone, Provider, Sandbox, SandboxConfig};

use crate::client::{
    Client, PAYLOAD, Signer, TOPIC, authorized, good, post, request_to, sandbox, sandbox_with,
    token,
};

/// Sends one request that has a valid provider token on its own connection and compares the answer.
async fn check(sandbox: &Sandbox, request: Builder, body: &str, status: u16, reason: &str) {
    let before = sandbox.deliveries().count();
    let request = authorized(request, &Signer::registered(sandbox).token(0));
    let client = Client::connect(sandbox).await;
    let reply = client.send(request, body).await.unwrap();
    assert_eq!(reply.verdict(), (status, reason.to_owned()));
    assert!(reply.headers.contains_key("apns-id"));
    let accepted = u64::from(status == 200);
    assert_eq!(sandbox.deliveries().count() - before, accepted);
}

fn request() -> Builder {
    request_to(&token(1))
}

fn typed(push_type: &str, topic: &str) -> Builder {
    post(&format!("/3/device/{}", token(1)))
        .header("apns-push-type", push_type)
        .header("apns-topic", topic)
}

#[tokio::test]
async fn a_good_request_is_accepted_and_is_a_delivery() {
    let sandbox = sandbox().await;
    let provider_token = Signer::registered(&sandbox).token(0);
    let client = Client::connect(&sandbox).await;
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let reply = client
        .send(good(&provider_token).header("apns-id", id), PAYLOAD)
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
async fn every_header_may_be_there_at_its_best() {
    let sandbox = sandbox().await;
    let full = request()
        .header("apns-push-type", "alert")
        .header("apns-expiration", "0")
        .header("apns-priority", "5")
        .header("apns-collapse-id", "x".repeat(64))
        .header("content-type", "application/json")
        .header("user-agent", "test");
    check(&sandbox, full, PAYLOAD, 200, "").await;
}

#[tokio::test]
async fn the_apns_id_is_a_lower_case_uuid() {
    let sandbox = sandbox().await;
    for bad in [
        "1",
        "123E4567-E89B-42D3-A456-426614174000",
        "{123e4567-e89b-42d3-a456-4266141740}",
    ] {
        check(
            &sandbox,
            request().header("apns-id", bad),
            PAYLOAD,
            400,
            "BadMessageId",
        )
        .await;
    }
}

#[tokio::test]
async fn a_header_that_comes_twice_is_refused() {
    let sandbox = sandbox().await;
    for name in ["apns-topic", "apns-id", "apns-priority", "apns-push-type"] {
        let value = "123e4567-e89b-42d3-a456-426614174000";
        let twice = request().header(name, value).header(name, value);
        check(&sandbox, twice, PAYLOAD, 400, "DuplicateHeaders").await;
    }
}

#[tokio::test]
async fn only_post_is_allowed() {
    let sandbox = sandbox().await;
    let get = request().method("GET");
    check(&sandbox, get, "", 405, "MethodNotAllowed").await;
}

#[tokio::test]
async fn the_topic_must_be_there_and_of_the_right_form() {
    let sandbox = sandbox().await;
    let path = format!("/3/device/{}", token(1));
    check(&sandbox, post(&path), PAYLOAD, 400, "MissingTopic").await;
    for bad in ["", "with space", "a/b", &"x".repeat(256)] {
        let request = post(&path).header("apns-topic", bad);
        check(&sandbox, request, PAYLOAD, 400, "BadTopic").await;
    }
}

#[tokio::test]
async fn a_collapse_id_has_64_bytes_at_most() {
    let sandbox = sandbox().await;
    let request = request().header("apns-collapse-id", "x".repeat(65));
    check(&sandbox, request, PAYLOAD, 400, "BadCollapseId").await;
}

#[tokio::test]
async fn an_expiration_is_a_unix_time() {
    let sandbox = sandbox().await;
    for bad in ["", "-1", "1.5", "tomorrow", "99999999999999999999"] {
        let request = request().header("apns-expiration", bad);
        check(&sandbox, request, PAYLOAD, 400, "BadExpirationDate").await;
    }
}

#[tokio::test]
async fn a_priority_is_10_or_5_or_1() {
    let sandbox = sandbox().await;
    for bad in ["", "0", "05", "11", "high"] {
        let request = request().header("apns-priority", bad);
        check(&sandbox, request, PAYLOAD, 400, "BadPriority").await;
    }
    check(
        &sandbox,
        request().header("apns-priority", "1"),
        PAYLOAD,
        200,
        "",
    )
    .await;
}

#[tokio::test]
async fn a_push_type_is_one_of_apples() {
    let sandbox = sandbox().await;
    for bad in ["", "Alert", "silent"] {
        check(&sandbox, typed(bad, TOPIC), PAYLOAD, 400, "InvalidPushType").await;
    }
}

#[tokio::test]
async fn a_background_push_has_priority_5_if_any() {
    let sandbox = sandbox().await;
    for other in ["10", "1"] {
        let request = typed("background", TOPIC).header("apns-priority", other);
        check(&sandbox, request, PAYLOAD, 400, "BadPriority").await;
    }
    let calm = typed("background", TOPIC).header("apns-priority", "5");
    check(&sandbox, calm, PAYLOAD, 200, "").await;
}

#[tokio::test]
async fn the_topic_has_the_suffix_of_its_push_type_and_no_other() {
    let sandbox = sandbox().await;
    for (push_type, suffix) in [
        ("complication", ".complication"),
        ("controls", ".push-type.controls"),
        ("fileprovider", ".pushkit.fileprovider"),
        ("liveactivity", ".push-type.liveactivity"),
        ("location", ".location-query"),
        ("pushtotalk", ".voip-ptt"),
        ("voip", ".voip"),
        ("widgets", ".push-type.widgets"),
    ] {
        let topic = format!("{TOPIC}{suffix}");
        check(&sandbox, typed(push_type, &topic), PAYLOAD, 200, "").await;
        check(&sandbox, typed(push_type, TOPIC), PAYLOAD, 400, "BadTopic").await;
        check(&sandbox, typed(push_type, suffix), PAYLOAD, 400, "BadTopic").await;
        let (status, reason) = match suffix {
            // An app's own bundle id may end in such a word.
            ".complication" | ".voip" => (200, ""),
            _ => (400, "BadTopic"),
        };
        check(&sandbox, typed("alert", &topic), PAYLOAD, status, reason).await;
    }
    check(
        &sandbox,
        typed("mdm", "com.apple.mgmt.External.1"),
        PAYLOAD,
        200,
        "",
    )
    .await;
}

#[tokio::test]
async fn a_topic_with_a_suffix_needs_no_push_type() {
    let sandbox = sandbox().await;
    let path = format!("/3/device/{}", token(1));
    let request = post(&path).header("apns-topic", format!("{TOPIC}.voip"));
    check(&sandbox, request, PAYLOAD, 200, "").await;
}

#[tokio::test]
async fn the_path_is_that_of_a_device() {
    let sandbox = sandbox().await;
    for (path, status, reason) in [
        ("/", 404, "BadPath"),
        ("/3/devices/ab", 404, "BadPath"),
        ("/2/device/ab", 404, "BadPath"),
        ("/3/device", 400, "MissingDeviceToken"),
        ("/3/device/", 400, "MissingDeviceToken"),
        ("/3/device/xyz", 400, "BadDeviceToken"),
        ("/3/device/ab", 400, "BadDeviceToken"),
        (&format!("/3/device/{}/", token(1)), 404, "BadPath"),
        (&format!("/3/device/{}0", token(1)), 400, "BadDeviceToken"),
        (&format!("/3/device/{}", "ab".repeat(100)), 200, ""),
    ] {
        let request = post(path).header("apns-topic", TOPIC);
        check(&sandbox, request, PAYLOAD, status, reason).await;
    }
}

#[tokio::test]
async fn a_payload_has_4096_bytes_at_most_and_5120_for_voip() {
    let sandbox = sandbox().await;
    let payload = |bytes: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(bytes - 8));
    let voip = || typed("voip", "com.example.app.voip");
    check(&sandbox, request(), "", 400, "PayloadEmpty").await;
    check(&sandbox, request(), &payload(4096), 200, "").await;
    check(&sandbox, request(), &payload(4097), 413, "PayloadTooLarge").await;
    check(
        &sandbox,
        request(),
        &payload(60_000),
        413,
        "PayloadTooLarge",
    )
    .await;
    check(&sandbox, voip(), &payload(5120), 200, "").await;
    check(&sandbox, voip(), &payload(5121), 413, "PayloadTooLarge").await;
}

#[tokio::test]
async fn a_body_without_end_is_refused_once_it_is_far_too_large() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let request = good(&Signer::registered(&sandbox).token(0))
        .body(())
        .unwrap();
    let mut send = client.ready().await;
    let (response, mut stream) = send.send_request(request, false).unwrap();
    stream
        .send_data(Bytes::from(vec![b' '; 70_000]), false)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_payload_is_a_json_object() {
    let sandbox = sandbox().await;
    for bad in ["{\"aps\":", "[1]", "\"text\"", "null", " "] {
        check(&sandbox, request(), bad, 400, "PayloadEmpty").await;
    }
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let provider_token = Signer::registered(&sandbox).token(0);
    let request = good(&provider_token).body(()).unwrap();
    let mut send = client.ready().await;
    let (response, mut stream) = send.send_request(request, false).unwrap();
    let (first, second) = PAYLOAD.split_at(10);
    stream.send_data(Bytes::from(first), false).unwrap();
    // By the time that this one is answered the sandbox has seen the first piece and waits for the second.
    let reply = client.send(good(&provider_token), "{}").await.unwrap();
    assert_eq!(reply.status, 200);
    stream.send_data(Bytes::from(second), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let page = sandbox.deliveries().page(&DeliveryQuery::default());
    let payloads: Vec<&str> = page.deliveries.iter().map(|d| &*d.payload).collect();
    assert_eq!(payloads, ["{}", PAYLOAD]);
}

#[tokio::test]
async fn a_phone_that_is_gone_answers_410_with_the_time_until_it_is_back() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let provider_token = Signer::registered(&sandbox).token(0);
    let send = || client.send(authorized(request(), &provider_token), PAYLOAD);
    let phone = |uninstalled_since| {
        let phone = Phone {
            uninstalled_since,
            topic: None,
        };
        sandbox
            .phones()
            .put(Provider::Apns, token(1).parse().unwrap(), phone)
            .unwrap();
    };
    phone(Some(1_767_225_600_123));
    let reply = send().await.unwrap();
    assert_eq!(reply.verdict(), (410, "Unregistered".to_owned()));
    assert_eq!(reply.json()["timestamp"], 1_767_225_600_123_i64);
    phone(None);
    assert_eq!(send().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_token_of_another_app_is_refused_whatever_the_suffix() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let phone = Phone {
        uninstalled_since: None,
        topic: Some("com.example.app".to_owned()),
    };
    sandbox
        .phones()
        .put(Provider::Apns, token(1).parse().unwrap(), phone)
        .unwrap();
    let provider_token = Signer::registered(&sandbox).token(0);
    for (topic, push_type, status, reason) in [
        ("com.example.app", "alert", 200, ""),
        ("com.example.app.voip", "voip", 200, ""),
        ("com.example.other", "alert", 400, "DeviceTokenNotForTopic"),
        (
            "com.example.other.voip",
            "voip",
            400,
            "DeviceTokenNotForTopic",
        ),
        (
            "com.example.app.voip",
            "alert",
            400,
            "DeviceTokenNotForTopic",
        ),
    ] {
        let request = authorized(typed(push_type, topic), &provider_token);
        let reply = client.send(request, PAYLOAD).await.unwrap();
        assert_eq!(reply.verdict(), (status, reason.to_owned()), "{topic}");
    }
}

#[tokio::test]
async fn an_id_is_made_for_a_request_without_one_or_with_a_bad_one() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let bad = good(&Signer::registered(&sandbox).token(0)).header("apns-id", "bad");
    let reply = client.send(bad, PAYLOAD).await.unwrap();
    assert_eq!(reply.headers["apns-id"].len(), 36);
}

#[tokio::test]
async fn the_stream_limit_is_announced() {
    let config = SandboxConfig {
        concurrent_streams: 7,
        ..SandboxConfig::default()
    };
    let sandbox = sandbox_with(config).await;
    let client = Client::connect(&sandbox).await;
    let request = Request::get("https://localhost/");
    // An answer means that the settings, which come first, are known.
    assert_eq!(client.send(request, "").await.unwrap().status, 405);
    assert_eq!(client.ready().await.current_max_send_streams(), 7);
}

#[tokio::test]
async fn shutting_down_finishes_open_streams_and_ends_the_connection() {
    let sandbox = sandbox().await;
    let provider_token = Signer::registered(&sandbox).token(0);
    let mut client = Client::connect(&sandbox).await;
    let request = good(&provider_token).body(()).unwrap();
    let mut send = client.ready().await;
    let (response, mut stream) = send.send_request(request, false).unwrap();
    let before = client.send(good(&provider_token), PAYLOAD).await.unwrap();
    assert_eq!(before.status, 200);
    let stopping = tokio::spawn(sandbox.shutdown());
    stream.send_data(Bytes::from(PAYLOAD), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    stopping.await.unwrap();
    client.end().await;
}
