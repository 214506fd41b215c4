use serde_json::{Map, json};
use tidings_model::{
    AppId, Audience, CustomMessage, Environment, IosNotification, Life, Message, MsgId,
    Notification, Parts, Platform, PlatformSet, PushOptions, Secret, Selection, Spent, Strategy,
};
use tidings_store::{
    ACKNOWLEDGED_LATE, ChannelRecord, Cursor, EventKind, Exception, LinkStanding, Position,
    Tombstone,
};

use super::*;

const MESSAGE: MsgId = MsgId(1000);
const DEVICE: DeviceId = DeviceId(10);
const PLACE: Position = Position(1005);
const ACCEPTED_AT: UnixMillis = UnixMillis(1_800_000_000_000);
const EXPIRES_AT: UnixMillis = UnixMillis(1_800_086_400_000);
const AT: UnixMillis = UnixMillis(1_800_000_001_000);
const SHOWN: Parts = Parts {
    message: false,
    notification: true,
};

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
    let history = DeviceHistory {
        aliases: vec![],
        channels: vec![(Provider::Apns, Life::since(DEVICE.0))],
        id: DEVICE,
        known_from: MsgId(0),
        platform: Platform::Ios,
        tags: vec![],
    };
    let journey = Journey {
        credentials_rejected: Vec::new(),
        credentials_spent: Vec::new(),
        events: vec![],
        reports: vec![],
        finished: false,
        history: Some(history),
        link: LinkStanding::default(),
        message,
        pages: vec![],
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

/// The same on the link, with the message in the log and the cursor before it.
fn start_on_link() -> (Journey, Device) {
    with(start(), |journey, device| {
        journey.link.cursor = Some(Cursor::to(Position(DEVICE.0)));
        journey.link.position = Some(PLACE);
        journey.to_come = vec![];
        let history = history(journey);
        history.channels = vec![(Provider::Link, Life::since(DEVICE.0))];
        history.platform = Platform::Android;
        device.channels = vec![channel(Provider::Link)];
        device.platform = Platform::Android;
    })
}

/// The same with the message in its inbox.
fn start_in_inbox(end: Option<(Ending, Option<Reason>, UnixMillis)>) -> (Journey, Device) {
    with(start_on_link(), |journey, _| {
        journey.link.position = None;
        journey.link.rows = vec![InboxRow {
            end,
            link_first: false,
            parts: SHOWN,
            went: None,
        }];
    })
}

fn history(journey: &mut Journey) -> &mut DeviceHistory {
    journey.history.as_mut().expect("a device")
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
fn check((journey, device): (Journey, Device), state: State, reason: &str, text: &str) {
    let verdict = verdict(&journey, Some(&device), DEVICE);
    let found = verdict.reason.as_ref().map_or("", Reason::as_str);
    assert_eq!(
        (verdict.state, found, verdict.text.as_str()),
        (state, reason, text)
    );
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
        journey.pages = vec![PageStanding {
            answer: Some(answer),
            provider: Provider::Apns,
            waits: None,
        }];
        journey.to_come = vec![];
    })
}

fn exception(ending: Ending, reason: Reason) -> impl FnOnce(&mut Journey, &mut Device) {
    move |journey, _| {
        let at = AT;
        let position = PLACE;
        let exception = Exception {
            at,
            ending,
            position,
            reason,
        };
        journey.link.cursor = Some(Cursor {
            exceptions: vec![exception],
            ..Cursor::to(Position(PLACE.0 + 1))
        });
    }
}

#[test]
fn what_the_device_says_is_told_beside_what_the_ledger_says() {
    let opened = with(
        answered(Ending::Failed, Some("Unanswered"), 1),
        |journey, _| {
            journey.events = vec![(EventKind::Received, ACCEPTED_AT), (EventKind::Opened, AT)];
        },
    );
    check(
        opened,
        State::Failed,
        "Unanswered",
        "It failed at 2027-01-15T08:00:01.000Z: Apple refused it or did not answer (Unanswered). The device says that \
         it opened it at 2027-01-15T08:00:01.000Z. The device says that it received it at 2027-01-15T08:00:00.000Z.",
    );
}

