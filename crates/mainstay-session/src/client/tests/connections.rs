//! Connections: opening, liveness, closing, coming back.

use mainstay_wire::session::{ClientFrame, Goaway, Principal, ServerFrame, Standing, Start};

use super::support::{Client, accepted, code_of, event, name, outcome, reply, subscribed, welcome};
use crate::client::{ClientConfig, ClientEvent, CloseReason, Ending, Output, StateChange};

#[test]
fn the_new_token_is_safe_before_any_frame_behind_the_welcome() {
    let mut client = Client::new();
    client.request("a");
    client.outputs.clear();
    client.connect(welcome(Standing::New));
    let kept = client
        .outputs
        .iter()
        .position(|output| matches!(output, Output::Persist(StateChange::Welcomed { .. })));
    let sent = client.outputs.iter().position(|output| matches!(output, Output::Transmit(_)));
    assert!(kept.expect("kept") < sent.expect("sent"));
    client.lose();
    let (session, token) = client.hello().resume.expect("a resume");
    assert_eq!((session, token), (welcome(Standing::New).session, welcome(Standing::New).token));
}

#[test]
fn nothing_but_a_welcome_may_come_first() {
    for frame in [reply(1), event("news", 1), ServerFrame::Ack { number: 0 }] {
        let mut client = Client::new();
        client.hello();
        client.hears(frame);
        assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))));
    }
    let mut client = Client::new();
    client.hello();
    client.hears(ServerFrame::Ping);
    assert_eq!(client.outputs, [], "nothing is sent before the welcome, and a ping is no fault");
}

#[test]
fn a_welcome_that_answers_another_hello_is_a_fault() {
    for standing in [Standing::Resumed, Standing::Expired, Standing::Unknown] {
        let mut client = Client::new();
        client.connect(welcome(standing));
        assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))), "{standing:?}");
    }
    let mut other = welcome(Standing::Resumed);
    other.session = welcome(Standing::Unknown).session;
    for wrong in [welcome(Standing::New), other, accepted(Standing::Resumed, u64::MAX)] {
        let mut client = Client::open();
        client.lose();
        client.connect(wrong);
        assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))));
    }
    let mut client = Client::open();
    client.hears(ServerFrame::Welcome(Box::new(welcome(Standing::Resumed))));
    assert!(matches!(client.close_reason(), Some(CloseReason::Fault(_))), "a second one");
}

#[test]
fn a_ping_is_answered_and_any_frame_counts_as_life() {
    let mut client = Client::open();
    client.hears(ServerFrame::Ping);
    assert_eq!(client.words(), ["pong"]);
    client.wait(34_999);
    assert_eq!(client.close_reason(), None);
    client.hears(ServerFrame::Pong);
    client.wait(34_999);
    assert_eq!(client.close_reason(), None);
    client.wait(1);
    assert_eq!(client.close_reason(), Some(CloseReason::Silent));
    assert_eq!(client.session.counters().silence_count, 1);
    client.hears(reply(1));
    assert_eq!(client.outputs, [], "nothing is heard of a connection that was given up");
}

#[test]
fn silence_goes_by_timestamps_and_a_clock_set_back_stands_still() {
    let mut client = Client::open();
    let heard_at_ms = client.now_ms;
    assert_eq!(client.session.next_timeout(), Some(heard_at_ms + 35_000));
    client.session.handle_timeout(0);
    client.session.handle_frame(heard_at_ms - 900, ServerFrame::Ping);
    assert_eq!(client.session.next_timeout(), Some(heard_at_ms + 35_000));
    // A process that was stopped for an hour and reads what waits for it first.
    client.now_ms += 3_600_000;
    client.hears(ServerFrame::Ping);
    client.wait(0);
    assert_eq!(client.close_reason(), None);
}

#[test]
fn a_welcome_that_does_not_come_is_not_waited_for() {
    let mut client = Client::new();
    client.hello();
    client.wait(9_999);
    assert_eq!(client.close_reason(), None);
    client.wait(1);
    assert_eq!(client.close_reason(), Some(CloseReason::NoWelcome));
}

