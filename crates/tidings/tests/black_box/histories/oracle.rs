//! What the oracle knows of a history: what each device was and had at each push, and so which way each part of it has to take.
//!
//! It shares nothing with the server but the words. The one thing that it cannot know is when Apple's word that a token is
//! dead takes a channel away; until the device registers again, its way by APNs is in doubt.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::phone::{Identity, Memory};
use super::step::{Audience, Channels, Platform, Push};
use super::world::now;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Provider {
    Apns,
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Message,
    Notification,
}

impl Provider {
    pub(super) const ALL: [Self; 2] = [Self::Apns, Self::Link];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Link => "link",
        }
    }
}

impl Part {
    pub(super) const ALL: [Self; 2] = [Self::Message, Self::Notification];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Notification => "notification",
        }
    }
}

pub(super) struct Device {
    pub(super) alias: Option<u8>,
    pub(super) apns: Option<Apns>,
    /// The pushes before which something befell its channel to Apple, each with what.
    pub(super) befell: Vec<(usize, Trouble)>,
    /// The number of pushes before it was deleted, and when.
    pub(super) deleted: Option<(usize, i64)>,
    pub(super) identity: Arc<Mutex<Identity>>,
    pub(super) link: bool,
    /// The pushes before which it lost the link.
    pub(super) link_lost: Vec<usize>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) missing: Missing,
    pub(super) platform: Platform,
    pub(super) tags: BTreeSet<u8>,
}

/// Whether a device that lost its token to another has shown itself since. Until it does, it is no target by any way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Its phone is, or was, there; whether the server has taken that as a sign yet is not known.
    InDoubt(i64),
    No,
    /// Perhaps since this time: Apple's word may have taken the token from it before.
    Perhaps(i64),
    /// Since this time.
    Since(i64),
}

/// A device's channel to Apple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Apns {
    pub(super) channel: super::step::Token,
    /// Apple has called, or would call, the token dead since the device last registered it.
    pub(super) in_doubt: bool,
}

/// What may have ended the way of what was pushed before it, or is pushed until the device registers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The device has another channel, or none.
    Changed,
    /// Apple says that the token is gone.
    Dead,
    /// The token is another device's.
    Moved,
    /// Apple was told to refuse one request to the token.
    Refused,
}

pub(super) struct Message {
    pub(super) answered: i64,
    /// What each of the devices that there were has to get, in their order.
    pub(super) expected: Vec<Expected>,
    pub(super) id: String,
    pub(super) push: Push,
    /// Events of devices that the server said it recorded.
    pub(super) opened: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Its way by APNs may have been gone already.
    pub(super) in_doubt: bool,
    /// It may not be back on the link yet.
    pub(super) link_in_doubt: bool,
    pub(super) message: Vec<Provider>,
    pub(super) notification: Vec<Provider>,
}

impl Expected {
    pub(super) fn ways(&self, part: Part) -> &[Provider] {
        match part {
            Part::Message => &self.message,
            Part::Notification => &self.notification,
        }
    }

    /// Whether it is a target of anything, as far as is certain.
    pub(super) fn is_target(&self) -> bool {
        let is_sure = |way: &Provider| match way {
            Provider::Apns => !self.in_doubt,
            Provider::Link => !self.link_in_doubt,
        };
        self.message.iter().chain(&self.notification).any(is_sure)
    }

    pub(super) fn may_be_target(&self) -> bool {
        !self.message.is_empty() || !self.notification.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) devices: Vec<Device>,
    pub(super) dead_tokens: BTreeSet<u8>,
    pub(super) messages: Vec<Message>,
    /// Requests that Apple was told to refuse.
    pub(super) refusals: usize,
    /// The tokens of these. Whoever has the token when it is written to meets it.
    refused_tokens: BTreeSet<u8>,
    /// Which device is meant by the number that steps give it.
    pub(super) slots: HashMap<u8, usize>,
}

impl Oracle {
    pub(super) fn at(&self, slot: u8) -> Option<usize> {
        let device = *self.slots.get(&slot)?;
        self.devices[device].deleted.is_none().then_some(device)
    }

    pub(super) fn owner(&self, token: u8) -> Option<usize> {
        let has = |device: &Device| device.apns.is_some_and(|apns| apns.channel.number == token);
        self.devices.iter().position(has)
    }

