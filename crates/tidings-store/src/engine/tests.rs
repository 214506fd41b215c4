use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rusqlite::params;
use tempfile::TempDir;
use tidings_model::{AppId, DeviceId, UnixMillis};

use super::*;

use crate::limits::WRITE_GROUP_TIME;

/// A blob that needs pages of its own.
const LARGE: usize = 64 * 1024;

fn start(dir: &TempDir) -> Engine {
    let path = dir.path().join("test.db");
    let sql = connect(&path, Role::Writer).expect("a database");
    sql.execute_batch(
        "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB) STRICT;
         CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         INSERT INTO marks VALUES ('id', 0) ON CONFLICT DO NOTHING;",
    )
    .expect("tables");
    drop(sql);
    Engine::start(&path).expect("starts")
}

fn insert(tx: &mut WriteTx<'_>, id: i64, bytes: usize) -> Result<(), StoreError> {
    tx.sql
        .prepare_cached("INSERT INTO t (id, body) VALUES (?1, zeroblob(?2))")?
        .execute(params![id, bytes])?;
    Ok(())
}

fn committed(sql: &Connection) -> Result<BTreeSet<i64>, StoreError> {
    let mut select = sql.prepare("SELECT id FROM t")?;
    let ids = select.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Holds the writer until the sender is dropped, so that whoever comes meanwhile gets into one group.
fn gate() -> (
    Sender<()>,
    impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError>,
) {
    let (open, closed): (_, Receiver<()>) = channel();
    let wait = move |_: &mut WriteTx<'_>| {
        let _ = closed.recv();
        Ok(())
    };
    (open, wait)
}

/// Queues one insert for each of `sizes`, so that the writer finds them all waiting; returns what each was told.
async fn insert_together(
    engine: &Engine,
    first_id: i64,
    sizes: &[usize],
) -> Vec<Result<(), StoreError>> {
    let (open, wait) = gate();
    let held = engine.write(wait);
    let inserts = (first_id..).zip(sizes).map(|(id, bytes)| {
        let bytes = *bytes;
        engine.write(move |tx| insert(tx, id, bytes))
    });
    let mut all: Vec<_> = inserts.map(Box::pin).collect();
    let mut held = Box::pin(held);
    // Polled once in their order, all are in the queue; then the gate opens.
    let queued = std::future::poll_fn(|context| {
        assert!(held.as_mut().poll(context).is_pending());
        for insert in &mut all {
            assert!(insert.as_mut().poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    });
    queued.await;
    drop(open);
    // It shares their transaction, and so perhaps their fate.
    let _ = held.await;
    let mut told = Vec::new();
    for insert in all {
        told.push(insert.await);
    }
    told
}

/// What was told against what is there: the one thing that must never differ.
async fn check_told(engine: &Engine, first_id: i64, told: &[Result<(), StoreError>]) {
    let there = engine.read(committed).await.expect("read");
    for (id, told) in (first_id..).zip(told) {
        assert_eq!(told.is_ok(), there.contains(&id), "{id} was told {told:?}");
    }
}

async fn limit_pages(engine: &Engine, more: i64) {
    let limit = move |tx: &mut WriteTx<'_>| {
        let pages: i64 = tx
            .sql
            .query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let text = format!("PRAGMA max_page_count = {}", pages + more);
        Ok(tx.sql.query_row(&text, [], |row| row.get::<_, i64>(0))?)
    };
    engine.write(limit).await.expect("limited");
}

#[tokio::test]
async fn one_callers_error_undoes_its_own_work_and_nobody_elses() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let fails = engine.write(|tx| {
        insert(tx, 1, 1)?;
        insert(tx, 2, 1)?;
        insert(tx, 1, 1)
    });
    let (fails, works) = tokio::join!(fails, engine.write(|tx| insert(tx, 3, 1)));
    assert!(matches!(fails, Err(StoreError::Sqlite(_))), "{fails:?}");
    works.expect("done");
    assert_eq!(
        engine.read(committed).await.expect("read"),
        BTreeSet::from([3])
    );
}

