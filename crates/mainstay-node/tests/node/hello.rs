use mainstay_log::Log as _;
use mainstay_node::{Call, Effect, Target};
use mainstay_wire::session::{
    ClientFrame, Delivery, Hello, Payload, PresenceMode, ServerFrame, Standing, Start, Token,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::log::Peek;
use crate::world::{World, cursor, hello, resume, resume_with, standing};

#[test]
fn a_session_begins_and_goes_on() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    assert_eq!(standing(&first), (Standing::New, 1, 0));
    world.publish(1, 1, "news", "a");
    world.cut(1);
    let second = world.connect(2, resume(&first));
    assert_eq!(standing(&second), (Standing::Resumed, 2, 1));
    assert_eq!(second.session, first.session);
    assert!(second.token != first.token);
}

#[test]
fn a_session_goes_on_after_a_restart() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.publish(1, 1, "news", "a");
    world.commit();
    world.restart();
    let second = world.connect(2, resume(&first));
    assert_eq!(standing(&second), (Standing::Resumed, 2, 1));
    assert_eq!(world.replies(2).len(), 1, "its outcome comes");
}

#[test]
fn an_expired_session_is_told_what_was_accepted() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.publish(1, 1, "news", "a");
    world.publish(1, 2, "news", "b");
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    let second = world.connect(2, resume(&first));
    assert_eq!(standing(&second), (Standing::Expired, 1, 2));
    assert_ne!(second.session, first.session);
    world.restart();
    let third = world.connect(3, resume(&first));
    assert_eq!(standing(&third), (Standing::Expired, 1, 2), "as often as it asks");
}

#[test]
fn a_tombstone_is_forgotten_in_the_end() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms + world.config.tombstone_expiry_ms);
    assert_eq!(world.connect(2, resume(&first)).standing, Standing::Unknown);
}

#[test]
fn there_are_as_many_tombstones_as_there_may_be_sessions_and_the_oldest_go() {
    let mut world = World::with(|config| config.session_count_max = 3);
    let mut welcomes = Vec::new();
    for key in 1..=5 {
        welcomes.push(world.connect(key, hello()));
        world.cut(key);
        world.commit();
        world.pass(world.config.session_expiry_ms);
    }
    let standings = [0, 1, 2, 3, 4].map(|index: usize| {
        let key = 10 + index as u64;
        let standing = world.connect(key, resume(&welcomes[index])).standing;
        world.frame(key, ClientFrame::Bye);
        world.commit();
        standing
    });
    use Standing::{Expired, Unknown};
    assert_eq!(standings, [Unknown, Unknown, Expired, Expired, Expired]);
}

#[test]
fn an_unknown_session_begins_anew() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    let mut other = World::with(|config| config.server = "other".to_owned());
    let second = other.connect(1, Hello { unanswered_from: 9, ..resume(&first) });
    assert_eq!(standing(&second), (Standing::Unknown, 1, 0));
}

#[test]
fn a_wrong_token_and_another_principal_are_refused_alike() {
    let mut world = World::new();
    let first = world.connect_as(1, Some("ann"), hello());
    world.say_hello(2, Some("ann"), resume_with(first.session, &Token::from_bytes([0; 32])));
    world.say_hello(3, Some("bob"), resume(&first));
    world.say_hello(4, None, resume(&first));
    world.commit();
    for key in 2..=4 {
        assert_eq!(world.closed.get(&key), Some(&EndReason::ResumeRefused));
        assert!(world.welcome(key).is_none());
    }
    assert!(!world.closed.contains_key(&1), "the owner is not disturbed");
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    world.say_hello(5, Some("bob"), resume(&first));
    world.commit();
    assert_eq!(world.closed.get(&5), Some(&EndReason::ResumeRefused), "nor for a tombstone");
}

#[test]
fn the_token_before_is_good_until_the_next_is_proven() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    let second = world.connect(2, resume(&first));
    let third = world.connect(3, resume(&first));
    assert_eq!(standing(&third), (Standing::Resumed, 3, 0), "the second welcome was lost");
    world.say_hello(4, None, resume(&second));
    world.commit();
    assert_eq!(world.closed.get(&4), Some(&EndReason::ResumeRefused), "that one is spent");
    world.ack(3, 1, &[]);
    world.commit();
    world.restart();
    world.say_hello(5, None, resume(&first));
    world.commit();
    assert_eq!(world.closed.get(&5), Some(&EndReason::ResumeRefused), "also after a restart");
    assert_eq!(world.connect(6, resume(&third)).standing, Standing::Resumed);
}

