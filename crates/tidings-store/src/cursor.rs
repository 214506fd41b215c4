//! How far a device's log has been judged, and the exceptions: what was for the device and did not arrive.
//!
//! Everything up to the cursor's position was either not for the device, or acknowledged by it, or is an exception with its
//! reason. Exceptions are kept packed beside the position, the newest of them, a bounded number; of what is as old as
//! those that were let go it is not known any more what became of it. What ended above the position, behind a message that
//! the device says nothing of, stands beside them until the position has passed it.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Reason, UnixMillis};
use tracing::error;

use crate::StoreError;
use crate::codes::Code;
use crate::detail::Ending;
use crate::limits::EXCEPTIONS_MAX;
use crate::log::Position;
use crate::varint::{Damaged, Reader, put, put_word};

/// A logged message that was for the device and did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// To the second.
    pub at: UnixMillis,
    pub ending: Ending,
    pub position: Position,
    pub reason: Reason,
}

/// A logged message that ended at the device before one that comes before it in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// To the second.
    pub at: UnixMillis,
    /// Why it did not arrive; none when the device has acknowledged it.
    pub failed: Option<(Ending, Reason)>,
    pub position: Position,
}

/// How far a device's log has been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// What has ended above the position, in the order of the log.
    pub ahead: Vec<Ahead>,
    /// In the order of the log.
    pub exceptions: Vec<Exception>,
    /// Up to here it is not known any more what was an exception.
    pub forgotten: Position,
    pub position: Position,
}

/// What a cursor says of a position in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged<'a> {
    /// The device has acknowledged it, and not yet all before it.
    Acknowledged(UnixMillis),
    /// It was for the device and did not arrive: how it ended, why, and when.
    Exception(Ending, &'a Reason, UnixMillis),
    /// It has been judged too long ago.
    Forgotten,
    /// The cursor has yet to come there.
    NotYet,
    /// If it was for the device, the device has acknowledged it.
    Passed,
}

impl Cursor {
    /// One that stands at `position`, without exceptions.
    pub fn to(position: Position) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    pub fn at(&self, position: Position) -> Judged<'_> {
        if position > self.position {
            let ahead = self.ahead.iter().find(|ahead| ahead.position == position);
            return match ahead {
                None => Judged::NotYet,
                Some(Ahead {
                    at, failed: None, ..
                }) => Judged::Acknowledged(*at),
                Some(Ahead {
                    at,
                    failed: Some((ending, reason)),
                    ..
                }) => Judged::Exception(*ending, reason, *at),
            };
        }
        let exceptions = &self.exceptions;
        match exceptions.binary_search_by_key(&position, |exception| exception.position) {
            Ok(index) => {
                let Exception {
                    at, ending, reason, ..
                } = &exceptions[index];
                Judged::Exception(*ending, reason, *at)
            }
            Err(_) if position <= self.forgotten => Judged::Forgotten,
            Err(_) => Judged::Passed,
        }
    }

    /// Moves on to where `further` stands, with the exceptions that that has behind where this one stood.
    pub fn pass(&mut self, further: Self) {
        if further.position <= self.position {
            return;
        }
        self.forgotten = self.forgotten.max(further.forgotten);
        let before = self.position;
        let new = |exception: &Exception| exception.position > before;
        let exceptions = further.exceptions.into_iter().filter(new).collect();
        self.move_to(further.position, exceptions);
        let forgotten = self.forgotten;
        self.exceptions
            .retain(|exception| exception.position > forgotten);
    }

    /// Moves on to `to`. The exceptions lie between where it stood and there, in the order of the log.
    pub fn move_to(&mut self, to: Position, exceptions: Vec<Exception>) {
        self.position = to;
        // What ended ahead has ended as that, also where another connection knew nothing of it.
        let ahead = &self.ahead;
        let is_new = |exception: &Exception| {
            let place = |ahead: &Ahead| ahead.position;
            ahead
                .binary_search_by_key(&exception.position, place)
                .is_err()
        };
        self.exceptions
            .extend(exceptions.into_iter().filter(is_new));
        // What ended ahead and is passed now is an exception, or as good as all else that is passed.
        let passed = self.ahead.partition_point(|ahead| ahead.position <= to);
        let failed = self.ahead.drain(..passed).filter_map(|ahead| {
            let (ending, reason) = ahead.failed?;
            Some(Exception {
                at: ahead.at,
                ending,
                position: ahead.position,
                reason,
            })
        });
        let before = self.exceptions.len();
        self.exceptions.extend(failed);
        if self.exceptions.len() > before {
            self.exceptions.sort_by_key(|exception| exception.position);
        }
        let over = self.exceptions.len().saturating_sub(EXCEPTIONS_MAX);
        if let Some(last) = self.exceptions.drain(..over).next_back() {
            self.forgotten = last.position;
        }
    }
}

