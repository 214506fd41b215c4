//! An app's lane to a provider: takes pages out, hands them to the brokers, keeps book, and settles them.
//!
//! One task owns it all. Whatever waits for the store runs beside it as a job, so that answers are taken meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_broker::Settled;
use tidings_model::{AppId, DeviceId, Message, Platform, Provider, UnixMillis};
use tidings_store::limits::PAGE_MAX;
use tidings_store::{Answer, NewPage, OpenTask, Page, PageKey, Scope, StoreError, Target};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, error};

use super::limits::{FLUSH_EVERY, IDLE, LEASE, SETTLED_AT_ONCE, STORE_PAUSE, UNANSWERED_MAX};
use super::page::{End, OutPage, Tag};
use super::senders::{Note, Senders};
use super::{Context, Signal};

const PROVIDER: Provider = Provider::Apns;

pub(super) struct Feeder {
    app: AppId,
    context: Arc<Context>,
    draining: watch::Receiver<Option<Instant>>,
    flushing: bool,
    jobs: JoinSet<Done>,
    leasing: bool,
    /// Pages that a dead process left, to be sent again but for what it flushed.
    left: Vec<Page>,
    /// Whether there may be a page to take out.
    more: bool,
    next_page: u64,
    pages: HashMap<u64, OutPage>,
    senders: Senders,
    signal: Arc<Signal>,
    /// The brokers were told to stop.
    stopping: bool,
    /// Deliveries that are out.
    unanswered: usize,
}

/// What a job gave.
enum Done {
    Flushed,
    /// A page that is ours now, or none when there is nothing to take out.
    Leased(Option<Leased>),
    /// The store failed; it was logged, and waited for. The page is still to be taken again, if it was one of those left.
    LeaseFailed(Option<Page>),
    /// A page, and whether the store has it.
    Settled(u64, bool),
}

struct Leased {
    answered: Vec<Answer>,
    key: PageKey,
    message: Arc<Message>,
    targets: Vec<Target>,
}

