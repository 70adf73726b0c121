//! What scripted scenarios ask of a world.

use mainstay_node::{Call, Target};
use mainstay_session::client::ClientSession;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Delivery, Epoch, Offset, PayloadKind, PresenceMode, Start, Subscribe,
};

use crate::checks::CallNote;
use crate::world::World;
use crate::{Counts, marked};

impl World {
    /// Lets everything come to rest and then judges what only the end can show.
    ///
    /// # Panics
    /// If a guarantee is broken, or it does not come to rest.
    pub fn finish(&mut self) {
        self.heal();
        let until_ms = self.now_ms + 300_000;
        while !self.is_quiet() {
            if self.now_ms >= until_ms {
                let text = format!("it does not come to rest: {}", self.unrest());
                self.checks.fail("liveness", text);
            }
            self.run_for(1_000);
        }
        self.run_for(60_000);
        self.check_end();
        self.assert_sound();
    }

    /// Lets time pass until a client's session is open.
    pub fn run_until_open(&mut self, client: usize) {
        self.run_until("the session is open", |world| world.is_open(client));
    }

    /// Lets time pass until a client has an outcome.
    pub fn run_until_settled(&mut self, client: usize, mark: Option<u64>) {
        self.run_until("the outcome", |world| world.outcome(client, mark).is_some());
    }

    /// Lets time pass until a client has been told so many things of a channel.
    pub fn run_until_seen(&mut self, client: usize, channel: &str, count: usize) {
        self.run_until("events", |world| world.seen(client, channel).len() >= count);
    }

    /// Whether a client's session is open.
    pub fn is_open(&self, client: usize) -> bool {
        self.devices[client].session.as_ref().is_some_and(ClientSession::is_open)
    }

    /// How many connections a client's session has had.
    pub fn generation(&self, client: usize) -> u64 {
        self.devices[client].witness.generation
    }

    /// The inbox of a client's session.
    pub fn inbox(&self, client: usize) -> String {
        let session = self.devices[client].witness.session;
        session.map(|session| ChannelName::session_inbox(session).to_string()).unwrap_or_default()
    }

    /// What a client was told of a channel: offsets, and gaps such as `gap 3-5 trimmed`.
    pub fn seen(&self, client: usize, channel: &str) -> Vec<&str> {
        let Ok(channel) = ChannelName::parse_any(channel) else { return Vec::new() };
        let seen = self.devices[client].witness.seen.get(&channel);
        seen.map(|seen| seen.iter().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The newest event of a channel.
    pub fn head(&self, channel: &str) -> u64 {
        let Ok(channel) = ChannelName::parse_any(channel) else { return 0 };
        self.truth.facts().newest(&channel).map_or(0, |held| held.head().0)
    }

    /// The present incarnation of a channel.
    pub fn epoch(&self, channel: &str) -> Option<Epoch> {
        let channel = ChannelName::parse_any(channel).ok()?;
        self.truth.facts().newest(&channel).map(|held| held.epoch)
    }

    /// How often the handler of a request has started.
    pub fn start_count(&self, mark: Option<u64>) -> u32 {
        mark.and_then(|mark| self.checks.started.get(&mark).copied()).unwrap_or_default()
    }

    /// How often the event of a publish is in the log.
    pub fn place_count(&self, mark: Option<u64>) -> usize {
        mark.map_or(0, |mark| self.truth.facts().places_of(mark).len())
    }

    /// The server's program appends an event.
    pub fn server_publishes(&mut self, channel: &str, bytes: usize) -> u64 {
        let mark = self.mark();
        let payload = marked(mark, PayloadKind::Json, bytes);
        let channels = ChannelName::parse(channel).into_iter().collect();
        let note = CallNote::Publish { mark, key: None };
        self.call(Call::Publish { channels, payload, key: None }, note);
        mark
    }

    /// The server's program sends something to a client's session.
    pub fn server_sends(&mut self, client: usize) -> u64 {
        let mark = self.mark();
        let payload = marked(mark, PayloadKind::Json, 0);
        if let Some(session) = self.devices[client].witness.session {
            let to = Target::Session(session);
            let note = CallNote::Publish { mark, key: None };
            self.call(Call::Send { to, payload, key: None }, note);
        }
        mark
    }

    /// The server has a client run a command.
    pub fn server_asks(&mut self, client: usize, command: &str, deadline_ms: u64) {
        self.call_command(client, command, deadline_ms);
    }

    /// A client listens for the newest event only.
    pub fn subscribe_latest(&mut self, client: usize, channel: &str) {
        let Ok(channel) = ChannelName::parse(channel) else { return };
        let (delivery, presence) = (Delivery::Latest, PresenceMode::None);
        let start = Start::Now;
        self.subscribe_with(client, Subscribe { channel, start, delivery, presence });
    }

    /// A client listens from behind a place that it names.
    pub fn subscribe_after(&mut self, client: usize, channel: &str, epoch: Epoch, offset: u64) {
        let start = Start::After { epoch: Some(epoch), offset: Offset(offset) };
        self.subscribe(client, channel, start);
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.checks.counts
    }
}
