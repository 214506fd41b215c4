//! A queue in simulated time, with a provider that answers at random: whatever it says, each delivery is settled once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidings_broker::queue::{Item, Queue};
use tidings_broker::{Failure, Progress, RetryPolicy};
use tidings_model::{Outcome, Reason, Spent, UnixMillis};
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

fn spent() -> Spent {
    Spent::until(reason("33"), UnixMillis(1_800_000_000_000))
}

fn unfit() -> Attempt {
    Attempt::Answered(Outcome::Unregistered {
        certain: false,
        reason: reason("BadDeviceToken"),
        since: None,
    })
}

fn queue() -> Queue<usize> {
    Queue::new(RetryPolicy::default(), true, Jitter::seeded(1))
}

/// A new delivery that is not urgent.
fn push(queue: &mut Queue<usize>, number: usize, expires: Option<Instant>) {
    queue.push(Item::new(number, expires, Progress::default(), false));
}

fn accepted() -> Attempt {
    Attempt::Answered(Outcome::Accepted { id: None })
}

fn numbers(items: impl IntoIterator<Item = Item<usize>>) -> Vec<usize> {
    items.into_iter().map(|item| item.delivery).collect()
}

/// All that the queue has to give at `now`.
fn ready(queue: &mut Queue<usize>, now: Instant) -> VecDeque<Item<usize>> {
    queue.handle_timeout(now);
    std::iter::from_fn(|| queue.next(now)).collect()
}

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        4 => Just(accepted()),
        1 => Just(Attempt::Answered(Outcome::PayloadRejected { reason: reason("BadTopic") })),
        1 => Just(Attempt::Answered(Outcome::Unregistered { certain: true, reason: reason("Unregistered"), since: None })),
        1 => Just(unfit()),
        2 => proptest::option::of(0u64..100).prop_map(|secs| retry(secs.map(Duration::from_secs))),
        1 => Just(Attempt::Answered(Outcome::Throttled { reason: reason("TooManyRequests"), after: None })),
        1 => Just(Attempt::Answered(Outcome::QuotaSpent(spent()))),
        1 => Just(Attempt::NotSent(Cause::QuotaSpent(spent()))),
        2 => Just(Attempt::NotSent(Cause::RefusedStream)),
        2 => Just(Attempt::Unanswered(Cause::TimedOut)),
        1 => Just(rejected()),
    ]
}

/// A step of the simulation.
#[derive(Clone, Debug)]
enum Step {
    Queue {
        expires_secs: Option<u64>,
        urgent: bool,
    },
    Send,
    Answer(Attempt),
    AnswerOutdated(Attempt),
    Pass {
        millis: u64,
    },
    Unpark,
    /// Takes back every third, or one of those that were handed out and have not left.
    Withdraw {
        handed_out: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (proptest::option::of(0u64..30), any::<bool>())
            .prop_map(|(expires_secs, urgent)| Step::Queue { expires_secs, urgent }),
        4 => Just(Step::Send),
        4 => attempt().prop_map(Step::Answer),
        1 => attempt().prop_map(Step::AnswerOutdated),
        3 => (0u64..5000).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Unpark),
        1 => any::<bool>().prop_map(|handed_out| Step::Withdraw { handed_out }),
    ]
}

