//! What has been answered of a page that is out, by the place of each device in it.
//!
//! It is written every few milliseconds while answers come, so it costs as little as it can: a bit for each device that was
//! accepted at the first attempt, and a list of those that fared otherwise.

use tidings_model::{Reason, UnixMillis};

use crate::StoreError;
use crate::codes::Code;
use crate::detail::{Answer, Ending, pack, pack_settled};
use crate::members::Member;
use crate::varint::{Damaged, Reader, put, put_word};

/// How one delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// To the second.
    pub at: UnixMillis,
    /// Attempts that left; the answer is that to the last of them.
    pub attempts: u32,
    pub ending: Ending,
    /// The provider's word; none when it accepted.
    pub reason: Option<Reason>,
}

/// Those of a page that have ended, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    ended: Bits,
    /// In the order in which they came.
    listed: Vec<Listed>,
    /// What there has been of endings, attempts and reasons among the listed.
    kinds: Vec<(Ending, u32, Option<Reason>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    at_secs: i64,
    index: u16,
    kind: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits(Vec<u8>);

impl Bits {
    fn is_set(&self, index: usize) -> bool {
        let byte = self.0.get(index / 8).copied().unwrap_or(0);
        byte & (1 << (index % 8)) != 0
    }

    fn set(&mut self, index: usize) {
        if self.0.len() <= index / 8 {
            self.0.resize(index / 8 + 1, 0);
        }
        self.0[index / 8] |= 1 << (index % 8);
    }

    fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }
}

impl Progress {
    /// Whether the delivery at `index` has ended.
    pub fn has(&self, index: usize) -> bool {
        self.ended.is_set(index)
    }

    /// How many have ended.
    pub fn count(&self) -> usize {
        self.ended.count()
    }

    /// Notes how the delivery at `index` ended; false when that was known before, and stays as it was.
    pub fn note(&mut self, index: usize, end: &End) -> bool {
        let Ok(place) = u16::try_from(index) else {
            return false;
        };
        if self.ended.is_set(index) {
            return false;
        }
        self.ended.set(index);
        if !is_plain(end.ending, end.attempts, end.reason.as_ref()) {
            let kind = (end.ending, end.attempts, &end.reason);
            let known = self
                .kinds
                .iter()
                .position(|(ending, attempts, reason)| (*ending, *attempts, reason) == kind);
            let kind = known.unwrap_or_else(|| {
                self.kinds
                    .push((end.ending, end.attempts, end.reason.clone()));
                self.kinds.len() - 1
            });
            self.listed.push(Listed {
                at_secs: end.at.secs(),
                index: place,
                kind: kind as u16,
            });
        }
        true
    }

    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(self.ended.0.len() + self.listed.len() * 9 + 32);
        put(&mut packed, self.ended.0.len() as u64);
        packed.extend_from_slice(&self.ended.0);
        put(&mut packed, self.kinds.len() as u64);
        for (ending, attempts, reason) in &self.kinds {
            put(&mut packed, ending.code().unsigned_abs());
            put(&mut packed, (*attempts).into());
            put_word(&mut packed, reason.as_ref().map_or("", Reason::as_str));
        }
        for listed in &self.listed {
            put(&mut packed, listed.index.into());
            put(&mut packed, listed.kind.into());
            put(&mut packed, listed.at_secs.unsigned_abs());
        }
        packed
    }

    pub(crate) fn unpack(packed: &[u8]) -> Result<Self, StoreError> {
        if packed.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self::read(&mut Reader(packed))?)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let len = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let (ended, rest) = reader.0.split_at_checked(len).ok_or(Damaged)?;
        reader.0 = rest;
        let mut progress = Self {
            ended: Bits(ended.to_vec()),
            ..Self::default()
        };
        for _ in 0..reader.number()? {
            let ending = Ending::from_code(reader.signed()?).ok_or(Damaged)?;
            let attempts = u32::try_from(reader.number()?).map_err(|_| Damaged)?;
            let word = reader.word()?;
            let reason = (!word.is_empty()).then(|| Reason::heard(word));
            progress.kinds.push((ending, attempts, reason));
        }
        while !reader.0.is_empty() {
            let index = u16::try_from(reader.number()?).map_err(|_| Damaged)?;
            let kind = u16::try_from(reader.number()?).map_err(|_| Damaged)?;
            let at_secs = reader.signed()?;
            if usize::from(kind) >= progress.kinds.len() || !progress.has(index.into()) {
                return Err(Damaged);
            }
            progress.listed.push(Listed {
                at_secs,
                index,
                kind,
            });
        }
        Ok(progress)
    }

    /// How the delivery at `index` ended, if it has; of one that went plainly it is not kept when, so `at` is said.
    pub(crate) fn end(&self, index: usize, at: UnixMillis) -> Option<End> {
        if !self.has(index) {
            return None;
        }
        let listed = self
            .listed
            .iter()
            .find(|listed| usize::from(listed.index) == index);
        Some(match listed {
            Some(listed) => self.end_of(listed),
            None => plain(at),
        })
    }

    fn end_of(&self, listed: &Listed) -> End {
        let (ending, attempts, reason) = self.kinds[usize::from(listed.kind)].clone();
        End {
            at: UnixMillis(listed.at_secs * 1000),
            attempts,
            ending,
            reason,
        }
    }

    /// The answers of those that have ended, in the order of the devices.
    pub(crate) fn answers(&self, members: &[Member], at: UnixMillis) -> Vec<Answer> {
        let mut listed = self.listed.clone();
        listed.sort_unstable_by_key(|listed| listed.index);
        let mut listed = listed.iter().peekable();
        let ended = members
            .iter()
            .enumerate()
            .filter(|(index, _)| self.has(*index));
        ended
            .map(|(index, member)| {
                let other = listed.next_if(|listed| usize::from(listed.index) == index);
                let end = other.map_or_else(|| plain(at), |listed| self.end_of(listed));
                Answer {
                    at: end.at,
                    device: member.device,
                    ending: end.ending,
                    reason: end.reason,
                    attempts: end.attempts,
                }
            })
            .collect()
    }

    /// What stays of a page that is settled at `at`. One cut from a range says one ending for all, and who fared otherwise;
    /// one of stragglers lists them.
    pub(crate) fn settled(&self, members: &[Member], of_range: bool, at: UnixMillis) -> Vec<u8> {
        if of_range && self.listed.is_empty() {
            return pack_settled(&mut plain_answer(members, at));
        }
        let mut answers = self.answers(members, at);
        if of_range {
            pack_settled(&mut answers)
        } else {
            pack(&mut answers)
        }
    }
}

