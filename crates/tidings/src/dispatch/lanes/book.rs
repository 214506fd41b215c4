//! A lane's book: which pages are out, what has ended of each, and what of that is written down. No clock, no store, no
//! provider.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_model::{DeviceId, Environment, Message, MsgId, Reason, UnixMillis};
use tidings_store::{
    Address, Addressed, Class, Delta, End, Ending, Flushed, LaneKey, LeasedPage, Leaving, Member,
    OpenPage, PageFlush, PageKey, Progress, Removal, Rest, Room, Tried, Why,
};
use tokio::time::Instant;

use super::super::limits::{
    LEASE, LEASE_MARGIN, LEAVING_MAX, LONG_MAX, PAGES_MAX, REMOVALS_MAX, RENEW_BEFORE, SHORT_MAX,
    TOGETHER_MIN,
};

/// Which delivery of which page: travels through the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    pub(in crate::dispatch) index: usize,
    pub(in crate::dispatch) page: u64,
}

/// A delivery that is to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(in crate::dispatch) address: Address,
    pub(in crate::dispatch) tag: Tag,
    pub(in crate::dispatch) tried: Option<Box<Tried>>,
}

/// A page that was taken out: whose message is to be sent to whom.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(in crate::dispatch) message: Arc<Message>,
    pub(in crate::dispatch) outgoing: Vec<Outgoing>,
    /// The same page under a lease of before: what of it has not left is not to be sent.
    pub(in crate::dispatch) replaced: Option<u64>,
    /// Goes before what is long.
    pub(in crate::dispatch) urgent: bool,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Came {
    /// The provider calls the token dead that it was sent to. When the device holds another by now, it is sent to that, with
    /// `tried` behind it; else its way has ended.
    Dead {
        end: End,
        token: Box<str>,
        tried: Box<Tried>,
    },
    Ended(End),
    /// The way has ended before anybody took it: the device's next way gets it, or it ends so.
    Left(End),
    /// There is no going by the way for a time: the device's next way gets it, or it waits.
    Shut {
        due: Option<UnixMillis>,
        end: End,
        tried: Option<Box<Tried>>,
    },
    /// It has not ended; not before `due`, or as soon as there is a turn for it.
    Waits {
        due: Option<UnixMillis>,
        tried: Option<Box<Tried>>,
    },
}

/// What is to be written down.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Batch {
    pub(in crate::dispatch) pages: Vec<PageFlush>,
    pub(in crate::dispatch) removals: Vec<Removal>,
}

const GONE: Reason = Reason::known("device_deleted");
const SUPERSEDED: Reason = Reason::known("superseded");

pub(in crate::dispatch) struct Book {
    /// Some that have been put back are to be taken out at once.
    again: bool,
    /// The page that was touched last.
    busy_with: Option<PageKey>,
    key: LaneKey,
    /// Deliveries of pages that are out and have not come back.
    long: usize,
    next: u64,
    numbers: HashMap<PageKey, u64>,
    pages: HashMap<u64, OutPage>,
    /// Dead tokens that are still registered.
    removals: Vec<Removal>,
    /// So many of the removals are being written.
    removing: usize,
    short: usize,
}

/// What is known of a member's token.
#[derive(Clone, Copy)]
struct Known {
    /// The device said of what environment it is.
    is_named: bool,
    registered_at: UnixMillis,
}

struct OutPage {
    /// Some of those that wait go on at once, to where their devices are reached then.
    again: bool,
    class: Class,
    /// What the endings add that is not written down, nor being written.
    delta: Delta,
    /// How many have ended as the store has it.
    ended: usize,
    flushing: Option<Flushing>,
    /// Tokens that are dead if their provider can be believed.
    in_doubt: Vec<Removal>,
    /// Its lease has run out.
    is_overdue: bool,
    key: PageKey,
    /// Of those that were sent.
    known: Vec<Option<Known>>,
    lease: i64,
    lease_ends: Instant,
    leaving: Vec<Leave>,
    members: Arc<Vec<Member>>,
    message: Arc<Message>,
    /// Deliveries that have not come back.
    open: usize,
    progress: Progress,
    waiting: Vec<Waiting>,
}

/// A delivery whose way has ended, if it has.
struct Leave {
    /// Not before this, when it stays: none of one that goes to another token, which it does at once.
    due: Option<UnixMillis>,
    leaving: Leaving,
    /// Behind it when it stays.
    tried: Option<Box<Tried>>,
}

/// What is being written down of a page.
struct Flushing {
    /// Of those that were to leave, so many have not.
    again: usize,
    delta: Delta,
    ended: usize,
    leaving: usize,
    settles: bool,
}

struct Waiting {
    due: Option<UnixMillis>,
    environment: Option<Environment>,
    index: usize,
    tried: Option<Box<Tried>>,
}

impl Book {
    pub(in crate::dispatch) fn new(key: LaneKey) -> Self {
        Self {
            again: false,
            busy_with: None,
            key,
            long: 0,
            next: 0,
            numbers: HashMap::new(),
            pages: HashMap::new(),
            removals: Vec::new(),
            removing: 0,
            short: 0,
        }
    }

