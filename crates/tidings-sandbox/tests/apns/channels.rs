//! Channel management and broadcasts: what is refused, and why.

use http::Request;
use http::request::Builder;
use serde_json::json;

use crate::client::{Client, Signer, TOPIC, authorized, post, sandbox};

const UPDATE: &str = r#"{"aps":{"event":"update","content-state":{},"timestamp":1}}"#;

fn manage() -> Builder {
    post(&format!("/1/apps/{TOPIC}/channels"))
}

fn broadcast() -> Builder {
    post(&format!("/4/broadcasts/apps/{TOPIC}")).header("apns-push-type", "liveactivity")
}

#[tokio::test]
async fn each_wrong_call_has_its_reason() {
    let sandbox = sandbox().await;
    let bearer = Signer::registered(&sandbox).token(0);
    let client = Client::connect(&sandbox).await;
    let call = async |request: Builder, body: &str| {
        let reply = client.send(authorized(request, &bearer), body).await;
        let reply = reply.unwrap();
        assert!(reply.headers.contains_key("apns-request-id"));
        reply
    };
    let body = r#"{"message-storage-policy":0,"push-type":"LiveActivity"}"#;
    let made = call(manage(), body).await;
    assert_eq!(made.verdict(), (201, String::new()));
    let id = made.headers["apns-channel-id"].clone();
    let to = |id: &str| broadcast().header("apns-channel-id", id);
    let good = || to(id.to_str().unwrap());
    let get = |path: &str| Request::get(format!("https://localhost/1/apps/{TOPIC}/{path}"));
    let untyped = || post(&format!("/4/broadcasts/apps/{TOPIC}"));
    let large = format!(r#"{{"aps":{{"event":"end","x":"{}"}}}}"#, "y".repeat(5120));
    let cases = [
        (good(), UPDATE, 200, ""),
        (good().header("apns-expiration", "0"), UPDATE, 200, ""),
        (
            good().header("apns-expiration", "4000000000"),
            UPDATE,
            400,
            "BadExpirationDate",
        ),
        (
            good().header("apns-expiration", "soon"),
            UPDATE,
            400,
            "BadExpirationDate",
        ),
        (
            good().header("apns-priority", "7"),
            UPDATE,
            400,
            "BadPriority",
        ),
        (
            good().header("apns-request-id", "7"),
            UPDATE,
            400,
            "BadMessageId",
        ),
        (good(), "", 400, "PayloadEmpty"),
        (good(), &large, 413, "PayloadTooLarge"),
        (
            good(),
            r#"{"aps":{"event":"start"}}"#,
            400,
            "BadRequestPayload",
        ),
        (good(), "{", 400, "BadRequestPayload"),
        (to("AAAA"), UPDATE, 400, "ChannelNotRegistered"),
        (to("?"), UPDATE, 400, "BadChannelId"),
        (broadcast(), UPDATE, 400, "MissingChannelId"),
        (untyped(), UPDATE, 400, "MissingPushType"),
        (
            untyped().header("apns-push-type", "alert"),
            UPDATE,
            400,
            "InvalidPushType",
        ),
        (manage(), "", 400, "PayloadEmpty"),
        (manage(), "{", 400, "BadRequestPayload"),
        (manage(), "{}", 400, "MissingPushType"),
        (manage(), r#"{"push-type":"Alert"}"#, 400, "InvalidPushType"),
        (
            manage(),
            r#"{"push-type":"LiveActivity"}"#,
            400,
            "MissingChannelQueueSize",
        ),
        (
            manage(),
            r#"{"message-storage-policy":2,"push-type":"LiveActivity"}"#,
            400,
            "MissingChannelQueueSize",
        ),
        (manage().method("PATCH"), body, 405, "MethodNotAllowed"),
        (get("channels"), "", 400, "MissingChannelId"),
        (get("all-channels"), "", 200, ""),
        (get("some-channels"), "", 404, "BadPath"),
        (get("channels/1"), "", 404, "BadPath"),
        (
            post("/4/broadcasts/apps/not%20an%20app"),
            UPDATE,
            404,
            "BadPath",
        ),
        (post("/4/broadcasts/apps/"), UPDATE, 404, "BadPath"),
    ];
    for (request, body, status, reason) in cases {
        let verdict = call(request, body).await.verdict();
        assert_eq!(verdict, (status, reason.to_owned()), "{body}");
    }
    let reply = client.send(good(), UPDATE).await.unwrap();
    assert_eq!(reply.verdict(), (403, "MissingProviderToken".to_owned()));
}

#[tokio::test]
async fn what_node_apn_writes_otherwise_is_taken_too() {
    let sandbox = sandbox().await;
    let bearer = Signer::registered(&sandbox).token(0);
    let client = Client::connect(&sandbox).await;
    for (policy, read) in [("0", 0), ("1", 1), (r#""0""#, 0), (r#""1""#, 1)] {
        for push_type in ["LiveActivity", "liveactivity"] {
            let id = "0309F412-AA57-46A8-9AC6-B5AECA8C4594";
            let create = authorized(manage().header("apns-request-id", id), &bearer);
            let body =
                format!(r#"{{"message-storage-policy":{policy},"push-type":"{push_type}"}}"#);
            let made = client.send(create, &body).await.unwrap();
            assert_eq!(made.verdict(), (201, String::new()), "{body}");
            assert_eq!(made.headers["apns-request-id"], id);
            let get = Request::get(format!("https://localhost/1/apps/{TOPIC}/channels"))
                .header("apns-channel-id", &made.headers["apns-channel-id"]);
            let reply = client.send(authorized(get, &bearer), "").await.unwrap();
            let expected = json!({"message-storage-policy": read, "push-type": "LiveActivity"});
            assert_eq!(reply.json(), expected);
        }
    }
    for policy in ["2", "-1", "1.5", "true", "null", r#""2""#, r#""""#] {
        let body = format!(r#"{{"message-storage-policy":{policy},"push-type":"LiveActivity"}}"#);
        let reply = client.send(authorized(manage(), &bearer), &body).await;
        let expected = (400, "MissingChannelQueueSize".to_owned());
        assert_eq!(reply.unwrap().verdict(), expected, "{body}");
    }
}
