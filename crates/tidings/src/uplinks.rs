//! What devices say over the link: the same as over HTTP, and taken by the same functions.

use tidings_link::{Uplink, UplinkEnd, UplinkTopic};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::api::v1::{device, event};

/// Takes what devices say, one at a time: each waits for a commit, and nobody is in a hurry.
pub(crate) async fn take(api: Api, mut uplinks: mpsc::Receiver<Uplink>) {
    while let Some(Uplink {
        app,
        device,
        platform,
        topic,
        payload,
        done,
    }) = uplinks.recv().await
    {
        let taken = match topic {
            UplinkTopic::Event => event::apply_events(&api, app, device, platform, &payload)
                .await
                .map(drop),
            UplinkTopic::Profile => {
                device::apply_profile(&api, app, device, platform, &payload).await
            }
        };
        let end = match taken {
            Ok(()) => UplinkEnd::Done,
            Err(error) if error.fault().status().is_server_error() => UplinkEnd::Later,
            Err(error) => UplinkEnd::Invalid(match error.field() {
                Some(field) => format!("{field}: {}", error.message()),
                None => error.message().to_owned(),
            }),
        };
        // The device may have gone away meanwhile.
        let _ = done.send(end);
    }
}