impl Cursor {
    /// Notes what ended above the position; false when it was known.
    pub(crate) fn end_ahead(&mut self, ended: Ahead) -> bool {
        let place = self
            .ahead
            .binary_search_by_key(&ended.position, |ahead| ahead.position);
        if let Err(place) = place {
            self.ahead.insert(place, ended);
        }
        place.is_err()
    }
}

/// A device's cursor; none for one that is not on the link.
pub(crate) fn find(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
) -> Result<Option<Cursor>, StoreError> {
    let mut select = sql.prepare_cached(
        "SELECT position, forgotten, exceptions FROM cursors WHERE app = ?1 AND device = ?2",
    )?;
    let found = select.query_row(params![app.0, device.0], |row| {
        let packed: Vec<u8> = row.get(2)?;
        Ok((Position(row.get(0)?), Position(row.get(1)?), packed))
    });
    let Some((position, forgotten, packed)) = found.optional()? else {
        return Ok(None);
    };
    match unpack(&packed, position) {
        Ok((exceptions, ahead)) => Ok(Some(Cursor {
            ahead,
            exceptions,
            forgotten,
            position,
        })),
        Err(error) => {
            error!(%error, device = %device, "the exceptions of device {device} are lost");
            Ok(Some(Cursor {
                forgotten: position,
                ..Cursor::to(position)
            }))
        }
    }
}

pub(crate) fn put_cursor(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    cursor: &Cursor,
) -> Result<(), StoreError> {
    let mut update = sql.prepare_cached(
        "UPDATE cursors SET position = ?3, forgotten = ?4, exceptions = ?5 WHERE app = ?1 AND device = ?2",
    )?;
    update.execute(params![
        app.0,
        device.0,
        cursor.position.0,
        cursor.forgotten.0,
        pack(cursor)
    ])?;
    Ok(())
}

/// Layout, empty for none: a table of the distinct (ending, reason), then what ended ahead and each exception, from the
/// newest on, as varints: number in the table, how far its position lies below that of the one before it, seconds. The
/// first position is whole.
fn pack(cursor: &Cursor) -> Vec<u8> {
    let ahead = cursor.ahead.iter().rev().map(|ahead| {
        let (ending, reason) = match &ahead.failed {
            None => (Ending::Delivered, ""),
            Some((ending, reason)) => (*ending, reason.as_str()),
        };
        (ahead.position, (ending, reason), ahead.at)
    });
    let exceptions = cursor.exceptions.iter().rev().map(|exception| {
        let kind = (exception.ending, exception.reason.as_str());
        (exception.position, kind, exception.at)
    });
    let mut kinds: Vec<(Ending, &str)> = Vec::new();
    let mut body = Vec::new();
    let mut before: Option<i64> = None;
    for (Position(position), kind, at) in ahead.chain(exceptions) {
        let number = kinds.iter().position(|known| *known == kind);
        let number = number.unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        put(&mut body, number as u64);
        put(&mut body, before.unwrap_or(0).abs_diff(position));
        put(&mut body, at.secs().unsigned_abs());
        before = Some(position);
    }
    let mut packed = Vec::with_capacity(body.len() + 32);
    if kinds.is_empty() {
        return packed;
    }
    put(&mut packed, kinds.len() as u64);
    for (ending, reason) in kinds {
        put(&mut packed, ending.code().unsigned_abs());
        put_word(&mut packed, reason);
    }
    packed.extend_from_slice(&body);
    packed
}