    /// The page that is to blame if this goes wrong.
    pub(in crate::dispatch) fn busy_with(&self) -> Option<PageKey> {
        self.busy_with
    }

    /// What was to be done about a page has been done.
    pub(in crate::dispatch) fn rest(&mut self) {
        self.busy_with = None;
    }

    /// What can be taken out beside what is.
    pub(in crate::dispatch) fn room(&self) -> Room {
        Room {
            long: LONG_MAX.saturating_sub(self.long),
            pages: PAGES_MAX.saturating_sub(self.pages.len()),
            short: SHORT_MAX.saturating_sub(self.short),
        }
    }

    pub(in crate::dispatch) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The messages of pages that are out.
    pub(in crate::dispatch) fn messages(&self) -> HashMap<MsgId, Arc<Message>> {
        let pages = self.pages.values();
        pages
            .map(|page| (page.message.id, Arc::clone(&page.message)))
            .collect()
    }

    /// Enters a page that was leased until `lease_ends`, and says what is to be sent of it at `now`.
    pub(in crate::dispatch) fn take(
        &mut self,
        leased: LeasedPage,
        open: OpenPage,
        lease_ends: Instant,
        now: UnixMillis,
    ) -> Taken {
        self.busy_with = Some(leased.key);
        let number = self.next;
        self.next += 1;
        // Whoever has the lease has the page: one that is still here under a lease of before is nobody's business any more.
        let replaced = self.numbers.get(&leased.key).copied();
        replaced.iter().for_each(|before| self.drop_page(*before));
        let mut page = OutPage {
            again: false,
            class: leased.class,
            delta: Delta::default(),
            ended: leased.ended,
            flushing: None,
            in_doubt: Vec::new(),
            is_overdue: false,
            key: leased.key,
            known: vec![None; open.members.len()],
            lease: leased.lease,
            lease_ends,
            leaving: Vec::new(),
            members: open.members,
            message: open.message,
            open: 0,
            progress: open.progress,
            waiting: Vec::new(),
        };
        let mut outgoing = Vec::with_capacity(page.members.len());
        for (index, place) in open.places.into_iter().enumerate() {
            let Some(place) = place else { continue };
            let tried = page.members[index].tried.clone();
            match page.turn(index, place, now) {
                None => {}
                Some(address) => {
                    page.open += 1;
                    page.known[index] = Some(Known {
                        // Where there is only one, there is nothing to name.
                        is_named: address.environment.is_some() || self.key.environment.is_none(),
                        registered_at: address.registered_at,
                    });
                    let tag = Tag {
                        index,
                        page: number,
                    };
                    outgoing.push(Outgoing {
                        address,
                        tag,
                        tried,
                    });
                }
            }
        }
        *self.out_of(page.class) += page.open;
        let taken = Taken {
            message: Arc::clone(&page.message),
            outgoing,
            replaced,
            urgent: page.class == Class::Short,
        };
        self.numbers.insert(page.key, number);
        self.pages.insert(number, page);
        taken
    }

