//! Signing keys from .p8 files.

use tidings_model::Environment;
use tidings_providers::apns::credential::FILE_LEN_MAX;
use tidings_providers::apns::{Credential, CredentialKind, Summary};

use crate::{BUNDLE, NOW, fixture, opened, p8, refused};

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
        "topic: is \" com.example\"; use the app's bundle id, such as com.example.app: letters, digits, '.', '-' and \
         '_', at most 255 bytes",
    );
}

#[test]
fn what_is_no_p8_is_recognised() {
    let padded = |len| {
        let mut file = fixture("AuthKey_ABC123DEFG.p8");
        file.resize(len, b'\n');
        file
    };
    let largest = Credential::from_p8(&padded(FILE_LEN_MAX), "ABC123DEFG", "TEAM123456");
    assert!(largest.is_ok(), "{largest:?}");
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
        (padded(FILE_LEN_MAX + 1), "is larger than any .p8"),
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
