//! Events and messages reach those whom they concern.

use std::mem;
use std::time::Instant;

use bytes::Bytes;
use mainstay_wire::deflate::{DEFLATE_BYTES_MIN, Deflater, WINDOW_BITS_MAX};
use mainstay_wire::frame::{Compression, Opcode, shared_frame};
use mainstay_wire::session::{Encoding, Event, ServerFrame};
use mainstay_wire::{ChannelName, EndReason};

use super::Shard;
use super::peer::{Open, Peer, Stage};
use crate::ConnectionId;
use crate::hub::write_notice;
use crate::inbox::Notice;
use crate::router::payload_text;

impl Shard {
    /// Puts new events of a channel into the outboxes of those who are live on it. Successive events
    /// are joined first: the kernel charges for each send, not for its bytes.
    pub(super) fn deliver(&mut self, now: Instant, channel: &ChannelName, events: &[Event]) {
        for run in split_by_bytes(events) {
            self.deliver_run(now, channel, run);
        }
    }

    fn deliver_run(&mut self, now: Instant, channel: &ChannelName, run: &[Event]) {
        let Some(first) = run.first() else { return };
        let mut frames = RunFrames::new(run);
        let mut behind = Vec::new();
        let mut count = 0;
        // In the order in which they were accepted, for their memory lies in it, here and in the
        // kernel.
        let mut slots = mem::take(&mut self.audience);
        slots.extend_from_slice(self.channels.live(channel));
        slots.sort_unstable();
        for slot in slots.drain(..) {
            let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
            let Stage::Open(open) = &mut peer.stage else { continue };
            match &mut open.session {
                None => {
                    let bytes = frames.of(Form::Plain, open, &mut self.deflater);
                    open.connection.send_shared(now, bytes);
                }
                Some(session) => {
                    let form = Form::Session(session.encoding);
                    let bytes = frames.of(form, open, &mut self.deflater);
                    if open.connection.outbox().bytes() + bytes.len() > self.feed_bytes_max {
                        behind.push(slot);
                        continue;
                    }
                    open.connection.send_shared(now, bytes);
                }
            }
            count += run.len() as u64;
            if !peer.is_in_dirty {
                peer.is_in_dirty = true;
                self.dirty.push_back(slot);
            }
        }
        self.audience = slots;
        self.stats().count_events_delivered(count);
        let after = mainstay_wire::session::Offset(first.offset.0.saturating_sub(1));
        for slot in behind {
            self.channels.fall_behind(slot, channel, after);
            self.note_behind(slot);
        }
    }

    /// Sends a message to every plain connection.
    pub(super) fn broadcast(&mut self, now: Instant, notice: &Notice) {
        let mut deflated = None;
        let mut count = 0;
        for (slot, peer) in &mut self.peers {
            let Some(peer) = peer else { continue };
            let Stage::Open(open) = &mut peer.stage else { continue };
            if open.session.is_some() {
                continue;
            }
            send_notice(now, open, notice, &mut deflated, &mut self.deflater);
            count += 1;
            if !peer.is_in_dirty {
                peer.is_in_dirty = true;
                self.dirty.push_back(slot);
            }
        }
        self.stats().count_events_delivered(count);
    }

    /// Sends a message to one plain connection, if it still is there.
    pub(super) fn send_notice(&mut self, now: Instant, to: ConnectionId, notice: &Notice) {
        let Some(mut peer) = self.take_peer(to) else { return };
        if let Stage::Open(open) = &mut peer.stage
            && open.session.is_none()
        {
            send_notice(now, open, notice, &mut None, &mut self.deflater);
            self.stats().count_events_delivered(1);
        }
        self.settle(now, peer);
    }

    /// Closes one connection on the embedding program's wish.
    pub(super) fn close_connection(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: EndReason,
        detail: &str,
    ) {
        let Some(mut peer) = self.take_peer(id) else { return };
        if let Peer { stage: Stage::Open(open), .. } = &mut *peer {
            open.connection.close(now, reason, detail);
        }
        self.settle(now, peer);
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As a message of the command dialect.
    Plain,
    /// As a frame of the session dialect.
    Session(Encoding),
}

/// The frames of one run of events, encoded at most once for each kind of subscriber.
pub(super) struct RunFrames<'a> {
    run: &'a [Event],
    encoded: [Option<Bytes>; FORM_COUNT],
}

impl RunFrames<'_> {
    pub(super) fn new(run: &[Event]) -> RunFrames<'_> {
        RunFrames { run, encoded: Default::default() }
    }

    pub(super) fn of(&mut self, form: Form, open: &Open, deflater: &mut Deflater) -> Bytes {
        let is_deflated = gets_deflated(open);
        let index = match form {
            Form::Plain => 0,
            Form::Session(Encoding::Json) => 2,
            Form::Session(Encoding::Protobuf) => 4,
        } + usize::from(is_deflated);
        let Some(place) = self.encoded.get_mut(index) else { return Bytes::new() };
        let deflater = is_deflated.then_some(deflater);
        place.get_or_insert_with(|| encode_run(self.run, form, deflater)).clone()
    }
}

