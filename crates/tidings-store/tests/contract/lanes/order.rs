//! The order of messages that share a collapse id: kept on each device, and no device waits for another.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidings_model::{Audience, DeviceId, Message, MsgId, UnixMillis};

use super::{LEASE, Out, ROOM, collapsing};
use crate::support::{Stage, to};

impl Stage {
    async fn score(&self, devices: &[DeviceId]) -> MsgId {
        let message: Message = self.push_with(to(devices), collapsing("score")).await;
        message.id
    }

    /// Ends all that is open of a page.
    async fn settle(&self, out: &mut Out) {
        for index in 0..out.open.members.len() {
            if !out.open.progress.has(index) {
                out.accept(index..index + 1);
            }
        }
        let settle = out.settle(vec![]);
        self.flush(settle).await;
    }

    /// The messages that have a page which is open, and whether it stands behind another. What waits for its time is left out.
    fn standing_behind(&self) -> BTreeMap<MsgId, bool> {
        let sql = self.sql();
        let mut select = sql
            .prepare(
                "SELECT message, state = 4 FROM pages WHERE state <> 3 AND collapse IS NOT NULL",
            )
            .expect("prepared");
        let rows = select.query_map([], |row| Ok((MsgId(row.get(0)?), row.get(1)?)));
        rows.expect("read")
            .map(|row| row.expect("a page"))
            .collect()
    }
}

fn messages(out: &[Out]) -> Vec<MsgId> {
    out.iter().map(|out| out.page.key.message).collect()
}

#[tokio::test]
async fn messages_of_one_collapse_id_to_different_devices_do_not_wait_for_each_other() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..40).await;
    let mut sent = Vec::new();
    for device in &devices[..20] {
        sent.push(stage.score(&[*device]).await);
    }
    // Ranges that overlap have nobody in common for that.
    for index in 20..30 {
        sent.push(stage.score(&[devices[index], devices[index + 10]]).await);
    }
    let held = stage.score(&[devices[3], devices[25]]).await;
    let mut out = stage.out().await;
    assert_eq!(messages(&out), sent);
    stage.settle(&mut out[3]).await;
    assert_eq!(stage.lease(ROOM).await.pages.len(), 0, "one is out still");
    stage.settle(&mut out[25]).await;
    assert_eq!(messages(&stage.out().await), [held]);
}

#[tokio::test]
async fn messages_of_one_collapse_id_to_one_device_go_one_after_another() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..1).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(stage.score(&devices).await);
    }
    for message in sent {
        let mut out = stage.out().await;
        assert_eq!(messages(&out), [message]);
        stage.settle(&mut out[0]).await;
    }
}

#[tokio::test]
async fn a_message_waits_for_the_part_of_a_broadcast_that_has_its_device() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..2500).await;
    let first = stage.push_with(Audience::All, collapsing("score")).await.id;
    let early = stage.score(&devices[..1]).await;
    let late = stage.score(&devices[2400..2401]).await;
    assert_eq!(
        stage.lease(ROOM).await.pages.len(),
        0,
        "it is still to be cut"
    );
    let chunk = stage.chunk(super::Turn::Fresh).await.expect("a chunk");
    let cut = stage.store.cut(super::Provider::Apns, vec![chunk]).await;
    cut.expect("cut");
    let mut out = stage.out().await;
    assert_eq!(messages(&out), [first]);
    stage.settle(&mut out[0]).await;
    let mut out = stage.out().await;
    assert_eq!(messages(&out), [early], "the rest is not cut");
    stage.settle(&mut out[0]).await;
    stage.cut_all().await;
    let mut out = stage.out().await;
    assert_eq!(messages(&out), [first, first]);
    stage.settle(&mut out[1]).await;
    assert_eq!(messages(&stage.out().await), [late]);
}

#[tokio::test]
async fn what_a_page_has_behind_it_goes_on_however_much_it_is() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..240).await;
    let first = stage.score(&devices).await;
    // More than one end looks at again.
    let mut sent = BTreeSet::new();
    for index in 0..120 {
        sent.insert(stage.score(&[devices[index], devices[index + 120]]).await);
    }
    let mut out = stage.out().await;
    assert_eq!(messages(&out), [first]);
    stage.settle(&mut out[0]).await;
    let mut rounds = 0;
    while !sent.is_empty() {
        rounds += 1;
        let mut out = stage.out().await;
        assert!(!out.is_empty(), "{} stand still", sent.len());
        for out in &mut out {
            assert!(sent.remove(&out.page.key.message));
            stage.settle(out).await;
        }
    }
    assert!(rounds > 1, "the bound was not reached");
}

