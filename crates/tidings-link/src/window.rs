//! What of a connection's messages is in flight, in the order in which they were sent.

use tidings_model::{MsgId, Parts};
use tidings_store::{Acked, Cursor, LinkEnd, LogEnd, Position};

/// As many as the session lets be in flight.
#[derive(Default)]
pub(crate) struct Window(Vec<Flight>);

struct Flight {
    message: MsgId,
    parts: Parts,
    /// Its position in the log; none when it is from the inbox.
    place: Option<Position>,
}

/// The number by which MQTT knows a message in flight. Two parts of a message may be in flight at once, but not one part
/// twice, so a bit beside the id tells them apart. It is the same on every connection, and so is the packet identifier
/// that is derived from it.
pub(crate) fn tag(message: MsgId, parts: Parts) -> u64 {
    message.0.cast_unsigned() << 1 | u64::from(parts.notification)
}

impl Window {
    pub(crate) fn sent(&mut self, message: MsgId, parts: Parts, place: Option<Position>) {
        self.0.push(Flight {
            message,
            parts,
            place,
        });
    }

    /// What is to be remembered of the end of what is in flight under a tag; nothing of what is not, which is not ours to end.
    pub(crate) fn end(&mut self, ended: u64, end: LinkEnd) -> Option<Acked> {
        let is_it = |flight: &Flight| tag(flight.message, flight.parts) == ended;
        let index = self.0.iter().position(is_it)?;
        let Flight {
            message,
            parts,
            place,
        } = self.0.remove(index);
        if self.0.is_empty() {
            self.0 = Vec::new(); // An idle connection holds no buffer.
        }
        Some(match place {
            None => Acked::Inbox {
                end,
                message,
                parts,
            },
            Some(position) => Acked::Log {
                ended: Some(LogEnd {
                    end,
                    message,
                    position,
                }),
                passed: self.owing(Cursor::to(position)),
            },
        })
    }

    /// A cursor with what was sent up to its position and has not ended.
    pub(crate) fn owing(&self, cursor: Cursor) -> Cursor {
        let logged = self.0.iter().filter_map(|flight| flight.place);
        Cursor {
            owed: logged.filter(|place| *place <= cursor.position).collect(),
            ..cursor
        }
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

    fn logged(message: i64, position: i64, end: LinkEnd, owed: &[i64]) -> Acked {
        Acked::Log {
            ended: Some(LogEnd {
                end,
                message: MsgId(message),
                position: Position(position),
            }),
            passed: owing(position, owed),
        }
    }

    fn owing(position: i64, owed: &[i64]) -> Cursor {
        Cursor {
            owed: owed.iter().map(|owed| Position(*owed)).collect(),
            ..Cursor::to(Position(position))
        }
    }

    #[test]
    fn what_ends_before_an_older_one_leaves_that_owed() {
        let mut window = Window::default();
        let end = |window: &mut Window, id, end| window.end(tag(MsgId(id), SHOWN), end);
        let delivered = |window: &mut Window, id| end(window, id, LinkEnd::Delivered);
        window.sent(MsgId(1), SHOWN, Some(Position(11)));
        window.sent(MsgId(2), SHOWN, None);
        window.sent(MsgId(3), SHOWN, Some(Position(13)));
        window.sent(MsgId(4), SHOWN, Some(Position(14)));
        let third = logged(3, 13, LinkEnd::Delivered, &[11]);
        assert_eq!(delivered(&mut window, 3), Some(third));
        assert_eq!(delivered(&mut window, 3), None, "it has ended");
        assert_eq!(delivered(&mut window, 2), Some(inbox(2, SHOWN)));
        let passed = Cursor::to(Position(12));
        assert_eq!(window.owing(passed), owing(12, &[11]));
        let passed = Cursor::to(Position(20));
        assert_eq!(window.owing(passed), owing(20, &[11, 14]));
        let first = logged(1, 11, LinkEnd::Refused(0x87), &[]);
        assert_eq!(end(&mut window, 1, LinkEnd::Refused(0x87)), Some(first));
        assert_eq!(delivered(&mut window, 9), None);
        let last = logged(4, 14, LinkEnd::Delivered, &[]);
        assert_eq!(delivered(&mut window, 4), Some(last));
        assert!(window.0.is_empty());
    }

    #[test]
    fn two_parts_of_a_message_are_acknowledged_apart() {
        let mut window = Window::default();
        window.sent(MsgId(1), HANDED, Some(Position(11)));
        window.sent(MsgId(1), SHOWN, None);
        let end = |window: &mut Window, parts| window.end(tag(MsgId(1), parts), LinkEnd::Delivered);
        assert_eq!(end(&mut window, SHOWN), Some(inbox(1, SHOWN)));
        let logged = logged(1, 11, LinkEnd::Delivered, &[]);
        assert_eq!(end(&mut window, HANDED), Some(logged));
    }
}
