//! A log that was full is left alone for a while, and everybody is told so meanwhile.
//!
//! Whoever comes would otherwise have the log asked again, and after each refusal everything is read
//! anew: a store that is full would be busier than one that is not.

use mainstay_wire::EndReason;
use mainstay_wire::session::ErrorCode;

use crate::{Call, CallError, Effect, Happening, Input, Node, Note, Ticket};

impl Node {
    /// Whether the log is left alone at this moment.
    pub(crate) fn rests(&self, now_ms: u64) -> bool {
        now_ms < self.rests_until_ms
    }

    /// Takes something while the log is left alone. Nobody is connected, and nothing is staged.
    pub(crate) fn handle_at_rest(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Hello { connection, .. } => {
                let refused = Note::of(Happening::Refused).because(EndReason::ServerBehind, LATER);
                self.push(Effect::Note(Note { connection: Some(connection), ..refused }));
                self.close(connection, EndReason::ServerBehind, LATER);
            }
            // What a handler came to is not lost: it waits, as it would for its session's client.
            Input::Ran { session, number, outcome } => {
                self.ended.push((session, number, outcome));
            }
            Input::Call { ticket, call } => self.call_at_rest(now_ms, ticket, call),
            Input::Drain { window_ms } => self.handle_drain(window_ms),
            Input::Frame { .. }
            | Input::Unfit { .. }
            | Input::Gone { .. }
            | Input::Pace { .. }
            | Input::Read { .. } => {}
        }
    }

    /// Reading needs no room.
    fn call_at_rest(&mut self, now_ms: u64, ticket: Ticket, call: Call) {
        match call {
            Call::Publish { .. } | Call::Send { .. } | Call::Command { .. } | Call::End { .. } => {
                let (code, message) = (ErrorCode::StoreFailed, LATER.to_owned());
                self.answer(ticket, Err(CallError { code, message }));
            }
            Call::History { .. }
            | Call::Members { .. }
            | Call::Channels { .. }
            | Call::Sessions { .. }
            | Call::Session { .. } => self.handle_call(now_ms, ticket, call),
        }
    }

    /// The log is asked again. What handlers came to meanwhile is the first that it is asked for.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        for (session, number, outcome) in std::mem::take(&mut self.ended) {
            self.handle_ran(now_ms, session, number, outcome);
        }
    }
}

const LATER: &str = "the log is full, and is tried again in a moment";
