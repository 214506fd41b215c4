//! Whose turn it is: the apps one after another, and never two of one device at once.

use std::collections::{HashMap, HashSet, VecDeque};

use tidings_link::Uplink;
use tidings_model::{AppId, DeviceId};

#[derive(Default)]
pub(super) struct Turns {
    /// Apps that have somebody waiting, the next one first.
    apps: VecDeque<AppId>,
    /// What waits for an earlier one of its device to end.
    behind: HashMap<DeviceId, VecDeque<Uplink>>,
    /// Devices of which one is being taken.
    busy: HashSet<DeviceId>,
    queues: HashMap<AppId, VecDeque<Uplink>>,
    waiting: usize,
}

impl Turns {
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn add(&mut self, uplink: Uplink) {
        self.waiting += 1;
        self.enqueue(uplink);
    }

    /// The next one to be taken. Who has given up waiting is left out: what it said then may be overtaken by what it says
    /// when it comes again.
    pub(super) fn next(&mut self) -> Option<Uplink> {
        loop {
            let app = self.apps.pop_front()?;
            let Some(queue) = self.queues.get_mut(&app) else {
                continue;
            };
            let uplink = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&app);
            } else {
                self.apps.push_back(app);
            }
            let Some(uplink) = uplink else { continue };
            if uplink.done.is_closed() {
                self.waiting -= 1;
            } else if self.busy.insert(uplink.device) {
                self.waiting -= 1;
                return Some(uplink);
            } else {
                let behind = self.behind.entry(uplink.device).or_default();
                behind.push_back(uplink);
            }
        }
    }

    /// One of this device has been taken: its next may be.
    pub(super) fn end(&mut self, device: DeviceId) {
        self.busy.remove(&device);
        for uplink in self.behind.remove(&device).into_iter().flatten() {
            self.enqueue(uplink);
        }
    }

    fn enqueue(&mut self, uplink: Uplink) {
        let app = uplink.app;
        let queue = self.queues.entry(app).or_default();
        if queue.is_empty() {
            self.apps.push_back(app);
        }
        queue.push_back(uplink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_link::{UplinkEnd, UplinkTopic};
    use tidings_model::Platform;
    use tokio::sync::oneshot;

    fn add(
        turns: &mut Turns,
        app: i64,
        device: i64,
        payload: &str,
    ) -> oneshot::Receiver<UplinkEnd> {
        let (done, end) = oneshot::channel();
        turns.add(Uplink {
            app: AppId(app),
            device: DeviceId(device),
            done,
            payload: payload.to_owned().into(),
            platform: Platform::Android,
            topic: UplinkTopic::Profile,
        });
        end
    }

    fn taken(turns: &mut Turns) -> Vec<(i64, i64)> {
        std::iter::from_fn(|| turns.next())
            .map(|uplink| (uplink.app.0, uplink.device.0))
            .collect()
    }

    #[test]
    fn the_apps_take_turns() {
        let mut turns = Turns::default();
        let mut ends: Vec<_> = (1..=4).map(|n| add(&mut turns, 1, n, "")).collect();
        ends.push(add(&mut turns, 2, 5, ""));
        ends.push(add(&mut turns, 3, 6, ""));
        let order = [(1, 1), (2, 5), (3, 6), (1, 2), (1, 3), (1, 4)];
        assert_eq!(taken(&mut turns), order);
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn one_of_a_device_is_taken_at_a_time_and_in_order() {
        let mut turns = Turns::default();
        let _ends = ["a", "b", "c"].map(|payload| add(&mut turns, 1, 1, payload));
        let _other = add(&mut turns, 1, 2, "d");
        let first = turns.next().expect("one");
        assert_eq!(first.payload, "a");
        assert_eq!(turns.next().expect("the other's").payload, "d");
        assert!(turns.next().is_none());
        assert_eq!(turns.waiting(), 2);
        for payload in ["b", "c"] {
            turns.end(DeviceId(1));
            assert_eq!(turns.next().expect("its next").payload, payload);
            assert!(turns.next().is_none());
        }
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn who_has_given_up_is_left_out() {
        let mut turns = Turns::default();
        drop(add(&mut turns, 1, 1, ""));
        let _end = add(&mut turns, 1, 2, "");
        drop(add(&mut turns, 2, 3, ""));
        assert_eq!(taken(&mut turns), [(1, 2)]);
        assert_eq!(turns.waiting(), 0);
    }
}
