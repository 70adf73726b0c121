//! Events reach those whom they concern.

use std::time::Instant;

use bytes::Bytes;
use mainstay_wire::EndReason;
use mainstay_wire::deflate::{DEFLATE_BYTES_MIN, Deflater, WINDOW_BITS_MAX};
use mainstay_wire::frame::{Compression, shared_frame};

use super::Shard;
use super::peer::{Open, Peer, Stage};
use crate::ConnectionId;
use crate::inbox::{Event, Publish};

impl Shard {
    /// Puts events into the outboxes of their subscribers. Successive events of one channel are
    /// joined first: the kernel charges for each send, not for its bytes.
    pub(super) fn deliver(&mut self, now: Instant, deliveries: Vec<Publish>) {
        for run in deliveries.chunk_by(|first, second| first.channel == second.channel) {
            for part in split_by_bytes(run) {
                self.deliver_run(now, part);
            }
        }
    }

    fn deliver_run(&mut self, now: Instant, run: &[Publish]) {
        let Some(first) = run.first() else { return };
        let mut frames = RunFrames::new(run);
        let everybody: Vec<usize>;
        let slots = match &first.channel {
            Some(channel) => self.channels.subscribers(channel),
            None => {
                everybody = self.peers.iter().map(|(slot, _)| slot).collect();
                &everybody
            }
        };
        let mut count = 0;
        for &slot in slots {
            let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
            let Stage::Open(open) = &mut peer.stage else { continue };
            frames.send(now, open, &mut self.deflater);
            count += run.len() as u64;
            if !peer.is_in_dirty {
                peer.is_in_dirty = true;
                self.dirty.push_back(slot);
            }
        }
        self.stats().count_events_delivered(count);
    }

    /// Sends an event to one connection, if it still is there.
    pub(super) fn send_event(&mut self, now: Instant, to: ConnectionId, event: Event) {
        let Some(mut peer) = self.take_peer(to) else { return };
        if let Stage::Open(open) = &mut peer.stage {
            let run = [Publish { channel: None, event }];
            RunFrames::new(&run).send(now, open, &mut self.deflater);
            self.stats().count_events_delivered(1);
        }
        self.settle(now, peer);
    }

    /// Closes one connection on the embedding program's wish.
    pub(super) fn close_connection(&mut self, now: Instant, id: ConnectionId, detail: &str) {
        let Some(mut peer) = self.take_peer(id) else { return };
        if let Peer { stage: Stage::Open(open), .. } = &mut *peer {
            open.connection.close(now, EndReason::LocalClose, detail);
        }
        self.settle(now, peer);
    }
}

/// The frames of one run of events, encoded at most once for each kind of subscriber.
struct RunFrames<'a> {
    run: &'a [Publish],
    plain: Bytes,
    deflated: Option<Bytes>,
}

impl RunFrames<'_> {
    fn new(run: &[Publish]) -> RunFrames<'_> {
        let plain = match run {
            [only] => only.event.frame.clone(),
            run => {
                let frames: Vec<&[u8]> = run.iter().map(|p| p.event.frame.as_ref()).collect();
                Bytes::from(frames.concat())
            }
        };
        RunFrames { run, plain, deflated: None }
    }

    fn send(&mut self, now: Instant, open: &mut Open, deflater: &mut Deflater) {
        // A client that asked for a smaller window gets plain frames: compressing once for all is
        // worth more than compressing for each.
        let frames = match open.deflate {
            Some(deflate) if deflate.outgoing_window_bits == WINDOW_BITS_MAX => {
                self.deflated.get_or_insert_with(|| deflate_run(self.run, deflater))
            }
            _ => &self.plain,
        };
        open.connection.send_shared(now, frames.clone());
    }
}

fn deflate_run(run: &[Publish], deflater: &mut Deflater) -> Bytes {
    let mut out = Vec::new();
    for Publish { event, .. } in run {
        if event.payload.len() < DEFLATE_BYTES_MIN {
            out.extend_from_slice(&event.frame);
        } else {
            let payload = deflater.deflate(&event.payload, WINDOW_BITS_MAX);
            out.extend_from_slice(&shared_frame(event.opcode, Compression::Deflate, &payload));
        }
    }
    Bytes::from(out)
}

/// Cuts a run where its frames exceed what one send should carry.
fn split_by_bytes(run: &[Publish]) -> impl Iterator<Item = &[Publish]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |publish: &&Publish| {
            bytes += publish.event.frame.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::frame::Opcode;

    #[test]
    fn a_run_is_cut_by_bytes_and_loses_nothing() {
        let publish = |length: usize| {
            let frame = Bytes::from(vec![0; length]);
            let event = Event { frame: frame.clone(), opcode: Opcode::Text, payload: frame };
            Publish { channel: None, event }
        };
        let run: Vec<Publish> = [10, RUN_BYTES_MAX, 5, 5, RUN_BYTES_MAX * 2, 1].map(publish).into();
        let lengths: Vec<Vec<usize>> = split_by_bytes(&run)
            .map(|part| part.iter().map(|p| p.event.frame.len()).collect())
            .collect();
        let expected: [&[usize]; 5] =
            [&[10], &[RUN_BYTES_MAX], &[5, 5], &[RUN_BYTES_MAX * 2], &[1]];
        assert_eq!(lengths, expected);
        assert_eq!(split_by_bytes(&[]).count(), 0);
    }
}
