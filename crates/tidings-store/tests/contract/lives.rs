//! The registry's search against the model's judgement: whom a page of an audience holds, and which way a device gets a
//! message, is one answer, at whatever time it is asked.

use proptest::prelude::*;
use proptest::sample::subsequence;
use tempfile::TempDir;
use tidings_model::{
    Alias, AppId, Audience, CustomMessage, DeviceId, Message, MsgId, Notification, Platform,
    PlatformSet, Provider, Push, PushOptions, Selection, Tag,
};
use tidings_store::{
    Accepted, ChannelChange, DeviceChange, NewDevice, Scope, SealKey, Store, TagChange,
};

const TAGS: [&str; 3] = ["a", "b", "c"];
const ALIASES: [&str; 2] = ["ann", "bob"];

/// Something that happens to the registry, or a push. Devices and tokens are by number.
#[derive(Clone, Debug)]
enum Step {
    Channels(usize, Option<usize>, bool),
    Alias(usize, Option<usize>),
    Push(Box<Aimed>),
    Register(Option<usize>, bool, Platform),
    Tags(usize, Vec<&'static str>),
}

/// Whom a push is for, and what it has.
#[derive(Clone, Debug)]
struct Aimed {
    aliases: Vec<&'static str>,
    devices: Vec<usize>,
    message: bool,
    notification: bool,
    platforms: PlatformSet,
    tags: Vec<&'static str>,
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..6usize;
    let token = prop::option::of(0..4usize);
    let platform = prop_oneof![Just(Platform::Ios), Just(Platform::Android)];
    let platforms = prop_oneof![
        2 => Just(PlatformSet::ALL),
        1 => Just([Platform::Ios].into_iter().collect()),
    ];
    let aimed = (
        subsequence(&ALIASES[..], 0..=2),
        prop::collection::vec(0..6usize, 0..3),
        any::<bool>(),
        any::<bool>(),
        platforms,
        subsequence(&TAGS[..], 0..=3),
    );
    let aimed = aimed.prop_map(
        |(aliases, devices, message, notification, platforms, tags)| Aimed {
            aliases,
            devices,
            message,
            notification,
            platforms,
            tags,
        },
    );
    prop_oneof![
        2 => (token.clone(), any::<bool>(), platform).prop_map(|(token, link, platform)| Step::Register(token, link, platform)),
        2 => (device.clone(), token, any::<bool>()).prop_map(|(device, token, link)| Step::Channels(device, token, link)),
        1 => (device.clone(), prop::option::of(0..2usize)).prop_map(|(device, alias)| Step::Alias(device, alias)),
        2 => (device, subsequence(&TAGS[..], 0..=3)).prop_map(|(device, tags)| Step::Tags(device, tags)),
        4 => aimed.prop_map(|aimed| Step::Push(Box::new(aimed))),
    ]
}

fn channels(token: Option<usize>, link: bool) -> Vec<ChannelChange> {
    let apns = token.map(|token| ChannelChange {
        environment: None,
        provider: Provider::Apns,
        token: Some(format!("{token:02x}")),
    });
    let link = link.then_some(ChannelChange {
        environment: None,
        provider: Provider::Link,
        token: None,
    });
    apns.into_iter().chain(link).collect()
}

fn tags(tags: &[&str]) -> Vec<Tag> {
    tags.iter().map(|tag| tag.parse().expect("a tag")).collect()
}

fn alias(number: usize) -> Alias {
    ALIASES[number].parse().expect("an alias")
}

struct World {
    app: AppId,
    devices: Vec<DeviceId>,
    messages: Vec<Message>,
    store: Store,
}

impl World {
    fn device(&self, number: usize) -> Option<DeviceId> {
        self.devices.get(number).copied()
    }