#[test]
fn a_takeover_ends_the_connection_before_first() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.subscribe(1, "news", Start::Now);
    world.commit();
    world.say_hello(2, None, resume(&first));
    world.emit("news", "late");
    world.publish(1, 1, "news", "not heard");
    let effects = world.try_commit().expect("stored");
    let close = effects.iter().position(|effect| {
        matches!(effect, Effect::Close { reason: EndReason::Superseded, connection, .. }
            if connection.0 == 1)
    });
    let welcome = effects.iter().position(|effect| {
        matches!(effect, Effect::Send { frame: ServerFrame::Welcome(_), connection }
            if connection.0 == 2)
    });
    assert!(close.is_some() && close < welcome);
    assert_eq!(world.events(1, "news"), Vec::<u64>::new());
    assert!(world.replies(1).is_empty(), "what it says later is not heard");
    world.cut(1);
    world.commit();
    world.publish(2, 1, "news", "heard");
    world.commit();
    assert_eq!(world.replies(2).len(), 1, "the end of the old one does not touch the new one");
}

#[test]
fn sessions_are_bounded_in_all_and_for_each_principal() {
    let mut world = World::with(|config| {
        config.session_count_max = 3;
        config.sessions_per_principal_max = 2;
    });
    let first = world.connect_as(1, Some("ann"), hello());
    world.connect_as(2, Some("ann"), hello());
    world.say_hello(3, Some("ann"), hello());
    world.commit();
    assert_eq!(world.closed.get(&3), Some(&EndReason::ServerBehind));
    world.connect_as(4, Some("bob"), hello());
    world.say_hello(5, None, hello());
    world.commit();
    assert_eq!(world.closed.get(&5), Some(&EndReason::ServerBehind));
    let resumed = world.connect_as(6, Some("ann"), resume(&first));
    assert_eq!(resumed.standing, Standing::Resumed, "who has a session keeps it");
    world.frame(6, ClientFrame::Bye);
    world.connect_as(7, Some("ann"), hello());
    world.ask(Call::End { session: world.welcome(7).expect("one").session }).expect("ends");
    world.connect_as(8, Some("ann"), hello());
}

#[test]
fn a_client_that_knows_more_than_the_store_gets_a_session_of_its_own() {
    let ahead = |unanswered_from, accepted| Hello { unanswered_from, accepted, ..hello() };
    for ahead in [ahead(2, 0), ahead(1, 1)] {
        let mut world = World::new();
        let first = world.connect(1, hello());
        let resume =
            || Hello { resume: Some((first.session, first.token.clone())), ..ahead.clone() };
        let second = world.connect(2, resume());
        assert_eq!(standing(&second), (Standing::Unknown, 1, 0));
        assert_ne!(second.session, first.session);
        assert_eq!(world.closed.get(&1), Some(&EndReason::Superseded));
        assert_eq!(world.node.counts().away, 0, "nobody comes back to the other");
        // Its numbers begin anew, and none is taken for answered.
        world.publish(2, 1, "news", "a");
        world.commit();
        assert_eq!(world.replies(2).len(), 1);
        // A session that has expired is not the one that the client knows either.
        let mut world = World::new();
        let first = world.connect(1, hello());
        world.cut(1);
        world.commit();
        world.pass(world.config.session_expiry_ms);
        let resume = Hello { resume: Some((first.session, first.token.clone())), ..ahead.clone() };
        let second = world.connect(2, resume);
        assert_eq!(standing(&second), (Standing::Unknown, 1, 0));
    }
}

#[test]
fn a_stranger_who_claims_to_know_more_ends_nobodys_session() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    let guessed = resume_with(first.session, &Token::from_bytes([9; 32]));
    world.say_hello(2, None, Hello { unanswered_from: 2, ..guessed });
    world.commit();
    assert_eq!(world.closed.get(&2), Some(&EndReason::ResumeRefused));
    assert!(!world.closed.contains_key(&1));
}