    fn out_of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Short => &mut self.short,
            Class::Long | Class::Stragglers => &mut self.long,
        }
    }

    /// Whether the link has had a delivery first: of one that comes by this lane all the same, it has it again.
    pub(in crate::dispatch) fn is_link_first(&self, tag: Tag) -> bool {
        let page = self.pages.get(&tag.page);
        page.is_some_and(|page| {
            let strategies = &page.message.push.options.strategies;
            strategies.of(self.key.provider).is_link_first()
        })
    }

    /// Whether a delivery's message still lives at `at`. Of a page that is not out any more it is nobody's business.
    pub(in crate::dispatch) fn is_wanted_at(&self, tag: Tag, at: UnixMillis) -> bool {
        let page = self.pages.get(&tag.page);
        page.is_some_and(|page| at < page.message.expires_at)
    }

    /// Enters what became of a delivery. Of a page that is not out any more it is nobody's business.
    pub(in crate::dispatch) fn came(&mut self, tag: Tag, came: Came) {
        let Some(page) = self.pages.get_mut(&tag.page) else {
            return;
        };
        self.busy_with = Some(page.key);
        page.came(tag.index, came);
        page.open -= 1;
        let class = page.class;
        *self.out_of(class) -= 1;
    }

    /// Whoever was sending is gone, and told nothing of these: each may have been taken, and goes once more.
    pub(in crate::dispatch) fn lose(&mut self) {
        let mut lost = Vec::new();
        for (number, page) in self.pages.iter().filter(|(_, page)| page.open > 0) {
            let told: HashSet<usize> = (page.waiting.iter().map(|waiting| waiting.index))
                .chain(page.leaving.iter().map(|leave| leave.leaving.index))
                .collect();
            let sent = page.known.iter().enumerate();
            let sent = sent.filter_map(|(index, known)| known.map(|_| index));
            for index in sent.filter(|index| !page.progress.has(*index) && !told.contains(index)) {
                let mut tried = page.members[index].tried.clone().unwrap_or_default();
                tried.unanswered += 1;
                lost.push((
                    Tag {
                        index,
                        page: *number,
                    },
                    tried,
                ));
            }
        }
        for (tag, tried) in lost {
            let waits = Came::Waits {
                due: None,
                tried: Some(tried),
            };
            self.came(tag, waits);
        }
    }

    /// The deliveries to these devices that have not come back.
    pub(in crate::dispatch) fn of_devices(&self, devices: &BTreeSet<DeviceId>) -> HashSet<Tag> {
        let mut tags = HashSet::new();
        for (number, page) in self.pages.iter().filter(|(_, page)| page.open > 0) {
            for device in devices {
                let place = page.members.binary_search_by_key(device, |one| one.device);
                tags.extend(place.ok().map(|index| Tag {
                    index,
                    page: *number,
                }));
            }
        }
        tags
    }

    /// As [`Book::came`], for one that has to be asked anew where it is reached, at once.
    pub(in crate::dispatch) fn came_again(&mut self, tag: Tag, tried: Option<Box<Tried>>) {
        if let Some(page) = self.pages.get_mut(&tag.page) {
            page.again = true;
        }
        self.came(tag, Came::Waits { due: None, tried });
    }

    /// A delivery's token is dead, as its provider says, and has been since `since`. When that is not certain it is removed
    /// at the end of its page, if the provider can be believed then, and if the device said of what environment it is.
    pub(in crate::dispatch) fn remove(
        &mut self,
        tag: Tag,
        reason: Reason,
        since: Option<UnixMillis>,
        token: Box<str>,
        certain: bool,
    ) {
        let Some(page) = self.pages.get_mut(&tag.page) else {
            return;
        };
        let Some(known) = page.known.get(tag.index).copied().flatten() else {
            return;
        };
        let removal = Removal {
            app: self.key.app,
            device: page.members[tag.index].device,
            provider: self.key.provider,
            reason,
            // Registered again since the page was read counts as later, whatever the provider's clock says.
            registered_before: since.unwrap_or(UnixMillis(known.registered_at.0 + 1)),
            token,
        };
        if certain {
            self.removals.push(removal);
        } else if known.is_named {
            page.in_doubt.push(removal);
        }
    }

    /// The credential is another: what its predecessor heard of tokens, and was not certain, is not to be believed.
    pub(in crate::dispatch) fn forget_doubts(&mut self) {
        for page in self.pages.values_mut() {
            page.in_doubt.clear();
        }
    }

    /// Whether there is something to be written down.
    pub(in crate::dispatch) fn is_dirty(&self) -> bool {
        self.removing < self.removals.len() || self.pages.values().any(OutPage::is_dirty)
    }

    /// What is to be written down, one batch at a time: [`Book::flushed`] or [`Book::not_flushed`] ends it. `condemns` says
    /// whether the provider is to be believed in what is not certain of tokens. `alone`: one page of it, or else one removal.
    pub(in crate::dispatch) fn flush(
        &mut self,
        now: UnixMillis,
        condemns: bool,
        alone: bool,
    ) -> Batch {
        let mut pages = Vec::new();
        let mut leaving_max = LEAVING_MAX;
        for page in self.pages.values_mut() {
            if alone && !pages.is_empty() {
                break;
            }
            self.busy_with = Some(page.key);
            if let Some(flush) = page.flush(&mut leaving_max, now) {
                if flush.rest.is_some() && condemns {
                    self.removals.append(&mut page.in_doubt);
                }
                pages.push(flush);
            }
        }
        self.rest();
        let removals_max = match (alone, pages.is_empty()) {
            (false, _) => REMOVALS_MAX,
            (true, false) => 0,
            (true, true) => 1,
        };
        self.removing = self.removals.len().min(removals_max);
        Batch {
            pages,
            removals: self.removals[..self.removing].to_vec(),
        }
    }

    /// Everything of the batch is durable. Returns the pages that are another's by now: what of them has not left is not to
    /// be sent.
    pub(in crate::dispatch) fn flushed(&mut self, flushed: &Flushed) -> Vec<u64> {
        self.removals.drain(..self.removing);
        self.removing = 0;
        let lost = flushed.lost.iter();
        let lost: Vec<u64> = lost
            .filter_map(|(key, lease)| self.number(key, *lease))
            .collect();
        for number in &lost {
            self.drop_page(*number);
        }
        for (key, left) in &flushed.left {
            if let Some(page) = self.page(key) {
                for (index, end) in left {
                    page.progress.note(*index, end);
                }
            }
        }
        for (key, index) in &flushed.again {
            if let Some(page) = self.page(key) {
                page.again(*index);
            }
        }
        let mut settled = Vec::new();
        for (number, page) in &mut self.pages {
            if let Some(flushing) = page.flushing.take() {
                page.ended = flushing.ended + flushing.leaving - flushing.again;
                page.leaving.drain(..flushing.leaving);
                settled.extend(flushing.settles.then_some(*number));
                self.again |= flushing.settles && page.again;
            }
        }
        for number in settled {
            self.drop_page(number);
        }
        lost
    }

    /// Whether some are ready in the store that nobody else tells of, once.
    pub(in crate::dispatch) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    fn page(&mut self, key: &PageKey) -> Option<&mut OutPage> {
        let number = self.numbers.get(key)?;
        self.pages.get_mut(number)
    }

    /// The number of a page that is out under a lease.
    fn number(&self, key: &PageKey, lease: i64) -> Option<u64> {
        let number = *self.numbers.get(key)?;
        let page = self.pages.get(&number)?;
        (page.lease == lease).then_some(number)
    }

    /// Nothing of the batch was written: it will be in the next.
    pub(in crate::dispatch) fn not_flushed(&mut self) {
        self.removing = 0;
        for page in self.pages.values_mut() {
            if let Some(flushing) = page.flushing.take() {
                page.delta.merge(flushing.delta);
            }
        }
    }

    /// A page can never be written down: it is nobody's business any more. Returns its number, and its lease.
    pub(in crate::dispatch) fn give_up(&mut self, key: &PageKey) -> Option<(u64, i64)> {
        let number = *self.numbers.get(key)?;
        let lease = self.pages.get(&number)?.lease;
        self.drop_page(number);
        Some((number, lease))
    }

    /// The first removal can never be written down: the token stays.
    pub(in crate::dispatch) fn give_up_removal(&mut self) {
        self.removals.drain(..1.min(self.removals.len()));
    }

    /// The leases that are to be prolonged at `now`.
    pub(in crate::dispatch) fn to_renew(&self, now: Instant) -> Vec<(PageKey, i64)> {
        let due = |page: &&OutPage| page.lease_ends < now + RENEW_BEFORE;
        let pages = self.pages.values().filter(due);
        pages.map(|page| (page.key, page.lease)).collect()
    }

    /// Of those that were to be prolonged at `since`, these were. Returns the others, which are another's by now: what of them
    /// has not left is not to be sent.
    pub(in crate::dispatch) fn renewed(
        &mut self,
        asked: &[(PageKey, i64)],
        keys: &[(PageKey, i64)],
        since: Instant,
    ) -> Vec<u64> {
        for (key, lease) in keys {
            let number = self.number(key, *lease);
            if let Some(page) = number.and_then(|number| self.pages.get_mut(&number)) {
                page.lease_ends = since + LEASE - LEASE_MARGIN;
                page.is_overdue = false;
            }
        }
        let others = asked.iter().filter(|asked| !keys.contains(asked));
        let others: Vec<u64> = others
            .filter_map(|(key, lease)| self.number(key, *lease))
            .collect();
        for number in &others {
            self.drop_page(*number);
        }
        others
    }

    /// The pages whose leases have run out at `now`, as when the process stood still, or when the store could not write for
    /// long: they may be another's by now, and what of them has not left is to be taken back. What has ended stays: if they
    /// are nobody's, it is still written down.
    pub(in crate::dispatch) fn overdue(&mut self, now: Instant) -> Vec<u64> {
        let mut overdue = Vec::new();
        for (number, page) in &mut self.pages {
            if page.lease_ends <= now && !page.is_overdue {
                page.is_overdue = true;
                overdue.push(*number);
            }
        }
        overdue
    }

    fn drop_page(&mut self, number: u64) {
        if let Some(page) = self.pages.remove(&number) {
            if self.numbers.get(&page.key) == Some(&number) {
                self.numbers.remove(&page.key);
            }
            *self.out_of(page.class) -= page.open;
        }
    }
}

