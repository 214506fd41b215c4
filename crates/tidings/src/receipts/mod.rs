//! Receipts: what the makers tell of the phones that have got a message, posted to `/v1/callbacks`.
//!
//! Each maker has a body of its own ([`readers`]), as JSON or as a form with JSON in it. A receipt is known by the message's
//! id, which goes with each push as the parameter that comes back, and by the phone's address. What comes is written down
//! together, a few times a second at most, and answered when it is durable, since some makers tell nothing twice.

mod readers;
mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tidings_model::{AppId, MsgId, UnixMillis};
use tidings_store::{Receipt, Said, Store, StoreError};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::error;

use crate::api::metrics::ReceiptCounts;

pub(crate) use readers::{Reader, honor, huawei, meizu, oppo, vivo, xiaomi};
pub(crate) use signature::{SIGNATURE, is_signed};

/// Bytes of one call: some ten thousand receipts.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Objects and lists in one body, far more than a maker writes: each is some hundred bytes once it is read.
const ENTRIES_MAX: usize = 25_000;
/// Receipts that wait to be written, some 6 MB; above them a call is answered 503, and the maker comes again.
const WAITING_MAX: usize = 40_000;
/// Of one app while more than one call of it waits, so that it keeps no other app's out.
const OF_ONE_APP_MAX: usize = WAITING_MAX / 4;
/// Bytes of an address; longer ones are nobody's.
const TOKEN_BYTES_MAX: usize = 512;
/// How long what comes is gathered, so that there are at most so many transactions a second.
const GATHER: Duration = Duration::from_millis(250);

/// What one entry of a body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at: Option<UnixMillis>,
    /// None: it does not say, or says something that is no id of ours.
    pub(crate) message: Option<MsgId>,
    /// None for a number that is not known, or that asks for nothing.
    pub(crate) said: Option<Said>,
    pub(crate) tokens: Vec<String>,
}

/// The JSON of a body, wherever it stands: the whole of it, or a field of a form. None when there is none, or one of more than
/// [`ENTRIES_MAX`].
pub(crate) fn json(body: &[u8]) -> Option<Value> {
    let begin = |byte: &&u8| matches!(**byte, b'{' | b'[');
    if body.iter().filter(begin).count() > ENTRIES_MAX {
        return None;
    }
    let structured = |value: &Value| value.is_object() || value.is_array();
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value).filter(structured);
    }
    let fields = form_urlencoded::parse(body);
    let few = |text: &str| text.as_bytes().iter().filter(begin).count() <= ENTRIES_MAX;
    let fields = fields.filter(|(_, value)| few(value));
    let mut values = fields.filter_map(|(_, value)| serde_json::from_str(&value).ok());
    values.find(structured)
}

/// Receipts that wait to be written together.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Those who want to know when theirs are durable.
    callers: Vec<oneshot::Sender<()>>,
    /// Somebody is about to write what waits.
    is_led: bool,
    of_apps: HashMap<AppId, usize>,
    receipts: Vec<Receipt>,
}

/// Why receipts have not been taken; nothing of them has been written.
#[derive(Debug)]
pub(crate) enum NotTaken {
    Failed,
    Full,
}

impl Intake {
    /// Writes receipts of one app down with those that others bring meanwhile: durable on return.
    pub(crate) async fn take(
        self: &Arc<Self>,
        store: &Arc<Store>,
        receipts: Vec<Receipt>,
        counts: &Arc<ReceiptCounts>,
    ) -> Result<(), NotTaken> {
        let Some(app) = receipts.first().map(|receipt| receipt.app) else {
            return Ok(());
        };
        let (done, end) = oneshot::channel();
        let leads = {
            let mut waiting = self.lock();
            let of_app = waiting.of_apps.get(&app).copied().unwrap_or(0);
            let is_too_much = of_app > 0 && of_app + receipts.len() > OF_ONE_APP_MAX;
            if is_too_much || waiting.receipts.len() + receipts.len() > WAITING_MAX {
                return Err(NotTaken::Full);
            }
            waiting.of_apps.insert(app, of_app + receipts.len());
            waiting.receipts.extend(receipts);
            waiting.callers.push(done);
            !std::mem::replace(&mut waiting.is_led, true)
        };
        if leads {
            let (intake, store, counts) = (Arc::clone(self), Arc::clone(store), Arc::clone(counts));
            // By itself: this caller may go away, and the others are waiting.
            tokio::spawn(async move {
                sleep(GATHER).await;
                intake.write(&store, &counts).await;
            });
        }
        end.await.map_err(|_| NotTaken::Failed)
    }

