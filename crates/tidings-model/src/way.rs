//! Which way a device gets a message: the one decision that the page cutter, the link, the ledger and the verdict share.
//!
//! It is taken for each part of a push by itself, over the device as it was at the message's id, so whoever asks, and
//! whenever, hears the same: a device never gets a part by two ways.

use crate::{
    Alias, Audience, DeviceId, MsgId, Platform, PlatformSet, Provider, ProviderSet, Selection,
    Strategies, Strategy, Tag,
};

/// A part of a push: each has its own way, ending, and place in a client's memory of what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The custom message, handed to the app.
    Message,
    /// What is shown.
    Notification,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Message, Self::Notification];

    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Notification => "notification",
        }
    }
}

/// Some parts of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parts {
    pub message: bool,
    pub notification: bool,
}

impl Parts {
    pub fn is_empty(self) -> bool {
        !self.message && !self.notification
    }

    pub fn contains(self, part: Part) -> bool {
        match part {
            Part::Message => self.message,
            Part::Notification => self.notification,
        }
    }

    pub fn iter(self) -> impl Iterator<Item = Part> {
        Part::ALL
            .into_iter()
            .filter(move |part| self.contains(*part))
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        let mut all = Self::default();
        for part in parts {
            match part {
                Part::Message => all.message = true,
                Part::Notification => all.notification = true,
            }
        }
        all
    }
}

/// Which parts of a push are for which platforms, and in which order providers and the link come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    pub message: PlatformSet,
    pub notification: PlatformSet,
    /// The providers that have something of the custom message, which has no notification beside it then: they hand it to the
    /// app, or show something in its place. Of others a custom message takes the link only (JPush hands them over its own
    /// connection, too).
    pub message_by: ProviderSet,
    pub strategies: Strategies,
}

impl Aim {
    /// The platforms that a part is for.
    pub fn platforms(self, part: Part) -> PlatformSet {
        match part {
            Part::Message => self.message,
            Part::Notification => self.notification,
        }
    }

    /// The part that providers have something of, before the link: never both.
    pub fn offered(self) -> Part {
        match self.notification.is_empty() {
            true => Part::Message,
            false => Part::Notification,
        }
    }

    /// The providers that carry a part, best first; the link is the last of them.
    fn order(self, part: Part) -> impl Iterator<Item = Provider> + Clone {
        let all = Provider::ALL.into_iter();
        all.filter(move |carrier| {
            let carries = match part {
                Part::Message => *carrier == Provider::Link || self.message_by.contains(*carrier),
                Part::Notification => true,
            };
            carries && self.strategies.of(*carrier) != Strategy::LinkOnly
        })
    }

    /// The ways of a part to a device of `platform` that can be reached by `held`: the first is its way, and where that ends
    /// before the part was accepted, the next. Where the link may have it first ([`Strategy::is_link_first`]), the provider
    /// decides nevertheless: its cutter gives it to the link, until it comes back.
    pub fn ways(
        self,
        part: Part,
        platform: Platform,
        held: ProviderSet,
    ) -> impl Iterator<Item = Provider> {
        let is_for = self.platforms(part).contains(platform);
        let order = self.order(part);
        let mut ends = false;
        order
            .filter(move |carrier| is_for && held.contains(*carrier))
            .take_while(move |way| {
                let ended = ends;
                ends = self.strategies.of(*way) == Strategy::ProviderOnly;
                !ended
            })
    }

    /// The way of a part to a device; none when the device does not get it.
    pub fn way(self, part: Part, platform: Platform, held: ProviderSet) -> Option<Provider> {
        self.ways(part, platform, held).next()
    }

    /// The parts whose way to a device is `provider`.
    pub fn parts(self, platform: Platform, held: ProviderSet, provider: Provider) -> Parts {
        let goes = |part: &Part| self.way(*part, platform, held) == Some(provider);
        Part::ALL.into_iter().filter(goes).collect()
    }

    /// The devices for which [`Aim::parts`] is not empty, said in a way that a registry can search by; none when there are
    /// none.
    pub fn reach(self, provider: Provider) -> Option<Reach> {
        let reaches = Part::ALL.into_iter().filter_map(|part| {
            let platforms = self.platforms(part);
            let order = self.order(part);
            let before = order.clone().take_while(|other| *other != provider);
            let goes = order.clone().any(|other| other == provider) && !platforms.is_empty();
            goes.then(|| Reach {
                platforms,
                without: before.collect(),
            })
        });
        // A part that some devices get by another provider is for no platform that the other part is not for, or the two
        // have the same providers before them; so the two make one.
        reaches.reduce(|one, other| Reach {
            platforms: one.platforms.or(other.platforms),
            without: one.without.and(other.without),
        })
    }

    /// The providers that can carry any part of it.
    pub fn carriers(self) -> ProviderSet {
        let parts = Part::ALL
            .into_iter()
            .filter(|part| !self.platforms(*part).is_empty());
        parts.flat_map(|part| self.order(part)).collect()
    }
}

/// Whom a provider reaches: devices of these platforms that have none of the providers that would be taken before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub platforms: PlatformSet,
    pub without: ProviderSet,
}

