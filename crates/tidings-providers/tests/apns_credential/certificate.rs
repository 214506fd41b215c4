//! Certificates from .p12 files.

use std::sync::Arc;

use p12_keystore::Pkcs12Archive;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tidings_model::{Environment, UnixMillis};
use tidings_providers::apns::{Credential, CredentialError, CredentialKind, Summary};
use x509_parser::parse_x509_certificate;

use crate::{BUNDLE, NOW, PASSWORD, fixture, opened, p12, refused};

const UNICODE: &str = "pässwörd 密码 😀";
/// 2020-01-01, before which the certificates are not valid.
const NOT_BEFORE: UnixMillis = UnixMillis(1_577_836_800_000);
/// 2120-01-01, when they expire.
const NOT_AFTER: UnixMillis = UnixMillis(4_733_510_400_000);

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
        ("critical", [false, true]),
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
fn a_key_that_is_too_small_is_refused() {
    refused(
        p12("small-key", PASSWORD),
        "p12",
        "unsupported_key",
        "p12: has a key of a kind that TLS does not use here; use RSA of 2048 bits or more, or ECDSA on P-256 or P-384",
    );
}

/// This is why keys and certificates are compared here and not by rustls.
#[test]
fn an_extension_that_nobody_knows_is_no_mismatch() {
    let credential = opened("critical");
    let auth = credential.client_auth().expect("a certificate");
    assert!(auth.keys_match().is_err());
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
        (fixture("triple-des-pbes2.p12"), "triple DES in PBES2"),
        (fixture("camellia.p12"), "Camellia"),
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