#[test]
fn what_apple_says_is_passed_on() {
    check(
        answered(Ending::Accepted, None, 1),
        State::Accepted,
        "",
        "Apple accepted it at 2027-01-15T08:00:01.000Z, which is the last that Apple tells; if it was not seen, the \
         device was off or offline until the message expired, or it or the app suppresses notifications.",
    );
    check(
        with(
            answered(Ending::Dropped, Some("Unregistered"), 1),
            |_, device| device.channels.clear(),
        ),
        State::Dropped,
        "Unregistered",
        "It was dropped at 2027-01-15T08:00:01.000Z: Apple says that the device's token is not good any more \
         (Unregistered); the app has to register the device anew.",
    );
    check(
        answered(Ending::Dropped, Some("Unregistered"), 1),
        State::Dropped,
        "Unregistered",
        "It was dropped at 2027-01-15T08:00:01.000Z: Apple says that the device's token was not good (Unregistered). \
         The token is kept, since it was registered again later, or since the credential may be to blame.",
    );
    let until = UnixMillis(AT.0 + 3_600_000);
    let waits = |journey: &mut Journey, _: &mut Device| {
        let waits = Waits {
            attempts: 0,
            due: until,
            last: None,
        };
        journey.pages = vec![PageStanding {
            answer: None,
            provider: Provider::Apns,
            waits: Some(waits),
        }];
    };
    check(
        with(start(), waits),
        State::Waiting,
        "",
        "It waits: Apple is asked again at 2027-01-15T09:00:01.000Z.",
    );
    let without_quota = |journey: &mut Journey, device: &mut Device| {
        waits(journey, device);
        let spent = Spent::until(Reason::known("10070"), until);
        journey.credentials_spent = vec![(Provider::Apns, vec![spent])];
    };
    check(
        with(start(), without_quota),
        State::Waiting,
        "",
        "It waits: the app's quota at Apple is used up (10070), and there is another from 2027-01-15T09:00:01.000Z on.",
    );
    let parked = |journey: &mut Journey, _: &mut Device| {
        journey.pages = vec![PageStanding {
            answer: None,
            provider: Provider::Apns,
            waits: None,
        }];
        let reason = Reason::known("InvalidProviderToken");
        journey.credentials_rejected =
            vec![(Provider::Apns, Some(Environment::Production), reason)];
    };
    check(
        with(start(), parked),
        State::Waiting,
        "",
        "It waits: Apple rejects the app's credential (InvalidProviderToken), and goes on when that is replaced.",
    );
    let parked_elsewhere = |journey: &mut Journey, device: &mut Device| {
        parked(journey, device);
        journey.message.push.options.apns_production = Some(false);
    };
    check(
        with(start(), parked_elsewhere),
        State::Waiting,
        "",
        "It is under way: Apple has not answered yet.",
    );
    check(
        answered(Ending::Expired, Some("InternalServerError"), 1),
        State::Expired,
        "InternalServerError",
        "It expired at 2027-01-15T08:00:01.000Z before Apple took it (InternalServerError).",
    );
    check(
        answered(Ending::Failed, Some("NoCredential"), 0),
        State::Failed,
        "NoCredential",
        "It was not sent: at 2027-01-15T08:00:01.000Z the app had no credential for Apple and the token's environment.",
    );
    check(
        answered(Ending::Failed, Some("NotSent"), 0),
        State::Failed,
        "NotSent",
        "It was not sent: it was given up at 2027-01-15T08:00:01.000Z before it left for Apple (NotSent).",
    );
    check(
        answered(Ending::Failed, Some("PayloadTooLarge"), 1),
        State::Failed,
        "PayloadTooLarge",
        "It failed at 2027-01-15T08:00:01.000Z: Apple refused it or did not answer (PayloadTooLarge).",
    );
    let out = with(start(), |journey, _| {
        journey.pages = vec![PageStanding {
            answer: None,
            provider: Provider::Apns,
            waits: None,
        }];
    });
    check(
        out,
        State::Waiting,
        "",
        "It is under way: Apple has not answered yet.",
    );
}

