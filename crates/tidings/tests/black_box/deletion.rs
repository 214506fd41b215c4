//! kill -9 in the middle of a deletion: what was deleted stays gone, and its rows go at the next start.

use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

use crate::support::registry::register_iphones;
use crate::support::server::{App, Server};
use crate::support::wait_for;

const IPHONES: usize = 20_000;

/// Devices of all apps that the database holds, deleted or not.
fn devices(data: &TempDir) -> usize {
    let path = data.path().join("tidings.db");
    let sql = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
    sql.query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
        .expect("counted")
}

fn status(server: &Server, app: &App) -> u16 {
    let path = format!("/v1/apps/{}", app.key);
    server.admin("GET", &path, None).status
}

#[test]
fn an_app_that_was_being_deleted_is_gone_after_a_kill_and_its_rows_go_at_the_next_start() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path(), None);
    let (large, other) = (server.app(), server.app());
    server.process.kill();
    register_iphones(data.path(), &large, 0..IPHONES);

    let mut server = Server::start(data.path(), None);
    let device = server.register_link(&other, 1).remove(0);
    assert_eq!(devices(&data), IPHONES + 1);
    let path = format!("/v1/apps/{}", large.key);
    server.admin("DELETE", &path, None).good();
    assert_eq!(status(&server, &large), 404);
    let mut kills = 0;
    let mut left = devices(&data);
    while left > 1 && kills < 3 {
        server.process.kill();
        server = Server::start(data.path(), None);
        assert_eq!(status(&server, &large), 404);
        // Some more of them go before the next kill.
        left = wait_for("a slice", || {
            Some(devices(&data)).filter(|now| *now < left || *now == 1)
        });
        kills += 1;
    }
    assert!(kills > 0, "all was cleared before the kill");
    println!("killed {kills} times, {left} devices left then");

    // Others' pushes go on meanwhile.
    let body = json!({"platform": "all", "audience": {"registration_id": [device.id]}, "notification": {"alert": "hi"}});
    let push = server.call("POST", "/v3/push", &other.basic(), Some(&body));
    push.good();
    wait_for("the end", || (devices(&data) == 1).then_some(()));
    let push = server.call("POST", "/v3/push", &large.basic(), Some(&body));
    assert_eq!(push.status, 401, "nobody knows it any more");
}
