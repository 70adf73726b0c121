//! Channels: order, gaps, duplicates, cursors, acknowledgements.

use mainstay_wire::session::{
    ClientFrame, Epoch, ErrorCode, Failure, Offset, Outcome, Payload, Problem, Reply, ServerFrame,
    Standing, Start, Unsubscribed,
};

use super::support::{
    Client, epoch_gap, event, name, reply, subscribed, subscribed_at, trimmed, welcome,
};
use crate::client::{ClientConfig, ClientEvent, CloseReason, Place, Refused, Resubscribe};

/// A client that has events up to 12 of epoch 5 of `news`, and has consumed up to 11.
fn listening() -> Client {
    let mut client = Client::open();
    client.subscribe("news", Start::Now);
    client.hears(subscribed("news", 5, 10));
    client.hears(event("news", 11));
    client.hears(event("news", 12));
    client.consumed("news", 5, 11);
    client.outputs.clear();
    client
}

fn is_fault(client: &mut Client) -> bool {
    matches!(client.close_reason(), Some(CloseReason::Fault(_)))
}

#[test]
fn events_come_in_order_and_the_cursor_follows_what_is_consumed() {
    let mut client = listening();
    client.hears(event("news", 13));
    assert_eq!(client.deliveries(), ["event 5.13"]);
    client.lose();
    let hello = client.hello();
    let cursor = &hello.cursors[0];
    assert_eq!((cursor.epoch, cursor.offset), (Epoch(5), Offset(11)));
}

#[test]
fn events_at_or_below_the_place_are_dropped() {
    let mut client = listening();
    for offset in [1, 11, 12] {
        client.hears(event("news", offset));
    }
    assert_eq!(client.deliveries(), [""; 0]);
    assert_eq!(client.session.counters().event_duplicate_count, 3);
    assert!(client.session.is_open());
}

#[test]
fn after_a_resume_what_was_handed_over_but_not_consumed_comes_once() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.outputs.clear();
    client.hears(subscribed_at("news", 5, 11, 13));
    client.hears(event("news", 12));
    client.hears(event("news", 13));
    assert_eq!(client.deliveries(), ["event 5.13"]);
}

#[test]
fn a_hole_without_a_gap_is_a_fault() {
    let mut client = listening();
    client.hears(event("news", 14));
    assert!(is_fault(&mut client));
    assert_eq!(client.session.counters().fault_count, 1);
    // A resume that begins behind the cursor, and says nothing of what is missing.
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.hears(subscribed("news", 5, 20));
    client.hears(event("news", 21));
    assert!(is_fault(&mut client));
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.hears(subscribed("news", 6, 0));
    client.hears(event("news", 1));
    assert_eq!(client.deliveries(), [""; 0], "it belongs to an epoch that was not announced");
}

#[test]
fn a_gap_moves_the_place_and_is_told() {
    let mut client = listening();
    client.hears(trimmed("news", 5, 13, 20));
    client.hears(event("news", 21));
    assert_eq!(client.deliveries(), ["gap 5.13-20 then 5.20", "event 5.21"]);
    client.consumed("news", 5, 20);
    client.lose();
    assert_eq!(client.hello().cursors[0].offset, Offset(20), "a gap is consumed like an event");
}

#[test]
fn a_gap_tells_only_what_did_not_reach_the_application() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.outputs.clear();
    client.hears(subscribed_at("news", 5, 11, 20));
    // The server counts from the cursor, 11; the application has 12 already.
    client.hears(trimmed("news", 5, 12, 20));
    assert_eq!(client.deliveries(), ["gap 5.13-20 then 5.20"]);
    client.hears(trimmed("news", 5, 12, 20));
    assert_eq!(client.deliveries(), [""; 0], "told already");
}

#[test]
fn a_new_epoch_is_a_gap_without_an_end() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Unknown));
    client.outputs.clear();
    client.hears(subscribed("news", 6, 0));
    client.hears(epoch_gap("news", (5, 12), (6, 0)));
    client.hears(event("news", 1));
    assert_eq!(client.deliveries(), ["gap 5.13-? then 6.0", "event 6.1"]);
    // Consumption goes on through the old epoch into the new one.
    client.consumed("news", 5, 12);
    client.consumed("news", 6, 0);
    client.consumed("news", 6, 1);
    client.consumed("news", 5, 12);
    client.lose();
    let cursor = &client.hello().cursors[0];
    assert_eq!((cursor.epoch, cursor.offset), (Epoch(6), Offset(1)));
}