/// From when until when something held, in ids of the app's clock. Ids are unique, so it held at a message or it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub since: i64,
    /// [`Life::ON`] while it holds.
    pub until: i64,
}

impl Life {
    /// The end of what has not ended.
    pub const ON: i64 = i64::MAX;

    pub fn since(id: i64) -> Self {
        Self {
            since: id,
            until: Self::ON,
        }
    }

    pub fn holds_at(self, message: MsgId) -> bool {
        self.since < message.0 && message.0 < self.until
    }
}

/// A device with what it was and had, and when: enough to say of each message that is still kept which way it took.
#[derive(Clone, Debug)]
pub struct DeviceHistory {
    pub aliases: Vec<(Alias, Life)>,
    pub channels: Vec<(Provider, Life)>,
    pub id: DeviceId,
    /// What it was at messages before this is not known any more: it has changed too often since.
    pub known_from: MsgId,
    pub platform: Platform,
    pub tags: Vec<(Tag, Life)>,
}

impl DeviceHistory {
    /// The providers by which it could be reached.
    pub fn providers_at(&self, message: MsgId) -> ProviderSet {
        held(&self.channels, message).copied().collect()
    }

    /// Whether an audience took it in; its platform and channels do not matter here.
    pub fn is_in(&self, audience: &Audience, message: MsgId) -> bool {
        if message.0 <= self.id.0 {
            return false;
        }
        let Audience::Selection(Selection {
            aliases,
            devices,
            tags,
        }) = audience
        else {
            return true;
        };
        (devices.is_empty() || devices.contains(&self.id))
            && (aliases.is_empty()
                || held(&self.aliases, message).any(|alias| aliases.contains(alias)))
            && (tags.is_empty() || held(&self.tags, message).any(|tag| tags.contains(tag)))
    }

    /// The ways of a part of a message to this device, best first; none when it was not meant for it.
    pub fn ways(
        &self,
        message: MsgId,
        audience: &Audience,
        aim: Aim,
        part: Part,
    ) -> impl Iterator<Item = Provider> {
        let held = match self.is_in(audience, message) {
            true => self.providers_at(message),
            false => ProviderSet::default(),
        };
        aim.ways(part, self.platform, held)
    }

    /// The parts of a message that go to this device by `provider`; empty when nothing does.
    pub fn parts(
        &self,
        message: MsgId,
        audience: &Audience,
        aim: Aim,
        provider: Provider,
    ) -> Parts {
        let held = self.providers_at(message);
        if !held.contains(provider) || !self.is_in(audience, message) {
            return Parts::default();
        }
        aim.parts(self.platform, held, provider)
    }
}

