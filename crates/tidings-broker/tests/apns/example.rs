//! The example program, run as its documentation says.

use std::path::PathBuf;
use std::process::Output;

use tokio::process::Command;

use crate::support::*;

/// The program as cargo built it beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let built = test.parent().and_then(|deps| deps.parent());
    let program = built
        .expect("target/debug/deps")
        .join("examples/apns_broker");
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build -p tidings-broker --examples`",
        program.display()
    );
    program
}

async fn run(sandbox: &tidings_sandbox::Sandbox, changed: &[&str], tokens: &[String]) -> Output {
    let made = &sandbox.credentials().apns;
    let folder = std::env::temp_dir().join(format!("tidings-example-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).expect("a folder");
    let (p12, ca) = (folder.join("push.p12"), folder.join("ca.pem"));
    std::fs::write(&p12, &made.p12).expect("the .p12 is written");
    std::fs::write(&ca, &sandbox.credentials().ca).expect("the CA is written");
    let endpoint = format!("https://localhost:{}", sandbox.addr().port());
    let mut command = Command::new(program());
    command.arg("--p12").arg(p12).arg("--ca").arg(ca);
    command.args(["--endpoint", &endpoint, "--text", "Hello"]);
    let options = [
        ("--password", made.password.as_str()),
        ("--environment", "sandbox"),
        ("--topic", made.topic.as_str()),
    ];
    for (option, value) in options {
        let value = match changed {
            [name, value] if *name == option => value,
            _ => value,
        };
        command.args([option, value]);
    }
    let output = command.args(tokens).output().await.expect("it runs");
    std::fs::remove_dir_all(folder).expect("the folder is removed");
    output
}

#[tokio::test]
async fn the_example_pushes_to_a_list_of_tokens_and_tells_which_failed() {
    let sandbox = sandbox().await;
    let tokens = [token(1), "0123".to_owned(), token(2)];
    let output = run(&sandbox, &[], &tokens).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("accepted ").count(), 2, "{output:?}");
    assert_eq!(
        said.matches(" 0123: refused: BadDeviceToken").count(),
        1,
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(received(&sandbox).len(), 2);
    for id in sandbox.deliveries().page(&Default::default()).deliveries {
        assert!(said.contains(&id.id.to_string()), "{said}");
    }
}

#[tokio::test]
async fn the_example_tells_what_is_wrong_with_its_input() {
    let sandbox = sandbox().await;
    let cases = [
        (["--password", "wrong"], "password: does not open the .p12"),
        (
            ["--topic", "com.example.other"],
            r#"topic: "com.example.other" is not among those of the certificate: com.example.app"#,
        ),
        (
            ["--environment", "staging"],
            "must be one of: production, sandbox",
        ),
    ];
    for (changed, message) in cases {
        let output = run(&sandbox, &changed, &[token(1)]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(message), "{changed:?}: {said}");
        assert!(!output.status.success());
    }
    assert_eq!(sandbox.deliveries().count(), 0);
}
