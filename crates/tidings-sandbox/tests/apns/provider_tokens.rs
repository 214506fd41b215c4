//! Token authentication.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Builder;
use serde_json::{Value, json};
use tidings_sandbox::Sandbox;

use crate::client::{Client, PAYLOAD, Signer, authorized, now_secs, request_to, sandbox, token};

fn request() -> Builder {
    request_to(&token(1))
}

async fn verdict(client: &Client, request: Builder) -> (u16, String) {
    client.send(request, PAYLOAD).await.unwrap().verdict()
}

/// Sends a request with a provider token on a connection of its own.
async fn check(sandbox: &Sandbox, provider_token: &str, status: u16, reason: &str) {
    let client = Client::connect(sandbox).await;
    let verdict = verdict(&client, authorized(request(), provider_token)).await;
    assert_eq!(verdict, (status, reason.to_owned()), "{provider_token}");
}

fn refused(reason: &str) -> (u16, String) {
    (403, reason.to_owned())
}

#[tokio::test]
async fn a_request_needs_a_bearer_token() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    assert_eq!(
        verdict(&client, request()).await,
        refused("MissingProviderToken")
    );
    for bad in [
        "",
        "bearer",
        "bearer ",
        "basic abc",
        "bearer a.b.c",
        "bearer a.b.c.d",
    ] {
        let request = request().header("authorization", bad);
        assert_eq!(
            verdict(&client, request).await,
            refused("InvalidProviderToken"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let sandbox = sandbox().await;
    let provider_token = Signer::registered(&sandbox).token(0);
    let client = Client::connect(&sandbox).await;
    for scheme in ["bearer", "Bearer", "BEARER"] {
        let request = request().header("authorization", format!("{scheme} {provider_token}"));
        assert_eq!(verdict(&client, request).await, (200, String::new()));
    }
}

#[tokio::test]
async fn signatures_may_be_der_and_base64_the_standard_kind() {
    let sandbox = sandbox().await;
    let der = Signer::registered_der(&sandbox);
    check(&sandbox, &der.token(0), 200, "").await;
    // Signed over standard base64, with padding, as one well-known sender does it.
    let header = json!({"alg": "ES256", "kid": sandbox.credentials().apns.key_id, "x": ">>>???"});
    let claims = json!({"iss": sandbox.credentials().apns.team_id, "iat": now_secs()});
    let part = |value: &Value| STANDARD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = STANDARD.encode(der.sign(&signed));
    check(&sandbox, &format!("{signed}.{signature}"), 200, "").await;
}

#[tokio::test]
async fn a_token_is_good_for_an_hour() {
    let sandbox = sandbox().await;
    let signer = Signer::registered(&sandbox);
    check(&sandbox, &signer.token(3_500), 200, "").await;
    check(&sandbox, &signer.token(3_700), 403, "ExpiredProviderToken").await;
    check(&sandbox, &signer.token(-3_500), 200, "").await;
    check(&sandbox, &signer.token(-3_700), 403, "InvalidProviderToken").await;
}

#[tokio::test]
async fn a_token_is_signed_by_its_key_for_its_team() {
    let sandbox = sandbox().await;
    let apns = sandbox.credentials().apns.clone();
    let good = Signer::registered(&sandbox);
    let header = json!({"alg": "ES256", "kid": apns.key_id});
    let claims = json!({"iss": apns.team_id, "iat": now_secs()});
    for (header, claims) in [
        (json!({"alg": "none", "kid": apns.key_id}), claims.clone()),
        (json!({"alg": "ES256"}), claims.clone()),
        (json!({"alg": "ES256", "kid": "SHORT"}), claims.clone()),
        (json!({"alg": "ES256", "kid": "é23456789"}), claims.clone()),
        (header.clone(), json!({"iss": apns.team_id})),
        (header.clone(), json!({"iss": apns.team_id, "iat": "now"})),
        (
            header.clone(),
            json!({"iss": apns.team_id, "iat": i64::MAX}),
        ),
        (header.clone(), json!({"iss": "TEAM", "iat": now_secs()})),
        (header, json!({"iss": "OTHERTEAM1", "iat": now_secs()})),
    ] {
        let provider_token = good.token_of(&header, &claims);
        check(&sandbox, &provider_token, 403, "InvalidProviderToken").await;
    }
    let other = Signer::unknown(&apns.key_id, &apns.team_id);
    check(&sandbox, &other.token(0), 403, "InvalidProviderToken").await;
    let signature = URL_SAFE_NO_PAD.encode([0; 64]);
    let (signed, _) = good
        .token(0)
        .rsplit_once('.')
        .map(|(s, t)| (s.to_owned(), t.to_owned()))
        .unwrap();
    check(
        &sandbox,
        &format!("{signed}.{signature}"),
        403,
        "InvalidProviderToken",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_key_is_trusted_on_first_use_and_no_other_after_it() {
    let sandbox = sandbox().await;
    let first = Signer::unknown("ABC123DEFG", "TEAM567890");
    for age in 0..4 {
        check(&sandbox, &first.token(age), 200, "").await;
    }
    let second = Signer::unknown("ABC123DEFG", "TEAM567890");
    check(&sandbox, &second.token(0), 403, "InvalidProviderToken").await;
    let elsewhere = first.named("ABC123DEFG", "OTHERTEAM1");
    check(&sandbox, &elsewhere.token(0), 403, "InvalidProviderToken").await;
}

#[tokio::test]
async fn a_connection_takes_no_second_token_within_20_minutes_and_goes_on_with_the_first() {
    let sandbox = sandbox().await;
    let signer = Signer::registered(&sandbox);
    let (first, second) = (signer.token(1), signer.token(0));
    let client = Client::connect(&sandbox).await;
    assert_eq!(verdict(&client, authorized(request(), &first)).await.0, 200);
    let (status, reason) = verdict(&client, authorized(request(), &second)).await;
    assert_eq!(
        (status, reason.as_str()),
        (429, "TooManyProviderTokenUpdates")
    );
    assert_eq!(verdict(&client, authorized(request(), &first)).await.0, 200);
    // On a new connection the second is the first.
    check(&sandbox, &second, 200, "").await;
}

#[tokio::test]
async fn a_connection_takes_no_token_of_another_key() {
    let sandbox = sandbox().await;
    let client = Client::connect(&sandbox).await;
    let first = Signer::registered(&sandbox).token(0);
    let other = Signer::unknown("ABC123DEFG", "TEAM567890").token(0);
    assert_eq!(verdict(&client, authorized(request(), &first)).await.0, 200);
    assert_eq!(
        verdict(&client, authorized(request(), &other)).await,
        refused("UnrelatedKeyIdInToken")
    );
}
