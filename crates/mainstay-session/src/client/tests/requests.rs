//! Requests and their outcomes, over connections and sessions.

use mainstay_wire::session::{
    ClientFrame, Encoding, Outcome, Payload, Reply, Request, ServerFrame, Standing,
};

use super::support::{Client, accepted, code_of, done, name, reply, welcome};
use crate::client::{ClientConfig, ClientEvent, ClientSession, CloseReason, Output, Refused};
use crate::client::{RequestKey, StateChange};

#[test]
fn a_request_is_kept_before_it_is_sent_and_until_its_outcome() {
    let mut client = Client::open();
    let key = client.request("a");
    let order: Vec<_> = client
        .outputs
        .iter()
        .map(|output| match output {
            Output::Persist(StateChange::Requested { .. }) => "kept",
            Output::Persist(StateChange::Numbered { .. }) => "numbered",
            Output::Transmit(ClientFrame::Request(_)) => "sent",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, ["kept", "numbered", "sent"]);
    assert!(client.disk.requests.contains_key(&key));
    client.outputs.clear();
    client.hears(reply(1));
    assert_eq!(client.outcomes(), [(key, done(1))]);
    assert!(client.disk.is_settled());
}

#[test]
fn requests_made_without_a_connection_go_out_in_order_after_the_welcome() {
    let mut client = Client::new();
    client.request("a");
    client.session.publish(1, name("news"), Payload::NULL).expect("room");
    client.request("c");
    assert_eq!(client.words(), [""; 0]);
    client.hello();
    assert_eq!(client.words(), [""; 0], "nothing but the hello before the welcome");
    client.hears(ServerFrame::Welcome(Box::new(welcome(Standing::New))));
    assert_eq!(client.words(), ["request 1 a", "publish 2 news", "request 3 c"]);
}

#[test]
fn after_a_resume_what_was_not_accepted_is_sent_again_in_order() {
    let mut client = Client::open();
    for command in ["a", "b", "c", "d"] {
        client.request(command);
    }
    client.hears(reply(2));
    client.lose();
    client.request("e");
    let hello = client.connect(accepted(Standing::Resumed, 2));
    assert_eq!(hello.unanswered_from, 1, "1 has no outcome yet");
    assert_eq!(client.words(), ["request 3 c", "request 4 d", "request 5 e"]);
    for number in [1, 3, 4, 5] {
        client.hears(reply(number));
    }
    let expected = [1, 3, 4, 5].map(|n| (RequestKey(n), done(n)));
    assert_eq!(client.outcomes(), expected);
}

#[test]
fn an_expired_session_leaves_the_accepted_in_doubt_and_sends_the_rest_anew() {
    let mut client = Client::open();
    let keys = ["a", "b", "c"].map(|command| client.request(command));
    client.lose();
    let waiting = client.request("d");
    client.connect(accepted(Standing::Expired, 2));
    let outputs = client.outputs.clone();
    assert_eq!(client.words(), ["request 1 c", "request 2 d"], "under new numbers");
    client.outputs = outputs;
    let outcomes = client.outcomes();
    assert_eq!(outcomes.len(), 2);
    for (outcome, key) in outcomes.iter().zip(keys) {
        assert_eq!((outcome.0, code_of(&outcome.1)), (key, "indeterminate"));
    }
    client.hears(reply(1));
    client.hears(reply(2));
    assert_eq!(client.outcomes(), [(keys[2], done(1)), (waiting, done(2))], "keys are stable");
}

#[test]
fn an_unknown_session_leaves_everything_sent_in_doubt() {
    let mut client = Client::open();
    let sent = client.request("a");
    client.lose();
    let waiting = client.request("b");
    client.connect(welcome(Standing::Unknown));
    let outcomes = client.outcomes();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (sent, "indeterminate"));
    client.hears(reply(1));
    assert_eq!(client.outcomes(), [(waiting, done(1))]);
}

#[test]
fn what_the_old_session_never_had_is_not_in_doubt_when_the_next_is_unknown() {
    let mut client = Client::open();
    let key = client.request("a");
    client.lose();
    // The server says that 1 did not arrive, and this connection takes it no further.
    client.hello();
    client
        .session
        .handle_frame(client.now_ms, ServerFrame::Welcome(Box::new(welcome(Standing::Resumed))));
    client.session.handle_closed(client.now_ms, None);
    client.drain();
    client.connect(welcome(Standing::Unknown));
    assert_eq!(client.words(), ["request 1 a"]);
    client.hears(reply(1));
    assert_eq!(client.outcomes(), [(key, done(1))]);
}