#[test]
fn an_epoch_gap_that_comes_again_is_not_told_again() {
    let mut client = listening();
    client.hears(epoch_gap("news", (5, 13), (6, 3)));
    client.hears(event("news", 4));
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.outputs.clear();
    // Nothing was consumed, so the hello spoke of epoch 5 again.
    client.hears(subscribed_at("news", 6, 3, 9));
    client.hears(epoch_gap("news", (5, 12), (6, 3)));
    client.hears(event("news", 4));
    assert_eq!(client.deliveries(), [""; 0]);
    client.hears(epoch_gap("news", (5, 12), (6, 9)));
    assert_eq!(client.deliveries(), ["gap 6.5-9 then 6.9"], "the new epoch was trimmed meanwhile");
}

#[test]
fn a_log_that_was_set_back_is_heard_from_the_place_that_the_server_names() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.outputs.clear();
    client.hears(subscribed_at("news", 5, 3, 7));
    client.hears(epoch_gap("news", (5, 12), (5, 3)));
    client.hears(event("news", 4));
    assert_eq!(client.deliveries(), ["gap 5.13-? then 5.3", "event 5.4"]);
    client.lose();
    let cursor = &client.hello().cursors[0];
    assert_eq!(cursor.offset, Offset(3), "the log may have grown past 12 until we come back");
}

#[test]
fn a_head_below_what_was_received_tells_that_the_log_was_set_back() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.outputs.clear();
    // 12 was handed over and is not consumed; to the server our cursor, 11, is its newest event.
    client.hears(subscribed_at("news", 5, 11, 11));
    client.hears(event("news", 12));
    assert_eq!(client.deliveries(), ["gap 5.13-? then 5.11", "event 5.12"]);
}

#[test]
fn what_was_handed_over_before_the_log_was_set_back_moves_no_cursor() {
    let mut client = listening();
    client.lose();
    client.connect(welcome(Standing::Resumed));
    client.hears(subscribed_at("news", 5, 3, 7));
    client.hears(epoch_gap("news", (5, 12), (5, 3)));
    for offset in 4..=13 {
        client.hears(event("news", offset));
    }
    let cursor = |client: &Client| client.session.saved().channels[&name("news")].cursor;
    let at = |offset| Some(Place { epoch: Epoch(5), offset: Offset(offset) });
    // The application is at the old 12 still, and has none of the new events.
    client.consumed("news", 5, 12);
    assert_eq!(cursor(&client), at(3));
    client.consumed("news", 5, 3);
    client.consumed("news", 5, 12);
    assert_eq!(cursor(&client), at(12), "the new 12");
}

#[test]
fn gaps_that_make_no_sense_are_faults() {
    let contradiction = |from, to, offset| {
        let ServerFrame::Gap(mut gap) = trimmed("news", 5, from, to) else { unreachable!() };
        gap.offset = Offset(offset);
        ServerFrame::Gap(gap)
    };
    for gap in [
        trimmed("news", 5, 14, 20),
        trimmed("news", 5, 20, 13),
        trimmed("news", 6, 13, 20),
        contradiction(13, 20, 25),
        contradiction(13, 20, 15),
    ] {
        let mut client = listening();
        client.hears(gap.clone());
        assert!(is_fault(&mut client), "{gap:?}");
    }
}

#[test]
fn a_subscription_without_a_place_is_asked_for_again() {
    let mut client = Client::open();
    client.subscribe("news", Start::Last(3));
    assert_eq!(client.words(), ["subscribe news"]);
    client.lose();
    let hello = client.connect(welcome(Standing::Resumed));
    assert_eq!(hello.cursors, []);
    assert_eq!(client.words(), ["subscribe news"]);
    client.hears(subscribed("news", 5, 10));
    client.lose();
    let hello = client.connect(welcome(Standing::Resumed));
    assert_eq!(hello.cursors.len(), 1);
    assert_eq!(client.words(), [""; 0], "the hello has subscribed");
}

#[test]
fn a_subscription_behind_a_known_place_begins_there() {
    let mut client = Client::new();
    client.subscribe("news", Start::After { epoch: Some(Epoch(5)), offset: Offset(3) });
    let hello = client.connect(welcome(Standing::New));
    assert_eq!((hello.cursors[0].epoch, hello.cursors[0].offset), (Epoch(5), Offset(3)));
    client.outputs.clear();
    client.hears(subscribed("news", 5, 3));
    client.hears(event("news", 4));
    assert_eq!(client.deliveries(), ["event 5.4"]);
}

