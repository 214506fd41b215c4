//! Whether a provider's word against a token may cost the token.
//!
//! Some words can be the credential's fault as well (`Outcome::Unregistered` that is not `certain`): its topic is
//! misspelt, or it is led to the other environment. So such a word counts only while the credential is known to be good for
//! tokens: the provider has accepted something within the last hour, for the same topic at the same host. A guard belongs to
//! one credential there, and a new one begins with each that is set.
//!
//! A provider that has no other word for phones that have removed the app says it all the time, also where a push goes to one
//! phone and nothing else has been sent for long. There an acceptance vouches for as long as the credential is set, and the
//! word is not held against the credential before several phones have heard it.

use std::time::Duration;

use tidings_broker::{Failure, Settled};
use tidings_model::{Outcome, Provider, Reason};
use tokio::time::Instant;

/// An acceptance vouches for the credential for so long.
const VOUCHES: Duration = Duration::from_secs(60 * 60);
/// From this many doubted tokens in an hour on, and when they are more than were accepted, it is likelier that the credential
/// is for other tokens than that all of them are wrong: it may accept the few of a test build, say.
const BULK_MIN: u32 = 20;

/// Phones that have to hear the word of a provider that says it of dead ones as well, while nothing is accepted, before it is
/// held against the credential.
const SEVERAL: usize = 3;

#[derive(Debug)]
pub(super) struct Guard {
    accepted_at: Option<Instant>,
    /// Since the credential was set.
    has_accepted: bool,
    /// Tokens that heard the word while nothing vouched for the credential: the first few, or none where one is enough.
    heard_by: Option<Vec<Box<str>>>,
    /// In the hour that began at `since`.
    accepted: u32,
    doubted: u32,
    since: Option<Instant>,
    word: Option<Option<Reason>>,
}

impl Guard {
    /// Of a credential with which something has been accepted since it was set, or not.
    pub(super) fn new(provider: Provider, has_accepted: bool) -> Self {
        let says_it_of_the_dead = !provider.nature().has_word_for_dead;
        Self {
            accepted_at: None,
            has_accepted,
            heard_by: says_it_of_the_dead.then(Vec::new),
            accepted: 0,
            doubted: 0,
            since: None,
            word: None,
        }
    }

    /// Takes note of what became of a delivery.
    pub(super) fn hear<T>(&mut self, settled: &Settled<T>, now: Instant) {
        if settled.outdated {
            return;
        }
        match &settled.result {
            Ok(()) => {
                *self.count(now).0 += 1;
                self.accepted_at = Some(now);
                self.has_accepted = true;
                self.word = Some(None);
            }
            Err(Failure::Refused(Outcome::Unregistered {
                certain: false,
                reason,
                ..
            })) => {
                *self.count(now).1 += 1;
                if !self.is_vouched_for(now) && self.is_heard_by_several(&settled.token) {
                    self.word = Some(Some(reason.clone()));
                }
            }
            Err(_) => {}
        }
    }

    /// Acceptances and doubts of this hour.
    fn count(&mut self, now: Instant) -> (&mut u32, &mut u32) {
        if self.since.is_none_or(|since| now - since >= VOUCHES) {
            (self.accepted, self.doubted, self.since) = (0, 0, Some(now));
        }
        (&mut self.accepted, &mut self.doubted)
    }

    fn is_vouched_for(&self, now: Instant) -> bool {
        match self.heard_by {
            Some(_) => self.has_accepted,
            None => self.accepted_at.is_some_and(|at| now - at < VOUCHES),
        }
    }

    /// Takes note of who has heard a word against the credential.
    fn is_heard_by_several(&mut self, token: &str) -> bool {
        let Some(tokens) = &mut self.heard_by else {
            return true;
        };
        if tokens.len() < SEVERAL && tokens.iter().all(|known| **known != *token) {
            tokens.push(token.into());
        }
        tokens.len() >= SEVERAL
    }

    /// Whether something has been accepted since the credential was set.
    pub(super) fn has_accepted(&self) -> bool {
        self.has_accepted
    }

    /// Whether a token may be removed now on a word that is not certain. Best asked when the whole page has been answered:
    /// what was accepted after the word counts, too.
    pub(super) fn condemns(&self, now: Instant) -> bool {
        self.is_vouched_for(now) && (self.doubted < BULK_MIN || self.doubted <= self.accepted)
    }

    /// What the credential's record should say: the provider's word of tokens, as long as nothing is accepted, or (`Some(None)`)
    /// that it is good; none when nothing has shown either.
    pub(super) fn word(&self) -> Option<Option<&Reason>> {
        self.word.as_ref().map(Option::as_ref)
    }

