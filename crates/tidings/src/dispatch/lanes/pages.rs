//! A lane that goes by pages, for any provider: takes pages out, has them sent, keeps book, and settles them.
//!
//! One task owns it all. Whatever waits for the store runs beside it as a job, so that answers are taken meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Failure, Settled};
use tidings_model::{Outcome, Reason, UnixMillis};
use tidings_providers::Cause;
use tidings_store::{
    Class, End, Ending, Flushed, LaneKey, LeasedPage, OpenPage, PageKey, Room, StoreError, Tried,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use super::book::{Book, Came, Tag};
use super::recalled::Recalled;
use crate::dispatch::carrier::{Unsent, tried};
use crate::dispatch::cut::CutSignal;
use crate::dispatch::limits::{
    FLUSH_EVERY, IDLE, LEASE, LEASE_MARGIN, LONG_AT_ONCE, NOTE_EVERY, REMOVED_GRACE,
    SETTLED_AT_ONCE, STORE_PAUSE,
};
use crate::dispatch::senders::{self, Note, Sender, Used};
use crate::dispatch::suspects::Suspects;
use crate::dispatch::{Context, Signal, Wakes};

const CREDENTIAL_REJECTED: Reason = Reason::known("CredentialRejected");
const NO_CREDENTIAL: Reason = Reason::known("NoCredential");
const PANICKED: Reason = Reason::known("PagePanicked");
const UNANSWERED: Reason = Reason::known("Unanswered");
const UNWRITTEN: Reason = Reason::known("UnwrittenPage");
const UNREADABLE: Reason = Reason::known("UnreadablePage");

pub(in crate::dispatch) struct Lane {
    book: Book,
    context: Arc<Context>,
    cutter: Arc<CutSignal>,
    draining: watch::Receiver<Option<Instant>>,
    flush_at: Instant,
    flushing: bool,
    /// Of these the last flush was, one by one, since something of one before can never be written down.
    flushing_alone: Option<Vec<PageKey>>,
    jobs: JoinSet<Done>,
    key: LaneKey,
    leasing: bool,
    /// There may be long pages, or stragglers that are due, to take out; short ones.
    more_long: bool,
    more_short: bool,
    /// When the first of the stragglers is due.
    next_due: Option<Instant>,
    note_at: Instant,
    noting: bool,
    /// What has left for devices that have changed since.
    recalled: Arc<Recalled>,
    renewing: bool,
    sender: Option<Sender>,
    /// Room for so many of short messages is needed for the next of them.
    short_min: usize,
    signal: Arc<Signal>,
    /// The sender was told to stop, and nothing is taken out any more.
    stopping: bool,
    suspects: Arc<Suspects>,
    /// Something has been heard that may say how the credential stands.
    unnoted: bool,
    /// What has been answered could not be written down.
    unwritten: bool,
    wakes: Arc<Wakes>,
}

/// What a job gave.
enum Done {
    /// A page that cannot be read has been ended, as far as that could be.
    Failed(Vec<LaneKey>),
    Flushed(Result<Flushed, StoreError>),
    Leased(Result<Leased, StoreError>),
    Noted(Option<Note>),
    Renewed {
        asked: Vec<(PageKey, i64)>,
        renewed: Result<Vec<(PageKey, i64)>, StoreError>,
        since: Instant,
    },
}

struct Leased {
    ahead: usize,
    ends: Instant,
    more_long: bool,
    more_short: bool,
    next_due: Option<UnixMillis>,
    opened: Vec<(LeasedPage, Result<OpenPage, StoreError>)>,
    room: Room,
}

/// Why a delivery comes back that has not ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    /// Its credential is gone.
    NoCredential,
    /// It is to go on later.
    Waits,
}

