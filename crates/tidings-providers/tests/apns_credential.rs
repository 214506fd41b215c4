//! Uploads of APNs credentials: what opens, what it says of itself, and how everything else is refused.
//!
//! The files are made by `fixtures/apns/make.sh`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use p12_keystore::Pkcs12Archive;
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tidings_model::{Environment, UnixMillis};
use tidings_providers::apns::{Credential, CredentialError, CredentialKind, Summary};
use x509_parser::parse_x509_certificate;

const BUNDLE: &str = "com.example.app";
const PASSWORD: &str = "secret";
const UNICODE: &str = "pässwörd 密码 😀";
/// 2027-01-15.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// 2120-01-01, when the certificates expire.
const NOT_AFTER: UnixMillis = UnixMillis(4_733_510_400_000);
/// 2020-01-01, before which they are not valid.
const NOT_BEFORE: UnixMillis = UnixMillis(1_577_836_800_000);

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apns");
    fs::read(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn p12(name: &str, password: &str) -> Result<Credential, CredentialError> {
    Credential::from_p12(&fixture(&format!("{name}.p12")), password)
}

fn opened(name: &str) -> Credential {
    p12(name, PASSWORD).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn p8(name: &str) -> Result<Credential, CredentialError> {
    Credential::from_p8(&fixture(name), "ABC123DEFG", "TEAM123456")
}

/// The common names of what is presented in the handshake.
fn chain(credential: &Credential) -> Vec<String> {
    let presented = &credential.client_auth().expect("a certificate").cert;
    let name = |der: &[u8]| {
        let (_, certificate) = parse_x509_certificate(der).expect("X.509");
        let mut names = certificate.subject().iter_common_name();
        names
            .next()
            .and_then(|name| name.as_str().ok())
            .expect("a name")
            .to_owned()
    };
    presented.iter().map(|der| name(der)).collect()
}

#[test]
fn every_kind_of_container_opens() {
    let cases = [
        ("clear", PASSWORD),
        ("keychain", PASSWORD),
        ("keychain-empty", ""),
        ("keychain-null", ""),
        ("keychain-unicode", UNICODE),
        ("mac-missing", PASSWORD),
        ("mixed", PASSWORD),
        ("modern", PASSWORD),
        ("modern-empty", ""),
        ("modern-null", ""),
        ("modern-unicode", UNICODE),
        ("two-keys", PASSWORD),
        ("ec", PASSWORD),
    ];
    for (name, password) in cases {
        let credential = p12(name, password).unwrap_or_else(|error| panic!("{name}: {error}"));
        let auth = credential.client_auth().expect("a certificate");
        auth.keys_match()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let signs = [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ];
        assert!(auth.key.choose_scheme(&signs).is_some(), "{name}");
        let expected = Summary {
            environment: Environment::Production,
            expires_at: Some(NOT_AFTER),
            kind: CredentialKind::Certificate,
            topic: BUNDLE.to_owned(),
            topics: ["", ".voip", ".complication"]
                .map(|kind| format!("{BUNDLE}{kind}"))
                .into(),
        };
        let summary = credential.check(Environment::Production, None, NOW);
        assert_eq!(summary, Ok(expected), "{name}");
    }
}

/// So that these two really are files without a password, and not with an empty one.
#[test]
fn no_password_is_not_an_empty_password() {
    for name in ["keychain-null.p12", "modern-null.p12"] {
        assert!(
            Pkcs12Archive::from_pkcs12(&fixture(name), "").is_err(),
            "{name}"
        );
        let error = Credential::from_p12(&fixture(name), "secret").expect_err(name);
        assert_eq!(error, CredentialError::WrongPassword, "{name}");
    }
}

#[test]
fn the_leaf_is_presented_with_its_intermediate_and_without_the_root() {
    let leaf = "Apple Push Services: com.example.app";
    let expected = [leaf, "Test Developer Relations"];
    assert_eq!(chain(&opened("modern")), expected);
    assert_eq!(
        chain(&opened("two-keys")),
        expected,
        "the bags stand in reverse"
    );
    assert_eq!(
        chain(&p12("keychain-null", "").expect("no chain in it")),
        [leaf]
    );
}

#[test]
fn rustls_takes_the_certificate_without_a_process_default() {
    let auth = opened("keychain")
        .client_auth()
        .expect("a certificate")
        .clone();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(auth)));
    assert!(config.client_auth_cert_resolver.has_certs());
}

#[test]
fn the_environment_comes_from_the_certificate() {
    let both = [Environment::Production, Environment::Sandbox];
    let cases = [
        ("modern", [true, true]),
        ("production", [true, false]),
        ("sandbox", [false, true]),
        ("voip", [true, true]),
    ];
    for (name, allowed) in cases {
        let credential = opened(name);
        let found = both.map(|environment| credential.check(environment, None, NOW).is_ok());
        assert_eq!(found, allowed, "{name}");
    }
}

