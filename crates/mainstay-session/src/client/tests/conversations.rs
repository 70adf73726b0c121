//! The conversations of `spec/vectors`, with this client on its side of them.

use std::collections::VecDeque;

use mainstay_wire::session::{ClientFrame, Encoding, Hello, ServerFrame, Standing};
use serde_json::Value;

use super::support::accepted;
use crate::client::{
    ClientConfig, ClientEvent, ClientSession, CommandKey, Identity, Output, Place, RequestKey,
    SavedState, StateChange,
};

struct Player {
    session: ClientSession,
    now_ms: u64,
    connection: u64,
    frames: VecDeque<ClientFrame>,
    commands: VecDeque<CommandKey>,
    places: Vec<(mainstay_wire::ChannelName, Place)>,
}

impl Player {
    /// A client where the conversation finds it.
    fn new(steps: &[Value]) -> Player {
        let config =
            ClientConfig { client: "example/1.0".to_owned(), ..ClientConfig::new([1; 32]) };
        let hellos = steps.iter().filter_map(client_frame).filter_map(|frame| match frame {
            ClientFrame::Hello(hello) => Some(hello),
            _ => None,
        });
        let resumed = hellos.into_iter().find(|hello| hello.resume.is_some());
        let heard_count = steps.iter().take_while(|step| step["is_lost"] != true);
        let heard_count = heard_count.filter(|step| {
            step["json"].as_str().is_some_and(|json| json.contains("\"type\":\"event\""))
        });
        let heard_count = heard_count.count() as u64;
        let saved = resumed.as_deref().map(|hello| state_before(hello, heard_count));
        let connection = steps[0]["connection"].as_u64().expect("a connection");
        let mut player = Player {
            session: ClientSession::new(config, saved),
            now_ms: 0,
            connection,
            frames: VecDeque::new(),
            commands: VecDeque::new(),
            places: Vec::new(),
        };
        // A conversation that begins in the middle begins on an open connection.
        if let Some(hello) = resumed
            && !matches!(client_frame(&steps[0]), Some(ClientFrame::Hello(_)))
        {
            player.session.handle_open(0);
            let (session, token) = hello.resume.expect("a resume");
            let mut welcome = accepted(Standing::Resumed, hello.unanswered_from - 1);
            (welcome.session, welcome.token) = (session, token);
            player.session.handle_frame(0, ServerFrame::Welcome(Box::new(welcome)));
            for cursor in hello.cursors {
                let mut subscribed = super::support::subscribed(cursor.channel.as_str(), 0, 0);
                if let ServerFrame::Subscribed(subscribed) = &mut subscribed {
                    (subscribed.epoch, subscribed.offset) = (cursor.epoch, cursor.offset);
                    subscribed.head = cursor.offset;
                }
                player.session.handle_frame(0, subscribed);
            }
            player.drain();
            player.frames.clear();
        }
        player
    }

    fn play(&mut self, step: &Value, place: &str) {
        let connection = step["connection"].as_u64().expect("a connection");
        if connection < self.connection {
            // The connection before says something yet; a client has closed its ears.
            return;
        }
        let previous = std::mem::replace(&mut self.connection, connection);
        if let Some(expected) = client_frame(step) {
            self.drain();
            if connection > previous {
                // Of a connection that is gone nothing more is told.
                self.frames.clear();
            }
            if self.frames.front() != Some(&expected) {
                self.act(&expected);
                self.drain();
            }
            assert_eq!(self.frames.pop_front(), Some(expected), "{place}");
        } else if let Some(json) = step["json"].as_str() {
            let frame = Encoding::Json.decode_server(json.as_bytes()).expect("a frame");
            self.session.handle_frame(self.now_ms, frame);
        } else {
            let code = step["close"].as_u64().map(|code| code as u16);
            self.session.handle_closed(self.now_ms, code);
        }
        self.drain();
    }