#[test]
fn a_bye_is_not_preceded_by_an_acknowledgement_of_what_never_arrived() {
    let mut client = Client::open();
    (0..100).for_each(|_| {
        client.request("a");
    });
    client.outputs.clear();
    client.session.close(client.now_ms);
    client.drain();
    assert_eq!(client.words(), ["bye"]);
}

#[test]
fn a_session_that_was_taken_over_is_not_resumed_by_a_later_process() {
    let mut client = Client::open();
    client.subscribe("news", Start::Now);
    client.hears(subscribed("news", 5, 7));
    client.request("a");
    client.closed_with(4200);
    let hello = Client::with(ClientConfig::new([7; 32]), Some(client.disk.clone())).hello();
    assert_eq!(hello.resume, None, "it would claim an outcome that never arrived");
    assert_eq!((hello.unanswered_from, hello.cursors.len()), (1, 1), "cursors stay");
}

#[test]
fn a_session_that_was_taken_over_is_over() {
    let mut client = Client::open();
    let sent = client.request("a");
    client.lose();
    let waiting = client.request("b");
    client.hello();
    client.outputs.clear();
    client.closed_with(4200);
    let events = client.events();
    assert_eq!(events.last(), Some(&ClientEvent::Ended(Ending::Superseded)));
    let outcomes = events.into_iter().filter_map(outcome);
    let outcomes: Vec<_> = outcomes.map(|(key, outcome)| (key, code_of(&outcome))).collect();
    assert_eq!(outcomes, [(sent, "indeterminate"), (waiting, "never_ran")]);
    client.session.handle_open(client.now_ms);
    client.drain();
    assert_eq!(client.close_reason(), Some(CloseReason::Done));
    assert_eq!(client.session.next_timeout(), None);
}

#[test]
fn a_process_that_dies_while_it_says_bye_claims_no_outcome_that_never_arrived() {
    for end in ["bye", "taken over"] {
        for kept in 0..8 {
            let mut client = Client::open();
            for _ in 0..3 {
                client.request("a");
            }
            let mut disk = client.disk.clone();
            match end {
                "bye" => client.session.close(client.now_ms),
                _ => client.session.handle_closed(client.now_ms, Some(4200)),
            }
            let mut changes = Vec::new();
            while let Some(output) = client.session.poll_output() {
                if let Output::Persist(change) = output {
                    changes.push(change);
                }
            }
            changes.iter().take(kept).for_each(|change| disk.apply(change));
            let hello = Client::with(ClientConfig::new([7; 32]), Some(disk)).hello();
            assert!(hello.resume.is_none() || hello.unanswered_from == 1, "{end}, {kept} kept");
        }
    }
}

#[test]
fn codes_say_whether_to_come_back() {
    for (code, ending) in [
        (1008, Some(Ending::Stopped { code: 1008 })),
        (4201, Some(Ending::Stopped { code: 4201 })),
        (4299, Some(Ending::Stopped { code: 4299 })),
        (1000, None),
        (1001, None),
        (1012, None),
        (4000, None),
        (4300, None),
    ] {
        let mut client = Client::open();
        client.closed_with(code);
        let ended = client.events().into_iter().find_map(|event| match event {
            ClientEvent::Ended(ending) => Some(ending),
            _ => None,
        });
        assert_eq!(ended, ending, "{code}");
        assert_eq!(client.session.is_ended(), ending.is_some(), "{code}");
    }
}

#[test]
fn a_refused_resume_begins_a_new_session() {
    let mut client = Client::open();
    client.subscribe("news", Start::Now);
    client.hears(subscribed("news", 5, 10));
    let sent = client.request("a");
    client.lose();
    let waiting = client.request("b");
    client.hello();
    client.closed_with(4100);
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (sent, "indeterminate"));
    let hello = client.connect(welcome(Standing::New));
    assert_eq!(hello.resume, None);
    assert_eq!(hello.cursors.len(), 1, "cursors survive");
    assert_eq!(client.words(), ["request 1 b"]);
    client.hears(reply(1));
    assert_eq!(client.outcomes()[0].0, waiting);
}

