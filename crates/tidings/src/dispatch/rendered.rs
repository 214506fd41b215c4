//! Notifications that are under way, each made once: a provider that saves a message, or that is given it in batches, knows
//! it by its being the same.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tidings_model::{MsgId, Reason};

/// With so many, those that are not under way any more are looked for.
const SWEPT_FROM: usize = 64;

/// Of one lane: pages of one message follow each other, and those of others come between.
pub(super) struct Rendered<N> {
    last: Option<(MsgId, Result<Arc<N>, Reason>)>,
    sweep_at: usize,
    under_way: HashMap<MsgId, Weak<N>>,
}

impl<N> Default for Rendered<N> {
    fn default() -> Self {
        Self {
            last: None,
            sweep_at: SWEPT_FROM,
            under_way: HashMap::new(),
        }
    }
}

impl<N> Rendered<N> {
    /// The one of a message; `render` makes it.
    pub(super) fn of(
        &mut self,
        message: MsgId,
        render: impl FnOnce() -> Result<Arc<N>, Reason>,
    ) -> Result<Arc<N>, Reason> {
        if let Some((id, notification)) = &self.last
            && *id == message
        {
            return notification.clone();
        }
        let known = self.under_way.get(&message).and_then(Weak::upgrade);
        let notification = match known {
            Some(notification) => Ok(notification),
            None => render(),
        };
        if let Ok(notification) = &notification {
            self.under_way.insert(message, Arc::downgrade(notification));
        }
        if self.under_way.len() >= self.sweep_at {
            self.under_way
                .retain(|_, notification| notification.strong_count() > 0);
            self.sweep_at = SWEPT_FROM.max(2 * self.under_way.len());
        }
        self.last = Some((message, notification.clone()));
        notification
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_whose_pages_come_in_turn_are_each_made_once() {
        let mut rendered = Rendered::default();
        let (mut made, mut held) = (0, Vec::new());
        for _ in 0..3 {
            for message in [1, 2] {
                let notification = rendered.of(MsgId(message), || {
                    made += 1;
                    Ok(Arc::new(message))
                });
                held.push(notification.expect("fit"));
            }
        }
        assert_eq!(made, 2);
        assert!(Arc::ptr_eq(&held[0], &held[4]) && Arc::ptr_eq(&held[1], &held[5]));
    }

    #[test]
    fn what_is_not_under_way_is_not_kept() {
        let mut rendered = Rendered::default();
        for message in 0..10_000 {
            let notification = rendered.of(MsgId(message), || Ok(Arc::new(())));
            assert!(notification.is_ok());
        }
        assert!(rendered.under_way.len() <= SWEPT_FROM);
        let unfit = rendered.of(MsgId(1), || Err(Reason::known("unfit")));
        assert_eq!(unfit, Err(Reason::known("unfit")));
    }
}
