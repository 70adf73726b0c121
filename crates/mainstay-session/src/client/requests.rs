//! Requests: from the application's wish to their outcome.

use std::mem;

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    ClientFrame, ErrorCode, Failure, Outcome, Payload, Publish, Reply, Request,
};

use super::session::NUMBER_MAX;
use super::state::{Call, RequestKey, StateChange};
use super::{ClientEvent, ClientSession, Refused};
use crate::bound::is_surely_short;

impl ClientSession {
    /// Asks for a command to be run. The request is kept until its outcome has come, over as many
    /// connections as that takes. `deadline_at_ms` is when the outcome is no longer wanted: a
    /// request that cannot be sent before then never runs.
    ///
    /// # Errors
    /// It will never run: there is no room for it, it is too big, or the session is over.
    pub fn request(
        &mut self,
        now_ms: u64,
        command: &str,
        payload: Payload,
        deadline_at_ms: Option<u64>,
    ) -> Result<RequestKey, Refused> {
        let call = Call::Command { command: command.to_owned(), payload };
        self.keep(now_ms, call, deadline_at_ms)
    }

    /// Asks for an event to be appended to a channel. Kept like a request.
    ///
    /// # Errors
    /// As for [`request`](ClientSession::request).
    pub fn publish(
        &mut self,
        now_ms: u64,
        channel: ChannelName,
        payload: Payload,
    ) -> Result<RequestKey, Refused> {
        self.keep(now_ms, Call::Publish { channel, payload }, None)
    }

    /// Asks for what a [`Call`] says.
    ///
    /// # Errors
    /// As for [`request`](ClientSession::request).
    pub fn call(
        &mut self,
        now_ms: u64,
        call: Call,
        deadline_at_ms: Option<u64>,
    ) -> Result<RequestKey, Refused> {
        self.keep(now_ms, call, deadline_at_ms)
    }

    /// The outcome is no longer wanted. One that was never sent never runs; of another the server
    /// is told, and its outcome comes as it may.
    pub fn cancel(&mut self, now_ms: u64, key: RequestKey) {
        self.advance(now_ms);
        let Some(request) = self.saved.requests.get(&key) else { return };
        match request.number {
            _ if self.is_over() => {}
            None => {
                self.give_up(key, ErrorCode::Cancelled, "cancelled before it was sent");
                self.tell_given_up();
            }
            Some(number) => {
                let is_new = self.cancelled.insert(key);
                // One that this connection has not sent yet is cancelled right behind it.
                if is_new && self.is_open() && !self.unsent.contains(&number) {
                    self.transmit(ClientFrame::Cancel { number });
                }
            }
        }
    }

    /// The lowest number without an outcome.
    pub(super) fn unanswered_from(&self) -> u64 {
        self.numbered.keys().next().copied().unwrap_or(self.saved.next_number)
    }

    pub(super) fn handle_reply(&mut self, reply: Reply) {
        if reply.number == 0 || reply.number >= self.saved.next_number {
            return self.fault("a reply to a request that was never made");
        }
        match self.numbered.get(&reply.number) {
            Some(&key) => self.settle(key, reply.outcome),
            None => self.counters.outcome_duplicate_count += 1,
        }
    }

    /// Makes frames of requests that wait, as many as the server allows.
    pub(super) fn send_waiting(&mut self) {
        if !self.is_open() {
            return;
        }
        self.number_waiting();
        self.tell_given_up();
        while let Some(number) = self.unsent.pop_front() {
            let Some(key) = self.numbered.get(&number).copied() else { continue };
            let Some(frame) = self.frame_of(number, key) else { continue };
            self.transmit(frame);
            if self.cancelled.contains(&key) {
                self.transmit(ClientFrame::Cancel { number });
            }
        }
    }

    /// Tells a server that we came back to what is no longer wanted.
    pub(super) fn send_cancels(&mut self) {
        self.cancelled.retain(|key| self.saved.requests.contains_key(key));
        for key in self.cancelled.clone() {
            match self.saved.requests.get(&key).and_then(|request| request.number) {
                Some(number) => self.transmit(ClientFrame::Cancel { number }),
                None => {
                    let text = "cancelled before the server had it";
                    self.give_up(key, ErrorCode::Cancelled, text);
                }
            }
        }
        self.tell_given_up();
    }

    /// What was not sent by its deadline is not sent at all.
    pub(super) fn expire_deadlines(&mut self) {
        while let Some(&(at_ms, key)) = self.deadlines.first()
            && at_ms <= self.now_ms
        {
            self.give_up(key, ErrorCode::NeverRan, DEADLINE_PASSED);
        }
        self.tell_given_up();
    }

