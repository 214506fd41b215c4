//! Messages that a provider saves once and sends by their ids.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidings_model::{Outcome, Reason, Spent, UnixMillis};

use crate::attempt::Attempt;
use crate::batch::{Request, Response};

/// How a provider saves messages.
pub trait Saving<N>: Send + Sync {
    /// Devices of one request from which on the message is saved; fewer get it as it is.
    fn devices_min(&self) -> usize;

    /// Devices that one request takes with the message in it: what goes while nothing can be saved.
    fn unsaved_max(&self) -> usize;

    /// The request that saves `notification` at `now`, and how long what is saved is sent by its id: it carries the life that
    /// is left now.
    fn save(&self, notification: &N, access: &str, now: UnixMillis) -> (Request, Duration);

    /// The id that the answer to it gives.
    fn saved(&self, response: &Response) -> Result<String, Unsaved>;

    /// The request that pushes `notification`, which was saved as `id`, to `tokens`.
    fn send(&self, notification: &N, id: &str, tokens: &[&str], access: &str) -> Request;
}

/// Why a message was not saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// The access token is not good any more: the same again with another.
    AccessRefused(Reason),
    /// The same of every device that the message is for.
    All(Outcome),
    /// No more are saved before then; what is not saved still goes.
    Spent(Spent),
}

/// Messages whose ids are kept, at most: those that a lane has under way, and some.
const KEPT_MAX: usize = 32;
/// After a message was not saved, nobody asks again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// Of one client, the messages that are saved, the oldest first.
pub(super) struct Saves<N>(Mutex<VecDeque<(Arc<N>, Place)>>);

/// Where a message's id is kept: whoever holds it saves the message, and the others wait for that.
pub(super) type Place = Arc<tokio::sync::Mutex<Kept>>;

/// What is known of a message that is to be saved.
#[derive(Debug, Default)]
pub(super) struct Kept {
    id: Option<(Arc<str>, Instant)>,
    refused: Option<(Attempt, Instant)>,
}

impl<N> Default for Saves<N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<N> Saves<N> {
    pub(super) fn place(&self, notification: &Arc<N>) -> Place {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, notification));
        if let Some((_, place)) = known {
            return Arc::clone(place);
        }
        if places.len() >= KEPT_MAX {
            places.pop_front();
        }
        let place = Place::default();
        places.push_back((Arc::clone(notification), Arc::clone(&place)));
        place
    }
}

impl Kept {
    /// The id, or why there is none for the moment; none when it is to be asked for.
    pub(super) fn id(&self, now: Instant) -> Option<Result<Arc<str>, Attempt>> {
        if let Some((id, until)) = &self.id
            && now < *until
        {
            return Some(Ok(Arc::clone(id)));
        }
        let (attempt, until) = self.refused.as_ref()?;
        (now < *until).then(|| Err(attempt.clone()))
    }

    /// What was asked for has this id until then.
    pub(super) fn keep(&mut self, id: &Arc<str>, until: Instant) {
        self.id = Some((Arc::clone(id), until));
        self.refused = None;
    }

    pub(super) fn refuse(&mut self, attempt: &Attempt, now: Instant) {
        self.refused = Some((attempt.clone(), now + REFUSED_FOR));
    }

    /// The provider does not know `id` any more.
    pub(super) fn forget(&mut self, id: &str) {
        if self.id.as_ref().is_some_and(|(known, _)| **known == *id) {
            self.id = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Cause;

    #[test]
    fn an_id_is_kept_for_its_life_and_a_refusal_for_a_moment() {
        let saves = Saves::default();
        let message = Arc::new("message");
        let place = saves.place(&message);
        assert!(Arc::ptr_eq(&place, &saves.place(&message)));
        let mut kept = place.try_lock().expect("nobody has it");
        let now = Instant::now();
        assert_eq!(kept.id(now), None);
        let refused = Attempt::NotSent(Cause::TimedOut);
        kept.refuse(&refused, now);
        assert_eq!(kept.id(now), Some(Err(refused)));
        assert_eq!(kept.id(now + REFUSED_FOR), None);
        let (id, end): (Arc<str>, _) = ("task".into(), now + Duration::from_secs(60));
        kept.keep(&id, end);
        kept.forget("another");
        assert_eq!(kept.id(now), Some(Ok(Arc::clone(&id))));
        assert_eq!(kept.id(end), None);
        kept.forget(&id);
        assert_eq!(kept.id(now), None);
    }

    #[test]
    fn what_is_kept_of_messages_is_bounded() {
        let saves = Saves::default();
        let first = Arc::new(0);
        let place = saves.place(&first);
        for number in 1..=KEPT_MAX {
            saves.place(&Arc::new(number));
        }
        assert_eq!(saves.0.lock().expect("no panic").len(), KEPT_MAX);
        assert!(
            !Arc::ptr_eq(&place, &saves.place(&first)),
            "it was the oldest"
        );
    }
}