    /// Does what an application does so that this frame goes out.
    fn act(&mut self, frame: &ClientFrame) {
        let (session, now_ms) = (&mut self.session, self.now_ms);
        match frame.clone() {
            ClientFrame::Hello(_) => session.handle_open(now_ms),
            ClientFrame::Request(request) => {
                let deadline_at_ms = request.deadline_ms.map(|ms| now_ms + ms);
                let made =
                    session.request(now_ms, &request.command, request.payload, deadline_at_ms);
                made.expect("room");
            }
            ClientFrame::Publish(publish) => {
                session.publish(now_ms, publish.channel, publish.payload).expect("room");
            }
            ClientFrame::Cancel { number } => {
                let requests = session.saved().requests.iter();
                let found: Vec<RequestKey> = requests
                    .filter(|(_, request)| request.number == Some(number))
                    .map(|(key, _)| *key)
                    .collect();
                session.cancel(now_ms, found[0]);
            }
            ClientFrame::Reply(reply) => {
                let key = self.commands.pop_front().expect("a command");
                session.answer(now_ms, key, reply.outcome);
            }
            ClientFrame::Subscribe(subscribe) => {
                session.subscribe(now_ms, subscribe).expect("room");
            }
            ClientFrame::Unsubscribe { channel } => session.unsubscribe(now_ms, &channel),
            ClientFrame::Ack(_) => {
                for (channel, place) in self.places.drain(..) {
                    session.consumed(now_ms, &channel, place.epoch, place.offset);
                }
                self.now_ms += 1000;
                session.handle_timeout(self.now_ms);
            }
            ClientFrame::Bye => session.close(now_ms),
            ClientFrame::Ping | ClientFrame::Pong => {}
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(frame) => self.frames.push_back(frame),
                Output::Event(ClientEvent::Command { key, .. }) => self.commands.push_back(key),
                Output::Event(ClientEvent::Event { epoch, event }) => {
                    self.places.push((event.channel, Place { epoch, offset: event.offset }));
                }
                _ => {}
            }
        }
    }
}

fn client_frame(step: &Value) -> Option<ClientFrame> {
    let is_clients = step["from"].as_str() == Some("client");
    let json = step["json"].as_str().filter(|_| is_clients)?;
    Some(Encoding::Json.decode_client(json.as_bytes()).expect("a frame"))
}

/// What a client has saved that will say this hello, before the requests of the conversation and so
/// many events.
fn state_before(hello: &Hello, heard_count: u64) -> SavedState {
    let mut state = SavedState::default();
    let identity = hello.resume.clone().map(|(session, token)| Identity { session, token });
    state.apply(&StateChange::Counted {
        identity,
        next_key: RequestKey(hello.unanswered_from),
        next_number: hello.unanswered_from,
        accepted: hello.accepted,
    });
    for cursor in &hello.cursors {
        let offset = mainstay_wire::session::Offset(cursor.offset.0 - heard_count);
        let (channel, epoch) = (cursor.channel.clone(), cursor.epoch);
        state.apply(&StateChange::CursorMoved { channel, place: Place { epoch, offset } });
    }
    state
}

#[test]
fn the_conversations_of_the_specification_are_held() {
    let text = include_str!("../../../../../spec/vectors/conversations.json");
    let conversations: Vec<Value> = serde_json::from_str(text).expect("JSON");
    assert!(conversations.len() >= 8);
    for conversation in conversations {
        let steps = conversation["steps"].as_array().expect("steps");
        let mut player = Player::new(steps);
        for (index, step) in steps.iter().enumerate() {
            // What was handed over is done with before a connection is lost.
            if step["is_lost"] == true {
                for (channel, place) in std::mem::take(&mut player.places) {
                    player.session.consumed(0, &channel, place.epoch, place.offset);
                }
            }
            player.play(step, &format!("{}, step {index}", conversation["name"]));
        }
        assert!(player.frames.is_empty(), "{}: {:?}", conversation["name"], player.frames);
        assert_eq!(player.session.counters().fault_count, 0, "{}", conversation["name"]);
    }
}
