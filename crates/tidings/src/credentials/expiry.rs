//! Until when credentials are good, and the daily look at those that will not be for long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidings_model::{AppKey, Environment, Provider, Spent, UnixMillis};
use tidings_store::{CredentialRecord, Store};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

/// From this many days before its end, a credential is said to expire.
pub(crate) const NOTICE_DAYS: i64 = 30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How a credential stands, as far as it is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Expired,
    /// At most [`NOTICE_DAYS`] are left.
    Expiring,
    Good,
    /// The provider refused it when it was last used or checked.
    Rejected,
    /// A quota of it is used up.
    Throttled,
}

impl Health {
    pub(crate) fn of(record: &CredentialRecord, now: UnixMillis) -> Self {
        match (&record.rejected, expires_at(record)) {
            (Some(_), _) => Self::Rejected,
            (None, Some(end)) if end < now => Self::Expired,
            (None, _) if spent(record, now).next().is_some() => Self::Throttled,
            (None, Some(end)) if is_near(end, now) => Self::Expiring,
            (None, _) => Self::Good,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Good => "good",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
        }
    }
}

/// Its quotas that are used up at `now`.
pub(crate) fn spent(
    record: &CredentialRecord,
    now: UnixMillis,
) -> impl Iterator<Item = &Spent> + Clone {
    record.spent.iter().filter(move |spent| !spent.is_over(now))
}

/// When it ends; none for a signing key, which does not.
pub(crate) fn expires_at(record: &CredentialRecord) -> Option<UnixMillis> {
    let time: Timestamp = record.summary["expires_at"].as_str()?.parse().ok()?;
    Some(UnixMillis(time.as_millisecond()))
}

/// Whether at most [`NOTICE_DAYS`] are left, or none.
fn is_near(end: UnixMillis, now: UnixMillis) -> bool {
    end.0.saturating_sub(now.0) <= NOTICE_DAYS * DAY_MS
}

/// Whole days from `now` to `end`; negative when it is over.
pub(crate) fn days_left(end: UnixMillis, now: UnixMillis) -> i64 {
    end.0.saturating_sub(now.0).div_euclid(DAY_MS)
}

/// A credential that somebody should replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    app: AppKey,
    days: i64,
    environment: Option<Environment>,
    is_over: bool,
    provider: Provider,
    topic: String,
}

impl Notice {
    fn of(app: AppKey, record: &CredentialRecord, now: UnixMillis) -> Option<Self> {
        let end = expires_at(record)?;
        let days = days_left(end, now);
        is_near(end, now).then(|| Self {
            app,
            days,
            environment: record.slot.environment,
            is_over: end < now,
            provider: record.slot.provider,
            topic: record.summary["topic"].as_str().unwrap_or("-").to_owned(),
        })
    }

