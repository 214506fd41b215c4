//! Uploads of APNs credentials: what opens, what it says of itself, and how everything else is refused.
//!
//! The files are made by `fixtures/apns/make.sh`.

mod certificate;
mod key;
mod token;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tidings_model::UnixMillis;
use tidings_providers::apns::{Credential, CredentialError};

const BUNDLE: &str = "com.example.app";
const PASSWORD: &str = "secret";
/// 2027-01-15.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

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

/// Field, code and text of an error, as the API shows them.
#[track_caller]
fn refused<T: Debug>(result: Result<T, CredentialError>, field: &str, code: &str, text: &str) {
    let error = result.expect_err(text);
    assert_eq!(error.to_string(), text);
    assert_eq!((error.field(), error.code()), (field, code));
    assert!(text.starts_with(&format!("{field}: ")), "{text}");
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
