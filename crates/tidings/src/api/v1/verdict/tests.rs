use serde_json::{Map, json};
use tidings_model::{
    AppId, CustomMessage, IosNotification, Message, MsgId, Notification, Platform, PlatformSet,
    Push, PushOptions, Reason, Secret,
};
use tidings_store::{ChannelRecord, PageStanding, Tombstone};

use super::*;

const MESSAGE: MsgId = MsgId(1000);
const DEVICE: DeviceId = DeviceId(10);
const ACCEPTED_AT: UnixMillis = UnixMillis(1_800_000_000_000);
const EXPIRES_AT: UnixMillis = UnixMillis(1_800_086_400_000);
const NOW: UnixMillis = UnixMillis(1_800_000_060_000);
const AT: UnixMillis = UnixMillis(1_800_000_001_000);

/// An iPhone on APNs, a push to everyone, and nothing known of the two.
fn start() -> (Journey, Device) {
    let message = Message {
        accepted_at: ACCEPTED_AT,
        app: AppId(1),
        expires_at: EXPIRES_AT,
        id: MESSAGE,
        push: Push {
            audience: Audience::All,
            message: None,
            notification: Some(Notification {
                alert: Some("hi".into()),
                ..Notification::default()
            }),
            options: PushOptions::default(),
            platforms: PlatformSet::ALL,
        },
    };
    let journey = Journey {
        credentials_rejected: Vec::new(),
        events: vec![],
        in_audience: vec![Provider::Apns],
        link: LinkStanding {
            acked_at: None,
            cursor: None,
            in_inbox: false,
        },
        message,
        page: None,
        to_come: vec![Provider::Apns, Provider::Link],
        tombstones: vec![],
    };
    let device = Device {
        alias: None,
        app_version: None,
        channels: vec![channel(Provider::Apns)],
        created_at: UnixMillis(1_799_999_999_000),
        id: DEVICE,
        locale: None,
        platform: Platform::Ios,
        secret: Secret::new("x").hash(),
        tags: vec![],
        time_zone: None,
    };
    (journey, device)
}

/// The same on the link.
fn start_on_link() -> (Journey, Device) {
    let (mut journey, mut device) = start();
    journey.in_audience = vec![Provider::Link];
    journey.link.cursor = Some(MsgId(DEVICE.0));
    device.channels = vec![channel(Provider::Link)];
    device.platform = Platform::Android;
    (journey, device)
}

fn channel(provider: Provider) -> ChannelRecord {
    ChannelRecord {
        environment: None,
        provider,
        registered_at: UnixMillis(0),
        token: None,
    }
}

#[track_caller]
fn check((journey, device): (Journey, Device), standing: Standing, text: &str) {
    check_at((journey, Some(device)), NOW, standing, text);
}

#[track_caller]
fn check_at(
    (journey, device): (Journey, Option<Device>),
    now: UnixMillis,
    standing: Standing,
    text: &str,
) {
    let verdict = verdict(&journey, device.as_ref(), DEVICE, now);
    assert_eq!((verdict.standing, verdict.text.as_str()), (standing, text));
}

/// `change` applied to a start.
fn with(
    mut start: (Journey, Device),
    change: impl FnOnce(&mut Journey, &mut Device),
) -> (Journey, Device) {
    change(&mut start.0, &mut start.1);
    start
}

fn answered(ending: Ending, reason: Option<&'static str>, attempts: u32) -> (Journey, Device) {
    with(start(), |journey, _| {
        let answer = Answer {
            at: AT,
            device: DEVICE,
            ending,
            reason: reason.map(Reason::known),
            attempts,
        };
        journey.page = Some(PageStanding {
            answer: Some(answer),
            provider: Provider::Apns,
        });
    })
}

#[test]
fn what_the_device_says_counts_most() {
    let opened = with(
        answered(Ending::Failed, Some("Unanswered"), 1),
        |journey, _| {
            journey.events = vec![(EventKind::Received, ACCEPTED_AT), (EventKind::Opened, AT)];
        },
    );
    check(
        opened,
        Standing::Delivered,
        "It arrived: the device opened it at 2027-01-15T08:00:01.000Z.",
    );
    let received = with(start(), |journey, _| {
        journey.events = vec![(EventKind::Received, AT)]
    });
    check(
        received,
        Standing::Delivered,
        "It arrived: the device received it at 2027-01-15T08:00:01.000Z.",
    );
}

