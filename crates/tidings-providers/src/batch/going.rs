//! A batch on its way over a connection: what is asked of the provider for it, and what came of each of its deliveries.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_model::{Outcome, Reason, UnixMillis};
use tokio::time::timeout;
use tracing::warn;

use crate::attempt::{Attempt, Cause};
use crate::batch::access::Granted;
use crate::batch::exchange::{Connection, Failed, Response};
use crate::batch::worker::{Shared, begin};
use crate::batch::{Answer, Protocol, Request, Saving, Unsaved};

/// A request that has had no answer for so long makes room for another connection: many that are never answered would else be
/// the whole lane.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// Its time was over before it left.
const OVER: Reason = Reason::known("Over");
/// All that it was for have been taken back.
pub(super) const NOBODY: Attempt = Attempt::NotSent(Cause::Withdrawn);
/// The message could not be saved, and goes in smaller requests.
const UNSAVED: Reason = Reason::known("Unsaved");

/// A batch, and what it goes with.
pub(super) struct Going<'a, P: Protocol, T> {
    pub(super) shared: &'a Arc<Shared<P, T>>,
    pub(super) connection: &'a mut Option<Connection>,
    pub(super) access: Granted,
    /// By which the queue knows it.
    pub(super) number: u64,
    pub(super) notification: &'a Arc<P::Notification>,
    pub(super) tokens: &'a [&'a str],
}

