//! A batch on its way over a connection: what is asked of the provider for it, and what came of each of its deliveries.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tidings_model::{Outcome, Reason, UnixMillis};
use tracing::warn;

use crate::attempt::{Attempt, Cause};
use crate::batch::access::Granted;
use crate::batch::exchange::{Connection, Failed, Response};
use crate::batch::worker::Shared;
use crate::batch::{Answer, Protocol, Request, Saving, Unsaved};

/// Its time was over before it left.
const OVER: Reason = Reason::known("Over");
/// The message could not be saved, and goes in smaller requests.
const UNSAVED: Reason = Reason::known("Unsaved");

/// A batch, and what it goes with.
pub(super) struct Going<'a, P: Protocol, T> {
    pub(super) shared: &'a Shared<P, T>,
    pub(super) connection: &'a mut Option<Connection>,
    pub(super) access: Granted,
    pub(super) notification: &'a Arc<P::Notification>,
    pub(super) tokens: &'a [&'a str],
}

/// What came of the deliveries of a batch, as far as it has come.
pub(super) struct Course {
    attempts: Vec<Option<Attempt>>,
    /// Those whose request may have left, and has no answer.
    out: Range<usize>,
}

impl Course {
    pub(super) fn of(count: usize) -> Self {
        Self {
            attempts: vec![None; count],
            out: 0..0,
        }
    }

    /// What came of the request for a part of them.
    pub(super) fn enter(&mut self, part: Range<usize>, said: Result<Answer, Attempt>) {
        self.out = 0..0;
        let places = &mut self.attempts[part];
        let attempt = match said {
            Ok(Answer::Each(outcomes)) if outcomes.len() == places.len() => {
                for (place, outcome) in places.iter_mut().zip(outcomes) {
                    *place = Some(Attempt::Answered(outcome));
                }
                return;
            }
            Ok(Answer::Each(outcomes)) => {
                // Ours to be right about: an answer that fits none of the devices is no answer.
                let text = format!("{} outcomes for {} devices", outcomes.len(), places.len());
                Attempt::Unanswered(Cause::ConnectionLost(text.into()))
            }
            Ok(Answer::All(outcome)) => Attempt::Answered(outcome),
            Ok(Answer::AccessRefused(reason)) => {
                Attempt::Answered(Outcome::CredentialRejected { reason })
            }
            Ok(Answer::NotSaved(reason)) => Attempt::Answered(Outcome::Retry {
                reason,
                after: None,
            }),
            Err(attempt) => attempt,
        };
        places.fill(Some(attempt));
    }

    /// What came of each; those of which nothing is known were cut short by `cause`.
    pub(super) fn end(self, cause: &Cause) -> impl Iterator<Item = Attempt> {
        let out = self.out;
        let attempts = self.attempts.into_iter().enumerate();
        attempts.map(move |(index, attempt)| {
            attempt.unwrap_or_else(|| match out.contains(&index) {
                true => Attempt::Unanswered(cause.clone()),
                false => Attempt::NotSent(cause.clone()),
            })
        })
    }
}

impl<'a, P: Protocol, T: Send + 'static> Going<'a, P, T> {
    /// Sends all of the batch.
    pub(super) async fn go(&mut self, course: &mut Course) {
        let all = 0..self.tokens.len();
        let said = self.exchange(all.clone(), course).await;
        match said {
            Ok(Answer::All(Outcome::PayloadRejected { reason })) if all.len() > 1 => {
                self.sift(reason, course).await;
            }
            said => course.enter(all, said),
        }
    }

    /// One request for a part of the batch: again with another access token if it is refused for the sake of that, and again if
    /// the saved message is not known.
    pub(super) async fn exchange(
        &mut self,
        part: Range<usize>,
        course: &mut Course,
    ) -> Result<Answer, Attempt> {
        let tokens = &self.tokens[part.clone()];
        let (shared, notification) = (self.shared, &**self.notification);
        let protocol = &shared.config.protocol;
        let (mut is_renewed, mut is_resaved) = (false, false);
        loop {
            let saved = match self.saving(tokens.len()) {
                Some(saving) => self.saved(saving).await?.map(|id| (saving, id)),
                None => None,
            };
            let unsaved_max = protocol.saving().map(Saving::unsaved_max);
            if saved.is_none() && unsaved_max.is_some_and(|max| tokens.len() > max) {
                return Err(Attempt::NotSent(Cause::NotNow(UNSAVED)));
            }
            let response = self.send(
                |access, now| match &saved {
                    Some((saving, id)) => saving.send(notification, id, tokens, access),
                    None => protocol.request(notification, tokens, access, now),
                },
                |is_out| course.out = if is_out { part.clone() } else { 0..0 },
            );
            let response = response.await?;
            match (protocol.answer(&response, tokens), saved) {
                (Answer::AccessRefused(_), _) if !is_renewed => {
                    is_renewed = true;
                    self.access = shared.keeper.access(Some(&self.access)).await?;
                }
                (Answer::NotSaved(_), Some((_, id))) if !is_resaved => {
                    is_resaved = true;
                    let place = shared.saves.place(self.notification);
                    place.lock().await.forget(&id);
                }
                (answer, _) => return Ok(self.heed(answer)),
            }
            shared.queue.spend(Instant::now(), tokens.len());
        }
    }

    /// Sends a request of this moment, again over another connection if nothing of it has left, and waits for the answer.
    /// `tells` is told whether something of it may have left and is not answered.
    async fn send(
        &mut self,
        mut request: impl FnMut(&str, UnixMillis) -> Request,
        mut tells: impl FnMut(bool),
    ) -> Result<Response, Attempt> {
        let shared = self.shared;
        let mut is_stale = false;
        loop {
            let open = shared.connect(self.connection).await?;
            let now = UnixMillis::now();
            if P::is_over(self.notification, now) {
                return Err(Attempt::NotSent(Cause::NotNow(OVER)));
            }
            if let Some(reason) = P::too_late(self.notification, now) {
                return Err(Attempt::NotSent(Cause::TooLate(reason)));
            }
            let request = request(&self.access.token, now);
            let by = tokio::time::Instant::now() + shared.config.answer_timeout;
            tells(true);
            let sent = open.send(&shared.dialer, &request, by).await;
            tells(false);
            match sent {
                Ok(response) => return Ok(response),
                Err(Failed::Stale) if !is_stale => is_stale = true,
                Err(failed) => {
                    *self.connection = None;
                    return Err(failed.into());
                }
            }
            *self.connection = None;
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
            let request = |access: &str, now| {
                let (request, lives) = saving.save(notification, access, now);
                until = Instant::now() + lives;
                request
            };
            let response = match self.send(request, |_| {}).await {
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
