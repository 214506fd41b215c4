//! Messages that were sent on a connection and are not acknowledged, in the order in which they were sent.

use std::collections::VecDeque;

use tidings_model::MsgId;
use tidings_store::AckKind;

use crate::limits::WINDOW_MAX;

/// Besides those in flight it holds the acknowledged ones that wait for one before them; together at most [`WINDOW_MAX`].
#[derive(Default)]
pub(crate) struct Window(VecDeque<Flight>);

#[derive(Clone, Copy)]
struct Flight {
    ended: Option<End>,
    kind: AckKind,
    message: MsgId,
}

/// How a message ended on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    /// The device cannot take it.
    Dropped,
}

impl Window {
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < WINDOW_MAX
    }

    pub(crate) fn sent(&mut self, message: MsgId, kind: AckKind) {
        self.0.push_back(Flight {
            ended: None,
            kind,
            message,
        });
    }

    /// Notes the end of a message; one that is not in the window is not ours to end.
    pub(crate) fn end(&mut self, message: MsgId, end: End) {
        if let Some(flight) = self.0.iter_mut().find(|flight| flight.message == message) {
            flight.ended.get_or_insert(end);
        }
    }

    /// The next end that may be remembered. Those of the log come out in the order of the log, since they move a cursor:
    /// one waits until all before it have ended.
    pub(crate) fn take_ended(&mut self) -> Option<(MsgId, AckKind, End)> {
        let mut log_blocked = false;
        for index in 0..self.0.len() {
            let Flight {
                ended,
                kind,
                message,
            } = self.0[index];
            match (ended, kind) {
                (Some(end), AckKind::Logged) if !log_blocked => {
                    self.0.remove(index);
                    return Some((message, kind, end));
                }
                (Some(end), AckKind::Inbox) => {
                    self.0.remove(index);
                    return Some((message, kind, end));
                }
                (_, AckKind::Logged) => log_blocked = true,
                (None, AckKind::Inbox) => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_acknowledged_in_order_and_the_inbox_at_once() {
        let mut window = Window::default();
        for (id, kind) in [
            (1, AckKind::Logged),
            (2, AckKind::Inbox),
            (3, AckKind::Logged),
            (4, AckKind::Logged),
        ] {
            window.sent(MsgId(id), kind);
        }
        window.end(MsgId(3), End::Delivered);
        assert_eq!(window.take_ended(), None);
        window.end(MsgId(2), End::Delivered);
        assert_eq!(
            window.take_ended(),
            Some((MsgId(2), AckKind::Inbox, End::Delivered))
        );
        window.end(MsgId(1), End::Dropped);
        window.end(MsgId(1), End::Delivered);
        window.end(MsgId(9), End::Delivered);
        assert_eq!(
            window.take_ended(),
            Some((MsgId(1), AckKind::Logged, End::Dropped))
        );
        assert_eq!(
            window.take_ended(),
            Some((MsgId(3), AckKind::Logged, End::Delivered))
        );
        assert_eq!(window.take_ended(), None);
    }
}