#[test]
fn an_outcome_that_comes_twice_is_given_once() {
    let mut client = Client::open();
    let key = client.request("a");
    client.hears(reply(1));
    client.hears(reply(1));
    assert_eq!(client.outcomes(), [(key, done(1))]);
    assert_eq!(client.session.counters().outcome_duplicate_count, 1);
    assert!(client.session.is_open());
}

#[test]
fn an_outcome_of_a_request_that_was_never_made_is_a_fault() {
    let mut client = Client::open();
    client.hears(reply(1));
    assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))));
    assert!(!client.session.is_open());
}

#[test]
fn no_more_requests_are_sent_than_the_server_allows() {
    let mut client = Client::new();
    let mut narrow = welcome(Standing::New);
    narrow.limits.request_count_max = 2;
    client.connect(narrow);
    for command in ["a", "b", "c", "d"] {
        client.request(command);
    }
    assert_eq!(client.words(), ["request 1 a", "request 2 b"]);
    client.hears(reply(2));
    assert_eq!(client.words(), ["request 3 c"]);
}

#[test]
fn no_more_bytes_are_sent_than_a_server_lets_wait() {
    let config = ClientConfig { flight_bytes_max: 1000, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, None);
    client.connect(welcome(Standing::New));
    client.words();
    for bytes in [2000, 600, 300, 200] {
        let payload = Payload::binary(vec![0; bytes]);
        client.session.request(client.now_ms, "a", payload, None).expect("room");
    }
    client.drain();
    assert_eq!(client.words(), ["request 1 a"], "one alone goes out whatever its size");
    client.hears(reply(1));
    assert_eq!(client.words(), ["request 2 a", "request 3 a"]);
    client.hears(reply(2));
    assert_eq!(client.words(), ["request 4 a"]);
}

#[test]
fn more_requests_than_the_outbox_holds_are_refused() {
    let config = ClientConfig { outbox_count_max: 2, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, None);
    client.request("a");
    client.request("b");
    let refused = client.session.request(1, "c", Payload::NULL, None);
    assert_eq!(refused, Err(Refused::OutboxFull));
    let config = ClientConfig { outbox_bytes_max: 10, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, None);
    client.request("a");
    let refused = client.session.request(1, "b", Payload::binary(vec![0; 8]), None);
    assert_eq!(refused, Err(Refused::OutboxFull));
    client.request("1");
}

#[test]
fn a_request_over_the_servers_limit_is_never_sent() {
    let mut client = Client::new();
    let big = Payload::binary(vec![0; 60_000]);
    let key = client.session.request(1, "big", big.clone(), None).expect("the limit is unknown");
    client.request("small");
    client.connect(welcome(Standing::New));
    let outputs = client.outputs.clone();
    assert_eq!(client.words(), ["request 1 small"]);
    client.outputs = outputs;
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (key, "too_big"));
    let refused = client.session.request(1, "big", big, None);
    assert!(matches!(refused, Err(Refused::TooBig { bytes_max: 65_536, .. })), "{refused:?}");
}

#[test]
fn what_is_not_sent_by_its_deadline_never_runs() {
    let mut client = Client::new();
    let at_ms = client.now_ms + 500;
    let key = client.session.request(client.now_ms, "a", Payload::NULL, Some(at_ms)).expect("room");
    client.drain();
    assert_eq!(client.session.next_timeout(), Some(at_ms));
    client.wait(500);
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (key, "never_ran"));
    client.connect(welcome(Standing::New));
    assert_eq!(client.words(), [""; 0]);
}