    /// Somebody else has found out how the credential stands: what was heard before is no news any more.
    pub(super) fn overrule(&mut self) {
        self.word = None;
    }
}

#[cfg(test)]
mod tests {
    use tidings_broker::Progress;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn settled(result: Result<(), Failure>) -> Settled {
        Settled {
            token: "aa".into(),
            id: uuid::Uuid::nil(),
            tag: (),
            result,
            attempts: 1,
            outdated: false,
            progress: Progress::default(),
            provider_id: None,
        }
    }

    fn unfit(word: &'static str) -> Settled {
        settled(Err(Failure::Refused(Outcome::Unregistered {
            certain: false,
            reason: Reason::known(word),
            since: None,
        })))
    }

    #[test]
    fn a_credential_that_nothing_vouches_for_costs_no_token_and_its_record_says_what_apple_says() {
        let (mut guard, now) = (Guard::new(Provider::Apns, false), Instant::now());
        assert_eq!(guard.word(), None);
        for _ in 0..30 {
            guard.hear(&unfit("BadDeviceToken"), now);
            assert!(!guard.condemns(now));
        }
        let word = guard.word().flatten().map(Reason::as_str);
        assert_eq!(word, Some("BadDeviceToken"));
    }

    #[test]
    fn an_acceptance_vouches_for_an_hour() {
        let (mut guard, now) = (Guard::new(Provider::Apns, false), Instant::now());
        guard.hear(&unfit("DeviceTokenNotForTopic"), now);
        guard.hear(&settled(Ok(())), now);
        assert_eq!(guard.word(), Some(None));
        guard.hear(&unfit("DeviceTokenNotForTopic"), now + MINUTE);
        assert!(guard.condemns(now + 59 * MINUTE));
        assert_eq!(guard.word(), Some(None), "it is the token that is wrong");
        guard.hear(&unfit("DeviceTokenNotForTopic"), now + 60 * MINUTE);
        assert!(!guard.condemns(now + 60 * MINUTE));
        assert!(guard.word().flatten().is_some());
    }

    #[test]
    fn a_few_that_are_accepted_do_not_vouch_for_many() {
        let (mut guard, now) = (Guard::new(Provider::Apns, false), Instant::now());
        guard.hear(&settled(Ok(())), now);
        for _ in 1..BULK_MIN {
            guard.hear(&unfit("BadDeviceToken"), now);
            assert!(guard.condemns(now));
        }
        guard.hear(&unfit("BadDeviceToken"), now);
        assert!(!guard.condemns(now));
        for _ in 1..BULK_MIN {
            guard.hear(&settled(Ok(())), now);
        }
        assert!(guard.condemns(now));
    }

    #[test]
    fn what_was_accepted_with_the_credential_before_vouches_for_nothing() {
        let (mut guard, now) = (Guard::new(Provider::Apns, false), Instant::now());
        let late = Settled {
            outdated: true,
            ..settled(Ok(()))
        };
        guard.hear(&late, now);
        guard.hear(&unfit("BadDeviceToken"), now);
        assert!(!guard.condemns(now));
    }
    fn of_phone(number: usize, settled: Settled) -> Settled {
        Settled {
            token: number.to_string().into(),
            ..settled
        }
    }

    #[test]
    fn where_the_word_is_said_of_dead_phones_one_of_them_is_not_held_against_the_credential() {
        let (mut guard, now) = (Guard::new(Provider::Huawei, false), Instant::now());
        for _ in 0..30 {
            guard.hear(&of_phone(1, unfit("80300007")), now);
        }
        guard.hear(&of_phone(2, unfit("80300007")), now);
        assert_eq!(guard.word(), None);
        assert!(!guard.condemns(now), "nothing vouches for it");
        guard.hear(&of_phone(3, unfit("80300007")), now);
        let word = guard.word().flatten().map(Reason::as_str);
        assert_eq!(word, Some("80300007"));
    }

    #[test]
    fn where_the_word_is_said_of_dead_phones_an_acceptance_vouches_for_as_long_as_the_credential_is_set()
     {
        let now = Instant::now();
        // As after a restart, or an hour without work.
        let mut guard = Guard::new(Provider::Huawei, true);
        guard.hear(&of_phone(1, unfit("80300007")), now);
        assert!(guard.condemns(now));
        for number in 2..=usize::try_from(BULK_MIN).expect("few") {
            guard.hear(&of_phone(number, unfit("80300007")), now);
        }
        assert!(!guard.condemns(now), "all of them are not wrong");
        assert_eq!(guard.word(), None);
    }
}
