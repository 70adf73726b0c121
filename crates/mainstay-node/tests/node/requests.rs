use mainstay_node::{Call, ConnectionKey, Input};
use mainstay_wire::EndReason;
use mainstay_wire::session::{
    ClientFrame, Encoding, ErrorCode, Failure, Hello, Offset, Outcome, Payload, Reply, Welcome,
};

use crate::world::{World, code, done, hello, resume};

fn connected() -> (World, Welcome) {
    let mut world = World::with(|config| {
        config.request_count_max = 4;
        config.request_bytes_max = 100;
    });
    let welcome = world.connect(1, hello());
    (world, welcome)
}

fn offset(outcome: &Outcome) -> Option<Offset> {
    match outcome {
        Outcome::Published { offset, .. } => Some(*offset),
        _ => None,
    }
}

#[test]
fn handlers_of_a_session_run_one_at_a_time_and_in_order() {
    let (mut world, welcome) = connected();
    let session = welcome.session;
    for number in 1..=3 {
        world.request(1, number);
    }
    world.commit();
    assert_eq!(world.runs, [(session, 1)]);
    world.ran(session, 1, "one");
    world.commit();
    assert_eq!(world.runs, [(session, 1), (session, 2)]);
    assert_eq!(world.replies(1), [(1, done("one"))]);
    world.ran(session, 2, "two");
    world.ran(session, 3, "early");
    world.commit();
    assert_eq!(world.runs.len(), 3);
    assert_eq!(world.replies(1).len(), 3);
}

#[test]
fn a_publish_waits_behind_a_handler() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.publish(1, 2, "news", "a");
    world.commit();
    assert!(world.replies(1).is_empty());
    world.ran(welcome.session, 1, "one");
    world.commit();
    let replies = world.replies(1);
    assert_eq!((replies[0].0, offset(&replies[1].1)), (1, Some(Offset(1))));
}

#[test]
fn a_number_that_comes_again_gets_the_stored_outcome() {
    let (mut world, welcome) = connected();
    world.publish(1, 1, "news", "a");
    world.publish(1, 1, "news", "in the same batch");
    world.commit();
    world.publish(1, 1, "news", "in another");
    world.commit();
    let replies = world.replies(1);
    assert_eq!(replies.len(), 2, "one in each batch");
    assert_eq!(replies[0], replies[1]);
    world.ack(1, 2, &[]);
    world.publish(1, 1, "news", "forgotten");
    world.commit();
    assert_eq!(world.replies(1).len(), 2);
    world.request(1, 2);
    world.commit();
    world.request(1, 2);
    world.commit();
    assert_eq!(world.runs, [(welcome.session, 2)]);
    assert_eq!(world.replies(1).len(), 2, "it comes when the handler is done");
}

#[test]
fn outcomes_are_bounded_in_bytes_and_what_is_given_up_never_runs_again() {
    let mut world = World::with(|config| config.outcome_bytes_max = 1_000);
    let welcome = world.connect(1, hello());
    let long = "x".repeat(400);
    for number in 1..=4 {
        world.request(1, number);
        world.commit();
        world.ran(welcome.session, number, &long);
        world.commit();
    }
    let told = world.replies(1);
    assert!(told.iter().all(|(_, outcome)| *outcome == done(&long)), "who is there hears all");
    world.request(1, 1);
    world.commit();
    assert_eq!(world.replies(1).last(), Some(&(1, Outcome::Indeterminate)));
    assert_eq!(world.runs.len(), 4);
    let kept = [Outcome::Indeterminate, Outcome::Indeterminate, done(&long), done(&long)];
    let kept: Vec<_> = (1..).zip(kept).collect();
    let welcome = world.connect(2, resume(&welcome));
    assert_eq!(world.replies(2), kept);
    world.restart();
    let welcome = world.connect(3, resume(&welcome));
    assert_eq!(world.replies(3), kept);
    // What is acknowledged makes room.
    world.ack(3, 4, &[]);
    world.request(3, 5);
    world.commit();
    world.ran(welcome.session, 5, &long);
    world.commit();
    world.connect(4, resume(&welcome));
    assert_eq!(world.replies(4), [(4, done(&long)), (5, done(&long))]);
}

#[test]
fn a_number_that_comes_again_costs_one_reply_for_each_batch() {
    let (mut world, _) = connected();
    for number in 1..=3 {
        world.publish(1, number, "news", "a");
    }
    world.commit();
    let before = world.log.get().replies_count;
    (0..50).for_each(|_| world.publish(1, 2, "news", "a"));
    world.commit();
    assert_eq!(world.log.get().replies_count, before);
    assert_eq!(world.replies(1).len(), 4);
}