/// The exceptions of a cursor that stands at `cursor`, and what ended ahead of it.
fn unpack(packed: &[u8], cursor: Position) -> Result<(Vec<Exception>, Vec<Ahead>), Damaged> {
    let (mut exceptions, mut ahead) = (Vec::new(), Vec::new());
    if packed.is_empty() {
        return Ok((exceptions, ahead));
    }
    let mut reader = Reader(packed);
    let mut kinds = Vec::new();
    for _ in 0..reader.number()? {
        let ending = Ending::from_code(reader.signed()?).ok_or(Damaged)?;
        kinds.push((ending, Reason::heard(reader.word()?)));
    }
    let mut before = None;
    while !reader.0.is_empty() {
        let number = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let (ending, reason) = kinds.get(number).cloned().ok_or(Damaged)?;
        let distance = reader.signed()?;
        let position = match before {
            None => distance,
            Some(before) if (1..=before).contains(&distance) => before - distance,
            Some(_) => return Err(Damaged),
        };
        before = Some(position);
        let at = reader.signed()?.checked_mul(1000).ok_or(Damaged)?;
        let (at, position) = (UnixMillis(at), Position(position));
        if position > cursor {
            let failed = (ending != Ending::Delivered).then_some((ending, reason));
            ahead.push(Ahead {
                at,
                failed,
                position,
            });
        } else {
            exceptions.push(Exception {
                at,
                ending,
                position,
                reason,
            });
        }
    }
    exceptions.reverse();
    ahead.reverse();
    Ok((exceptions, ahead))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exceptions() -> impl Strategy<Value = Vec<Exception>> {
        let kind = prop_oneof![
            6 => Just((Ending::Expired, "NotAcknowledged")),
            1 => Just((Ending::Expired, "NotConnected")),
            1 => Just((Ending::Dropped, "TooLargeForDevice")),
            1 => Just((Ending::Dropped, "Refused0x87")),
        ];
        let one = (1..i64::MAX, 0..4_000_000_000i64, kind);
        prop::collection::vec(one, 0..100).prop_map(|mut all| {
            all.sort_by_key(|(position, ..)| *position);
            all.dedup_by_key(|(position, ..)| *position);
            let exceptions = all.into_iter();
            let exceptions = exceptions.map(|(position, secs, (ending, reason))| Exception {
                at: UnixMillis(secs * 1000),
                ending,
                position: Position(position),
                reason: Reason::known(reason),
            });
            exceptions.collect()
        })
    }

    proptest! {
        #[test]
        fn a_cursor_unpacks_as_it_was(exceptions in exceptions(), at in 0..100usize, acknowledged in any::<u64>()) {
            let at = at.min(exceptions.len());
            let (behind, ahead) = exceptions.split_at(at);
            let ahead = ahead.iter().enumerate().map(|(index, failed)| Ahead {
                at: failed.at,
                failed: (acknowledged >> (index % 64) & 1 == 0).then(|| (failed.ending, failed.reason.clone())),
                position: failed.position,
            });
            let cursor = Cursor {
                ahead: ahead.collect(),
                exceptions: behind.to_vec(),
                forgotten: Position(0),
                position: behind.last().map_or(Position(0), |last| last.position),
            };
            let (exceptions, ahead) = unpack(&pack(&cursor), cursor.position).expect("unpacks");
            prop_assert_eq!((exceptions, ahead), (cursor.exceptions, cursor.ahead));
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<i64>()) {
            let _ = unpack(&bytes, Position(at));
        }

        /// In whatever order things end: when all have, it is known of each how, and of none before it has.
        #[test]
        fn what_ends_ahead_is_known_before_and_after_the_cursor_has_passed_it(
            exceptions in exceptions(),
            arrived in any::<u64>(),
            first in 0..100usize,
        ) {
            let exceptions = &exceptions[exceptions.len().saturating_sub(EXCEPTIONS_MAX)..];
            let failed = |index: usize| arrived >> (index % 64) & 1 == 0;
            let said = |cursor: &Cursor, index: usize| {
                let Exception { at, ending, position, reason } = exceptions[index].clone();
                match (cursor.at(position), failed(index)) {
                    (Judged::Exception(told, why, when), true) => (told, why, when) == (ending, &reason, at),
                    (Judged::Acknowledged(when), false) => when == at,
                    (Judged::Passed, false) => position <= cursor.position,
                    _ => false,
                }
            };
            let mut cursor = Cursor::default();
            let blocked = first.min(exceptions.len());
            // All behind one that says nothing end first.
            for (index, exception) in exceptions.iter().enumerate().skip(blocked) {
                let Exception { at, ending, position, reason } = exception.clone();
                let failed = failed(index).then_some((ending, reason));
                let ended = Ahead { at, failed, position };
                prop_assert!(cursor.end_ahead(ended.clone()) && !cursor.end_ahead(ended));
                prop_assert!(said(&cursor, index));
            }
            for (index, exception) in exceptions.iter().enumerate().take(blocked) {
                prop_assert_eq!(cursor.at(exception.position), Judged::NotYet);
                let exceptions = failed(index).then(|| exception.clone());
                cursor.move_to(exception.position, exceptions.into_iter().collect());
            }
            if let Some(last) = exceptions.last() {
                cursor.move_to(last.position, Vec::new());
            }
            prop_assert!(cursor.ahead.is_empty());
            for index in 0..exceptions.len() {
                prop_assert!(said(&cursor, index), "{index}");
            }
        }

        /// Whatever is passed in whatever steps: the newest exceptions are known, and of the older ones it is known that
        /// they are not.
        #[test]
        fn a_cursor_never_calls_an_exception_acknowledged(exceptions in exceptions(), step in 1..40usize) {
            let mut cursor = Cursor::default();
            for some in exceptions.chunks(step) {
                let last = some.last().expect("some").position;
                cursor.move_to(last, some.to_vec());
            }
            prop_assert!(cursor.exceptions.len() <= EXCEPTIONS_MAX);
            let kept = exceptions.len().saturating_sub(EXCEPTIONS_MAX);
            for (index, exception) in exceptions.iter().enumerate() {
                let expected = match index < kept {
                    true => Judged::Forgotten,
                    false => Judged::Exception(exception.ending, &exception.reason, exception.at),
                };
                prop_assert_eq!(cursor.at(exception.position), expected);
            }
        }
    }

    #[test]
    fn what_lies_between_exceptions_is_passed_and_what_lies_behind_is_not_yet() {
        let exception = |position| Exception {
            at: UnixMillis(1000),
            ending: Ending::Expired,
            position: Position(position),
            reason: Reason::known("NotAcknowledged"),
        };
        let mut cursor = Cursor::default();
        cursor.move_to(Position(10), vec![exception(4), exception(8)]);
        let reason = Reason::known("NotAcknowledged");
        let judged = Judged::Exception(Ending::Expired, &reason, UnixMillis(1000));
        assert_eq!(cursor.at(Position(4)), judged);
        assert_eq!(cursor.at(Position(5)), Judged::Passed);
        assert_eq!(cursor.at(Position(10)), Judged::Passed);
        assert_eq!(cursor.at(Position(11)), Judged::NotYet);
        cursor.pass(Cursor {
            ahead: vec![],
            exceptions: vec![exception(14)],
            forgotten: Position(6),
            position: Position(15),
        });
        assert_eq!(cursor.at(Position(5)), Judged::Forgotten);
        assert_eq!(cursor.at(Position(8)), judged);
        assert_eq!(cursor.at(Position(14)), judged);
        let before = cursor.clone();
        cursor.pass(Cursor::to(Position(12)));
        assert_eq!(cursor, before);
    }

    /// A connection that came too soon to know of it may find that the message is over.
    #[test]
    fn what_was_acknowledged_ahead_stays_acknowledged() {
        let mut cursor = Cursor::to(Position(4));
        cursor.end_ahead(Ahead {
            at: UnixMillis(1000),
            failed: None,
            position: Position(6),
        });
        let exception = |position| Exception {
            at: UnixMillis(2000),
            ending: Ending::Expired,
            position: Position(position),
            reason: Reason::known("NotAcknowledged"),
        };
        let mut further = Cursor::default();
        further.move_to(Position(7), vec![exception(5), exception(6)]);
        cursor.pass(further);
        let reason = Reason::known("NotAcknowledged");
        let missed = Judged::Exception(Ending::Expired, &reason, UnixMillis(2000));
        assert_eq!(cursor.at(Position(5)), missed);
        assert_eq!(cursor.at(Position(6)), Judged::Passed);
    }

    #[test]
    fn sixty_four_exceptions_of_one_kind_take_less_than_a_kilobyte() {
        let exceptions: Vec<_> = (1..=64)
            .map(|index| Exception {
                at: UnixMillis(1_800_000_000_000 + index * 60_000),
                ending: Ending::Expired,
                position: Position((231_000_000_000 + index * 60_000) << 20),
                reason: Reason::known("NotAcknowledged"),
            })
            .collect();
        let mut cursor = Cursor::default();
        cursor.move_to(Position(i64::MAX), exceptions);
        let packed = pack(&cursor).len();
        println!("{packed} bytes");
        assert!(packed < 1024, "{packed} bytes");
        assert_eq!(pack(&Cursor::default()).len(), 0);
    }
}
