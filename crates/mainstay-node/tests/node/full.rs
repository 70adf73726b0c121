//! Commits that fail.

use mainstay_node::{Answer, Call, ChannelQuery, Target};
use mainstay_wire::EndReason;
use mainstay_wire::session::{
    ClientFrame, ErrorCode, Outcome, Payload, Reply, Standing, Start, Welcome,
};

use crate::world::{World, code, done, hello, resume};

fn connected() -> (World, Welcome) {
    let mut world = World::new();
    let welcome = world.connect(1, hello());
    (world, welcome)
}

#[test]
fn what_was_not_stored_is_not_told() {
    let (mut world, welcome) = connected();
    world.subscribe(1, "news", Start::Now);
    world.publish(1, 1, "news", "stored");
    world.commit();
    world.take(1);
    world.log.fill_up();
    world.publish(1, 2, "news", "lost");
    let ticket = world.emit("other", "lost");
    world.request(1, 3);
    world.commit();
    assert!(world.take(1).is_empty());
    assert!(world.runs.is_empty());
    assert_eq!(world.closed.get(&1), Some(&EndReason::ServerBehind));
    let refused = world.answers.get(&ticket).expect("an answer").as_ref().expect_err("refused");
    assert_eq!(refused.code, ErrorCode::StoreFailed);
    world.rest();
    let resumed = world.connect(2, resume(&welcome));
    assert_eq!((resumed.standing, resumed.accepted), (Standing::Resumed, 1));
    world.publish(2, 2, "news", "again");
    world.request(2, 3);
    world.commit();
    let replies = world.replies(2);
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(world.runs, [(welcome.session, 3)]);
    let history = world.ask(Call::Channels(ChannelQuery { count_max: 9, ..Default::default() }));
    let Ok(Answer::Channels { channels: views, .. }) = history else { panic!("channels") };
    let views = views.iter().filter(|view| !view.name.is_inbox());
    let views: Vec<_> = views.map(|view| (view.name.as_str(), view.head.0)).collect();
    assert_eq!(views, [("news", 2)]);
}

#[test]
fn a_handler_runs_on_while_the_log_is_full_and_the_next_waits_for_it() {
    let (mut world, welcome) = connected();
    let session = welcome.session;
    world.request_within(1, 1, Some(10_000));
    world.commit();
    world.log.fill_up();
    world.emit("news", "lost");
    world.commit();
    world.rest();
    let resumed = world.connect(2, resume(&welcome));
    assert!(world.replies(2).is_empty(), "it still runs");
    world.request(2, 2);
    world.publish(2, 3, "news", "behind it");
    world.commit();
    assert_eq!(world.runs, [(session, 1)], "one at a time");
    world.ran(session, 1, "one");
    world.commit();
    assert_eq!(world.replies(2), [(1, done("one"))]);
    assert_eq!(world.runs, [(session, 1), (session, 2)]);
    world.ran(session, 2, "two");
    world.commit();
    assert_eq!(world.replies(2).len(), 3);
    assert_eq!(world.connect(3, resume(&resumed)).accepted, 3);
}

#[test]
fn the_deadline_of_a_handler_outlasts_a_full_log() {
    let (mut world, welcome) = connected();
    world.request_within(1, 1, Some(10_000));
    world.commit();
    world.log.fill_up();
    world.emit("news", "lost");
    world.commit();
    world.rest();
    world.connect(2, resume(&welcome));
    world.pass(10_000);
    assert_eq!(world.stops, [(welcome.session, 1, true)]);
    assert_eq!(code(&world.replies(2)[0].1), Some(ErrorCode::DeadlineExceeded));
}

#[test]
fn an_outcome_that_the_log_had_no_room_for_is_not_lost() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.commit();
    world.log.fill_up();
    world.ran(welcome.session, 1, "one");
    world.commit();
    assert!(world.replies(1).is_empty());
    world.rest();
    let resumed = world.connect(2, resume(&welcome));
    assert_eq!(world.replies(2), [(1, done("one"))]);
    world.restart();
    world.connect(3, resume(&resumed));
    assert_eq!(world.replies(3), [(1, done("one"))]);
}

#[test]
fn a_cancellation_that_was_not_stored_is_told_at_the_next_hello() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.commit();
    world.log.fill_up();
    world.frame(1, ClientFrame::Cancel { number: 1 });
    world.commit();
    assert_eq!(world.stops, [(welcome.session, 1, false)]);
    world.rest();
    world.connect(2, resume(&welcome));
    let replies = world.replies(2);
    assert_eq!(replies.len(), 1);
    assert_eq!(code(&replies[0].1), Some(ErrorCode::Cancelled));
}

#[test]
fn an_expiry_that_was_not_stored_leaves_what_its_handler_came_to() {
    let mut world = World::with(|config| config.handler_timeout_ms = 24 * 3600 * 1000);
    let welcome = world.connect(1, hello());
    world.request(1, 1);
    world.commit();
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms - 1);
    world.log.fill_up();
    world.pass(1);
    world.now_ms += 1_000;
    assert_eq!(world.stops, [(welcome.session, 1, false)]);
    assert_eq!(world.connect(2, resume(&welcome)).standing, Standing::Resumed);
    let replies = world.replies(2);
    assert_eq!(replies.len(), 1);
    assert_eq!(code(&replies[0].1), Some(ErrorCode::Cancelled), "and not indeterminate");
}

