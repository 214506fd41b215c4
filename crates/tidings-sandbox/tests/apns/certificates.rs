//! Certificate authentication.

use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::client::{Client, PAYLOAD, Reply, TOPIC, post, request_to, sandbox, token};

const DEVELOPMENT: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 1];
const PRODUCTION: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 2];
const VOIP_TOPIC: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 4];
const TOPICS: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 6];
const USER_ID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
const NULL: &[u8] = &[5, 0];

/// A self-signed certificate with a topic in its subject, and extensions.
fn certificate(user_id: Option<&str>, extensions: &[(&[u64], &[u8])]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Apple Push Services: test");
    if let Some(user_id) = user_id {
        params
            .distinguished_name
            .push(DnType::from_oid(USER_ID), user_id);
    }
    params.custom_extensions = extensions
        .iter()
        .map(|(oid, content)| CustomExtension::from_oid_content(oid, content.to_vec()))
        .collect();
    params
}

/// Sends one request with the certificate.
async fn send(params: CertificateParams, topic: Option<&str>) -> Reply {
    let sandbox = sandbox().await;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let client = Client::connect_as(&sandbox, Some((certificate, key))).await;
    let mut request = post(&format!("/3/device/{}", token(1)));
    if let Some(topic) = topic {
        request = request.header("apns-topic", topic);
    }
    client.send(request, PAYLOAD).await.unwrap()
}

async fn check(params: CertificateParams, topic: Option<&str>, status: u16, reason: &str) {
    let verdict = send(params, topic).await.verdict();
    assert_eq!(verdict, (status, reason.to_owned()), "{topic:?}");
}

/// `SEQUENCE { UTF8String topic, SEQUENCE { UTF8String "app" }, … }`, all short.
fn topics(names: &[&str]) -> Vec<u8> {
    let tagged = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    };
    let kind = tagged(0x30, &tagged(0x0c, b"app"));
    let items: Vec<Vec<u8>> = names
        .iter()
        .map(|name| [tagged(0x0c, name.as_bytes()), kind.clone()].concat())
        .collect();
    tagged(0x30, &items.concat())
}

#[tokio::test]
async fn the_p12_of_the_sandbox_is_good_for_its_topic_only() {
    let sandbox = sandbox().await;
    let apns = &sandbox.credentials().apns;
    let store = KeyStore::from_pkcs12(&apns.p12, &apns.password, Pkcs12ImportPolicy::Strict);
    let store = store.unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    let certificate = CertificateDer::from(chain.certs()[0].as_der().to_vec());
    let key = PrivateKeyDer::try_from(chain.key().as_der().to_vec()).unwrap();
    let client = Client::connect_as(&sandbox, Some((certificate, key))).await;
    let reply = client.send(request_to(&token(1)), PAYLOAD).await.unwrap();
    assert_eq!(reply.verdict(), (200, String::new()));
    assert!(reply.headers.contains_key("apns-unique-id"));
    let silent = post(&format!("/3/device/{}", token(1)));
    assert_eq!(client.send(silent, PAYLOAD).await.unwrap().status, 200);
    let other = post(&format!("/3/device/{}", token(1))).header("apns-topic", "com.example.other");
    let reply = client.send(other, PAYLOAD).await.unwrap();
    assert_eq!(reply.verdict(), (400, "TopicDisallowed".to_owned()));
}

#[tokio::test]
async fn the_only_topic_of_a_certificate_may_be_left_out() {
    let one = || certificate(Some(TOPIC), &[(TOPICS, &topics(&[TOPIC]))]);
    check(one(), None, 200, "").await;
    check(one(), Some(TOPIC), 200, "").await;
    check(one(), Some("com.example.other"), 400, "TopicDisallowed").await;
}

#[tokio::test]
async fn with_several_topics_one_must_be_named() {
    let list = topics(&[TOPIC, "com.example.app.voip"]);
    let several = || certificate(Some(TOPIC), &[(TOPICS, &list)]);
    check(several(), None, 400, "MissingTopic").await;
    check(several(), Some(TOPIC), 200, "").await;
    check(several(), Some("com.example.app.voip"), 200, "").await;
    check(
        several(),
        Some("com.example.app.complication"),
        400,
        "TopicDisallowed",
    )
    .await;
}

#[tokio::test]
async fn a_voip_topic_has_an_extension_of_its_own() {
    let value = [&[0x0c, 20], b"com.example.app.voip".as_slice()].concat();
    check(certificate(None, &[(VOIP_TOPIC, &value)]), None, 200, "").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_for_push_is_bad() {
    check(certificate(None, &[]), Some(TOPIC), 403, "BadCertificate").await;
    let nonsense = certificate(None, &[(TOPICS, &[0x30, 0x7f, 1])]);
    check(nonsense, Some(TOPIC), 403, "BadCertificate").await;
}

#[tokio::test]
async fn a_certificate_has_its_time() {
    let mut expired = certificate(Some(TOPIC), &[]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    check(expired, Some(TOPIC), 403, "BadCertificate").await;
    let mut early = certificate(Some(TOPIC), &[]);
    early.not_before = date_time_ymd(2900, 1, 1);
    check(early, Some(TOPIC), 403, "BadCertificate").await;
}

#[tokio::test]
async fn only_the_development_environment_gives_a_unique_id() {
    for (extensions, given) in [
        (&[(PRODUCTION, NULL)] as &[_], false),
        (&[(DEVELOPMENT, NULL)], true),
        (&[(DEVELOPMENT, NULL), (PRODUCTION, NULL)], true),
    ] {
        let reply = send(certificate(Some(TOPIC), extensions), None).await;
        assert_eq!(reply.verdict(), (200, String::new()));
        assert_eq!(reply.headers.contains_key("apns-unique-id"), given);
    }
}

#[tokio::test]
async fn a_location_query_is_not_taken_with_a_certificate() {
    let topic = format!("{TOPIC}.location-query");
    let params = certificate(Some(&topic), &[]);
    let sandbox = sandbox().await;
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let client = Client::connect_as(&sandbox, Some((leaf, key))).await;
    let request = || post(&format!("/3/device/{}", token(1))).header("apns-topic", &topic);
    let reply = client
        .send(request().header("apns-push-type", "location"), PAYLOAD)
        .await
        .unwrap();
    assert_eq!(reply.verdict(), (400, "TopicDisallowed".to_owned()));
}
