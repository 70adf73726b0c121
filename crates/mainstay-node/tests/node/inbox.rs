use mainstay_log::{ChannelRecord, Log as _, Write};
use mainstay_node::{Answer, Call, ChannelQuery, ChannelView, ConnectionKey, Target};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    ClientFrame, Epoch, ErrorCode, GapReason, Hello, Offset, Payload, Principal, SessionId,
    Standing, Start, Welcome,
};

use crate::log::Peek;
use crate::world::{World, any_name, cursor, hello, resume};

fn send(to: Target) -> Call {
    Call::Send { to, payload: Payload::text("for you"), key: None }
}

fn principal(name: &str) -> Principal {
    Principal::parse(name).expect("a principal")
}

fn connected() -> (World, Welcome, String, String) {
    let mut world = World::with(|config| config.inbox_retention.count_max = 3);
    let welcome = world.connect_as(1, Some("ann"), hello());
    let inbox = ChannelName::session_inbox(welcome.session).to_string();
    (world, welcome, inbox, "$principal/ann".to_owned())
}

#[test]
fn what_is_sent_to_a_session_a_connection_or_a_principal_arrives() {
    let (mut world, welcome, inbox, of_ann) = connected();
    world.connect_as(2, Some("ann"), hello());
    world.ask(send(Target::Session(welcome.session))).expect("sent");
    world.ask(send(Target::Connection(ConnectionKey(1)))).expect("sent");
    world.ask(send(Target::Principal(principal("ann")))).expect("sent");
    assert_eq!(world.events(1, &inbox), [1, 2]);
    assert_eq!((world.events(1, &of_ann), world.events(2, &of_ann)), (vec![1], vec![1]));
    assert!(world.events(2, &inbox).is_empty());
    for nobody in [
        Target::Session(SessionId::from_bytes([9; 16])),
        Target::Connection(ConnectionKey(9)),
        Target::Principal(principal("bob")),
    ] {
        let refused = world.ask(send(nobody)).expect_err("nobody");
        assert_eq!(refused.code, ErrorCode::Unreachable);
    }
}

#[test]
fn an_inbox_begins_with_what_is_first_sent_to_it() {
    let (mut world, welcome, inbox, _) = connected();
    let told = world.subscribed(1, &inbox).expect("said");
    assert_eq!((told.offset, told.head), (Offset::ZERO, Offset::ZERO));
    assert!(!world.log.get().memory.names().contains(&inbox), "the log has no row of it");
    let view = look_at(&mut world, &inbox).expect("it looks like an empty one");
    assert_eq!((view.epoch, view.first, view.head), (told.epoch, Offset(1), Offset::ZERO));
    assert_eq!(view.subscriber_count, 1);
    let Ok(Answer::Published(places)) = world.ask(send(Target::Session(welcome.session))) else {
        panic!("sent")
    };
    assert_eq!(places, [(any_name(&inbox), told.epoch, Offset(1))], "in the epoch that was told");
    assert_eq!(world.events(1, &inbox), [1]);
    let view = look_at(&mut world, &inbox).expect("it exists");
    assert_eq!((view.head, view.subscriber_count), (Offset(1), 1));
}