impl OutPage {
    /// What the turn of a member means: whom to send to, or what became of it without.
    fn turn(&mut self, index: usize, place: Addressed, now: UnixMillis) -> Option<Address> {
        let tried = self.members[index].tried.as_deref();
        let attempts = tried.map_or(0, Tried::attempts);
        let last = tried.and_then(|tried| tried.last.clone());
        let end = |ending, reason| End {
            at: now,
            attempts,
            ending,
            reason,
        };
        let came = match place {
            Addressed::Gone => Came::Ended(end(Ending::Dropped, Some(GONE))),
            Addressed::Superseded => Came::Ended(end(Ending::Dropped, Some(SUPERSEDED))),
            Addressed::Elsewhere(_) | Addressed::Here(_) if self.message.expires_at <= now => {
                Came::Ended(end(Ending::Expired, last))
            }
            Addressed::Here(Address {
                ended: Some(reason),
                ..
            }) => {
                let end = end(Ending::Dropped, Some(reason));
                // An attempt without an answer may have been taken: by another way it would come twice.
                match tried.is_some_and(|tried| tried.unanswered > 0) {
                    true => Came::Ended(end),
                    false => Came::Left(end),
                }
            }
            Addressed::Elsewhere(environment) => {
                let tried = self.members[index].tried.clone();
                self.waiting.push(Waiting {
                    due: None,
                    environment,
                    index,
                    tried,
                });
                return None;
            }
            Addressed::Here(address) => return Some(address),
        };
        self.came(index, came);
        None
    }

    fn came(&mut self, index: usize, came: Came) {
        match came {
            Came::Ended(end) => {
                if self.progress.note(index, &end) {
                    self.delta.add(self.members[index].platform, &end);
                }
            }
            Came::Dead { end, token, tried } => {
                self.leave(index, end, Why::Dead(token), None, Some(tried));
            }
            Came::Left(end) => self.leave(index, end, Why::Ended, None, None),
            Came::Shut { due, end, tried } => self.leave(index, end, Why::Shut, due, tried),
            Came::Waits { due, tried } => self.waiting.push(Waiting {
                due,
                environment: self.key.environment,
                index,
                tried,
            }),
        }
    }

