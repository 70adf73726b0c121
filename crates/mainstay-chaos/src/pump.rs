//! One direction of a connection: reads, holds back, writes.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::duplicate::{self, Opening};
use crate::faults::{Cut, Direction};
use crate::limits::{
    CHUNK_BYTES_BESIDE, CHUNK_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_DELAYED_BYTES_MAX,
    SLOW_READS_PER_SECOND,
};
use crate::link::Link;
use crate::plan::Plan;
use crate::shared::Control;

/// One direction. Reading and writing go on beside each other, so that what is held back does not
/// hold back what comes after it any longer than itself.
pub(crate) struct Pump<'a> {
    link: &'a Link,
    direction: Direction,
    plan: Plan,
    /// How often the faults had been set when the plan was drawn.
    generation: u32,
    /// Nothing passes anywhere before this.
    all_stalled_until: Option<Instant>,
    queue: VecDeque<Item>,
    queue_bytes: usize,
    /// The offset of the next byte to be read.
    read_offset: u64,
    /// The offset of the next byte to be written.
    write_offset: u64,
    /// When the next read is allowed, if the server is drained slowly.
    next_read_at: Option<Instant>,
    /// Whether there is no more to read.
    has_ended: bool,
    /// What the client has said so far, while it may have to be said again.
    opening: Option<Opening>,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PumpEnd {
    /// Everything has passed, its end too.
    Finished,
    /// One of the peers is gone.
    Reset,
    /// The connection is to be cut.
    Cut {
        /// How.
        cut: Cut,
        /// The number of the last cut of all that was heeded.
        number: u64,
    },
}

/// Something that is passed on when its time has come, and all before it have passed.
struct Item {
    due_at: Instant,
    what: What,
}

enum What {
    Bytes {
        bytes: Vec<u8>,
        written_count: usize,
    },
    /// The reader heard that there is no more.
    Fin,
    /// The reader heard that the peer is gone.
    Reset,
}

