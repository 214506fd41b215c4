//! How far a device's log has been judged, and the exceptions: what was for the device and did not arrive.
//!
//! Everything up to the cursor's position was either not for the device, or acknowledged by it, or is an exception with its
//! reason, or is owed: it was sent, others behind it have ended since, and of it the device has said nothing. What is owed is sent
//! first when the device comes again. Exceptions are kept packed beside the position, the newest of them, a bounded number; of
//! what is as old as those that were let go it is not known any more what became of it.

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_model::{AppId, DeviceId, Reason, UnixMillis};
use tracing::error;

use crate::StoreError;
use crate::codes::Code;
use crate::detail::Ending;
use crate::limits::{EXCEPTIONS_MAX, OWED_MAX};
use crate::log::{NOT_ACKNOWLEDGED, Position};
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

/// How far a device's log has been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// In the order of the log.
    pub exceptions: Vec<Exception>,
    /// Up to here it is not known any more what was an exception.
    pub forgotten: Position,
    /// What was sent and has not ended, in the order of the log.
    pub owed: Vec<Position>,
    pub position: Position,
}

/// What a cursor says of a position in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged<'a> {
    /// It was for the device and did not arrive: how it ended, why, and when.
    Exception(Ending, &'a Reason, UnixMillis),
    /// It has been judged too long ago.
    Forgotten,
    /// The cursor has yet to come there, or it is owed.
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
        if position > self.position || self.owed.binary_search(&position).is_ok() {
            return Judged::NotYet;
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

    /// Moves on to where `further` stands, if that is further, with the exceptions and what is owed behind where this one stood.
    /// An exception of what was owed ends that. False when nothing of it was news.
    pub fn pass(&mut self, further: Self) -> bool {
        let before = self.position;
        let mut is_news = further.position > before;
        for exception in further.exceptions {
            let was_owed = self.settle(exception.position);
            if was_owed || exception.position > before {
                self.exceptions.push(exception);
                is_news = true;
            }
        }
        if further.position > before {
            self.position = further.position;
            self.forgotten = self.forgotten.max(further.forgotten);
            let owed = further.owed.into_iter();
            self.owed.extend(owed.filter(|owed| *owed > before));
        }
        self.bound();
        is_news
    }

    /// What was owed has ended; false when it was not.
    pub(crate) fn settle(&mut self, position: Position) -> bool {
        let owed = self.owed.binary_search(&position);
        if let Ok(index) = owed {
            self.owed.remove(index);
        }
        owed.is_ok()
    }

    fn bound(&mut self) {
        // More than a connection has in flight: whoever leaves so many out will not take the oldest any more.
        let over = self.owed.len().saturating_sub(OWED_MAX);
        let given_up = self.owed.drain(..over).map(|position| Exception {
            at: UnixMillis::now(),
            ending: Ending::Expired,
            position,
            reason: NOT_ACKNOWLEDGED,
        });
        self.exceptions.extend(given_up);
        self.exceptions.sort_by_key(|exception| exception.position);
        let over = self.exceptions.len().saturating_sub(EXCEPTIONS_MAX);
        if let Some(last) = self.exceptions.drain(..over).next_back() {
            self.forgotten = self.forgotten.max(last.position);
        }
        let forgotten = self.forgotten;
        self.exceptions
            .retain(|exception| exception.position > forgotten);
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
        Ok((exceptions, owed)) => Ok(Some(Cursor {
            exceptions,
            forgotten,
            owed,
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

/// Moves a cursor that has nothing beside its position from below `to` on to it; false when that is not what it is.
pub(crate) fn step(
    sql: &Connection,
    app: AppId,
    device: DeviceId,
    to: Position,
) -> Result<bool, StoreError> {
    let mut update = sql.prepare_cached(
        "UPDATE cursors SET position = ?3 WHERE app = ?1 AND device = ?2 AND position < ?3 AND exceptions = x''",
    )?;
    Ok(update.execute(params![app.0, device.0, to.0])? == 1)
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

/// Layout, empty for none: a table of the distinct (ending, reason), then each exception and what is owed, from the newest on,
/// as varints: number in the table, how far its position lies below that of the one before it, seconds. The first position
/// is whole. What is owed has the ending of what was delivered, which no exception has.
fn pack(cursor: &Cursor) -> Vec<u8> {
    let owed = cursor.owed.iter();
    let owed = owed.map(|owed| (*owed, (Ending::Delivered, ""), UnixMillis(0)));
    let exceptions = cursor.exceptions.iter().map(|exception| {
        let kind = (exception.ending, exception.reason.as_str());
        (exception.position, kind, exception.at)
    });
    let mut all: Vec<_> = owed.chain(exceptions).collect();
    all.sort_unstable_by_key(|(position, ..)| Reverse(*position));
    let mut kinds: Vec<(Ending, &str)> = Vec::new();
    let mut body = Vec::new();
    let mut before: Option<i64> = None;
    for (Position(position), kind, at) in all {
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

/// The exceptions of a cursor that stands at `cursor`, and what is owed.
fn unpack(packed: &[u8], cursor: Position) -> Result<(Vec<Exception>, Vec<Position>), Damaged> {
    let (mut exceptions, mut owed) = (Vec::new(), Vec::new());
    if packed.is_empty() {
        return Ok((exceptions, owed));
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
        match ending {
            // For some days what had ended above the position was kept there: it is sent again.
            _ if position > cursor => {}
            Ending::Delivered => owed.push(position),
            ending => exceptions.push(Exception {
                at,
                ending,
                position,
                reason,
            }),
        }
    }
    exceptions.reverse();
    owed.reverse();
    Ok((exceptions, owed))
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

    /// One that stands where the last of its exceptions does.
    fn with(exceptions: Vec<Exception>) -> Cursor {
        Cursor {
            position: exceptions.last().map_or(Position(0), |last| last.position),
            exceptions,
            ..Cursor::default()
        }
    }

    proptest! {
        #[test]
        fn a_cursor_unpacks_as_it_was(all in exceptions(), owed in any::<u64>()) {
            let is_owed = |index: usize| owed >> (index % 64) & 1 == 1;
            let (mut exceptions, mut owed) = (Vec::new(), Vec::new());
            for (index, exception) in all.into_iter().enumerate() {
                match is_owed(index) {
                    true => owed.push(exception.position),
                    false => exceptions.push(exception),
                }
            }
            let unpacked = unpack(&pack(&Cursor {
                exceptions: exceptions.clone(),
                owed: owed.clone(),
                ..Cursor::default()
            }), Position(i64::MAX));
            prop_assert_eq!(unpacked.expect("unpacks"), (exceptions, owed));
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<i64>()) {
            let _ = unpack(&bytes, Position(at));
        }

        /// In whatever order things end: when all have, it is known of each how, and of none before it has.
        #[test]
        fn what_is_owed_has_not_ended_and_is_known_when_it_has(
            exceptions in exceptions(),
            arrived in any::<u64>(),
            order in any::<u64>(),
        ) {
            let exceptions = &exceptions[exceptions.len().saturating_sub(OWED_MAX)..];
            let failed = |index: usize| arrived >> (index % 64) & 1 == 0;
            let said = |cursor: &Cursor, index: usize| {
                let Exception { at, ending, position, reason } = exceptions[index].clone();
                match (cursor.at(position), failed(index)) {
                    (Judged::Exception(told, why, when), true) => (told, why, when) == (ending, &reason, at),
                    (Judged::Passed, false) => true,
                    _ => false,
                }
            };
            let mut cursor = Cursor::default();
            let mut open: Vec<usize> = (0..exceptions.len()).collect();
            let mut turn = order;
            while !open.is_empty() {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let index = open.remove((turn >> 33) as usize % open.len());
                let exception = &exceptions[index];
                let position = exception.position;
                prop_assert_eq!(cursor.at(position), Judged::NotYet);
                let in_flight = open.iter().filter(|open| **open < index);
                let further = Cursor {
                    exceptions: if failed(index) { vec![exception.clone()] } else { vec![] },
                    owed: in_flight.map(|open| exceptions[*open].position).collect(),
                    ..Cursor::to(position)
                };
                if !failed(index) {
                    cursor.settle(position);
                }
                cursor.pass(further.clone());
                prop_assert!(!cursor.pass(further), "it is news once");
                prop_assert!(said(&cursor, index), "{}", index);
                for open in &open {
                    prop_assert_eq!(cursor.at(exceptions[*open].position), Judged::NotYet);
                }
            }
            prop_assert!(cursor.owed.is_empty());
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
                cursor.pass(with(some.to_vec()));
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

    fn exception(position: i64) -> Exception {
        Exception {
            at: UnixMillis(1000),
            ending: Ending::Expired,
            position: Position(position),
            reason: NOT_ACKNOWLEDGED,
        }
    }

    #[test]
    fn what_lies_between_exceptions_is_passed_and_what_lies_behind_is_not_yet() {
        let mut cursor = Cursor::default();
        cursor.pass(Cursor {
            exceptions: vec![exception(4), exception(8)],
            ..Cursor::to(Position(10))
        });
        let judged = Judged::Exception(Ending::Expired, &NOT_ACKNOWLEDGED, UnixMillis(1000));
        assert_eq!(cursor.at(Position(4)), judged);
        assert_eq!(cursor.at(Position(5)), Judged::Passed);
        assert_eq!(cursor.at(Position(10)), Judged::Passed);
        assert_eq!(cursor.at(Position(11)), Judged::NotYet);
        cursor.pass(Cursor {
            exceptions: vec![exception(14)],
            forgotten: Position(6),
            ..Cursor::to(Position(15))
        });
        assert_eq!(cursor.at(Position(5)), Judged::Forgotten);
        assert_eq!(cursor.at(Position(8)), judged);
        assert_eq!(cursor.at(Position(14)), judged);
        let before = cursor.clone();
        assert!(!cursor.pass(Cursor::to(Position(12))));
        assert_eq!(cursor, before);
    }

    /// A connection that came too soon to know of it may find that the message is over, or not say that another is owed.
    #[test]
    fn what_has_ended_stays_as_it_ended() {
        let mut cursor = Cursor::to(Position(4));
        cursor.pass(Cursor {
            owed: vec![Position(5)],
            ..Cursor::to(Position(6))
        });
        cursor.pass(Cursor {
            exceptions: vec![exception(5), exception(6)],
            ..Cursor::to(Position(7))
        });
        let missed = Judged::Exception(Ending::Expired, &NOT_ACKNOWLEDGED, UnixMillis(1000));
        assert_eq!(cursor.at(Position(5)), missed);
        assert_eq!(cursor.at(Position(6)), Judged::Passed);
    }

    #[test]
    fn more_than_is_ever_in_flight_is_not_owed() {
        let mut cursor = Cursor::default();
        for position in 1..=100 {
            cursor.pass(Cursor {
                owed: vec![Position(2 * position)],
                ..Cursor::to(Position(2 * position + 1))
            });
        }
        assert_eq!(cursor.owed.len(), OWED_MAX);
        assert!(matches!(cursor.at(Position(2)), Judged::Exception(..)));
        assert_eq!(cursor.at(Position(200)), Judged::NotYet);
    }

    #[test]
    fn sixty_four_exceptions_of_one_kind_take_less_than_a_kilobyte() {
        let exceptions = (1..=64).map(|index| Exception {
            at: UnixMillis(1_800_000_000_000 + index * 60_000),
            ..exception((231_000_000_000 + index * 60_000) << 20)
        });
        let packed = pack(&with(exceptions.collect())).len();
        println!("{packed} bytes");
        assert!(packed < 1024, "{packed} bytes");
        assert_eq!(pack(&Cursor::default()).len(), 0);
    }
}
