//! What servers want to hear and what they say: one dialect for each way to subscribe and publish.

use clap::ValueEnum;
use mainstay_peers::event::event;
use mainstay_wire::ChannelName;
use mainstay_wire::frame::{Compression, Opcode, encode_frame};
use mainstay_wire::session::{
    Ack, ClientFrame, Delivery, Encoding, Hello, Offset, Payload, PresenceMode, Publish,
    ServerFrame, Start, Subscribe,
};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Messages of whoever is no subscriber go to `?channel=news` as they are
    Relay,
    /// Plain listeners of Mainstay; a session publishes
    Mainstay,
    /// Sessions of Mainstay, which acknowledge
    MainstaySession,
    /// NATS over WebSocket
    Nats,
    /// Socket.IO over WebSocket: the event `publish` is passed on to all as `news`
    Socketio,
}

/// Which side of the fan-out a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Subscriber,
    Publisher,
}

/// What came of a message, or of having opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// More is to come before the connection is ready.
    Nothing,
    /// The same, and this is to be sent.
    Say(Vec<u8>),
    /// Events can be published, or are heard from behind this offset on.
    Ready(u64),
}

impl Dialect {
    /// Path and query that a part opens, where the user named `path`.
    pub fn target(self, part: Part, path: &str) -> String {
        match (self, part) {
            (Dialect::Relay | Dialect::Mainstay, Part::Subscriber) => {
                format!("{path}?channel={CHANNEL}")
            }
            (Dialect::Socketio, _) => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            _ => path.to_owned(),
        }
    }

    /// The subprotocol that a part asks for.
    pub fn subprotocol(self, part: Part) -> Option<&'static str> {
        self.is_session(part).then(|| Encoding::Json.subprotocol())
    }

    /// Whether a part is a session of Mainstay.
    pub fn is_session(self, part: Part) -> bool {
        match self {
            Dialect::MainstaySession => true,
            Dialect::Mainstay => part == Part::Publisher,
            Dialect::Relay | Dialect::Nats | Dialect::Socketio => false,
        }
    }

    /// What follows once the WebSocket is open.
    pub fn greet(self, part: Part) -> Heard {
        match self {
            _ if self.is_session(part) => {
                Heard::Say(session_frame(&ClientFrame::Hello(Box::new(Hello {
                    client: "load".to_owned(),
                    unanswered_from: 1,
                    ..Hello::default()
                }))))
            }
            Dialect::Nats | Dialect::Socketio => Heard::Nothing,
            _ => Heard::Ready(0),
        }
    }

    /// Takes in a message of a connection that is not ready.
    ///
    /// # Errors
    /// In words: the server does not want this connection.
    pub fn hear(self, part: Part, message: &[u8]) -> Result<Heard, String> {
        let refused = || format!("the server says {}", String::from_utf8_lossy(message));
        match self {
            _ if self.is_session(part) => self.hear_session(part, message).ok_or_else(refused),
            Dialect::Nats if message.starts_with(b"INFO") => Ok(Heard::Say(nats_opening(part))),
            Dialect::Nats if message.starts_with(b"PONG") => Ok(Heard::Ready(0)),
            Dialect::Nats if message.starts_with(b"PING") => Ok(Heard::Say(nats_frame(NATS_PONG))),
            Dialect::Socketio if message.starts_with(b"0{") => Ok(Heard::Say(text_frame(b"40"))),
            Dialect::Socketio if message.starts_with(b"40") => Ok(Heard::Ready(0)),
            Dialect::Socketio if message == b"2" => Ok(Heard::Say(text_frame(b"3"))),
            _ => Err(refused()),
        }
    }

    fn hear_session(self, part: Part, message: &[u8]) -> Option<Heard> {
        let frame = Encoding::Json.decode_server(message).ok()?;
        Some(match (frame, part) {
            (ServerFrame::Welcome(_), Part::Publisher) => Heard::Ready(0),
            (ServerFrame::Welcome(_), Part::Subscriber) => {
                Heard::Say(session_frame(&ClientFrame::Subscribe(Subscribe {
                    channel: channel(),
                    start: Start::Now,
                    delivery: Delivery::Every,
                    presence: PresenceMode::None,
                })))
            }
            (ServerFrame::Subscribed(subscribed), _) if subscribed.channel == channel() => {
                Heard::Ready(subscribed.offset.0)
            }
            (ServerFrame::Ping, _) => Heard::Say(session_frame(&ClientFrame::Pong)),
            (ServerFrame::Problem(_), _) => return None,
            _ => Heard::Nothing,
        })
    }

    /// The answer to a small frame of a connection that is ready, if it wants one.
    pub fn answer(self, part: Part, first: u8, payload: &[u8]) -> Option<Vec<u8>> {
        match (first, self) {
            (PING, _) => Some(frame(Opcode::Pong, payload)),
            (TEXT, _) if self.is_session(part) => {
                let is_ping = Encoding::Json.decode_server(payload) == Ok(ServerFrame::Ping);
                is_ping.then(|| session_frame(&ClientFrame::Pong))
            }
            (BINARY, Dialect::Nats) if payload == b"PING\r\n" => Some(nats_frame(NATS_PONG)),
            (TEXT, Dialect::Socketio) if payload == b"2" => Some(text_frame(b"3")),
            _ => None,
        }
    }

    /// A burst of events, the first of which has this number, counted from 1.
    pub fn burst(self, count: usize, first_number: u64) -> Vec<u8> {
        let event = event();
        let publish = |index: usize| match self {
            Dialect::Relay => text_frame(event.as_bytes()),
            Dialect::Mainstay | Dialect::MainstaySession => {
                session_frame(&ClientFrame::Publish(Publish {
                    number: first_number + index as u64,
                    channel: channel(),
                    payload: Payload::text(&event),
                }))
            }
            Dialect::Nats => {
                nats_frame(format!("PUB {CHANNEL} {}\r\n{event}\r\n", event.len()).as_bytes())
            }
            Dialect::Socketio => text_frame(format!(r#"42["publish","{event}"]"#).as_bytes()),
        };
        (0..count).flat_map(publish).collect()
    }
}

/// Says that a session has the events up to `offset`, and the outcomes below `unanswered_from`.
pub fn acknowledgement(unanswered_from: u64, offset: Option<u64>) -> Vec<u8> {
    let cursors = offset.map(|offset| (channel(), Offset(offset))).into_iter().collect();
    session_frame(&ClientFrame::Ack(Ack { unanswered_from, cursors }))
}

/// How often sessions must acknowledge (PROTOCOL.md, "Acknowledgements").
pub const ACKNOWLEDGED_COUNT: u64 = 64;

pub fn session_frame(frame: &ClientFrame) -> Vec<u8> {
    let mut json = Vec::new();
    Encoding::Json.encode_client(frame, &mut json);
    text_frame(&json)
}

fn nats_opening(part: Part) -> Vec<u8> {
    let subscription = match part {
        Part::Subscriber => format!("SUB {CHANNEL} 1\r\n"),
        Part::Publisher => String::new(),
    };
    // The PONG says that all before it is done.
    let lines = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"load\",\"version\":\"1\",\"protocol\":1}}\r\n\
         {subscription}PING\r\n"
    );
    nats_frame(lines.as_bytes())
}