/// A client that asked for a smaller window gets plain frames: compressing once for all is worth more
/// than compressing for each.
fn gets_deflated(open: &Open) -> bool {
    open.deflate.is_some_and(|deflate| deflate.outgoing_window_bits == WINDOW_BITS_MAX)
}

fn encode_run(run: &[Event], form: Form, mut deflater: Option<&mut Deflater>) -> Bytes {
    let mut out = Vec::new();
    let mut message = Vec::new();
    for event in run {
        message.clear();
        let opcode = match form {
            Form::Plain => {
                write_plain(event, &mut message);
                Opcode::Text
            }
            Form::Session(encoding) => {
                encoding.encode_server(&ServerFrame::Event(event.clone()), &mut message);
                encoding.opcode()
            }
        };
        let frame = match &mut deflater {
            Some(deflater) if message.len() >= DEFLATE_BYTES_MIN => {
                let deflated = deflater.deflate(&message, WINDOW_BITS_MAX);
                shared_frame(opcode, Compression::Deflate, &deflated)
            }
            _ => shared_frame(opcode, Compression::Plain, &message),
        };
        if let [_] = run {
            return frame;
        }
        out.extend_from_slice(&frame);
    }
    // They may wait for as long as somebody does not read, without the room that the vector grew.
    Bytes::from(out.into_boxed_slice())
}

fn write_plain(event: &Event, out: &mut Vec<u8>) {
    write_notice(event.channel.as_str(), &payload_text(&event.payload), out);
}

fn send_notice(
    now: Instant,
    open: &mut Open,
    notice: &Notice,
    deflated: &mut Option<Bytes>,
    deflater: &mut Deflater,
) {
    let frame = if gets_deflated(open) && notice.payload.len() >= DEFLATE_BYTES_MIN {
        deflated.get_or_insert_with(|| {
            let payload = deflater.deflate(&notice.payload, WINDOW_BITS_MAX);
            shared_frame(notice.opcode, Compression::Deflate, &payload)
        })
    } else {
        &notice.frame
    };
    open.connection.send_shared(now, frame.clone());
}

/// Cuts a run where its payloads exceed what one send should carry.
fn split_by_bytes(run: &[Event]) -> impl Iterator<Item = &[Event]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.payload.bytes.len() + ENVELOPE_BYTES;
            bytes <= RUN_BYTES_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

/// Bytes of events joined into one send.
const RUN_BYTES_MAX: usize = 32 * 1024;
/// What an event's frame has besides its payload, roughly.
const ENVELOPE_BYTES: usize = 100;
/// Three forms, plain and deflated.
const FORM_COUNT: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::{Offset, Payload};

    fn event(offset: u64, length: usize) -> Event {
        let channel = ChannelName::parse("news").expect("a name");
        let payload = Payload::binary(vec![b'x'; length]);
        Event { channel, offset: Offset(offset), at_ms: 0, payload }
    }

    #[test]
    fn a_run_is_cut_by_bytes_and_loses_nothing() {
        let lengths = [10, RUN_BYTES_MAX, 5, 5, RUN_BYTES_MAX * 2, 1];
        let run: Vec<Event> =
            lengths.iter().enumerate().map(|(at, length)| event(at as u64, *length)).collect();
        let parts: Vec<Vec<usize>> = split_by_bytes(&run)
            .map(|part| part.iter().map(|event| event.payload.bytes.len()).collect())
            .collect();
        let expected: [&[usize]; 5] =
            [&[10], &[RUN_BYTES_MAX], &[5, 5], &[RUN_BYTES_MAX * 2], &[1]];
        assert_eq!(parts, expected);
        assert_eq!(split_by_bytes(&[]).count(), 0);
    }

    #[test]
    fn frames_that_wait_hold_nothing_but_themselves() {
        for length in [1, 100, 3_000] {
            let run: Vec<Event> = (1..50).map(|offset| event(offset, length)).collect();
            let frames = encode_run(&run, Form::Session(Encoding::Protobuf), None);
            let buffer = Vec::from(frames);
            assert_eq!(buffer.capacity(), buffer.len());
        }
    }

    #[test]
    fn plain_listeners_get_texts_for_json_strings() {
        for (payload, expected) in [
            (Payload::text("it \"works\""), r#"it \"works\""#),
            (Payload::from_json_bytes(r#"{"a": 1}"#), r#"{\"a\": 1}"#),
            (Payload::binary("bytes"), "bytes"),
        ] {
            let mut out = Vec::new();
            write_plain(&Event { payload, ..event(1, 0) }, &mut out);
            let text = String::from_utf8(out).expect("text");
            assert!(text.contains(&format!(r#""someOtherThing":"{expected}""#)), "{text}");
        }
    }
}