#[test]
fn topics_come_from_extensions_and_subject() {
    let topics = |name| {
        let summary = opened(name).check(Environment::Sandbox, None, NOW);
        summary.map(|summary| (summary.topic, summary.topics.len()))
    };
    assert_eq!(topics("modern"), Ok((BUNDLE.to_owned(), 3)));
    assert_eq!(topics("sandbox"), Ok((BUNDLE.to_owned(), 1)));
    assert_eq!(topics("voip"), Ok((format!("{BUNDLE}.voip"), 1)));
    assert_eq!(topics("topicless"), Err(CredentialError::TopicMissing));

    let voip = format!("{BUNDLE}.voip");
    let named = opened("modern").check(Environment::Production, Some(&voip), NOW);
    assert_eq!(named.expect("listed").topic, voip);
    let trusted = opened("topicless").check(Environment::Production, Some(BUNDLE), NOW);
    assert_eq!(trusted.expect("nothing is known").topics, [BUNDLE]);
}

#[test]
fn a_key_covers_every_topic_and_does_not_expire() {
    let credential = p8("AuthKey_ABC123DEFG.p8").expect("a key");
    assert!(credential.client_auth().is_none() && credential.token_source().is_some());
    let summary = credential.check(Environment::Sandbox, Some(BUNDLE), NOW);
    let expected = Summary {
        environment: Environment::Sandbox,
        expires_at: None,
        kind: CredentialKind::Token,
        topic: BUNDLE.to_owned(),
        topics: vec![BUNDLE.to_owned()],
    };
    assert_eq!(summary, Ok(expected));
}

/// Field, code and text of an error, as the API shows them.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    result: Result<T, CredentialError>,
    field: &str,
    code: &str,
    text: &str,
) {
    let error = result.expect_err(text);
    assert_eq!(error.to_string(), text);
    assert_eq!((error.field(), error.code()), (field, code));
    assert!(text.starts_with(&format!("{field}: ")), "{text}");
}

#[test]
fn a_wrong_password_is_told_from_a_wrong_file() {
    let text = "password: does not open the .p12; use the one that was set when it was exported (leave it empty if \
                none was)";
    for name in [
        "keychain",
        "modern",
        "mac-missing",
        "keychain-unicode",
        "ec",
    ] {
        for wrong in ["", "Secret", "secret ", "密码", "😀"] {
            refused(p12(name, wrong), "password", "wrong_password", text);
        }
    }
    refused(
        p12("keychain-empty", "x"),
        "password",
        "wrong_password",
        text,
    );
}

#[test]
fn what_is_missing_from_a_p12_is_named() {
    refused(
        p12("certificate-only", PASSWORD),
        "p12",
        "no_private_key",
        "p12: has no private key; in Keychain Access open the triangle before the push certificate, select certificate \
         and key, and export both",
    );
    refused(
        p12("key-only", PASSWORD),
        "p12",
        "no_certificate",
        "p12: has no certificate; in Keychain Access export the push certificate under My Certificates, not the key \
         alone",
    );
    refused(
        p12("mismatch", PASSWORD),
        "p12",
        "key_does_not_match",
        "p12: has a key and a certificate that do not belong together; export the certificate that was made from this \
         key's signing request",
    );
}

#[test]
fn a_certificate_for_signing_apps_is_not_for_push() {
    refused(
        p12("signing", PASSWORD),
        "p12",
        "not_for_push",
        "p12: holds the certificate \"Apple Development: Ann Example (ABCDE12345)\", which is not for push; export the one \
         that is called Apple Push Services",
    );
}

#[test]
fn what_is_no_p12_is_recognised() {
    let base64 = b"MIIKdgIBAzCCCiwGCSqGSIb3DQEHAaCCCh0=".to_vec();
    let cases = [
        (Vec::new(), "is empty"),
        (vec![0; 70_000], "is larger than any .p12"),
        (
            fixture("certificate.pem"),
            "is a PEM certificate without its private key",
        ),
        (
            fixture("certificate.cer"),
            "is a certificate (.cer) without its private key",
        ),
        (
            fixture("request.certSigningRequest"),
            "is a certificate signing request",
        ),
        (fixture("key.der"), "is a private key alone"),
        (
            fixture("AuthKey_ABC123DEFG.p8"),
            "is a PEM private key (a .p8 goes into the field p8)",
        ),
        (fixture("public.pem"), "is a PEM file of another kind"),
        (
            fixture("app.mobileprovision"),
            "is a signed message, such as a .mobileprovision",
        ),
        (
            base64,
            "is base64 text where the file itself is expected (encoded twice?)",
        ),
        (
            b"\xfe\xed\xfe\xed\0\0\0\x02".to_vec(),
            "is a Java key store (JKS)",
        ),
        (b"PK\x03\x04".to_vec(), "is a ZIP archive"),
        (b"<html>".to_vec(), "is no DER file"),
        (b" \n".to_vec(), "is no DER file"),
        (vec![0x30, 0], "is a DER file of another kind"),
    ];
    for (file, found) in cases {
        let text = format!(
            "p12: {found}; upload a PKCS#12 file with certificate and private key, as Keychain Access exports it"
        );
        refused(Credential::from_p12(&file, ""), "p12", "not_pkcs12", &text);
    }
}

