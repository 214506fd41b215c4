//! The secrets in the addresses to which providers send an app's receipts. They are derived and not kept, so whoever does not
//! know one costs no look into the database.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use tidings_model::{AppId, AppKey, Secret, UnixMillis};

use crate::apps::{App, COLUMNS, read};
use crate::{Store, StoreError, WriteTx};

/// Which of an app's secrets is the present one: each that is made is the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackTurn {
    pub number: u32,
    /// None of the first.
    pub since: Option<UnixMillis>,
}

impl CallbackTurn {
    /// So long the one before is good as well: what was sent with its address may still be told of.
    pub const GRACE: Duration = Duration::from_secs(86_400);

    /// Whether the secret of a number is good at `now`.
    pub fn takes(self, number: u32, now: UnixMillis) -> bool {
        let is_in_grace = || {
            self.since
                .is_some_and(|since| now < since.plus(Self::GRACE))
        };
        number == self.number || (number.checked_add(1) == Some(self.number) && is_in_grace())
    }
}

impl Store {
    /// The secret of a number. Reads nothing.
    pub fn callback_secret(&self, app: AppKey, number: u32) -> Secret {
        Secret::new(match number {
            0 => self.seal.derive(&format!("callbacks {app}")),
            _ => {
                let secret = self.seal.derive(&format!("callbacks {app} {number}"));
                format!("{number}.{secret}")
            }
        })
    }

    /// The number of which `secret` is that of the app; whether that one is good is the app's to say. Reads nothing, so it
    /// tells nobody whether there is such an app.
    pub fn callback_number(&self, app: AppKey, secret: &str) -> Option<u32> {
        let number = match secret.split_once('.') {
            Some((number, _)) => number.parse().ok()?,
            None => 0,
        };
        let wanted = self.callback_secret(app, number).hash();
        wanted.matches(secret).then_some(number)
    }

    /// Makes another secret the present one; none when there is no such app.
    pub async fn rotate_callback_secret(&self, id: AppId) -> Result<Option<App>, StoreError> {
        let update = move |tx: &mut WriteTx<'_>| {
            let mut update = tx.sql.prepare_cached(&format!(
                "UPDATE apps SET callbacks = callbacks + 1, callbacks_since = ?2
                 WHERE id = ?1 AND deleted_at IS NULL RETURNING {COLUMNS}"
            ))?;
            Ok(update.query_row(params![id.0, tx.now.0], read).optional()?)
        };
        self.engine.write(update).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_before_is_good_for_a_day_and_none_before_that() {
        let changed = UnixMillis(1_800_000_000_000);
        let turn = CallbackTurn {
            number: 2,
            since: Some(changed),
        };
        let last = UnixMillis(changed.plus(CallbackTurn::GRACE).0 - 1);
        let over = changed.plus(CallbackTurn::GRACE);
        for (number, now, good) in [
            (2, over, true),
            (1, last, true),
            (1, over, false),
            (0, changed, false),
            (3, changed, false),
            (u32::MAX, changed, false),
        ] {
            assert_eq!(turn.takes(number, now), good, "{number}");
        }
        assert!(CallbackTurn::default().takes(0, changed));
    }
}
