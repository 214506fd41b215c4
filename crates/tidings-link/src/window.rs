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
    Inbox(Sent, Option<LinkEnd>),
    /// From the log.
    Log(Sent, Position, Turn),
    /// Of the log, up to its position; not sent.
    Passed(Cursor),
}

struct Sent {
    message: MsgId,
    parts: Parts,
}

/// How far a message of the log is.
enum Turn {
    Ended(LinkEnd),
    InFlight,
    /// It has ended, and the store knows of it.
    Told,
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
        let sent = Sent { message, parts };
        self.0.push_back(match place {
            Some(position) => Flight::Log(sent, position, Turn::InFlight),
            None => Flight::Inbox(sent, None),
        });
    }

    /// A logged message has ended on an earlier connection, ahead of one that has not.
    pub(crate) fn known(&mut self, message: MsgId, position: Position) {
        let parts = Parts::default();
        let sent = Sent { message, parts };
        self.0.push_back(Flight::Log(sent, position, Turn::Told));
    }

    /// Nothing up to the position of `passed` is to be sent but what was.
    pub(crate) fn passed(&mut self, passed: Cursor) {
        let last = self.0.iter_mut().rev().find_map(|flight| match flight {
            Flight::Inbox(..) => None,
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
        for flight in &mut self.0 {
            match flight {
                Flight::Inbox(sent, open @ None) if tag(sent.message, sent.parts) == ended => {
                    *open = Some(end);
                    return;
                }
                Flight::Log(sent, _, turn @ Turn::InFlight)
                    if tag(sent.message, sent.parts) == ended =>
                {
                    *turn = Turn::Ended(end);
                    return;
                }
                Flight::Inbox(..) | Flight::Log(..) | Flight::Passed(_) => {}
            }
        }
    }

    /// The next that may be remembered. Those of the log move a cursor, in the order of the log: one that waits for another
    /// before it is remembered as ahead of the cursor, and passed when its turn comes.
    pub(crate) fn take_ended(&mut self) -> Option<Acked> {
        let mut is_behind = false;
        for index in 0..self.0.len() {
            match &mut self.0[index] {
                Flight::Inbox(_, None) => {}
                Flight::Log(_, _, Turn::InFlight) => is_behind = true,
                Flight::Log(sent, position, turn) if is_behind => {
                    if let Turn::Ended(end) = std::mem::replace(turn, Turn::Told) {
                        let (message, position) = (sent.message, *position);
                        return Some(Acked::Ahead(LogEnd {
                            end,
                            message,
                            position,
                        }));
                    }
                }
                Flight::Passed(_) if is_behind => {}
                Flight::Inbox(..) | Flight::Log(..) | Flight::Passed(_) => {
                    return self.take(index);
                }
            }
        }
        None
    }

    /// Takes out what has ended, and nothing is before it.
    fn take(&mut self, index: usize) -> Option<Acked> {
        let flight = self.0.remove(index)?;
        if self.0.is_empty() {
            self.0 = VecDeque::new(); // An idle connection holds no buffer.
        }
        let (ended, passed) = match flight {
            Flight::Inbox(Sent { message, parts }, end) => {
                return Some(Acked::Inbox {
                    end: end?,
                    message,
                    parts,
                });
            }
            Flight::Log(Sent { message, .. }, position, turn) => {
                let ended = match turn {
                    Turn::Ended(end) => Some(LogEnd {
                        end,
                        message,
                        position,
                    }),
                    Turn::InFlight | Turn::Told => None,
                };
                (ended, Cursor::to(position))
            }
            Flight::Passed(passed) => (None, passed),
        };
        Some(Acked::Log { ended, passed })
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
        let ahead = Acked::Ahead(LogEnd {
            end: LinkEnd::Delivered,
            message: MsgId(3),
            position: Position(13),
        });
        assert_eq!(window.take_ended(), Some(ahead));
        assert_eq!(window.take_ended(), None);
        delivered(&mut window, 3);
        delivered(&mut window, 2);
        assert_eq!(window.take_ended(), Some(inbox(2, SHOWN)));
        window.end(tag(MsgId(1), SHOWN), LinkEnd::Refused(0x87));
        delivered(&mut window, 1);
        delivered(&mut window, 9);
        let refused = logged(1, 11, LinkEnd::Refused(0x87));
        assert_eq!(window.take_ended(), Some(refused));
        assert_eq!(window.take_ended(), Some(passed(12)));
        // That one has ended is known already: only the cursor passes it.
        assert_eq!(window.take_ended(), Some(passed(13)));
        assert_eq!(window.take_ended(), None);
        delivered(&mut window, 4);
        assert_eq!(window.take_ended(), Some(logged(4, 14, LinkEnd::Delivered)));
        assert_eq!(window.take_ended(), Some(passed(16)));
        assert_eq!(window.take_ended(), None);
        assert!(window.0.is_empty());
    }

    #[test]
    fn what_ended_on_an_earlier_connection_waits_only_for_its_turn() {
        let mut window = Window::default();
        window.sent(MsgId(1), SHOWN, Some(Position(11)));
        window.known(MsgId(2), Position(12));
        assert_eq!(window.take_ended(), None);
        window.end(tag(MsgId(1), SHOWN), LinkEnd::TooLarge);
        assert_eq!(window.take_ended(), Some(logged(1, 11, LinkEnd::TooLarge)));
        assert_eq!(window.take_ended(), Some(passed(12)));
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