#[tokio::test]
async fn a_full_disk_in_mid_statement_tells_each_caller_what_is_true() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    limit_pages(&engine, 50).await;
    // The third needs more than there is; SQLite then rolls back what the first two did, and the others come after it.
    let sizes = [10, 10, 10 * LARGE, 10, 10, 20 * LARGE, 10];
    let told = insert_together(&engine, 1, &sizes).await;
    check_told(&engine, 1, &told).await;
    for number in [2, 5] {
        let error = told[number].as_ref().expect_err("too large").to_string();
        assert!(
            error.contains("database or disk is full (SQLite 13)"),
            "{error}"
        );
    }
    told[6].as_ref().expect("the last is in a group of its own");

    limit_pages(&engine, 10_000).await;
    let told = insert_together(&engine, 100, &[10, 10 * LARGE]).await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    check_told(&engine, 100, &told).await;
}

#[tokio::test]
async fn a_disk_that_fills_while_many_write_tells_each_caller_what_is_true() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let mut first_id = 1;
    for round in 0..40 {
        limit_pages(&engine, round % 20).await;
        let sizes: Vec<usize> = (0..60)
            .map(|n| (n * 7919 + round as usize * 31) % 9000)
            .collect();
        let told = insert_together(&engine, first_id, &sizes).await;
        check_told(&engine, first_id, &told).await;
        first_id += 60;
    }
    limit_pages(&engine, 10_000).await;
    engine
        .write(move |tx| insert(tx, first_id, LARGE))
        .await
        .expect("goes on");
}

#[tokio::test]
async fn an_undone_caller_learns_why() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    limit_pages(&engine, 2).await;
    // Both are small enough for a group of their own; neither has done anything wrong but to share one.
    let told = insert_together(&engine, 1, &[10, 10 * LARGE]).await;
    let error = told[0].as_ref().expect_err("undone").to_string();
    assert_eq!(
        error,
        "the transaction that this belonged to was undone: the database said no: database or disk is full (SQLite 13)"
    );
    assert!(
        matches!(&told[1], Err(StoreError::Undone(_))),
        "{:?}",
        told[1]
    );
}

#[tokio::test]
async fn a_database_that_is_locked_from_outside_says_so_and_to_all_at_once() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let at_once = |tx: &mut WriteTx<'_>| Ok(tx.sql.busy_timeout(Duration::from_millis(50))?);
    engine.write(at_once).await.expect("set");
    let outside = Connection::open(dir.path().join("test.db")).expect("opens");
    outside.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let (one, two) = tokio::join!(
        engine.write(|tx| insert(tx, 1, 1)),
        engine.write(|tx| insert(tx, 2, 1))
    );
    for told in [one, two] {
        let error = told.expect_err("locked");
        assert!(matches!(error, StoreError::Begin(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "the database lets nobody write: database is locked (SQLite 5)"
        );
    }
    outside.execute_batch("COMMIT").expect("unlocked");
    engine.write(|tx| insert(tx, 3, 1)).await.expect("goes on");
    assert_eq!(
        engine.read(committed).await.expect("read"),
        BTreeSet::from([3])
    );
}

#[tokio::test]
async fn a_panic_undoes_its_own_work_and_ends_no_thread() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let panics = engine.write(|tx| -> Result<(), StoreError> {
        insert(tx, 1, 1)?;
        panic!("a fault");
    });
    let (panics, works) = tokio::join!(panics, engine.write(|tx| insert(tx, 2, 1)));
    let error = panics.expect_err("it panicked").to_string();
    assert_eq!(error, "a part of the store panicked: a fault");
    works.expect("done");
    for _ in 0..2 * POINT_READERS {
        let panics = engine.read(|_| -> Result<(), StoreError> { panic!("a fault") });
        assert!(matches!(panics.await, Err(StoreError::Panicked(_))));
    }
    assert_eq!(
        engine.read(committed).await.expect("read"),
        BTreeSet::from([2])
    );
}

#[tokio::test]
async fn an_id_never_comes_again_though_no_row_has_it_and_the_clock_went_back() {
    let dir = TempDir::new().expect("a directory");
    let far = UnixMillis(4_000_000_000_000);
    let engine = start(&dir);
    let drawn = engine.write(move |tx| Ok(tx.ids.next(far))).await;
    let drawn = drawn.expect("an id");
    // One of a caller that failed is not given again either: somebody may have seen it.
    let failed = engine.write(move |tx| -> Result<(), StoreError> {
        tx.ids.next(far);
        Err(StoreError::Closed)
    });
    failed.await.expect_err("it fails");
    drop(engine);
    let engine = start(&dir);
    let next = engine.write(|tx| Ok(tx.ids.next(tx.now))).await;
    assert_eq!(next.expect("an id"), drawn + 2);
}