impl Lane {
    pub(in crate::dispatch) fn new(
        context: Arc<Context>,
        key: LaneKey,
        signal: Arc<Signal>,
        cutter: Arc<CutSignal>,
        wakes: Arc<Wakes>,
        suspects: Arc<Suspects>,
        draining: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            book: Book::new(key),
            context,
            cutter,
            draining,
            flush_at: now,
            flushing: false,
            flushing_alone: None,
            jobs: JoinSet::new(),
            key,
            leasing: false,
            more_long: true,
            more_short: true,
            next_due: None,
            note_at: now,
            noting: false,
            recalled: Arc::default(),
            renewing: false,
            sender: None,
            short_min: 1,
            signal,
            stopping: false,
            suspects,
            unnoted: false,
            unwritten: false,
            wakes,
        }
    }

    /// Runs until there has been nothing to do for long, or until drained, or until its app is forgotten.
    pub(in crate::dispatch) async fn run(mut self) {
        self.load_credential().await;
        let mut settled: Vec<Settled<Tag>> = Vec::with_capacity(SETTLED_AT_ONCE);
        while !self.signal.is_forgotten() {
            let now = Instant::now();
            self.book.rest();
            self.hold_overdue(now);
            self.hold_changed();
            self.lease(now);
            self.flush(now);
            self.renew(now);
            self.note(now);
            let has_ended = self.sender.is_none() && self.jobs.is_empty();
            if self.stopping && has_ended && !self.book.is_dirty() {
                return;
            }
            let idle = self.book.is_empty() && self.jobs.is_empty();
            let wake_at = self.wake_at();
            tokio::select! {
                () = settle(&mut self.sender, &mut settled) => self.take(&mut settled).await,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(done).await,
                    // It cannot be said which it was, so the lane cannot go on.
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
                () = self.signal.news.notified() => {}
                () = self.signal.changed.notified() => {
                    (self.more_long, self.more_short) = (true, true);
                    if self.signal.take_credential_changed() && !self.stopping {
                        self.load_credential().await;
                    }
                }
                _ = self.draining.changed(), if !self.stopping => self.stop(now),
                () = sleep(IDLE), if idle && !self.stopping => return,
            }
        }
    }

    /// When there is something to do that nothing tells of.
    fn wake_at(&self) -> Option<Instant> {
        let flush_at = (self.book.is_dirty() && !self.flushing).then_some(self.flush_at);
        let due_at = self.next_due.filter(|_| !self.stopping && !self.leasing);
        // Leases are looked after, and what the credential's record should say.
        let looks = !self.book.is_empty() || self.unnoted;
        let note_at = (looks && !self.noting).then_some(self.note_at);
        [flush_at, due_at, note_at].into_iter().flatten().min()
    }

    async fn load_credential(&mut self) {
        let before = self.sender.as_ref().map(Sender::changes);
        loop {
            let loaded = senders::load(&mut self.sender, &self.context, self.key, &self.recalled);
            match loaded.await {
                Ok(None) => {
                    if self.sender.as_ref().map(Sender::changes) != before {
                        // What was said of tokens under another credential says nothing under this one.
                        self.book.forget_doubts();
                    }
                    return;
                }
                Ok(Some(gone)) => {
                    let ended = gone.end(REMOVED_GRACE).await;
                    let now = self.context.clock.now();
                    for settled in ended {
                        self.came(settled, Back::NoCredential, now);
                    }
                    return;
                }
                Err(error) => {
                    error!(app = self.key.app.0, error = %format!("{error:#}"), "cannot read the app's credentials");
                    if self.draining.borrow().is_some() {
                        return;
                    }
                    // A change is seen by the loop, too.
                    tokio::select! {
                        () = sleep(STORE_PAUSE) => {}
                        _ = self.draining.wait_for(Option::is_some) => {}
                    }
                }
            }
        }
    }

    /// What may be another's by now is sent no more. What has been answered of it is written down if it is not.
    fn hold_overdue(&mut self, now: Instant) {
        let overdue = self.book.overdue(now);
        if overdue.is_empty() {
            return;
        }
        warn!(
            app = self.key.app.0,
            pages = overdue.len(),
            "pages were out for longer than they were leased: what of them has not been sent goes later"
        );
        let unsent = match &self.sender {
            Some(sender) => sender.withdraw(|tag| overdue.contains(&tag.page)),
            None => Vec::new(),
        };
        let now = self.context.clock.now();
        for settled in unsent {
            self.came(settled, Back::Waits, now);
        }
    }

    /// What has not left for a device that has changed is taken back: its token may be another's by now.
    fn hold_changed(&mut self) {
        // Where the devices of pages that are being taken out are reached may have been read before.
        if self.leasing {
            return;
        }
        let changed = self.signal.take_devices();
        if self.book.is_empty() {
            self.signal.hear_of_devices(false);
            return;
        }
        let tags = match changed.is_empty() {
            true => return,
            false => self.book.of_devices(&changed),
        };
        let unsent = match &self.sender {
            Some(sender) if !tags.is_empty() => {
                // Before: what comes back meanwhile is to be found in it.
                self.recalled.add(tags.iter().copied());
                sender.withdraw(|tag| tags.contains(tag))
            }
            Some(_) | None => return,
        };
        for settled in unsent {
            let tried = tried(settled.progress);
            self.recalled.remove(&settled.tag);
            self.book.came_again(settled.tag, tried);
        }
    }

    fn withdraw(&self, pages: &[u64]) {
        if let Some(sender) = &self.sender
            && !pages.is_empty()
        {
            sender.withdraw(|tag| pages.contains(&tag.page));
        }
    }

    /// Takes pages out, if there may be some and there is room.
    fn lease(&mut self, now: Instant) {
        if self.next_due.is_some_and(|due| due <= now) {
            self.next_due = None;
            self.more_long = true;
        }
        let room = self.book.room();
        let wanted = (self.more_short && room.short >= self.short_min)
            || (self.more_long && room.long >= LONG_AT_ONCE);
        if !wanted || room.pages == 0 || self.leasing || self.stopping {
            return;
        }
        // What is sent and cannot be written down would be sent again.
        if self.unwritten {
            return;
        }
        if self.sender.as_ref().is_some_and(Sender::is_held_up) {
            return;
        }
        self.leasing = true;
        self.signal.hear_of_devices(true);
        // A signal that comes while the store is asked sets them again.
        (self.more_long, self.more_short) = (false, false);
        let (store, key) = (Arc::clone(&self.context.store), self.key);
        let known = self.book.messages();
        let due = self.context.clock.now();
        self.jobs.spawn(async move {
            let ends = Instant::now() + LEASE - LEASE_MARGIN;
            let leased = async {
                let leased = store.lease(key, room, LEASE, due).await?;
                let opened = match leased.pages.is_empty() {
                    true => Vec::new(),
                    false => store.open_pages(leased.pages, known).await?,
                };
                Ok(Leased {
                    ahead: leased.ahead,
                    ends,
                    more_long: leased.more_long,
                    more_short: leased.more_short,
                    next_due: leased.next_due,
                    opened,
                    room,
                })
            };
            let leased = leased.await;
            if leased.is_err() {
                sleep(STORE_PAUSE).await;
            }
            Done::Leased(leased)
        });
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Failed(lanes) => self.wakes.wake(lanes),
            Done::Flushed(flushed) => {
                self.flushing = false;
                self.flushed(flushed);
            }
            Done::Leased(leased) => {
                self.leasing = false;
                match leased {
                    Ok(leased) => self.leased(leased).await,
                    Err(error) => {
                        error!(%error, app = self.key.app.0, "cannot take out pages");
                        (self.more_long, self.more_short) = (true, true);
                    }
                }
            }
            Done::Noted(note) => {
                self.noting = false;
                if let (Some(note), Some(sender)) = (note, &mut self.sender) {
                    sender.noted(note);
                }
            }
            Done::Renewed {
                asked,
                renewed,
                since,
            } => {
                self.renewing = false;
                match renewed {
                    Ok(renewed) => {
                        let lost = self.book.renewed(&asked, &renewed, since);
                        self.withdraw(&lost);
                    }
                    Err(error) => {
                        error!(%error, "cannot prolong the leases of pages");
                        self.unheard(&error);
                    }
                }
            }
        }
    }

    async fn leased(&mut self, leased: Leased) {
        self.more_long |= leased.more_long;
        self.more_short |= leased.more_short;
        let mut opened = leased.opened.iter();
        let got_short = opened.any(|(page, _)| page.class == Class::Short);
        // The next is as large as that: asking again before there is more room would be in vain.
        self.short_min = match leased.more_short && !got_short {
            true => leased.room.short + 1,
            false => 1,
        };
        let now = self.context.clock.now();
        self.next_due = leased
            .next_due
            .map(|due| Instant::now() + due.since(now) + Duration::from_millis(1));
        self.cutter.heard(self.key.environment, leased.ahead);
        if self.stopping {
            return; // They are leased: at the next opening they are ready again.
        }
        for (page, opened) in leased.opened {
            match opened {
                Ok(_) if self.suspects.is_condemned(&page.key) => {
                    error!(msg_id = %page.key.message, first = page.key.first.0, "a page made its lane panic twice: it is ended");
                    self.end(page.key, page.lease, PANICKED);
                }
                Ok(open) => self.send(page, open, leased.ends, now).await,
                Err(error) => self.unreadable(&page, &error),
            }
        }
    }

    async fn send(&mut self, page: LeasedPage, open: OpenPage, ends: Instant, now: UnixMillis) {
        let taken = self.book.take(page, open, ends, now);
        self.withdraw(taken.replaced.as_slice());
        if taken.outgoing.is_empty() {
            return;
        }
        let unsent = match &mut self.sender {
            Some(sender) => sender.queue(taken, now).await,
            None => {
                let outgoing = taken.outgoing.into_iter();
                outgoing
                    .map(|outgoing| (outgoing.tag, Unsent::Never(NO_CREDENTIAL)))
                    .collect()
            }
        };
        for (tag, unsent) in unsent {
            let came = match unsent {
                Unsent::Never(reason) => Came::Left(End {
                    at: now,
                    attempts: 0,
                    ending: Ending::Failed,
                    reason: Some(reason),
                }),
                Unsent::NotNow(tried) => Came::Waits { due: None, tried },
            };
            self.book.came(tag, came);
        }
    }

    /// A page that cannot be read fails, and keeps nothing else from going.
    fn unreadable(&mut self, page: &LeasedPage, error: &StoreError) {
        let key = page.key;
        error!(%error, msg_id = %key.message, first = key.first.0, "a page cannot be read");
        match error {
            StoreError::Panicked(_) => {
                self.suspects.accuse(key);
                if self.suspects.is_condemned(&key) {
                    self.end(key, page.lease, PANICKED);
                }
            }
            error if error.is_lasting() => self.end(key, page.lease, UNREADABLE),
            _ => {} // Another time: when its lease is over.
        }
    }

    /// Ends a page that is out.
    fn end(&mut self, key: PageKey, lease: i64, reason: Reason) {
        let store = Arc::clone(&self.context.store);
        self.jobs.spawn(async move {
            let failed = store.fail_page(key, lease, reason).await;
            Done::Failed(failed.unwrap_or_else(|error| {
                error!(%error, msg_id = %key.message, "cannot end a page that cannot be sent or written down");
                Vec::new()
            }))
        });
    }

    async fn take(&mut self, settled: &mut Vec<Settled<Tag>>) {
        if let Some(sender) = &mut self.sender {
            sender.hear(settled, Instant::now());
            self.unnoted = true;
            if sender.has_ended() {
                self.sender = None;
                if !self.stopping {
                    error!(app = self.key.app.0, lane = %senders::name(self.key), "a lane's sender ended by itself: it gets another");
                    self.book.lose();
                    self.load_credential().await;
                }
            }
        }
        let now = self.context.clock.now();
        for settled in settled.drain(..) {
            self.came(settled, Back::Waits, now);
        }
    }

    /// Enters what became of a delivery by `now`. `back` says what it means that it has not ended.
    fn came(&mut self, settled: Settled<Tag>, back: Back, now: UnixMillis) {
        let Settled {
            attempts,
            id,
            progress,
            provider_id,
            result,
            tag,
            token,
            ..
        } = settled;
        let is_recalled = self.recalled.remove(&tag);
        if let Some(provider_id) = provider_id {
            debug!(delivery = %id, provider_id = %provider_id, "the provider took delivery {id} as {provider_id}");
        }
        let end = |ending, reason| End {
            at: now,
            attempts,
            ending,
            reason,
        };
        let unanswered = progress.unanswered;
        let tried = tried(progress);
        let not_ended = |due: Option<UnixMillis>, tried| match back {
            Back::Waits => Came::Waits { due, tried },
            // It may have been taken.
            Back::NoCredential if unanswered > 0 => {
                Came::Ended(end(Ending::Failed, Some(UNANSWERED)))
            }
            Back::NoCredential => Came::Left(end(Ending::Failed, Some(NO_CREDENTIAL))),
        };
        let came = match result {
            Ok(()) => Came::Ended(end(Ending::Accepted, None)),
            // Behind a credential that is rejected it waits for no time, and its turn is what it was. What the link had first it
            // has again.
            Err(Failure::Deferred { until: None })
                if unanswered == 0 && !is_recalled && self.book.is_link_first(tag) =>
            {
                Came::Shut {
                    due: None,
                    end: end(Ending::Failed, Some(CREDENTIAL_REJECTED)),
                    tried,
                }
            }
            Err(Failure::Deferred { until: None }) => not_ended(None, tried),
            Err(Failure::Deferred { until: Some(until) }) => {
                let wait = until.saturating_duration_since(std::time::Instant::now());
                not_ended(Some(now.plus(wait)), tried)
            }
            // There is another way, or another quota before its time is over.
            Err(Failure::QuotaSpent(spent)) if self.book.is_wanted_at(tag, spent.until) => {
                let due = Some(spent.until);
                match unanswered {
                    0 => Came::Shut {
                        due,
                        end: end(Ending::Failed, Some(spent.reason)),
                        tried,
                    },
                    _ => not_ended(due, tried),
                }
            }
            Err(Failure::QuotaSpent(spent)) if unanswered == 0 => {
                Came::Left(end(Ending::Failed, Some(spent.reason)))
            }
            Err(Failure::QuotaSpent(spent)) => Came::Ended(end(Ending::Failed, Some(spent.reason))),
            // Another way may still keep to its time.
            Err(Failure::NotSent(Cause::TooLate(reason))) => {
                let end = end(Ending::Expired, Some(reason));
                match unanswered {
                    0 => Came::Left(end),
                    _ => Came::Ended(end),
                }
            }
            Err(Failure::Expired { last }) => Came::Ended(end(Ending::Expired, last)),
            Err(Failure::GivenUp(outcome)) => {
                Came::Ended(end(Ending::Failed, outcome.reason().cloned()))
            }
            Err(Failure::NotSent(_) | Failure::Withdrawn) => not_ended(None, tried),
            Err(Failure::Refused(Outcome::Unregistered {
                certain,
                reason,
                since,
            })) => {
                let tried = Box::new(Tried {
                    last: Some(reason.clone()),
                    retries: attempts.saturating_sub(unanswered),
                    unanswered,
                });
                self.book
                    .remove(tag, reason.clone(), since, token.clone(), certain);
                Came::Dead {
                    end: end(Ending::Dropped, Some(reason)),
                    token,
                    tried,
                }
            }
            // An attempt that nobody answered may have been taken: another way could double it.
            Err(Failure::Refused(outcome @ Outcome::PayloadRejected { .. })) if unanswered == 0 => {
                Came::Left(end(Ending::Failed, outcome.reason().cloned()))
            }
            Err(Failure::Refused(outcome)) => {
                Came::Ended(end(Ending::Failed, outcome.reason().cloned()))
            }
            // A stop has cut it short; else there was silence too often.
            Err(Failure::Unanswered(_)) if self.stopping => not_ended(None, tried),
            Err(Failure::Unanswered(_)) => Came::Ended(end(Ending::Failed, Some(UNANSWERED))),
        };
        self.book.came(tag, came);
    }

    /// Writes down what has ended. One at a time, so that an older state never overtakes a newer.
    fn flush(&mut self, now: Instant) {
        if self.flushing || now < self.flush_at || !self.book.is_dirty() {
            return;
        }
        let condemns = self
            .sender
            .as_ref()
            .is_some_and(|sender| sender.guard.condemns(now));
        let alone = self.flushing_alone.is_some();
        let batch = self.book.flush(self.context.clock.now(), condemns, alone);
        if let Some(keys) = &mut self.flushing_alone {
            *keys = batch.pages.iter().map(|page| page.key).collect();
        }
        self.flushing = true;
        self.flush_at = now + FLUSH_EVERY;
        let store = Arc::clone(&self.context.store);
        self.jobs.spawn(async move {
            let flushed = store.flush(batch.pages, batch.removals).await;
            Done::Flushed(flushed)
        });
    }

    fn flushed(&mut self, flushed: Result<Flushed, StoreError>) {
        let flushed = match flushed {
            Ok(flushed) => flushed,
            Err(error) => {
                error!(%error, app = self.key.app.0, "cannot write down what has been answered");
                self.book.not_flushed();
                self.unwritten = true;
                self.unheard(&error);
                self.flush_at = Instant::now() + STORE_PAUSE;
                if error.is_lasting() {
                    self.never_written();
                }
                return;
            }
        };
        self.unwritten = false;
        let lost = self.book.flushed(&flushed);
        if self.book.take_again() {
            (self.more_long, self.more_short) = (true, true);
        }
        if !self.book.is_dirty() {
            self.flushing_alone = None;
        }
        if !lost.is_empty() {
            error!(
                app = self.key.app.0,
                pages = lost.len(),
                "pages were taken over by another while they were out"
            );
            self.withdraw(&lost);
        }
        if !flushed.inboxes.is_empty() {
            let link = &self.context.link;
            link.route_inbox(self.key.app, &flushed.inboxes);
        }
        self.wakes.wake(flushed.lanes);
    }

    /// Something of the last flush can never be written down: each page goes alone then, and one with which that happens again is
    /// ended, so that the others are written.
    fn never_written(&mut self) {
        let Some(alone) = &mut self.flushing_alone else {
            self.flushing_alone = Some(Vec::new());
            return;
        };
        match std::mem::take(alone).pop() {
            None => self.book.give_up_removal(),
            Some(key) => {
                self.suspects.accuse(key);
                if self.suspects.is_condemned(&key)
                    && let Some((number, lease)) = self.book.give_up(&key)
                {
                    self.withdraw(&[number]);
                    self.end(key, lease, UNWRITTEN);
                }
            }
        }
        self.unwritten = self.book.is_dirty();
    }

    /// The store has not taken what it was told. What is a fault of its own in that keeps no others' pages from being freed.
    fn unheard(&self, error: &StoreError) {
        if !error.is_lasting() {
            self.wakes.unheard();
        }
    }

    /// Prolongs the leases that end soon.
    fn renew(&mut self, now: Instant) {
        if self.renewing {
            return;
        }
        let pages = self.book.to_renew(now);
        if pages.is_empty() {
            return;
        }
        self.renewing = true;
        let store = Arc::clone(&self.context.store);
        self.jobs.spawn(async move {
            let renewed = store.renew_leases(pages.clone(), LEASE).await;
            if renewed.is_err() {
                sleep(STORE_PAUSE).await;
            }
            Done::Renewed {
                asked: pages,
                renewed,
                since: now,
            }
        });
    }

    /// Tells the store what is new of the credential.
    fn note(&mut self, now: Instant) {
        if self.noting || now < self.note_at {
            return;
        }
        self.note_at = now + NOTE_EVERY;
        let Some(note) = self.sender.as_mut().and_then(Sender::news) else {
            self.unnoted = false;
            return;
        };
        self.noting = true;
        let store = Arc::clone(&self.context.store);
        self.jobs.spawn(async move {
            let Note {
                as_of,
                rejected,
                slot,
                used,
            } = note.clone();
            // Another credential that was set meanwhile is announced.
            let noted = async {
                if let Some(rejected) = rejected {
                    store.note_credential(slot, rejected, as_of).await?;
                }
                if let Some(Used { accepted, spent }) = used {
                    store.note_use(slot, accepted, &spent, as_of).await?;
                }
                Ok::<_, StoreError>(())
            };
            let noted = noted.await;
            if let Err(error) = &noted {
                error!(%error, app = slot.app.0, "cannot note a credential's state");
                sleep(STORE_PAUSE).await;
            }
            Done::Noted(noted.is_ok().then_some(note))
        });
    }

    /// Has the sender settle what it can until the deadline; what it gives back is put back.
    fn stop(&mut self, now: Instant) {
        let deadline = *self.draining.borrow();
        let within = deadline.map_or(Duration::ZERO, |deadline| deadline - now);
        self.stopping = true;
        if let Some(sender) = &self.sender {
            sender.stop(within);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(page) = self.book.busy_with()
        {
            self.suspects.accuse(page);
        }
    }
}