#[test]
fn a_place_in_an_inbox_that_did_not_exist_yet_stays_good() {
    let (mut world, welcome, inbox, _) = connected();
    let epoch = world.subscribed(1, &inbox).expect("said").epoch;
    world.restart();
    world.log.fill_up();
    let full = world.ask(send(Target::Session(welcome.session))).expect_err("there is no room");
    assert_eq!(full.code, ErrorCode::StoreFailed);
    world.rest();
    world.ask(send(Target::Session(welcome.session))).expect("sent");
    world.restart();
    let cursors = vec![cursor(&inbox, epoch, 0)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    assert!(world.gaps(2).is_empty(), "{:?}", world.gaps(2));
    assert_eq!(world.events(2, &inbox), [1]);
}

#[test]
fn an_inbox_of_an_earlier_program_keeps_its_epoch() {
    let (mut world, welcome, inbox, _) = connected();
    let record = ChannelRecord { epoch: Epoch(77), settings: bytes::Bytes::new() };
    let put = Write::PutChannel { channel: any_name(&inbox), record };
    world.log.get().memory.commit(&[put]).expect("stored");
    world.restart();
    let cursors = vec![cursor(&inbox, Epoch(77), 0)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    world.ask(send(Target::Session(welcome.session))).expect("sent");
    assert!(world.gaps(2).is_empty());
    assert_eq!(world.events(2, &inbox), [1]);
}

#[test]
fn a_copy_that_comes_alive_has_other_inboxes() {
    let (mut world, welcome, inbox, _) = connected();
    let epoch = world.subscribed(1, &inbox).expect("said").epoch;
    // What the client has seen of the original was sent after the copy was made.
    world.log.get().epoch_salt = 5;
    world.restart();
    (0..2).for_each(|_| drop(world.ask(send(Target::Session(welcome.session))).expect("sent")));
    let cursors = vec![cursor(&inbox, epoch, 1)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    let gap = &world.gaps(2)[0];
    assert_eq!((gap.reason, gap.to), (GapReason::Epoch, None));
    assert_eq!(world.events(2, &inbox), [1, 2]);
}

#[test]
fn what_came_after_a_store_was_set_back_is_not_taken_for_read() {
    let (mut world, welcome, inbox, _) = connected();
    let epoch = world.subscribed(1, &inbox).expect("said").epoch;
    // The client has five messages of the log that was; this one has two that are new to it.
    (0..2).for_each(|_| drop(world.ask(send(Target::Session(welcome.session))).expect("sent")));
    let cursors = vec![cursor(&inbox, epoch, 5)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    let gap = &world.gaps(2)[0];
    assert_eq!((gap.reason, gap.from, gap.to), (GapReason::Epoch, Offset(6), None));
    assert_eq!((gap.from_epoch, gap.epoch, gap.offset), (epoch, epoch, Offset::ZERO));
    assert_eq!(world.events(2, &inbox), [1, 2]);
}

#[test]
fn what_is_larger_than_an_inbox_does_not_begin_one() {
    let mut world = World::with(|config| config.inbox_retention.bytes_max = 3);
    let welcome = world.connect(1, hello());
    let refused = world.ask(send(Target::Session(welcome.session))).expect_err("too large");
    assert_eq!(refused.code, ErrorCode::InboxFull);
    assert!(world.log.get().memory.names().is_empty());
}

#[test]
fn the_limit_of_channels_takes_nobodys_inbox_away() {
    let mut world = World::with(|config| config.channel_count_max = 1);
    world.emit("news", "x");
    let welcome = world.connect_as(1, Some("ann"), hello());
    world.connect_as(2, Some("bob"), hello());
    world.cut(2);
    world.commit();
    for to in [Target::Session(welcome.session), Target::Principal(principal("ann"))] {
        world.ask(send(to)).expect("an inbox needs no room among the channels");
    }
    world.emit("news", "x");
    world.pass(world.config.channel_retention.age_max_ms);
    let epoch = look_at(&mut world, "$principal/bob").expect("it is there").epoch;
    let is_refused = |world: &mut World, channel| {
        let ticket = world.emit(channel, "x");
        world.commit();
        world.answers[&ticket].is_err()
    };
    assert!(!is_refused(&mut world, "other"), "news is empty and makes room");
    assert!(is_refused(&mut world, "third"), "and no inbox does");
    let view = look_at(&mut world, "$principal/bob").expect("it is still there");
    assert_eq!(view.epoch, epoch);
    assert_eq!(world.node.counts().channels, 1);
}

#[test]
fn inboxes_that_nobody_needs_are_kept_as_many_as_there_may_be_sessions() {
    let mut world = World::with(|config| config.session_count_max = 2);
    let come_and_go = |world: &mut World, key, who| {
        world.connect_as(key, Some(who), hello());
        world.frame(key, ClientFrame::Bye);
        world.commit();
        world.pass(1);
    };
    come_and_go(&mut world, 1, "ann");
    come_and_go(&mut world, 2, "bob");
    world.ask(send(Target::Principal(principal("ann")))).expect("her inbox is known");
    come_and_go(&mut world, 3, "eve");
    assert!(look_at(&mut world, "$principal/bob").is_none(), "idle for longest");
    assert!(look_at(&mut world, "$principal/ann").is_some(), "there is a message in it");
    // Whoever has a session, there or away, keeps the inbox.
    let zoe = world.connect_as(4, Some("zoe"), hello());
    let inbox = world.subscribed(4, "$principal/zoe").expect("said");
    world.cut(4);
    for (key, who) in [(5, "dan"), (6, "kim")] {
        come_and_go(&mut world, key, who);
    }
    let cursors = vec![cursor("$principal/zoe", inbox.epoch, 0)];
    world.connect_as(7, Some("zoe"), Hello { cursors, ..resume(&zoe) });
    assert!(world.gaps(7).is_empty(), "{:?}", world.gaps(7));
}

#[test]
fn nobody_has_an_inbox_without_a_session() {
    let (mut world, welcome, inbox, _) = connected();
    world.frame(1, ClientFrame::Bye);
    world.commit();
    for name in [
        inbox,
        format!("$session/{}", welcome.session).to_uppercase().replace("SESSION", "session"),
    ] {
        assert!(look_at(&mut world, &name).is_none(), "{name}");
    }
}

#[test]
fn a_full_inbox_tells_its_sender_until_its_owner_acknowledges() {
    let (mut world, welcome, _, _) = connected();
    let to = || send(Target::Session(welcome.session));
    (0..3).for_each(|_| drop(world.ask(to()).expect("sent")));
    assert_eq!(world.ask(to()).expect_err("full").code, ErrorCode::InboxFull);
    let inbox = ChannelName::session_inbox(welcome.session);
    world.ack(1, 1, &[(&inbox, 2)]);
    world.ask(to()).expect("sent");
    world.ask(to()).expect("sent");
    assert_eq!(world.ask(to()).expect_err("full").code, ErrorCode::InboxFull);
    world.restart();
    let cursors = vec![];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    assert_eq!(world.events(2, inbox.as_str()), [3, 4, 5], "what is not acknowledged comes");
    world.ack(2, 1, &[(&inbox, u64::MAX)]);
    assert_eq!(world.ask(to()).expect_err("of no event").code, ErrorCode::InboxFull);
    world.ack(2, 1, &[(&inbox, 5)]);
    world.ask(to()).expect("sent");
    assert_eq!(world.events(2, inbox.as_str()), [3, 4, 5, 6]);
}

#[test]
fn a_cursor_of_an_inbox_is_gone_on_from() {
    let (mut world, welcome, inbox, of_ann) = connected();
    let epochs = [&inbox, &of_ann].map(|name| world.subscribed(1, name).expect("said").epoch);
    world.cut(1);
    for _ in 0..2 {
        world.ask(send(Target::Session(welcome.session))).expect("sent");
        world.ask(send(Target::Principal(principal("ann")))).expect("sent");
    }
    let cursors = vec![cursor(&inbox, epochs[0], 1), cursor(&of_ann, epochs[1], 1)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    assert_eq!((world.events(2, &inbox), world.events(2, &of_ann)), (vec![2], vec![2]));
    assert!(world.gaps(2).is_empty());
}

#[test]
fn a_session_that_never_saw_its_welcome_misses_nothing() {
    let (mut world, _, _, of_ann) = connected();
    world.ask(send(Target::Principal(principal("ann")))).expect("before it began");
    let welcome = world.connect_as(2, Some("ann"), hello());
    world.cut(2);
    world.ask(send(Target::Principal(principal("ann")))).expect("sent");
    world.restart();
    world.connect_as(3, Some("ann"), resume(&welcome));
    assert_eq!(world.events(3, &of_ann), [2]);
    assert!(world.gaps(3).is_empty());
}

#[test]
fn a_session_inbox_goes_with_its_session() {
    let (mut world, welcome, inbox, _) = connected();
    world.ask(send(Target::Session(welcome.session))).expect("sent");
    world.frame(1, ClientFrame::Bye);
    world.commit();
    let names = world.log.get().memory.names();
    assert!(!names.contains(&inbox), "{names:?}");
    let gone = world.ask(send(Target::Session(welcome.session))).expect_err("gone");
    assert_eq!(gone.code, ErrorCode::Unreachable);
    let second = world.connect_as(2, Some("ann"), hello());
    world.cut(2);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    assert!(!world.log.get().memory.names().contains(&inbox));
    let cursors = vec![cursor(&inbox, mainstay_wire::session::Epoch(1), 1)];
    let third = world.connect_as(3, Some("ann"), Hello { cursors, ..resume(&second) });
    assert_eq!(third.standing, Standing::Expired);
    assert_eq!(world.problems(3), [ErrorCode::NotPermitted], "it is nobody's");
}

#[test]
fn an_inbox_is_its_owners() {
    let (mut world, _, inbox, of_ann) = connected();
    world.connect_as(2, Some("bob"), hello());
    world.subscribe(2, &inbox, Start::Now);
    world.subscribe(2, &of_ann, Start::Now);
    world.commit();
    assert_eq!(world.problems(2), [ErrorCode::NotPermitted; 2]);
    world.unsubscribe(1, &inbox);
    world.subscribe(1, &inbox, Start::Last(9));
    world.commit();
    assert!(world.problems(1).is_empty());
}

#[test]
fn a_principals_inbox_keeps_the_newest_and_outlives_its_sessions() {
    let (mut world, welcome, _, of_ann) = connected();
    let epoch = world.subscribed(1, &of_ann).expect("said").epoch;
    world.cut(1);
    (0..5).for_each(|_| drop(world.ask(send(Target::Principal(principal("ann")))).expect("sent")));
    world.pass(world.config.session_expiry_ms);
    let cursors = vec![cursor(&of_ann, epoch, 0)];
    world.connect_as(2, Some("ann"), Hello { cursors, ..resume(&welcome) });
    assert_eq!(world.events(2, &of_ann), [3, 4, 5]);
    let gap = &world.gaps(2)[0];
    assert_eq!((gap.reason, gap.from, gap.to), (GapReason::Trimmed, Offset(1), Some(Offset(2))));
}

#[test]
fn inboxes_of_principals_who_are_gone_are_bounded() {
    let mut world = World::with(|config| config.session_count_max = 5);
    for key in 0..50 {
        world.connect_as(key, Some(&format!("p{key}")), hello());
        world.frame(key, ClientFrame::Bye);
        world.commit();
    }
    let names = world.log.get().memory.names();
    assert!(names.len() <= 5, "{names:?}");
    let query = ChannelQuery { count_max: 99, ..Default::default() };
    let Ok(Answer::Channels { channels: views, .. }) = world.ask(Call::Channels(query)) else {
        panic!("channels")
    };
    assert_eq!(views.len(), names.len());
}

fn look_at(world: &mut World, channel: &str) -> Option<ChannelView> {
    let call = Call::History { channel: any_name(channel), after: Offset::ZERO, count_max: 9 };
    match world.ask(call) {
        Ok(Answer::History { channel, .. }) => Some(channel),
        _ => None,
    }
}
