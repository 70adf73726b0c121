//! Sessions over a real socket, against a server that says what the test says.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]
#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod peer;

use std::path::Path;
use std::time::Duration;

use mainstay_client::frames::{
    ClientFrame, Encoding, Epoch, ErrorCode, Event, Failure, Gap, GapReason, Hello, Offset,
    Outcome, Payload, Reply, Request, ServerFrame, SessionId, SessionLimits, Standing, Start,
    Subscribed, Token, Welcome,
};
use mainstay_client::{
    ChannelItem, ChannelName, ConnectError, Published, ReconnectPolicy, RequestFailure, SendError,
    Session, SessionBuilder, SessionEnd, SessionError, SessionState, StateFileError,
    SubscribeError, SubscribeOptions, SubscriptionEnd,
};
use mainstay_wire::frame::Opcode;
use peer::{Peer, Server, within};

/// A connection whose server speaks frames.
struct Talk {
    peer: Peer,
    encoding: Encoding,
}

impl Talk {
    /// Accepts a connection, its hello read and not answered.
    async fn accept(server: &Server, encoding: Encoding) -> (Talk, Hello) {
        let peer = server.accept_subprotocol(encoding.subprotocol()).await;
        let mut talk = Talk { peer, encoding };
        let ClientFrame::Hello(hello) = talk.hear().await else { panic!("no hello") };
        (talk, *hello)
    }

    async fn welcome(server: &Server, standing: Standing, accepted: u64) -> (Talk, Hello) {
        let (mut talk, hello) = Talk::accept(server, Encoding::Json).await;
        talk.say(welcome(standing, accepted)).await;
        (talk, hello)
    }

    async fn say(&mut self, frame: ServerFrame) {
        let mut bytes = Vec::new();
        self.encoding.encode_server(&frame, &mut bytes);
        self.peer.send_frame(self.encoding.opcode(), &bytes).await;
    }

    /// The next frame that is no acknowledgement.
    async fn hear(&mut self) -> ClientFrame {
        loop {
            match self.hear_any().await {
                ClientFrame::Ack(_) => {}
                frame => return frame,
            }
        }
    }

    async fn hear_any(&mut self) -> ClientFrame {
        let frame = self.peer.frame().await.expect("a frame");
        assert_eq!(frame.opcode, self.encoding.opcode());
        self.encoding.decode_client(&frame.payload).expect("a client's frame")
    }

    async fn hear_request(&mut self) -> (u64, String) {
        match self.hear().await {
            ClientFrame::Request(request) => (request.number, request.command),
            ClientFrame::Publish(publish) => (publish.number, publish.channel.to_string()),
            other => panic!("{other:?} is no request"),
        }
    }

    /// Closes with a code, and ends TCP once the client has answered.
    async fn close(mut self, code: u16) {
        self.peer.close(code).await;
        while self.peer.frame().await.is_some_and(|frame| frame.opcode != Opcode::Close) {}
    }

    /// Answers the client's Close frame.
    async fn closed(mut self) {
        while self.peer.frame().await.expect("a Close frame").opcode != Opcode::Close {}
        self.peer.close(1000).await;
    }

    async fn subscribed(&mut self, epoch: u64, offset: u64) {
        self.subscribed_at(epoch, offset, offset).await;
    }

    async fn subscribed_at(&mut self, epoch: u64, offset: u64, head: u64) {
        let (epoch, offset, head) = (Epoch(epoch), Offset(offset), Offset(head));
        let subscribed = Subscribed { channel: news(), epoch, offset, head, member_count: 0 };
        self.say(ServerFrame::Subscribed(subscribed)).await;
    }

    async fn event(&mut self, offset: u64) {
        let offset = Offset(offset);
        let payload = Payload::json(&offset.0.into());
        self.say(ServerFrame::Event(Event { channel: news(), offset, at_ms: 1, payload })).await;
    }

    async fn done(&mut self, number: u64) {
        let outcome = Outcome::Done(Payload::json(&number.into()));
        self.say(ServerFrame::Reply(Reply { number, outcome })).await;
    }
}

fn news() -> ChannelName {
    ChannelName::parse("news").unwrap()
}

