//! What the API tells the rest of the server.

use tidings_model::{AppId, DeviceId, MsgId, Provider};
use tokio::sync::mpsc;

/// Something that is in the store now, and that somebody should act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The app is gone, with its devices and all else.
    AppForgotten {
        app: AppId,
    },
    CredentialChanged {
        app: AppId,
        provider: Provider,
    },
    /// Alias, tags, channels or secret.
    DeviceChanged {
        app: AppId,
        device: DeviceId,
    },
    DeviceForgotten {
        app: AppId,
        device: DeviceId,
    },
    MessageAccepted {
        app: AppId,
        message: MsgId,
    },
}

/// The way out for [`Change`]s.
#[derive(Clone, Debug)]
pub(crate) struct Hooks(mpsc::Sender<Change>);

impl Hooks {
    pub(crate) fn new(changes: mpsc::Sender<Change>) -> Self {
        Self(changes)
    }

    /// Waits while the queue is full, so callers are slowed down and nothing is lost. When nobody listens any more the
    /// server is ending, and the next one finds the change in the store.
    pub(crate) async fn tell(&self, change: Change) {
        if self.0.send(change).await.is_err() {
            tracing::debug!(?change, "nobody listens: the server is ending");
        }
    }
}