#[test]
fn an_unsupported_algorithm_comes_with_the_way_out() {
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend_from_slice(&fixture("keychain.p12")[4..]);
    indefinite.extend([0, 0]);
    let cases = [
        (fixture("rc2-128.p12"), "RC2 (128 bits)"),
        (fixture("rc4-128.p12"), "RC4 (128 bits)"),
        (indefinite, "BER with indefinite lengths"),
    ];
    for (file, algorithm) in cases {
        let text = format!(
            "p12: uses {algorithm}, which cannot be read here; convert it: openssl pkcs12 -legacy -in old.p12 -nodes \
             -out both.pem && openssl pkcs12 -export -in both.pem -out new.p12"
        );
        let result = Credential::from_p12(&file, PASSWORD);
        refused(result, "p12", "unsupported_algorithm", &text);
    }
}

#[test]
fn a_damaged_file_is_not_a_wrong_password() {
    let whole = fixture("modern.p12");
    refused(
        Credential::from_p12(&whole[..whole.len() - 100], PASSWORD),
        "p12",
        "damaged",
        "p12: is damaged: it is shorter than it says itself; export it again, or upload the file itself and not a \
         copied text",
    );
    let hollow = [0x30, 0x05, 0x02, 0x01, 0x03, 0x30, 0x00];
    refused(
        Credential::from_p12(&hollow, PASSWORD),
        "p12",
        "damaged",
        "p12: is damaged: what is in it is not in order; export it again, or upload the file itself and not a copied \
         text",
    );
    let mut followed = whole;
    followed.extend_from_slice(b"\r\n");
    assert!(Credential::from_p12(&followed, PASSWORD).is_ok());
}

#[test]
fn a_certificate_is_refused_out_of_its_time_place_and_topics() {
    let check = |name, environment, topic, now| opened(name).check(environment, topic, now);
    let (production, sandbox) = (Environment::Production, Environment::Sandbox);
    let after = UnixMillis(NOT_AFTER.0 + 1);
    let before = UnixMillis(NOT_BEFORE.0 - 1);
    refused(
        check("modern", production, None, after),
        "p12",
        "expired",
        "p12: expired on 2120-01-01; create a new push certificate in the developer account and export it with its key",
    );
    refused(
        check("modern", production, None, before),
        "p12",
        "not_yet_valid",
        "p12: is not valid before 2020-01-01; check the server's clock",
    );
    refused(
        check("sandbox", production, None, NOW),
        "environment",
        "wrong_environment",
        "environment: is production; the certificate is for sandbox only",
    );
    refused(
        check("production", sandbox, None, NOW),
        "environment",
        "wrong_environment",
        "environment: is sandbox; the certificate is for production only",
    );
    refused(
        check("modern", production, Some("com.example.other"), NOW),
        "topic",
        "topic_not_covered",
        "topic: \"com.example.other\" is not among those of the certificate: com.example.app, com.example.app.voip, \
         com.example.app.complication",
    );
    for edge in [NOT_BEFORE, NOT_AFTER] {
        assert!(check("modern", production, None, edge).is_ok());
    }
}

#[test]
fn a_topic_is_asked_for_where_the_credential_has_none() {
    let key = p8("AuthKey_ABC123DEFG.p8").expect("a key");
    let text = "topic: is missing; name the app's bundle id, such as com.example.app";
    for topic in [None, Some("")] {
        refused(
            key.check(Environment::Sandbox, topic, NOW),
            "topic",
            "topic_missing",
            text,
        );
    }
    let topicless = opened("topicless").check(Environment::Sandbox, None, NOW);
    refused(topicless, "topic", "topic_missing", text);
    refused(
        key.check(Environment::Sandbox, Some(" com.example"), NOW),
        "topic",
        "bad_topic",
        "topic: is \" com.example\"; use the app's bundle id, such as com.example.app: ASCII, no spaces, at most 255 \
         bytes",
    );
}

