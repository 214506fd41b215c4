//! HarmonyOS NEXT: Huawei v3.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Builder;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tidings_sandbox::Provider;

use crate::client::{Reply, Scene, golden, post};

/// What `aud` says, wherever the server is.
const AUDIENCE: &str = "https://oauth-login.cloud.huawei.com/oauth2/v3/token";

struct Hmos {
    scene: Scene,
    account: Value,
    jwt: String,
}

/// The smallest notification that is taken.
fn message(tokens: &[&str]) -> Value {
    json!({
        "payload": {"notification": {
            "category": "IM", "title": "Goal", "body": "Two to one", "clickAction": {"actionType": 0}
        }},
        "target": {"token": tokens},
        "pushOptions": {"ttl": 3_600},
    })
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn signed(header: &Value, claims: &Value, key: &str, encoding: &'static dyn RsaEncoding) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(encoding, &random, text.as_bytes(), &mut signature)
        .unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Hmos {
    async fn new() -> Self {
        let scene = Scene::of(Provider::Hmos).await;
        let all = scene
            .sandbox
            .credentials()
            .by_provider(&scene.sandbox.url());
        let account = all["hmos"]["service_account"].clone();
        let mut hmos = Self {
            scene,
            account,
            jwt: String::new(),
        };
        hmos.jwt = hmos.signed(&json!({}), &json!({}));
        hmos
    }

    /// A JWT that is right but for what is changed.
    fn signed(&self, header_change: &Value, claims_change: &Value) -> String {
        let mut header = json!({"kid": self.account["key_id"], "typ": "JWT", "alg": "PS256"});
        let mut claims = json!({
            "iss": self.account["sub_account"], "aud": AUDIENCE, "iat": now(), "exp": now() + 3_600
        });
        for (whole, change) in [(&mut header, header_change), (&mut claims, claims_change)] {
            for (name, value) in change.as_object().unwrap() {
                whole[name] = value.clone();
            }
        }
        let key = self.account["private_key"].as_str().unwrap();
        signed(&header, &claims, key, &RSA_PSS_SHA256)
    }

    fn to(&self, project: &str, jwt: &str) -> Builder {
        post(&format!("/v3/{project}/messages:send"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {jwt}"))
    }

    async fn send_as(&self, push_type: &str, body: &Value) -> Reply {
        let request = self.to(&self.scene.credential("project_id"), &self.jwt);
        let request = request.header("push-type", push_type);
        self.scene.send(request, &body.to_string()).await.unwrap()
    }

    async fn code(&self, body: &Value) -> String {
        let reply = self.send_as("0", body).await.json();
        reply["code"].as_str().expect("a code as a text").to_owned()
    }
}

#[tokio::test]
async fn the_golden_request_is_taken_whole() {
    let hmos = Hmos::new().await;
    let golden = golden(include_str!("golden/hmos.json"));
    let told = hmos.send_as("0", &golden).await.json();
    assert_eq!(told["code"], "80000000", "{}", told["msg"]);
    assert_eq!(hmos.scene.reached(), ["tokenA", "tokenB"]);
    for delivery in hmos.scene.deliveries() {
        let payload: Value = serde_json::from_str(&delivery.payload).unwrap();
        assert_eq!(payload["payload"], golden["payload"]);
        assert_eq!(payload["pushOptions"], golden["pushOptions"]);
        assert_eq!(
            (&payload["pushType"], &payload["target"]),
            (&json!(0), &Value::Null)
        );
        assert_eq!(json!(delivery.id.to_string()), told["requestId"]);
    }
}

#[tokio::test]
async fn the_jwt_is_checked() {
    let hmos = Hmos::new().await;
    let body = message(&["a"]).to_string();
    let project = hmos.scene.credential("project_id");
    let check = async |project: &str, jwt: &str, status: u16, code: &str| {
        let request = hmos.to(project, jwt).header("push-type", "0");
        let reply = hmos.scene.send(request, &body).await.unwrap();
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (status, &json!(code)),
            "{jwt}"
        );
    };
    check(&project, &hmos.jwt, 200, "80000000").await;
    check("7", &hmos.jwt, 401, "80200001").await;
    let (header, claims) = (json!({}), json!({}));
    for (header, claims) in [
        (json!({"alg": "RS256"}), claims.clone()),
        (json!({"kid": "another"}), claims),
        (header.clone(), json!({"iss": "another"})),
        (header.clone(), json!({"aud": "https://example.com"})),
        (
            header.clone(),
            json!({"iat": now() + 3_600, "exp": now() + 7_200}),
        ),
    ] {
        check(&project, &hmos.signed(&header, &claims), 401, "80200001").await;
    }
    let expired = json!({"iat": now() - 7_200, "exp": now() - 1});
    check(&project, &hmos.signed(&header, &expired), 401, "80200005").await;
    let long = json!({"exp": now() + 86_402});
    check(&project, &hmos.signed(&header, &long), 401, "80300036").await;
    // Signed in the way of RS256, whatever its header says.
    let whole = json!({"kid": hmos.account["key_id"], "typ": "JWT", "alg": "PS256"});
    let claims = json!({"iss": hmos.account["sub_account"], "aud": AUDIENCE, "iat": now(), "exp": now() + 60});
    let key = hmos.account["private_key"].as_str().unwrap();
    let wrong = signed(&whole, &claims, key, &RSA_PKCS1_SHA256);
    check(&project, &wrong, 401, "80200001").await;
    // An access token of v1 is refused.
    let all = hmos
        .scene
        .sandbox
        .credentials()
        .by_provider(&hmos.scene.sandbox.url());
    let field = |name: &str| all["huawei"][name].as_str().unwrap().to_owned();
    let reply = hmos
        .scene
        .fetch("/oauth2/v3/token", &field("app_id"), &field("app_secret"))
        .await;
    let access_token = reply.json()["access_token"].as_str().unwrap().to_owned();
    check(&project, &access_token, 401, "80200001").await;
    // And the JWT is good for v1.
    let v1 = post(&format!("/v1/{}/messages:send", field("app_id")));
    let v1 = v1.header("authorization", format!("Bearer {}", hmos.jwt));
    let data = json!({"message": {"data": "{}", "token": ["v1"]}}).to_string();
    let reply = hmos.scene.send(v1, &data).await.unwrap();
    assert_eq!(reply.json()["code"], "80000000");
}

#[tokio::test]
async fn the_push_type_is_needed_and_decides() {
    let hmos = Hmos::new().await;
    let request = hmos.to(&hmos.scene.credential("project_id"), &hmos.jwt);
    let body = message(&["a"]);
    let reply = hmos.scene.send(request, &body.to_string()).await.unwrap();
    assert_eq!(reply.json()["code"], "80100001");
    let check = async |push_type: &str, body: &Value, code: &str| {
        let reply = hmos.send_as(push_type, body).await.json();
        assert_eq!(reply["code"], code, "{push_type} {body}: {}", reply["msg"]);
    };
    check("3", &body, "80100001").await;
    let extra = |tokens: &[&str]| json!({"payload": {"extraData": "{}"}, "target": {"token": tokens}, "pushOptions": {"backgroundMode": 1}});
    check("6", &extra(&["a"]), "80000000").await;
    check("10", &extra(&["a"]), "80100001").await;
    check("6", &body, "80100001").await;
    check("0", &extra(&["a"]), "80100003").await;
    let form = json!({"payload": {"moduleName": "entry"}, "target": {"token": ["a"]}});
    check("1", &form, "80000000").await;
    let two = json!({"payload": {"moduleName": "entry"}, "target": {"token": ["a", "b"]}});
    check("1", &two, "80300010").await;
    let voice = |mut body: Value| {
        body["payload"]["notification"]["category"] = json!("PLAY_VOICE");
        body
    };
    check("0", &voice(message(&["a"])), "80100001").await;
    check("2", &voice(message(&["a"])), "80000000").await;
}

#[tokio::test]
async fn bad_tokens_are_listed_by_reason_with_stray_blanks() {
    let hmos = Hmos::new().await;
    hmos.scene.uninstall("gone");
    hmos.scene.put("foreign", None, Some("another project"));
    hmos.scene
        .fault(json!({"token": "struck", "reason": "noPushTypeRight"}));
    let told = hmos
        .send_as(
            "0",
            &message(&["a", "gone", "foreign", "struck", "no token"]),
        )
        .await
        .json();
    assert_eq!(told["code"], "80100000");
    let details: Value = serde_json::from_str(told["msg"].as_str().unwrap()).unwrap();
    assert_eq!(
        details,
        json!({"success": 1, "failure": 4, "illegalTokens": {
            " noPushTypeRight": ["struck"], " noRight": ["foreign"], "tokenFormatError": ["gone", "no token"]
        }})
    );
    let told = hmos.send_as("0", &message(&["struck"])).await.json();
    assert_eq!(told["code"], "80300007");
    let details: Value = serde_json::from_str(told["msg"].as_str().unwrap()).unwrap();
    assert_eq!(
        details["illegalTokens"],
        json!({" noPushTypeRight": ["struck"]})
    );
    assert_eq!(hmos.scene.reached(), ["a"]);
}

#[tokio::test]
async fn each_code_is_met_as_a_fault() {
    let hmos = Hmos::new().await;
    for (code, status) in [
        ("80100003", 400),
        ("80100022", 400),
        ("80200001", 401),
        ("80200005", 401),
        ("80300002", 200),
        ("80300007", 200),
        ("80300029", 400),
        ("80300036", 401),
        ("80300037", 200),
        ("81000001", 500),
    ] {
        hmos.scene.fault(json!({"reason": code, "count": 1}));
        let reply = hmos.send_as("0", &message(&["a"])).await;
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (status, &json!(code))
        );
    }
    hmos.scene.fault(json!({"status": 503, "count": 1}));
    assert_eq!(hmos.send_as("0", &message(&["a"])).await.status, 503);
    assert!(hmos.scene.deliveries().is_empty());
}

#[tokio::test]
async fn tokens_size_and_fields_are_checked() {
    let hmos = Hmos::new().await;
    let tokens: Vec<String> = (0..1_001).map(|n| format!("{n:0>130}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    assert_eq!(hmos.code(&message(&tokens[..1_000])).await, "80000000");
    assert_eq!(hmos.code(&message(&tokens)).await, "80300010");
    assert_eq!(
        hmos.code(&json!({"payload": {}, "targt": {}})).await,
        "80300010"
    );
    let mut test = message(&tokens[..11]);
    test["pushOptions"]["testMessage"] = json!(true);
    assert_eq!(hmos.code(&test).await, "80300030");
    let check = async |path: &str, value: Value, code: &str| {
        let mut body = message(&["a"]);
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).expect(parent)[name] = value.clone();
        let reply = hmos.send_as("0", &body).await.json();
        assert_eq!(reply["code"], code, "{path} {value}: {}", reply["msg"]);
    };
    let bad = "80100001";
    let n = |name: &str| format!("/payload/notification/{name}");
    check(&n("title"), json!("x".repeat(4_096)), "80300008").await;
    check(&n("title"), json!(""), bad).await;
    check(&n("category"), Value::Null, bad).await;
    check(&n("category"), json!("NEWS"), bad).await;
    check(&n("category"), json!("MISS_CALL"), "80000000").await;
    check(&n("clickAction"), Value::Null, bad).await;
    check(&n("clickAction/actionType"), json!(1), bad).await;
    check(&n("clickAction/actionType"), json!(2), bad).await;
    check(&n("clickAction/actionType"), json!(5), bad).await;
    check(
        &n("clickAction"),
        json!({"actionType": 5, "data": {"tel": "110"}}),
        "80000000",
    )
    .await;
    check(
        &n("clickAction"),
        json!({"actionType": 0, "data": "text"}),
        bad,
    )
    .await;
    check(&n("badge"), json!({"setNum": 0}), "80000000").await;
    check(&n("badge"), json!({"addNum": 0}), bad).await;
    check(&n("inboxContent"), json!(["1", "2", "3", "4"]), bad).await;
    check(&n("style"), json!(1), bad).await;
    check(&n("soundDuration"), json!(5), bad).await;
    check(&n("foregroundShow"), json!(false), "80000000").await;
    check(&n("appMessageId"), json!("a,b"), bad).await;
    check("/pushOptions/ttl", json!("3600s"), bad).await;
    check("/pushOptions/ttl", json!(1_296_001), bad).await;
    check("/pushOptions/collapseKey", json!(101), "80100013").await;
    check("/pushOptions/biTag", json!("x".repeat(65)), bad).await;
    check("/pushOptions/backgroundMode", json!(1), bad).await;
}