#[test]
fn a_second_subscribe_replaces_the_first_with_what_is_still_under_way() {
    let mut client = listening();
    client.subscribe("news", Start::Last(2));
    client.hears(event("news", 13));
    client.hears(event("news", 14));
    client.hears(subscribed("news", 5, 12));
    for offset in [13, 14] {
        client.hears(event("news", offset));
    }
    assert_eq!(client.deliveries(), ["event 5.13", "event 5.14"], "of the new one alone");
}

#[test]
fn answers_to_earlier_wishes_are_not_taken_for_the_newest() {
    let mut client = Client::open();
    client.subscribe("news", Start::Last(100));
    client.session.unsubscribe(client.now_ms, &name("news"));
    client.subscribe("news", Start::Now);
    assert_eq!(client.words(), ["subscribe news", "unsubscribe news", "subscribe news"]);
    client.hears(subscribed("news", 5, 1));
    client.hears(event("news", 2));
    client.hears(ServerFrame::Unsubscribed(Unsubscribed { channel: name("news"), failure: None }));
    assert!(client.events().is_empty());
    client.hears(subscribed("news", 5, 100));
    client.hears(event("news", 101));
    assert_eq!(client.deliveries(), ["event 5.101"]);
}

#[test]
fn what_is_not_listened_to_any_more_is_dropped() {
    let mut client = listening();
    client.session.unsubscribe(client.now_ms, &name("news"));
    client.drain();
    let gone = ClientEvent::Unsubscribed { channel: name("news"), failure: None };
    assert_eq!(client.events(), [gone]);
    client.hears(event("news", 13));
    client.hears(ServerFrame::Unsubscribed(Unsubscribed { channel: name("news"), failure: None }));
    client.hears(event("news", 14));
    assert_eq!(client.events(), []);
    client.lose();
    assert_eq!(client.hello().cursors, []);
}

#[test]
fn a_subscription_that_the_server_refuses_or_ends_is_over() {
    let failure = Failure { code: ErrorCode::NotPermitted, message: "no".to_owned() };
    let problem = Problem { failure: failure.clone(), channel: Some(name("news")) };
    let mut client = Client::open();
    client.subscribe("news", Start::Now);
    client.hears(ServerFrame::Problem(problem.clone()));
    let gone = ClientEvent::Unsubscribed { channel: name("news"), failure: Some(failure.clone()) };
    assert_eq!(client.events().last(), Some(&gone));
    assert!(client.disk.channels.is_empty());
    let mut client = listening();
    client.hears(ServerFrame::Problem(problem));
    assert_eq!(client.events().len(), 1, "a problem alone ends nothing that goes on");
    let ended = Unsubscribed { channel: name("news"), failure: Some(failure) };
    client.hears(ServerFrame::Unsubscribed(ended));
    assert_eq!(client.events(), [gone]);
    client.hears(event("news", 13));
    assert_eq!(client.deliveries(), [""; 0]);
    client.lose();
    assert_eq!(client.connect(welcome(Standing::Resumed)).cursors, []);
    // It may let us again, and then nothing is skipped.
    let wish = super::support::subscribe("news", Start::Now);
    client.session.attach(client.now_ms, wish).expect("room");
    client.lose();
    assert_eq!(client.hello().cursors[0].offset, Offset(11));
}

#[test]
fn too_many_subscriptions_are_refused() {
    let config = ClientConfig { subscription_count_max: 1, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, None);
    client.subscribe("a", Start::Now);
    let refused = client.session.subscribe(1, super::support::subscribe("b", Start::Now));
    assert_eq!(refused, Err(Refused::TooManySubscriptions));
    client.subscribe("a", Start::Last(1));
}

#[test]
fn an_acknowledgement_goes_out_after_64_events_or_outcomes() {
    let mut client = listening();
    client.wait(1000);
    assert_eq!(client.words(), ["ack 1 news:11"]);
    for offset in 13..80 {
        client.hears(event("news", offset));
    }
    for offset in 12..75 {
        client.consumed("news", 5, offset);
    }
    assert_eq!(client.words(), [""; 0], "63 are not enough");
    client.request("a");
    client.hears(reply(1));
    assert_eq!(client.words(), ["request 1 a", "ack 2 news:74"]);
}

#[test]
fn an_acknowledgement_of_long_results_goes_out_earlier() {
    let mut client = Client::open();
    let long = Outcome::Done(Payload::binary(vec![0; 64 * 1024]));
    for number in 1..=7 {
        client.request("a");
        client.hears(ServerFrame::Reply(Reply { number, outcome: long.clone() }));
    }
    assert!(
        !client.words().iter().any(|word| word.starts_with("ack")),
        "7 of 64 KiB are not enough"
    );
    client.request("a");
    client.hears(ServerFrame::Reply(Reply { number: 8, outcome: long }));
    assert_eq!(client.words(), ["request 8 a", "ack 9"], "and half a MiB is");
}