    /// Gives every request its outcome, for the session is over.
    pub(super) fn settle_all(&mut self) {
        let keys: Vec<_> = self.saved.requests.keys().copied().collect();
        for key in keys {
            let was_sent = self.saved.requests.get(&key).is_some_and(|r| r.number.is_some());
            match was_sent {
                true => self.settle(key, Outcome::Indeterminate),
                false => {
                    let text = "the session ended before it was sent";
                    self.give_up(key, ErrorCode::NeverRan, text);
                }
            }
        }
        self.tell_given_up();
    }

    /// Tells the application of all that was given up. First they are all safe and then they are
    /// told, so that one write to a disk serves them all.
    pub(super) fn tell_given_up(&mut self) {
        let keys = mem::take(&mut self.given_up);
        for &key in &keys {
            let request = self.saved.requests.get(&key);
            if let Some(failure) = request.and_then(|request| request.given_up.clone()) {
                self.tell(ClientEvent::GivenUp { key, failure });
            }
        }
        for key in keys {
            self.change(StateChange::Settled { key });
        }
    }

    /// Builds the indexes anew after the numbers have changed.
    pub(super) fn index_requests(&mut self) {
        self.waiting.clear();
        self.numbered.clear();
        self.unsent.clear();
        self.deadlines.clear();
        self.given_up.clear();
        self.outbox_bytes = 0;
        self.flight_bytes = 0;
        for (&key, request) in &self.saved.requests {
            if request.given_up.is_some() {
                self.given_up.push(key);
                continue;
            }
            self.outbox_bytes += request.call.bytes();
            match request.number {
                Some(number) => {
                    self.numbered.insert(number, key);
                    self.flight_bytes += request.call.bytes();
                }
                None => {
                    self.waiting.insert(key);
                    self.deadlines.extend(request.deadline_at_ms.map(|at_ms| (at_ms, key)));
                }
            }
        }
    }

    fn keep(
        &mut self,
        now_ms: u64,
        call: Call,
        deadline_at_ms: Option<u64>,
    ) -> Result<RequestKey, Refused> {
        self.advance(now_ms);
        if self.is_over() {
            return Err(Refused::Ended);
        }
        if let Some(limits) = self.limits {
            let bytes_max = limits.message_bytes_max as usize;
            if let Some(bytes) = self.too_big(&call, bytes_max) {
                return Err(Refused::TooBig { bytes, bytes_max });
            }
        }
        let bytes = call.bytes();
        if self.saved.requests.len() >= self.config.outbox_count_max
            || self.outbox_bytes.saturating_add(bytes) > self.config.outbox_bytes_max
        {
            return Err(Refused::OutboxFull);
        }
        let key = self.saved.next_key;
        self.outbox_bytes += bytes;
        self.waiting.insert(key);
        self.deadlines.extend(deadline_at_ms.map(|at_ms| (at_ms, key)));
        self.change(StateChange::Requested { key, call, deadline_at_ms });
        Ok(key)
    }

    /// A request has its outcome, from the server or for want of one.
    fn settle(&mut self, key: RequestKey, outcome: Outcome) {
        let number = self.unindex(key);
        let weight = ack_weight(&outcome);
        self.tell(ClientEvent::Outcome { key, outcome });
        self.change(StateChange::Settled { key });
        if number.is_some() {
            self.note_arrivals(weight);
        }
    }

    /// A request that was not sent will never be. The application is told once that is safe
    /// ([`tell_given_up`](ClientSession::tell_given_up)): a process that is killed between the two
    /// would leave a request that its next life sends.
    fn give_up(&mut self, key: RequestKey, code: ErrorCode, message: &str) {
        self.unindex(key);
        let failure = Failure { code, message: message.to_owned() };
        self.change(StateChange::GivenUp { key, failure });
        self.given_up.push(key);
    }

