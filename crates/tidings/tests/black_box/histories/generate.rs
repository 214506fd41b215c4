//! Histories from a seed: mostly what makes sense, in an order that need not.

use super::step::{Answer, Audience, Channels, Environment, LABELS, Platform, Push, Step, Token};

/// The largest packet of a phone that has little room: a message of the usual length fits, a big one does not.
const PACKET_MAX: u32 = 200;

const DAY: u32 = 86_400;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u8 {
        u8::try_from(self.roll() % end).expect("small")
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    /// One of the weighted.
    fn pick<T: Clone>(&mut self, weighted: &[(u64, T)]) -> T {
        let all: u64 = weighted.iter().map(|(weight, _)| weight).sum();
        let mut left = self.roll() % all;
        for (weight, what) in weighted {
            if left < *weight {
                return what.clone();
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }

    fn labels(&mut self, at_most: u64) -> Vec<u8> {
        let count = self.below(at_most + 1);
        let mut labels: Vec<u8> = (0..count).map(|_| self.below(LABELS.into())).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

struct History {
    devices: Vec<Platform>,
    dice: Dice,
    messages: u8,
    steps: Vec<Step>,
    tokens: u8,
}

/// The history of a seed.
pub(super) fn history(seed: u64) -> Vec<Step> {
    let mut history = History {
        devices: Vec::new(),
        dice: Dice(seed),
        messages: 0,
        steps: Vec::new(),
        tokens: 0,
    };
    for _ in 0..2 + history.dice.below(4) {
        history.register_new();
        if history.dice.percent(50) {
            history.connect();
        }
    }
    for _ in 0..15 + history.dice.below(16) {
        history.step();
    }
    if history.dice.percent(60) {
        history.come_together();
    }
    history.steps
}

#[derive(Clone, Copy)]
enum Kind {
    Answer,
    Change,
    Connect,
    Counts,
    Cut,
    Delete,
    Disconnect,
    Fault,
    Opened,
    Pause,
    Push,
    Register,
    Token,
    Verdict,
}

impl History {
    fn step(&mut self) {
        let kinds = [
            (3, Kind::Answer),
            (12, Kind::Change),
            (14, Kind::Connect),
            (3, Kind::Counts),
            (3, Kind::Cut),
            (2, Kind::Delete),
            (8, Kind::Disconnect),
            (4, Kind::Fault),
            (2, Kind::Opened),
            (12, Kind::Pause),
            (30, Kind::Push),
            (5, Kind::Register),
            (5, Kind::Token),
            (3, Kind::Verdict),
        ];
        match self.dice.pick(&kinds) {
            Kind::Answer => {
                let (device, answer) = (self.device(), self.answer());
                self.steps.push(Step::Answer { device, answer });
            }
            Kind::Change => self.change(),
            Kind::Connect => self.connect(),
            Kind::Counts => {
                if let Some(message) = self.message() {
                    self.steps.push(Step::Counts { message });
                }
            }
            Kind::Cut => {
                let device = self.device();
                self.steps.push(Step::Cut { device });
            }
            Kind::Delete => {
                let device = self.device();
                self.steps.push(Step::Delete { device });
            }
            Kind::Disconnect => {
                let device = self.device();
                self.steps.push(Step::Disconnect { device });
            }
            Kind::Fault => {
                let statuses = [(2, 400), (3, 429), (3, 500)];
                if let Some(token) = self.token() {
                    let status = self.dice.pick(&statuses);
                    self.steps.push(Step::Fault { token, status });
                }
            }
            Kind::Opened => {
                if let Some(message) = self.message() {
                    let device = self.device();
                    self.steps.push(Step::Opened { device, message });
                }
            }
            Kind::Pause => {
                let ms = self
                    .dice
                    .pick(&[(5, 5), (5, 50), (4, 300), (2, 1000), (1, 2500)]);
                self.steps.push(Step::Pause { ms });
            }
            Kind::Push => self.push(),
            Kind::Register => match self.devices.len() < 7 && self.dice.percent(50) {
                true => self.register_new(),
                false => self.register_again(),
            },
            Kind::Token => {
                if let Some(token) = self.token() {
                    let installed = self.dice.percent(30);
                    self.steps.push(Step::Token { token, installed });
                }
            }
            Kind::Verdict => {
                if let Some(message) = self.message() {
                    let device = self.device();
                    self.steps.push(Step::Verdict { device, message });
                }
            }
        }
    }

    fn device(&mut self) -> u8 {
        self.dice.below(self.devices.len() as u64)
    }

    /// A message of late, more often than an old one.
    fn message(&mut self) -> Option<u8> {
        let of_late = self.messages.min(3);
        if self.messages == 0 {
            return None;
        }
        Some(match self.dice.percent(70) {
            true => self.messages - 1 - self.dice.below(of_late.into()),
            false => self.dice.below(self.messages.into()),
        })
    }

    fn token(&mut self) -> Option<u8> {
        (self.tokens > 0).then(|| self.dice.below(self.tokens.into()))
    }

    fn answer(&mut self) -> Answer {
        self.dice.pick(&[
            (8, Answer::Acknowledge),
            (1, Answer::Refuse(0x87)),
            (1, Answer::Refuse(0x97)),
            (3, Answer::Silence),
        ])
    }

    fn channels(&mut self, platform: Platform) -> Channels {
        if platform != Platform::Ios {
            return Channels {
                link: true,
                token: None,
            };
        }
        let (link, apns) =
            self.dice
                .pick(&[(6, (true, true)), (3, (false, true)), (2, (true, false))]);
        // Sometimes one that another device has.
        let number = match self.token() {
            Some(known) if self.dice.percent(35) => known,
            Some(_) | None => self.tokens,
        };
        let environment = self.dice.pick(&[
            (4, Environment::Unsaid),
            (1, Environment::Sandbox),
            (1, Environment::Production),
        ]);
        if apns {
            self.tokens = self.tokens.max(number + 1);
        }
        let token = apns.then_some(Token {
            environment,
            number,
        });
        Channels { link, token }
    }

    fn alias(&mut self) -> Option<u8> {
        self.dice
            .percent(50)
            .then(|| self.dice.below(LABELS.into()))
    }

    fn register_new(&mut self) {
        let platform = self.dice.pick(&[
            (5, Platform::Ios),
            (4, Platform::Android),
            (1, Platform::Hmos),
        ]);
        let step = Step::Register {
            device: u8::try_from(self.devices.len()).expect("few"),
            alias: self.alias(),
            channels: self.channels(platform),
            platform,
            proof: false,
            tags: self.dice.labels(2),
        };
        self.devices.push(platform);
        self.steps.push(step);
    }

    fn register_again(&mut self) {
        let device = self.device();
        let platform = self.devices[usize::from(device)];
        let step = Step::Register {
            device,
            alias: self.alias(),
            channels: self.channels(platform),
            platform,
            proof: self.dice.percent(60),
            tags: self.dice.labels(2),
        };
        self.steps.push(step);
    }

    fn change(&mut self) {
        let device = self.device();
        let platform = self.devices[usize::from(device)];
        let mut step = (None, None, None);
        match self.dice.below(4) {
            0 => step.0 = Some(self.alias().into_iter().collect()),
            1 => step.1 = Some(self.dice.labels(2)),
            _ => step.2 = Some(self.channels(platform)),
        }
        let (alias, tags, channels) = step;
        self.steps.push(Step::Change {
            device,
            alias,
            channels,
            tags,
        });
    }

    fn connect(&mut self) {
        let device = self.device();
        let answer = self.answer();
        let packet_max = self.dice.percent(25).then_some(PACKET_MAX);
        let needs_5 = packet_max.is_some() || matches!(answer, Answer::Refuse(_));
        let version = match needs_5 || self.dice.percent(60) {
            true => 5,
            false => 4,
        };
        self.steps.push(Step::Connect {
            device,
            answer,
            packet_max,
            version,
        });
    }

    fn push(&mut self) {
        let some_devices = |history: &mut Self| {
            let count = 1 + history.dice.below(3);
            let mut devices: Vec<u8> = (0..count).map(|_| history.device()).collect();
            devices.sort_unstable();
            devices.dedup();
            devices
        };
        let audience = match self.dice.below(10) {
            0..4 => Audience::All,
            4..6 => Audience::Tags(self.dice.labels(2)),
            6..8 => Audience::Aliases(self.dice.labels(2)),
            _ => Audience::Devices(some_devices(self)),
        };
        let audience = match audience {
            Audience::Tags(labels) if labels.is_empty() => Audience::All,
            Audience::Aliases(labels) if labels.is_empty() => Audience::All,
            named => named,
        };
        let (notification, message) =
            self.dice
                .pick(&[(5, (true, false)), (2, (false, true)), (4, (true, true))]);
        let time_to_live = self.dice.pick(&[(6, DAY), (2, 1), (2, 2), (2, 0)]);
        let platforms = self.dice.pick(&[
            (8, vec![]),
            (1, vec![Platform::Ios]),
            (1, vec![Platform::Android, Platform::Hmos]),
        ]);
        self.messages += 1;
        self.steps.push(Step::Push(Push {
            audience,
            big: self.dice.percent(25),
            message,
            notification,
            platforms,
            time_to_live,
        }));
    }

    /// Every phone comes and takes what waits for it.
    fn come_together(&mut self) {
        for device in 0..u8::try_from(self.devices.len()).expect("few") {
            self.steps.push(Step::Connect {
                device,
                answer: Answer::Acknowledge,
                packet_max: None,
                version: 5,
            });
        }
    }
}

#[test]
fn a_seed_is_a_history() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
    let written = serde_json::to_string(&history(7)).expect("written");
    let read: Vec<Step> = serde_json::from_str(&written).expect("read");
    assert_eq!(read, history(7));
}
