//! A batch that was refused for what is in it: who of it is to blame.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tidings_model::{Outcome, Reason};

use crate::attempt::Attempt;
use crate::batch::going::{Course, Going};
use crate::batch::{Answer, Protocol};

/// Requests for one batch, at most, in the search for those of it that are to blame: some ten for each. The rest is refused
/// with them.
const REQUESTS_MAX: usize = 256;

/// The last message that was refused for its own sake: none of its devices is to blame.
pub(super) struct Blamed<N>(Mutex<Weak<N>>);

impl<N> Default for Blamed<N> {
    fn default() -> Self {
        Self(Mutex::new(Weak::new()))
    }
}

impl<N> Blamed<N> {
    fn is(&self, notification: &Arc<N>) -> bool {
        let blamed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::ptr::eq(blamed.as_ptr(), Arc::as_ptr(notification))
    }

    fn set(&self, notification: &Arc<N>) {
        let mut blamed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *blamed = Arc::downgrade(notification);
    }
}

/// Whether a request was refused for what is in it.
fn is_refused(said: &Result<Answer, Attempt>) -> bool {
    matches!(said, Ok(Answer::All(Outcome::PayloadRejected { .. })))
}

impl<P: Protocol, T: Send + 'static> Going<'_, P, T> {
    /// All of the batch together was refused with `reason`. If the first and the last by themselves are, too, it is the
    /// message's fault; else the batch is halved down to those who are to blame, and their neighbours get it.
    pub(super) async fn sift(&mut self, reason: Reason, course: &mut Course) {
        let all = 0..self.tokens.len();
        let refused = || {
            Ok(Answer::All(Outcome::PayloadRejected {
                reason: reason.clone(),
            }))
        };
        if self.shared.blamed.is(self.notification) {
            return course.enter(all, refused());
        }
        let (first, last) = (0..1, all.end - 1..all.end);
        let mut is_any_good = false;
        for one in [first, last] {
            match self.part(one, course).await {
                Some(was_refused) => is_any_good |= !was_refused,
                None => return,
            }
        }
        let between = 1..all.end - 1;
        if !is_any_good {
            self.shared.blamed.set(self.notification);
            return course.enter(between, refused());
        }
        let mut parts = vec![between];
        let mut requests = 2;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            requests += 1;
            if requests > REQUESTS_MAX {
                course.enter(part, refused());
                continue;
            }
            match self.part(part.clone(), course).await {
                Some(true) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Sends a part, and enters what came of it. Says whether it was refused for what is in it; none when there was no answer:
    /// then the rest has not left.
    async fn part(&mut self, part: Range<usize>, course: &mut Course) -> Option<bool> {
        self.shared.queue.spend(Instant::now(), part.len());
        let said = self.exchange(part.clone(), course).await;
        let was_refused = is_refused(&said);
        let is_answered = matches!(said, Ok(_) | Err(Attempt::Answered(_)));
        course.enter(part, said);
        is_answered.then_some(was_refused)
    }
}