#[test]
fn what_never_runs_is_safe_before_it_is_said_and_said_again_by_the_next_life() {
    let mut client = Client::new();
    let keys = ["a", "b"].map(|command| client.request(command));
    client.session.close(client.now_ms);
    client.outputs.clear();
    let mut saved = client.disk.clone();
    client.drain();
    let is_telling = |output: &Output| matches!(output, Output::Event(ClientEvent::GivenUp { .. }));
    let first = client.outputs.iter().position(is_telling).expect("it is told");
    // One write to the disk serves them all.
    assert!(client.outputs[first..first + keys.len()].iter().all(is_telling));
    assert!(client.outputs[first].needs_safety());
    for output in &client.outputs[..first] {
        if let Output::Persist(change) = output {
            saved.apply(change);
        }
    }
    // The process was killed when the application had been told and nothing more was safe.
    let mut next = Client::with(ClientConfig::new([7; 32]), Some(saved));
    let outcomes = next.outcomes();
    let outcomes: Vec<_> = outcomes.iter().map(|(key, outcome)| (*key, code_of(outcome))).collect();
    assert_eq!(outcomes, keys.map(|key| (key, "never_ran")));
    next.connect(welcome(Standing::New));
    assert_eq!(next.words(), [""; 0]);
    assert!(next.disk.is_settled());
}

#[test]
fn the_rest_of_the_deadline_goes_with_the_request() {
    let mut client = Client::new();
    let at_ms = client.now_ms + 500;
    client.session.request(client.now_ms, "a", Payload::NULL, Some(at_ms)).expect("room");
    client.wait(200);
    client.connect(welcome(Standing::New));
    let frames = client.frames();
    assert!(
        matches!(&frames[..], [ClientFrame::Request(Request { deadline_ms: Some(300), .. })]),
        "{frames:?}"
    );
    client.wait(10_000);
    assert_eq!(client.outcomes(), [], "once sent, it is the server's to say");
}

#[test]
fn a_request_that_was_not_sent_is_cancelled_at_once_and_leaves_no_hole() {
    let mut client = Client::new();
    let key = client.request("a");
    client.request("b");
    client.session.cancel(client.now_ms, key);
    client.drain();
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (key, "cancelled"));
    client.connect(welcome(Standing::New));
    assert_eq!(client.words(), ["request 1 b"]);
}

#[test]
fn a_request_that_was_sent_is_cancelled_at_the_server() {
    let mut client = Client::open();
    let keys = ["a", "b"].map(|command| client.request(command));
    client.words();
    client.session.cancel(client.now_ms, keys[0]);
    client.session.cancel(client.now_ms, keys[0]);
    client.drain();
    assert_eq!(client.words(), ["cancel 1"], "once");
    client.lose();
    client.session.cancel(client.now_ms, keys[1]);
    client.connect(accepted(Standing::Resumed, 1));
    let outputs = client.outputs.clone();
    assert_eq!(client.words(), ["cancel 1"], "the cancel may have been lost");
    client.outputs = outputs;
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (keys[1], "cancelled"));
}

#[test]
fn a_process_that_starts_again_goes_on_where_it_was() {
    let mut client = Client::open();
    let keys = ["a", "b"].map(|command| client.request(command));
    let mut again = Client::with(ClientConfig::new([8; 32]), Some(client.disk));
    let hello = again.connect(accepted(Standing::Resumed, 1));
    assert!(hello.resume.is_some());
    assert_eq!(again.words(), ["request 2 b"]);
    again.hears(reply(1));
    again.hears(reply(2));
    assert_eq!(again.outcomes(), [(keys[0], done(1)), (keys[1], done(2))]);
    assert_eq!(again.request("c"), RequestKey(3), "keys are not used again");
}

#[test]
fn a_state_is_the_sum_of_its_changes() {
    let mut client = Client::open();
    client.request("a");
    client.subscribe("news", mainstay_wire::session::Start::Last(3));
    client.hears(super::support::subscribed("news", 5, 10));
    client.hears(command(1));
    client.hears(command(2));
    let key = running(&mut client)[0];
    client.session.answer(1, key, done(1));
    client.lose();
    client.request("b");
    let mut again = crate::client::SavedState::default();
    client.disk.to_changes().iter().for_each(|change| again.apply(change));
    assert_eq!(again, client.disk);
}

fn command(number: u64) -> ServerFrame {
    ServerFrame::Request(Request {
        number,
        command: "tell".to_owned(),
        payload: Payload::NULL,
        deadline_ms: None,
    })
}

fn running(client: &mut Client) -> Vec<crate::client::CommandKey> {
    let events = client.events().into_iter();
    events
        .filter_map(|event| match event {
            ClientEvent::Command { key, .. } => Some(key),
            _ => None,
        })
        .collect()
}