impl<'a, P: Protocol, T: Send + 'static> Going<'a, P, T> {
    /// Sends all of the batch.
    pub(super) async fn go(&mut self) {
        let all = 0..self.tokens.len();
        let said = self.exchange(all.clone()).await;
        match said {
            Ok(Answer::All(Outcome::PayloadRejected { reason })) if all.len() > 1 => {
                self.shared.queue.stay(self.number);
                self.sift(reason).await;
            }
            said => self.shared.queue.enter(self.number, all, said),
        }
    }

    /// One request for those of a part of the batch that may leave when it does: again with another access token if it is
    /// refused for the sake of that, and again if the saved message is not known. They are out until what came of them is
    /// entered.
    pub(super) async fn exchange(&mut self, part: Range<usize>) -> Result<Answer, Attempt> {
        let (shared, notification, batch) = (self.shared, &**self.notification, self.number);
        let protocol = &shared.config.protocol;
        let (mut is_renewed, mut is_resaved) = (false, false);
        loop {
            let here = shared.queue.here(batch, part.clone());
            if here == 0 {
                return Err(NOBODY);
            }
            let saved = match self.saving(here) {
                Some(saving) => self.saved(saving).await?.map(|id| (saving, id)),
                None => None,
            };
            let unsaved_max = protocol.saving().map(Saving::unsaved_max);
            if saved.is_none() && unsaved_max.is_some_and(|max| here > max) {
                return Err(Attempt::NotSent(Cause::NotNow(UNSAVED)));
            }
            let mut tokens = Vec::new();
            let mut is_by_id = false;
            let response = self.send(|going, now| {
                let leaving = shared.queue.leave(batch, part.clone());
                tokens = leaving.iter().map(|index| going.tokens[*index]).collect();
                // Fewer may be left than it was saved for.
                let by_id = saved
                    .as_ref()
                    .filter(|(saving, _)| tokens.len() >= saving.devices_min());
                is_by_id = by_id.is_some();
                let access = &going.access.token;
                let request = match by_id {
                    Some((saving, id)) => saving.send(notification, id, &tokens, access),
                    None => protocol.request(notification, &tokens, access, now),
                };
                (!tokens.is_empty()).then_some(request)
            });
            let response = response.await?;
            let saved = saved.filter(|_| is_by_id);
            match (protocol.answer(&response, &tokens), saved) {
                (Answer::AccessRefused(_), _) if !is_renewed => {
                    is_renewed = true;
                    shared.queue.stay(batch);
                    self.access = shared.keeper.access(Some(&self.access)).await?;
                }
                (Answer::NotSaved(_), Some((_, id))) if !is_resaved => {
                    is_resaved = true;
                    shared.queue.stay(batch);
                    let place = shared.saves.place(self.notification);
                    place.lock().await.forget(&id);
                }
                (answer, _) => return Ok(self.heed(answer)),
            }
            shared.queue.spend(Instant::now(), tokens.len());
        }
    }

    /// Sends a request of this moment, again over another connection if nothing of it has left, and waits for the answer. None
    /// says that there is nobody left to send to.
    async fn send(
        &mut self,
        mut request: impl FnMut(&Self, UnixMillis) -> Option<Request>,
    ) -> Result<Response, Attempt> {
        let shared = self.shared;
        let mut is_stale = false;
        loop {
            shared.connect(self.connection).await?;
            let now = UnixMillis::now();
            if P::is_over(self.notification, now) {
                return Err(Attempt::NotSent(Cause::NotNow(OVER)));
            }
            if let Some(reason) = P::too_late(self.notification, now) {
                return Err(Attempt::NotSent(Cause::TooLate(reason)));
            }
            // Whoever was taken back meanwhile does not leave: nothing is waited for from here to there.
            let Some(request) = request(self, now) else {
                return Err(NOBODY);
            };
            let by = tokio::time::Instant::now() + shared.config.answer_timeout;
            let Some(open) = self.connection else {
                continue;
            };
            let sent = {
                let sending = open.send(&shared.dialer, &request, by);
                tokio::pin!(sending);
                match timeout(SLOW_AFTER, &mut sending).await {
                    Ok(sent) => sent,
                    Err(_) => {
                        let _slow = shared.queue.slow();
                        begin(shared);
                        sending.await
                    }
                }
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(failed) => {
                    *self.connection = None;
                    let attempt = match failed {
                        Failed::Stale if !is_stale => None,
                        failed => Some(Attempt::from(failed)),
                    };
                    if !matches!(attempt, Some(Attempt::Unanswered(_))) {
                        shared.queue.stay(self.number);
                    }
                    if let Some(attempt) = attempt {
                        return Err(attempt);
                    }
                    is_stale = true;
                }
            }
        }
    }

    /// How the message is saved, if it is for so many devices.
    fn saving(&self, devices: usize) -> Option<&'a dyn Saving<P::Notification>> {
        let saving = self.shared.config.protocol.saving()?;
        let is_worth_it = devices >= saving.devices_min();
        (is_worth_it && self.shared.queue.lock().saves()).then_some(saving)
    }

    /// The id under which the message is saved, by this or by another connection; none when nothing is saved for the time being.
    async fn saved(
        &mut self,
        saving: &dyn Saving<P::Notification>,
    ) -> Result<Option<Arc<str>>, Attempt> {
        let (shared, notification) = (self.shared, self.notification);
        let place = shared.saves.place(notification);
        let mut kept = place.lock().await;
        if let Some(known) = kept.id(Instant::now()) {
            return known.map(Some);
        }
        // Whoever had it before may have found out.
        if !shared.queue.lock().saves() {
            return Ok(None);
        }
        let mut is_renewed = false;
        let refused = loop {
            shared.queue.spend(Instant::now(), 0);
            let mut until = Instant::now();
            let request = |going: &Self, now| {
                let (request, lives) = saving.save(notification, &going.access.token, now);
                until = Instant::now() + lives;
                Some(request)
            };
            let response = match self.send(request).await {
                Ok(response) => response,
                // What it is saved for has not left.
                Err(Attempt::Unanswered(cause)) => break Attempt::NotSent(cause),
                Err(attempt) => break attempt,
            };
            match saving.saved(&response) {
                Ok(id) => {
                    let id = Arc::from(id);
                    kept.keep(&id, until);
                    return Ok(Some(id));
                }
                Err(Unsaved::AccessRefused(_)) if !is_renewed => {
                    is_renewed = true;
                    self.access = shared.keeper.access(Some(&self.access)).await?;
                }
                Err(Unsaved::AccessRefused(reason)) => {
                    break Attempt::Answered(Outcome::CredentialRejected { reason });
                }
                Err(Unsaved::All(outcome)) => break Attempt::Answered(self.heeded(outcome)),
                Err(Unsaved::Spent(spent)) => {
                    warn!(
                        provider = P::NAME,
                        reason = %spent.reason,
                        until_ms = spent.until.0,
                        "no message is saved any more: they go in smaller requests"
                    );
                    shared.queue.saves_spent(spent.until);
                    return Ok(None);
                }
            }
        };
        kept.refuse(&refused, Instant::now());
        Err(refused)
    }

    /// Keeps what shares a quota with this back from now on if the answer says that it is used up.
    fn heed(&self, answer: Answer) -> Answer {
        match answer {
            Answer::All(outcome) => Answer::All(self.heeded(outcome)),
            Answer::Each(outcomes) => {
                let outcomes = outcomes.into_iter();
                Answer::Each(outcomes.map(|outcome| self.heeded(outcome)).collect())
            }
            Answer::AccessRefused(_) | Answer::NotSaved(_) => answer,
        }
    }

    fn heeded(&self, outcome: Outcome) -> Outcome {
        let Outcome::QuotaSpent(mut spent) = outcome else {
            return outcome;
        };
        let class = P::class(self.notification);
        spent.class = class.into();
        if self.shared.queue.spent(&spent) {
            warn!(
                provider = P::NAME,
                class,
                reason = %spent.reason,
                until_ms = spent.until.0,
                "a quota is used up: what it is for waits"
            );
        }
        Outcome::QuotaSpent(spent)
    }
}
