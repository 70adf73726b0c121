//! Commands of the server to clients.

use mainstay_session::server::Command;
use mainstay_wire::session::{
    Encoding, ErrorCode, Failure, Outcome, Payload, Reply, Request, ServerFrame, SessionId,
};

use crate::fit::{check_depth, fit_outcome};
use crate::request::failed;
use crate::timer::Timer;
use crate::{Answer, CallError, Node, Ticket};

impl Node {
    pub(crate) fn call_command(
        &mut self,
        now_ms: u64,
        ticket: Ticket,
        to: SessionId,
        command: String,
        payload: Payload,
        deadline_ms: u64,
    ) {
        let count_max = self.config.command_count_max;
        let Some(entry) = self.sessions.get_mut(&to) else {
            return self.answer(ticket, Err(unreachable_session()));
        };
        if let Err(Failure { code, message }) = check_depth(&payload) {
            return self.answer(ticket, Err(CallError { code, message }));
        }
        if entry.session.command_count() >= count_max {
            let message = format!("{count_max} commands wait for this client already");
            return self.answer(ticket, Err(CallError { code: ErrorCode::Busy, message }));
        }
        let number = entry.session.next_command();
        let request = Request { number, command, payload, deadline_ms: Some(deadline_ms) };
        let bytes = Encoding::longest(|encoding| encoding.request_bytes(&request));
        let bytes_max = self.config.message_bytes_max as usize;
        if bytes > bytes_max {
            let message =
                format!("it makes a message of {bytes} bytes, over the limit of {bytes_max}");
            return self.answer(ticket, Err(CallError { code: ErrorCode::TooBig, message }));
        }
        let deadline_at_ms = now_ms.saturating_add(deadline_ms);
        let is_sent = entry.link.is_some();
        let (command, payload) = (request.command.clone(), request.payload.clone());
        let caller = ticket.0;
        entry.session.command(Command { command, payload, deadline_at_ms, caller, is_sent });
        self.timers.arm(deadline_at_ms, Timer::Command { session: to, number });
        // The number is stored, so that a restart does not use it again.
        self.put_session(to);
        self.say(to, ServerFrame::Request(request));
    }

    /// A client's reply to a command. One that nobody waits for any more is only acknowledged.
    pub(crate) fn handle_reply(&mut self, id: SessionId, reply: Reply) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let settled = entry.session.settle(reply.number);
        let number = entry.session.settled();
        if let Some(command) = settled {
            let timer = Timer::Command { session: id, number: reply.number };
            self.timers.disarm(&timer);
            let outcome = fit_outcome(reply.outcome);
            self.answer(Ticket(command.caller), Ok(Answer::Outcome(outcome)));
        }
        self.say(id, ServerFrame::Ack { number });
    }

    /// The deadline of a command has come.
    pub(crate) fn give_up(&mut self, id: SessionId, number: u64) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let Some(command) = entry.session.settle(number) else { return };
        let outcome = if command.is_sent {
            failed(ErrorCode::DeadlineExceeded, "the client did not reply in time; it may have run")
        } else {
            failed(ErrorCode::NeverRan, "the client was not there in time")
        };
        self.answer(Ticket(command.caller), Ok(Answer::Outcome(outcome)));
        self.say(id, ServerFrame::Cancel { number });
    }

    /// Says the commands that a client has not accepted, and which of its replies are safe.
    pub(crate) fn say_commands(&mut self, now_ms: u64, id: SessionId, accepted: u64) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let settled = entry.session.settled();
        let requests = entry.session.unaccepted(accepted, now_ms);
        if settled > 0 {
            self.say(id, ServerFrame::Ack { number: settled });
        }
        for request in requests {
            self.say(id, ServerFrame::Request(request));
        }
    }

    /// The session is over: nobody will reply.
    pub(crate) fn settle_commands(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        for (number, command) in entry.session.settle_all() {
            self.timers.disarm(&Timer::Command { session: id, number });
            let outcome = match command.is_sent {
                true => Outcome::Indeterminate,
                false => failed(ErrorCode::NeverRan, "the session has ended"),
            };
            self.answer(Ticket(command.caller), Ok(Answer::Outcome(outcome)));
        }
    }
}

pub(crate) fn unreachable_session() -> CallError {
    let message = "there is no such session".to_owned();
    CallError { code: ErrorCode::Unreachable, message }
}
