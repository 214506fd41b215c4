//! Which crate may use which: nothing points up.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Table;

/// What each crate may use of ours, besides `tidings-model`, which all but `tidings-mqtt` may.
const MAY_USE: [(&str, &[&str]); 8] = [
    (
        "tidings",
        &[
            "tidings-broker",
            "tidings-link",
            "tidings-providers",
            "tidings-sandbox",
            "tidings-store",
        ],
    ),
    ("tidings-broker", &["tidings-providers"]),
    ("tidings-link", &["tidings-mqtt", "tidings-store"]),
    ("tidings-model", &[]),
    ("tidings-mqtt", &[]),
    ("tidings-providers", &[]),
    ("tidings-sandbox", &[]),
    ("tidings-store", &[]),
];

#[test]
fn no_crate_uses_one_above_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(crates).expect("a directory") {
        let manifest = entry.expect("an entry").path().join("Cargo.toml");
        let manifest: Table = std::fs::read_to_string(manifest)
            .expect("a manifest")
            .parse()
            .expect("TOML");
        let name = manifest["package"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let used = manifest["dependencies"]
            .as_table()
            .expect("dependencies")
            .keys()
            .cloned();
        found.insert(
            name,
            used.filter(|used| used.starts_with("tidings"))
                .collect::<Vec<_>>(),
        );
    }
    let known: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        known,
        MAY_USE.map(|(name, _)| name),
        "a new crate has to be given its place here"
    );
    for (name, may_use) in MAY_USE {
        for used in &found[name] {
            let model =
                used == "tidings-model" && name != "tidings-mqtt" && name != "tidings-model";
            assert!(
                model || may_use.contains(&used.as_str()),
                "{name} must not use {used}"
            );
        }
    }
}
