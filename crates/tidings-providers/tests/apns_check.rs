//! The check of a credential, against the simulated APNs and against what is none.

use std::time::Duration;

use tidings_model::{Environment, Reason, Secret};
use tidings_providers::apns::check::{Doubt, Finding, Obstacle, Report};
use tidings_providers::apns::{Config, ConfigError, Credential, check};
use tidings_providers::{Attempt, Cause};
use tidings_sandbox::{Action, DeliveryQuery, Fault, FaultBody, Sandbox, SandboxConfig};
use tokio::net::TcpListener;

const APP: &str = "com.example.app";

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::start(SandboxConfig::default()).await;
    sandbox.expect("a sandbox")
}

/// The sandbox's key with a team id.
fn config(sandbox: &Sandbox, team_id: &str) -> Config {
    let credentials = sandbox.credentials();
    let made = &credentials.apns;
    let credential = Credential::from_p8(made.p8.as_bytes(), &made.key_id, team_id);
    Config {
        endpoint: Some(format!("https://localhost:{}", sandbox.addr().port())),
        ca: Some(credentials.ca.as_bytes().into()),
        topic: Some(APP.to_owned()),
        ..Config::new(credential.expect("a credential"), Environment::Sandbox)
    }
}

fn good(sandbox: &Sandbox) -> Config {
    config(sandbox, &sandbox.credentials().apns.team_id)
}

fn with_certificate(sandbox: &Sandbox) -> Config {
    let made = &sandbox.credentials().apns;
    let credential = Credential::from_p12(&made.p12, &made.password);
    Config {
        credential: credential.expect("a certificate"),
        topic: None,
        ..good(sandbox)
    }
}

async fn report(config: Config) -> Report {
    check(config).await.expect("a configuration that can work")
}

/// What was in the way, and how it was said.
async fn obstacle(config: Config) -> (Obstacle, String) {
    match report(config).await.finding {
        Finding::Unreachable { cause, obstacle } => (obstacle, cause.to_string()),
        other => panic!("{other:?}"),
    }
}

fn fault(sandbox: &Sandbox, body: FaultBody) {
    let body = FaultBody {
        provider: "apns".to_owned(),
        ..body
    };
    let fault = Fault::try_from(body).expect("a fault");
    sandbox.faults().add(fault).expect("room for a fault");
}