fn welcome(standing: Standing, accepted: u64) -> ServerFrame {
    let session = match standing {
        Standing::New | Standing::Resumed => 1,
        Standing::Expired | Standing::Unknown => 2,
    };
    ServerFrame::Welcome(Box::new(Welcome {
        standing,
        session: SessionId::from_bytes([session; 16]),
        token: Token::from_bytes([session; 32]),
        generation: 1,
        accepted,
        principal: None,
        server: "test".to_owned(),
        ping_interval_ms: 25_000,
        session_expiry_ms: 600_000,
        limits: SessionLimits {
            request_count_max: 256,
            message_bytes_max: 65_536,
            subscription_count_max: 128,
            request_bytes_max: None,
        },
    }))
}

fn builder(url: &str) -> SessionBuilder {
    let soon = Duration::from_millis(20);
    Session::builder(url).reconnect(ReconnectPolicy {
        delay_base: soon,
        delay_max: soon,
        server_close_window: soon,
        ..ReconnectPolicy::default()
    })
}

/// A session that is open, and its connection.
async fn open(server: &Server, builder: SessionBuilder) -> (Session, Talk) {
    let (session, (talk, _)) =
        tokio::join!(builder.connect(), Talk::welcome(server, Standing::New, 0));
    (session.unwrap(), talk)
}

async fn item(subscription: &mut mainstay_client::Subscription) -> String {
    match within(subscription.recv()).await {
        Some(ChannelItem::Event { epoch, event }) => format!("event {}.{}", epoch.0, event.offset),
        Some(ChannelItem::Gap(gap)) => format!("gap {}-{}", gap.from, gap.offset),
        other => format!("{other:?}"),
    }
}

async fn closed(session: &Session) -> SessionEnd {
    let mut states = session.states();
    loop {
        match within(states.recv()).await {
            Some(SessionState::Closed { cause }) => return cause,
            Some(_) => {}
            None => panic!("the last state tells"),
        }
    }
}

#[tokio::test]
async fn messages_are_taken_as_long_as_the_welcome_says() {
    let server = Server::start().await;
    let accepting = async {
        let (mut talk, _) = Talk::accept(&server, Encoding::Json).await;
        let ServerFrame::Welcome(mut welcome) = welcome(Standing::New, 0) else { unreachable!() };
        welcome.limits.message_bytes_max = 3 << 20;
        talk.say(ServerFrame::Welcome(welcome)).await;
        talk
    };
    let (session, mut talk) = tokio::join!(builder(&server.url()).connect(), accepting);
    let session = session.unwrap();
    let outcome = session.request("long", Payload::NULL).await.unwrap();
    assert_eq!(talk.hear_request().await.0, 1);
    let long = Payload::text(&"x".repeat((4 << 20) - 100));
    talk.say(ServerFrame::Reply(Reply { number: 1, outcome: Outcome::Done(long.clone()) })).await;
    assert_eq!(within(outcome).await, Ok(long));
}

#[tokio::test]
async fn a_request_outlives_its_connection_in_either_encoding() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let server = Server::start().await;
        let connecting = builder(&server.url()).encoding(encoding).connect();
        let accepting = async {
            let (mut talk, hello) = Talk::accept(&server, encoding).await;
            assert_eq!(hello.resume, None);
            talk.say(welcome(Standing::New, 0)).await;
            talk
        };
        let (session, mut talk) = tokio::join!(connecting, accepting);
        let session = session.unwrap();
        let done = session.request("a", Payload::NULL).await.unwrap();
        let again = session.request("b", Payload::NULL).await.unwrap();
        assert_eq!(talk.hear_request().await, (1, "a".to_owned()));
        drop(talk);
        let (mut talk, hello) = Talk::accept(&server, encoding).await;
        assert_eq!(hello.unanswered_from, 1);
        assert_eq!(hello.resume.unwrap().1, Token::from_bytes([1; 32]));
        talk.say(welcome(Standing::Resumed, 1)).await;
        assert_eq!(talk.hear_request().await, (2, "b".to_owned()));
        talk.done(1).await;
        talk.done(2).await;
        assert_eq!(within(done).await, Ok(Payload::json(&1.into())));
        assert_eq!(within(again).await, Ok(Payload::json(&2.into())));
    }
}