    fn leave(
        &mut self,
        index: usize,
        end: End,
        why: Why,
        due: Option<UnixMillis>,
        tried: Option<Box<Tried>>,
    ) {
        let leaving = Leaving { end, index, why };
        self.leaving.push(Leave {
            due,
            leaving,
            tried,
        });
    }

    /// One that was to leave waits for another turn: at once, to the token that its device holds then, or when there is going by
    /// its way again.
    fn again(&mut self, index: usize) {
        let mut leaving = self.leaving.iter_mut();
        let Some(leave) = leaving.find(|leave| leave.leaving.index == index) else {
            return;
        };
        if let Some(flushing) = &mut self.flushing {
            flushing.again += 1;
        }
        self.again |= leave.leaving.why != Why::Shut;
        self.waiting.push(Waiting {
            due: leave.due,
            environment: self.key.environment,
            index,
            tried: leave.tried.take(),
        });
    }

    fn is_complete(&self) -> bool {
        self.open == 0
    }

    fn is_dirty(&self) -> bool {
        self.flushing.is_none()
            && (self.is_complete()
                || self.progress.count() > self.ended
                || !self.leaving.is_empty())
    }

    fn flush(&mut self, leaving_max: &mut usize, now: UnixMillis) -> Option<PageFlush> {
        if !self.is_dirty() {
            return None;
        }
        let leaving = self.leaving.len().min(*leaving_max);
        *leaving_max -= leaving;
        // Whether the others leave is known when this is written down: until then the page has not ended.
        let mut leaves = self.leaving.iter();
        let all_leave = leaves.all(|leave| leave.leaving.why == Why::Ended);
        let settles = self.is_complete() && leaving == self.leaving.len() && all_leave;
        let delta = std::mem::take(&mut self.delta);
        self.flushing = Some(Flushing {
            again: 0,
            delta: delta.clone(),
            ended: self.progress.count(),
            leaving,
            settles,
        });
        Some(PageFlush {
            delta,
            ended: self.ended,
            key: self.key,
            lease: self.lease,
            leaving: self.leaving[..leaving]
                .iter()
                .map(|leave| leave.leaving.clone())
                .collect(),
            members: Arc::clone(&self.members),
            message: Arc::clone(&self.message),
            progress: self.progress.clone(),
            rest: settles.then(|| self.rest(now)),
        })
    }

    /// Those that wait, together with others of about the same time.
    fn rest(&mut self, now: UnixMillis) -> Vec<Rest> {
        self.waiting
            .sort_by_key(|waiting| (waiting.environment, waiting.due));
        let mut rest: Vec<Rest> = Vec::new();
        let mut first_due = None;
        for waiting in &self.waiting {
            let mut member = self.members[waiting.index].clone();
            member.tried = waiting.tried.clone();
            // Nobody wants it later than that; then it expires, in its turn.
            let due = waiting.due.map(|due| due.min(self.message.expires_at));
            match rest.last_mut() {
                Some(last)
                    if last.environment == waiting.environment && together(first_due, due, now) =>
                {
                    last.due = due;
                    last.members.push(member);
                }
                _ => {
                    first_due = due;
                    rest.push(Rest {
                        due,
                        environment: waiting.environment,
                        members: vec![member],
                    });
                }
            }
        }
        for rest in &mut rest {
            rest.members.sort_by_key(|member| member.device);
        }
        rest
    }
}