impl Feeder {
    pub(super) fn new(
        context: Arc<Context>,
        app: AppId,
        signal: Arc<Signal>,
        draining: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            app,
            context,
            draining,
            flushing: false,
            jobs: JoinSet::new(),
            leasing: false,
            left: Vec::new(),
            more: true,
            next_page: 0,
            pages: HashMap::new(),
            senders: Senders::default(),
            signal,
            stopping: false,
            unanswered: 0,
        }
    }

    /// Runs until there has been nothing to do for long, or until drained.
    pub(super) async fn run(mut self, left: Vec<Page>) {
        self.left = left;
        self.load_credentials().await;
        let mut settled: Vec<Settled<Tag>> = Vec::with_capacity(SETTLED_AT_ONCE);
        let mut tick = interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.lease();
            let idle = self.pages.is_empty()
                && self.jobs.is_empty()
                && self.senders.news(self.app).is_empty();
            if self.stopping && self.jobs.is_empty() && self.senders.is_empty() {
                break;
            }
            tokio::select! {
                () = self.senders.settled(&mut settled) => self.take(&mut settled),
                Some(done) = self.jobs.join_next() => self.done(done).await,
                _ = tick.tick(), if !idle => self.keep_book().await,
                () = self.signal.changed.notified(), if !self.stopping => {
                    self.more = true;
                    if self.signal.take_credential_changed() {
                        self.load_credentials().await;
                    }
                }
                _ = self.draining.changed(), if !self.stopping => self.stop(),
                () = sleep(IDLE), if idle => break,
            }
        }
        // What was answered last has not been flushed if no tick came since.
        self.flush();
        while let Some(done) = self.jobs.join_next().await {
            self.done(done).await;
        }
    }

    async fn load_credentials(&mut self) {
        let mut orphans = Vec::new();
        while let Err(error) = self
            .senders
            .load(&self.context, self.app, &mut orphans)
            .await
        {
            error!(app = self.app.0, error = %format!("{error:#}"), "cannot read the app's credentials");
            if self.draining.borrow().is_some() {
                break;
            }
            // A change is seen by the loop, too.
            tokio::select! {
                () = sleep(STORE_PAUSE) => {}
                _ = self.draining.wait_for(Option::is_some) => {}
            }
        }
        for orphan in orphans {
            self.answer(orphan.tag, End::NoCredential, 0, UnixMillis::now());
        }
    }

    /// Takes out the next page if there is room for one.
    fn lease(&mut self) {
        if self.leasing
            || !self.more
            || self.stopping
            || self.unanswered + PAGE_MAX > UNANSWERED_MAX
        {
            return;
        }
        self.leasing = true;
        // A signal that comes while the store is asked sets it again.
        self.more = !self.left.is_empty();
        let (context, app, left) = (Arc::clone(&self.context), self.app, self.left.pop());
        self.jobs.spawn(async move {
            let leased = match &left {
                Some(page) => take_again(&context, page).await.map(Some),
                None => take_next(&context, app).await,
            };
            match leased {
                Ok(leased) => Done::Leased(leased),
                Err(error) => {
                    error!(%error, app = app.0, "cannot take out a page");
                    sleep(STORE_PAUSE).await;
                    Done::LeaseFailed(left)
                }
            }
        });
    }

    async fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Flushed) => self.flushing = false,
            Ok(Done::Leased(leased)) => {
                self.leasing = false;
                if let Some(leased) = leased {
                    self.more = true;
                    self.send(leased).await;
                }
            }
            Ok(Done::LeaseFailed(page)) => {
                self.leasing = false;
                self.more = true;
                self.left.extend(page);
            }
            Ok(Done::Settled(number, true)) => drop(self.pages.remove(&number)),
            Ok(Done::Settled(number, false)) => {
                if let Some(page) = self.pages.get_mut(&number) {
                    page.settling = false;
                }
            }
            // It cannot be said which it was, so the lane cannot go on.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn send(&mut self, leased: Leased) {
        if self.stopping {
            return; // It is leased: the next process takes it over.
        }
        let number = self.next_page;
        self.next_page += 1;
        let Leased {
            answered,
            key,
            message,
            targets,
        } = leased;
        self.unanswered += targets.len();
        let page = OutPage::new(key, Arc::clone(&message), targets, answered);
        let page = self.pages.entry(number).or_insert(page);
        let without = self.senders.queue(&message, number, &page.targets).await;
        let now = UnixMillis::now();
        for (index, end) in without {
            let tag = Tag {
                index,
                page: number,
            };
            self.answer(tag, end, 0, now);
        }
        self.settle(number);
    }

    fn take(&mut self, settled: &mut Vec<Settled<Tag>>) {
        let now = UnixMillis::now();
        let mut touched = Vec::new();
        for Settled {
            tag,
            result,
            attempts,
            id,
            provider_id,
            ..
        } in settled.drain(..)
        {
            if let Some(provider_id) = provider_id {
                debug!(delivery = %id, provider_id = %provider_id, "the provider took delivery {id} as {provider_id}");
            }
            let end = End::from(result);
            // A stopping broker gives back what it did not finish: that is not how it ended.
            if self.stopping && matches!(end, End::NotSent | End::Unanswered) {
                continue;
            }
            self.answer(tag, end, attempts, now);
            if touched.last() != Some(&tag.page) {
                touched.push(tag.page);
            }
        }
        for number in touched {
            self.settle(number);
        }
    }

    fn answer(&mut self, tag: Tag, end: End, attempts: u32, now: UnixMillis) {
        if let Some(page) = self.pages.get_mut(&tag.page) {
            page.answer(tag.index, end, attempts, now);
            self.unanswered -= 1;
        }
    }

    /// Settles a page if all of it is answered.
    fn settle(&mut self, number: u64) {
        let Some(page) = self
            .pages
            .get_mut(&number)
            .filter(|page| page.is_complete() && !page.settling)
        else {
            return;
        };
        let key = page.key;
        let (senders, now) = (&self.senders, Instant::now());
        let (answers, removals) = page.settle(|environment| senders.condemns(environment, now));
        let (app, context) = (self.app, Arc::clone(&self.context));
        self.jobs.spawn(async move {
            // APNs is Apple's: whatever the device, its platform is.
            let settled = context.store.settle_page(context.owner, key, Platform::Ios, answers, removals).await;
            match settled {
                Ok(Some(lost)) => {
                    context.tell_lost(app, &lost);
                    Done::Settled(number, true)
                }
                Ok(None) => {
                    error!(msg_id = %key.message, "a page was taken over by another while it was out");
                    Done::Settled(number, true)
                }
                Err(error) => {
                    error!(%error, msg_id = %key.message, "cannot settle a page");
                    sleep(STORE_PAUSE).await;
                    Done::Settled(number, false)
                }
            }
        });
    }

    /// What is done every tick while something is out.
    async fn keep_book(&mut self) {
        self.flush();
        let unsettled: Vec<u64> = self.pages.keys().copied().collect();
        for number in unsettled {
            self.settle(number);
        }
        for note in self.senders.news(self.app) {
            let Note {
                as_of,
                rejected,
                slot,
            } = note.clone();
            match self
                .context
                .store
                .note_credential(slot, rejected, as_of)
                .await
            {
                // Another credential that was set meanwhile is announced.
                Ok(_) => self.senders.noted(note),
                Err(error) => error!(%error, app = self.app.0, "cannot note a credential's state"),
            }
        }
    }

    /// Remembers what has been answered. One at a time, so that an older state never overtakes a newer.
    fn flush(&mut self) {
        if self.flushing {
            return;
        }
        let now = Instant::now();
        let (mut pages, mut removals) = (Vec::new(), Vec::new());
        for page in self.pages.values_mut() {
            if let Some((key, answers, dead)) = page.flush(now) {
                pages.push((key, answers));
                removals.extend(dead);
            }
        }
        if pages.is_empty() {
            return;
        }
        self.flushing = true;
        let (app, context) = (self.app, Arc::clone(&self.context));
        self.jobs.spawn(async move {
            let until = UnixMillis::now().plus(LEASE);
            let flushed = context
                .store
                .flush_pages(context.owner, until, pages, removals);
            match flushed.await {
                Ok(lost) => context.tell_lost(app, &lost),
                Err(error) => error!(%error, "cannot remember what has been answered"),
            }
            Done::Flushed
        });
    }

    fn stop(&mut self) {
        let deadline = *self.draining.borrow();
        let within = deadline.map_or(std::time::Duration::ZERO, |deadline| {
            deadline - Instant::now()
        });
        self.stopping = true;
        self.senders.stop(within);
    }
}

