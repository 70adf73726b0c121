//! A client session, and a test that plays its server frame by frame.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Ack, ClientFrame, Delivery, Epoch, Event, Failure, Gap, GapReason, Hello, Offset, Outcome,
    Payload, PresenceMode, Reply, ServerFrame, SessionId, SessionLimits, Standing, Start,
    Subscribe, Subscribed, Token, Welcome,
};

use crate::client::{
    ClientConfig, ClientEvent, ClientSession, CloseReason, Output, RequestKey, SavedState,
};

pub(super) struct Client {
    pub(super) session: ClientSession,
    pub(super) now_ms: u64,
    /// Everything that was to be done, in order.
    pub(super) outputs: Vec<Output>,
    /// What a driver would have on its disk.
    pub(super) disk: SavedState,
}

impl Client {
    pub(super) fn new() -> Client {
        Client::with(ClientConfig::new([7; 32]), None)
    }

    pub(super) fn with(config: ClientConfig, saved: Option<SavedState>) -> Client {
        let disk = saved.clone().unwrap_or_default();
        let session = ClientSession::new(config, saved);
        let mut client = Client { session, now_ms: 1000, outputs: Vec::new(), disk };
        client.drain();
        client
    }

    /// A client whose session has begun.
    pub(super) fn open() -> Client {
        let mut client = Client::new();
        client.connect(welcome(Standing::New));
        client.outputs.clear();
        client
    }

    /// Opens a connection; the hello that it sends.
    pub(super) fn hello(&mut self) -> Hello {
        self.session.handle_open(self.now_ms);
        self.drain();
        match self.frames().pop() {
            Some(ClientFrame::Hello(hello)) => *hello,
            other => panic!("{other:?} is no hello"),
        }
    }

    /// Opens a connection that is welcomed so.
    pub(super) fn connect(&mut self, welcome: Welcome) -> Hello {
        let hello = self.hello();
        self.hears(ServerFrame::Welcome(Box::new(welcome)));
        hello
    }

    pub(super) fn lose(&mut self) {
        self.session.handle_closed(self.now_ms, None);
        self.drain();
    }

    pub(super) fn closed_with(&mut self, code: u16) {
        self.session.handle_closed(self.now_ms, Some(code));
        self.drain();
    }

    pub(super) fn hears(&mut self, frame: ServerFrame) {
        self.session.handle_frame(self.now_ms, frame);
        self.drain();
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.session.handle_timeout(self.now_ms);
        self.drain();
    }

    pub(super) fn request(&mut self, command: &str) -> RequestKey {
        let key = self.session.request(self.now_ms, command, Payload::NULL, None).expect("room");
        self.drain();
        key
    }

    pub(super) fn subscribe(&mut self, channel: &str, start: Start) {
        self.session.subscribe(self.now_ms, subscribe(channel, start)).expect("room");
        self.drain();
    }

    pub(super) fn consumed(&mut self, channel: &str, epoch: u64, offset: u64) {
        self.session.consumed(self.now_ms, &name(channel), Epoch(epoch), Offset(offset));
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            if let Output::Persist(change) = &output {
                self.disk.apply(change);
            }
            self.outputs.push(output);
        }
        assert_eq!(&self.disk, self.session.saved(), "the changes tell all");
    }

    /// The frames since the last look; everything else since then is forgotten too.
    pub(super) fn frames(&mut self) -> Vec<ClientFrame> {
        let outputs = std::mem::take(&mut self.outputs).into_iter();
        outputs
            .filter_map(|output| match output {
                Output::Transmit(frame) => Some(frame),
                _ => None,
            })
            .collect()
    }

    /// The same as words: `request 1 a`, `cancel 1`, `ack 3 news:7` …
    pub(super) fn words(&mut self) -> Vec<String> {
        self.frames().iter().map(word).collect()
    }

    /// The events since the last look.
    pub(super) fn events(&mut self) -> Vec<ClientEvent> {
        let outputs = std::mem::take(&mut self.outputs).into_iter();
        outputs
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    pub(super) fn outcomes(&mut self) -> Vec<(RequestKey, Outcome)> {
        self.events().into_iter().filter_map(outcome).collect()
    }

    /// What the application was given of channels, as words: `event 5.7`, `gap 5.8-9 then 5.9`.
    pub(super) fn deliveries(&mut self) -> Vec<String> {
        let events = self.events().into_iter();
        events
            .filter_map(|event| match event {
                ClientEvent::Event { epoch, event } => {
                    Some(format!("event {}.{}", epoch.0, event.offset))
                }
                ClientEvent::Gap(gap) => {
                    let to = gap.to.map_or("?".to_owned(), |to| to.to_string());
                    let (from, then) = (gap.from_epoch.0, gap.epoch.0);
                    Some(format!("gap {from}.{}-{to} then {then}.{}", gap.from, gap.offset))
                }
                _ => None,
            })
            .collect()
    }

    pub(super) fn close_reason(&mut self) -> Option<CloseReason> {
        let outputs = std::mem::take(&mut self.outputs);
        outputs.into_iter().find_map(|output| match output {
            Output::CloseConnection { reason } => Some(reason),
            _ => None,
        })
    }
}

