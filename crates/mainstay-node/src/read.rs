//! Those who are behind read on from the log.

use mainstay_log::{LogError, ReadLimit, StoredEvent};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Delivery, Event, Gap, GapReason, Offset, PayloadKind};

use crate::{ConnectionKey, Effect, Node, Page};

impl Node {
    pub(crate) fn handle_read(
        &mut self,
        connection: ConnectionKey,
        name: &ChannelName,
        after: Offset,
        bytes_max: usize,
    ) {
        let Some(&id) = self.links.get(&connection) else { return };
        let entry = self.sessions.get(&id);
        let link = entry.and_then(|entry| entry.link.as_ref());
        let Some(held) = link.and_then(|link| link.subscriptions.get(name)) else { return };
        let delivery = held.delivery;
        let Some(extent) = self.extent(name) else { return };
        let (epoch, start, head) = (extent.epoch, extent.start(), extent.head);
        let gap = |from: Offset, to: Offset, reason| Gap {
            channel: name.clone(),
            from_epoch: epoch,
            from,
            to: Some(to),
            reason,
            epoch,
            offset: to,
        };
        let limit = ReadLimit { count_max: PAGE_COUNT_MAX, bytes_max };
        let mut page =
            Page { connection, channel: name.clone(), gap: None, events: Vec::new(), after, head };
        let newest = Offset(head.0.saturating_sub(1));
        if delivery == Delivery::Latest && after < newest {
            // Whatever lies between is passed over, trimmed or not.
            page.gap = Some(gap(after.next(), newest, GapReason::Conflated));
            page.after = newest;
        } else if after < start {
            page.gap = Some(gap(after.next(), start, GapReason::Trimmed));
            page.after = start;
        }
        match self.read_log(name, page.after.next(), limit) {
            Read::Events(mut events) => {
                events.truncate(fitting_count(name, &events, bytes_max));
                page.after = events.last().map_or(page.after, |event| event.offset);
                page.events = events.into_iter().map(|stored| event(name, stored)).collect();
            }
            Read::Damaged { through } => {
                // A gap that is there already is told first; the damage is met again by the next read.
                if page.gap.is_none() {
                    page.gap = Some(gap(after.next(), through, GapReason::Corrupt));
                    page.after = through;
                }
            }
        }
        // Events of this batch are not in the log yet: whoever is at the page's end without having
        // them reads again.
        self.staged.delivers.remove(name);
        if let Some(gap) = page.gap.as_ref().filter(|gap| gap.reason != GapReason::Conflated) {
            self.note_gap(id, gap);
        }
        self.push(Effect::Page(page));
    }

    /// Reads what is in the log, or finds out how far the damage reaches.
    pub(crate) fn read_log(&mut self, name: &ChannelName, from: Offset, limit: ReadLimit) -> Read {
        let mut through = from;
        for _ in 0..DAMAGED_COUNT_MAX {
            match self.log.read(name, through, limit) {
                Ok(events) if through == from => return Read::Events(events),
                Ok(_) => break,
                Err(LogError::Corrupt(_)) => through = through.next(),
                Err(error) => {
                    self.failed.get_or_insert(error);
                    return Read::Events(Vec::new());
                }
            }
        }
        Read::Damaged { through: Offset(through.0 - 1) }
    }
}

/// What reading found.
pub(crate) enum Read {
    /// Events, from the one that was asked for on.
    Events(Vec<StoredEvent>),
    /// Nothing that can be trusted up to here.
    Damaged { through: Offset },
}

/// How many of the events fit into a space as frames; one always does, or nobody would get on.
fn fitting_count(name: &ChannelName, events: &[StoredEvent], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |event: &&StoredEvent| {
        let payload = event.payload.bytes.len();
        // Base64, where the encoding is JSON and the payload is not.
        let payload = match event.payload.kind {
            PayloadKind::Json => payload,
            PayloadKind::Binary => payload / 3 * 4 + 4,
        };
        bytes += payload + name.as_str().len() + ENVELOPE_BYTES;
        bytes <= bytes_max
    };
    events.iter().take_while(fits).count().max(1)
}

pub(crate) fn event(name: &ChannelName, stored: StoredEvent) -> Event {
    let StoredEvent { offset, at_ms, payload } = stored;
    Event { channel: name.clone(), offset, at_ms, payload }
}

/// What an event's frame has besides its payload and its channel's name, at most.
const ENVELOPE_BYTES: usize = 110;
/// Events of one page.
const PAGE_COUNT_MAX: usize = 1000;
/// Damaged events passed over by one read.
const DAMAGED_COUNT_MAX: usize = 1000;