    /// Takes a request out of all indexes; its number, if it had one.
    fn unindex(&mut self, key: RequestKey) -> Option<u64> {
        let request = self.saved.requests.get(&key)?;
        let bytes = request.call.bytes();
        self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes);
        if let Some(at_ms) = request.deadline_at_ms {
            self.deadlines.remove(&(at_ms, key));
        }
        self.waiting.remove(&key);
        self.cancelled.remove(&key);
        let number = request.number?;
        self.numbered.remove(&number);
        self.flight_bytes = self.flight_bytes.saturating_sub(bytes);
        Some(number)
    }

    /// Gives numbers to those that wait, in order, while the server's window has room.
    fn number_waiting(&mut self) {
        let Some(limits) = self.limits else { return };
        let (count_max, bytes_max) = (limits.request_count_max, limits.message_bytes_max);
        let told_max = limits.request_bytes_max.map_or(usize::MAX, |bytes_max| bytes_max as usize);
        let flight_bytes_max = self.config.flight_bytes_max.min(told_max);
        let mut batch_count = 0;
        while self.numbered.len() < count_max as usize && batch_count < BATCH_COUNT_MAX {
            let Some(key) = self.waiting.first().copied() else { return };
            let Some(request) = self.saved.requests.get(&key) else { return };
            let bytes = self.too_big(&request.call, bytes_max as usize);
            let deadline = request.deadline_at_ms;
            let flight_bytes = self.flight_bytes + request.call.bytes();
            if deadline.is_some_and(|at_ms| at_ms <= self.now_ms) {
                self.give_up(key, ErrorCode::NeverRan, DEADLINE_PASSED);
                continue;
            }
            if let Some(bytes) = bytes {
                let text = format!("its {bytes} bytes are over the server's limit of {bytes_max}");
                self.give_up(key, ErrorCode::TooBig, &text);
                continue;
            }
            let number = self.saved.next_number;
            let is_too_much = flight_bytes > flight_bytes_max && !self.numbered.is_empty();
            if number >= NUMBER_MAX || is_too_much || !self.has_number_room(count_max) {
                return;
            }
            self.flight_bytes = flight_bytes;
            self.waiting.remove(&key);
            if let Some(at_ms) = deadline {
                self.deadlines.remove(&(at_ms, key));
            }
            self.change(StateChange::Numbered { key, number });
            self.numbered.insert(number, key);
            self.unsent.push_back(number);
            batch_count += 1;
        }
    }

    /// A server keeps outcomes until they are acknowledged, and not without bound.
    fn has_number_room(&mut self, count_max: u32) -> bool {
        let held_max = u64::from(count_max) + UNACKNOWLEDGED_COUNT_MAX;
        let is_held = |from: u64| self.saved.next_number.saturating_sub(from) + 1 >= held_max;
        if is_held(self.acked_from) && !is_held(self.unanswered_from()) {
            self.acknowledge();
            return true;
        }
        !is_held(self.acked_from)
    }

    fn frame_of(&self, number: u64, key: RequestKey) -> Option<ClientFrame> {
        let request = self.saved.requests.get(&key)?;
        Some(match request.call.clone() {
            Call::Command { command, payload } => ClientFrame::Request(Request {
                number,
                command,
                payload,
                deadline_ms: request.deadline_at_ms.map(|at_ms| at_ms.saturating_sub(self.now_ms)),
            }),
            Call::Publish { channel, payload } => {
                ClientFrame::Publish(Publish { number, channel, payload })
            }
        })
    }

    /// The bytes that a request takes as a message, whatever its number and what is left of its time, if
    /// they are more than so many.
    fn too_big(&self, call: &Call, bytes_max: usize) -> Option<usize> {
        if is_surely_short(call.bytes(), bytes_max) {
            return None;
        }
        let (encoding, number) = (self.config.encoding, NUMBER_MAX - 1);
        let bytes = match call.clone() {
            Call::Command { command, payload } => {
                let deadline_ms = Some(NUMBER_MAX - 1);
                encoding.request_bytes(&Request { number, command, payload, deadline_ms })
            }
            Call::Publish { channel, payload } => {
                encoding.publish_bytes(&Publish { number, channel, payload })
            }
        };
        (bytes > bytes_max).then_some(bytes)
    }
}

const DEADLINE_PASSED: &str = "its deadline passed before it was sent";
/// Outcomes that a client may leave unacknowledged (PROTOCOL.md, "Acknowledgements").
const UNACKNOWLEDGED_COUNT_MAX: u64 = 64;

pub(super) fn failed(code: ErrorCode, message: &str) -> Outcome {
    Outcome::Failed(Failure { code, message: message.to_owned() })
}

/// Requests numbered at once, so that one write to a disk serves them all.
const BATCH_COUNT_MAX: usize = 64;

/// How many outcomes one counts for: the server keeps each until it is acknowledged, and may keep only so
/// many bytes.
fn ack_weight(outcome: &Outcome) -> u32 {
    let bytes = match outcome {
        Outcome::Done(payload) => payload.bytes.len(),
        _ => 0,
    };
    u32::try_from(1 + bytes / ACK_BYTES).unwrap_or(u32::MAX)
}

/// With 64 outcomes to an acknowledgement, one goes out after half a MiB at the latest.
const ACK_BYTES: usize = 8 * 1024;