#[tokio::test]
async fn an_opening_looks_again_at_what_stands_behind_nothing() {
    let stage = Stage::new().await;
    let devices = stage.iphones(0..3).await;
    let first = stage.score(&devices[..2]).await;
    let second = stage.score(&devices[1..]).await;
    let third = stage.score(&devices[2..]).await;
    let mut out = stage.out().await;
    stage.settle(&mut out[0]).await;
    assert_eq!(
        stage.standing_behind(),
        BTreeMap::from([(second, false), (third, true)])
    );
    // As a database of before has them.
    let before = "UPDATE pages SET state = 4, behind = 0, behind_first = 0 WHERE message = ?1";
    for message in [second, third] {
        stage.sql().execute(before, [message.0]).expect("updated");
    }
    let stage = stage.reopened();
    assert_eq!(
        stage.standing_behind(),
        BTreeMap::from([(second, false), (third, true)])
    );
    assert_ne!(first, second);
}

/// Whom the next message is to, by a bit for each device, or what becomes of one of the pages that are out.
#[derive(Clone, Debug)]
enum Move {
    Push(u8),
    Settle(usize),
    /// Half of it has ended, and the rest waits for its time, or goes on at once.
    Part(usize, bool),
    Reopen,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (1..64u8).prop_map(Move::Push),
        3 => (0..6usize).prop_map(|bit| Move::Push(1 << bit)),
        6 => any::<usize>().prop_map(Move::Settle),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(page, waits)| Move::Part(page, waits)),
        1 => Just(Move::Reopen),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A page stands behind another exactly while an older one with one of its devices is open.
    #[test]
    fn whose_turn_it_is_is_decided_for_each_device(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(follow(moves));
    }
}

async fn follow(moves: Vec<Move>) {
    let mut stage = Stage::new().await;
    let devices = stage.iphones(0..6).await;
    let later = UnixMillis::now().plus(LEASE * 60);
    let mut open: BTreeMap<MsgId, BTreeSet<DeviceId>> = BTreeMap::new();
    let mut out: Vec<Out> = Vec::new();
    for next in moves {
        match next {
            Move::Push(bits) => {
                let of = (0..6).filter(|bit| bits & (1 << bit) != 0);
                let of: Vec<_> = of.map(|bit| devices[bit]).collect();
                let id = stage.score(&of).await;
                open.insert(id, of.into_iter().collect());
            }
            Move::Settle(index) if !out.is_empty() => {
                let mut page = out.swap_remove(index % out.len());
                stage.settle(&mut page).await;
                open.remove(&page.page.key.message);
            }
            Move::Part(index, waits) if !out.is_empty() => {
                let mut page = out.swap_remove(index % out.len());
                let id = page.page.key.message;
                let half = page.open.members.len() / 2;
                page.accept(0..half);
                let ended: BTreeSet<_> = page.devices().into_iter().take(half).collect();
                let rest = page.rest(waits.then_some(later.0));
                let settle = page.settle(vec![rest]);
                stage.flush(settle).await;
                match (waits, open.get_mut(&id)) {
                    (false, Some(left)) => left.retain(|device| !ended.contains(device)),
                    _ => drop(open.remove(&id)),
                }
            }
            Move::Settle(_) | Move::Part(..) => {}
            Move::Reopen => {
                stage = stage.reopened();
                out.clear();
            }
        }
        let older_shares = |id: &MsgId, of: &BTreeSet<DeviceId>| {
            let mut older = open.range(..id);
            older.any(|(_, other)| !other.is_disjoint(of))
        };
        let expected = open.iter().map(|(id, of)| (*id, older_shares(id, of)));
        assert_eq!(
            stage.standing_behind(),
            expected.collect::<BTreeMap<_, _>>()
        );
        out.extend(stage.out().await);
    }
}