/// Whether two times are near enough for one page: the earlier one then waits a little longer, a sixteenth of its time.
fn together(first: Option<UnixMillis>, next: Option<UnixMillis>, now: UnixMillis) -> bool {
    match (first, next) {
        (None, None) => true,
        (Some(first), Some(next)) => {
            let near: Duration = (first.since(now) / 16).max(TOGETHER_MIN);
            next <= first.plus(near)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::{AppId, Audience, Platform, PlatformSet, Provider, Push, PushOptions};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const LANE: LaneKey = LaneKey {
        app: AppId(1),
        provider: Provider::Apns,
        environment: Some(Environment::Production),
    };

    fn message() -> Arc<Message> {
        Arc::new(Message {
            accepted_at: NOW,
            app: LANE.app,
            expires_at: NOW.plus(Duration::from_secs(60)),
            id: MsgId(1000),
            push: Push {
                audience: Audience::All,
                message: None,
                notification: None,
                options: PushOptions::default(),
                platforms: PlatformSet::ALL,
            },
        })
    }

    fn here(device: i64, environment: Option<Environment>) -> Addressed {
        Addressed::Here(Address {
            device: DeviceId(device),
            ended: None,
            environment,
            registered_at: UnixMillis(5),
            token: Some("aa".into()),
        })
    }

    fn leased(class: Class, count: usize) -> LeasedPage {
        LeasedPage {
            class,
            count,
            ended: 0,
            key: PageKey {
                message: MsgId(1000),
                provider: Provider::Apns,
                environment: LANE.environment,
                first: DeviceId(1),
                round: 0,
            },
            lease: 7,
        }
    }

    /// A book with one page, of devices with these places.
    struct Stage {
        book: Book,
        ends: Instant,
        taken: Taken,
    }

    impl Stage {
        fn new(places: Vec<Addressed>) -> Self {
            let member = |index: usize| Member {
                device: DeviceId(index as i64 + 1),
                platform: Platform::Ios,
                tried: None,
            };
            let open = OpenPage {
                members: Arc::new((0..places.len()).map(member).collect()),
                message: message(),
                progress: Progress::default(),
                places: places.into_iter().map(Some).collect(),
            };
            let mut book = Book::new(LANE);
            let ends = Instant::now() + LEASE;
            let taken = book.take(leased(Class::Long, open.members.len()), open, ends, NOW);
            Self { book, ends, taken }
        }

        fn of(count: i64) -> Self {
            Self::new((1..=count).map(|device| here(device, None)).collect())
        }

        fn came(&mut self, index: usize, came: Came) {
            let tag = self.taken.outgoing[index].tag;
            self.book.came(tag, came);
        }

        fn flush(&mut self) -> Batch {
            assert!(self.book.is_dirty());
            self.book.flush(NOW, true, false)
        }
    }

    fn end(ending: Ending, reason: Option<&'static str>) -> End {
        End {
            at: NOW,
            attempts: 1,
            ending,
            reason: reason.map(Reason::known),
        }
    }

    fn accepted() -> Came {
        Came::Ended(end(Ending::Accepted, None))
    }

    fn waits(secs: Option<u64>) -> Came {
        Came::Waits {
            due: secs.map(|secs| NOW.plus(Duration::from_secs(secs))),
            tried: None,
        }
    }

    fn devices(rest: &Rest) -> Vec<i64> {
        rest.members.iter().map(|member| member.device.0).collect()
    }

    #[test]
    fn a_flush_that_fails_loses_nothing() {
        let mut stage = Stage::of(3);
        assert!(!stage.book.is_dirty());
        stage.came(0, accepted());
        let tag = stage.taken.outgoing[1].tag;
        let reason = Reason::known("Unregistered");
        stage.book.remove(tag, reason, None, "aa".into(), true);
        stage.came(1, Came::Left(end(Ending::Dropped, Some("Unregistered"))));
        let first = stage.flush();
        let sizes = |batch: &Batch| {
            let page = &batch.pages[0];
            (
                page.progress.count(),
                page.leaving.len(),
                batch.removals.len(),
            )
        };
        assert_eq!(sizes(&first), (1, 1, 1));
        assert_eq!(first.removals[0].registered_before, UnixMillis(6));
        // Another comes while it is being written.
        stage.came(2, accepted());
        stage.book.not_flushed();
        let again = stage.flush();
        assert_eq!(sizes(&again), (2, 1, 1));
        assert_eq!(again.pages[0].ended, 0);
        let mut delta = first.pages[0].delta.clone();
        let mut other = Delta::default();
        other.add(Platform::Ios, &end(Ending::Accepted, None));
        delta.merge(other);
        assert_eq!(again.pages[0].delta, delta, "the counts of both");
        assert_eq!(again.pages[0].rest, Some(vec![]), "nothing is out any more");
        let left = (1, end(Ending::HandedOn, Some("Unregistered")));
        let flushed = Flushed {
            left: vec![(again.pages[0].key, vec![left])],
            ..Flushed::default()
        };
        assert!(stage.book.flushed(&flushed).is_empty());
        assert!(stage.book.is_empty() && !stage.book.is_dirty());
        assert_eq!(stage.book.room().long, LONG_MAX);
    }

    #[test]
    fn what_comes_during_a_flush_is_in_the_next() {
        let mut stage = Stage::of(3);
        stage.came(0, accepted());
        stage.flush();
        stage.came(1, accepted());
        stage.book.flushed(&Flushed::default());
        let next = stage.flush();
        let mut delta = Delta::default();
        delta.add(Platform::Ios, &end(Ending::Accepted, None));
        assert_eq!((next.pages[0].ended, &next.pages[0].delta), (1, &delta));
        assert_eq!(next.pages[0].rest, None, "one is out");
    }

    #[test]
    fn a_page_settles_when_nothing_of_it_is_out_and_the_rest_goes_by_its_times() {
        let mut stage = Stage::of(6);
        let waits_for = [Some(3600), Some(1), None, Some(3601), None];
        for (index, secs) in waits_for.into_iter().enumerate() {
            stage.came(index, waits(secs));
            assert!(!stage.book.is_dirty(), "the last is out");
        }
        stage.came(5, accepted());
        let batch = stage.flush();
        let rest = batch.pages[0].rest.clone().expect("it ends");
        let of: Vec<_> = rest.iter().map(devices).collect();
        assert_eq!(of, [vec![3, 5], vec![2], vec![1, 4]]);
        let due: Vec<_> = rest.iter().map(|rest| rest.due).collect();
        // Not later than anybody wants it.
        let expires = Some(message().expires_at);
        assert_eq!(due, [None, Some(NOW.plus(Duration::from_secs(1))), expires]);
    }

    #[test]
    fn who_cannot_be_sent_to_ends_without_being_sent_to() {
        let ended = Addressed::Here(Address {
            ended: Some(Reason::known("moved")),
            token: None,
            ..match here(3, None) {
                Addressed::Here(address) => address,
                other => panic!("{other:?}"),
            }
        });
        let mut stage = Stage::new(vec![
            Addressed::Gone,
            Addressed::Superseded,
            ended,
            Addressed::Elsewhere(Some(Environment::Sandbox)),
            here(5, LANE.environment),
        ]);
        assert_eq!(stage.taken.outgoing.len(), 1);
        assert_eq!(stage.book.room().long, LONG_MAX - 1);
        stage.came(0, accepted());
        let batch = stage.flush();
        let page = &batch.pages[0];
        assert_eq!(page.progress.count(), 3);
        assert_eq!(page.leaving.len(), 1);
        let left = &page.leaving[0];
        let reason = left.end.reason.as_ref().map(Reason::as_str);
        assert_eq!((left.index, reason), (2, Some("moved")));
        let rest = page.rest.as_ref().expect("it ends");
        assert_eq!(rest[0].environment, Some(Environment::Sandbox));
        assert_eq!(devices(&rest[0]), [4]);
    }

    #[test]
    fn what_is_not_certain_of_a_token_is_believed_at_the_end_of_its_page() {
        for condemns in [false, true] {
            let mut stage = Stage::new(vec![
                here(1, LANE.environment),
                here(2, None),
                here(3, None),
            ]);
            for index in [0, 1] {
                let tag = stage.taken.outgoing[index].tag;
                let reason = Reason::known("BadDeviceToken");
                stage.book.remove(tag, reason, None, "aa".into(), false);
                stage.came(
                    index,
                    Came::Left(end(Ending::Dropped, Some("BadDeviceToken"))),
                );
            }
            let early = stage.book.flush(NOW, true, false);
            assert_eq!(early.removals, []);
            stage.book.flushed(&Flushed::default());
            stage.came(2, accepted());
            let last = stage.book.flush(NOW, condemns, false);
            let removed: Vec<i64> = last.removals.iter().map(|gone| gone.device.0).collect();
            // One whose device did not say of what environment it is stays in any case.
            assert_eq!(removed, [1][..usize::from(condemns)]);
        }
    }

    #[test]
    fn a_lease_that_runs_out_is_given_up() {
        let mut stage = Stage::of(2);
        stage.came(0, accepted());
        let ends = stage.ends;
        assert_eq!(stage.book.to_renew(Instant::now()), []);
        let renew = stage.book.to_renew(ends - Duration::from_secs(1));
        assert_eq!(renew.len(), 1);
        assert!(stage.book.overdue(ends - Duration::from_secs(1)).is_empty());
        assert!(stage.book.renewed(&renew, &renew, ends).is_empty());
        assert!(stage.book.overdue(ends).is_empty());
        let over = ends + LEASE - LEASE_MARGIN;
        assert_eq!(stage.book.overdue(over), [0], "before it is another's");
        assert!(stage.book.overdue(over).is_empty(), "told once");
        // What has not left comes back, and if the page is nobody's, all of it is written down.
        stage.came(1, waits(None));
        let batch = stage.flush();
        assert_eq!(batch.pages[0].progress.count(), 1);
        let rest = batch.pages[0].rest.as_ref().expect("it ends");
        assert_eq!(devices(&rest[0]), [2]);
        stage.book.not_flushed();
        // Another has it.
        let asked = stage.book.to_renew(over);
        assert_eq!(stage.book.renewed(&asked, &[], over), [0]);
        assert!(stage.book.is_empty());
        // What comes back of it is nobody's business.
        stage.came(1, accepted());
        assert_eq!(stage.book.room().long, LONG_MAX);
    }

    #[test]
    fn a_page_that_is_leased_again_is_out_once() {
        let mut stage = Stage::of(2);
        stage.came(0, accepted());
        let before = stage.flush().pages.remove(0);
        let open = OpenPage {
            members: before.members,
            message: before.message,
            progress: Progress::default(),
            places: vec![Some(here(1, None)), Some(here(2, None))],
        };
        let again = LeasedPage {
            lease: 8,
            ..leased(Class::Long, 2)
        };
        let taken = stage.book.take(again, open, stage.ends, NOW);
        assert_eq!(taken.replaced, Some(0));
        assert_eq!(stage.book.room().long, LONG_MAX - 2);
        // What the store says of the lease before is not said of this one.
        let flushed = Flushed {
            lost: vec![(before.key, before.lease)],
            ..Flushed::default()
        };
        assert!(stage.book.flushed(&flushed).is_empty());
        let asked = [(before.key, before.lease)];
        assert!(stage.book.renewed(&asked, &[], stage.ends).is_empty());
        for outgoing in &taken.outgoing {
            stage.book.came(outgoing.tag, accepted());
        }
        let batch = stage.flush();
        assert_eq!((batch.pages.len(), batch.pages[0].lease), (1, 8));
    }

    #[test]
    fn a_delivery_to_a_dead_token_stays_in_its_page_until_it_is_known_that_its_device_holds_no_other()
     {
        let mut stage = Stage::of(2);
        for index in [0, 1] {
            let tried = Box::new(Tried {
                retries: 1,
                ..Tried::default()
            });
            let dead = Came::Dead {
                end: end(Ending::Dropped, Some("Unregistered")),
                token: "aa".into(),
                tried,
            };
            stage.came(index, dead);
        }
        let batch = stage.flush();
        let page = &batch.pages[0];
        let dead = |leaving: &Leaving| leaving.why == Why::Dead("aa".into());
        assert!(page.leaving.len() == 2 && page.leaving.iter().all(dead));
        assert_eq!(page.rest, None);
        let left = (0, end(Ending::Dropped, Some("Unregistered")));
        let flushed = Flushed {
            again: vec![(page.key, 1)],
            left: vec![(page.key, vec![left])],
            ..Flushed::default()
        };
        stage.book.flushed(&flushed);
        let batch = stage.flush();
        let page = &batch.pages[0];
        assert_eq!((page.progress.count(), page.leaving.len()), (1, 0));
        assert_eq!(page.ended, 1);
        let rest = page.rest.as_ref().expect("it ends");
        assert_eq!((rest[0].due, devices(&rest[0])), (None, vec![2]));
        let tried = rest[0].members[0].tried.as_ref().expect("tried");
        assert_eq!(tried.attempts(), 1);
        assert!(!stage.book.take_again(), "they are not back yet");
        stage.book.flushed(&Flushed::default());
        assert!(stage.book.take_again() && !stage.book.take_again());
    }

    #[test]
    fn what_is_out_to_a_device_that_has_changed_comes_back_and_goes_again_at_once() {
        let mut stage = Stage::of(3);
        stage.came(0, accepted());
        let changed = BTreeSet::from([DeviceId(2), DeviceId(7)]);
        let tags = stage.book.of_devices(&changed);
        assert_eq!(tags, HashSet::from([stage.taken.outgoing[1].tag]));
        for tag in tags {
            stage.book.came_again(tag, None);
        }
        stage.came(2, accepted());
        let batch = stage.flush();
        let rest = batch.pages[0].rest.as_ref().expect("it ends");
        assert_eq!((rest[0].due, devices(&rest[0])), (None, vec![2]));
        stage.book.flushed(&Flushed::default());
        assert!(stage.book.take_again());
    }

    #[test]
    fn dead_tokens_are_removed_some_at_a_time() {
        let count = REMOVALS_MAX + 1;
        let mut stage = Stage::of(count as i64);
        for index in 0..count {
            let tag = stage.taken.outgoing[index].tag;
            let reason = Reason::known("Unregistered");
            stage.book.remove(tag, reason, None, "aa".into(), true);
        }
        let sizes = [REMOVALS_MAX, 1];
        for size in sizes {
            assert_eq!(stage.flush().removals.len(), size);
            stage.book.flushed(&Flushed::default());
        }
        assert!(!stage.book.is_dirty());
    }

    #[test]
    fn what_may_have_been_taken_does_not_go_on_by_another_way() {
        let mut open = OpenPage {
            members: Arc::default(),
            message: message(),
            progress: Progress::default(),
            places: Vec::new(),
        };
        let tried = |unanswered| {
            Some(Box::new(Tried {
                unanswered,
                ..Tried::default()
            }))
        };
        let member = |device, unanswered| Member {
            device: DeviceId(device),
            platform: Platform::Ios,
            tried: tried(unanswered),
        };
        open.members = Arc::new(vec![member(1, 0), member(2, 1)]);
        for device in [1, 2] {
            let Addressed::Here(address) = here(device, None) else {
                unreachable!()
            };
            open.places.push(Some(Addressed::Here(Address {
                ended: Some(Reason::known("replaced")),
                token: None,
                ..address
            })));
        }
        let mut book = Book::new(LANE);
        book.take(leased(Class::Stragglers, 2), open, Instant::now(), NOW);
        let batch = book.flush(NOW, false, false);
        let page = &batch.pages[0];
        let leaving: Vec<usize> = page.leaving.iter().map(|leaving| leaving.index).collect();
        assert_eq!((leaving, page.progress.count()), (vec![0], 1));
    }

    #[test]
    fn what_went_down_with_its_sender_goes_once_more_and_nothing_else_does() {
        let mut stage = Stage::of(4);
        stage.came(0, accepted());
        stage.came(1, waits(Some(1)));
        stage.came(2, Came::Left(end(Ending::Dropped, Some("Unregistered"))));
        stage.book.lose();
        stage.book.lose();
        let batch = stage.flush();
        let page = &batch.pages[0];
        assert_eq!((page.progress.count(), page.leaving.len()), (1, 1));
        let rest = page.rest.as_ref().expect("nothing is out");
        let of: Vec<_> = rest.iter().map(devices).collect();
        assert_eq!(of, [vec![4], vec![2]]);
        let tried = rest[0].members[0].tried.as_ref().expect("it may have left");
        assert_eq!((tried.unanswered, rest[0].due), (1, None));
        assert_eq!(stage.book.room().long, LONG_MAX);
    }

    #[test]
    fn a_page_that_another_has_is_dropped() {
        let mut stage = Stage::of(2);
        stage.came(0, accepted());
        let batch = stage.flush();
        let flushed = Flushed {
            lost: vec![(batch.pages[0].key, batch.pages[0].lease)],
            ..Flushed::default()
        };
        assert_eq!(stage.book.flushed(&flushed), [0]);
        assert!(stage.book.is_empty());
    }
}
