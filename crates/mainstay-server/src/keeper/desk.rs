//! Where everybody else puts what the keeper must know.

use std::collections::HashMap;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mainstay_node::{Answer, Call, CallError, Input, Ticket};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{ClientFrame, ErrorCode, Offset, Outcome};
use tokio::sync::{oneshot, watch};

/// The keeper's letter box, and the other ends of what it answers.
///
/// Bounded in bytes, of a kind: shards look at [`is_full`](Desk::is_full) before they read on, and
/// calls are refused. What must get in (an end, a handler's outcome) gets in.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pile: Mutex<Pile>,
    has_come: Condvar,
    heads: Mutex<Heads>,
}

/// Who waits for news of which channel.
#[derive(Debug, Default)]
struct Heads {
    by_channel: HashMap<ChannelName, watch::Sender<Offset>>,
    /// How many there may be before those are looked for that nobody waits for any more.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Pile {
    inputs: Vec<Input>,
    bytes: usize,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Answer, CallError>>>,
    last_ticket: u64,
    is_closed: bool,
}

impl Desk {
    /// Puts in all of `inputs`, in order.
    pub(crate) fn put(&self, inputs: &mut Vec<Input>) {
        let mut pile = self.lock();
        if !pile.is_closed {
            pile.bytes += inputs.iter().map(weight).sum::<usize>();
            pile.inputs.append(inputs);
            self.has_come.notify_one();
        }
        inputs.clear();
    }

    /// Puts in a call; its answer comes out of the receiver.
    pub(crate) fn call(
        &self,
        call: Call,
        bytes_max: usize,
    ) -> Result<oneshot::Receiver<Result<Answer, CallError>>, CallError> {
        let (sender, receiver) = oneshot::channel();
        let mut pile = self.lock();
        pile.check_room(bytes_max)?;
        let ticket = pile.next_ticket();
        pile.waiting.insert(ticket, sender);
        pile.add(Input::Call { ticket, call });
        self.has_come.notify_one();
        Ok(receiver)
    }

    /// Puts in a call whose answer nobody waits for.
    pub(crate) fn tell(&self, call: Call, bytes_max: usize) -> Result<(), CallError> {
        let mut pile = self.lock();
        pile.check_room(bytes_max)?;
        let ticket = pile.next_ticket();
        pile.add(Input::Call { ticket, call });
        self.has_come.notify_one();
        Ok(())
    }