#[test]
fn an_acknowledgement_goes_out_a_second_after_what_it_acknowledges() {
    let mut client = Client::open();
    client.request("a");
    client.request("b");
    client.words();
    client.hears(reply(2));
    assert_eq!(client.session.next_timeout(), Some(client.now_ms + 1000));
    client.wait(999);
    assert_eq!(client.words(), [""; 0]);
    client.wait(1);
    assert_eq!(client.words(), ["ack 1"], "1 has no outcome yet");
    client.wait(5000);
    assert_eq!(client.words(), [""; 0], "there is nothing new to say");
    client.hears(reply(1));
    client.wait(1000);
    assert_eq!(client.words(), ["ack 3"]);
}

#[test]
fn nothing_that_was_never_handed_over_can_be_consumed() {
    let mut client = listening();
    client.consumed("news", 5, 13);
    client.consumed("news", 7, 13);
    client.consumed("other", 5, 1);
    client.consumed("news", 5, 10);
    assert_eq!(client.outputs, []);
}

#[test]
fn a_channel_that_is_left_goes_on_where_it_was() {
    let mut client = listening();
    client.session.detach(client.now_ms, &name("news"));
    client.drain();
    assert_eq!(client.words(), ["unsubscribe news"]);
    client.hears(event("news", 13));
    assert_eq!(client.deliveries(), [""; 0]);
    client.lose();
    assert_eq!(client.connect(welcome(Standing::Resumed)).cursors, []);
    let wish = super::support::subscribe("news", Start::Now);
    client.session.attach(client.now_ms, wish).expect("room");
    client.drain();
    let frames = client.frames();
    let [ClientFrame::Subscribe(subscribe)] = &frames[..] else { panic!("{frames:?}") };
    let after_11 = Start::After { epoch: Some(Epoch(5)), offset: Offset(11) };
    assert_eq!(subscribe.start, after_11, "12 was handed over and not consumed");
    client.hears(subscribed("news", 5, 11));
    client.hears(event("news", 12));
    assert_eq!(client.deliveries(), ["event 5.12"]);
}

#[test]
fn a_new_process_listens_again_when_it_attaches() {
    let config =
        ClientConfig { resubscribe: Resubscribe::WhenAttached, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, Some(listening().disk));
    assert_eq!(client.connect(welcome(Standing::Resumed)).cursors, []);
    assert_eq!(client.words(), [""; 0]);
    let wish = super::support::subscribe("news", Start::Now);
    client.session.attach(client.now_ms, wish).expect("room");
    client.drain();
    assert_eq!(client.words(), ["subscribe news"]);
    client.lose();
    assert_eq!(client.hello().cursors[0].offset, Offset(11));
}

#[test]
fn what_changes_between_hello_and_welcome_is_said_behind_it() {
    let welcomed = || ServerFrame::Welcome(Box::new(welcome(Standing::Resumed)));
    let config =
        ClientConfig { resubscribe: Resubscribe::WhenAttached, ..ClientConfig::new([7; 32]) };
    let mut client = Client::with(config, Some(listening().disk));
    assert_eq!(client.hello().cursors, []);
    let wish = super::support::subscribe("news", Start::Now);
    client.session.attach(client.now_ms, wish).expect("room");
    client.hears(welcomed());
    assert_eq!(client.words(), ["subscribe news"]);
    client.hears(subscribed("news", 5, 11));
    client.lose();
    assert_eq!(client.hello().cursors.len(), 1);
    client.session.detach(client.now_ms, &name("news"));
    client.hears(welcomed());
    assert_eq!(client.words().last().map(String::as_str), Some("unsubscribe news"));
}

#[test]
fn an_inbox_that_is_left_keeps_its_place_in_the_hello() {
    let mut client = Client::open();
    let inbox = format!("$session/{}", welcome(Standing::New).session);
    client.hears(subscribed(&inbox, 5, 3));
    client.session.detach(client.now_ms, &name(&inbox));
    client.drain();
    client.lose();
    assert_eq!(client.connect(welcome(Standing::Resumed)).cursors.len(), 1);
    client.outputs.clear();
    client.hears(subscribed(&inbox, 5, 3));
    client.hears(event(&inbox, 4));
    assert_eq!(client.deliveries(), ["event 5.4"]);
}