#[test]
fn what_apple_says_is_passed_on() {
    check(
        answered(Ending::Accepted, None, 1),
        Standing::Accepted,
        "Apple accepted it at 2027-01-15T08:00:01.000Z, which is the last that Apple tells; if it was not seen, the \
         device was off or offline until the message expired, or it or the app suppresses notifications.",
    );
    check(
        with(
            answered(Ending::Dropped, Some("Unregistered"), 1),
            |_, device| device.channels.clear(),
        ),
        Standing::Dropped,
        "It was dropped at 2027-01-15T08:00:01.000Z: Apple says that the device's token is not good any more \
         (Unregistered); the app has to register the device anew.",
    );
    check(
        answered(Ending::Dropped, Some("Unregistered"), 1),
        Standing::Dropped,
        "It was dropped at 2027-01-15T08:00:01.000Z: Apple says that the device's token was not good (Unregistered). \
         The token is kept, since it was registered again later, or since the credential may be to blame.",
    );
    let parked = |journey: &mut Journey, _: &mut Device| {
        journey.page = Some(PageStanding {
            answer: None,
            provider: Provider::Apns,
        });
        let reason = Reason::known("InvalidProviderToken");
        journey.credentials_rejected = vec![(Some(Environment::Production), reason)];
    };
    check(
        with(start(), parked),
        Standing::Sending,
        "It waits: Apple rejects the app's credential (InvalidProviderToken), and goes on when that is replaced.",
    );
    let parked_elsewhere = |journey: &mut Journey, device: &mut Device| {
        parked(journey, device);
        journey.message.push.options.apns_production = Some(false);
    };
    check(
        with(start(), parked_elsewhere),
        Standing::Sending,
        "It is under way: Apple has not answered yet.",
    );
    check(
        answered(Ending::Expired, Some("InternalServerError"), 1),
        Standing::Expired,
        "It expired at 2027-01-15T08:00:01.000Z before Apple took it (InternalServerError).",
    );
    check(
        answered(Ending::Failed, Some("NoCredential"), 0),
        Standing::Failed,
        "It was not sent: at 2027-01-15T08:00:01.000Z the app had no credential for Apple and the token's environment.",
    );
    check(
        answered(Ending::Failed, Some("NotSent"), 0),
        Standing::Failed,
        "It was not sent: it was given up at 2027-01-15T08:00:01.000Z before it left for Apple (NotSent).",
    );
    check(
        answered(Ending::Failed, Some("PayloadTooLarge"), 1),
        Standing::Failed,
        "It failed at 2027-01-15T08:00:01.000Z: Apple refused it or did not answer (PayloadTooLarge).",
    );
    let out = with(start(), |journey, _| {
        journey.page = Some(PageStanding {
            answer: None,
            provider: Provider::Apns,
        });
    });
    check(
        out,
        Standing::Sending,
        "It is under way: Apple has not answered yet.",
    );
}

#[test]
fn on_the_link_an_acknowledgement_is_the_delivery() {
    let inbox = with(start_on_link(), |journey, _| {
        journey.link.in_inbox = true;
        journey.link.acked_at = Some(AT);
    });
    let text = "It arrived over the link: the device acknowledged it at 2027-01-15T08:00:01.000Z.";
    check(inbox, Standing::Delivered, text);
    let logged = with(start_on_link(), |journey, _| {
        journey.link.cursor = Some(MESSAGE)
    });
    check(
        logged,
        Standing::Delivered,
        "It arrived over the link: the device has acknowledged it.",
    );
    // The cursor passes over messages that wait in the inbox.
    let listed = with(start_on_link(), |journey, device| {
        journey.link.cursor = Some(MsgId(MESSAGE.0 + 1));
        let devices = vec![device.id];
        journey.message.push.audience = Audience::Selection(Selection {
            devices,
            ..Selection::default()
        });
    });
    let waits = "It waits until 2027-01-16T08:00:00.000Z: the device has not acknowledged it, and gets it when it \
                 connects to the link.";
    check(listed, Standing::Waiting, waits);
    check(start_on_link(), Standing::Waiting, waits);

    let (journey, device) = start_on_link();
    let text = "It expired at 2027-01-16T08:00:00.000Z: the device did not come to the link for it in time.";
    check_at((journey, Some(device)), EXPIRES_AT, Standing::Expired, text);
    let (journey, device) = with(start_on_link(), |journey, _| {
        journey.message.push.options.time_to_live = 0
    });
    let text = "It was for devices that were connected when it was sent, and this one was not.";
    check_at((journey, Some(device)), EXPIRES_AT, Standing::Expired, text);
}