async fn settle(sender: &mut Option<Sender>, into: &mut Vec<Settled<Tag>>) {
    match sender {
        Some(sender) => sender.settled(into).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tidings_store::Ledger;

    use super::*;
    use crate::dispatch::tests::Waiting;

    /// Takes out what there is and panics while it is busy with the first page.
    async fn panic_over_the_first(mut lane: Lane) {
        lane.lease(Instant::now());
        let leased = lane.jobs.join_next().await.expect("a job").expect("well");
        let Done::Leased(Ok(mut leased)) = leased else {
            panic!("leased");
        };
        leased.opened.truncate(1);
        lane.leased(leased).await;
        panic!("poison");
    }

    #[tokio::test]
    async fn what_is_put_away_behind_a_rejected_credential_waits_for_no_time() {
        let mut waiting = Waiting::new(1).await;
        waiting.cutter.step().await.expect("cut");
        let mut lane = waiting.lane();
        lane.lease(Instant::now());
        let leased = lane.jobs.join_next().await.expect("a job").expect("well");
        let Done::Leased(Ok(mut leased)) = leased else {
            panic!("leased");
        };
        let (page, open) = leased.opened.remove(0);
        let now = UnixMillis::now();
        let mut taken = lane.book.take(page, open.expect("read"), leased.ends, now);
        let outgoing = taken.outgoing.remove(0);
        let settled = Settled {
            token: "aa".into(),
            id: uuid::Uuid::nil(),
            tag: outgoing.tag,
            result: Err(Failure::Deferred { until: None }),
            attempts: 0,
            outdated: false,
            progress: tidings_broker::Progress::default(),
            provider_id: None,
        };
        lane.came(settled, Back::Waits, now);
        let batch = lane.book.flush(now, false, false);
        let rest = batch.pages[0].rest.as_ref().expect("nothing is out");
        assert_eq!(rest[0].due, None);
    }

    #[tokio::test]
    async fn a_page_with_which_a_lane_panics_twice_is_ended_and_the_others_go() {
        let mut waiting = Waiting::new(2).await;
        let [poison, good] = waiting.messages[..] else {
            panic!("two");
        };
        waiting.cutter.step().await.expect("cut");
        for _ in 0..2 {
            let lane = tokio::spawn(panic_over_the_first(waiting.lane()));
            assert!(lane.await.is_err());
            // As when the leases are over.
            waiting.damage(
                "UPDATE pages SET state = 1, lease = NULL, lease_until = NULL WHERE state = 2",
            );
        }
        let lane = tokio::spawn(waiting.lane().run());
        let reason = |ledger: &Ledger| {
            let reason = ledger.reasons.first();
            reason.map(|(_, _, reason, _)| reason.as_str().to_owned())
        };
        for (message, why) in [(poison, "PagePanicked"), (good, "NoCredential")] {
            let mut ledger = waiting.ledger(message).await;
            while ledger.total().failed == 0 {
                tokio::task::yield_now().await;
                ledger = waiting.ledger(message).await;
            }
            assert_eq!(reason(&ledger).as_deref(), Some(why));
        }
        lane.abort();
    }

    #[tokio::test]
    async fn what_can_never_be_written_down_of_one_page_keeps_no_other_waiting() {
        let mut waiting = Waiting::new(3).await;
        let [bad, others @ ..] = waiting.messages.as_slice() else {
            panic!("three");
        };
        waiting.cutter.step().await.expect("cut");
        waiting.damage(&format!(
            "CREATE TRIGGER no BEFORE UPDATE ON pages WHEN NEW.message = {bad} AND length(NEW.detail) > 0
             BEGIN SELECT RAISE(ABORT, 'no'); END"
        ));
        let lane = tokio::spawn(waiting.lane().run());
        for message in waiting.messages.iter().copied() {
            let mut ledger = waiting.ledger(message).await;
            while ledger.total().failed == 0 {
                tokio::task::yield_now().await;
                ledger = waiting.ledger(message).await;
            }
            let expected = match others.contains(&message) {
                true => "NoCredential",
                false => "UnwrittenPage",
            };
            let [(_, _, reason, 1)] = ledger.reasons.as_slice() else {
                panic!("{:?}", ledger.reasons);
            };
            assert_eq!(reason.as_str(), expected);
        }
        lane.abort();
    }
}