fn held<T>(lived: &[(T, Life)], message: MsgId) -> impl Iterator<Item = &T> {
    let holds = move |entry: &&(T, Life)| entry.1.holds_at(message);
    lived.iter().filter(holds).map(|(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(providers: &[Provider]) -> ProviderSet {
        providers.iter().copied().collect()
    }

    fn platforms(platforms: &[Platform]) -> PlatformSet {
        platforms.iter().copied().collect()
    }

    #[test]
    fn each_part_has_exactly_one_way() {
        let both = Aim {
            message: PlatformSet::ALL,
            notification: PlatformSet::ALL,
            ..Aim::default()
        };
        let (apns, link) = (Provider::Apns, Provider::Link);
        let only = |part: Part| [part].into_iter().collect::<Parts>();
        let held = set(&[apns, link]);
        assert_eq!(
            both.parts(Platform::Ios, held, apns),
            only(Part::Notification)
        );
        assert_eq!(both.parts(Platform::Ios, held, link), only(Part::Message));
        let held = set(&[link]);
        assert_eq!(
            both.parts(Platform::Android, held, link),
            Part::ALL.into_iter().collect()
        );
        assert!(both.parts(Platform::Android, held, apns).is_empty());
        let ways = |held| {
            both.ways(Part::Notification, Platform::Ios, held)
                .collect::<Vec<_>>()
        };
        assert_eq!(ways(set(&[apns, link])), [apns, link]);
        assert_eq!(ways(set(&[])), []);
    }

    const STRATEGIES: [Strategy; 5] = [
        Strategy::LinkFirst,
        Strategy::LinkIfConnected,
        Strategy::LinkOnly,
        Strategy::ProviderFirst,
        Strategy::ProviderOnly,
    ];

    /// Whom a search finds gets something, and nobody else.
    fn agree(aim: Aim, held: &[ProviderSet]) {
        for provider in Provider::ALL {
            let reach = aim.reach(provider);
            assert!(reach.is_none() || aim.carriers().contains(provider));
            for (platform, held) in Platform::ALL
                .iter()
                .flat_map(|platform| held.iter().map(move |held| (*platform, *held)))
            {
                let reached = held.contains(provider)
                    && reach.is_some_and(|reach| {
                        reach.platforms.contains(platform) && reach.without.and(held).is_empty()
                    });
                let parts = aim.parts(platform, held, provider);
                assert_eq!(reached, !parts.is_empty(), "{aim:?} {platform} {held:?}");
            }
        }
    }

    #[test]
    fn a_strategy_says_who_comes_first_and_whether_anybody_comes_after() {
        let (apns, link) = (Provider::Apns, Provider::Link);
        let expected: [&[Provider]; 5] = [
            &[apns, link],
            &[apns, link],
            &[link],
            &[apns, link],
            &[apns],
        ];
        for (strategy, expected) in STRATEGIES.into_iter().zip(expected) {
            let mut aim = Aim {
                notification: PlatformSet::ALL,
                ..Aim::default()
            };
            aim.strategies.set(apns, strategy);
            let ways = |held| {
                let ways = aim.ways(Part::Notification, Platform::Ios, held);
                ways.collect::<Vec<_>>()
            };
            assert_eq!(ways(set(&[apns, link])), expected, "{strategy:?}");
            assert_eq!(ways(set(&[link])), [link], "{strategy:?}");
        }
    }

    #[test]
    fn reach_says_the_same_as_parts() {
        let held = [
            set(&[]),
            set(&[Provider::Apns]),
            set(&[Provider::Link]),
            set(&[Provider::Apns, Provider::Link]),
            set(&[Provider::Huawei]),
            set(&[Provider::Huawei, Provider::Link]),
        ];
        // A custom message is for all platforms of its push, a notification for some of them.
        let of_push = [
            PlatformSet::ALL,
            platforms(&[Platform::Android, Platform::Ios]),
        ];
        let mut aims = Vec::new();
        for all in of_push {
            for message in [PlatformSet::default(), all] {
                for notification in [PlatformSet::default(), platforms(&[Platform::Ios]), all] {
                    aims.push(Aim {
                        message,
                        notification,
                        ..Aim::default()
                    });
                }
            }
            for message_by in [
                set(&[Provider::Huawei]),
                set(&[Provider::Apns, Provider::Huawei]),
            ] {
                aims.push(Aim {
                    message: all,
                    message_by,
                    ..Aim::default()
                });
            }
        }
        for mut aim in aims {
            for strategy in STRATEGIES {
                for provider in [Provider::Apns, Provider::Huawei] {
                    aim.strategies.set(provider, strategy);
                }
                agree(aim, &held);
            }
        }
    }

    #[test]
    fn providers_that_have_something_of_a_message_come_before_the_link() {
        let (huawei, link) = (Provider::Huawei, Provider::Link);
        let mut aim = Aim {
            message: PlatformSet::ALL,
            message_by: set(&[huawei]),
            ..Aim::default()
        };
        let ways = |aim: Aim, platform, held: &[Provider]| {
            let ways = aim.ways(Part::Message, platform, set(held));
            ways.collect::<Vec<_>>()
        };
        let android = Platform::Android;
        assert_eq!(ways(aim, android, &[huawei, link]), [huawei, link]);
        assert_eq!(ways(aim, android, &[huawei]), [huawei]);
        assert_eq!(ways(aim, Platform::Ios, &[Provider::Apns]), []);
        assert_eq!(ways(aim, Platform::Ios, &[Provider::Apns, link]), [link]);
        aim.strategies.set(huawei, Strategy::LinkOnly);
        assert_eq!(ways(aim, android, &[huawei, link]), [link]);
        assert_eq!(aim.offered(), Part::Message);
    }

    #[test]
    fn a_device_is_judged_as_it_was() {
        let tag: Tag = "vip".parse().expect("a tag");
        let device = DeviceHistory {
            aliases: vec![(
                "ann".parse().expect("an alias"),
                Life {
                    since: 10,
                    until: 30,
                },
            )],
            channels: vec![
                (Provider::Link, Life::since(10)),
                (
                    Provider::Apns,
                    Life {
                        since: 20,
                        until: 40,
                    },
                ),
            ],
            id: DeviceId(10),
            known_from: MsgId(0),
            platform: Platform::Ios,
            tags: vec![(tag.clone(), Life::since(25))],
        };
        let aim = Aim {
            notification: PlatformSet::ALL,
            ..Aim::default()
        };
        let way = |id, audience: &Audience| {
            device
                .ways(MsgId(id), audience, aim, Part::Notification)
                .next()
        };
        let all = Audience::All;
        let times = [
            (10, None),
            (11, Some(Provider::Link)),
            (20, Some(Provider::Link)),
            (21, Some(Provider::Apns)),
            (39, Some(Provider::Apns)),
            (41, Some(Provider::Link)),
        ];
        for (id, expected) in times {
            assert_eq!(way(id, &all), expected, "{id}");
        }
        let tagged = Audience::Selection(Selection {
            tags: vec![tag.clone(), "other".parse().expect("a tag")],
            ..Selection::default()
        });
        assert_eq!(
            (way(24, &tagged), way(26, &tagged)),
            (None, Some(Provider::Apns))
        );
        let both = Audience::Selection(Selection {
            aliases: vec!["ann".parse().expect("an alias")],
            tags: vec![tag],
            ..Selection::default()
        });
        assert_eq!(
            (way(26, &both), way(31, &both)),
            (Some(Provider::Apns), None)
        );
    }
}