    /// The device has these channels from now on, and nobody else has its token.
    pub(super) fn set_channels(&mut self, device: usize, channels: Channels) {
        let pushes = self.messages.len();
        if let Some(token) = channels.token
            && let Some(owner) = self.owner(token.number)
            && owner != device
        {
            self.befall(owner, Trouble::Moved);
            let former = &mut self.devices[owner];
            let had = former.apns.take();
            if former.link {
                former.link_lost.push(pushes);
                former.missing = match had.is_some_and(|apns| apns.in_doubt) {
                    true => Missing::Perhaps(now()),
                    false => Missing::Since(now()),
                };
            }
        }
        let in_doubt = channels
            .token
            .is_some_and(|token| self.dead_tokens.contains(&token.number));
        let new = channels.token.map(|channel| Apns { channel, in_doubt });
        let environment = |apns: Option<Apns>| apns.map(|apns| apns.channel.environment);
        let before = self.devices[device].apns;
        // A token that changes is the same channel, but what is under way may be to the old one.
        let is_same = before.map(|apns| apns.channel) == new.map(|apns| apns.channel);
        if before.is_some() && environment(before) != environment(new) {
            self.befall(device, Trouble::Changed);
        }
        if before.is_some_and(|apns| apns.in_doubt) && !is_same {
            self.befall(device, Trouble::Dead);
        }
        if in_doubt {
            self.befall(device, Trouble::Dead);
        }
        if channels
            .token
            .is_some_and(|token| self.refused_tokens.contains(&token.number))
        {
            self.befall(device, Trouble::Refused);
        }
        let device = &mut self.devices[device];
        device.apns = new;
        if device.link && !channels.link {
            device.link_lost.push(pushes);
        }
        device.link = channels.link;
        device.missing = Missing::No;
    }

    pub(super) fn set_installed(&mut self, token: u8, installed: bool) {
        if installed {
            self.dead_tokens.remove(&token);
            return;
        }
        self.dead_tokens.insert(token);
        if let Some(owner) = self.owner(token) {
            self.befall(owner, Trouble::Dead);
            if let Some(apns) = &mut self.devices[owner].apns {
                apns.in_doubt = true;
            }
        }
    }

    /// Apple refuses one request to a token, the next that there is.
    pub(super) fn refuse(&mut self, token: u8) {
        self.refusals += 1;
        self.refused_tokens.insert(token);
        if let Some(owner) = self.owner(token) {
            self.befall(owner, Trouble::Refused);
        }
    }

    fn befall(&mut self, device: usize, trouble: Trouble) {
        let pushes = self.messages.len();
        self.devices[device].befell.push((pushes, trouble));
    }

    pub(super) fn delete(&mut self, device: usize, at: i64) {
        let pushes = self.messages.len();
        let device = &mut self.devices[device];
        device.deleted = Some((pushes, at));
        device.apns = None;
    }

    /// What each device gets of a push that is made now.
    pub(super) fn expect(&self, push: &Push) -> Vec<Expected> {
        let expect = |(number, device): (usize, &Device)| {
            if !self.is_meant(push, number, device) {
                return Expected::default();
            }
            let is_missing = matches!(device.missing, Missing::Since(_));
            let link = (device.link && !is_missing).then_some(Provider::Link);
            let apns = device.apns.map(|_| Provider::Apns);
            let part = |is_there: bool, ways: &[Option<Provider>]| match is_there {
                true => ways.iter().copied().flatten().collect(),
                false => Vec::new(),
            };
            Expected {
                in_doubt: device.apns.is_some_and(|apns| apns.in_doubt),
                link_in_doubt: matches!(device.missing, Missing::InDoubt(_) | Missing::Perhaps(_)),
                message: part(push.message, &[link]),
                notification: part(push.notification, &[apns, link]),
            }
        };
        self.devices.iter().enumerate().map(expect).collect()
    }

    fn is_meant(&self, push: &Push, number: usize, device: &Device) -> bool {
        let on_platform = push.platforms.is_empty() || push.platforms.contains(&device.platform);
        let in_audience = match &push.audience {
            Audience::Aliases(aliases) => device.alias.is_some_and(|one| aliases.contains(&one)),
            Audience::All => true,
            Audience::Devices(slots) => slots.iter().any(|slot| self.at(*slot) == Some(number)),
            Audience::Tags(tags) => tags.iter().any(|tag| device.tags.contains(tag)),
        };
        device.deleted.is_none() && on_platform && in_audience
    }
}

impl Device {
    /// What befell its channel to Apple that a message could still meet, or met when it was pushed.
    pub(super) fn trouble(&self, message: usize) -> impl Iterator<Item = Trouble> {
        let since = self.befell.iter().filter(move |(pushes, trouble)| {
            // A fault waits until it is met, and a dead token is dead until another is registered.
            *pushes > message || matches!(trouble, Trouble::Dead | Trouble::Refused)
        });
        since.map(|(_, trouble)| *trouble)
    }

    /// Whether it is certain that it is not on the link.
    pub(super) fn has_lost_the_link(&self) -> bool {
        !self.link || matches!(self.missing, Missing::Since(_))
    }

    /// Whether it has been on the link from a push until now.
    pub(super) fn is_on_link_since(&self, message: usize) -> bool {
        self.link && self.link_lost.iter().all(|pushes| *pushes <= message)
    }
}