#[tokio::test]
async fn a_subscription_goes_on_over_connections_without_duplicates() {
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url())).await;
    let options = SubscribeOptions { start: Start::Last(10), ..SubscribeOptions::default() };
    let mut subscription = session.subscribe(&news(), options).await.unwrap();
    let taken = session.subscribe(&news(), options).await.map(|_| ());
    assert_eq!(taken, Err(SubscribeError::Taken));
    assert!(matches!(talk.hear().await, ClientFrame::Subscribe(_)));
    talk.subscribed(5, 10).await;
    talk.event(11).await;
    talk.event(12).await;
    assert_eq!(item(&mut subscription).await, "event 5.11");
    assert_eq!(item(&mut subscription).await, "event 5.12");
    drop(talk);
    let (mut talk, hello) = Talk::welcome(&server, Standing::Resumed, 0).await;
    let cursor = &hello.cursors[0];
    assert_eq!((cursor.epoch, cursor.offset), (Epoch(5), Offset(11)), "12 is not done with");
    talk.subscribed_at(5, 11, 21).await;
    talk.event(12).await;
    talk.say(ServerFrame::Gap(Gap {
        channel: news(),
        from_epoch: Epoch(5),
        from: Offset(13),
        to: Some(Offset(20)),
        reason: GapReason::Trimmed,
        epoch: Epoch(5),
        offset: Offset(20),
    }))
    .await;
    talk.event(21).await;
    assert_eq!(item(&mut subscription).await, "gap 13-20");
    assert_eq!(item(&mut subscription).await, "event 5.21");
    // What was given last is acknowledged once it is done with.
    subscription.consumed();
    loop {
        if let ClientFrame::Ack(ack) = talk.hear_any().await
            && ack.cursors == [(news(), Offset(21))]
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_subscription_that_is_dropped_keeps_its_place() {
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url())).await;
    let options = SubscribeOptions::default();
    let mut subscription = session.subscribe(&news(), options).await.unwrap();
    talk.hear().await;
    talk.subscribed(5, 10).await;
    talk.event(11).await;
    talk.event(12).await;
    assert_eq!(item(&mut subscription).await, "event 5.11");
    assert_eq!(item(&mut subscription).await, "event 5.12");
    drop(subscription);
    assert!(matches!(talk.hear().await, ClientFrame::Unsubscribe { .. }));
    let mut subscription = session.subscribe(&news(), options).await.unwrap();
    let ClientFrame::Subscribe(wish) = talk.hear().await else { panic!("no subscribe") };
    assert_eq!(wish.start, Start::After { epoch: Some(Epoch(5)), offset: Offset(11) });
    talk.say(ServerFrame::Unsubscribed(mainstay_client::frames::Unsubscribed {
        channel: news(),
        failure: None,
    }))
    .await;
    talk.subscribed(5, 11).await;
    talk.event(12).await;
    assert_eq!(item(&mut subscription).await, "event 5.12");
    // One that the server ends says why.
    let failure = Failure { code: ErrorCode::NotPermitted, message: "no".to_owned() };
    talk.say(ServerFrame::Unsubscribed(mainstay_client::frames::Unsubscribed {
        channel: news(),
        failure: Some(failure.clone()),
    }))
    .await;
    assert!(within(subscription.recv()).await.is_none());
    assert_eq!(subscription.end(), Some(SubscriptionEnd::Refused(failure)));
}

#[tokio::test]
async fn a_later_run_goes_on_where_the_earlier_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let server = Server::start().await;
    let with_file = || builder(&server.url()).state_file(&path);
    let (session, mut talk) = open(&server, with_file()).await;
    let mut subscription = session.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    talk.hear().await;
    talk.subscribed(5, 10).await;
    talk.event(11).await;
    assert_eq!(item(&mut subscription).await, "event 5.11");
    subscription.consumed();
    let pending = session.publish(&news(), Payload::text("x")).await.unwrap();
    assert_eq!(talk.hear_request().await, (1, "news".to_owned()));
    let in_use = with_file().start().await.map(|_| ());
    assert!(matches!(in_use, Err(SessionError::StateFile(StateFileError::InUse { .. }))));
    tokio::join!(session.leave(), talk.closed());
    assert_eq!(within(pending).await, Err(RequestFailure::Left));
    assert!(matches!(closed(&session).await, SessionEnd::Left));
    assert_eq!(session.request("x", Payload::NULL).await.map(|_| ()), Err(SendError::Over));

    let (session, (mut talk, hello)) =
        tokio::join!(with_file().connect(), Talk::welcome(&server, Standing::Resumed, 1));
    let session = session.unwrap();
    assert!(hello.resume.is_some());
    assert_eq!(hello.cursors, [], "nobody has subscribed in this run yet");
    let mut restored = session.restored();
    assert_eq!(restored.len(), 1);
    assert!(session.restored().is_empty(), "once");
    let outcome = Outcome::Published { epoch: Epoch(5), offset: Offset(12) };
    talk.say(ServerFrame::Reply(Reply { number: 1, outcome: outcome.clone() })).await;
    assert_eq!(within(restored.remove(0).pending).await, Ok(outcome));
    let _subscription = session.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    let ClientFrame::Subscribe(wish) = talk.hear().await else { panic!("no subscribe") };
    assert_eq!(wish.start, Start::After { epoch: Some(Epoch(5)), offset: Offset(11) });
}

