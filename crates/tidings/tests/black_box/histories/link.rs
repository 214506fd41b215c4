//! What the server says of a way over the link, and what the phones were sent: the judgement of both.

use super::apple::is_certain;
use super::judge::{Case, Way};
use super::oracle::{Device, Expected, Message, Part, Provider};
use super::phone::{Connection, Pushed};
use super::run::Run;
use super::step::Answer;
use super::world::{Delivery, Restart};

/// What is answered so shortly before the end of a message may be counted after it.
const LATE_MS: i64 = 1000;
/// What was said so shortly before a connection was lost may not have been read.
const READ_MS: i64 = 2000;
/// What left the server in time may come so much later on a busy machine.
pub(super) const SLOW_MS: i64 = 5000;

impl Run {
    pub(super) fn judge_link(
        &self,
        case: &Case<'_>,
        device: usize,
        part: Part,
        way: &Way,
    ) -> Option<String> {
        let push = &self.oracle.messages[case.message].push;
        let has_time = push.time_to_live > 60;
        let answers = self.answers(case, device, part);
        let told = (way.outcome.as_str(), way.reason.as_str());
        // The first answer that is certain to have been read decides; one before it may have been.
        for (answer, at, is_certain) in &answers {
            let is_it = match (answer, told) {
                (Answer::Acknowledge, ("delivered", _)) => true,
                (Answer::Refuse(code), ("dropped", reason)) => {
                    reason.ends_with(&format!("{code:02x}")) && reason.starts_with("Refused")
                }
                (_, ("expired", _)) => !has_time && *at > case.expires_at - LATE_MS,
                _ => false,
            };
            if is_it {
                return None;
            }
            if *is_certain {
                return Some(format!("{}; the phone answered {answer:?}", way.reason));
            }
        }
        let its = &self.oracle.devices[device];
        let small = |connection: &Connection| {
            let since = self.oracle.messages[case.message].answered;
            // The server may let a phone in that has not waited for it, and see later that it is gone.
            let is_gone = |end: i64| end < since - SLOW_MS && connection.joined.is_some();
            connection.packet_max.is_some() && !connection.ended.is_some_and(is_gone)
        };
        let met_small =
            push.big && self.memory(device, |memory| memory.connections.iter().any(small));
        let is_there = self.is_there(case, device);
        match told {
            ("waiting", _) if case.finished => Some("the message is finished".into()),
            ("waiting", _) if is_there => Some("the phone is there, and answers".into()),
            ("waiting", _) if its.has_lost_the_link() => Some("it has no link".into()),
            ("waiting", _) => None,
            ("expired", _) if has_time => Some("its time is not over".into()),
            ("expired", _) => (case.now < case.expires_at).then(|| "its time is not over".into()),
            ("dropped", "TooLargeForDevice") if met_small => None,
            ("dropped", reason)
                if !its.is_on_link_since(case.message) && !reason.starts_with("Refused") =>
            {
                None
            }
            ("dropped", reason) => Some(format!("{reason}, and the phone answered {answers:?}")),
            ("delivered", _) => Some(format!("the phone answered {answers:?}")),
            _ => Some("no such outcome".into()),
        }
    }

    /// What a phone answered to a part of a message, in time's order, when, and whether it is certain that the server has read
    /// it and has it still.
    fn answers(&self, case: &Case<'_>, device: usize, part: Part) -> Vec<(Answer, i64, bool)> {
        let id = &self.oracle.messages[case.message].id;
        self.memory(device, |memory| {
            let of_it = memory
                .pushes
                .iter()
                .filter(|pushed| pushed.msg_id == *id && has_part(pushed, part));
            let answers = of_it.filter_map(|pushed| {
                let (answer, at) = pushed.answered?;
                let connection = &memory.connections[pushed.connection];
                let is_certain = was_read(at, connection, case.restarts)
                    && (self.oracle.messages[case.message].push.time_to_live > 60
                        || at <= case.expires_at - LATE_MS);
                Some((answer, at, is_certain))
            });
            answers.collect()
        })
    }

    /// What a phone had to do with a message, in milliseconds since the push.
    pub(super) fn phone_says(&self, device: usize, message: usize) -> String {
        let Message { answered, id, .. } = &self.oracle.messages[message];
        let since = |at: i64| at - answered;
        let restarts = self.world.restarts();
        let restarts = restarts
            .iter()
            .map(|one| format!("{:?} at {}", one.by, since(one.at)));
        let restarts: Vec<String> = restarts.collect();
        self.memory(device, |memory| {
            let pushes = memory.pushes.iter().filter(|pushed| pushed.msg_id == *id);
            let pushes = pushes.map(|pushed| {
                let answer = pushed.answered.map(|(answer, at)| (answer, since(at)));
                format!(
                    "at {} on {}: {answer:?}",
                    since(pushed.at),
                    pushed.connection
                )
            });
            let connections = memory.connections.iter().map(|one| {
                let (joined, ended) = (one.joined.map(since), one.ended.map(since));
                format!("{joined:?} to {ended:?}, in order: {}", one.in_order)
            });
            let (pushes, connections): (Vec<_>, Vec<_>) = (pushes.collect(), connections.collect());
            let last = connections.len().saturating_sub(6);
            format!(
                "it came {pushes:?}; connections from {last} on {:?}; {restarts:?}",
                &connections[last..]
            )
        })
    }

