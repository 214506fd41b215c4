//! A batch that was refused for what is in it: who of it is to blame.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tidings_model::{Outcome, Reason};

use crate::attempt::Attempt;
use crate::batch::going::{Going, NOBODY};
use crate::batch::{Answer, Protocol};

/// Requests for one batch, at most, in the search for those of it that are to blame: some ten for each. The rest is refused
/// with them.
const REQUESTS_MAX: usize = 256;

/// Parts for which a message is refused, and for none it is not, until it is the message's fault: the sixteenths of a batch and all
/// that is larger, so that no few phones, wherever they stand, keep it from the others.
const BLAMED_AFTER: usize = 30;

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

/// What a request for a part came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It was refused for what is in it.
    Refused,
    /// It was answered.
    Answered,
    /// There was no answer.
    Silent,
    /// Nobody of it is left.
    Nobody,
}

impl<P: Protocol, T: Send + 'static> Going<'_, P, T> {
    /// All of the batch together was refused with `reason`. It is halved down to those who are to blame, and their neighbours get
    /// it; or it is the message's fault, if it was refused for so many parts from all over the batch and for none was not.
    pub(super) async fn sift(&mut self, reason: Reason) {
        let all = 0..self.tokens.len();
        if self.shared.blamed.is(self.notification) {
            return self.refuse(all, &reason);
        }
        let middle = all.end / 2;
        // The larger before the smaller: what is known of the batch is known of all of it alike.
        let mut parts = VecDeque::from([all.start..middle, middle..all.end]);
        let (mut requests, mut is_any_good) = (0, false);
        while let Some(part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            if !is_any_good && requests == BLAMED_AFTER {
                self.shared.blamed.set(self.notification);
            }
            requests += 1;
            if requests > REQUESTS_MAX || self.shared.blamed.is(self.notification) {
                self.refuse(part, &reason);
                continue;
            }
            match self.part(part.clone()).await {
                Came::Refused if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([part.start..middle, middle..part.end]);
                }
                Came::Refused => {}
                Came::Answered | Came::Nobody => is_any_good = true,
                Came::Silent => return,
            }
        }
    }

    fn refuse(&self, part: Range<usize>, reason: &Reason) {
        let reason = reason.clone();
        let refused = Answer::All(Outcome::PayloadRejected { reason });
        self.shared.queue.enter(self.number, part, Ok(refused));
    }

    /// Sends a part, and enters what came of it, if that is its end. After silence the rest has not left.
    async fn part(&mut self, part: Range<usize>) -> Came {
        let queue = &self.shared.queue;
        let here = queue.here(self.number, part.clone());
        if here == 0 {
            return Came::Nobody;
        }
        queue.spend(Instant::now(), here);
        let said = self.exchange(part.clone()).await;
        let came = match &said {
            Ok(Answer::All(Outcome::PayloadRejected { .. })) => Came::Refused,
            Ok(_) | Err(Attempt::Answered(_)) => Came::Answered,
            Err(attempt) if *attempt == NOBODY => Came::Nobody,
            Err(_) => Came::Silent,
        };
        if came == Came::Refused && part.len() > 1 {
            queue.stay(self.number);
        } else {
            queue.enter(self.number, part, said);
        }
        came
    }
}