fn nats_frame(lines: &[u8]) -> Vec<u8> {
    frame(Opcode::Binary, lines)
}

fn text_frame(text: &[u8]) -> Vec<u8> {
    frame(Opcode::Text, text)
}

/// One frame, masked as a client's must be.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(opcode, Compression::Plain, Some(MASK), payload, &mut frame);
    frame
}

#[expect(clippy::expect_used, reason = "the name is a constant and valid")]
fn channel() -> ChannelName {
    ChannelName::parse(CHANNEL).expect("a valid name")
}

const CHANNEL: &str = "news";
const NATS_PONG: &[u8] = b"PONG\r\n";
/// RFC 6455 §5.3 asks for a fresh one per frame, so that a web page cannot choose the bytes that a
/// proxy sees; here nobody chooses and no proxy listens, and the server has the same work.
const MASK: [u8; 4] = [0x4d, 0x61, 0x69, 0x6e];
/// First bytes of unfragmented frames (RFC 6455 §5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

#[cfg(test)]
mod tests {
    use mainstay_peers::event::count_events;
    use mainstay_wire::deflate::Inflater;
    use mainstay_wire::{Limits, Message, Reader, Role};

    use super::*;

    const ALL: [Dialect; 5] = [
        Dialect::Relay,
        Dialect::Mainstay,
        Dialect::MainstaySession,
        Dialect::Nats,
        Dialect::Socketio,
    ];

    fn messages(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut reader = Reader::new(Role::Client, Compression::Plain);
        let (limits, mut inflater) = (Limits::default(), Inflater::default());
        let mut input = &mut bytes[..];
        let mut messages = Vec::new();
        while let Some(message) = reader.read(&mut input, &limits, &mut inflater).unwrap() {
            messages.push(match message {
                Message::Text(text) => text.as_bytes().to_vec(),
                Message::Binary(bytes) | Message::Pong(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            });
        }
        messages
    }

    #[test]
    fn a_burst_is_one_message_and_one_marker_for_each_event() {
        for dialect in ALL {
            let messages = messages(dialect.burst(16, 5));
            assert_eq!(messages.len(), 16, "{dialect:?}");
            assert!(messages.iter().all(|message| count_events(message) == 1), "{dialect:?}");
        }
    }

    #[test]
    fn pings_are_answered_and_nothing_else() {
        let subscriber = Part::Subscriber;
        for dialect in ALL {
            let pong = dialect.answer(subscriber, PING, b"ab").unwrap();
            assert_eq!(messages(pong), [b"ab"]);
            assert_eq!(dialect.answer(subscriber, TEXT, b"other"), None);
        }
        for (dialect, ping, pong, first) in [
            (Dialect::Nats, &b"PING\r\n"[..], &b"PONG\r\n"[..], BINARY),
            (Dialect::Socketio, b"2", b"3", TEXT),
            (Dialect::MainstaySession, br#"{"type":"ping"}"#, br#"{"type":"pong"}"#, TEXT),
        ] {
            let answer = dialect.answer(subscriber, first, ping).unwrap();
            assert_eq!(messages(answer), [pong]);
            assert_eq!(Dialect::Relay.answer(subscriber, first, ping), None);
        }
    }
}