proptest! {
    #[test]
    fn each_delivery_is_settled_once(
        steps in proptest::collection::vec(step(), 0..300),
        seed: u64,
        closes: bool,
        defer_secs in proptest::option::of(0u64..60),
    ) {
        let policy = RetryPolicy::default();
        let mut queue = Queue::new(policy.clone(), true, Jitter::seeded(seed));
        queue.defer(defer_secs.map(Duration::from_secs));
        let mut now = Instant::now();
        let mut queued = 0;
        let mut withdrawn = Vec::new();
        let mut flying = VecDeque::new();
        for step in steps {
            match step {
                Step::Queue { expires_secs, urgent } => {
                    let expires = expires_secs.map(|secs| now + Duration::from_secs(secs));
                    queue.push(Item::new(queued, expires, Progress::default(), urgent));
                    queued += 1;
                }
                Step::Send => flying.extend(queue.next(now)),
                Step::Answer(attempt) => {
                    if let Some(item) = flying.pop_front() {
                        queue.apply(now, item, attempt);
                    }
                }
                Step::AnswerOutdated(attempt) => {
                    if let Some(item) = flying.pop_front() {
                        queue.apply_outdated(now, item, attempt);
                    }
                }
                Step::Pass { millis } => {
                    now += Duration::from_millis(millis);
                    queue.handle_timeout(now);
                }
                Step::Unpark => queue.unpark(),
                Step::Withdraw { handed_out: false } => {
                    withdrawn.extend(queue.withdraw(|number| number % 3 == 0));
                }
                Step::Withdraw { handed_out: true } => {
                    let last = flying.pop_back();
                    withdrawn.extend(last.map(|item| queue.withdraw_handed_out(item)));
                }
            }
            prop_assert_eq!(queue.len() + withdrawn.len(), queued);
            prop_assert_eq!(queue.status().in_flight, flying.len());
        }
        // Now the provider takes everything, or the queue is closed and what is in flight is lost or not taken.
        if closes {
            let last_words = [Attempt::Unanswered(Cause::Shutdown), rejected(), retry(None)];
            queue.close();
            for (item, last) in flying.drain(..).zip(last_words.into_iter().cycle()) {
                queue.apply(now, item, last);
            }
        }
        queue.unpark();
        while queue.unsettled() > 0 {
            queue.handle_timeout(now);
            flying.extend(std::iter::from_fn(|| queue.next(now)));
            if flying.is_empty() && queue.unsettled() > 0 {
                let timeout = queue.poll_timeout();
                prop_assert!(timeout.is_some_and(|at| at > now), "stuck: {:?}", queue.status());
                now = timeout.unwrap_or(now);
            }
            for item in flying.drain(..) {
                queue.apply(now, item, accepted());
            }
        }
        let mut settled = BTreeMap::new();
        let fetched: Vec<_> = queue.fetch(usize::MAX).collect();
        for settlement in fetched.into_iter().chain(withdrawn) {
            if let Err(Failure::Deferred { until: Some(_) }) = settlement.result {
                prop_assert!(defer_secs.is_some());
            }
            prop_assert!(settlement.attempts <= policy.retries_max + policy.unanswered_max + 1);
            prop_assert!(settled.insert(settlement.delivery, settlement.result).is_none());
        }
        prop_assert_eq!(settled.len(), queued);
        prop_assert!(queue.is_empty());
    }
}

#[test]
fn a_throttled_device_waits_alone() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..100).for_each(|number| push(&mut queue, number, None));
    for item in ready(&mut queue, now) {
        let attempt = match item.delivery {
            7 => Attempt::Answered(Outcome::Throttled {
                reason: reason("TooManyRequests"),
                after: Some(Duration::from_secs(60)),
            }),
            _ => accepted(),
        };
        queue.apply(now, item, attempt);
    }
    assert_eq!(queue.fetch(1000).count(), 99);
    push(&mut queue, 100, None);
    assert_eq!(ready(&mut queue, now).len(), 1);
    let due = queue.poll_timeout().expect("the throttled one");
    assert!(due >= now + Duration::from_secs(60));
    assert_eq!(ready(&mut queue, due).len(), 1);
}

#[test]
fn a_provider_that_cannot_now_is_not_hammered() {
    let (mut queue, start) = (queue(), Instant::now());
    (0..1000).for_each(|number| push(&mut queue, number, None));
    let mut now = start;
    let mut sent = 0;
    while now < start + Duration::from_secs(60) {
        queue.handle_timeout(now);
        // As a client with 50 streams would take them.
        for item in std::iter::from_fn(|| queue.next(now))
            .take(50)
            .collect::<Vec<_>>()
        {
            sent += 1;
            queue.apply(now, item, retry(None));
        }
        now += Duration::from_millis(10);
    }
    // Alone, the deliveries' own waits would allow about 6 tries of each.
    assert!(sent < 2500, "{sent} requests to a provider that cannot");
    assert!(
        sent > 500,
        "{sent} requests: the queue has stopped altogether"
    );
    // One yes, and the queue runs again.
    now += Duration::from_secs(5);
    queue.handle_timeout(now);
    let item = queue.next(now).expect("one after the pause");
    queue.apply(now, item, accepted());
    assert!(queue.next(now).is_some());
}

#[test]
fn a_few_refusals_do_not_hold_up_the_others() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..10_000).for_each(|number| push(&mut queue, number, None));
    let mut refused = 0;
    while let Some(item) = queue.next(now) {
        let refuse = item.delivery % 3 == 0;
        refused += usize::from(refuse);
        let attempt = if refuse { retry(None) } else { accepted() };
        queue.apply(now, item, attempt);
    }
    assert_eq!(refused, 3334);
    assert_eq!(queue.fetch(usize::MAX).count(), 6666);
}