/// The next page of the oldest open message.
async fn take_next(context: &Context, app: AppId) -> Result<Option<Leased>, StoreError> {
    let store = &context.store;
    loop {
        let Some(OpenTask { after, message }) = store.next_task(app, PROVIDER).await? else {
            return Ok(None);
        };
        let targets = match Scope::of(&message, PROVIDER) {
            Some(scope) => store.targets(&scope, after, PAGE_MAX).await?,
            None => Vec::new(),
        };
        let ends = (targets.first(), targets.last());
        let (Some(first), Some(last)) = ends else {
            store.finish_task(message.id, PROVIDER).await?;
            continue;
        };
        let key = PageKey {
            first: first.device,
            message: message.id,
            provider: PROVIDER,
        };
        let last: DeviceId = last.device;
        let new = NewPage {
            count: targets.len(),
            ends_task: targets.len() < PAGE_MAX,
            key,
            last,
        };
        store
            .lease_page(new, context.owner, UnixMillis::now().plus(LEASE))
            .await?;
        return Ok(Some(Leased {
            answered: Vec::new(),
            key,
            message: Arc::new(message),
            targets,
        }));
    }
}

/// A page that a dead process had out: the devices of its range that it has no answer of.
async fn take_again(context: &Context, page: &Page) -> Result<Leased, StoreError> {
    let key = page.key;
    let message = context.store.message(key.message).await?;
    let message =
        message.ok_or_else(|| StoreError::Stored(format!("message {} of a page", key.message)))?;
    let mut targets = match Scope::of(&message, PROVIDER) {
        Some(scope) => {
            context
                .store
                .targets_between(&scope, key.first, page.last, PAGE_MAX)
                .await?
        }
        None => Vec::new(),
    };
    // Both are in the order of the devices.
    targets.retain(|target| {
        page.answered
            .binary_search_by_key(&target.device, |answer| answer.device)
            .is_err()
    });
    Ok(Leased {
        answered: page.answered.clone(),
        key,
        message: Arc::new(message),
        targets,
    })
}
