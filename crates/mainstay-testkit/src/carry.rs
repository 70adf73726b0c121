//! What the node decided reaches connections and handlers, as in the shards of `mainstay-server`.

use bytes::Bytes;
use mainstay_node::{Effect, Page};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Encoding, ErrorCode, Event, Failure, Offset, Outcome, Payload, Request, ServerFrame, SessionId,
};

use crate::link::Parcel;
use crate::truth::mark_of;
use crate::world::{Happening, World};

impl World {
    /// A shard does what it was told.
    pub(crate) fn carry_out(&mut self, incarnation: u64, shard: usize, effects: Vec<Effect>) {
        for effect in effects {
            if !self.is_current(incarnation) {
                return;
            }
            self.carry_out_one(shard, effect);
        }
    }

    fn carry_out_one(&mut self, shard: usize, effect: Effect) {
        let now_ms = self.now_ms;
        match effect {
            Effect::Send { connection, frame } => {
                let Some(server) = &mut self.server else { return };
                if let Some(peer) = server.peers.get_mut(&connection.0) {
                    peer.push_frame(now_ms, &frame);
                }
                self.settle(connection.0);
            }
            Effect::Feed { connection, channel, after, head, .. } => {
                let Some(server) = &mut self.server else { return };
                let Some(peer) = server.peers.get_mut(&connection.0) else { return };
                server.shards[shard].hub.feed(peer.slot(), &channel, after, head);
                if peer.reading.as_ref() == Some(&channel) {
                    peer.reading = None;
                }
                peer.is_behind |= after < head;
                self.settle(connection.0);
            }
            Effect::Unfeed { connection, channel } => {
                let Some(server) = &mut self.server else { return };
                let Some(peer) = server.peers.get_mut(&connection.0) else { return };
                server.shards[shard].hub.unsubscribe(peer.slot(), &channel);
                if peer.reading.as_ref() == Some(&channel) {
                    peer.reading = None;
                }
                self.settle(connection.0);
            }
            Effect::Deliver { channel, events } => self.deliver(shard, &channel, &events),
            Effect::Page(page) => self.turn_page(shard, page),
            Effect::Run { session, request, .. } => self.run_handler(session, &request),
            Effect::Stop { session, number, .. } => {
                if let Some(server) = &mut self.server {
                    server.running.remove(&(session, number));
                }
            }
            Effect::Close { connection, reason, .. } => self.close_peer(connection.0, reason),
            Effect::Answer { .. } | Effect::Note(_) => {}
        }
    }

    fn deliver(&mut self, shard: usize, channel: &ChannelName, events: &[Event]) {
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |event: &&Event| {
                bytes += event.payload.bytes.len() + ENVELOPE_BYTES;
                bytes <= self.config.feed_bytes_max / 8
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (run, after) = rest.split_at(count);
            self.deliver_run(shard, channel, run);
            rest = after;
        }
    }

    fn deliver_run(&mut self, shard: usize, channel: &ChannelName, run: &[Event]) {
        let Some(first) = run.first() else { return };
        let now_ms = self.now_ms;
        let feed_bytes_max = self.config.feed_bytes_max;
        let Some(server) = &mut self.server else { return };
        let slots = server.shards[shard].hub.live(channel).to_vec();
        let mut encoded: [Option<Vec<Bytes>>; 2] = [None, None];
        let mut reached = Vec::new();
        for slot in slots {
            let Some(key) = server.slots[slot].0 else { continue };
            let Some(peer) = server.peers.get_mut(&key) else { continue };
            let index = usize::from(peer.encoding == Encoding::Protobuf);
            let messages = encoded[index].get_or_insert_with(|| encode_events(run, peer.encoding));
            let bytes: usize = messages.iter().map(Bytes::len).sum();
            if peer.outbox_bytes + bytes > feed_bytes_max {
                let after = Offset(first.offset.0.saturating_sub(1));
                server.shards[shard].hub.fall_behind(slot, channel, after);
                peer.is_behind = true;
                self.checks.counts.behind_count += 1;
            } else {
                let messages = messages.iter().cloned().map(Parcel::Message);
                messages.for_each(|message| peer.push(now_ms, message));
            }
            reached.push(key);
        }
        for key in reached {
            self.settle(key);
        }
    }

    fn turn_page(&mut self, shard: usize, page: Page) {
        let now_ms = self.now_ms;
        let key = page.connection.0;
        let Some(server) = &mut self.server else { return };
        let Some(peer) = server.peers.get_mut(&key) else { return };
        let from = page_start(&page);
        let hub = &mut server.shards[shard].hub;
        if hub.turn_page(peer.slot(), &page.channel, from, page.after, page.head) {
            if peer.reading.as_ref() == Some(&page.channel) {
                peer.reading = None;
            }
            if let Some(gap) = page.gap {
                peer.push_frame(now_ms, &ServerFrame::Gap(gap));
            }
            let mut bytes = 0;
            for message in encode_events(&page.events, peer.encoding) {
                bytes += message.len();
                peer.push(now_ms, Parcel::Message(message));
            }
            // One event may be larger than the space, or nobody would get on.
            if page.events.len() > 1 {
                self.checks.page_bytes_seen = self.checks.page_bytes_seen.max(bytes);
            }
        }
        self.settle(key);
    }

    /// Handlers differ by their command.
    fn run_handler(&mut self, session: SessionId, request: &Request) {
        let number = request.number;
        let Some(mark) = mark_of(&request.payload) else { return };
        let incarnation = self.incarnation;
        let Some(server) = &mut self.server else { return };
        server.running.insert((session, number), mark);
        self.handler_starts(session, number, mark);
        self.note(|| format!("handler of {session} {number} starts: {} {mark}", request.command));
        let done = Outcome::Done(Payload::from_json_bytes(mark.to_string()));
        let (ms, outcome) = match request.command.as_str() {
            "echo" => (self.dice.below(20), done),
            "work" => (self.dice.between(50, 3000), done),
            "publish" => {
                let ms = self.dice.below(50);
                let publishes = Happening::HandlerPublishes { incarnation, session, number, mark };
                return self.schedule_in(ms, publishes);
            }
            "stick" => return,
            _ => {
                let (code, message) = (ErrorCode::HandlerFailed, mark.to_string());
                (self.dice.below(100), Outcome::Failed(Failure { code, message }))
            }
        };
        let ended = Happening::HandlerDone { incarnation, session, number, outcome };
        self.schedule_in(ms, ended);
    }
}

fn encode_events(events: &[Event], encoding: Encoding) -> Vec<Bytes> {
    let encode = |event: &Event| {
        let mut message = Vec::new();
        encoding.encode_server(&ServerFrame::Event(event.clone()), &mut message);
        Bytes::from(message)
    };
    events.iter().map(encode).collect()
}

/// The place that the feed had when it asked for this page.
fn page_start(page: &Page) -> Offset {
    let first = page.gap.as_ref().map(|gap| gap.from);
    let first = first.or_else(|| page.events.first().map(|event| event.offset));
    first.map_or(page.after, |first| Offset(first.0.saturating_sub(1)))
}

/// What an event's frame has besides its payload, roughly.
const ENVELOPE_BYTES: usize = 100;