#[test]
fn a_client_told_to_go_comes_back_after_a_random_part_of_the_window() {
    let mut times = Vec::new();
    for seed in 0..50 {
        let config = crate::client::ClientConfig::new([seed; 32]);
        let mut client = Client::with(config, None);
        client.connect(welcome(Standing::New));
        let goaway = Goaway { window_ms: 10_000, reason: "drain".to_owned() };
        client.hears(ServerFrame::Goaway(goaway));
        let at_ms = client.session.next_timeout().expect("a time");
        assert!((client.now_ms..client.now_ms + 10_000).contains(&at_ms));
        times.push(at_ms - client.now_ms);
        client.now_ms = at_ms;
        client.wait(0);
        assert_eq!(client.close_reason(), Some(CloseReason::Goaway));
    }
    times.sort_unstable();
    assert!(times[5] < 3000 && times[45] > 7000, "spread: {times:?}");
}

#[test]
fn a_bye_ends_the_session_for_good() {
    let mut client = Client::open();
    let sent = client.request("a");
    client.outputs.clear();
    client.session.close(client.now_ms);
    client.drain();
    let frames = client.outputs.clone();
    assert!(frames.contains(&Output::Transmit(ClientFrame::Bye)));
    let outcomes = client.outcomes();
    assert_eq!((outcomes[0].0, code_of(&outcomes[0].1)), (sent, "indeterminate"));
    assert_eq!(client.disk.identity, None);
    client.closed_with(1000);
    assert_eq!(client.events(), [ClientEvent::Ended(Ending::Closed)]);
    assert!(client.session.subscribe(1, super::support::subscribe("a", Start::Now)).is_err());
}

#[test]
fn a_server_that_does_not_answer_a_bye_is_not_waited_for() {
    let mut client = Client::open();
    client.session.close(client.now_ms);
    client.drain();
    client.outputs.clear();
    client.wait(5000);
    assert_eq!(
        client.outputs,
        [
            Output::CloseConnection { reason: CloseReason::Done },
            Output::Event(ClientEvent::Ended(Ending::Closed)),
        ]
    );
}

#[test]
fn a_session_that_is_left_is_kept() {
    let mut client = Client::open();
    client.request("a");
    client.outputs.clear();
    client.session.leave(client.now_ms);
    client.drain();
    assert_eq!(client.events(), [ClientEvent::Ended(Ending::Left)]);
    assert!(client.disk.identity.is_some());
    assert_eq!(client.disk.requests.len(), 1, "its outcome is still to come");
}

#[test]
fn what_was_to_be_sent_on_a_lost_connection_is_not_sent_on_the_next() {
    let mut client = Client::open();
    client.session.handle_frame(client.now_ms, ServerFrame::Ping);
    client.session.handle_closed(client.now_ms, None);
    client.session.handle_open(client.now_ms);
    client.drain();
    assert_eq!(client.words(), ["hello"]);
}

#[test]
fn the_inboxes_of_the_session_and_its_principal_are_taken_and_no_others() {
    let mut client = Client::new();
    let principal = Principal::parse("ann").expect("a principal");
    let mut hers = welcome(Standing::New);
    hers.principal = Some(principal);
    let own = format!("$session/{}", hers.session);
    client.connect(hers.clone());
    for inbox in [own.as_str(), "$principal/ann", "$principal/bob"] {
        client.hears(subscribed(inbox, 5, 10));
        client.hears(event(inbox, 11));
    }
    assert_eq!(client.deliveries().len(), 2);
    assert!(!client.disk.channels.contains_key(&name("$principal/bob")));
    client.lose();
    let mut next = welcome(Standing::Expired);
    next.principal = hers.principal;
    let hello = client.connect(next);
    assert_eq!(hello.cursors.len(), 2);
    let left: Vec<_> = client.disk.channels.keys().map(|name| name.to_string()).collect();
    assert_eq!(left, ["$principal/ann"], "the inbox of a session goes with it");
}

#[test]
fn while_nothing_is_read_silence_is_nobodys_fault() {
    let mut client = Client::open();
    client.session.handle_pause(client.now_ms);
    client.wait(100_000);
    assert_eq!(client.close_reason(), None);
    client.session.handle_resume(client.now_ms);
    client.wait(34_999);
    assert_eq!(client.close_reason(), None);
    client.wait(1);
    assert_eq!(client.close_reason(), Some(CloseReason::Silent));
}