#[test]
fn what_is_no_p8_is_recognised() {
    let cut = fixture("AuthKey_ABC123DEFG.p8")[..100].to_vec();
    let cases = [
        (Vec::new(), "is empty"),
        (cut, "is a PEM private key that is damaged or cut short"),
        (
            fixture("sec1.pem"),
            "is a private key in the older SEC 1 form (openssl pkcs8 -topk8 -nocrypt converts it)",
        ),
        (fixture("rsa1.pem"), "is an RSA private key"),
        (
            fixture("encrypted.pem"),
            "is a private key that is locked with a password",
        ),
        (
            fixture("certificate.pem"),
            "is a certificate (one with its key goes into the field p12)",
        ),
        (fixture("public.pem"), "is a public key"),
        (
            fixture("p384.p8"),
            "is a private key, but not one for P-256",
        ),
        (
            fixture("modern.p12"),
            "is a DER file, perhaps a .p12 (which goes into the field p12)",
        ),
        (
            b"-----BEGIN X-----".to_vec(),
            "is a PEM file of another kind",
        ),
        (
            b"ABC123DEFG".to_vec(),
            "has no line -----BEGIN PRIVATE KEY-----",
        ),
    ];
    for (file, found) in cases {
        let text = format!(
            "p8: {found}; upload the AuthKey_<key id>.p8 as downloaded: a PKCS#8 \"PRIVATE KEY\" for the curve P-256"
        );
        let result = Credential::from_p8(&file, "ABC123DEFG", "TEAM123456");
        refused(result, "p8", "not_p8", &text);
    }
}

#[test]
fn a_p8_survives_what_editors_do_to_it() {
    let text = String::from_utf8(fixture("AuthKey_ABC123DEFG.p8")).expect("PEM");
    let variants = [
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
        format!("\n\n{text}\n"),
        format!("Key ID: ABC123DEFG\n{text}"),
    ];
    for variant in variants {
        let result = Credential::from_p8(variant.as_bytes(), "ABC123DEFG", "TEAM123456");
        assert!(result.is_ok(), "{variant:?}: {result:?}");
    }
}

#[test]
fn ids_are_ten_capitals_and_digits() {
    let key = fixture("AuthKey_ABC123DEFG.p8");
    let wrong = [
        "",
        "ABC123DEF",
        "ABC123DEFGH",
        "abc123defg",
        "ABC123DEF ",
        "ÄBC123DEF",
    ];
    for id in wrong {
        let text = format!(
            "key_id: is {id:?}; a key id has 10 characters, A-Z and 0-9, and stands in the file's name: AuthKey_<key \
             id>.p8"
        );
        let result = Credential::from_p8(&key, id, "TEAM123456");
        refused(result, "key_id", "bad_key_id", &text);
        let text = format!(
            "team_id: is {id:?}; a team id has 10 characters, A-Z and 0-9, and stands under Membership in the developer \
             account"
        );
        let result = Credential::from_p8(&key, "ABC123DEFG", id);
        refused(result, "team_id", "bad_team_id", &text);
    }
}

#[test]
fn a_credential_prints_no_secret() {
    let printed = format!("{:?}", opened("modern"));
    assert!(
        printed.contains("com.example.app.voip") && printed.contains("not_after"),
        "{printed}"
    );
    let key = p8("AuthKey_ABC123DEFG.p8").expect("a key");
    let token = key.token_source().expect("a key").bearer(NOW);
    let printed = format!("{key:?} {token:?}");
    assert!(printed.contains("ABC123DEFG"), "{printed}");
    assert!(
        !printed.contains("bearer") && !printed.contains("eyJ"),
        "{printed}"
    );
    assert!(printed.len() < 400, "no key fits into this: {printed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), password in ".{0,20}") {
        prop_assert!(Credential::from_p12(&bytes, &password).is_err());
        prop_assert!(Credential::from_p8(&bytes, "ABC123DEFG", "TEAM123456").is_err());
        let armoured = [b"-----BEGIN PRIVATE KEY-----\n", &bytes[..], b"\n-----END PRIVATE KEY-----\n"].concat();
        prop_assert!(Credential::from_p8(&armoured, "ABC123DEFG", "TEAM123456").is_err());
    }

    /// Real files with a few bytes changed reach much deeper than random ones; without a MAC, deeper still.
    #[test]
    fn a_changed_file_does_not_panic(
        name in prop::sample::select(vec!["clear", "keychain-null", "modern-null", "mac-missing", "keychain", "two-keys"]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        password in prop::sample::select(vec!["", PASSWORD]),
    ) {
        let mut file = fixture(&format!("{name}.p12"));
        for (index, byte) in changes {
            let index = index.index(file.len());
            file[index] = byte;
        }
        if let Ok(credential) = Credential::from_p12(&file, password) {
            prop_assert!(credential.client_auth().is_some());
        }
    }
}
