//! What a large push costs the store and the memory.

use std::path::Path;

use tempfile::TempDir;

use crate::support::registry::register_iphones;
use crate::support::sandbox::Sandbox;
use crate::support::server::{App, Server};
use crate::support::wait_for;

const FEW: usize = 10_000;
const MANY: usize = 100_000;

/// Bytes of the database in use, free pages left out.
fn size(data: &Path) -> u64 {
    let sql = rusqlite::Connection::open(data.join("tidings.db")).expect("opens");
    let number = |name: &str| {
        sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .expect("a number") as u64
    };
    (number("page_count") - number("freelist_count")) * number("page_size")
}

/// Pushes to all in a fresh server; the peak memory of it, in KiB.
fn push(data: &Path, sandbox: &Sandbox, app: &App, devices: usize) -> u64 {
    let server = Server::start(data, Some(&sandbox.control));
    let message = server.push_to_all(app, "hello");
    wait_for("the push", || {
        (server.counts(app, &message)["accepted"] == devices).then_some(())
    });
    let memory = server.process.memory_peak_kib();
    assert!(server.process.terminate().success());
    memory
}

#[test]
fn a_broadcast_adds_two_bytes_a_device_and_takes_no_more_memory_than_a_small_one() {
    let data = TempDir::new().expect("a directory");
    let sandbox = Sandbox::start();
    let server = Server::start(data.path(), Some(&sandbox.control));
    let app = server.app();
    assert!(server.process.terminate().success());

    register_iphones(data.path(), &app, 0..FEW);
    let memory_few = push(data.path(), &sandbox, &app, FEW);
    register_iphones(data.path(), &app, FEW..MANY);
    let before = size(data.path());
    let memory_many = push(data.path(), &sandbox, &app, MANY);
    let grown = size(data.path()) - before;
    let a_device = grown as f64 / MANY as f64;
    println!("the store grew by {grown} bytes, {a_device:.2} a device");
    println!("peak memory {memory_few} KiB for {FEW}, {memory_many} KiB for {MANY}");
    assert!(a_device <= 2.0);
    // The database's page cache fills with a larger registry, up to a limit; nothing else may.
    assert!(memory_many < memory_few * 3 / 2);
}