#[test]
fn a_parked_queue_sends_nothing_loses_nothing_and_lets_expire() {
    let (mut queue, now) = (queue(), Instant::now());
    push(&mut queue, 0, None);
    push(&mut queue, 1, Some(now + Duration::from_secs(10)));
    push(&mut queue, 2, None);
    let first = queue.next(now).expect("the first");
    queue.apply(now, first, rejected());
    assert!(queue.is_parked());
    assert!(queue.next(now).is_none());
    let later = queue.poll_timeout().expect("the one that expires");
    assert_eq!(later, now + Duration::from_secs(10));
    queue.handle_timeout(later);
    let expired: Vec<_> = queue.fetch(10).collect();
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].delivery, 1);
    assert_eq!(expired[0].result, Err(Failure::Expired { last: None }));
    queue.unpark();
    assert_eq!(numbers(ready(&mut queue, later)), [0, 2]);
}

#[test]
fn a_parked_queue_asks_again_now_and_then_and_resumes_when_the_credential_is_good() {
    let (mut queue, mut now) = (queue(), Instant::now());
    (0..3).for_each(|number| push(&mut queue, number, None));
    let first = queue.next(now).expect("the first");
    queue.apply(now, first, rejected());
    let mut waits = Vec::new();
    for attempt in [
        rejected(),
        Attempt::NotSent(Cause::GoAway),
        Attempt::Unanswered(Cause::TimedOut),
        rejected(),
        rejected(),
        rejected(),
    ] {
        assert!(queue.next(now).is_none());
        // What did not leave waits for its own next try, too, so this may be somebody else's time.
        let before = now;
        let probe = loop {
            now = queue.poll_timeout().expect("a probe");
            queue.handle_timeout(now);
            if let Some(probe) = queue.next(now) {
                break probe;
            }
        };
        waits.push((now - before).as_secs());
        assert!(queue.next(now).is_none(), "one at a time");
        queue.apply(now, probe, attempt);
        assert!(queue.is_parked());
    }
    assert!((30..=60).contains(&waits[0]), "{waits:?}");
    assert!((450..=900).contains(&waits[5]), "{waits:?}");
    now = queue.poll_timeout().expect("a probe");
    queue.handle_timeout(now);
    let probe = queue.next(now).expect("a probe");
    let accepted = accepted();
    queue.apply(now, probe, accepted);
    assert!(!queue.is_parked());
    assert_eq!(ready(&mut queue, now).len(), 2);
}

#[test]
fn a_closed_queue_tells_what_may_have_been_taken() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..4).for_each(|number| push(&mut queue, number, None));
    let mut flying = ready(&mut queue, now);
    let mut next = || flying.pop_front().expect("one of four");
    queue.apply(now, next(), Attempt::Unanswered(Cause::TimedOut));
    queue.apply(now, next(), Attempt::NotSent(Cause::GoAway));
    queue.close();
    queue.apply(now, next(), Attempt::NotSent(Cause::Shutdown));
    queue.apply(now, next(), accepted());
    let results: BTreeMap<_, _> = queue
        .fetch(10)
        .map(|settlement| (settlement.delivery, settlement.result))
        .collect();
    assert_eq!(results[&0], Err(Failure::Unanswered(Cause::GoAway)));
    assert_eq!(results[&1], Err(Failure::NotSent(Cause::GoAway)));
    assert_eq!(results[&2], Err(Failure::NotSent(Cause::Shutdown)));
    assert_eq!(results[&3], Ok(()));
    assert_eq!(queue.cut_short(), 3);
}