#[test]
fn on_the_link_an_acknowledgement_is_the_delivery_and_nothing_else() {
    let end = |ending, reason| Some((ending, reason, AT));
    check(
        start_in_inbox(end(Ending::Delivered, None)),
        State::Delivered,
        "",
        "It arrived over the link: the device acknowledged it at 2027-01-15T08:00:01.000Z.",
    );
    let passed = with(start_on_link(), |journey, _| {
        journey.link.cursor = Some(Cursor::to(PLACE));
    });
    check(
        passed,
        State::Delivered,
        "",
        "It arrived over the link: the device has acknowledged it.",
    );
    let waits = "It waits until 2027-01-16T08:00:00.000Z: the device has not acknowledged it, and gets it when it \
                 connects to the link.";
    check(start_on_link(), State::Waiting, "", waits);
    // The cursor passes over messages that wait in the inbox.
    let behind = with(start_in_inbox(None), |journey, _| {
        journey.link.cursor = Some(Cursor::to(Position(PLACE.0 + 1)));
    });
    check(behind, State::Waiting, "", waits);

    // It has lost the link, and what waits there is about to be ended; then it has.
    let left = with(start_in_inbox(None), |_, device| device.channels = vec![]);
    let ends = "It is for the link, which the device does not have any more: unless it takes the link again at once, it is dropped.";
    check(left, State::Waiting, "", ends);
    let moved = Reason::known("moved");
    let lost = "It was dropped at 2027-01-15T08:00:01.000Z: the device had not acknowledged it when it lost the link (moved).";
    let row = start_in_inbox(end(Ending::Dropped, Some(moved.clone())));
    check(row, State::Dropped, "moved", lost);
    let logged = with(start_on_link(), exception(Ending::Dropped, moved));
    check(logged, State::Dropped, "moved", lost);

    let refused = "It was sent over the link, and the device refused it (Refused0x87).";
    let reason = Reason::known("Refused0x87");
    let row = start_in_inbox(end(Ending::Dropped, Some(reason.clone())));
    check(row, State::Dropped, "Refused0x87", refused);
    let logged = with(start_on_link(), exception(Ending::Dropped, reason));
    check(logged, State::Dropped, "Refused0x87", refused);
    let large = Reason::known("TooLargeForDevice");
    check(
        with(start_on_link(), exception(Ending::Dropped, large)),
        State::Dropped,
        "TooLargeForDevice",
        "It was not sent: it is larger than what the device takes over the link (TooLargeForDevice).",
    );

    let missed =
        "It expired at 2027-01-16T08:00:00.000Z: the device did not acknowledge it in time.";
    let away = with(
        start_on_link(),
        exception(Ending::Expired, NOT_ACKNOWLEDGED),
    );
    check(away, State::Expired, "NotAcknowledged", missed);
    let over = |start| with(start, |journey, _| journey.finished = true);
    for never_came in [over(start_on_link()), over(start_in_inbox(None))] {
        check(never_came, State::Expired, "NotAcknowledged", missed);
    }
    check(
        with(
            start_on_link(),
            exception(Ending::Expired, ACKNOWLEDGED_LATE),
        ),
        State::Expired,
        "AcknowledgedLate",
        "It expired at 2027-01-16T08:00:00.000Z; the device acknowledged it after that, when it had been counted as \
         expired.",
    );
    let online_only = with(over(start_on_link()), |journey, _| {
        journey.message.push.options.time_to_live = 0;
    });
    check(
        online_only,
        State::Expired,
        "NotConnected",
        "It was for devices that were connected when it was sent, and this one did not acknowledge it then.",
    );
    let long_ago = with(start_on_link(), |journey, _| {
        let position = Position(PLACE.0 + 9);
        journey.link.cursor = Some(Cursor {
            forgotten: PLACE,
            ..Cursor::to(position)
        });
    });
    check(
        long_ago,
        State::Unknown,
        "",
        "What became of it is not known any more.",
    );
}

