//! How the answers of a page are packed.
//!
//! A page that went well must cost next to nothing, so a settled page keeps one answer for all of its devices and lists
//! only those that differ. Layout: a table of the distinct (ending, attempts, reason), then each listed device as varints:
//! distance from the device before, number in the table, seconds since the page's first listed answer.

use tidings_model::{DeviceId, Reason, UnixMillis};

use crate::StoreError;
use crate::codes::{Code, codes};
use crate::varint::{Damaged, Reader, put, put_word};

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// The provider took it.
    Accepted,
    /// The device acknowledged it.
    Delivered,
    /// It was not for this device after all: its address is dead, or the device cannot take it.
    Dropped,
    /// Its time was over.
    Expired,
    /// It was refused, or given up.
    Failed,
    /// This way ended before anybody took it, and it went on by the device's next.
    HandedOn,
}

codes!(
    Ending,
    Ending::Accepted = 1,
    Ending::Delivered = 2,
    Ending::Dropped = 3,
    Ending::Expired = 4,
    Ending::Failed = 5,
    Ending::HandedOn = 6
);

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::HandedOn => "handed_on",
        }
    }
}

/// How one delivery of a page ended, and when (to the second).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub at: UnixMillis,
    pub device: DeviceId,
    pub ending: Ending,
    /// The provider's word; none when it accepted.
    pub reason: Option<Reason>,
    /// How often it left for the provider; the answer is that to the last of them.
    pub attempts: u32,
}

impl Answer {
    fn kind(&self) -> Kind<'_> {
        (self.ending, self.attempts, self.reason.as_ref())
    }
}

type Kind<'a> = (Ending, u32, Option<&'a Reason>);

/// Packs answers, which are brought into the order of their devices.
pub(crate) fn pack(answers: &mut [Answer]) -> Vec<u8> {
    answers.sort_unstable_by_key(|answer| answer.device);
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    let mut body = Vec::with_capacity(answers.len() * 8);
    let first_secs = answers
        .iter()
        .map(|answer| answer.at.secs())
        .min()
        .unwrap_or(0);
    let mut before = 0;
    for answer in answers.iter() {
        let kind = kinds
            .iter()
            .position(|kind| *kind == answer.kind())
            .unwrap_or_else(|| {
                kinds.push(answer.kind());
                kinds.len() - 1
            });
        put(&mut body, answer.device.0.abs_diff(before));
        put(&mut body, kind as u64);
        put(&mut body, answer.at.secs().abs_diff(first_secs));
        before = answer.device.0;
    }
    let mut packed = Vec::with_capacity(body.len() + 32);
    put(&mut packed, kinds.len() as u64);
    for (ending, attempts, reason) in kinds {
        put(&mut packed, ending.code().unsigned_abs());
        put(&mut packed, attempts.into());
        put_word(&mut packed, reason.map_or("", Reason::as_str));
    }
    put(&mut packed, first_secs.unsigned_abs());
    put(&mut packed, answers.len() as u64);
    packed.extend_from_slice(&body);
    packed
}

/// Packs the answers of a whole page as one for all and the exceptions.
pub(crate) fn pack_settled(answers: &mut [Answer]) -> Vec<u8> {
    let mut kinds: Vec<(Kind<'_>, usize)> = Vec::new();
    for answer in answers.iter() {
        match kinds.iter_mut().find(|(kind, _)| *kind == answer.kind()) {
            Some((_, count)) => *count += 1,
            None => kinds.push((answer.kind(), 1)),
        }
    }
    let Some((most, _)) = kinds.into_iter().max_by_key(|(_, count)| *count) else {
        return Vec::new();
    };
    let (ending, attempts, reason) = (most.0, most.1, most.2.cloned());
    let differs = |answer: &&Answer| answer.kind() != (ending, attempts, reason.as_ref());
    let mut listed: Vec<Answer> = answers.iter().filter(differs).cloned().collect();
    let mut packed = Vec::new();
    put(&mut packed, ending.code().unsigned_abs());
    put(&mut packed, attempts.into());
    put_word(&mut packed, reason.as_ref().map_or("", Reason::as_str));
    if !listed.is_empty() {
        packed.extend_from_slice(&pack(&mut listed));
    }
    packed
}

/// The answers of a page that is out.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<Answer>, StoreError> {
    Ok(answers(&mut Reader(packed))?)
}

