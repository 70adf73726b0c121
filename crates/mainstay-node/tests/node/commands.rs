use mainstay_node::{Answer, Call, Ticket};
use mainstay_wire::session::{
    ClientFrame, ErrorCode, Hello, Outcome, Payload, Reply, ServerFrame, SessionId, Welcome,
};

use crate::world::{World, code, done, hello, resume};

fn connected() -> (World, Welcome) {
    let mut world = World::with(|config| config.command_count_max = 3);
    let welcome = world.connect(1, hello());
    world.take(1);
    (world, welcome)
}

fn command(to: SessionId, deadline_ms: u64) -> Call {
    Call::Command { to, command: "show".to_owned(), payload: Payload::NULL, deadline_ms }
}

fn reply(world: &mut World, key: u64, number: u64) {
    let outcome = done("shown");
    world.frame(key, ClientFrame::Reply(Reply { number, outcome }));
    world.commit();
}

fn outcome(world: &World, ticket: Ticket) -> Option<Outcome> {
    match world.answers.get(&ticket)? {
        Ok(Answer::Outcome(outcome)) => Some(outcome.clone()),
        other => panic!("{other:?}"),
    }
}

/// Numbers of commands and of acknowledgements that a connection has heard.
fn heard(world: &mut World, key: u64) -> Vec<(&'static str, u64)> {
    let frames = world.take(key).into_iter().filter_map(|frame| match frame {
        ServerFrame::Request(request) => Some(("request", request.number)),
        ServerFrame::Ack { number } => Some(("ack", number)),
        ServerFrame::Cancel { number } => Some(("cancel", number)),
        _ => None,
    });
    frames.collect()
}

#[test]
fn a_command_is_numbered_and_its_reply_comes_back_once() {
    let (mut world, welcome) = connected();
    let first = world.call(command(welcome.session, 1_000));
    let second = world.call(command(welcome.session, 1_000));
    world.commit();
    reply(&mut world, 1, 2);
    assert_eq!((outcome(&world, first), outcome(&world, second)), (None, Some(done("shown"))));
    reply(&mut world, 1, 2);
    reply(&mut world, 1, 1);
    reply(&mut world, 1, 99);
    assert_eq!(outcome(&world, first), Some(done("shown")));
    let acks = [("ack", 0), ("ack", 0), ("ack", 2), ("ack", 2)];
    assert_eq!(heard(&mut world, 1), [&[("request", 1), ("request", 2)][..], &acks].concat());
    world.pass(60_000);
}

#[test]
fn what_the_client_has_not_accepted_is_said_again_with_what_is_left_of_its_time() {
    let (mut world, welcome) = connected();
    let away = world.call(command(welcome.session, 1_000));
    world.call(command(welcome.session, 1_000));
    world.cut(1);
    world.commit();
    world.pass(400);
    world.connect(2, Hello { accepted: 1, ..resume(&welcome) });
    let said: Vec<_> = world.frames[&2]
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Request(request) => Some((request.number, request.deadline_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(said, [(2, Some(600))]);
    reply(&mut world, 2, 1);
    assert_eq!(outcome(&world, away), Some(done("shown")));
}

#[test]
fn a_deadline_says_whether_it_may_have_run() {
    let (mut world, welcome) = connected();
    let sent = world.call(command(welcome.session, 1_000));
    world.commit();
    world.pass(500);
    world.cut(1);
    let unsent = world.call(command(welcome.session, 500));
    world.commit();
    world.pass(500);
    let codes = [sent, unsent].map(|ticket| outcome(&world, ticket).as_ref().and_then(code));
    assert_eq!(codes, [Some(ErrorCode::DeadlineExceeded), Some(ErrorCode::NeverRan)]);
    world.connect(2, resume(&welcome));
    assert_eq!(heard(&mut world, 2), [("ack", 2)], "nothing is left to say");
    reply(&mut world, 2, 1);
    assert_eq!(heard(&mut world, 2), [("ack", 2)], "a late reply is only acknowledged");
}

#[test]
fn a_client_is_told_that_its_reply_is_no_longer_wanted() {
    let (mut world, welcome) = connected();
    world.call(command(welcome.session, 1_000));
    world.commit();
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1), [("request", 1), ("cancel", 1)]);
}