/// One for all: each answer of a page that went well is the same.
fn plain_answer(members: &[Member], at: UnixMillis) -> Vec<Answer> {
    let first = members.iter().take(1);
    let answer = first.map(|member| {
        let end = plain(at);
        Answer {
            at: end.at,
            device: member.device,
            ending: end.ending,
            reason: end.reason,
            attempts: end.attempts,
        }
    });
    answer.collect()
}

fn plain(at: UnixMillis) -> End {
    End {
        at,
        attempts: 1,
        ending: Ending::Accepted,
        reason: None,
    }
}

fn is_plain(ending: Ending, attempts: u32, reason: Option<&Reason>) -> bool {
    ending == Ending::Accepted && attempts == 1 && reason.is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_model::{DeviceId, Platform};

    use super::*;

    fn end() -> impl Strategy<Value = End> {
        let ending = prop_oneof![
            8 => Just((Ending::Accepted, None)),
            1 => Just((Ending::Dropped, Some(Reason::known("Unregistered")))),
            1 => Just((Ending::Failed, Some(Reason::known("PayloadTooLarge")))),
        ];
        (1_700_000_000..1_900_000_000i64, ending, 0..4u32).prop_map(
            |(secs, (ending, reason), attempts)| End {
                at: UnixMillis(secs * 1000),
                attempts,
                ending,
                reason,
            },
        )
    }

    proptest! {
        #[test]
        fn progress_unpacks_as_it_was(ends in prop::collection::vec((0..1000usize, end()), 0..60)) {
            let mut progress = Progress::default();
            let mut noted = std::collections::BTreeMap::new();
            for (index, end) in ends {
                prop_assert_eq!(progress.note(index, &end), !noted.contains_key(&index));
                noted.entry(index).or_insert(end);
            }
            let unpacked = Progress::unpack(&progress.pack()).expect("unpacks");
            prop_assert_eq!(&unpacked, &progress);
            prop_assert_eq!(unpacked.count(), noted.len());
            for (index, end) in noted {
                prop_assert_eq!(unpacked.end(index, end.at), Some(end));
            }
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Progress::unpack(&bytes);
        }
    }

    #[test]
    fn a_page_that_goes_well_takes_a_bit_a_device() {
        let mut progress = Progress::default();
        let at = UnixMillis(1_800_000_000_000);
        (0..1000).for_each(|index| assert!(progress.note(index, &plain(at))));
        assert_eq!(progress.pack().len(), 127);
        let member = |id: i64| Member::new(DeviceId(id << 40), Platform::Ios);
        let members: Vec<Member> = (1..=1000).map(member).collect();
        assert_eq!(progress.settled(&members, true, at).len(), 3);
    }
}