#[test]
fn a_hole_and_too_much_end_the_connection_and_not_the_session() {
    for (violate, runs) in [
        ((|world: &mut World| world.request(1, 3)) as fn(&mut World), 1),
        (|world| (2..=5).for_each(|number| world.request(1, number)), 1),
        (|world| world.publish(1, 2, "news", &"x".repeat(200)), 1),
        (|world| world.ack(1, 2, &[]), 1),
    ] {
        let (mut world, welcome) = connected();
        world.request(1, 1);
        world.commit();
        violate(&mut world);
        world.commit();
        assert_eq!(world.closed.get(&1), Some(&EndReason::SessionViolation));
        assert_eq!(world.runs.len(), runs);
        let resumed = world.connect(2, resume(&welcome));
        assert_eq!(resumed.accepted, 1, "what waited is sent again");
        world.ran(welcome.session, 1, "it ran on");
        world.request(2, 2);
        world.commit();
        assert_eq!(world.replies(2), [(1, done("it ran on"))]);
        assert_eq!(world.runs.len(), 2);
    }
}

#[test]
fn outcomes_that_nobody_acknowledges_are_bounded() {
    let (mut world, _) = connected();
    (1..=69).for_each(|number| world.publish(1, number, "news", "a"));
    world.commit();
    assert_eq!(world.closed.get(&1), Some(&EndReason::SessionViolation));
    assert_eq!(world.log.get().memory_replies(), 68);
}

#[test]
fn a_cancelled_handler_is_stopped_and_a_late_outcome_is_not_heard() {
    let (mut world, welcome) = connected();
    let session = welcome.session;
    world.request(1, 1);
    world.request(1, 2);
    world.request(1, 3);
    world.commit();
    world.frame(1, ClientFrame::Cancel { number: 2 });
    world.frame(1, ClientFrame::Cancel { number: 1 });
    world.commit();
    assert_eq!(world.stops, [(session, 1, false)]);
    assert_eq!(world.runs, [(session, 1), (session, 3)], "the second was taken from the queue");
    world.ran(session, 1, "late");
    world.commit();
    let codes: Vec<_> = world.replies(1).iter().map(|(n, o)| (*n, code(o))).collect();
    let cancelled = Some(ErrorCode::Cancelled);
    assert_eq!(codes, [(1, cancelled), (2, cancelled)]);
    world.frame(1, ClientFrame::Cancel { number: 1 });
    world.frame(1, ClientFrame::Cancel { number: u64::MAX });
    world.commit();
    assert_eq!(world.replies(1).len(), 2, "an outcome stays");
}

#[test]
fn deadlines_hold_for_what_runs_and_for_what_waits() {
    let (mut world, welcome) = connected();
    let session = welcome.session;
    world.request_within(1, 1, Some(100));
    world.request_within(1, 2, Some(50));
    world.request_within(1, 3, None);
    world.commit();
    world.pass(99);
    assert!(world.stops.is_empty());
    world.pass(1);
    assert_eq!(world.stops, [(session, 1, true)]);
    let codes: Vec<_> = world.replies(1).iter().map(|(n, o)| (*n, code(o))).collect();
    let late = Some(ErrorCode::DeadlineExceeded);
    assert_eq!(codes, [(1, late), (2, late)]);
    assert_eq!(world.runs, [(session, 1), (session, 3)]);
    world.pass(world.config.handler_timeout_ms);
    let stops = [(session, 1, true), (session, 3, true)];
    assert_eq!(world.stops, stops, "the server has a limit of its own");
}

#[test]
fn a_handler_ends_with_its_session() {
    let (mut world, welcome) = connected();
    world.request_within(1, 1, Some(100));
    world.frame(1, ClientFrame::Bye);
    world.commit();
    assert_eq!(world.stops, [(welcome.session, 1, false)]);
    world.ran(welcome.session, 1, "late");
    world.commit();
}

#[test]
fn what_cannot_be_acted_on_takes_its_number() {
    let (mut world, welcome) = connected();
    let failure = Failure { code: ErrorCode::InvalidChannel, message: "no".to_owned() };
    world.request(1, 1);
    world.handle(Input::Unfit { connection: ConnectionKey(1), number: 2, failure });
    world.publish(1, 3, "news", "a");
    world.commit();
    assert!(world.replies(1).is_empty(), "in its turn");
    world.ran(welcome.session, 1, "one");
    world.commit();
    let replies = world.replies(1);
    assert_eq!(code(&replies[1].1), Some(ErrorCode::InvalidChannel));
    assert!(offset(&replies[2].1).is_some());
}

#[test]
fn a_handler_lost_with_its_server_is_indeterminate_once() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.commit();
    world.restart();
    world.ran(welcome.session, 1, "of another process");
    world.commit();
    let resumed = world.connect(2, resume(&welcome));
    assert_eq!(resumed.accepted, 1);
    let first = world.replies(2);
    assert!(first.len() == 1 && first[0].0 == 1, "{first:?}");
    world.connect(3, resume(&resumed));
    assert_eq!(world.replies(3), first, "what was said once stays so");
    world.ack(3, 2, &[]);
    world.request(3, 2);
    world.commit();
    assert_eq!(world.runs, [(welcome.session, 2)]);
    assert_eq!(world.replies(3).len(), 1);
}

