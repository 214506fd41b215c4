//! The two windows of a connection: what we sent and what we took, each until it is acknowledged. Both are small queues
//! that hold no heap while nothing is in flight.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use super::PublishReason;

/// Messages sent and not yet acknowledged, 16 bytes each.
#[derive(Debug, Default)]
pub(super) struct Sending(VecDeque<Sent>);

#[derive(Debug)]
struct Sent {
    packet_id: NonZeroU16,
    tag: u64,
}

impl Sending {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A packet identifier for `tag` that is not in flight. It is derived from the tag, so that a message which is sent
    /// again on another connection or node has the identifier it had [MQTT-4.4.0-1] without anybody storing it; only
    /// when another message in flight holds that one, the next is taken.
    pub(super) fn packet_id(&self, tag: u64) -> NonZeroU16 {
        let mut id = (tag % u64::from(u16::MAX)) as u16; // 0 to 65,534
        loop {
            let packet_id = NonZeroU16::MIN.saturating_add(id);
            if self.0.iter().all(|sent| sent.packet_id != packet_id) {
                return packet_id;
            }
            id = (id + 1) % u16::MAX;
        }
    }

    pub(super) fn push(&mut self, packet_id: NonZeroU16, tag: u64) {
        self.0.push_back(Sent { packet_id, tag });
    }

    /// Takes out the message that `packet_id` acknowledges, in whatever order it comes.
    pub(super) fn acknowledge(&mut self, packet_id: NonZeroU16) -> Option<u64> {
        let index = self.0.iter().position(|sent| sent.packet_id == packet_id)?;
        let tag = self.0.remove(index)?.tag;
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        Some(tag)
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

/// Publishes taken from the client at QoS 1 and not yet acknowledged.
#[derive(Debug, Default)]
pub(super) struct Receiving(VecDeque<Received>);

#[derive(Debug)]
struct Received {
    packet_id: NonZeroU16,
    answer: Option<PublishReason>,
}

impl Receiving {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, packet_id: NonZeroU16) -> bool {
        self.0
            .iter()
            .any(|received| received.packet_id == packet_id)
    }

    pub(super) fn push(&mut self, packet_id: NonZeroU16) {
        self.0.push_back(Received {
            packet_id,
            answer: None,
        });
    }

    /// Notes the answer to a publish; one that is not waiting is left alone.
    pub(super) fn answer(&mut self, packet_id: NonZeroU16, answer: PublishReason) {
        if let Some(received) = self
            .0
            .iter_mut()
            .find(|received| received.packet_id == packet_id)
        {
            received.answer.get_or_insert(answer);
        }
    }

    /// The next answer to send. They leave in the order of the publishes, whatever order they came in [MQTT-4.6.0-2].
    pub(super) fn next_answer(&mut self) -> Option<(NonZeroU16, PublishReason)> {
        let head = self.0.front()?;
        let (packet_id, answer) = (head.packet_id, head.answer?);
        self.0.pop_front();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        Some((packet_id, answer))
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id(value: u16) -> NonZeroU16 {
        NonZeroU16::new(value).expect("not 0 in this test")
    }

    #[test]
    fn packet_ids_are_never_zero_and_unique_while_in_flight() {
        for start in [0, 65_533, 65_534, 65_535, u64::MAX - 20] {
            let mut sending = Sending::default();
            let mut ids = HashSet::new();
            for tag in start..start + 16 {
                // Each tag twice its own place, so that half of them collide.
                let packet_id = sending.packet_id(tag / 2);
                assert!(ids.insert(packet_id), "{start} {packet_id}");
                sending.push(packet_id, tag);
            }
        }
    }

    #[test]
    fn a_message_that_is_sent_again_keeps_its_packet_id() {
        let mut before = Sending::default();
        before.push(before.packet_id(7), 7);
        let tag = 189_654_321_000_000_123;
        assert_eq!(before.packet_id(tag), Sending::default().packet_id(tag));
    }

    #[test]
    fn acknowledgements_are_taken_once_and_in_any_order() {
        let mut sending = Sending::default();
        for tag in 0..4 {
            sending.push(sending.packet_id(tag), tag);
        }
        assert_eq!(sending.acknowledge(id(3)), Some(2));
        assert_eq!(sending.acknowledge(id(3)), None);
        assert_eq!(sending.acknowledge(id(1)), Some(0));
        assert_eq!(sending.len(), 2);
    }

    #[test]
    fn answers_leave_in_the_order_of_the_publishes() {
        let mut receiving = Receiving::default();
        receiving.push(id(5));
        receiving.push(id(4));
        receiving.answer(id(4), PublishReason::Success);
        receiving.answer(id(4), PublishReason::Invalid); // the first counts
        receiving.answer(id(9), PublishReason::Success);
        assert_eq!(receiving.next_answer(), None);
        receiving.answer(id(5), PublishReason::Invalid);
        assert_eq!(
            receiving.next_answer(),
            Some((id(5), PublishReason::Invalid))
        );
        assert_eq!(
            receiving.next_answer(),
            Some((id(4), PublishReason::Success))
        );
        assert_eq!(receiving.next_answer(), None);
    }
}