#[test]
fn a_device_that_is_no_target_is_told_why() {
    let (journey, _) = with(start(), |journey, _| journey.history = None);
    let verdict = verdict(&journey, None, DEVICE);
    let text =
        "The app has no device 000000000000000a: it was never registered, or has been forgotten.";
    assert_eq!(
        (verdict.state, verdict.is_device, verdict.text.as_str()),
        (State::Unknown, false, text)
    );

    let forgotten = with(start(), |journey, _| {
        history(journey).known_from = MsgId(MESSAGE.0 + 1);
    });
    let text = "What the device was and had then is not known any more.";
    check(forgotten, State::Unknown, "NotKnown", text);

    let later = with(start(), |journey, _| journey.message.id = MsgId(9));
    let text = "The device was registered later than the message (2027-01-15T08:00:00.000Z).";
    check(later, State::NotTargeted, "RegisteredLater", text);

    let android = with(start(), |journey, _| {
        journey.message.push.platforms = [Platform::Android].into_iter().collect();
    });
    check(
        android,
        State::NotTargeted,
        "NotForPlatform",
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
    });
    let text = "The push has nothing for android: no section for it, and no alert for all.";
    check(ios_only, State::NotTargeted, "NotForPlatform", text);
}

#[test]
fn the_list_that_left_a_device_out_is_named() {
    let outside = |selection: Selection, alias: Option<&str>, tags: &[(&str, Life)], text: &str| {
        let case = with(start_on_link(), |journey, _| {
            // A cursor beyond it proves nothing.
            journey.link.cursor = Some(Cursor::to(Position(PLACE.0 + 1)));
            journey.message.push.audience = Audience::Selection(selection);
            let history = history(journey);
            let alias = alias.map(|alias| alias.parse().expect("an alias"));
            history.aliases = alias
                .map(|alias| (alias, Life::since(10)))
                .into_iter()
                .collect();
            let tags = tags.iter();
            let tags = tags.map(|(tag, life)| (tag.parse().expect("a tag"), *life));
            history.tags = tags.collect();
        });
        check(
            case,
            State::NotTargeted,
            "NotInAudience",
            &format!("The device was not in the audience: {text}."),
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
        "it had no alias then, and the push asks for one",
    );
    outside(
        tags(),
        None,
        &[("new", Life::since(10))],
        "none of the tags that it had then is among those of the push",
    );
    // It got the tag later.
    outside(
        tags(),
        None,
        &[("vip", Life::since(MESSAGE.0 + 1))],
        "it had no tags then, and the push asks for some",
    );
}

#[test]
fn a_device_without_a_channel_is_told_since_when() {
    let none = with(start(), |journey, _| history(journey).channels = vec![]);
    check(
        none.clone(),
        State::NotTargeted,
        "NoChannel",
        "The device had no channel.",
    );
    let lost = with(none.clone(), |journey, _| {
        journey.tombstones = vec![Tombstone {
            provider: Provider::Apns,
            reason: Reason::known("Unregistered"),
            added_at: UnixMillis(0),
            removed_at: AT,
            token: None,
        }];
    });
    check(
        lost,
        State::NotTargeted,
        "NoChannel",
        "The device had no channel: its last one, apns, was removed at 2027-01-15T08:00:01.000Z (Unregistered).",
    );
    let newer = with(none, |journey, _| {
        history(journey).channels = vec![(Provider::Apns, Life::since(MESSAGE.0 + 1))];
    });
    check(
        newer,
        State::NotTargeted,
        "NoChannel",
        "The device had no channel then: those that it has are newer.",
    );
    let custom = with(start(), |journey, _| {
        journey.message.push.notification = None;
        journey.message.push.message = Some(custom());
    });
    check(
        custom,
        State::NotTargeted,
        "NoChannel",
        "The device had no channel that could carry it: a custom message goes over the link only.",
    );
}

fn custom() -> CustomMessage {
    CustomMessage {
        content_type: None,
        extras: Map::new(),
        msg_content: json!("x"),
        shown_instead: None,
        title: None,
    }
}

#[test]
fn each_part_has_its_ways_and_the_one_that_came_furthest_is_the_state() {
    let both = with(answered(Ending::Accepted, None, 1), |journey, _| {
        journey.message.push.message = Some(custom());
        let link = (Provider::Link, Life::since(DEVICE.0));
        history(journey).channels.push(link);
        journey.link.cursor = Some(Cursor::to(Position(DEVICE.0)));
        journey.link.position = Some(PLACE);
    });
    let verdict = verdict(&both.0, Some(&both.1), DEVICE);
    assert_eq!(verdict.state, State::Accepted);
    let ways: Vec<_> = verdict
        .ways
        .iter()
        .map(|way| (way.part, way.provider, way.outcome.name()))
        .collect();
    assert_eq!(
        ways,
        [
            (Part::Notification, Provider::Apns, "accepted"),
            (Part::Message, Provider::Link, "waiting")
        ]
    );
    let acknowledged = with(both, |journey, _| {
        journey.link.cursor = Some(Cursor::to(PLACE));
    });
    let (journey, device) = acknowledged;
    assert_eq!(
        super::verdict(&journey, Some(&device), DEVICE).state,
        State::Delivered
    );
}

#[test]
fn a_target_without_an_answer_is_still_to_come_or_not_known() {
    check(
        start(),
        State::Waiting,
        "",
        "It is under way: the device's turn has not come yet.",
    );
    check(
        with(start(), |journey, _| journey.to_come = vec![]),
        State::Unknown,
        "",
        "What became of it is not known any more.",
    );
    let gone = with(start_on_link(), |journey, _| journey.link.position = None);
    check(
        gone,
        State::Unknown,
        "",
        "What became of it is not known any more.",
    );
}

/// A phone with Huawei and the link, which has it first.
fn start_link_first(went: Option<DeviceId>, end: Option<Ending>) -> (Journey, Device) {
    let end = end.map(|ending| (ending, None, UnixMillis(1_800_000_040_000)));
    with(start_in_inbox(end), |journey, _| {
        let options = &mut journey.message.push.options;
        options
            .strategies
            .set(Provider::Huawei, Strategy::LinkFirst);
        options.fallback_after = Some(30_000);
        let row = &mut journey.link.rows[0];
        (row.link_first, row.went) = (true, went);
        let has = (Provider::Huawei, Life::since(DEVICE.0));
        history(journey).channels.push(has);
    })
}

#[test]
fn what_the_link_has_first_is_told_with_what_comes_after_it() {
    check(
        start_link_first(None, None),
        State::Waiting,
        "",
        "It waits for the device to acknowledge it over the link; if it has not by 2027-01-15T08:00:30.000Z, it goes on by the device's next way.",
    );
    check(
        start_link_first(None, Some(Ending::Delivered)),
        State::Delivered,
        "",
        "It arrived over the link: the device acknowledged it at 2027-01-15T08:00:40.000Z.",
    );
    let by_huawei = |ending| {
        move |journey: &mut Journey, _: &mut Device| {
            journey.pages = vec![PageStanding {
                answer: Some(Answer {
                    at: UnixMillis(1_800_000_041_000),
                    attempts: 1,
                    device: DEVICE,
                    ending,
                    reason: None,
                }),
                provider: Provider::Huawei,
                waits: None,
            }];
        }
    };
    let went = start_link_first(Some(DEVICE), Some(Ending::HandedOn));
    let (journey, device) = with(went, by_huawei(Ending::Accepted));
    let verdict = verdict(&journey, Some(&device), DEVICE);
    let ways: Vec<_> = verdict
        .ways
        .iter()
        .map(|way| (way.provider, way.outcome.name()))
        .collect();
    assert_eq!(
        ways,
        [
            (Provider::Link, "handed_on"),
            (Provider::Huawei, "accepted")
        ]
    );
    assert_eq!(verdict.state, State::Accepted);
    let first = "The device had not acknowledged it over the link by 2027-01-15T08:00:40.000Z: then it went on by the device's next way.";
    assert!(verdict.text.starts_with(first), "{}", verdict.text);
    // Refused there, it waits in the inbox.
    check(
        with(
            start_link_first(Some(DEVICE), None),
            by_huawei(Ending::HandedOn),
        ),
        State::Waiting,
        "",
        "The device had not acknowledged it over the link by 2027-01-15T08:00:30.000Z: then it went on by the device's next way. \
         It went on by the device's next way at 2027-01-15T08:00:41.000Z, since Huawei could not take it (no reason given). \
         It waits until 2027-01-16T08:00:00.000Z: the device has not acknowledged it, and gets it when it connects to the link.",
    );
}