#[test]
fn a_device_that_is_no_target_is_told_why() {
    let (journey, _) = start();
    let text =
        "The app has no device 000000000000000a: it was never registered, or has been forgotten.";
    check_at((journey, None), NOW, Standing::NotRegistered, text);

    let later = with(start(), |journey, _| journey.message.id = MsgId(9));
    let text = "The device was registered at 2027-01-15T07:59:59.000Z, later than the message (2027-01-15T08:00:00.000Z).";
    check(later, Standing::RegisteredLater, text);

    let android = with(start(), |journey, _| {
        journey.message.push.platforms = [Platform::Android].into_iter().collect();
    });
    check(
        android,
        Standing::NotForPlatform,
        "The push was for other platforms than ios.",
    );

    let ios_only = with(start_on_link(), |journey, _| {
        let ios = Some(IosNotification {
            alert: json!("hi"),
            ..IosNotification::default()
        });
        journey.message.push.notification = Some(Notification {
            ios,
            ..Notification::default()
        });
        journey.in_audience = vec![];
    });
    let text = "The push has nothing for android: no section for it, and no alert for all.";
    check(ios_only, Standing::NotForPlatform, text);
}

#[test]
fn the_list_that_leaves_a_device_out_is_named() {
    let outside = |selection: Selection, alias: Option<&str>, tags: &[&str], text: &str| {
        let case = with(start(), |journey, device| {
            journey.in_audience = vec![];
            journey.message.push.audience = Audience::Selection(selection);
            device.alias = alias.map(|alias| alias.parse().expect("an alias"));
            device.tags = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
        });
        check(
            case,
            Standing::NotInAudience,
            &format!("The device is not in the audience: {text}."),
        );
    };
    let devices = || Selection {
        devices: vec![DeviceId(11)],
        ..Selection::default()
    };
    let aliases = || Selection {
        aliases: vec!["ann".parse().expect("an alias")],
        ..Selection::default()
    };
    let tags = || Selection {
        tags: vec!["vip".parse().expect("a tag")],
        ..Selection::default()
    };
    outside(
        devices(),
        None,
        &[],
        "its registration_id is not among those of the push",
    );
    outside(
        aliases(),
        Some("ben"),
        &[],
        "its alias ben is not among those of the push",
    );
    outside(
        aliases(),
        None,
        &[],
        "it has no alias, and the push asks for one",
    );
    outside(
        tags(),
        None,
        &["new"],
        "none of its tags is among those of the push",
    );
    outside(
        tags(),
        None,
        &[],
        "it has no tags, and the push asks for some",
    );
}

#[test]
fn a_device_without_a_channel_is_told_since_when() {
    let none = with(start(), |journey, device| {
        journey.in_audience = vec![];
        device.channels = vec![];
    });
    check(
        none.clone(),
        Standing::NoChannel,
        "The device has no channel.",
    );
    let lost = with(none, |journey, _| {
        journey.tombstones = vec![Tombstone {
            provider: Provider::Apns,
            reason: Reason::known("Unregistered"),
            added_at: UnixMillis(0),
            removed_at: AT,
            token: None,
        }];
    });
    let text = "The device has no channel: its last one, apns, was removed at 2027-01-15T08:00:01.000Z (Unregistered).";
    check(lost, Standing::NoChannel, text);
    let custom = with(start(), |journey, _| {
        journey.in_audience = vec![];
        journey.message.push.notification = None;
        journey.message.push.message = Some(CustomMessage {
            content_type: None,
            extras: Map::new(),
            msg_content: json!("x"),
            title: None,
        });
    });
    let text =
        "The device has no channel that can carry it: a custom message goes over the link only.";
    check(custom, Standing::NoChannel, text);
}

#[test]
fn a_target_without_an_answer_is_still_to_come_or_came_too_late() {
    check(
        start(),
        Standing::Sending,
        "It is under way: the device's turn has not come yet.",
    );
    let (journey, device) = start();
    let text = "It expired at 2027-01-16T08:00:00.000Z, before the device's turn came.";
    check_at((journey, Some(device)), EXPIRES_AT, Standing::Expired, text);

    let text = "It was not for the device when the device's turn came: the channel, alias or tags by which it would \
                be now are newer.";
    let passed = |start| with(start, |journey, _| journey.to_come = vec![]);
    check(passed(start()), Standing::RegisteredLater, text);
    let listed = with(passed(start_on_link()), |journey, device| {
        let devices = vec![device.id];
        journey.message.push.audience = Audience::Selection(Selection {
            devices,
            ..Selection::default()
        });
    });
    check(listed.clone(), Standing::RegisteredLater, text);
    let waits = "It waits until 2027-01-16T08:00:00.000Z: the device has not acknowledged it, and gets it when it \
                 connects to the link.";
    let filled = with(listed, |journey, _| journey.link.in_inbox = true);
    check(filled, Standing::Waiting, waits);
    check(passed(start_on_link()), Standing::Waiting, waits);
}
