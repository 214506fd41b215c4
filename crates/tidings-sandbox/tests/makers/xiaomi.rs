//! Xiaomi.

use http::request::Builder;
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, encoded, post};

const PACKAGE: &str = "com.example.app";
const REGID: &str = "/v2/message/regid";

struct Xiaomi {
    scene: Scene,
}

type Pairs<'a> = Vec<(&'a str, String)>;

/// The smallest notification that is taken.
fn message(regids: &str) -> Pairs<'static> {
    [
        ("registration_id", regids),
        ("restricted_package_name", PACKAGE),
        ("pass_through", "0"),
        ("title", "Goal"),
        ("description", "Two to one"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn with<'a>(mut pairs: Pairs<'a>, name: &'a str, value: &str) -> Pairs<'a> {
    pairs.retain(|(known, _)| *known != name);
    pairs.push((name, value.to_owned()));
    pairs
}

impl Xiaomi {
    async fn new() -> Self {
        Self {
            scene: Scene::of(Provider::Xiaomi).await,
        }
    }

    fn to(&self, path: &str, authorization: &str) -> Builder {
        post(path)
            .header(
                "content-type",
                "application/x-www-form-urlencoded;charset=UTF-8",
            )
            .header("authorization", authorization)
    }

    async fn send_to(&self, path: &str, pairs: &Pairs<'_>) -> Reply {
        let key = format!("key={}", self.scene.credential("app_secret"));
        let request = self.to(path, &key);
        self.scene.send(request, &encoded(pairs)).await.unwrap()
    }

    async fn send(&self, pairs: &Pairs<'_>) -> Value {
        let reply = self.send_to(REGID, pairs).await;
        assert_eq!(reply.status, 200);
        reply.json()
    }

    async fn code(&self, pairs: &Pairs<'_>) -> i64 {
        self.send(pairs).await["code"].as_i64().expect("a number")
    }
}

/// Every parameter that the sheet names for a notification to registration ids.
#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let xiaomi = Xiaomi::new().await;
    let golden = "payload=%257B%2522order%2522%253A%25227%252B%2522%257D&restricted_package_name=com.example.app\
        &pass_through=0&title=%E8%BF%9B%E7%90%83&description=2%3A1&notify_type=-1&notify_id=0&time_to_live=86400000\
        &extra.channel_id=2000&extra.notify_effect=2&extra.intent_uri=intent%3A%23Intent%3Bcomponent%3Da%2F.B%3Bend\
        &extra.notify_foreground=0&extra.jobkey=match-7&extra.callback=https%3A%2F%2Fexample.com%2Fmi\
        &extra.callback.param=7&extra.callback.type=243&extra.score=2%2B1&registration_id=a%2B%2F%3D%2Cb";
    let key = format!("key={}", xiaomi.scene.credential("app_secret"));
    for path in [REGID, "/v3/message/regid"] {
        let reply = xiaomi.scene.send_h2(xiaomi.to(path, &key), golden).await;
        let told = reply.unwrap().json();
        assert_eq!((&told["result"], &told["code"]), (&json!("ok"), &json!(0)));
        let deliveries = xiaomi.scene.deliveries();
        let [.., first, second] = &deliveries[..] else {
            unreachable!("two were delivered");
        };
        assert_eq!(
            (first.token.to_string(), second.token.to_string()),
            ("a+/=".into(), "b".into())
        );
        assert_eq!(first.request, second.request);
        assert_eq!(told["data"]["id"], first.id.to_string());
        let payload: Value = serde_json::from_str(&first.payload).unwrap();
        assert_eq!(payload["payload"], r#"{"order":"7+"}"#);
        assert_eq!(payload["title"], "\u{8fdb}\u{7403}");
        assert_eq!(
            (&payload["notify_id"], &payload["extra.notify_foreground"]),
            (&json!("0"), &json!("0"))
        );
        assert_eq!(
            (&payload["extra.score"], &payload["registration_id"]),
            (&json!("2+1"), &Value::Null)
        );
    }
}

#[tokio::test]
async fn the_secret_and_its_package_are_checked() {
    let xiaomi = Xiaomi::new().await;
    let secret = xiaomi.scene.credential("app_secret");
    let check = async |authorization: &str, package: &str, code: i64| {
        let body = with(message("a"), "restricted_package_name", package);
        let request = xiaomi.to(REGID, authorization);
        let reply = xiaomi.scene.send(request, &encoded(&body)).await.unwrap();
        assert_eq!(reply.json()["code"], code, "{authorization} {package}");
    };
    check(&format!("key={secret}"), PACKAGE, 0).await;
    check(&format!("Key={secret}"), PACKAGE, 21_301).await;
    check(&secret, PACKAGE, 21_301).await;
    check("key=wrong", PACKAGE, 21_301).await;
    check(&format!("key={secret}"), "com.example.other", 22_022).await;
    check("key=first", "com.example.other", 0).await;
    check("key=second", "com.example.other", 21_301).await;
    check(&format!("key={secret}"), "", 21_305).await;
    // Of v2 one package only.
    check(
        &format!("key={secret}"),
        &format!("{PACKAGE},{PACKAGE}"),
        10_017,
    )
    .await;
}

#[tokio::test]
async fn bad_ids_are_joined_by_commas_and_the_rest_is_sent_to() {
    let xiaomi = Xiaomi::new().await;
    xiaomi.scene.uninstall("gone");
    xiaomi
        .scene
        .fault(json!({"token": "struck", "reason": "66007"}));
    let told = xiaomi.send(&message("a,gone,b,struck,a")).await;
    assert_eq!(
        (&told["code"], &told["data"]["bad_regids"]),
        (&json!(0), &json!("gone,struck"))
    );
    assert_eq!(xiaomi.scene.reached(), ["a", "b", "a"]);
    assert!(
        xiaomi.send(&message("a")).await["data"]
            .get("bad_regids")
            .is_none()
    );
    assert_eq!(xiaomi.code(&message("gone")).await, 20_301);
    assert_eq!(xiaomi.code(&message("struck")).await, 66_007);
    // The feedback call tells each of them once.
    let told = xiaomi
        .send_to("/v1/feedback/fetch_invalid_regids", &vec![])
        .await
        .json();
    assert_eq!(told["data"]["list"], json!(["gone", "gone"]));
    let told = xiaomi
        .send_to("/v1/feedback/fetch_invalid_regids", &vec![])
        .await
        .json();
    assert_eq!(told["data"]["list"], json!([]));
}

#[tokio::test]
async fn each_target_may_have_its_own_message() {
    let xiaomi = Xiaomi::new().await;
    xiaomi.scene.uninstall("gone");
    let entry = |target: &str, title: &str| {
        json!({"target": target, "message": {
            "title": title, "description": "d", "restricted_package_name": PACKAGE, "pass_through": 0,
            "extra": {"channel_id": "2000"}
        }})
    };
    let messages = json!([entry("a", "one"), entry("gone", "two"), entry("b", "three")]);
    let pairs = vec![("messages", messages.to_string())];
    let told = xiaomi
        .send_to("/v2/multi_messages/regids", &pairs)
        .await
        .json();
    assert_eq!(
        (&told["code"], &told["data"]["bad_regids"]),
        (&json!(0), &json!("gone"))
    );
    let seen: Vec<(String, Value, u64)> = xiaomi
        .scene
        .deliveries()
        .iter()
        .map(|delivery| {
            let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
            (
                delivery.token.to_string(),
                payload["title"].clone(),
                delivery.request,
            )
        })
        .collect();
    let expected = [
        ("a".to_owned(), json!("one"), 1),
        ("b".to_owned(), json!("three"), 1),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let xiaomi = Xiaomi::new().await;
    for code in [
        -1, 10_001, 10_002, 10_003, 10_008, 10_012, 10_016, 10_017, 10_022, 10_027, 10_029, 10_031,
        10_033, 10_034, 10_037, 10_041, 20_301, 20_607, 21_301, 21_302, 21_303, 21_305, 22_000,
        22_006, 22_007, 22_022, 22_102, 26_003, 26_004, 26_006, 27_001, 65_003, 65_009, 65_011,
        65_014, 65_015, 65_028, 65_029, 65_036, 65_037, 65_038, 66_007, 200_001, 200_002,
    ] {
        xiaomi
            .scene
            .fault(json!({"reason": code.to_string(), "count": 1}));
        let told = xiaomi.send(&message("a")).await;
        assert_eq!(
            (&told["result"], &told["code"]),
            (&json!("error"), &json!(code))
        );
    }
    xiaomi.scene.fault(json!({"reason": "200001", "count": 1}));
    let told = xiaomi.send(&message("a")).await;
    assert!(
        told["reason"].as_str().unwrap().contains("quota: 10000"),
        "{told}"
    );
    xiaomi.scene.fault(json!({"status": 503, "count": 1}));
    assert_eq!(xiaomi.send_to(REGID, &message("a")).await.status, 503);
    assert!(xiaomi.scene.deliveries().is_empty());
}

#[tokio::test]
async fn a_private_channel_needs_a_template_and_its_variables() {
    let xiaomi = Xiaomi::new().await;
    let private = |template: &str, variables: &str| {
        let body = with(message("a"), "extra.channel_id", "private_order");
        let body = with(body, "extra.template_id", template);
        with(body, "extra.template_param", variables)
    };
    let good = r#"{"number":"7","state":"sent"}"#;
    assert_eq!(xiaomi.code(&private("sandbox_template", good)).await, 0);
    assert_eq!(xiaomi.code(&private("another", r#"{"name":"x"}"#)).await, 0);
    assert_eq!(xiaomi.code(&private("another", "{}")).await, 0);
    let bare = with(message("a"), "extra.channel_id", "private_order");
    assert_eq!(xiaomi.code(&bare).await, 27_001);
    for (template, variables) in [
        ("sandbox_template", r#"{"number":"7"}"#),
        (
            "sandbox_template",
            r#"{"number":"7","state":"s","more":"m"}"#,
        ),
        ("another", r#"{"name":" "}"#),
        ("another", r#"{"name":7}"#),
        ("another", "{\"name\":\"\u{1f600}\"}"),
        ("another", "name"),
    ] {
        assert_eq!(
            xiaomi.code(&private(template, variables)).await,
            27_001,
            "{variables}"
        );
    }
    // Private messages may live ten days, public ones one.
    let long = |body| with(body, "time_to_live", "864000000");
    assert_eq!(
        xiaomi.code(&long(private("sandbox_template", good))).await,
        0
    );
    assert_eq!(xiaomi.code(&long(message("a"))).await, 10_017);
}

#[tokio::test]
async fn ids_and_parameters_are_checked() {
    let xiaomi = Xiaomi::new().await;
    let ids: Vec<String> = (0..1_001).map(|n| format!("{n:0>64}")).collect();
    assert_eq!(xiaomi.code(&message(&ids[..1_000].join(","))).await, 0);
    assert_eq!(xiaomi.scene.deliveries().len(), 1_000);
    assert_eq!(xiaomi.code(&message(&ids.join(","))).await, 10_017);
    assert_eq!(xiaomi.code(&message("")).await, 65_011);
    let check = async |name: &str, value: &str, code: i64| {
        let told = xiaomi.send(&with(message("a"), name, value)).await;
        assert_eq!(told["code"], code, "{name}={value}: {}", told["reason"]);
    };
    check("title", &"x".repeat(49), 0).await;
    check("title", &"x".repeat(50), 10_017).await;
    check("title", " ", 21_305).await;
    check("description", &"x".repeat(128), 10_017).await;
    check("payload", &"x".repeat(4_097), 65_009).await;
    check("pass_through", "2", 10_017).await;
    check("pass_through", "1", 21_305).await;
    check("notify_type", "8", 10_017).await;
    check("notify_id", "-1", 10_017).await;
    check("time_to_live", "0", 10_017).await;
    check("time_to_send", "9999999999999", 10_017).await;
    check("extra.notify_effect", "2", 21_305).await;
    check("extra.notify_effect", "4", 10_017).await;
    check("extra.jobkey", "_a", 10_017).await;
    check("extra.callback", "example.com", 65_038).await;
    check("extra.callback.param", &"x".repeat(257), 65_036).await;
    check("extra.callback.type", "all", 10_017).await;
    check("extra.long", &"x".repeat(1_021), 65_015).await;
    let names: Vec<String> = (0..11).map(|n| format!("extra.k{n}")).collect();
    let mut many = message("a");
    many.extend(names.iter().map(|name| (name.as_str(), "v".to_owned())));
    assert_eq!(xiaomi.code(&many).await, 65_014);
    many.pop();
    assert_eq!(xiaomi.code(&many).await, 0);
}
