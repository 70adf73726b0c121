use bytes::Bytes;
use mainstay_node::{Answer, Call, ConnectionKey, Input, SessionStanding, Target};
use mainstay_wire::EndReason;
use mainstay_wire::session::{
    ClientFrame, Encoding, ErrorCode, Offset, Outcome, Payload, Publish, Reply, Request,
    ServerFrame, Standing, Start,
};

use crate::log::Peek as _;
use crate::world::{World, code, hello, name, resume};

fn publish(channels: &[&str], key: Option<&str>) -> Call {
    let channels = channels.iter().map(|channel| name(channel)).collect();
    let key = key.map(|key| Bytes::from(key.to_owned()));
    Call::Publish { channels, payload: Payload::text("a"), key }
}

fn places(answer: Result<Answer, mainstay_node::CallError>) -> Vec<(String, u64)> {
    let Ok(Answer::Published(places)) = answer else { panic!("{answer:?}") };
    places.into_iter().map(|(name, _, offset)| (name.to_string(), offset.0)).collect()
}

fn at(channel: &str, offset: u64) -> (String, u64) {
    (channel.to_owned(), offset)
}

#[test]
fn what_parsers_need_not_bear_is_taken_nowhere() {
    let deep = |levels: usize| Payload::from_json_bytes("[".repeat(levels) + &"]".repeat(levels));
    let mut world = World::new();
    let welcome = world.connect(1, hello());
    let session = welcome.session;
    let mut calls = |levels| {
        let (channels, to) = (vec![name("news")], Target::Session(session));
        let publish = Call::Publish { channels, payload: deep(levels), key: None };
        let send = Call::Send { to, payload: deep(levels), key: None };
        let refused = [publish, send].map(|call| world.ask(call).err().map(|error| error.code));
        let (command, payload, deadline_ms) = ("show".to_owned(), deep(levels), 1_000);
        let asked = world.call(Call::Command { to: session, command, payload, deadline_ms });
        world.commit();
        let answer = world.answers.get(&asked).map(|answer| answer.as_ref().err().map(|e| e.code));
        (refused, answer)
    };
    assert_eq!(calls(100), ([None, None], None), "this deep it may be; the command waits");
    let malformed = Some(ErrorCode::Malformed);
    assert_eq!(calls(101), ([malformed, malformed], Some(malformed)));
    let (command, deadline_ms) = ("work".to_owned(), None);
    let request = Request { number: 1, command, payload: deep(101), deadline_ms };
    world.frame(1, ClientFrame::Request(request));
    let publish = Publish { number: 2, channel: name("news"), payload: deep(101) };
    world.frame(1, ClientFrame::Publish(publish));
    world.request(1, 3);
    world.commit();
    assert_eq!(world.runs, [(session, 3)], "the first was not run");
    world.handle(Input::Ran { session, number: 3, outcome: Outcome::Done(deep(101)) });
    let reply = Reply { number: 1, outcome: Outcome::Done(deep(101)) };
    world.frame(1, ClientFrame::Reply(reply));
    world.commit();
    let codes: Vec<_> = world.replies(1).iter().map(|(_, outcome)| code(outcome)).collect();
    assert_eq!(codes, [malformed; 3]);
    assert_eq!(world.events(1, "news"), [0; 0]);
    let answered = world.answers.values().filter_map(|answer| answer.as_ref().ok());
    let outcome = answered.filter_map(|answer| match answer {
        Answer::Outcome(outcome) => Some(code(outcome)),
        _ => None,
    });
    assert_eq!(outcome.collect::<Vec<_>>(), [malformed], "the client's reply");
}

#[test]
fn what_no_client_could_take_is_not_appended() {
    let mut world = World::with(|config| config.message_bytes_max = 1_000);
    let welcome = world.connect(1, hello());
    let publish = |payload| Call::Publish { channels: vec![name("news")], payload, key: None };
    let to = Target::Session(welcome.session);
    let send = |payload| Call::Send { to: to.clone(), payload, key: None };
    let payload = |bytes| Payload::binary(vec![b'x'; bytes]);
    for call in [publish(payload(1_001)), send(payload(1_001))] {
        let refused = world.ask(call).expect_err("too big");
        assert_eq!(refused.code, ErrorCode::TooBig);
    }
    let (channel, payload_too_big) = (name("news"), payload(1_001));
    let publish_frame = Publish { number: 1, channel, payload: payload_too_big };
    world.frame(1, ClientFrame::Publish(publish_frame));
    world.commit();
    assert_eq!(code(&world.replies(1)[0].1), Some(ErrorCode::TooBig));
    assert!(world.log.get().memory.names().is_empty(), "nothing was begun for them");
    // What may be appended makes a message that a client takes: a third and 1 KiB longer.
    world.subscribe(1, "news", Start::Now);
    for call in [publish(payload(1_000)), send(payload(1_000))] {
        world.ask(call).expect("it fits");
    }
    let events = world.take(1).into_iter().filter(|f| matches!(f, ServerFrame::Event(_)));
    let lengths = events.map(|event| {
        let mut json = Vec::new();
        Encoding::Json.encode_server(&event, &mut json);
        json.len()
    });
    assert_eq!(lengths.filter(|bytes| *bytes <= 1_000 + 334 + 1_024).count(), 2);
}