/// What a settled page says of `device`, which is in its range; `settled_at` is the time of those not listed.
pub(crate) fn find_settled(
    packed: &[u8],
    device: DeviceId,
    settled_at: UnixMillis,
) -> Result<Answer, StoreError> {
    let mut reader = Reader(packed);
    let (ending, attempts, reason) = kind(&mut reader)?;
    let listed = if reader.0.is_empty() {
        Vec::new()
    } else {
        answers(&mut reader)?
    };
    let found = listed.into_iter().find(|answer| answer.device == device);
    Ok(found.unwrap_or(Answer {
        at: settled_at,
        device,
        ending,
        reason,
        attempts,
    }))
}

fn kind(reader: &mut Reader<'_>) -> Result<(Ending, u32, Option<Reason>), Damaged> {
    let ending = Ending::from_code(reader.signed()?).ok_or(Damaged)?;
    let attempts = u32::try_from(reader.number()?).map_err(|_| Damaged)?;
    let word = reader.word()?;
    let reason = (!word.is_empty()).then(|| Reason::heard(word));
    Ok((ending, attempts, reason))
}

fn answers(reader: &mut Reader<'_>) -> Result<Vec<Answer>, Damaged> {
    let kinds = (0..reader.number()?)
        .map(|_| kind(reader))
        .collect::<Result<Vec<_>, _>>()?;
    let first_secs = reader.signed()?;
    let count = reader.number()?;
    let mut device: i64 = 0;
    let mut answers = Vec::new();
    for _ in 0..count {
        device = device.checked_add(reader.signed()?).ok_or(Damaged)?;
        let kind = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let (ending, attempts, reason) = kinds.get(kind).cloned().ok_or(Damaged)?;
        let secs = first_secs.checked_add(reader.signed()?).ok_or(Damaged)?;
        let at = UnixMillis(secs.checked_mul(1000).ok_or(Damaged)?);
        answers.push(Answer {
            at,
            device: DeviceId(device),
            ending,
            reason,
            attempts,
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> impl Strategy<Value = Answer> {
        let ending = prop_oneof![
            8 => Just((Ending::Accepted, None)),
            1 => Just((Ending::Dropped, Some(Reason::known("Unregistered")))),
            1 => Just((Ending::Failed, Some(Reason::known("PayloadTooLarge")))),
        ];
        (
            1..i64::MAX,
            1_700_000_000..1_900_000_000i64,
            ending,
            0..4u32,
        )
            .prop_map(|(device, secs, (ending, reason), attempts)| Answer {
                at: UnixMillis(secs * 1000),
                device: DeviceId(device),
                ending,
                reason,
                attempts,
            })
    }

    proptest! {
        #[test]
        fn answers_unpack_as_they_were(mut answers in prop::collection::vec(answer(), 0..50)) {
            let packed = pack(&mut answers);
            prop_assert_eq!(unpack(&packed).expect("unpacks"), answers);
        }

        #[test]
        fn a_settled_page_still_knows_each_device(answers in prop::collection::vec(answer(), 1..50)) {
            let mut answers = answers;
            answers.sort_by_key(|answer| answer.device);
            answers.dedup_by_key(|answer| answer.device);
            let packed = pack_settled(&mut answers);
            for expected in answers {
                let found = find_settled(&packed, expected.device, expected.at).expect("unpacks");
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
            let _ = find_settled(&bytes, DeviceId(1), UnixMillis(0));
        }
    }

    #[test]
    fn a_page_that_went_well_takes_three_bytes() {
        let mut answers: Vec<Answer> = (1..=1000)
            .map(|device| Answer {
                at: UnixMillis(device),
                device: DeviceId(device << 40),
                ending: Ending::Accepted,
                reason: None,
                attempts: 1,
            })
            .collect();
        assert_eq!(pack_settled(&mut answers).len(), 3);
    }
}