#[tokio::test]
async fn what_publish_has_returned_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("state"), folder.path().join("copy"));
    let server = Server::start().await;
    // No connection is accepted: the file is all there is.
    let session = builder(&server.url()).state_file(&path).start().await.unwrap();
    for _ in 0..3 {
        let _outcome = session.publish(&news(), Payload::text("x")).await.unwrap();
    }
    std::fs::copy(&path, &copy).unwrap();
    drop(session);
    let server = Server::replace(server).await;
    let again = builder(&server.url()).state_file(&copy).start().await.unwrap();
    let (mut talk, _) = Talk::welcome(&server, Standing::New, 0).await;
    for number in 1..=3 {
        assert_eq!(talk.hear_request().await, (number, "news".to_owned()));
    }
    assert_eq!(again.restored().len(), 3);
}

#[tokio::test]
async fn a_place_that_was_kept_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("state"), folder.path().join("copy"));
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url()).state_file(&path)).await;
    let mut subscription = session.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    talk.hear().await;
    talk.subscribed(5, 10).await;
    for offset in 11..=13 {
        talk.event(offset).await;
        assert_eq!(item(&mut subscription).await, format!("event 5.{offset}"));
        within(subscription.keep_place()).await;
    }
    std::fs::copy(&path, &copy).unwrap();
    drop((session, subscription));
    let server = Server::replace(server).await;
    let again = builder(&server.url()).state_file(&copy).start().await.unwrap();
    let (mut talk, _) = Talk::welcome(&server, Standing::Resumed, 0).await;
    let _subscription = again.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    let ClientFrame::Subscribe(wish) = talk.hear().await else { panic!("no subscribe") };
    assert_eq!(wish.start, Start::After { epoch: Some(Epoch(5)), offset: Offset(13) });
}

#[tokio::test]
async fn a_state_file_belongs_to_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let open = |url: &'static str, path: &Path| builder(url).state_file(path).start();
    drop(open("ws://127.0.0.1:1/server", &path).await.unwrap());
    let other = loop {
        match open("ws://127.0.0.1:1/other", &path).await.map(|_| ()) {
            // The first one is still on its way out.
            Err(SessionError::StateFile(StateFileError::InUse { .. })) => {
                tokio::task::yield_now().await;
            }
            other => break other.unwrap_err().to_string(),
        }
    };
    assert!(other.contains("belongs to ws://127.0.0.1:1/server, not to"), "{other}");
}

#[tokio::test]
async fn a_server_without_the_dialect_is_refused_in_words() {
    let server = Server::start().await;
    let (refused, _peer) = tokio::join!(builder(&server.url()).connect(), server.accept());
    let error = refused.map(|_| ()).unwrap_err();
    assert!(matches!(error, SessionError::Connect(ConnectError::Dialect { .. })), "{error:?}");
    assert!(error.to_string().contains("does not speak the session dialect"), "{error}");
}

#[tokio::test]
async fn a_session_that_was_taken_over_does_not_come_back() {
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url())).await;
    let pending = session.request("a", Payload::NULL).await.unwrap();
    let mut subscription = session.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    talk.hear_request().await;
    talk.close(4200).await;
    assert!(matches!(closed(&session).await, SessionEnd::Superseded));
    assert_eq!(within(pending).await, Err(RequestFailure::Indeterminate));
    assert!(within(subscription.recv()).await.is_none());
    assert_eq!(subscription.end(), Some(SubscriptionEnd::SessionOver));
}

#[tokio::test]
async fn a_code_that_says_stop_stops_and_is_told() {
    let server = Server::start().await;
    let (session, talk) = open(&server, builder(&server.url())).await;
    talk.close(4201).await;
    let SessionEnd::Server(end) = closed(&session).await else { panic!("the server's end") };
    assert_eq!(end.code, Some(4201));
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_and_not_the_session() {
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url())).await;
    talk.peer.send("{\"type\":\"nonsense\"}").await;
    assert_eq!(talk.peer.close_code().await, Some(1002));
    let (_talk, hello) = Talk::welcome(&server, Standing::Resumed, 0).await;
    assert!(hello.resume.is_some());
    let mut states = session.states();
    while !matches!(within(states.recv()).await, Some(SessionState::Open(_))) {}
}