    /// The phone is connected, and takes and answers whatever comes.
    fn is_there(&self, case: &Case<'_>, device: usize) -> bool {
        let is_open = self.memory(device, |memory| {
            let last = memory.connections.last();
            last.is_some_and(|last| {
                last.ended.is_none() && last.joined.is_some_and(|at| at < case.now - SLOW_MS)
            })
        });
        is_open && self.will_answer(device)
    }

    /// What came over the link, to whom it should not have, or when.
    pub(super) fn judge_phone(
        &self,
        device: usize,
        deliveries: &[Delivery],
        restarts: &[Restart],
        wrongs: &mut Vec<String>,
    ) {
        let its = &self.oracle.devices[device];
        let mut wrong = |what: String| wrongs.push(format!("d{device}: {what}"));
        let (pushes, connections, own) = self.memory(device, |memory| {
            (
                memory.pushes.clone(),
                memory.connections.clone(),
                memory.wrongs.clone(),
            )
        });
        for what in own {
            wrong(what);
        }
        for (index, pushed) in pushes.iter().enumerate() {
            let mut messages = self.oracle.messages.iter();
            let Some(number) = messages.position(|message| message.id == pushed.msg_id) else {
                wrong(format!("was sent {}, which nobody pushed", pushed.msg_id));
                continue;
            };
            let message = &self.oracle.messages[number];
            let nobody = Expected::default();
            let expected = message.expected.get(device).unwrap_or(&nobody);
            if !pushed.message && !pushed.notification {
                wrong(format!("was sent nothing of m{number}"));
            }
            for part in Part::ALL {
                if has_part(pushed, part) {
                    let why =
                        self.by_link(its, number, expected, part, deliveries, restarts, device);
                    if let Some(why) = why {
                        wrong(format!("was sent the {} of m{number}: {why}", part.name()));
                    }
                    if let Some(why) = again(&pushes, index, part, &connections, restarts) {
                        wrong(format!(
                            "was sent the {} of m{number} again: {why}",
                            part.name()
                        ));
                    }
                }
            }
            let connection = &connections[pushed.connection];
            if message.push.time_to_live == 0 && connection.asked > message.answered {
                wrong(format!("was sent m{number}, though it was away"));
            }
            if its.deleted.is_some_and(|(_, at)| connection.asked > at) {
                wrong(format!("was sent m{number}, though it is deleted"));
            }
            let lives = i64::from(message.push.time_to_live.max(10)) * 1000;
            if pushed.at > message.answered + lives + SLOW_MS {
                wrong(format!("was sent m{number}, though it had expired"));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that decides it")]
    fn by_link(
        &self,
        its: &Device,
        number: usize,
        expected: &Expected,
        part: Part,
        deliveries: &[Delivery],
        restarts: &[Restart],
        device: usize,
    ) -> Option<String> {
        let ways = expected.ways(part);
        match ways {
            [Provider::Link] => None,
            [Provider::Apns, Provider::Link] => {
                let id = self.delivery_id(number, device);
                let arrived = deliveries.iter().find(|one| one.id == id);
                match arrived {
                    // A repeat that Apple refuses, after an answer that was lost, may be handed on.
                    Some(delivery) if is_certain(delivery.at, restarts) => {
                        Some("it had it from Apple".into())
                    }
                    Some(_) | None => {
                        let has_trouble = its.trouble(number).next().is_some();
                        (!has_trouble && !expected.in_doubt).then(|| "its way is Apple's".into())
                    }
                }
            }
            _ => Some(format!("its ways are {ways:?}")),
        }
    }
}

fn has_part(pushed: &Pushed, part: Part) -> bool {
    match part {
        Part::Message => pushed.message,
        Part::Notification => pushed.notification,
    }
}

/// Why a part should not have come at `index`, when it had come before.
fn again(
    pushes: &[Pushed],
    index: usize,
    part: Part,
    connections: &[Connection],
    restarts: &[Restart],
) -> Option<String> {
    let pushed = &pushes[index];
    let mut before = pushes[..index]
        .iter()
        .filter(|before| before.msg_id == pushed.msg_id && has_part(before, part));
    before.find_map(|before| {
        if before.connection == pushed.connection {
            return Some("on one connection".into());
        }
        let (answer, at) = before.answered?;
        let connection = &connections[before.connection];
        let is_read = at < pushed.at && was_read(at, connection, restarts);
        is_read.then(|| format!("it had answered {answer:?}"))
    })
}

/// Whether the server has read what was answered at this time on this connection, and still knows it.
fn was_read(at: i64, connection: &Connection, restarts: &[Restart]) -> bool {
    let is_read = match connection.ended {
        None => true,
        Some(_) if connection.in_order => true,
        Some(ended) => at < ended - READ_MS,
    };
    is_read && is_certain(at, restarts)
}
