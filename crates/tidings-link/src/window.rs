//! What of a connection's messages has not ended, in the order in which they were sent, with what of the log was passed
//! between them.

use std::collections::VecDeque;

use tidings_model::{MsgId, Parts};
use tidings_store::{Acked, Cursor, LinkEnd, LogEnd, Position};

use crate::limits::WINDOW_MAX;

/// Besides those in flight it holds those that have ended and wait for one before them in the log; together at most
/// [`WINDOW_MAX`], and what was passed between any two of them.
#[derive(Default)]
pub(crate) struct Window(VecDeque<Flight>);

enum Flight {
    /// From the inbox.
    Inbox(Sent),
    /// From the log.
    Log(Sent, Position),
    /// Of the log, up to its position; not sent.
    Passed(Cursor),
}

struct Sent {
    end: Option<LinkEnd>,
    message: MsgId,
    parts: Parts,
}

/// The number by which MQTT knows a message in flight. Two parts of a message may be in flight at once, but not one part
/// twice, so a bit beside the id tells them apart. It is the same on every connection, and so is the packet identifier
/// that is derived from it.
pub(crate) fn tag(message: MsgId, parts: Parts) -> u64 {
    message.0.cast_unsigned() << 1 | u64::from(parts.notification)
}

impl Window {
    pub(crate) fn has_room(&self) -> bool {
        let sent = |flight: &&Flight| !matches!(flight, Flight::Passed(_));
        self.0.iter().filter(sent).count() < WINDOW_MAX
    }

    /// A message is in flight; `place` is that in the log, if it is from there.
    pub(crate) fn sent(&mut self, message: MsgId, parts: Parts, place: Option<Position>) {
        let sent = Sent {
            end: None,
            message,
            parts,
        };
        self.0.push_back(match place {
            Some(position) => Flight::Log(sent, position),
            None => Flight::Inbox(sent),
        });
    }

    /// Nothing up to the position of `passed` is to be sent but what was.
    pub(crate) fn passed(&mut self, passed: Cursor) {
        let last = self.0.iter_mut().rev().find_map(|flight| match flight {
            Flight::Inbox(_) => None,
            Flight::Log(..) => Some(None),
            Flight::Passed(cursor) => Some(Some(cursor)),
        });
        match last.flatten() {
            Some(cursor) => cursor.pass(passed),
            None => self.0.push_back(Flight::Passed(passed)),
        }
    }

    /// Notes the end of what is in flight under a tag; one that is not in the window is not ours to end.
    pub(crate) fn end(&mut self, ended: u64, end: LinkEnd) {
        let sent = self.0.iter_mut().find_map(|flight| match flight {
            Flight::Inbox(sent) | Flight::Log(sent, _) => {
                (tag(sent.message, sent.parts) == ended).then_some(sent)
            }
            Flight::Passed(_) => None,
        });
        if let Some(sent) = sent {
            sent.end.get_or_insert(end);
        }
    }

    /// The next that may be remembered. Those of the log come out in the order of the log, since they move a cursor: one
    /// waits until all before it have ended.
    pub(crate) fn take_ended(&mut self) -> Option<Acked> {
        let mut log_blocked = false;
        let next = self.0.iter().position(|flight| match flight {
            Flight::Inbox(sent) => sent.end.is_some(),
            Flight::Log(sent, _) => {
                let may_go = sent.end.is_some() && !log_blocked;
                log_blocked = true;
                may_go
            }
            Flight::Passed(_) => {
                let may_go = !log_blocked;
                log_blocked = true;
                may_go
            }
        });
        let next = self.0.remove(next?)?;
        if self.0.is_empty() {
            self.0 = VecDeque::new(); // An idle connection holds no buffer.
        }
        Some(match next {
            Flight::Inbox(sent) => Acked::Inbox {
                end: sent.end?,
                message: sent.message,
                parts: sent.parts,
            },
            Flight::Log(sent, position) => Acked::Log {
                ended: Some(LogEnd {
                    end: sent.end?,
                    message: sent.message,
                    position,
                }),
                passed: Cursor::to(position),
            },
            Flight::Passed(passed) => Acked::Log {
                ended: None,
                passed,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Parts = Parts {
        message: false,
        notification: true,
    };
    const HANDED: Parts = Parts {
        message: true,
        notification: false,
    };

    fn inbox(message: i64, parts: Parts) -> Acked {
        Acked::Inbox {
            end: LinkEnd::Delivered,
            message: MsgId(message),
            parts,
        }
    }

    fn logged(message: i64, position: i64, end: LinkEnd) -> Acked {
        Acked::Log {
            ended: Some(LogEnd {
                end,
                message: MsgId(message),
                position: Position(position),
            }),
            passed: Cursor::to(Position(position)),
        }
    }

    fn passed(position: i64) -> Acked {
        Acked::Log {
            ended: None,
            passed: Cursor::to(Position(position)),
        }
    }

    #[test]
    fn the_log_is_acknowledged_in_order_and_the_inbox_at_once() {
        let mut window = Window::default();
        let delivered =
            |window: &mut Window, id| window.end(tag(MsgId(id), SHOWN), LinkEnd::Delivered);
        window.sent(MsgId(1), SHOWN, Some(Position(11)));
        window.sent(MsgId(2), SHOWN, None);
        window.passed(Cursor::to(Position(12)));
        window.sent(MsgId(3), SHOWN, Some(Position(13)));
        window.sent(MsgId(4), SHOWN, Some(Position(14)));
        window.passed(Cursor::to(Position(15)));
        window.passed(Cursor::to(Position(16)));
        delivered(&mut window, 3);
        assert_eq!(window.take_ended(), None);
        delivered(&mut window, 2);
        assert_eq!(window.take_ended(), Some(inbox(2, SHOWN)));
        window.end(tag(MsgId(1), SHOWN), LinkEnd::Refused(0x87));
        delivered(&mut window, 1);
        delivered(&mut window, 9);
        let refused = logged(1, 11, LinkEnd::Refused(0x87));
        assert_eq!(window.take_ended(), Some(refused));
        assert_eq!(window.take_ended(), Some(passed(12)));
        assert_eq!(window.take_ended(), Some(logged(3, 13, LinkEnd::Delivered)));
        assert_eq!(window.take_ended(), None);
        delivered(&mut window, 4);
        assert_eq!(window.take_ended(), Some(logged(4, 14, LinkEnd::Delivered)));
        assert_eq!(window.take_ended(), Some(passed(16)));
        assert_eq!(window.take_ended(), None);
        assert!(window.0.is_empty());
    }

    #[test]
    fn two_parts_of_a_message_are_acknowledged_apart() {
        let mut window = Window::default();
        window.sent(MsgId(1), HANDED, Some(Position(11)));
        window.sent(MsgId(1), SHOWN, None);
        window.end(tag(MsgId(1), SHOWN), LinkEnd::Delivered);
        assert_eq!(window.take_ended(), Some(inbox(1, SHOWN)));
        assert_eq!(window.take_ended(), None);
        window.end(tag(MsgId(1), HANDED), LinkEnd::Delivered);
        assert_eq!(window.take_ended(), Some(logged(1, 11, LinkEnd::Delivered)));
    }
}
