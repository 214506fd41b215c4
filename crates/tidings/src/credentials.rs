//! What is known of credentials: as they are sealed in the store, how they stand, and what a check of one found.

mod checked;
mod expiry;
pub(crate) mod words;

use tidings_store::{CredentialSlot, Store, StoreError};

pub(crate) use checked::{CheckResult, Checked};
pub(crate) use expiry::{Health, days_left, expires_at, spent, watch};

/// The stored one of a slot; none when none is set. The inner error: it does not open with this server's seal key, and has to
/// be set again.
pub(crate) async fn stored(
    store: &Store,
    slot: CredentialSlot,
) -> Result<Option<anyhow::Result<Vec<u8>>>, StoreError> {
    match store.open_credential(slot).await {
        Ok(plain) => Ok(plain.map(Ok)),
        Err(error @ StoreError::Seal(_)) => Ok(Some(Err(error.into()))),
        Err(error) => Err(error),
    }
}
