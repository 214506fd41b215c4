//! The client of providers that take many devices in one request, against a provider that does what it is told.

mod peer;
mod silence;
mod withdrawn;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidings_providers::{Answers, Attempt, Delivery, Route};
use tokio::time::timeout;
use uuid::Uuid;

/// One for each number; its address is `phone-` and the number.
fn deliveries(
    notification: &Arc<String>,
    numbers: std::ops::Range<usize>,
) -> VecDeque<Delivery<String, usize>> {
    let delivery = |number| Delivery {
        token: format!("phone-{number}").into(),
        id: Uuid::new_v4(),
        notification: Arc::clone(notification),
        route: Route::default(),
        tag: number,
    };
    numbers.map(delivery).collect()
}

/// What comes back, until so many have.
async fn answered(
    answers: &mut impl Answers<String, usize>,
    count: usize,
) -> HashMap<usize, Attempt> {
    let mut answered = Vec::new();
    let fetching = async {
        while answered.len() < count && answers.recv_many(&mut answered, count).await > 0 {}
    };
    let within = Duration::from_secs(20);
    timeout(within, fetching).await.expect("answers");
    assert_eq!(answered.len(), count);
    answered
        .into_iter()
        .map(|(delivery, attempt)| (delivery.tag, attempt))
        .collect()
}
