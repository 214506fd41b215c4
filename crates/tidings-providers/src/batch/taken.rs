//! A batch that a connection has taken: who of it may still leave, who has left and is not answered, and what comes of each.

use std::ops::Range;

use crate::attempt::{Attempt, Cause};
use crate::batch::Answer;

/// Where a delivery of a batch is.
#[derive(Debug)]
enum Place<D> {
    /// With the connection: it may leave, and may be taken back.
    Here(D),
    /// Its request may have left, and has no answer.
    Out(D),
    /// The same, and it does not leave once more: somebody has wanted it back meanwhile.
    Last(D),
    /// It has been taken back, or answered.
    Gone,
}

impl<D> Place<D> {
    /// What is here or out, which is gone then.
    fn take(&mut self) -> Option<D> {
        match std::mem::replace(self, Self::Gone) {
            Self::Here(delivery) | Self::Out(delivery) | Self::Last(delivery) => Some(delivery),
            Self::Gone => None,
        }
    }

    fn is_out(&self) -> bool {
        matches!(self, Self::Out(_) | Self::Last(_))
    }
}

/// The deliveries of a batch. Those that a request goes for are out until it is known whether the provider has looked at it.
#[derive(Debug)]
pub(super) struct Taken<D>(Vec<Place<D>>);

impl<D> Taken<D> {
    pub(super) fn new(batch: Vec<D>) -> Self {
        Self(batch.into_iter().map(Place::Here).collect())
    }

    /// How many of a part may leave.
    pub(super) fn here(&self, part: Range<usize>) -> usize {
        let part = self.0[part].iter();
        part.filter(|place| matches!(place, Place::Here(_))).count()
    }

    /// A request goes for a part: for those of it who may leave, by their numbers.
    pub(super) fn leave(&mut self, part: Range<usize>) -> Vec<usize> {
        let mut leaving = Vec::with_capacity(part.len());
        for index in part {
            if let Place::Here(_) = &self.0[index]
                && let Some(delivery) = self.0[index].take()
            {
                self.0[index] = Place::Out(delivery);
                leaving.push(index);
            }
        }
        leaving
    }

    /// Of those that are out nobody has been looked at by the provider: they may leave again. Gives back those that may not,
    /// for `why`.
    pub(super) fn stay(&mut self, why: &Cause) -> Vec<(D, Attempt)> {
        let mut back = Vec::new();
        for place in &mut self.0 {
            match std::mem::replace(place, Place::Gone) {
                Place::Out(delivery) => *place = Place::Here(delivery),
                Place::Last(delivery) => back.push((delivery, Attempt::NotSent(why.clone()))),
                other => *place = other,
            }
        }
        back
    }

    /// What came of a part: of those of it that are out if there are such, else of those that are here.
    pub(super) fn enter(
        &mut self,
        part: Range<usize>,
        said: Result<Answer, Attempt>,
    ) -> Vec<(D, Attempt)> {
        let places = &mut self.0[part];
        let out = places.iter().filter(|place| place.is_out()).count();
        let meant = places
            .iter_mut()
            .filter(|place| out == 0 || place.is_out())
            .filter_map(Place::take);
        let attempt = match said {
            Ok(Answer::Each(outcomes)) if outcomes.len() == out => {
                let outcomes = outcomes.into_iter().map(Attempt::Answered);
                return meant.zip(outcomes).collect();
            }
            Ok(Answer::Each(outcomes)) => {
                // Ours to be right about: an answer that fits none of the devices is no answer.
                let text = format!("{} outcomes for {out} devices", outcomes.len());
                Attempt::Unanswered(Cause::ConnectionLost(text.into()))
            }
            Ok(Answer::All(outcome)) => Attempt::Answered(outcome),
            Ok(Answer::AccessRefused(reason)) => {
                Attempt::Answered(tidings_model::Outcome::CredentialRejected { reason })
            }
            Ok(Answer::NotSaved(reason)) => Attempt::Answered(tidings_model::Outcome::Retry {
                reason,
                after: None,
            }),
            Err(attempt) => attempt,
        };
        meant.map(|delivery| (delivery, attempt.clone())).collect()
    }

    /// Takes back those that are `meant`. One that is out stays until there is an answer, and does not leave once more.
    pub(super) fn withdraw(&mut self, mut meant: impl FnMut(&D) -> bool) -> Vec<D> {
        let mut back = Vec::new();
        for place in &mut self.0 {
            match std::mem::replace(place, Place::Gone) {
                Place::Here(delivery) if meant(&delivery) => back.push(delivery),
                Place::Out(delivery) if meant(&delivery) => *place = Place::Last(delivery),
                other => *place = other,
            }
        }
        back
    }

    /// Nothing more comes of it, for `cause`.
    pub(super) fn end(self, cause: &Cause) -> impl Iterator<Item = (D, Attempt)> {
        self.0.into_iter().filter_map(|mut place| {
            let attempt = match place.is_out() {
                true => Attempt::Unanswered(cause.clone()),
                false => Attempt::NotSent(cause.clone()),
            };
            Some((place.take()?, attempt))
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_model::Outcome;

    use super::*;

    fn taken(count: u32) -> Taken<u32> {
        Taken::new((0..count).collect())
    }

    fn accepted() -> Attempt {
        Attempt::Answered(Outcome::Accepted { id: None })
    }

    #[test]
    fn who_is_taken_back_does_not_leave_and_the_answer_is_for_the_others() {
        let mut taken = taken(5);
        assert_eq!(taken.withdraw(|number| *number == 1), [1]);
        assert_eq!(taken.here(0..5), 4);
        assert_eq!(taken.leave(0..5), [0, 2, 3, 4]);
        let outcomes = (0..4).map(|_| Outcome::Accepted { id: None }).collect();
        let answered = taken.enter(0..5, Ok(Answer::Each(outcomes)));
        let expected = [0, 2, 3, 4].map(|number| (number, accepted()));
        assert_eq!(answered, expected);
        assert_eq!(taken.end(&Cause::Shutdown).count(), 0);
    }

    #[test]
    fn who_is_out_keeps_its_answer_and_does_not_leave_once_more() {
        let mut taken = taken(3);
        assert_eq!(taken.leave(0..3), [0, 1, 2]);
        assert!(taken.withdraw(|number| *number == 1).is_empty());
        let unsent = Attempt::NotSent(Cause::Withdrawn);
        assert_eq!(taken.stay(&Cause::Withdrawn), [(1, unsent)]);
        assert_eq!(taken.leave(0..3), [0, 2]);
        assert!(taken.withdraw(|number| *number == 0).is_empty());
        let all = Ok(Answer::All(Outcome::Accepted { id: None }));
        assert_eq!(taken.enter(0..3, all), [(0, accepted()), (2, accepted())]);
    }

    #[test]
    fn what_is_cut_short_is_unanswered_if_it_is_out() {
        let mut taken = taken(3);
        taken.leave(1..2);
        let cause = Cause::Shutdown;
        let ended: Vec<_> = taken.end(&cause).collect();
        let unsent = Attempt::NotSent(cause.clone());
        let unanswered = Attempt::Unanswered(cause);
        assert_eq!(ended, [(0, unsent.clone()), (1, unanswered), (2, unsent)]);
    }

    #[test]
    fn an_answer_that_fits_nobody_is_none() {
        let mut taken = taken(2);
        taken.leave(0..2);
        let answered = taken.enter(0..2, Ok(Answer::Each(Vec::new())));
        assert_eq!(answered.len(), 2);
        for (_, attempt) in answered {
            assert!(matches!(attempt, Attempt::Unanswered(_)), "{attempt}");
        }
    }
}