#[test]
fn outcomes_come_again_until_they_are_acknowledged() {
    let (mut world, welcome) = connected();
    for number in 1..=3 {
        world.publish(1, number, "news", "a");
    }
    world.commit();
    let said = world.replies(1);
    world.restart();
    let second = world.connect(2, Hello { unanswered_from: 2, ..resume(&welcome) });
    assert_eq!(world.replies(2), said[1..]);
    world.ack(2, 4, &[]);
    world.commit();
    assert_eq!(world.log.get().memory_replies(), 0);
    world.connect(3, Hello { unanswered_from: 4, ..resume(&second) });
    assert!(world.replies(3).is_empty());
}

#[test]
fn an_outcome_while_the_client_is_away_waits() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.cut(1);
    world.commit();
    world.ran(welcome.session, 1, "one");
    world.commit();
    world.connect(2, resume(&welcome));
    assert_eq!(world.replies(2), [(1, done("one"))]);
}

#[test]
fn what_waits_is_forgotten_at_a_takeover_and_sent_again() {
    let (mut world, welcome) = connected();
    world.request(1, 1);
    world.request(1, 2);
    world.commit();
    assert_eq!(world.connect(2, resume(&welcome)).accepted, 1);
    world.ran(welcome.session, 1, "one");
    world.commit();
    assert_eq!(world.runs.len(), 1);
    world.request(2, 2);
    world.commit();
    assert_eq!(world.runs.len(), 2);
}

#[test]
fn a_damaged_outcome_is_indeterminate_and_takes_nothing_with_it() {
    let (mut world, welcome) = connected();
    (1..=3).for_each(|number| world.publish(1, number, "news", "a"));
    world.commit();
    let said = world.replies(1);
    world.log.get().damaged_replies.insert(2);
    world.restart();
    world.connect(2, resume(&welcome));
    let expected = [said[0].clone(), (2, Outcome::Indeterminate), said[2].clone()];
    assert_eq!(world.replies(2), expected);
    world.publish(2, 2, "news", "again");
    world.commit();
    assert_eq!(world.replies(2).last(), Some(&expected[1]));
}

#[test]
fn a_publish_to_an_inbox_is_not_permitted() {
    let (mut world, welcome) = connected();
    let inbox = mainstay_wire::ChannelName::session_inbox(welcome.session);
    let payload = mainstay_wire::session::Payload::NULL;
    let publish = mainstay_wire::session::Publish { number: 1, channel: inbox, payload };
    world.frame(1, ClientFrame::Publish(publish));
    world.commit();
    assert_eq!(code(&world.replies(1)[0].1), Some(ErrorCode::NotPermitted));
    assert!(world.ask(Call::Session { session: welcome.session }).is_ok());
}

fn longest_reply(number: u64, outcome: &Outcome) -> usize {
    let reply = Reply { number, outcome: outcome.clone() };
    Encoding::longest(|encoding| encoding.reply_bytes(&reply))
}

#[test]
fn what_no_message_holds_is_stored_as_too_big_and_told_so_at_each_resume() {
    let mut world = World::with(|config| config.message_bytes_max = 1_000);
    let welcome = world.connect(1, hello());
    let refusal = |bytes| {
        let failure = Failure { code: ErrorCode::HandlerFailed, message: "\"".repeat(bytes) };
        Outcome::Failed(failure)
    };
    // Of each kind the longest that fits, and one that is a byte or the least possible over it.
    let kinds: [&dyn Fn(usize) -> Outcome; 3] = [
        &|bytes| done(&"x".repeat(bytes)),
        &|bytes| Outcome::Done(Payload::binary(vec![7; bytes])),
        &refusal,
    ];
    let mut expected = Vec::new();
    for kind in kinds {
        let fits = |bytes: &usize| longest_reply(1, &kind(*bytes)) <= 1_000;
        let most = (1..1_000).rev().find(fits).expect("something fits");
        for (bytes, is_kept) in [(most, true), (most + 1, false), (most + 5_000, false)] {
            let number = expected.len() as u64 + 1;
            world.request(1, number);
            world.commit();
            let outcome = kind(bytes);
            let sizes = [longest_reply(number, &outcome).to_string(), "1000".to_owned()];
            world.handle(Input::Ran { session: welcome.session, number, outcome: outcome.clone() });
            world.commit();
            expected.push((is_kept.then_some(outcome), sizes));
        }
    }
    let check = |world: &World, key| {
        let replies = world.replies(key);
        assert_eq!(replies.len(), expected.len());
        for ((number, outcome), (kept, sizes)) in replies.iter().zip(&expected) {
            assert!(longest_reply(*number, outcome) <= 1_000, "{outcome:?}");
            match (outcome, kept) {
                (outcome, Some(kept)) => assert_eq!(outcome, kept),
                (Outcome::Failed(failure), None) => {
                    assert_eq!(failure.code, ErrorCode::TooBig);
                    let message = &failure.message;
                    assert!(sizes.iter().all(|size| message.contains(size)), "{sizes:?} {message}");
                }
                other => panic!("{other:?}"),
            }
        }
    };
    check(&world, 1);
    world.connect(2, resume(&welcome));
    check(&world, 2);
    let second = world.welcome(2).expect("a welcome");
    world.restart();
    world.connect(3, resume(&second));
    check(&world, 3);
}
