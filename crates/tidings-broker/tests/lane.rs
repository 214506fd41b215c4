//! A lane in simulated time, with a provider that answers at random: whatever it says, each delivery is settled once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidings_broker::lane::{Item, Lane};
use tidings_broker::{Failure, RetryPolicy};
use tidings_model::{Outcome, Reason};
use tidings_providers::jitter::Jitter;
use tidings_providers::{Attempt, Cause};

fn reason(word: &'static str) -> Reason {
    Reason::known(word)
}

fn retry(after: Option<Duration>) -> Attempt {
    Attempt::Answered(Outcome::Retry {
        reason: reason("ServiceUnavailable"),
        after,
    })
}

fn rejected() -> Attempt {
    Attempt::Answered(Outcome::CredentialRejected {
        reason: reason("InvalidProviderToken"),
    })
}

fn lane() -> Lane<usize> {
    Lane::new(RetryPolicy::default(), true, Jitter::seeded(1))
}

/// All that the lane has to give at `now`.
fn ready(lane: &mut Lane<usize>, now: Instant) -> VecDeque<Item<usize>> {
    lane.handle_timeout(now);
    std::iter::from_fn(|| lane.next(now)).collect()
}

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        4 => Just(Attempt::Answered(Outcome::Accepted { id: None })),
        1 => Just(Attempt::Answered(Outcome::PayloadRejected { reason: reason("BadTopic") })),
        1 => Just(Attempt::Answered(Outcome::Unregistered { reason: reason("Unregistered"), since: None })),
        2 => proptest::option::of(0u64..100).prop_map(|secs| retry(secs.map(Duration::from_secs))),
        1 => Just(Attempt::Answered(Outcome::Throttled { reason: reason("TooManyRequests"), after: None })),
        2 => Just(Attempt::NotSent(Cause::RefusedStream)),
        2 => Just(Attempt::Unanswered(Cause::TimedOut)),
        1 => Just(rejected()),
    ]
}

/// A step of the simulation.
#[derive(Clone, Debug)]
enum Step {
    Queue { expires_secs: Option<u64> },
    Send,
    Answer(Attempt),
    AnswerOutdated(Attempt),
    Pass { millis: u64 },
    Unpark,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::option::of(0u64..30).prop_map(|expires_secs| Step::Queue { expires_secs }),
        4 => Just(Step::Send),
        4 => attempt().prop_map(Step::Answer),
        1 => attempt().prop_map(Step::AnswerOutdated),
        3 => (0u64..5000).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Unpark),
    ]
}

proptest! {
    #[test]
    fn each_delivery_is_settled_once(
        steps in proptest::collection::vec(step(), 0..300),
        seed: u64,
        closes: bool,
    ) {
        let policy = RetryPolicy::default();
        let mut lane = Lane::new(policy.clone(), true, Jitter::seeded(seed));
        let mut now = Instant::now();
        let mut queued = 0;
        let mut flying = VecDeque::new();
        for step in steps {
            match step {
                Step::Queue { expires_secs } => {
                    lane.queue(queued, expires_secs.map(|secs| now + Duration::from_secs(secs)));
                    queued += 1;
                }
                Step::Send => flying.extend(lane.next(now)),
                Step::Answer(attempt) => {
                    if let Some(item) = flying.pop_front() {
                        lane.apply(now, item, attempt);
                    }
                }
                Step::AnswerOutdated(attempt) => {
                    if let Some(item) = flying.pop_front() {
                        lane.apply_outdated(now, item, attempt);
                    }
                }
                Step::Pass { millis } => {
                    now += Duration::from_millis(millis);
                    lane.handle_timeout(now);
                }
                Step::Unpark => lane.unpark(),
            }
            prop_assert_eq!(lane.len(), queued);
            prop_assert_eq!(lane.status().in_flight, flying.len());
        }
        // Now the provider takes everything, or the lane is closed and everything in flight is lost.
        if closes {
            lane.close();
            for item in flying.drain(..) {
                lane.apply(now, item, Attempt::Unanswered(Cause::Shutdown));
            }
        }
        lane.unpark();
        while lane.unsettled() > 0 {
            lane.handle_timeout(now);
            flying.extend(std::iter::from_fn(|| lane.next(now)));
            if flying.is_empty() && lane.unsettled() > 0 {
                let timeout = lane.poll_timeout();
                prop_assert!(timeout.is_some_and(|at| at > now), "stuck: {:?}", lane.status());
                now = timeout.unwrap_or(now);
            }
            for item in flying.drain(..) {
                lane.apply(now, item, Attempt::Answered(Outcome::Accepted { id: None }));
            }
        }
        let mut settled = BTreeMap::new();
        for settlement in lane.fetch(usize::MAX) {
            prop_assert!(settlement.attempts <= policy.retries_max + policy.unanswered_max + 1);
            prop_assert!(settled.insert(settlement.delivery, settlement.result).is_none());
        }
        prop_assert_eq!(settled.len(), queued);
        prop_assert!(lane.is_empty());
    }
}

#[test]
fn a_throttled_device_waits_alone() {
    let (mut lane, now) = (lane(), Instant::now());
    (0..100).for_each(|number| lane.queue(number, None));
    for item in ready(&mut lane, now) {
        let attempt = match item.delivery {
            7 => Attempt::Answered(Outcome::Throttled {
                reason: reason("TooManyRequests"),
                after: Some(Duration::from_secs(60)),
            }),
            _ => Attempt::Answered(Outcome::Accepted { id: None }),
        };
        lane.apply(now, item, attempt);
    }
    assert_eq!(lane.fetch(1000).count(), 99);
    lane.queue(100, None);
    assert_eq!(ready(&mut lane, now).len(), 1);
    let due = lane.poll_timeout().expect("the throttled one");
    assert!(due >= now + Duration::from_secs(60));
    assert_eq!(ready(&mut lane, due).len(), 1);
}