    async fn write(&self, store: &Store, counts: &ReceiptCounts) {
        let Waiting {
            callers, receipts, ..
        } = std::mem::take(&mut *self.lock());
        match store.add_receipts(receipts).await {
            Ok(unknown) => {
                for (provider, count) in unknown {
                    counts.count(provider, "unknown", count);
                }
                for caller in callers {
                    // It may have gone away.
                    let _ = caller.send(());
                }
            }
            Err(StoreError::Closed) => {}
            Err(error) => error!(%error, "receipts are not written down"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::Provider;
    use tidings_store::SealKey;
    use tokio::time::timeout;

    use super::*;

    fn receipts(count: usize) -> Vec<Receipt> {
        receipts_of(AppId(1), count)
    }

    fn receipts_of(app: AppId, count: usize) -> Vec<Receipt> {
        let receipt = Receipt {
            app,
            at: None,
            message: MsgId(1),
            provider: Provider::Huawei,
            said: Said::Delivered,
            token: "token".into(),
        };
        vec![receipt; count]
    }

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let data = tempfile::TempDir::new().expect("a directory");
        let key = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let store = Store::open(data.path(), key).expect("opens");
        (data, Arc::new(store))
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_keeps_no_other_waiting() {
        let (_data, store) = store();
        let (intake, counts) = (Arc::<Intake>::default(), Arc::default());
        let gone = intake.take(&store, receipts(1), &counts);
        let gone = timeout(Duration::from_millis(10), gone).await;
        assert!(gone.is_err(), "it had not been answered");
        let next = intake.take(&store, receipts(1), &counts);
        let next = timeout(Duration::from_secs(60), next).await;
        assert!(matches!(next, Ok(Ok(()))), "{next:?}");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_written_together() {
        let (_data, store) = store();
        let (intake, counts) = (Arc::<Intake>::default(), Arc::default());
        let too_many = intake.take(&store, receipts(WAITING_MAX + 1), &counts);
        assert!(matches!(too_many.await, Err(NotTaken::Full)));
        let (one, same, other, third) = tokio::join!(
            intake.take(&store, receipts(WAITING_MAX - 1), &counts),
            intake.take(&store, receipts(1), &counts),
            intake.take(&store, receipts_of(AppId(2), 1), &counts),
            intake.take(&store, receipts_of(AppId(3), 1), &counts),
        );
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        assert!(
            matches!(same, Err(NotTaken::Full)),
            "there is room for others"
        );
        assert!(matches!(third, Err(NotTaken::Full)), "nothing more waits");
        // With room again it goes on.
        let again = intake.take(&store, receipts(1), &counts).await;
        assert!(again.is_ok(), "{again:?}");
    }

    #[test]
    fn a_body_of_too_many_entries_is_not_read() {
        let body = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
        assert!(json(body(ENTRIES_MAX - 1).as_bytes()).is_some());
        assert!(json(body(ENTRIES_MAX).as_bytes()).is_none());
        let form = |body: &str| format!("data={}", body.replace(',', "%2C"));
        assert!(json(form(&body(2)).as_bytes()).is_some());
        assert!(json(form(&body(ENTRIES_MAX)).as_bytes()).is_none());
    }
}