#[test]
fn a_key_makes_a_publish_happen_once_within_a_batch_and_across() {
    let mut world = World::new();
    let first = world.call(publish(&["a", "b"], Some("k")));
    let second = world.call(publish(&["a", "b"], Some("k")));
    world.commit();
    for ticket in [first, second] {
        let answer = world.answers.remove(&ticket).expect("an answer");
        assert_eq!(places(answer), [at("a", 1), at("b", 1)]);
    }
    assert_eq!(places(world.ask(publish(&["a", "b"], Some("k")))), [at("a", 1), at("b", 1)]);
    world.restart();
    assert_eq!(places(world.ask(publish(&["a", "b"], Some("k")))), [at("a", 1), at("b", 1)]);
    assert_eq!(places(world.ask(publish(&["a"], Some("other")))), [at("a", 2)]);
    assert_eq!(places(world.ask(publish(&["a"], None))), [at("a", 3)]);
    world.pass(world.config.key_expiry_ms);
    assert_eq!(places(world.ask(publish(&["a"], Some("k")))), [at("a", 4)], "it has expired");
}

#[test]
fn a_key_stands_for_one_call_and_no_other() {
    let mut world = World::new();
    let welcome = world.connect_as(1, Some("ann"), hello());
    let call = |channels: &[&str], payload| Call::Publish {
        channels: channels.iter().map(|channel| name(channel)).collect(),
        payload,
        key: Some(Bytes::from_static(b"k")),
    };
    let send = |payload| Call::Send {
        to: Target::Session(welcome.session),
        payload,
        key: Some(Bytes::from_static(b"k")),
    };
    let first = world.call(call(&["a"], Payload::text("x")));
    let in_batch = world.call(call(&["a"], Payload::text("y")));
    world.commit();
    assert!(world.answers[&first].is_ok());
    let code_of = |answer: &Result<Answer, mainstay_node::CallError>| {
        answer.as_ref().err().map(|error| error.code)
    };
    assert_eq!(code_of(&world.answers[&in_batch]), Some(ErrorCode::KeyReused));
    for other in [
        call(&["a"], Payload::text("y")),
        call(&["a"], Payload::binary(&b"\"x\""[..])),
        call(&["b"], Payload::text("x")),
        call(&["a", "b"], Payload::text("x")),
        send(Payload::text("x")),
    ] {
        assert_eq!(code_of(&world.ask(other)), Some(ErrorCode::KeyReused));
    }
    assert_eq!(places(world.ask(call(&["a"], Payload::text("x")))), [at("a", 1)], "the same");
    assert_eq!(world.log.get().memory.commit_view("a").1, Offset(1));
}

#[test]
fn keys_are_bounded_while_they_are_remembered() {
    let mut world = World::with(|config| config.key_count_max = 4);
    let refused = |world: &mut World, key: &str| {
        world.ask(publish(&["a", "b"], Some(key))).err().map(|error| error.code)
    };
    assert_eq!(refused(&mut world, &"k".repeat(257)), Some(ErrorCode::Malformed));
    assert_eq!(["1", "2"].map(|key| refused(&mut world, key)), [None, None]);
    assert_eq!(refused(&mut world, "3"), Some(ErrorCode::Busy), "each stands for two events");
    assert_eq!(refused(&mut world, "1"), None, "what is remembered is answered");
    world.ask(publish(&["a"], None)).expect("without a key nothing is remembered");
    world.pass(world.config.key_expiry_ms + 1_000);
    assert_eq!(["3", "4"].map(|key| refused(&mut world, key)), [None, None]);
    // A restart knows how many keys there are.
    world.config.key_count_max = 2;
    world.restart();
    assert_eq!(refused(&mut world, "5"), Some(ErrorCode::Busy));
    world.pass(world.config.key_expiry_ms + 1_000);
    assert_eq!(refused(&mut world, "5"), None);
}

#[test]
fn expired_keys_are_dropped_and_then_nothing_is_due() {
    let mut world = World::new();
    for index in 0..10 {
        world.ask(publish(&["a"], Some(&format!("k{index}")))).expect("published");
    }
    world.pass(world.config.key_expiry_ms + 5_000);
    let commits = world.log.get().commit_count;
    world.pass(60_000);
    assert_eq!(world.log.get().commit_count, commits, "an idle node writes nothing");
    assert!(world.log.get().memory_key("k1").is_none());
}