#[test]
fn a_command_of_the_server_is_accepted_once_and_its_reply_kept_until_it_is_safe() {
    let mut client = Client::open();
    client.hears(command(1));
    client.hears(command(1));
    let kept = Output::Persist(StateChange::CommandAccepted { number: 1 });
    assert_eq!(client.outputs[0], kept, "kept before it runs");
    let keys = running(&mut client);
    assert_eq!(keys.len(), 1, "once");
    client.lose();
    client.session.answer(client.now_ms, keys[0], done(7));
    client.session.answer(client.now_ms, keys[0], done(8));
    client.drain();
    let hello = client.connect(welcome(Standing::Resumed));
    assert_eq!(hello.accepted, 1);
    assert_eq!(client.words(), ["reply 1"]);
    client.hears(command(1));
    assert_eq!(client.words(), ["reply 1"], "asked again, answered again, not run again");
    client.hears(ServerFrame::Ack { number: 1 });
    client.lose();
    client.connect(welcome(Standing::Resumed));
    assert_eq!(client.words(), [""; 0]);
}

#[test]
fn a_command_that_the_end_of_the_process_interrupted_is_in_doubt() {
    let mut client = Client::open();
    client.hears(command(1));
    let mut again = Client::with(ClientConfig::new([8; 32]), Some(client.disk));
    again.connect(welcome(Standing::Resumed));
    let frames = again.frames();
    let [ClientFrame::Reply(reply)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((reply.number, code_of(&reply.outcome)), (1, "indeterminate"));
}

#[test]
fn an_answer_to_an_old_sessions_command_goes_nowhere() {
    let mut client = Client::open();
    client.hears(command(1));
    let keys = running(&mut client);
    client.lose();
    client.connect(welcome(Standing::Expired));
    let withdrawn = ClientEvent::CommandCancelled { key: keys[0] };
    assert!(client.events().contains(&withdrawn));
    client.hears(command(1));
    assert_eq!(running(&mut client).len(), 1, "numbers begin again");
    client.session.answer(client.now_ms, keys[0], done(7));
    client.drain();
    assert_eq!(client.words(), [""; 0]);
}

#[test]
fn a_hole_in_the_servers_numbers_is_what_it_gave_up() {
    let mut client = Client::open();
    client.hears(command(1));
    client.hears(command(4));
    assert_eq!(running(&mut client).len(), 2);
    client.hears(command(3));
    assert_eq!(running(&mut client).len(), 0, "it comes too late to be in order");
    client.lose();
    assert_eq!(client.hello().accepted, 4);
    for number in [0, u64::MAX] {
        let mut client = Client::open();
        client.hears(command(number));
        assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))), "{number}");
    }
}

#[test]
fn a_command_that_the_server_gives_up_is_cancelled_and_its_reply_not_kept() {
    let mut client = Client::open();
    client.hears(command(1));
    client.hears(command(2));
    let keys = running(&mut client);
    client.hears(ServerFrame::Cancel { number: 7 });
    client.hears(ServerFrame::Ack { number: 1 });
    assert_eq!(client.events(), [ClientEvent::CommandCancelled { key: keys[0] }]);
    client.session.answer(client.now_ms, keys[0], done(1));
    client.drain();
    assert_eq!(client.words(), [""; 0]);
    client.session.answer(client.now_ms, keys[1], done(2));
    client.drain();
    assert_eq!(client.words(), ["reply 2"]);
    client.hears(ServerFrame::Ack { number: 9 });
    assert!(client.session.is_open(), "more than we have seen");
    assert!(client.disk.is_settled());
}

#[test]
fn more_commands_than_the_client_keeps_are_a_fault() {
    let config = ClientConfig { command_count_max: 1, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, None);
    client.connect(welcome(Standing::New));
    client.hears(command(1));
    client.hears(command(2));
    assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))));
}

