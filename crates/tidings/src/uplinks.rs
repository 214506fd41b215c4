//! What devices say over the link: the same as over HTTP, and taken by the same functions.
//!
//! Each waits for a commit, so many are taken at once and share it: one at a time for each device, and the apps in turn, so
//! that the phones of one keep those of another waiting no longer than a commit.

mod turns;

use std::collections::HashMap;

use tidings_link::{Uplink, UplinkEnd, UplinkTopic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

use crate::api::Api;
use crate::api::v1::{device, event};
use turns::Turns;

/// Uplinks that are being taken: as many as can share a commit.
const TAKEN_AT_ONCE: usize = 256;

/// Uplinks that wait for their turn, at most 16 KiB each; more wait in their connections. So many that the phones of one app,
/// which all report a broadcast, leave others room to get in line.
const WAITING_MAX: usize = 4096;

/// Takes what devices say until nobody can say anything any more.
pub(crate) async fn take(api: Api, uplinks: mpsc::Receiver<Uplink>) {
    take_by(uplinks, move |uplink| apply(api.clone(), uplink)).await;
}

/// Gives each uplink to `apply` in its turn; `apply` answers it.
async fn take_by<F, A>(mut uplinks: mpsc::Receiver<Uplink>, apply: A)
where
    A: Fn(Uplink) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut turns = Turns::default();
    let mut taken = JoinSet::new();
    let mut devices = HashMap::new();
    let mut is_open = true;
    loop {
        while taken.len() < TAKEN_AT_ONCE
            && let Some(uplink) = turns.next()
        {
            let device = uplink.device;
            let id = taken.spawn(apply(uplink)).id();
            devices.insert(id, device);
        }
        tokio::select! {
            uplink = uplinks.recv(), if is_open && turns.waiting() < WAITING_MAX => match uplink {
                Some(uplink) => turns.add(uplink),
                None => is_open = false,
            },
            Some(ended) = taken.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(panic) => {
                        error!(%panic, "what a device said could not be taken");
                        panic.id()
                    }
                };
                if let Some(device) = devices.remove(&id) {
                    turns.end(device);
                }
            }
            else => return,
        }
    }
}

async fn apply(api: Api, uplink: Uplink) {
    let Uplink {
        app,
        device,
        platform,
        topic,
        payload,
        done,
    } = uplink;
    let taken = match topic {
        UplinkTopic::Event => event::apply_events(&api, app, device, platform, &payload)
            .await
            .map(drop),
        UplinkTopic::Profile => device::apply_profile(&api, app, device, platform, &payload).await,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidings_model::{
        AppId, Audience, DeviceId, Notification, Platform, PlatformSet, Provider, Push,
        PushOptions, Secret,
    };
    use tidings_store::{Accepted, ChannelChange, NewDevice, SealKey, Store};
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    fn uplink(app: i64, device: i64) -> (Uplink, oneshot::Receiver<UplinkEnd>) {
        let (done, end) = oneshot::channel();
        let uplink = Uplink {
            app: AppId(app),
            device: DeviceId(device),
            done,
            payload: "{}".into(),
            platform: Platform::Android,
            topic: UplinkTopic::Event,
        };
        (uplink, end)
    }

    #[tokio::test]
    async fn many_are_taken_at_once_and_a_panic_is_one_devices_trouble() {
        const DEVICES: usize = 1000;
        let (send, receive) = mpsc::channel(DEVICES + 1);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let commit = Arc::new(Semaphore::new(0));
        let (counted, highest, committed) = (now, Arc::clone(&most), Arc::clone(&commit));
        let take = tokio::spawn(take_by(receive, move |uplink| {
            let (now, most) = (Arc::clone(&counted), Arc::clone(&highest));
            let commit = Arc::clone(&committed);
            async move {
                assert_ne!(uplink.device, DeviceId(0), "the one that panics");
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                commit.acquire().await.expect("open").forget();
                now.fetch_sub(1, Ordering::SeqCst);
                let _ = uplink.done.send(UplinkEnd::Done);
            }
        }));
        let mut ends = Vec::new();
        for device in 0..=DEVICES as i64 {
            let (uplink, end) = uplink(1, device);
            send.send(uplink).await.expect("taken");
            ends.push(end);
        }
        drop(send);
        commit.add_permits(DEVICES);
        let mut ends = ends.into_iter();
        let panicked = ends.next().expect("the first").await;
        assert!(panicked.is_err(), "told nothing: it is asked to come again");
        for end in ends {
            assert_eq!(end.await, Ok(UplinkEnd::Done));
        }
        take.await.expect("it ends with its queue");
        assert!(most.load(Ordering::SeqCst) <= TAKEN_AT_ONCE);
        assert!(most.load(Ordering::SeqCst) > TAKEN_AT_ONCE / 2);
    }

    /// What a thousand phones say at once, by the real store.
    #[tokio::test(flavor = "multi_thread")]
    async fn phones_that_all_report_a_broadcast_are_all_heard() {
        const PHONES: usize = 2000;
        let data = tempfile::TempDir::new().expect("a directory");
        let key = SealKey::parse(&"0a".repeat(32)).expect("a key");
        let store = Arc::new(Store::open(data.path(), key).expect("opens"));
        let app = store.create_app("test".into()).await.expect("an app").0.id;
        let new = (0..PHONES).map(|_| NewDevice {
            alias: None,
            app,
            app_version: None,
            channels: vec![ChannelChange {
                environment: None,
                provider: Provider::Link,
                token: None,
            }],
            locale: None,
            platform: Platform::Android,
            proof: None,
            tags: vec![],
            time_zone: None,
        });
        let devices = store.register_all(new.collect()).await.expect("registered");
        let push = Push {
            audience: Audience::All,
            message: None,
            notification: Some(Notification {
                alert: Some("hi".into()),
                ..Notification::default()
            }),
            options: PushOptions::default(),
            platforms: PlatformSet::ALL,
        };
        let accepted = store.accept(app, push, None).await.expect("accepted");
        let (Accepted::New(message) | Accepted::Repeated(message)) = accepted;

        let (changes, _told) = mpsc::channel(PHONES);
        let api = Api::new(
            Arc::clone(&store),
            Secret::new("admin").hash(),
            changes,
            None,
        );
        let (send, receive) = mpsc::channel(256);
        let take = tokio::spawn(take(api, receive));
        let report = format!(
            r#"{{"events":[{{"type":"opened","msg_id":"{}"}}]}}"#,
            message.id
        );
        let start = tokio::time::Instant::now();
        let mut phones = JoinSet::new();
        for device in devices {
            let (mut uplink, end) = uplink(app.0, device.id.0);
            uplink.payload = report.clone().into();
            let send = send.clone();
            phones.spawn(async move {
                send.send(uplink).await.expect("taken");
                end.await
            });
        }
        drop(send);
        while let Some(end) = phones.join_next().await {
            assert_eq!(end.expect("no panic"), Ok(UplinkEnd::Done));
        }
        println!("{PHONES} reports in {:?}", start.elapsed());
        take.await.expect("it ends with its queue");
        let ledger = store.ledger(app, message.id).await.expect("read");
        assert_eq!(ledger.expect("known").total().opened, PHONES as u64);
    }
}