/// However many of those in flight come back refused for the credential's sake, or for a bad time, while the queue is being
/// closed: a stop makes no refusal of it.
#[test]
fn what_a_closed_queue_hears_is_no_refusal() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..40).for_each(|number| push(&mut queue, number, None));
    let mut flying = ready(&mut queue, now);
    let first = flying.pop_front().expect("forty");
    queue.apply(now, first, rejected());
    let second = flying.pop_front().expect("forty");
    queue.apply(now, second, Attempt::Unanswered(Cause::TimedOut));
    queue.close();
    let throttled = Attempt::Answered(Outcome::Throttled {
        reason: reason("TooManyRequests"),
        after: None,
    });
    let answers = [rejected(), retry(None), throttled];
    for (item, answer) in flying.drain(..).zip(answers.into_iter().cycle()) {
        queue.apply(now, item, answer);
    }
    assert_eq!(queue.cut_short(), 40);
    let results: BTreeMap<_, _> = queue
        .fetch(40)
        .map(|settlement| (settlement.delivery, settlement.result))
        .collect();
    let not_now = |word| Err(Failure::NotSent(Cause::NotNow(reason(word))));
    assert_eq!(results[&0], not_now("InvalidProviderToken"));
    assert_eq!(results[&1], Err(Failure::Unanswered(Cause::TimedOut)));
    assert_eq!(results[&2], not_now("InvalidProviderToken"));
    assert_eq!(results[&3], not_now("ServiceUnavailable"));
    assert_eq!(results[&4], not_now("TooManyRequests"));
    let unfinished = |result: &Result<(), Failure>| {
        matches!(result, Err(Failure::NotSent(_) | Failure::Unanswered(_)))
    };
    assert!(results.values().all(unfinished), "{results:?}");
}

#[test]
fn what_the_provider_wants_much_later_is_put_away_and_goes_on_where_it_was() {
    let (mut queue, now) = (queue(), Instant::now());
    queue.defer(Some(Duration::from_secs(5)));
    (0..3).for_each(|number| push(&mut queue, number, None));
    push(&mut queue, 3, Some(now + Duration::from_secs(60)));
    let hour = Duration::from_secs(3600);
    for item in ready(&mut queue, now) {
        let answer = match item.delivery {
            0 => accepted(),
            1 => retry(None), // within a second
            _ => retry(Some(hour)),
        };
        queue.apply(now, item, answer);
    }
    let settled: Vec<_> = queue.fetch(10).collect();
    assert_eq!(settled.len(), 3);
    let deferred = &settled[1];
    assert_eq!(deferred.delivery, 2);
    let Err(Failure::Deferred { until: Some(until) }) = deferred.result else {
        panic!("{deferred:?}");
    };
    assert!(until >= now + hour);
    let word = Some(reason("ServiceUnavailable"));
    assert_eq!(settled[2].result, Err(Failure::Expired { last: word }));
    assert_eq!(queue.unsettled(), 1);

    // Its attempts are remembered for it: so it ends as if it had stayed.
    let mut progress = deferred.progress.clone();
    for retries in 1..=RetryPolicy::default().retries_max {
        assert_eq!((progress.retries, progress.attempts()), (retries, retries));
        let mut queue = self::queue();
        queue.defer(Some(Duration::ZERO));
        queue.push(Item::new(2, None, progress, false));
        let item = queue.next(now).expect("one");
        queue.apply(now, item, retry(Some(hour)));
        let settlement = queue.fetch(1).next().expect("it was put away, or given up");
        let given_up = matches!(settlement.result, Err(Failure::GivenUp(_)));
        assert_eq!(given_up, retries == RetryPolicy::default().retries_max);
        progress = settlement.progress;
    }
}

#[test]
fn what_was_not_sent_is_not_put_away() {
    let (mut queue, now) = (queue(), Instant::now());
    queue.defer(Some(Duration::ZERO));
    push(&mut queue, 0, None);
    let item = queue.next(now).expect("one");
    queue.apply(now, item, Attempt::NotSent(Cause::GoAway));
    assert_eq!(queue.status().waiting, 1);
}

#[test]
fn what_stands_behind_a_rejected_credential_is_put_away_but_for_one_that_asks() {
    let (mut queue, start) = (queue(), Instant::now());
    let longest = Duration::from_secs(5);
    queue.defer(Some(longest));
    (0..100).for_each(|number| push(&mut queue, number, None));
    let first = queue.next(start).expect("the first");
    queue.apply(start, first, rejected());
    assert!(queue.status().is_held_up());
    assert_eq!(queue.poll_timeout(), Some(start + longest));
    queue.handle_timeout(start + longest - Duration::from_millis(1));
    assert!(!queue.has_settled());
    queue.handle_timeout(start + longest);
    let away: Vec<_> = queue.fetch(1000).collect();
    assert_eq!(away.len(), 99);
    let put_away = Err(Failure::Deferred { until: None });
    assert!(away.iter().all(|settlement| settlement.result == put_away));

    // More that comes is put away, too; the one that stayed asks in due time, and what came meanwhile is not held for it.
    let mut now = start + longest;
    push(&mut queue, 100, None);
    queue.handle_timeout(now);
    assert_eq!(queue.fetch(1000).count(), 1);
    let probe = loop {
        now = queue.poll_timeout().expect("a probe");
        queue.handle_timeout(now);
        if let Some(probe) = queue.next(now) {
            break probe;
        }
    };
    assert!(now >= start + Duration::from_secs(30));
    assert_eq!(probe.delivery, 0);
    push(&mut queue, 101, None);
    queue.handle_timeout(now);
    assert_eq!(queue.fetch(1000).count(), 1);
    queue.apply(now, probe, accepted());
    assert_eq!(queue.status().parked, None);
    push(&mut queue, 102, None);
    assert_eq!(numbers(ready(&mut queue, now)), [102]);
}

