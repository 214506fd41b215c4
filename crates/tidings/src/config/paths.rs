//! Secrets that live as files in the data directory, made at the first start.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tidings_model::Secret;
use tidings_store::SealKey;
use uuid::Uuid;

/// Overrides the key file: for a key that must not lie beside what it seals.
const SEAL_KEY_VAR: &str = "TIDINGS_SEAL_KEY";

/// The administrator's token, from `admin.token`.
pub(crate) fn admin_token(data: &Path) -> Result<Secret> {
    let random = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    Ok(Secret::new(read_or_make(
        &data.join("admin.token"),
        random,
    )?))
}

/// The key under which credentials are sealed: from the environment, else from `seal.key`.
pub(crate) fn seal_key(data: &Path) -> Result<SealKey> {
    match std::env::var(SEAL_KEY_VAR) {
        Ok(text) => SealKey::parse(&text).context(SEAL_KEY_VAR),
        Err(_) => {
            let path = data.join("seal.key");
            let text = read_or_make(&path, SealKey::generate)?;
            SealKey::parse(&text).with_context(|| path.display().to_string())
        }
    }
}

/// The text of a file that only its owner may read; a missing one is made.
fn read_or_make(path: &Path, make: impl FnOnce() -> String) -> Result<String> {
    let context = || path.display().to_string();
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let text = make();
            file.write_all(format!("{text}\n").as_bytes())
                .with_context(context)?;
            file.sync_all().with_context(context)?;
            Ok(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Ok(std::fs::read_to_string(path)
                .with_context(context)?
                .trim()
                .to_owned())
        }
        Err(error) => Err(error).with_context(context),
    }
}