#[test]
fn a_provider_that_cannot_now_is_not_hammered() {
    let (mut lane, start) = (lane(), Instant::now());
    (0..1000).for_each(|number| lane.queue(number, None));
    let mut now = start;
    let mut sent = 0;
    while now < start + Duration::from_secs(60) {
        lane.handle_timeout(now);
        // As a client with 50 streams would take them.
        for item in std::iter::from_fn(|| lane.next(now))
            .take(50)
            .collect::<Vec<_>>()
        {
            sent += 1;
            lane.apply(now, item, retry(None));
        }
        now += Duration::from_millis(10);
    }
    // Alone, the deliveries' own waits would allow about 6 tries of each.
    assert!(sent < 2500, "{sent} requests to a provider that cannot");
    assert!(
        sent > 500,
        "{sent} requests: the lane has stopped altogether"
    );
    // One yes, and the lane runs again.
    now += Duration::from_secs(5);
    lane.handle_timeout(now);
    let item = lane.next(now).expect("one after the pause");
    lane.apply(now, item, Attempt::Answered(Outcome::Accepted { id: None }));
    assert!(lane.next(now).is_some());
}

#[test]
fn a_few_refusals_do_not_hold_up_the_others() {
    let (mut lane, now) = (lane(), Instant::now());
    (0..10_000).for_each(|number| lane.queue(number, None));
    let mut refused = 0;
    while let Some(item) = lane.next(now) {
        let refuse = item.delivery % 3 == 0;
        refused += usize::from(refuse);
        let attempt = if refuse {
            retry(None)
        } else {
            Attempt::Answered(Outcome::Accepted { id: None })
        };
        lane.apply(now, item, attempt);
    }
    assert_eq!(refused, 3334);
    assert_eq!(lane.fetch(usize::MAX).count(), 6666);
}

#[test]
fn a_parked_lane_sends_nothing_loses_nothing_and_lets_expire() {
    let (mut lane, now) = (lane(), Instant::now());
    lane.queue(0, None);
    lane.queue(1, Some(now + Duration::from_secs(10)));
    lane.queue(2, None);
    let first = lane.next(now).expect("the first");
    lane.apply(now, first, rejected());
    assert!(lane.is_parked());
    assert!(lane.next(now).is_none());
    let later = lane.poll_timeout().expect("the one that expires");
    assert_eq!(later, now + Duration::from_secs(10));
    lane.handle_timeout(later);
    let expired: Vec<_> = lane.fetch(10).collect();
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].delivery, 1);
    assert_eq!(expired[0].result, Err(Failure::Expired { last: None }));
    lane.unpark();
    let order: Vec<_> = ready(&mut lane, later)
        .into_iter()
        .map(|item| item.delivery)
        .collect();
    assert_eq!(order, [0, 2]);
}

#[test]
fn a_parked_lane_asks_again_now_and_then_and_resumes_when_the_credential_is_good() {
    let (mut lane, mut now) = (lane(), Instant::now());
    (0..3).for_each(|number| lane.queue(number, None));
    let first = lane.next(now).expect("the first");
    lane.apply(now, first, rejected());
    let mut waits = Vec::new();
    for attempt in [
        rejected(),
        Attempt::NotSent(Cause::GoAway),
        Attempt::Unanswered(Cause::TimedOut),
        rejected(),
        rejected(),
        rejected(),
    ] {
        assert!(lane.next(now).is_none());
        // What did not leave waits for its own next try, too, so this may be somebody else's time.
        let before = now;
        let probe = loop {
            now = lane.poll_timeout().expect("a probe");
            lane.handle_timeout(now);
            if let Some(probe) = lane.next(now) {
                break probe;
            }
        };
        waits.push((now - before).as_secs());
        assert!(lane.next(now).is_none(), "one at a time");
        lane.apply(now, probe, attempt);
        assert!(lane.is_parked());
    }
    assert!((30..=60).contains(&waits[0]), "{waits:?}");
    assert!((450..=900).contains(&waits[5]), "{waits:?}");
    now = lane.poll_timeout().expect("a probe");
    lane.handle_timeout(now);
    let probe = lane.next(now).expect("a probe");
    let accepted = Attempt::Answered(Outcome::Accepted { id: None });
    lane.apply(now, probe, accepted);
    assert!(!lane.is_parked());
    assert_eq!(ready(&mut lane, now).len(), 2);
}

#[test]
fn a_closed_lane_tells_what_may_have_been_taken() {
    let (mut lane, now) = (lane(), Instant::now());
    (0..4).for_each(|number| lane.queue(number, None));
    let mut flying = ready(&mut lane, now);
    let mut next = || flying.pop_front().expect("one of four");
    lane.apply(now, next(), Attempt::Unanswered(Cause::TimedOut));
    lane.apply(now, next(), Attempt::NotSent(Cause::GoAway));
    lane.close();
    lane.apply(now, next(), Attempt::NotSent(Cause::Shutdown));
    lane.apply(
        now,
        next(),
        Attempt::Answered(Outcome::Accepted { id: None }),
    );
    let results: BTreeMap<_, _> = lane
        .fetch(10)
        .map(|settlement| (settlement.delivery, settlement.result))
        .collect();
    assert_eq!(results[&0], Err(Failure::Unanswered(Cause::GoAway)));
    assert_eq!(results[&1], Err(Failure::NotSent(Cause::GoAway)));
    assert_eq!(results[&2], Err(Failure::NotSent(Cause::Shutdown)));
    assert_eq!(results[&3], Ok(()));
    assert_eq!(lane.cut_short(), 3);
}