#[test]
fn a_parked_queue_that_holds_nothing_wants_something_to_ask_with() {
    let (mut queue, now) = (queue(), Instant::now());
    queue.defer(Some(Duration::ZERO));
    push(&mut queue, 0, Some(now + Duration::from_secs(1)));
    let first = queue.next(now).expect("the first");
    queue.apply(now, first, rejected());
    assert!(queue.status().is_held_up());
    queue.handle_timeout(now + Duration::from_secs(1));
    assert!(queue.is_parked() && !queue.status().is_held_up());
}

#[test]
fn urgent_ones_go_first_in_their_order() {
    let (mut queue, now) = (queue(), Instant::now());
    let mut push = |number, urgent| {
        queue.push(Item::new(number, None, Progress::default(), urgent));
    };
    (0..3).for_each(|number| push(number, false));
    (10..13).for_each(|number| push(number, true));
    let first = queue.next(now).expect("an urgent one");
    queue.apply(now, first, Attempt::NotSent(Cause::RefusedStream));
    let due = queue.poll_timeout().expect("its next try");
    assert_eq!(numbers(ready(&mut queue, due)), [11, 12, 10, 0, 1, 2]);
}

#[test]
fn what_is_withdrawn_is_gone_with_its_progress() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..6).for_each(|number| push(&mut queue, number, None));
    let first = queue.next(now).expect("one");
    queue.apply(now, first, Attempt::Unanswered(Cause::TimedOut));
    let flying = queue.next(now).expect("one");
    let unsent = queue.next(now).expect("one");
    let mut withdrawn = queue.withdraw(|number| *number < 4);
    withdrawn.push(queue.withdraw_handed_out(unsent));
    let mut told: Vec<_> = withdrawn
        .iter()
        .map(|settlement| (settlement.delivery, settlement.progress.unanswered))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (2, 0), (3, 0)]);
    let taken_back = Err(Failure::Withdrawn);
    assert!(withdrawn.iter().all(|one| one.result == taken_back));
    queue.apply(now, flying, accepted());
    assert_eq!(numbers(ready(&mut queue, now)), [4, 5]);
    assert_eq!(queue.fetch(10).count(), 1);
}

/// Else nothing would ever ask again.
#[test]
fn a_withdrawn_probe_makes_room_for_another() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..2).for_each(|number| push(&mut queue, number, None));
    let first = queue.next(now).expect("the first");
    queue.apply(now, first, rejected());
    let due = queue.poll_timeout().expect("a probe");
    let probe = queue.next(due).expect("a probe");
    assert!(queue.next(due).is_none());
    queue.withdraw_handed_out(probe);
    assert!(queue.next(due).is_some());
}

#[test]
fn what_an_old_credential_may_be_to_blame_for_is_tried_with_the_new_one() {
    let (mut queue, now) = (queue(), Instant::now());
    (0..4).for_each(|number| push(&mut queue, number, None));
    let mut flying = ready(&mut queue, now);
    queue.unpark(); // as after a replacement
    for answer in [rejected(), unfit(), accepted()] {
        let item = flying.pop_front().expect("four");
        queue.apply_outdated(now, item, answer);
    }
    let settled: Vec<_> = queue.fetch(10).collect();
    assert_eq!((settled.len(), settled[0].delivery), (1, 2));
    assert!(settled[0].outdated);
    for item in ready(&mut queue, now) {
        queue.apply(now, item, accepted());
    }
    let settled: Vec<_> = queue.fetch(10).collect();
    assert_eq!(settled.len(), 2);
    assert!(
        settled
            .iter()
            .all(|one| one.result.is_ok() && !one.outdated)
    );
    queue.close();
    let last = flying.pop_front().expect("four");
    queue.apply_outdated(now, last, unfit());
    let last = queue.fetch(1).next().expect("the last");
    let not_sent = Failure::NotSent(Cause::NotNow(reason("BadDeviceToken")));
    assert_eq!(last.result, Err(not_sent));
}