#[test]
fn commands_are_bounded_and_go_nowhere_without_a_session() {
    let (mut world, welcome) = connected();
    for _ in 0..3 {
        world.call(command(welcome.session, 1_000));
    }
    world.commit();
    let refused = world.ask(command(welcome.session, 1_000)).expect_err("too many");
    assert_eq!(refused.code, ErrorCode::Busy);
    let refused = world.ask(command(SessionId::from_bytes([9; 16]), 1)).expect_err("nobody");
    assert_eq!(refused.code, ErrorCode::Unreachable);
    reply(&mut world, 1, 1);
    world.call(command(welcome.session, 1_000));
    world.commit();
    assert_eq!(heard(&mut world, 1).last(), Some(&("request", 4)));
}

#[test]
fn the_end_of_a_session_answers_whoever_waits() {
    let (mut world, welcome) = connected();
    let sent = world.call(command(welcome.session, 3_600_000));
    world.cut(1);
    let unsent = world.call(command(welcome.session, 3_600_000));
    world.commit();
    world.pass(world.config.session_expiry_ms);
    assert_eq!(outcome(&world, sent), Some(Outcome::Indeterminate));
    assert_eq!(outcome(&world, unsent).as_ref().and_then(code), Some(ErrorCode::NeverRan));
    let welcome = world.connect(2, hello());
    let sent = world.call(command(welcome.session, 3_600_000));
    world.frame(2, ClientFrame::Bye);
    world.commit();
    assert_eq!(outcome(&world, sent), Some(Outcome::Indeterminate));
    world.pass(3_600_000);
}

#[test]
fn numbers_are_not_used_again_after_a_restart() {
    let (mut world, welcome) = connected();
    world.call(command(welcome.session, 1_000));
    world.commit();
    world.restart();
    world.connect(2, Hello { accepted: 1, ..resume(&welcome) });
    assert_eq!(heard(&mut world, 2), [("ack", 1)]);
    world.call(command(welcome.session, 1_000));
    world.commit();
    assert_eq!(heard(&mut world, 2), [("request", 2)]);
}

#[test]
fn quick_replies_leave_no_timers_behind() {
    let (mut world, welcome) = connected();
    for number in 1..=100 {
        world.call(command(welcome.session, 60_000));
        world.commit();
        reply(&mut world, 1, number);
        world.request(1, number);
        world.commit();
        world.ran(welcome.session, number, "done");
        world.ack(1, number + 1, &[]);
        world.commit();
        world.pass(1);
    }
    assert!(world.node.audit() < 10, "{} timers", world.node.audit());
}

#[test]
fn a_command_that_no_message_holds_is_refused_and_never_sent() {
    let mut world = World::with(|config| config.message_bytes_max = 1_000);
    let welcome = world.connect(1, hello());
    let call = |bytes: usize, kind: fn(Vec<u8>) -> Payload| Call::Command {
        to: welcome.session,
        command: "show".to_owned(),
        payload: kind(vec![b'1'; bytes]),
        deadline_ms: 1_000,
    };
    // As bytes it is longer in JSON.
    for (bytes, kind) in
        [(1_000, Payload::from_json_bytes as fn(Vec<u8>) -> Payload), (800, Payload::binary)]
    {
        let refused = world.ask(call(bytes, kind)).expect_err("too big");
        assert_eq!(refused.code, ErrorCode::TooBig);
        assert!(refused.message.contains("1000"), "{refused}");
    }
    assert_eq!(heard(&mut world, 1), []);
    world.call(call(800, Payload::from_json_bytes));
    world.commit();
    assert_eq!(heard(&mut world, 1), [("request", 1)], "no number is lost");
}
