//! How far a device's log has been judged, and the exceptions: what was for the device and did not arrive.
//!
//! Everything up to the cursor's position was either not for the device, or acknowledged by it, or is an exception with its
//! reason. Exceptions are kept packed beside the position, the newest of them, a bounded number; of what is as old as
//! those that were let go it is not known any more what became of it.

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

/// How far a device's log has been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// In the order of the log.
    pub exceptions: Vec<Exception>,
    /// Up to here it is not known any more what was an exception.
    pub forgotten: Position,
    pub position: Position,
}

/// What a cursor says of a position in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged<'a> {
    /// It was for the device and did not arrive.
    Exception(&'a Exception),
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
            return Judged::NotYet;
        }
        let exceptions = &self.exceptions;
        match exceptions.binary_search_by_key(&position, |exception| exception.position) {
            Ok(index) => Judged::Exception(&exceptions[index]),
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
        self.exceptions.extend(exceptions);
        let over = self.exceptions.len().saturating_sub(EXCEPTIONS_MAX);
        if let Some(last) = self.exceptions.drain(..over).next_back() {
            self.forgotten = last.position;
        }
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
    let mut cursor = Cursor {
        exceptions: Vec::new(),
        forgotten,
        position,
    };
    match unpack(&packed) {
        Ok(exceptions) => cursor.exceptions = exceptions,
        Err(error) => {
            error!(%error, device = %device, "the exceptions of device {device} are lost");
            cursor.forgotten = position;
        }
    }
    Ok(Some(cursor))
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
        pack(&cursor.exceptions)
    ])?;
    Ok(())
}

/// Layout, empty for none: a table of the distinct (ending, reason), then each exception from the newest on as varints:
/// number in the table, how far its position lies below that of the one before it, seconds. The first position is whole.
fn pack(exceptions: &[Exception]) -> Vec<u8> {
    let mut packed = Vec::new();
    if exceptions.is_empty() {
        return packed;
    }
    let mut kinds: Vec<(Ending, &Reason)> = Vec::new();
    let mut body = Vec::with_capacity(exceptions.len() * 12);
    let mut before: Option<i64> = None;
    for exception in exceptions.iter().rev() {
        let kind = (exception.ending, &exception.reason);
        let number = kinds.iter().position(|known| *known == kind);
        let number = number.unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        put(&mut body, number as u64);
        let position = exception.position.0;
        put(&mut body, before.unwrap_or(0).abs_diff(position));
        put(&mut body, exception.at.secs().unsigned_abs());
        before = Some(position);
    }
    put(&mut packed, kinds.len() as u64);
    for (ending, reason) in kinds {
        put(&mut packed, ending.code().unsigned_abs());
        put_word(&mut packed, reason.as_str());
    }
    packed.extend_from_slice(&body);
    packed
}

fn unpack(packed: &[u8]) -> Result<Vec<Exception>, Damaged> {
    let mut exceptions = Vec::new();
    if packed.is_empty() {
        return Ok(exceptions);
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
        let at = reader.signed()?.checked_mul(1000).ok_or(Damaged)?;
        exceptions.push(Exception {
            at: UnixMillis(at),
            ending,
            position: Position(position),
            reason,
        });
        before = Some(position);
    }
    exceptions.reverse();
    Ok(exceptions)
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
        fn exceptions_unpack_as_they_were(exceptions in exceptions()) {
            prop_assert_eq!(unpack(&pack(&exceptions)).expect("unpacks"), exceptions);
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
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
                    false => Judged::Exception(exception),
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
        assert_eq!(cursor.at(Position(4)), Judged::Exception(&exception(4)));
        assert_eq!(cursor.at(Position(5)), Judged::Passed);
        assert_eq!(cursor.at(Position(10)), Judged::Passed);
        assert_eq!(cursor.at(Position(11)), Judged::NotYet);
        cursor.pass(Cursor {
            exceptions: vec![exception(14)],
            forgotten: Position(6),
            position: Position(15),
        });
        assert_eq!(cursor.at(Position(5)), Judged::Forgotten);
        assert_eq!(cursor.at(Position(8)), Judged::Exception(&exception(8)));
        assert_eq!(cursor.at(Position(14)), Judged::Exception(&exception(14)));
        let before = cursor.clone();
        cursor.pass(Cursor::to(Position(12)));
        assert_eq!(cursor, before);
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
        let packed = pack(&exceptions).len();
        println!("{packed} bytes");
        assert!(packed < 1024, "{packed} bytes");
        assert_eq!(pack(&[]).len(), 0);
    }
}