#[tokio::test]
async fn handlers_answer_the_servers_commands() {
    let server = Server::start().await;
    let builder = builder(&server.url())
        .handler("echo", |command| async move { Ok(command.payload) })
        .handler("fail", |_| async move { Err("sorry".to_owned()) })
        .handler("panic", |_| async move { panic!("on purpose") })
        .handler("hang", |_| std::future::pending());
    let (_session, mut talk) = open(&server, builder).await;
    let commands = ["echo", "fail", "panic", "hang", "hang", "none"];
    for (number, command) in (1..).zip(commands) {
        // The fourth has a deadline, the fifth is cancelled.
        let deadline_ms = (number == 4).then_some(1);
        let (command, payload) = (command.to_owned(), Payload::text("x"));
        talk.say(ServerFrame::Request(Request { number, command, payload, deadline_ms })).await;
    }
    talk.say(ServerFrame::Cancel { number: 5 }).await;
    let mut words = [""; 6];
    for _ in 0..6 {
        let ClientFrame::Reply(reply) = talk.hear().await else { panic!("no reply") };
        words[reply.number as usize - 1] = match reply.outcome {
            Outcome::Done(payload) => {
                assert_eq!(payload, Payload::text("x"));
                "done"
            }
            Outcome::Failed(failure) => failure.code.word(),
            other => panic!("{other:?}"),
        };
    }
    let expected =
        ["done", "handler_failed", "internal", "deadline_exceeded", "cancelled", "never_ran"];
    assert_eq!(words, expected);
}

#[tokio::test]
async fn an_application_that_does_not_read_makes_the_server_wait_and_loses_nothing() {
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url())).await;
    let mut subscription = session.subscribe(&news(), SubscribeOptions::default()).await.unwrap();
    talk.hear().await;
    talk.subscribed(5, 0).await;
    let payload = Payload::text(&"x".repeat(60_000));
    let mut sent = 0;
    // Far more than queue, sockets and buffers hold.
    let stuck = tokio::time::timeout(Duration::from_secs(2), async {
        for offset in 1..=1000 {
            let (channel, payload) = (news(), payload.clone());
            let event = Event { channel, offset: Offset(offset), at_ms: 1, payload };
            talk.say(ServerFrame::Event(event)).await;
            sent = offset;
        }
    });
    assert!(stuck.await.is_err(), "{sent} events were taken");
    for offset in 1..=sent {
        assert_eq!(item(&mut subscription).await, format!("event 5.{offset}"));
    }
}

#[tokio::test]
async fn closing_says_bye_and_leaves_no_session_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let server = Server::start().await;
    let (session, mut talk) = open(&server, builder(&server.url()).state_file(&path)).await;
    let bye = async {
        assert_eq!(talk.hear().await, ClientFrame::Bye);
        talk.close(1000).await;
    };
    tokio::join!(session.close(), bye);
    assert!(matches!(closed(&session).await, SessionEnd::Closed));
    let _session = builder(&server.url()).state_file(&path).start().await.unwrap();
    let (_talk, hello) = Talk::accept(&server, Encoding::Json).await;
    assert_eq!(hello.resume, None);
}

#[tokio::test]
async fn what_has_no_connection_waits_for_one() {
    let server = Server::start().await;
    let session = builder(&server.url()).start().await.unwrap();
    let pending = session.publish(&news(), Payload::text("x")).await.unwrap();
    let late = Duration::from_millis(1);
    let late = session.request_within(late, "a", Payload::NULL).await.unwrap();
    assert!(matches!(within(late).await, Err(RequestFailure::NeverRan(_))));
    let (mut talk, _) = Talk::welcome(&server, Standing::New, 0).await;
    assert_eq!(talk.hear_request().await, (1, "news".to_owned()));
    let (epoch, offset) = (Epoch(5), Offset(1));
    let outcome = Outcome::Published { epoch, offset };
    talk.say(ServerFrame::Reply(Reply { number: 1, outcome })).await;
    assert_eq!(within(pending).await, Ok(Published { epoch, offset }));
}
