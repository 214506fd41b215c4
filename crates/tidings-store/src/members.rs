//! Who is in a page, packed: the platforms as runs, the devices as distances, and of the few that have been tried before
//! what they have behind them.

use tidings_model::{DeviceId, Platform, Reason};

use crate::StoreError;
use crate::codes::Code;
use crate::varint::{Damaged, Reader, put, put_word};

/// One device of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub device: DeviceId,
    pub platform: Platform,
    /// None for one that has not been tried.
    pub tried: Option<Box<Tried>>,
}

/// What a delivery has behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// The provider's last word.
    pub last: Option<Reason>,
    /// Answers of "not now".
    pub retries: u32,
    /// Attempts without an answer.
    pub unanswered: u32,
}

impl Tried {
    /// Attempts that left.
    pub fn attempts(&self) -> u32 {
        self.retries + self.unanswered
    }
}

impl Member {
    pub(crate) fn new(device: DeviceId, platform: Platform) -> Self {
        Self {
            device,
            platform,
            tried: None,
        }
    }
}

/// Packs members, which are in the order of their devices.
pub(crate) fn pack(members: &[Member]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(members.len() * 5 + 16);
    let runs = members.chunk_by(|one, next| one.platform == next.platform);
    put(&mut packed, runs.clone().count() as u64);
    for run in runs {
        put(&mut packed, run[0].platform.code().unsigned_abs());
        put(&mut packed, run.len() as u64);
    }
    let mut before = 0;
    for member in members {
        put(&mut packed, member.device.0.abs_diff(before));
        before = member.device.0;
    }
    let tried = members.iter().enumerate();
    let tried = tried.filter_map(|(index, member)| Some((index, member.tried.as_ref()?)));
    for (index, tried) in tried {
        put(&mut packed, index as u64);
        put(&mut packed, tried.retries.into());
        put(&mut packed, tried.unanswered.into());
        put_word(&mut packed, tried.last.as_ref().map_or("", Reason::as_str));
    }
    packed
}

pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<Member>, StoreError> {
    Ok(read(&mut Reader(packed))?)
}

fn read(reader: &mut Reader<'_>) -> Result<Vec<Member>, Damaged> {
    let mut members = Vec::new();
    for _ in 0..reader.number()? {
        let platform = Platform::from_code(reader.signed()?).ok_or(Damaged)?;
        let len = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        // Each takes a byte at least.
        if len > reader.0.len() {
            return Err(Damaged);
        }
        members.resize_with(members.len() + len, || Member::new(DeviceId(0), platform));
    }
    let mut device: i64 = 0;
    for member in &mut members {
        device = device.checked_add(reader.signed()?).ok_or(Damaged)?;
        member.device = DeviceId(device);
    }
    let number = |reader: &mut Reader<'_>| u32::try_from(reader.number()?).map_err(|_| Damaged);
    while !reader.0.is_empty() {
        let index = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let (retries, unanswered) = (number(reader)?, number(reader)?);
        let word = reader.word()?;
        let last = (!word.is_empty()).then(|| Reason::heard(word));
        let member = members.get_mut(index).ok_or(Damaged)?;
        member.tried = Some(Box::new(Tried {
            last,
            retries,
            unanswered,
        }));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member() -> impl Strategy<Value = Member> {
        let tried = (0..20u32, 0..5u32, any::<bool>()).prop_map(|(retries, unanswered, said)| {
            Box::new(Tried {
                last: said.then(|| Reason::known("TooManyRequests")),
                retries,
                unanswered,
            })
        });
        let platform = prop_oneof![5 => Just(Platform::Ios), 1 => Just(Platform::Android)];
        (1..i64::MAX, platform, prop::option::weighted(0.1, tried)).prop_map(
            |(device, platform, tried)| Member {
                device: DeviceId(device),
                platform,
                tried,
            },
        )
    }

    proptest! {
        #[test]
        fn members_unpack_as_they_were(mut members in prop::collection::vec(member(), 0..60)) {
            members.sort_by_key(|member| member.device);
            members.dedup_by_key(|member| member.device);
            prop_assert_eq!(unpack(&pack(&members)).expect("unpacks"), members);
        }

        #[test]
        fn damage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