#[test]
fn what_is_gathered_comes_back_together() {
    let now = Instant::now();
    let span = Duration::from_millis(250);
    let moments = |gathers: bool| {
        let mut queue = queue();
        if gathers {
            queue.gather(now, span);
        }
        for number in 0..1000 {
            push(&mut queue, number, None);
        }
        for item in ready(&mut queue, now) {
            queue.apply(now, item, retry(None));
        }
        let (mut moments, mut back) = (0, 0);
        while let Some(at) = queue.poll_timeout() {
            let count = ready(&mut queue, at).len();
            (moments, back) = (moments + usize::from(count > 0), back + count);
        }
        assert_eq!(back, 1000);
        moments
    };
    assert!(moments(true) <= 5, "a second at most, four times a second");
    assert!(moments(false) > 900);
}

#[test]
fn what_a_quota_is_used_up_for_comes_back_with_the_time_and_keeps_no_other() {
    let now = Instant::now();
    let mut queue = queue();
    queue.defer(Some(Duration::from_secs(2)));
    for number in 0..100 {
        push(&mut queue, number, None);
    }
    let answered = [
        Attempt::Answered(Outcome::QuotaSpent(spent())),
        Attempt::NotSent(Cause::QuotaSpent(spent())),
    ];
    let attempts = answered.into_iter().cycle().take(98);
    for (item, attempt) in ready(&mut queue, now).into_iter().zip(attempts) {
        queue.apply(now, item, attempt);
    }
    let settled: Vec<_> = queue.fetch(100).collect();
    assert_eq!(settled.len(), 98);
    for (settlement, attempts) in settled.iter().zip([1, 0].into_iter().cycle()) {
        assert_eq!(settlement.result, Err(Failure::QuotaSpent(spent())));
        assert_eq!(settlement.attempts, attempts);
        assert_eq!(settlement.progress.last, Some(reason("33")));
    }
    push(&mut queue, 100, None);
    assert_eq!(numbers(ready(&mut queue, now)), [100], "no pause");
}

#[test]
fn what_is_recalled_is_not_tried_again_from_here() {
    let now = Instant::now();
    let attempts = [
        retry(None),
        rejected(),
        Attempt::NotSent(Cause::Shutdown),
        Attempt::Unanswered(Cause::Shutdown),
    ];
    for attempt in attempts {
        let mut queue = queue();
        push(&mut queue, 1, None);
        push(&mut queue, 2, None);
        let items = ready(&mut queue, now);
        queue.recall(Some(Box::new(|number| *number == 2)));
        for item in items {
            queue.apply(now, item, attempt.clone());
        }
        let settled: Vec<_> = queue.fetch(10).collect();
        let [only] = &settled[..] else {
            panic!("{attempt:?}: {settled:?}");
        };
        assert_eq!(only.delivery, 2);
        assert!(
            matches!(only.result, Err(Failure::Deferred { .. })),
            "{attempt:?}"
        );
        assert_eq!(queue.unsettled(), 1, "{attempt:?}");
    }
}

#[test]
fn what_was_taken_back_on_its_way_comes_out_as_that_and_is_not_tried_again() {
    let now = Instant::now();
    let mut queue = queue();
    push(&mut queue, 1, None);
    let item = ready(&mut queue, now).pop_front().expect("one");
    queue.apply(now, item, Attempt::NotSent(Cause::Withdrawn));
    let settled = queue.fetch(1).next().expect("it is settled");
    assert_eq!(settled.result, Err(Failure::Withdrawn));
    assert_eq!(queue.unsettled(), 0);
    assert_eq!(queue.status().trouble, None);
}

#[test]
fn what_was_not_answered_is_put_away_by_who_wants_that() {
    let now = Instant::now();
    let mut queue = queue();
    queue.defer(Some(Duration::from_secs(2)));
    push(&mut queue, 1, None);
    let item = ready(&mut queue, now).pop_front().expect("one");
    queue.apply(now, item, Attempt::Unanswered(Cause::Shutdown));
    let settled = queue.fetch(1).next().expect("it is settled");
    assert!(matches!(
        settled.result,
        Err(Failure::Deferred { until: Some(_) })
    ));
    assert_eq!(settled.progress.unanswered, 1);
}