#[tokio::test]
async fn a_writer_that_ends_is_not_missed() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    engine.watch(Box::new(|_, _, _| panic!("a fault")));
    let change = |tx: &mut WriteTx<'_>| {
        tx.news.push((AppId(1), DeviceId(1), DeviceNews::Changed));
        Ok(())
    };
    let told = engine.write(change).await;
    assert!(matches!(told, Err(StoreError::Closed)), "{told:?}");
    engine.ended().await;
}

#[tokio::test]
async fn a_group_takes_nobody_in_once_its_time_is_over() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let begun = |tx: &mut WriteTx<'_>| Ok(tx.begun);
    let (open, wait) = gate();
    let held = engine.write(move |tx| {
        let begun = tx.begun;
        wait(tx)?;
        while begun.elapsed() <= WRITE_GROUP_TIME {
            std::hint::spin_loop();
        }
        Ok(begun)
    });
    let mut held = Box::pin(held);
    let mut later = Box::pin(engine.write(begun));
    std::future::poll_fn(|context| {
        assert!(held.as_mut().poll(context).is_pending());
        assert!(later.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(open);
    let (held, later) = tokio::join!(held, later);
    assert_ne!(
        held.expect("done"),
        later.expect("done"),
        "two transactions"
    );
}

#[tokio::test]
async fn a_point_read_waits_for_no_scan() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let (open, closed) = channel::<()>();
    let closed = Arc::new(Mutex::new(closed));
    let scans = (0..SCAN_READERS + 3).map(|_| {
        let closed = Arc::clone(&closed);
        engine.scan(move |_| {
            let _ = closed.lock().expect("no panic").recv();
            Ok(())
        })
    });
    let mut scans: Vec<_> = scans.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        for scan in &mut scans {
            assert!(scan.as_mut().poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
    engine.read(committed).await.expect("read");
    drop(open);
    for scan in scans {
        scan.await.expect("scanned");
    }
}

#[tokio::test]
async fn the_log_file_does_not_keep_the_size_of_its_largest_transaction() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let log = dir.path().join("test.db-wal");
    let size = || std::fs::metadata(&log).expect("a log").len();
    engine
        .write(|tx| (0..1000).try_for_each(|id| insert(tx, id, LARGE)))
        .await
        .expect("done");
    assert!(size() > u64::from(JOURNAL_KEPT_BYTES));
    // The first commit after the checkpoint starts the log anew.
    for id in 1000..1004 {
        engine
            .write(move |tx| insert(tx, id, 1))
            .await
            .expect("done");
    }
    assert!(size() <= u64::from(JOURNAL_KEPT_BYTES), "{}", size());
}

#[tokio::test]
async fn what_runs_alone_is_in_no_savepoint_and_shares_nobodys_fate() {
    let dir = TempDir::new().expect("a directory");
    let engine = start(&dir);
    let (open, wait) = gate();
    let saved = |tx: &mut WriteTx<'_>| Ok(tx.sql.execute("RELEASE job", []).is_ok());
    let many = engine.write_alone(move |tx| {
        insert(tx, 2, 1)?;
        saved(tx)
    });
    let fails = engine.write_alone(|tx| {
        insert(tx, 3, 1)?;
        insert(tx, 2, 1)
    });
    let (held, first, many, fails, last) = tokio::join!(
        engine.write(wait),
        async {
            let first = engine.write(|tx| insert(tx, 1, 1));
            drop(open);
            first.await
        },
        many,
        fails,
        engine.write(|tx| insert(tx, 4, 1)),
    );
    held.and(first).and(last).expect("done");
    assert!(!many.expect("done"), "it stood in a savepoint");
    assert!(matches!(fails, Err(StoreError::Sqlite(_))), "{fails:?}");
    assert_eq!(
        engine.read(committed).await.expect("read"),
        BTreeSet::from([1, 2, 4])
    );
}
