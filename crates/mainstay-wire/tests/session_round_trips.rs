//! Whatever a program can say comes back the same, in both encodings.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

use mainstay_wire::ChannelName;
use mainstay_wire::session::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{self, Index};
use proptest::test_runner::RngSeed;

proptest! {
    // The same cases on every run, and no file of regressions.
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(6455),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn client_frames_come_back(frame in client_frame()) {
        for encoding in Encoding::ALL {
            let mut out = b"before".to_vec();
            encoding.encode_client(&frame, &mut out);
            prop_assert!(out.starts_with(b"before"), "the frame is appended");
            prop_assert_eq!(encoding.decode_client(&out[6..]), Ok(frame.clone()));
        }
    }

    #[test]
    fn server_frames_come_back(frame in server_frame()) {
        for encoding in Encoding::ALL {
            let mut out = b"before".to_vec();
            encoding.encode_server(&frame, &mut out);
            prop_assert!(out.starts_with(b"before"), "the frame is appended");
            prop_assert_eq!(encoding.decode_server(&out[6..]), Ok(frame.clone()));
        }
    }

    #[test]
    fn the_length_of_a_message_is_known_before_it_is_written(
        reply in reply(), request in request(), publish in publish()
    ) {
        for &encoding in Encoding::ALL {
            let from_client = |frame: ClientFrame| {
                let mut out = Vec::new();
                encoding.encode_client(&frame, &mut out);
                out.len()
            };
            let from_server = |frame: ServerFrame| {
                let mut out = Vec::new();
                encoding.encode_server(&frame, &mut out);
                out.len()
            };
            let bytes = encoding.reply_bytes(&reply);
            prop_assert_eq!(bytes, from_client(ClientFrame::Reply(reply.clone())));
            prop_assert_eq!(bytes, from_server(ServerFrame::Reply(reply.clone())));
            let bytes = encoding.request_bytes(&request);
            prop_assert_eq!(bytes, from_client(ClientFrame::Request(request.clone())));
            prop_assert_eq!(bytes, from_server(ServerFrame::Request(request.clone())));
            let bytes = encoding.publish_bytes(&publish);
            prop_assert_eq!(bytes, from_client(ClientFrame::Publish(publish.clone())));
        }
    }

    #[test]
    fn the_short_way_through_json_reads_as_the_long_way(
        client in client_frame(), server in server_frame(), damage in vec(damage(), 0..3),
    ) {
        let (mut said, mut heard) = (Vec::new(), Vec::new());
        Encoding::Json.encode_client(&client, &mut said);
        Encoding::Json.encode_server(&server, &mut heard);
        for (at, byte) in damage {
            let (said_at, heard_at) = (at.index(said.len()), at.index(heard.len()));
            said[said_at] = byte;
            heard[heard_at] = byte;
        }
        if let (Some(unusual_said), Some(unusual_heard)) = (unusual(&said), unusual(&heard)) {
            let (short, long) = [&said, &unusual_said].map(|json| Encoding::Json.decode_client(json)).into();
            prop_assert_eq!(short.ok(), long.ok());
            let (short, long) = [&heard, &unusual_heard].map(|json| Encoding::Json.decode_server(json)).into();
            prop_assert_eq!(short.ok(), long.ok());
        }
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again(bytes in vec(any::<u8>(), 0..60)) {
        for encoding in Encoding::ALL {
            if let Ok(frame) = encoding.decode_client(&bytes) {
                let mut out = Vec::new();
                encoding.encode_client(&frame, &mut out);
                prop_assert_eq!(encoding.decode_client(&out), Ok(frame));
            }
            if let Ok(frame) = encoding.decode_server(&bytes) {
                let mut out = Vec::new();
                encoding.encode_server(&frame, &mut out);
                prop_assert_eq!(encoding.decode_server(&out), Ok(frame));
            }
        }
    }
}

/// The same message with a member more that means nothing, and whose name is escaped: such a one is
/// read the long way.
fn unusual(json: &[u8]) -> Option<Vec<u8>> {
    let end = json.iter().rposition(|byte| *byte == b'}')?;
    Some([&json[..end], br#","\u007e":0"#, &json[end..]].concat())
}

/// A place, and a byte that means something to JSON.
fn damage() -> impl Strategy<Value = (Index, u8)> {
    (any::<Index>(), prop_oneof![any::<u8>(), sample::select(&b"{}[]\",:\\0-.e \n"[..])])
}

fn client_frame() -> BoxedStrategy<ClientFrame> {
    let hello = (any::<String>(), option::of((session(), token())), number(), number(), cursors())
        .prop_map(|(client, resume, unanswered_from, accepted, cursors)| {
            let hello = Hello { client, resume, unanswered_from, accepted, cursors };
            ClientFrame::Hello(Box::new(hello))
        });
    let publish = publish().prop_map(ClientFrame::Publish);
    let subscribe = (channel(), start(), delivery(), presence_mode()).prop_map(
        |(channel, start, delivery, presence)| {
            ClientFrame::Subscribe(Subscribe { channel, start, delivery, presence })
        },
    );
    let ack = (number(), vec((channel(), offset()), 0..4))
        .prop_map(|(unanswered_from, cursors)| ClientFrame::Ack(Ack { unanswered_from, cursors }));
    prop_oneof![
        hello,
        request().prop_map(ClientFrame::Request),
        number().prop_map(|number| ClientFrame::Cancel { number }),
        publish,
        reply().prop_map(ClientFrame::Reply),
        subscribe,
        channel().prop_map(|channel| ClientFrame::Unsubscribe { channel }),
        ack,
        Just(ClientFrame::Ping),
        Just(ClientFrame::Pong),
        Just(ClientFrame::Bye),
    ]
    .boxed()
}

fn server_frame() -> BoxedStrategy<ServerFrame> {
    let subscribed = (channel(), epoch(), offset(), offset(), any::<u32>()).prop_map(
        |(channel, epoch, offset, head, member_count)| {
            ServerFrame::Subscribed(Subscribed { channel, epoch, offset, head, member_count })
        },
    );
    let event =
        (channel(), offset(), number(), payload()).prop_map(|(channel, offset, at_ms, payload)| {
            ServerFrame::Event(Event { channel, offset, at_ms, payload })
        });
    let gap = (channel(), epoch(), offset(), option::of(offset()), gap_reason(), epoch(), offset())
        .prop_map(|(channel, from_epoch, from, to, reason, epoch, offset)| {
            ServerFrame::Gap(Gap { channel, from_epoch, from, to, reason, epoch, offset })
        });
    let presence = (channel(), vec(member(), 0..4), vec(member(), 0..4), any::<u32>()).prop_map(
        |(channel, joined, left, member_count)| {
            ServerFrame::Presence(Presence { channel, joined, left, member_count })
        },
    );
    prop_oneof![
        welcome(),
        reply().prop_map(ServerFrame::Reply),
        request().prop_map(ServerFrame::Request),
        number().prop_map(|number| ServerFrame::Cancel { number }),
        subscribed,
        (channel(), option::of(failure())).prop_map(|(channel, failure)| {
            ServerFrame::Unsubscribed(Unsubscribed { channel, failure })
        }),
        event,
        gap,
        presence,
        number().prop_map(|number| ServerFrame::Ack { number }),
        Just(ServerFrame::Ping),
        Just(ServerFrame::Pong),
        (number(), any::<String>())
            .prop_map(|(window_ms, reason)| ServerFrame::Goaway(Goaway { window_ms, reason })),
        (failure(), option::of(channel()))
            .prop_map(|(failure, channel)| ServerFrame::Problem(Problem { failure, channel })),
    ]
    .boxed()
}

fn welcome() -> impl Strategy<Value = ServerFrame> {
    let standing = prop_oneof![
        Just(Standing::New),
        Just(Standing::Resumed),
        Just(Standing::Expired),
        Just(Standing::Unknown)
    ];
    let identity = (session(), token(), option::of(principal()), any::<String>());
    let numbers = (number(), number(), number(), number());
    let limits = (any::<[u32; 3]>(), option::of(any::<u32>()));
    (standing, identity, numbers, limits).prop_map(
        |(standing, (session, token, principal, server), numbers, (limits, request_bytes_max))| {
            let (generation, accepted, ping_interval_ms, session_expiry_ms) = numbers;
            ServerFrame::Welcome(Box::new(Welcome {
                standing,
                session,
                token,
                generation,
                accepted,
                principal,
                server,
                ping_interval_ms,
                session_expiry_ms,
                limits: SessionLimits {
                    request_count_max: limits[0],
                    message_bytes_max: limits[1],
                    subscription_count_max: limits[2],
                    request_bytes_max,
                },
            }))
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    (number(), any::<String>(), payload(), option::of(number())).prop_map(
        |(number, command, payload, deadline_ms)| Request { number, command, payload, deadline_ms },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    (number(), channel(), payload()).prop_map(|(number, channel, payload)| Publish {
        number,
        channel,
        payload,
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let outcome = prop_oneof![
        payload().prop_map(Outcome::Done),
        (epoch(), offset()).prop_map(|(epoch, offset)| Outcome::Published { epoch, offset }),
        failure().prop_map(Outcome::Failed),
        Just(Outcome::Indeterminate),
    ];
    (number(), outcome).prop_map(|(number, outcome)| Reply { number, outcome })
}

fn failure() -> impl Strategy<Value = Failure> {
    let code = (0..ErrorCode::ALL.len()).prop_map(|index| ErrorCode::ALL[index]);
    (code, any::<String>()).prop_map(|(code, message)| Failure { code, message })
}

fn gap_reason() -> impl Strategy<Value = GapReason> {
    (0..GapReason::ALL.len()).prop_map(|index| GapReason::ALL[index])
}

fn cursors() -> impl Strategy<Value = Vec<Cursor>> {
    let cursor = (channel(), epoch(), offset(), delivery(), presence_mode()).prop_map(
        |(channel, epoch, offset, delivery, presence)| Cursor {
            channel,
            epoch,
            offset,
            delivery,
            presence,
        },
    );
    vec(cursor, 0..4)
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Now),
        Just(Start::After { epoch: None, offset: Offset::ZERO }),
        (epoch(), offset()).prop_map(|(epoch, offset)| Start::After { epoch: Some(epoch), offset }),
        any::<u32>().prop_map(Start::Last),
    ]
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![Just(Delivery::Every), Just(Delivery::Latest)]
}

fn presence_mode() -> impl Strategy<Value = PresenceMode> {
    prop_oneof![
        Just(PresenceMode::None),
        Just(PresenceMode::Join),
        Just(PresenceMode::Watch),
        Just(PresenceMode::JoinAndWatch)
    ]
}

fn member() -> impl Strategy<Value = Member> {
    (session(), option::of(principal()))
        .prop_map(|(session, principal)| Member { session, principal })
}

/// JSON as its author may have written it, and bytes that are none.
fn payload() -> impl Strategy<Value = Payload> {
    let written = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        vec(any::<u8>(), 0..4).prop_map(|list| format!("[ {list:?} ,\n{{\"a\\u0062\": 1.50e+1}}]")),
    ];
    prop_oneof![
        written.prop_map(Payload::from_json_bytes),
        vec(any::<u8>(), 0..20).prop_map(Payload::binary),
    ]
}

fn channel() -> impl Strategy<Value = ChannelName> {
    prop_oneof![
        "[A-Za-z0-9._:/-]{1,128}".prop_map(|name| ChannelName::parse(&name).expect("a name")),
        session().prop_map(ChannelName::session_inbox),
        principal().prop_map(|principal| ChannelName::principal_inbox(&principal)),
    ]
}

fn principal() -> impl Strategy<Value = Principal> {
    "[A-Za-z0-9._:/@+-]{1,96}".prop_map(|name| Principal::parse(&name).expect("a principal"))
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_bytes)
}

fn token() -> impl Strategy<Value = Token> {
    any::<[u8; 32]>().prop_map(Token::from_bytes)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

fn offset() -> impl Strategy<Value = Offset> {
    number().prop_map(Offset)
}

/// Small, large, and all between.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 0..1u64 << 53, Just((1u64 << 53) - 1)]
}
