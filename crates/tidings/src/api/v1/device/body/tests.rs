use serde_json::json;

use super::*;

const KEY: &str = "0123456789abcdef01234567";

fn token() -> String {
    "0A".repeat(32)
}

/// A registration that is right, with some keys set otherwise; `null` takes one away.
fn registration(changes: Value) -> Result<Registration, ApiError> {
    let mut body = json!({"app_key": KEY, "platform": "ios", "channels": [{"provider": "link"}]});
    if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
        body.extend(changes);
    }
    Registration::parse(body.to_string().as_bytes())
}

fn link() -> Channel {
    Channel {
        environment: None,
        provider: Provider::Link,
        token: None,
    }
}

#[test]
fn a_device_registers_with_all_it_has() {
    let read = registration(json!({
        "channels": [
            {"provider": "apns", "token": token(), "environment": "sandbox"},
            {"provider": "link"},
        ],
        "alias": "ann", "tags": ["a", "b", "a"], "locale": "zh-Hans-CN",
        "time_zone": "Asia/Shanghai", "app_version": "1.2 (3)",
    }));
    let tag = |text: &str| text.parse::<Tag>().expect("a tag");
    let expected = Registration {
        alias: Some("ann".parse().expect("an alias")),
        app_key: KEY.parse().expect("an app key"),
        app_version: Some("1.2 (3)".to_owned()),
        channels: Channels(vec![
            Channel {
                environment: Some(Environment::Sandbox),
                provider: Provider::Apns,
                token: Some("0a".repeat(32)),
            },
            link(),
        ]),
        locale: Some("zh-Hans-CN".to_owned()),
        platform: Platform::Ios,
        tags: vec![tag("a"), tag("b")],
        time_zone: Some("Asia/Shanghai".to_owned()),
    };
    assert_eq!(read.expect("a registration"), expected);
}

#[test]
fn what_is_not_needed_may_be_absent_or_blank() {
    let read = registration(json!({"alias": "", "tags": [], "locale": null, "time_zone": ""}));
    let read = read.expect("a registration");
    assert_eq!(read.channels.as_slice(), [link()]);
    assert_eq!(
        (read.alias, read.tags, read.locale, read.time_zone),
        (None, vec![], None, None)
    );
}

#[test]
fn a_wrong_registration_is_told_what_is_wrong() {
    let apns = |token: String| json!({"channels": [{"provider": "apns", "token": token}]});
    let cases = [
        (json!({"app_key": null}), "app_key", "app_key is missing"),
        (
            json!({"app_key": "x"}),
            "app_key",
            "24 lower-case hexadecimal characters",
        ),
        (
            json!({"app_key": 7}),
            "app_key",
            "app_key must be a string, not 7",
        ),
        (json!({"platform": null}), "platform", "platform is missing"),
        (
            json!({"platform": "symbian"}),
            "platform",
            "must be one of: android, hmos, ios, web, windows",
        ),
        (json!({"channels": null}), "channels", "channels is missing"),
        (json!({"channels": []}), "channels", "channels is missing"),
        (
            json!({"channels": "link"}),
            "channels",
            "must be an array, not \"link\"",
        ),
        (
            json!({"channels": ["link"]}),
            "channels[0]",
            "must be an object",
        ),
        (
            json!({"channels": [{}]}),
            "channels[0].provider",
            "is missing: apns or ",
        ),
        (
            json!({"channels": [{"provider": "pigeon"}]}),
            "channels[0].provider",
            "must be one of: apns, ",
        ),
        (
            json!({"channels": [{"provider": "link"}, {"provider": "link"}]}),
            "channels[1].provider",
            "link is there twice",
        ),
        (
            json!({"channels": [{"provider": "link", "token": "x"}]}),
            "channels[0].token",
            "not a known key",
        ),
        (
            json!({"channels": [{"provider": "apns"}]}),
            "channels[0].token",
            "is missing",
        ),
        (apns("ab".repeat(31)), "channels[0].token", "not 62 of them"),
        (apns("a".repeat(65)), "channels[0].token", "not 65 of them"),
        (
            apns("ab".repeat(101)),
            "channels[0].token",
            "not 202 of them",
        ),
        (
            apns("zz".repeat(32)),
            "channels[0].token",
            "not other characters",
        ),
        (
            json!({"channels": [{"provider": "apns", "token": token(), "environment": "test"}]}),
            "channels[0].environment",
            "must be one of: production, sandbox",
        ),
        (
            json!({"platform": "android", "channels": [{"provider": "apns", "token": token()}]}),
            "channels[0].provider",
            "not of android",
        ),
        (json!({"alias": "a b"}), "alias", "may hold letters"),
        (json!({"tags": ["ok", ""]}), "tags[1]", "must not be empty"),
        (json!({"tags": [7]}), "tags[0]", "must be a string, not 7"),
        (
            json!({"tags": (0..1001).map(|n| n.to_string()).collect::<Vec<_>>()}),
            "tags",
            "at most 1000 entries, not 1001",
        ),
        (json!({"locale": "zh CN"}), "locale", "like zh-Hans-CN"),
        (
            json!({"locale": "x".repeat(36)}),
            "locale",
            "at most 35 characters",
        ),
        (
            json!({"time_zone": "UTC;"}),
            "time_zone",
            "like Asia/Shanghai",
        ),
        (
            json!({"app_version": "1\n2"}),
            "app_version",
            "control characters",
        ),
        (json!({"aliass": "ann"}), "aliass", "known are app_key"),
        (
            json!({"appVersion": "1"}),
            "appVersion",
            "did you mean app_version?",
        ),
    ];
    for (changes, field, said) in cases {
        let error = registration(changes.clone()).expect_err("a refusal");
        assert_eq!(error.field(), Some(field), "{changes}");
        assert!(
            error.message().contains(said),
            "{changes}: {}",
            error.message()
        );
    }
}

#[test]
fn a_patch_tells_unchanged_from_taken_away() {
    let patch = |body: Value| DevicePatch::parse(body.to_string().as_bytes());
    let cases = [
        (json!({}), DevicePatch::default()),
        (
            json!({"alias": null, "tags": null}),
            DevicePatch {
                alias: Some(None),
                tags: Some(vec![]),
                ..DevicePatch::default()
            },
        ),
        (
            json!({"alias": "", "locale": "de", "app_version": null}),
            DevicePatch {
                alias: Some(None),
                app_version: Some(None),
                locale: Some(Some("de".to_owned())),
                ..DevicePatch::default()
            },
        ),
        (
            json!({"alias": "bob", "channels": [{"provider": "link"}]}),
            DevicePatch {
                alias: Some(Some("bob".parse().expect("an alias"))),
                channels: Some(Channels(vec![link()])),
                ..DevicePatch::default()
            },
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(patch(body.clone()).expect("a patch"), expected, "{body}");
    }
    for (body, field) in [
        (json!({"channels": []}), "channels"),
        (json!({"channels": null}), "channels"),
        (json!({"platform": "ios"}), "platform"),
    ] {
        let error = patch(body).expect_err("a refusal");
        assert_eq!(error.field(), Some(field));
    }
}