enum Wake {
    Controlled,
    /// So many bytes of the first item may leave, or have left.
    Passed(io::Result<usize>),
    Read(io::Result<usize>),
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        link: &'a Link,
        direction: Direction,
        current: &Control,
        opening: Option<Opening>,
    ) -> Pump<'a> {
        let source = link.shared.source(link.connection, current);
        Pump {
            link,
            direction,
            plan: Plan::draw(source, direction, &current.faults, 0),
            generation: current.generation,
            all_stalled_until: current.stalled_until,
            queue: VecDeque::new(),
            queue_bytes: 0,
            read_offset: 0,
            write_offset: 0,
            next_read_at: None,
            has_ended: false,
            opening,
        }
    }

    pub(crate) async fn run(
        mut self,
        mut control: watch::Receiver<Control>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> PumpEnd {
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        // The cuts since the connection was accepted are looked for before anything passes.
        control.mark_changed();
        loop {
            if self.plan.cut_offset.is_some_and(|offset| offset <= self.write_offset) {
                let cut = self.plan.faults().cut_with;
                return PumpEnd::Cut { cut, number: self.link.cut_number };
            }
            self.stall_if_due();
            let read_bytes_max = self.read_bytes_max();
            let wake = tokio::select! {
                biased;
                // The sender lives as long as the link.
                _ = control.changed() => Wake::Controlled,
                passed = self.pass_first(to), if !self.queue.is_empty() => Wake::Passed(passed),
                read = read(from, &mut buffer[..read_bytes_max], self.next_read_at),
                    if self.may_read() => Wake::Read(read),
            };
            match wake {
                Wake::Controlled => {
                    let current = control.borrow_and_update().clone();
                    let (number, cut) = current.cut;
                    if number > self.link.cut_number {
                        return PumpEnd::Cut { cut, number };
                    }
                    self.adopt(&current);
                }
                Wake::Passed(Ok(count)) => {
                    if let Some(end) = self.take_passed(count, to).await {
                        return end;
                    }
                }
                Wake::Passed(Err(_)) => return PumpEnd::Reset,
                Wake::Read(Ok(count @ 1..)) => self.take_read(&buffer[..count]),
                Wake::Read(Ok(0)) => self.end(What::Fin),
                Wake::Read(Err(_)) => self.end(What::Reset),
            }
        }
    }

    /// Something else holds. Bytes under way keep their time.
    fn adopt(&mut self, current: &Control) {
        self.all_stalled_until = current.stalled_until;
        if self.generation == current.generation {
            return;
        }
        self.generation = current.generation;
        let source = self.link.shared.source(self.link.connection, current);
        self.plan = Plan::draw(source, self.direction, &current.faults, self.write_offset);
        self.next_read_at = None;
        self.link.end_stall(current.generation);
    }

    fn stall_if_due(&mut self) {
        let Some(stall) = self.plan.faults().stall else { return };
        if self.plan.stall_offset.is_some_and(|offset| offset <= self.write_offset) {
            self.plan.stall_offset = None;
            self.link.stall(self.direction, self.write_offset, stall.lasting);
        }
    }

    fn may_read(&self) -> bool {
        let queue_bytes_max = match self.plan.faults().delay {
            Some(_) => QUEUE_DELAYED_BYTES_MAX,
            None => QUEUE_BYTES_MAX,
        };
        !self.has_ended && self.queue_bytes < queue_bytes_max
    }

    /// The bytes a second that may be read, if they are bounded.
    fn drain_rate(&self) -> Option<u64> {
        match self.direction {
            Direction::Up => None,
            // A server that is not drained at all is half-open, and another fault.
            Direction::Down => self.plan.faults().slow_drain.map(|rate| rate.max(1)),
        }
    }

    fn read_bytes_max(&self) -> usize {
        let rate = self.drain_rate().unwrap_or(u64::MAX);
        let bytes = (rate / SLOW_READS_PER_SECOND).clamp(1, CHUNK_BYTES_MAX as u64);
        bytes as usize
    }

    fn take_read(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let count = bytes.len() as u64;
        if let Some(rate) = self.drain_rate() {
            let lasts = std::time::Duration::from_nanos(count.saturating_mul(1_000_000_000) / rate);
            self.next_read_at = self.next_read_at.map_or(now, |at| at.max(now)).checked_add(lasts);
        }
        let delay = self.plan.take_chunk(self.read_offset, count);
        self.read_offset += count;
        self.queue_bytes += bytes.len() + CHUNK_BYTES_BESIDE;
        let what = What::Bytes { bytes: bytes.to_vec(), written_count: 0 };
        let due_at = now.checked_add(delay).unwrap_or(now);
        self.queue.push_back(Item { due_at, what });
    }

    fn end(&mut self, what: What) {
        self.has_ended = true;
        let now = Instant::now();
        let delay = self.plan.take_chunk(self.read_offset, 0);
        let due_at = now.checked_add(delay).unwrap_or(now);
        self.queue.push_back(Item { due_at, what });
    }

    /// Waits until the first item may pass, and passes as much of it as goes at once. May be
    /// dropped and called again.
    async fn pass_first(&self, to: &WriteHalf<'_>) -> io::Result<usize> {
        let Some(first) = self.queue.front() else { return Ok(0) };
        loop {
            let gates = [Some(first.due_at), self.all_stalled_until, self.link.stalled_until()];
            let now = Instant::now();
            if let Some(at) = gates.into_iter().flatten().max().filter(|at| *at > now) {
                sleep_until(at.into()).await;
                // The other direction may have begun a stall meanwhile.
                continue;
            }
            let What::Bytes { bytes, written_count } = &first.what else { return Ok(0) };
            let bytes = &bytes[*written_count..];
            let stops = [self.plan.cut_offset, self.plan.stall_offset];
            let room = stops.into_iter().flatten().map(|stop| stop - self.write_offset).min();
            let count = room.map_or(bytes.len(), |room| {
                bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))
            });
            match to.try_write(&bytes[..count]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    to.writable().await?;
                }
                result => return result,
            }
        }
    }

    /// So many bytes of the first item have passed, or the item is an end and its time has come.
    async fn take_passed(&mut self, count: usize, to: &mut WriteHalf<'_>) -> Option<PumpEnd> {
        let first = self.queue.front_mut()?;
        match &mut first.what {
            What::Fin => {
                return Some(match to.shutdown().await {
                    Ok(()) => PumpEnd::Finished,
                    Err(_) => PumpEnd::Reset,
                });
            }
            What::Reset => return Some(PumpEnd::Reset),
            What::Bytes { bytes, written_count } => {
                if let Some(opening) = &mut self.opening {
                    let is_wanted = opening.take(&bytes[*written_count..][..count]);
                    if !is_wanted {
                        self.repeat_opening();
                    }
                }
            }
        }
        self.write_offset += count as u64;
        self.link.note_passed(self.direction, count);
        let first = self.queue.front_mut()?;
        if let What::Bytes { bytes, written_count } = &mut first.what {
            *written_count += count;
            if *written_count == bytes.len() {
                self.queue_bytes -= bytes.len() + CHUNK_BYTES_BESIDE;
                self.queue.pop_front();
            }
        }
        None
    }

    /// The opening is whole, or too long to be said again.
    fn repeat_opening(&mut self) {
        let Some(bytes) = self.opening.take().and_then(Opening::whole) else { return };
        let lasting = self.plan.faults().duplicate_for;
        let (shared, connection) = (self.link.shared.clone(), self.link.connection);
        tokio::spawn(duplicate::repeat(shared, connection, bytes, lasting));
    }
}

/// Reads when it is time. May be dropped and called again without losing a byte.
async fn read(
    from: &mut ReadHalf<'_>,
    buffer: &mut [u8],
    not_before: Option<Instant>,
) -> io::Result<usize> {
    if let Some(at) = not_before {
        sleep_until(at.into()).await;
    }
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}