    fn log(&self) {
        let (app, days, topic) = (self.app, self.days, self.topic.as_str());
        let environment = self.environment.map(Environment::name);
        if self.is_over {
            error!(%app, environment, topic, days, "{self}");
        } else {
            warn!(%app, environment, topic, days, "{self}");
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match (self.is_over, self.days) {
            (true, _) => "has expired".to_owned(),
            (false, 0) => "expires within a day".to_owned(),
            (false, 1) => "expires in 1 day".to_owned(),
            (false, days) => format!("expires in {days} days"),
        };
        let provider = self.provider;
        write!(
            f,
            "the {provider} certificate {when}: make a new one in the developer account and set it with `tidings credential set {provider}`"
        )
    }
}

/// Those that have expired or soon will.
pub(crate) fn notices(credentials: &[(AppKey, CredentialRecord)], now: UnixMillis) -> Vec<Notice> {
    credentials
        .iter()
        .filter_map(|(app, record)| Notice::of(*app, record, now))
        .collect()
}

/// Logs, now and every day, a warning for each credential that expires soon, and an error for each that has expired.
pub(crate) async fn watch(store: Arc<Store>) {
    let mut tick = interval(DAY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match store.all_credentials().await {
            Ok(credentials) => {
                for notice in notices(&credentials, UnixMillis::now()) {
                    notice.log();
                }
            }
            Err(error) => error!(%error, "cannot see which credentials expire"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{self, Seek};
    use tidings_model::{AppId, Reason};
    use tidings_store::CredentialSlot;
    use tracing::subscriber::with_default;

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

    /// One that ends so long after `NOW`; one that does not end.
    fn record(ms_left: Option<i64>) -> CredentialRecord {
        let end = ms_left.map(|left| {
            let end = Timestamp::from_millisecond(NOW.0 + left).expect("a time");
            format!("{end:.3}")
        });
        CredentialRecord {
            accepted: false,
            rejected: None,
            spent: Vec::new(),
            slot: CredentialSlot {
                app: AppId(1),
                environment: Some(Environment::Production),
                provider: Provider::Apns,
            },
            summary: json!({"expires_at": end, "topic": "com.example.app"}),
            updated_at: NOW,
        }
    }

    #[test]
    fn health_is_told_by_what_is_left() {
        let cases = [
            (None, "good", None),
            (Some(31 * DAY_MS), "good", Some(31)),
            (Some(30 * DAY_MS + 1), "good", Some(30)),
            (Some(30 * DAY_MS), "expiring", Some(30)),
            (Some(DAY_MS), "expiring", Some(1)),
            (Some(1), "expiring", Some(0)),
            (Some(-1), "expired", Some(-1)),
            (Some(-3 * DAY_MS), "expired", Some(-3)),
        ];
        for (left, health, days) in cases {
            let mut record = record(left);
            assert_eq!(Health::of(&record, NOW).name(), health, "{left:?}");
            let found = expires_at(&record).map(|end| days_left(end, NOW));
            assert_eq!(found, days, "{left:?}");
            if left.is_none_or(|left| left >= 0) {
                let until = UnixMillis(NOW.0 + 1);
                record.spent = vec![Spent::until(Reason::known("33"), until)];
                assert_eq!(Health::of(&record, NOW), Health::Throttled);
                assert_ne!(Health::of(&record, until), Health::Throttled);
            }
            record.rejected = Some(Reason::known("BadCertificate"));
            assert_eq!(Health::of(&record, NOW), Health::Rejected);
        }
    }

    #[test]
    fn what_ends_soon_or_is_over_is_noticed_once() {
        let app = AppKey([1; 12]);
        let left = [
            None,
            Some(40 * DAY_MS),
            Some(12 * DAY_MS),
            Some(DAY_MS / 2),
            Some(-DAY_MS),
        ];
        let credentials: Vec<_> = left.iter().map(|left| (app, record(*left))).collect();
        let notices = notices(&credentials, NOW);
        let seen: Vec<_> = notices
            .iter()
            .map(|notice| (notice.days, notice.is_over, notice.to_string()))
            .collect();
        let text = |when: &str| {
            format!(
                "the apns certificate {when}: make a new one in the developer account and set it with `tidings credential set apns`"
            )
        };
        let expected = [
            (12, false, text("expires in 12 days")),
            (0, false, text("expires within a day")),
            (-1, true, text("has expired")),
        ];
        assert_eq!(seen, expected);
        assert_eq!(notices[0].topic, "com.example.app");
    }

    #[test]
    fn a_notice_is_a_warning_until_it_is_too_late() {
        let logged = |ms_left| {
            let file = Arc::new(tempfile::tempfile().expect("a file"));
            let log = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(Arc::clone(&file))
                .finish();
            let credentials = [(AppKey([1; 12]), record(Some(ms_left)))];
            with_default(log, || {
                notices(&credentials, NOW).iter().for_each(Notice::log);
            });
            let mut file = &*file;
            file.rewind().expect("its start");
            io::read_to_string(file).expect("text")
        };
        let fields = |days| {
            format!(
                "app=010101010101010101010101 environment=\"production\" topic=\"com.example.app\" days={days}\n"
            )
        };
        let (soon, over) = (logged(12 * DAY_MS), logged(-1));
        assert!(
            soon.contains(" WARN ") && soon.ends_with(&fields(12)),
            "{soon}"
        );
        assert!(
            over.contains(" ERROR ") && over.ends_with(&fields(-1)),
            "{over}"
        );
        assert_eq!(logged(40 * DAY_MS), "");
    }
}
