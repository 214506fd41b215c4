//! What the tests of the store share.

use std::sync::Arc;

use tidings_model::{DeviceId, Message, Provider};
use tidings_store::{Chunk, OpenTask, Store};

/// Ends the tasks of a message of which nothing has been cut, as if nobody were meant by it.
pub(crate) async fn end_tasks(store: &Store, message: &Message) {
    for provider in Provider::ALL {
        let task = OpenTask {
            after: DeviceId(0),
            behind: vec![],
            message: Arc::new(message.clone()),
        };
        let nobody = Chunk {
            ends: true,
            reached: DeviceId(0),
            targets: vec![],
            task,
        };
        let ended = store.cut(provider, vec![Arc::new(nobody)]).await;
        ended.expect("ended");
    }
}