#[test]
fn no_more_numbers_are_held_than_a_server_keeps() {
    let mut client = Client::new();
    let mut narrow = welcome(Standing::New);
    narrow.limits.request_count_max = 2;
    client.connect(narrow);
    for _ in 0..200 {
        client.request("a");
    }
    // A server that runs out of order: 1 has no outcome for long.
    for number in 2..=65 {
        client.hears(reply(number));
    }
    let sent = client.frames().into_iter().filter_map(|frame| match frame {
        ClientFrame::Request(request) => Some(request.number),
        _ => None,
    });
    assert_eq!(sent.max(), Some(65), "2 and the 64 that may be unacknowledged, less one");
    client.hears(reply(1));
    assert!(client.words().contains(&"request 66 a".to_owned()), "it goes on");
}

#[test]
fn a_client_without_handlers_says_that_it_never_ran() {
    assert_eq!(code_of(&ClientSession::no_handler("x")), "never_ran");
}

#[test]
fn a_reply_over_the_servers_limit_is_not_sent() {
    let mut client = Client::open();
    client.hears(command(1));
    let key = running(&mut client)[0];
    let big = Payload::binary(vec![0; 60_000]);
    client.session.answer(1, key, mainstay_wire::session::Outcome::Done(big));
    client.drain();
    let frames = client.frames();
    let [ClientFrame::Reply(reply)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(code_of(&reply.outcome), "too_big");
}

#[test]
fn a_reply_that_was_kept_for_a_server_that_took_more_is_not_sent_to_one_that_takes_less() {
    let mut client = Client::open();
    client.hears(command(1));
    let key = running(&mut client)[0];
    client.session.answer(1, key, Outcome::Done(Payload::binary(vec![0; 30_000])));
    client.lose();
    let mut narrow = welcome(Standing::Resumed);
    narrow.limits.message_bytes_max = 40_000;
    client.frames();
    client.connect(narrow);
    let frames = client.frames();
    let [ClientFrame::Reply(reply)] = &frames[..] else { panic!("{frames:?}") };
    let Outcome::Failed(failure) = &reply.outcome else { panic!("{reply:?}") };
    assert_eq!(failure.code.word(), "too_big");
    assert!(failure.message.contains("40000") && failure.message.contains("400"), "{failure:?}");
    assert_eq!(client.disk.answers[&1].as_ref(), Some(&reply.outcome), "and it stays so");
}

#[test]
fn what_fits_a_message_to_the_byte_is_sent_and_nothing_more() {
    for encoding in Encoding::ALL {
        let config = ClientConfig { encoding: *encoding, ..ClientConfig::new([7; 32]) };
        let bytes_of = |bytes| {
            let outcome = Outcome::Done(Payload::binary(vec![0; bytes]));
            encoding.reply_bytes(&Reply { number: 1, outcome })
        };
        let most = (40_000..65_536).rev().find(|bytes| bytes_of(*bytes) <= 65_536).expect("one");
        for (bytes, word) in [(most, "done"), (most + 1, "too_big")] {
            let mut client = Client::with(config.clone(), None);
            client.connect(welcome(Standing::New));
            client.hears(command(1));
            let key = running(&mut client)[0];
            client.session.answer(1, key, Outcome::Done(Payload::binary(vec![0; bytes])));
            client.drain();
            let frames = client.frames();
            let [ClientFrame::Reply(reply)] = &frames[..] else { panic!("{frames:?}") };
            assert_eq!(code_of(&reply.outcome), word);
            let mut message = Vec::new();
            encoding.encode_client(&frames[0], &mut message);
            assert!(message.len() <= 65_536);
        }
    }
}

#[test]
fn no_more_bytes_are_sent_than_the_server_says_that_it_lets_wait() {
    let mut client = Client::new();
    let mut narrow = welcome(Standing::New);
    narrow.limits.request_bytes_max = Some(1000);
    client.connect(narrow);
    client.words();
    for bytes in [600, 300, 200, 2000, 1] {
        let payload = Payload::binary(vec![0; bytes]);
        client.session.request(client.now_ms, "a", payload, None).expect("room");
    }
    client.drain();
    assert_eq!(client.words(), ["request 1 a", "request 2 a"]);
    client.hears(reply(1));
    assert_eq!(client.words(), ["request 3 a"]);
    client.hears(reply(2));
    assert_eq!(client.words(), [""; 0], "the big one waits until it can start at once");
    client.hears(reply(3));
    assert_eq!(client.words(), ["request 4 a"]);
    client.hears(reply(4));
    assert_eq!(client.words(), ["request 5 a"]);
}
