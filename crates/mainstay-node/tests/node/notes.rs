//! What is noted of sessions, for whoever looks back.

use mainstay_node::{Call, ConnectionKey, Input, Note, Pace, Retention};
use mainstay_wire::EndReason;
use mainstay_wire::session::{
    ClientFrame, Delivery, Epoch, Hello, Offset, PresenceMode, SessionId, Start,
};

use crate::world::{World, cursor, hello, resume, resume_with};

/// What was noted since the last look: happening, connection, reason, channel and detail.
fn told(world: &mut World, session: SessionId) -> Vec<String> {
    let notes = std::mem::take(&mut world.notes);
    notes.iter().filter(|note| note.session == Some(session)).map(line).collect()
}

fn line(note: &Note) -> String {
    let mut words = vec![note.happening.word().to_owned()];
    words.extend(note.connection.map(|ConnectionKey(key)| format!("#{key}")));
    words.extend(note.reason.map(str::to_owned));
    words.extend(note.channel.as_ref().map(ToString::to_string));
    words.extend(Some(note.detail.to_string()).filter(|detail| !detail.is_empty()));
    words.join(" ")
}

#[test]
fn the_story_of_a_session_is_noted_in_order() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    let session = first.session;
    world.unsubscribe(1, &format!("$session/{session}"));
    world.subscribe(1, "news", Start::Now);
    world.commit();
    let epoch = world.subscribed(1, "news").expect("subscribed").epoch;
    world.pass(100);
    world.cut(1);
    world.commit();
    world.pass(4_200);
    let again = Hello { cursors: vec![cursor("news", epoch, 0)], ..resume(&first) };
    let second = world.connect(2, again);
    let third = world.connect(3, resume(&second));
    world.unsubscribe(3, "news");
    world.subscribe(3, "news", Start::Now);
    world.unsubscribe(3, "news");
    world.commit();
    assert_eq!(
        told(&mut world, session),
        [
            "opened #1 test",
            "subscribed #1 news",
            "lost #1 peer_eof",
            "resumed #2 test, away for 4200 ms",
            "superseded #2 superseded another connection has taken the session over",
            "resumed #3 test, takes over",
            "subscribed #3 news",
            "unsubscribed #3 news",
        ],
        "what is taken up again, and inboxes, are not noted"
    );
    world.say_hello(4, None, resume(&first));
    world.cut(3);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    let anew = world.connect(5, resume(&third));
    assert_eq!(
        told(&mut world, session),
        [
            "refused #4 resume_refused the session is not this client's",
            "lost #3 peer_eof",
            "expired away for 600000 ms",
        ]
    );
    world.frame(5, ClientFrame::Bye);
    world.commit();
    let other = world.connect(6, hello()).session;
    world.ask(Call::End { session: other }).expect("ends");
    let notes: Vec<String> = std::mem::take(&mut world.notes).iter().map(line).collect();
    assert_eq!(
        notes,
        [
            "ended #5 session_ended bye",
            "opened #6 test",
            "ended #6 disconnected an operator ended the session",
        ]
    );
    assert_ne!(anew.session, session);
}

#[test]
fn a_session_in_place_of_one_that_is_gone_says_so() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    let second = world.connect(2, resume(&first)).session;
    let expected = format!("opened #2 test; {} has expired", first.session);
    assert_eq!(told(&mut world, second), [expected]);
    let nobody = resume_with(SessionId::from_bytes([9; 16]), &first.token);
    let third = world.connect(3, nobody).session;
    let expected = format!("opened #3 test; {} is not known here", "09".repeat(16));
    assert_eq!(told(&mut world, third), [expected]);
}

#[test]
fn gaps_are_noted_unless_they_were_wished_for() {
    let mut world = World::with(|config| {
        config.channel_retention = Retention { count_max: 3, ..config.channel_retention };
    });
    let session = world.connect(1, hello()).session;
    world.emit_many("news", 10);
    world.commit();
    world.notes.clear();
    let epoch = {
        world.subscribe(1, "news", Start::Now);
        world.commit();
        world.subscribed(1, "news").expect("subscribed").epoch
    };
    world.subscribe(1, "news", Start::After { epoch: Some(epoch), offset: Offset(2) });
    world.commit();
    let start = Start::After { epoch: Some(Epoch(7)), offset: Offset(1) };
    world.subscribe(1, "news", start);
    world.subscribe_with(1, "news", Start::Last(3), Delivery::Latest, PresenceMode::None);
    world.commit();
    let told = told(&mut world, session);
    let gaps: Vec<&String> = told.iter().filter(|line| line.starts_with("gap")).collect();
    assert_eq!(
        gaps,
        ["gap #1 trimmed news events 3 to 7", "gap #1 epoch news events from 2 on"],
        "{told:?}"
    );
}

#[test]
fn who_is_slow_is_noted_with_its_session() {
    let mut world = World::new();
    let session = world.connect(1, hello()).session;
    world.notes.clear();
    for (key, pace) in [(1, Pace::Behind), (1, Pace::Live), (2, Pace::Behind)] {
        world.handle(Input::Pace { connection: ConnectionKey(key), pace });
    }
    world.commit();
    assert_eq!(world.notes.len(), 2, "nobody is behind connection 2");
    assert_eq!(told(&mut world, session), ["behind #1", "caught_up #1"]);
}

#[test]
fn nothing_is_noted_that_was_not_stored() {
    let mut world = World::with(|config| config.session_count_max = 1);
    let session = world.connect(1, hello()).session;
    world.notes.clear();
    world.log.fill_up();
    world.subscribe(1, "news", Start::Now);
    world.publish(1, 1, "news", "lost");
    world.commit();
    assert_eq!(world.closed.get(&1), Some(&EndReason::ServerBehind));
    let told = told(&mut world, session);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("lost #1 server_behind "), "{told:?}");
    let refused = |world: &mut World, key| {
        world.say_hello(key, None, hello());
        world.commit();
        std::mem::take(&mut world.notes).iter().map(line).collect::<Vec<_>>()
    };
    let later = "refused #2 server_behind the log is full, and is tried again in a moment";
    assert_eq!(refused(&mut world, 2), [later]);
    world.rest();
    let later = "refused #3 server_behind there are as many sessions as there may be";
    assert_eq!(refused(&mut world, 3), [later]);
}

#[test]
fn counts_tell_who_is_there_and_who_is_away() {
    let mut world = World::new();
    world.connect(1, hello());
    world.connect(2, hello());
    world.subscribe(2, "news", Start::Now);
    world.commit();
    world.cut(1);
    world.commit();
    let counts = world.node.counts();
    assert_eq!((counts.connected, counts.away, counts.channels), (1, 1, 1));
    world.pass(world.config.session_expiry_ms);
    assert_eq!((world.node.counts().connected, world.node.counts().away), (1, 0));
}