pub(super) fn word(frame: &ClientFrame) -> String {
    match frame {
        ClientFrame::Hello(_) => "hello".to_owned(),
        ClientFrame::Request(request) => format!("request {} {}", request.number, request.command),
        ClientFrame::Publish(publish) => format!("publish {} {}", publish.number, publish.channel),
        ClientFrame::Cancel { number } => format!("cancel {number}"),
        ClientFrame::Reply(reply) => format!("reply {}", reply.number),
        ClientFrame::Subscribe(subscribe) => format!("subscribe {}", subscribe.channel),
        ClientFrame::Unsubscribe { channel } => format!("unsubscribe {channel}"),
        ClientFrame::Ack(Ack { unanswered_from, cursors }) => {
            let cursors = cursors.iter().map(|(channel, offset)| format!(" {channel}:{offset}"));
            format!("ack {unanswered_from}{}", cursors.collect::<String>())
        }
        ClientFrame::Ping => "ping".to_owned(),
        ClientFrame::Pong => "pong".to_owned(),
        ClientFrame::Bye => "bye".to_owned(),
    }
}

pub(super) fn name(channel: &str) -> ChannelName {
    ChannelName::parse_any(channel).expect("a name")
}

/// Session 1 for a resume, session 2 for a new one after it.
pub(super) fn welcome(standing: Standing) -> Welcome {
    let number = match standing {
        Standing::New | Standing::Resumed => 1,
        Standing::Expired | Standing::Unknown => 2,
    };
    Welcome {
        standing,
        session: SessionId::from_bytes([number; 16]),
        token: Token::from_bytes([number; 32]),
        generation: 1,
        accepted: 0,
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
    }
}

pub(super) fn accepted(standing: Standing, accepted: u64) -> Welcome {
    Welcome { accepted, ..welcome(standing) }
}

pub(super) fn reply(number: u64) -> ServerFrame {
    ServerFrame::Reply(Reply { number, outcome: done(number) })
}

pub(super) fn done(number: u64) -> Outcome {
    Outcome::Done(Payload::from_json_bytes(number.to_string()))
}

/// What became of a request, whoever decided it.
pub(super) fn outcome(event: ClientEvent) -> Option<(RequestKey, Outcome)> {
    match event {
        ClientEvent::Outcome { key, outcome } => Some((key, outcome)),
        ClientEvent::GivenUp { key, failure } => Some((key, Outcome::Failed(failure))),
        _ => None,
    }
}

pub(super) fn code_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Failed(Failure { code, .. }) => code.word(),
        Outcome::Indeterminate => "indeterminate",
        Outcome::Done(_) => "done",
        Outcome::Published { .. } => "published",
    }
}

pub(super) fn subscribe(channel: &str, start: Start) -> Subscribe {
    Subscribe {
        channel: name(channel),
        start,
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    }
}

pub(super) fn subscribed(channel: &str, epoch: u64, offset: u64) -> ServerFrame {
    subscribed_at(channel, epoch, offset, offset)
}

/// Behind the head.
pub(super) fn subscribed_at(channel: &str, epoch: u64, offset: u64, head: u64) -> ServerFrame {
    ServerFrame::Subscribed(Subscribed {
        channel: name(channel),
        epoch: Epoch(epoch),
        offset: Offset(offset),
        head: Offset(head),
        member_count: 0,
    })
}

pub(super) fn event(channel: &str, offset: u64) -> ServerFrame {
    let (channel, offset) = (name(channel), Offset(offset));
    ServerFrame::Event(Event { channel, offset, at_ms: 5, payload: Payload::NULL })
}

/// Events `from ..= to` of an epoch are missing, and it goes on behind `to`.
pub(super) fn trimmed(channel: &str, epoch: u64, from: u64, to: u64) -> ServerFrame {
    ServerFrame::Gap(Gap {
        channel: name(channel),
        from_epoch: Epoch(epoch),
        from: Offset(from),
        to: Some(Offset(to)),
        reason: GapReason::Trimmed,
        epoch: Epoch(epoch),
        offset: Offset(to),
    })
}

/// Another epoch has begun.
pub(super) fn epoch_gap(channel: &str, from: (u64, u64), to: (u64, u64)) -> ServerFrame {
    ServerFrame::Gap(Gap {
        channel: name(channel),
        from_epoch: Epoch(from.0),
        from: Offset(from.1),
        to: None,
        reason: GapReason::Epoch,
        epoch: Epoch(to.0),
        offset: Offset(to.1),
    })
}