#[test]
fn keys_are_dropped_as_fast_as_they_came() {
    let mut world = World::new();
    let key = |index: usize| format!("k{index}");
    for index in 0..20_000 {
        world.call(publish(&["a"], Some(&key(index))));
    }
    world.commit();
    world.pass(world.config.key_expiry_ms + 5_000);
    let left = (0..20_000).filter(|index| world.log.get().memory_key(&key(*index)).is_some());
    assert_eq!(left.count(), 0);
}

#[test]
fn a_send_with_a_key_arrives_once() {
    let mut world = World::new();
    let welcome = world.connect(1, hello());
    for _ in 0..3 {
        let to = Target::Session(welcome.session);
        let key = Some(Bytes::from_static(b"k"));
        world.ask(Call::Send { to, payload: Payload::NULL, key }).expect("sent");
    }
    let inbox = mainstay_wire::ChannelName::session_inbox(welcome.session);
    assert_eq!(world.events(1, inbox.as_str()), [1]);
}

#[test]
fn a_publish_that_failed_keeps_no_key() {
    let mut world = World::with(|config| config.channel_count_max = 1);
    world.ask(publish(&["a"], None)).expect("published");
    let refused = world.ask(publish(&["a", "b"], Some("k"))).expect_err("no room");
    assert_eq!(refused.code, ErrorCode::TooManyChannels);
    assert_eq!(places(world.ask(publish(&["a"], Some("k")))), [at("a", 2)]);
}

#[test]
fn an_inbox_is_not_published_to() {
    let mut world = World::new();
    let welcome = world.connect(1, hello());
    let channels = vec![name("a"), mainstay_wire::ChannelName::session_inbox(welcome.session)];
    let call = Call::Publish { channels, payload: Payload::NULL, key: None };
    assert_eq!(world.ask(call).expect_err("refused").code, ErrorCode::NotPermitted);
    let call = Call::History { channel: name("a"), after: Offset(0), count_max: 1 };
    assert_eq!(world.ask(call).expect_err("none of it").code, ErrorCode::Unreachable);
}

#[test]
fn history_is_read_in_pages() {
    let mut world = World::new();
    world.emit_many("news", 5);
    world.commit();
    let mut page = |after, count_max| {
        let channel = name("news");
        let call = Call::History { channel, after: Offset(after), count_max };
        let Ok(Answer::History { events, channel }) = world.ask(call) else { panic!("history") };
        assert_eq!(channel.head, Offset(5));
        events.into_iter().map(|event| event.offset.0).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 2), [1, 2]);
    assert_eq!(page(2, 99), [3, 4, 5]);
    assert!(page(5, 99).is_empty() && page(u64::MAX, 99).is_empty());
}

#[test]
fn a_session_is_seen_with_what_it_listens_to() {
    let mut world = World::new();
    let welcome = world.connect_as(1, Some("ann"), hello());
    world.subscribe(1, "news", Start::Now);
    (1..=3).for_each(|number| world.publish(1, number, "news", "a"));
    world.commit();
    world.ack(1, 2, &[(&name("news"), 2), (&name("unheard"), 9)]);
    world.commit();
    let ask = |world: &mut World| {
        let answer = world.ask(Call::Session { session: welcome.session });
        let Ok(Answer::Session(view)) = answer else { panic!("{answer:?}") };
        view
    };
    let view = ask(&mut world);
    assert_eq!(view.standing, SessionStanding::Connected(ConnectionKey(1)));
    assert_eq!((view.generation, view.accepted, view.reply_count), (1, 3, 2));
    let heard = view.subscriptions.iter().find(|held| held.channel == name("news"));
    assert_eq!(heard.map(|held| (held.acknowledged, held.lag)), Some((Offset(2), 1)));
    assert_eq!(view.subscriptions.len(), 3, "two inboxes");
    world.cut(1);
    let view = ask(&mut world);
    let expires_at_ms = world.now_ms + world.config.session_expiry_ms;
    assert_eq!(view.standing, SessionStanding::Away { expires_at_ms });
    assert_eq!(view.last_end.map(|end| end.reason), Some(EndReason::PeerEof));
}

#[test]
fn a_session_is_ended_from_outside() {
    let mut world = World::new();
    let welcome = world.connect(1, hello());
    let session = welcome.session;
    assert!(matches!(world.ask(Call::End { session }), Ok(Answer::Done)));
    assert_eq!(world.closed.get(&1), Some(&EndReason::Disconnected));
    for call in [Call::End { session }, Call::Session { session }] {
        assert_eq!(world.ask(call).expect_err("gone").code, ErrorCode::Unreachable);
    }
    assert_eq!(world.connect(2, resume(&welcome)).standing, Standing::Unknown);
}