#[test]
fn a_hello_with_more_cursors_than_there_may_be_is_a_violation() {
    let mut world = World::new();
    let said = world.config.subscription_count_max as u64 + 3;
    let epoch = mainstay_wire::session::Epoch(1);
    let cursors = (0..said).map(|index| cursor(&format!("c{index}"), epoch, 0)).collect();
    world.say_hello(4, None, Hello { cursors, ..hello() });
    world.commit();
    assert_eq!(world.closed.get(&4), Some(&EndReason::SessionViolation));
}

#[test]
fn bye_ends_the_session() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.frame(1, ClientFrame::Bye);
    world.commit();
    assert_eq!(world.closed.get(&1), Some(&EndReason::SessionEnded));
    assert_eq!(world.connect(2, resume(&first)).standing, Standing::Unknown);
}

#[test]
fn a_client_that_reconnects_all_day_leaves_no_timers_behind() {
    let mut world = World::new();
    let mut welcome = world.connect(1, hello());
    for key in 2..500 {
        let next = world.connect(key, resume(&welcome));
        assert_eq!(next.standing, Standing::Resumed);
        welcome = next;
        world.cut(key);
        world.commit();
        world.pass(900);
    }
    assert!(world.node.audit() < 10, "{} timers", world.node.audit());
}

#[test]
fn what_is_over_leaves_no_timers_behind() {
    let mut world = World::with(|config| config.session_count_max = 3);
    for key in (0..100).map(|round| round * 3) {
        let welcome = world.connect(key, hello());
        let session = welcome.session;
        world.subscribe_with(key, "room", Start::Now, Delivery::Every, PresenceMode::Join);
        world.commit();
        world.cut(key);
        let welcome = world.connect(key + 1, resume(&welcome));
        world.request(key + 1, 1);
        let (command, payload) = ("show".to_owned(), Payload::NULL);
        world.call(Call::Command { to: session, command, payload, deadline_ms: 3_600_000 });
        let to = Target::Session(session);
        world.ask(Call::Send { to, payload: Payload::NULL, key: None }).expect("sent");
        assert_eq!(world.connect(key + 2, resume(&welcome)).standing, Standing::Resumed);
        world.frame(key + 2, ClientFrame::Bye);
        world.commit();
        assert!(world.node.audit() <= 3, "{} timers", world.node.audit());
    }
    // Those that expire are remembered, as many as there may be.
    for key in 1_000..1_100 {
        world.connect(key, hello());
        world.cut(key);
        world.commit();
        world.pass(world.config.session_expiry_ms);
    }
    assert!(world.node.audit() <= 5, "{} timers", world.node.audit());
}

#[test]
fn everybody_is_told_of_a_drain() {
    let mut world = World::new();
    world.connect(1, hello());
    world.handle(mainstay_node::Input::Drain { window_ms: 500 });
    world.commit();
    let told = world.take(1);
    assert!(matches!(told.last(), Some(ServerFrame::Goaway(goaway)) if goaway.window_ms == 500));
}

#[test]
fn a_session_whose_record_is_damaged_is_given_up_and_others_go_on() {
    let mut world = World::new();
    let (lost, kept) = (world.connect(1, hello()), world.connect(2, hello()));
    for session in [lost.session, kept.session] {
        let (to, payload) = (Target::Session(session), Payload::NULL);
        world.ask(Call::Send { to, payload, key: None }).expect("sent");
    }
    world.request(1, 1);
    world.commit();
    world.ran(lost.session, 1, "stored");
    world.commit();
    world.log.get().damaged_session = Some(lost.session);
    world.restart();
    world.commit();
    world.log.get().damaged_session = None;
    assert!(world.log.get().memory.session(lost.session).expect("read").is_none());
    assert_eq!(world.log.get().memory_replies(), 0);
    let inbox = |session| ChannelName::session_inbox(session).to_string();
    assert_eq!(world.log.get().memory.names(), [inbox(kept.session)]);
    let unanswered = Hello { unanswered_from: 1, ..resume(&lost) };
    assert_eq!(standing(&world.connect(3, unanswered)), (Standing::Unknown, 1, 0));
    assert_eq!(world.connect(4, resume(&kept)).standing, Standing::Resumed);
    assert_eq!(world.events(4, &inbox(kept.session)), [1]);
}