    async fn change(&self, number: usize, change: DeviceChange) {
        if let Some(device) = self.device(number) {
            let changed = self.store.change_device(self.app, device, change).await;
            changed.expect("changed").expect("known");
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Register(token, link, platform) => {
                let new = NewDevice {
                    alias: None,
                    app: self.app,
                    app_version: None,
                    channels: channels(token, link),
                    locale: None,
                    platform,
                    proof: None,
                    tags: vec![],
                    time_zone: None,
                };
                let registered = self.store.register(new).await.expect("registered");
                self.devices.push(registered.id);
            }
            Step::Channels(device, token, link) => {
                let change = DeviceChange {
                    channels: Some(channels(token, link)),
                    ..DeviceChange::default()
                };
                self.change(device, change).await;
            }
            Step::Alias(device, number) => {
                let change = DeviceChange {
                    alias: Some(number.map(alias)),
                    ..DeviceChange::default()
                };
                self.change(device, change).await;
            }
            Step::Tags(device, wanted) => {
                let change = DeviceChange {
                    tags: Some(TagChange::Replace(tags(&wanted))),
                    ..DeviceChange::default()
                };
                self.change(device, change).await;
            }
            Step::Push(aimed) => self.push(*aimed).await,
        }
    }

    async fn push(&mut self, aimed: Aimed) {
        let selection = Selection {
            aliases: aimed
                .aliases
                .iter()
                .map(|alias| alias.parse().expect("an alias"))
                .collect(),
            devices: aimed
                .devices
                .iter()
                .filter_map(|number| self.device(*number))
                .collect(),
            tags: tags(&aimed.tags),
        };
        let audience = match selection == Selection::default() {
            true => Audience::All,
            false => Audience::Selection(selection),
        };
        let custom = CustomMessage {
            content_type: None,
            extras: Default::default(),
            msg_content: "x".into(),
            shown_instead: None,
            title: None,
        };
        let push = Push {
            audience,
            message: aimed.message.then_some(custom),
            notification: aimed.notification.then(|| Notification {
                alert: Some("hi".into()),
                ..Notification::default()
            }),
            options: PushOptions::default(),
            platforms: aimed.platforms,
        };
        match self.store.accept(self.app, push, None).await {
            Ok(Accepted::New(message)) => self.messages.push(message),
            other => panic!("{other:?}"),
        }
    }

    /// Whom the search finds, with pages of two.
    async fn found(&self, message: &Message, provider: Provider) -> Vec<DeviceId> {
        let mut found = Vec::new();
        let Some(scope) = Scope::of(message, provider) else {
            return found;
        };
        let mut after = DeviceId(0);
        loop {
            let page = self.store.targets(&scope, after, 2).await.expect("targets");
            found.extend(page.iter().map(|target| target.device));
            match page.last() {
                Some(last) if page.len() == 2 => after = last.device,
                _ => break,
            }
        }
        found
    }

    /// Whom the model finds.
    async fn judged(&self, message: &Message, provider: Provider) -> Vec<DeviceId> {
        let Push { audience, .. } = &message.push;
        let mut judged = Vec::new();
        for device in &self.devices {
            let history = self.store.history(self.app, *device).await;
            let history = history.expect("read").expect("known");
            let parts = history.parts(message.id, audience, message.push.aim(), provider);
            if !parts.is_empty() {
                judged.push(*device);
            }
        }
        judged
    }

    /// Checks every message, also against what was found when it was accepted.
    async fn check(&self, at_first: &mut Vec<(MsgId, Provider, Vec<DeviceId>)>) {
        for message in &self.messages {
            for provider in Provider::ALL {
                let found = self.found(message, provider).await;
                assert_eq!(found, self.judged(message, provider).await, "{message:?}");
                let known = at_first
                    .iter()
                    .find(|(id, by, _)| (*id, *by) == (message.id, provider));
                match known {
                    Some((_, _, first)) => assert_eq!(*first, found, "{message:?}"),
                    None => at_first.push((message.id, provider, found)),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn search_and_judgement_agree_at_every_time(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let dir = TempDir::new().expect("a directory");
            let seal = SealKey::parse(&"0a".repeat(32)).expect("a key");
            let store = Store::open(dir.path(), seal).expect("opens");
            let app = store.create_app("test".into()).await.expect("an app").0.id;
            let mut world = World { app, devices: vec![], messages: vec![], store };
            let mut at_first = Vec::new();
            for step in steps {
                let is_push = matches!(step, Step::Push(_));
                world.take(step).await;
                if is_push {
                    world.check(&mut at_first).await;
                }
            }
            world.check(&mut at_first).await;
        });
    }
}
