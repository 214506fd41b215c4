//! A disk that is full: what is refused is not there, what was taken is, and the server goes on when there is room.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

use crate::support::server::{App, Device, Server};
use crate::support::wait_for;

/// Pushes at once, so that they share transactions.
const PUSHERS: usize = 16;

/// How often the disk is full.
const ROUNDS: u64 = 5;

/// Pushes one; whether it was taken.
fn push(server: &Server, app: &App, device: &Device, cid: &str) -> bool {
    let body = json!({
        "cid": cid, "platform": "all", "audience": {"registration_id": [device.id]},
        "notification": {"alert": "x".repeat(1000)},
    });
    let answer = server.call("POST", "/v3/push", &app.basic(), Some(&body));
    assert!(matches!(answer.status, 200 | 500), "{answer:?}");
    answer.status == 200
}

/// Pushes until `wanted` have been refused, or as many have been taken; who was, and who was not.
fn push_many(
    server: &Server,
    app: &App,
    device: &Device,
    name: &str,
    wanted: usize,
) -> [BTreeSet<String>; 2] {
    let told = Mutex::new([BTreeSet::new(), BTreeSet::new()]);
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..PUSHERS {
            scope.spawn(|| {
                while refused.load(Ordering::Relaxed) < wanted {
                    let cid = format!("{name}-{}", next.fetch_add(1, Ordering::Relaxed));
                    let taken = push(server, app, device, &cid);
                    refused.fetch_add(usize::from(!taken), Ordering::Relaxed);
                    told.lock().expect("no panic")[usize::from(!taken)].insert(cid);
                }
            });
        }
    });
    told.into_inner().expect("no panic")
}

#[test]
fn a_full_disk_refuses_what_it_cannot_take_and_loses_nothing_that_it_took() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start_limitable(data.path());
    let app = server.app();
    let device = server.register_link(&app, 1).remove(0);
    let path = data.path().join("tidings.db");
    let (mut taken, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let log = std::fs::metadata(data.path().join("tidings.db-wal")).map_or(0, |log| log.len());
        let limit = log + 200_000 + 37_000 * round;
        server.process.limit_files(&limit.to_string());
        let [more, not] = push_many(&server, &app, &device, &format!("round{round}"), 60);
        taken.extend(more);
        refused.extend(not);
        if round == ROUNDS - 1 {
            // Killed while it is full: what it could not write must not be found either.
            server.process.kill();
            break;
        }
        server.process.limit_files("unlimited");
        wait_for("room", || {
            let cid = format!("after{round}");
            push(&server, &app, &device, &cid).then(|| taken.insert(cid))
        });
    }
    let server = Server::start(data.path(), None);
    assert!(push(&server, &app, &device, "last"));
    taken.insert("last".into());
    let sql = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
    let mut select = sql.prepare("SELECT cid FROM cids").expect("a statement");
    let there: BTreeSet<String> = select
        .query_map([], |row| row.get(0))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("read");
    println!("{} taken, {} refused", taken.len(), refused.len());
    let lost: Vec<_> = taken.difference(&there).collect();
    assert!(lost.is_empty(), "taken and lost: {lost:?}");
    let kept: Vec<_> = refused.intersection(&there).collect();
    assert!(kept.is_empty(), "refused and there: {kept:?}");
    assert!(!refused.is_empty() && !taken.is_empty());
}