    /// Whether so much waits that nobody should read on.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.lock().bytes >= bytes_max
    }

    /// Everything that waits, as soon as something does or `due_at` has come; `None` once the desk is
    /// closed and empty.
    pub(super) fn take(&self, due_at: Option<Instant>) -> Option<Vec<Input>> {
        let mut pile = self.lock();
        while pile.inputs.is_empty() {
            if pile.is_closed {
                return None;
            }
            pile = match due_at {
                None => self.has_come.wait(pile).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.has_come.wait_timeout(pile, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        pile.bytes = 0;
        Some(mem::take(&mut pile.inputs))
    }

    pub(super) fn answer(&self, ticket: Ticket, result: Result<Answer, CallError>) {
        let waiting = self.lock().waiting.remove(&ticket);
        if let Some(waiting) = waiting {
            // A caller that no longer waits does not want it.
            let _ = waiting.send(result);
        }
    }

    /// The newest offset of a channel from now on: `Offset::ZERO` until something comes.
    pub(crate) fn watch_head(&self, channel: &ChannelName) -> watch::Receiver<Offset> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        // Strangers name channels, and nothing may ever come on some. Looking at all of them each time
        // their number has doubled costs little for each.
        if heads.by_channel.len() >= heads.sweep_at.max(SWEEP_COUNT_MIN) {
            heads.by_channel.retain(|_, sender| sender.receiver_count() > 0);
            heads.sweep_at = heads.by_channel.len() * 2;
        }
        let sender = heads.by_channel.entry(channel.clone());
        sender.or_insert_with(|| watch::channel(Offset::ZERO).0).subscribe()
    }

    pub(super) fn note_head(&self, channel: &ChannelName, head: Offset) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = heads.by_channel.get(channel) else { return };
        if sender.send(head).is_err() {
            heads.by_channel.remove(channel);
        }
    }

    /// Takes nothing more. What waits is still done; calls that come later are refused.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.has_come.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Nobody will answer any more.
    pub(crate) fn abandon(&self) {
        let mut pile = self.lock();
        pile.is_closed = true;
        pile.waiting.clear();
        pile.inputs.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Pile> {
        // Adding and taking leave the pile whole, so a poisoned lock guards nothing broken.
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pile {
    fn check_room(&self, bytes_max: usize) -> Result<(), CallError> {
        if self.is_closed {
            return Err(stopping());
        }
        if self.bytes >= bytes_max {
            let message = "events are published faster than they can be taken".to_owned();
            return Err(CallError { code: ErrorCode::Busy, message });
        }
        Ok(())
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn add(&mut self, input: Input) {
        self.bytes += weight(&input);
        self.inputs.push(input);
    }
}

/// The answer to a call that the keeper no longer takes.
pub(crate) fn stopping() -> CallError {
    CallError { code: ErrorCode::Busy, message: "the server is stopping".to_owned() }
}

/// What an input holds in memory, roughly.
fn weight(input: &Input) -> usize {
    let carried = match input {
        Input::Frame { frame, .. } => frame_weight(frame),
        Input::Ran { outcome, .. } => outcome_weight(outcome),
        Input::Call { call, .. } => call_weight(call),
        Input::Hello { hello, .. } => hello.cursors.len() * INPUT_BYTES,
        Input::Unfit { .. }
        | Input::Gone { .. }
        | Input::Pace { .. }
        | Input::Read { .. }
        | Input::Drain { .. } => 0,
    };
    INPUT_BYTES + carried
}

fn frame_weight(frame: &ClientFrame) -> usize {
    match frame {
        ClientFrame::Publish(publish) => publish.payload.bytes.len(),
        ClientFrame::Request(request) => request.command.len() + request.payload.bytes.len(),
        ClientFrame::Reply(reply) => outcome_weight(&reply.outcome),
        ClientFrame::Ack(ack) => ack.cursors.len() * INPUT_BYTES,
        _ => 0,
    }
}

pub(crate) fn outcome_weight(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Done(payload) => payload.bytes.len(),
        Outcome::Failed(failure) => failure.message.len(),
        Outcome::Published { .. } | Outcome::Indeterminate => 0,
    }
}

fn call_weight(call: &Call) -> usize {
    match call {
        Call::Publish { payload, channels, .. } => {
            payload.bytes.len() + channels.len() * INPUT_BYTES
        }
        Call::Send { payload, .. } => payload.bytes.len(),
        Call::Command { command, payload, .. } => command.len() + payload.bytes.len(),
        _ => 0,
    }
}

/// An input without what it carries.
const INPUT_BYTES: usize = 128;
/// Channels that are waited for before any are looked at again.
const SWEEP_COUNT_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use mainstay_node::ChannelQuery;

    use super::*;

    #[test]
    fn channels_that_nobody_waits_for_any_more_are_forgotten() {
        let desk = Desk::default();
        let name = |index: usize| ChannelName::parse(&format!("c{index}")).expect("a name");
        let mut kept = desk.watch_head(&name(0));
        for index in 1..20 * SWEEP_COUNT_MIN {
            drop(desk.watch_head(&name(index)));
        }
        let count = desk.heads.lock().expect("unpoisoned").by_channel.len();
        assert!(count <= SWEEP_COUNT_MIN, "{count}");
        desk.note_head(&name(0), Offset(7));
        assert_eq!(*kept.borrow_and_update(), Offset(7), "who waits is told");
    }

    #[test]
    fn whatever_carries_bytes_weighs_them() {
        use mainstay_node::ConnectionKey;
        use mainstay_wire::session::{Ack, Failure, Payload, Publish, Reply, Request, SessionId};
        let payload = || Payload::binary(vec![0; 5_000]);
        let text = || "x".repeat(5_000);
        let frame = |frame| Input::Frame { connection: ConnectionKey(1), frame };
        let channel = ChannelName::parse("news").expect("a name");
        let failed = Outcome::Failed(Failure { code: ErrorCode::Internal, message: text() });
        let cursors = vec![(channel.clone(), Offset(1)); 100];
        let to = SessionId::from_bytes([1; 16]);
        let request = |command, payload| {
            frame(ClientFrame::Request(Request { number: 1, command, payload, deadline_ms: None }))
        };
        let call = |command, payload| Input::Call {
            ticket: Ticket(1),
            call: Call::Command { to, command, payload, deadline_ms: 1 },
        };
        let inputs = [
            frame(ClientFrame::Publish(Publish { number: 1, channel, payload: payload() })),
            request(String::new(), payload()),
            request(text(), Payload::NULL),
            frame(ClientFrame::Reply(Reply { number: 1, outcome: Outcome::Done(payload()) })),
            frame(ClientFrame::Reply(Reply { number: 1, outcome: failed })),
            frame(ClientFrame::Ack(Ack { unanswered_from: 1, cursors })),
            Input::Ran { session: to, number: 1, outcome: Outcome::Done(payload()) },
            call(String::new(), payload()),
            call(text(), Payload::NULL),
        ];
        for input in inputs {
            assert!(weight(&input) >= 5_000, "{input:?}");
        }
    }

    #[test]
    fn a_full_desk_refuses_calls_and_takes_what_must_get_in() {
        let desk = Desk::default();
        let call = || Call::Channels(ChannelQuery { count_max: 1, ..Default::default() });
        desk.tell(call(), 1).expect("room");
        let refused = desk.tell(call(), 1).expect_err("no room");
        assert_eq!(refused.code, ErrorCode::Busy);
        desk.put(&mut vec![Input::Drain { window_ms: 0 }]);
        let taken = desk.take(None).expect("open");
        assert!(matches!(&taken[..], [Input::Call { .. }, Input::Drain { .. }]));
        desk.close();
        assert!(desk.take(None).is_none());
        assert!(desk.call(call(), 1).is_err(), "a closed desk takes nothing");
    }
}