#[test]
fn a_connection_that_was_to_be_closed_is_closed_all_the_same() {
    let (mut world, welcome) = connected();
    world.log.fill_up();
    world.say_hello(2, None, resume(&welcome));
    world.commit();
    assert_eq!(world.closed.get(&1), Some(&EndReason::ServerBehind), "not superseded");
    assert_eq!(world.closed.get(&2), Some(&EndReason::ServerBehind));
    world.rest();
    let resumed = world.connect(3, resume(&welcome));
    assert_eq!(resumed.generation, 2);
    world.log.fill_up();
    world.emit("news", "lost");
    world.request(3, 9);
    world.commit();
    assert_eq!(world.closed.get(&3), Some(&EndReason::SessionViolation));
}

#[test]
fn a_command_that_went_out_is_indeterminate_and_a_reply_that_came_is_passed_on() {
    let (mut world, welcome) = connected();
    let call = |command: &str| Call::Command {
        to: welcome.session,
        command: command.to_owned(),
        payload: Payload::NULL,
        deadline_ms: 60_000,
    };
    let sent = world.call(call("sent"));
    let replied = world.call(call("replied"));
    world.commit();
    world.log.fill_up();
    let fresh = world.call(call("fresh"));
    world.frame(1, ClientFrame::Reply(Reply { number: 2, outcome: done("yes") }));
    world.commit();
    let outcome = |world: &World, ticket| match world.answers.get(&ticket) {
        Some(Ok(Answer::Outcome(outcome))) => Some(outcome.clone()),
        _ => None,
    };
    assert_eq!(outcome(&world, sent), Some(Outcome::Indeterminate));
    assert_eq!(outcome(&world, replied), Some(done("yes")));
    let refused = world.answers.get(&fresh).expect("an answer").as_ref().expect_err("refused");
    assert_eq!(refused.code, ErrorCode::StoreFailed);
}

#[test]
fn a_log_that_stays_full_is_left_alone_in_between() {
    let (mut world, _) = connected();
    world.cut(1);
    world.commit();
    world.now_ms += world.config.session_expiry_ms;
    let mut rounds = 0;
    let until_ms = world.now_ms + 10_000;
    while let Some(due_ms) = world.node.next_timeout().filter(|due_ms| *due_ms <= until_ms) {
        world.now_ms = world.now_ms.max(due_ms);
        world.log.fill_up();
        world.node.handle_timeout(world.now_ms);
        world.commit();
        rounds += 1;
        assert!(rounds <= 11, "the log is asked again and again");
    }
    assert!(rounds >= 5, "and it is asked: {rounds}");
}

#[test]
fn a_log_that_is_full_is_asked_once_a_second_however_many_come() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.commit();
    world.log.get().is_full = true;
    world.log.get().refused_count = 0;
    let (mut key, mut unread_count) = (10, 0);
    for _ in 0..500 {
        key += 1;
        world.say_hello(key, None, hello());
        let refused =
            [world.emit("news", "lost"), world.call(Call::End { session: welcome.session })];
        let read =
            world.call(Call::Channels(ChannelQuery { count_max: 9, ..ChannelQuery::default() }));
        world.commit();
        assert_eq!(world.closed.get(&key), Some(&EndReason::ServerBehind));
        for ticket in refused {
            let error = world.answers[&ticket].as_ref().expect_err("there is no room");
            assert_eq!(error.code, ErrorCode::StoreFailed);
        }
        unread_count += u64::from(world.answers[&read].is_err());
        world.now_ms += 10;
    }
    let tried = world.log.get().refused_count;
    assert!((5..=6).contains(&tried), "{tried} times in five seconds");
    assert!(unread_count <= tried, "in between reading needs no room");
    // What a handler comes to meanwhile is kept, whenever there is room again.
    world.ran(welcome.session, 1, "one");
    world.commit();
    world.log.get().is_full = false;
    world.rest();
    world.connect(2, resume(&welcome));
    assert_eq!(world.replies(2), [(1, done("one"))]);
}

#[test]
fn nothing_comes_out_after_a_fatal_failure() {
    let (mut world, welcome) = connected();
    world.log.get().is_broken = true;
    world.publish(1, 1, "news", "lost");
    let to = Target::Session(welcome.session);
    world.call(Call::Send { to, payload: Payload::NULL, key: None });
    let told = world.told.len();
    assert!(world.try_commit().is_err());
    world.log.get().is_broken = false;
    world.call(Call::Channels(ChannelQuery { count_max: 1, ..Default::default() }));
    assert!(world.try_commit().is_err(), "once is for ever");
    assert_eq!(world.told.len(), told);
    assert!(world.answers.is_empty());
}