#[tokio::test]
async fn a_good_key_and_a_good_certificate_are_taken() {
    let sandbox = sandbox().await;
    for config in [good(&sandbox), with_certificate(&sandbox)] {
        let report = report(config).await;
        assert_eq!(report.finding, Finding::Good);
        assert_eq!(report.address, Some(sandbox.addr()));
        assert_eq!(report.topic.as_deref(), Some(APP));
        assert!(report.connecting.is_some() && report.streams_max.is_some());
        let port = sandbox.addr().port();
        assert_eq!(report.endpoint, format!("localhost:{port}"));
    }
    let page = sandbox.deliveries().page(&DeliveryQuery {
        limit: 10,
        ..DeliveryQuery::default()
    });
    let tokens: Vec<_> = page
        .deliveries
        .iter()
        .map(|delivery| delivery.token.to_string())
        .collect();
    assert_eq!(tokens, ["0".repeat(64), "0".repeat(64)]);
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_apples() {
    let sandbox = sandbox().await;
    let wrong_team = report(config(&sandbox, "WRONGTEAM1")).await.finding;
    let reason = Reason::known("InvalidProviderToken");
    assert_eq!(wrong_team, Finding::Rejected(reason));

    for (status, reason) in [(400, "TopicDisallowed"), (403, "BadCertificate")] {
        fault(
            &sandbox,
            FaultBody {
                status: Some(status),
                reason: Some(reason.to_owned()),
                count: Some(1),
                ..FaultBody::default()
            },
        );
        let finding = report(good(&sandbox)).await.finding;
        assert_eq!(finding, Finding::Rejected(Reason::known(reason)));
    }
    // A token that is refused for its age is made again, and then it is the clock.
    fault(
        &sandbox,
        FaultBody {
            status: Some(403),
            reason: Some("ExpiredProviderToken".to_owned()),
            count: Some(2),
            ..FaultBody::default()
        },
    );
    let finding = report(good(&sandbox)).await.finding;
    let reason = Reason::known("ExpiredProviderToken");
    assert_eq!(finding, Finding::Rejected(reason));
    assert_eq!(report(good(&sandbox)).await.finding, Finding::Good);
}

#[tokio::test]
async fn an_answer_about_something_else_decides_nothing() {
    let sandbox = sandbox().await;
    fault(
        &sandbox,
        FaultBody {
            status: Some(503),
            reason: Some("ServiceUnavailable".to_owned()),
            count: Some(1),
            ..FaultBody::default()
        },
    );
    let finding = report(good(&sandbox)).await.finding;
    let Finding::Undecided(Doubt::Attempt(Attempt::Answered(outcome))) = finding else {
        panic!("{finding:?}")
    };
    let reason = outcome.reason().map(Reason::as_str);
    assert_eq!(reason, Some("ServiceUnavailable"));

    fault(
        &sandbox,
        FaultBody {
            action: Some(Action::Hang),
            count: Some(1),
            ..FaultBody::default()
        },
    );
    let hurried = Config {
        answer_timeout: Duration::from_millis(50),
        ..good(&sandbox)
    };
    let late = Attempt::Unanswered(Cause::TimedOut);
    let finding = report(hurried).await.finding;
    assert_eq!(finding, Finding::Undecided(Doubt::Attempt(late)));

    fault(
        &sandbox,
        FaultBody {
            action: Some(Action::Close),
            count: Some(1),
            ..FaultBody::default()
        },
    );
    assert_eq!(obstacle(good(&sandbox)).await.0, Obstacle::Lost);

    let anywhere = Config {
        topic: None,
        ..good(&sandbox)
    };
    let report = report(anywhere).await;
    assert_eq!(report.finding, Finding::Undecided(Doubt::NoTopic));
    assert!(report.connecting.is_some());
}

#[tokio::test]
async fn what_is_in_the_way_of_a_connection_is_named() {
    let sandbox = sandbox().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let free = listener.local_addr().expect("an address");
    let to = |endpoint: String| Config {
        endpoint: Some(endpoint),
        ..good(&sandbox)
    };
    // Whoever listens here never says a word.
    let hurried = Config {
        connect_timeout: Duration::from_millis(200),
        ..to(format!("https://{free}"))
    };
    assert_eq!(obstacle(hurried).await.0, Obstacle::Silence);
    drop(listener);

    let (refused, text) = obstacle(to(format!("https://{free}"))).await;
    assert_eq!(refused, Obstacle::Refused);
    assert!(text.contains(&free.to_string()), "{text}");
    let nowhere = to("https://nowhere.invalid:2197".to_owned());
    assert_eq!(obstacle(nowhere).await.0, Obstacle::Name);
    let proxied = Config {
        proxy: Some(Secret::new(format!("http://{free}"))),
        ..good(&sandbox)
    };
    assert_eq!(obstacle(proxied).await.0, Obstacle::Proxy);
    let distrustful = Config {
        ca: None,
        ..good(&sandbox)
    };
    let (untrusted, text) = obstacle(distrustful).await;
    assert_eq!(untrusted, Obstacle::Untrusted);
    assert!(text.contains("UnknownIssuer"), "{text}");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_before_anything_is_opened() {
    let sandbox = sandbox().await;
    let not_covered = Config {
        topic: Some("com.other".to_owned()),
        ..with_certificate(&sandbox)
    };
    let refused = check(not_covered).await;
    assert!(
        matches!(refused, Err(ConfigError::Credential(_))),
        "{refused:?}"
    );
}
