//! Requests and publishes of clients: one count, each accepted once.

use mainstay_log::Write;
use mainstay_session::server::{Accepted, Cancelled, Received, RequestLimits, Violation, Work};
use mainstay_wire::EndReason;
use mainstay_wire::session::{
    Ack, ClientFrame, ErrorCode, Failure, Outcome, Reply, Request, ServerFrame, SessionId,
};

use crate::fit::check_depth;
use crate::timer::Timer;
use crate::{Effect, Node};

impl Node {
    pub(crate) fn handle_frame(&mut self, now_ms: u64, id: SessionId, frame: ClientFrame) {
        match frame {
            ClientFrame::Request(request) => {
                let Request { number, command, payload, deadline_ms } = request;
                let deadline_at_ms = deadline_ms.map(|ms| now_ms.saturating_add(ms));
                self.receive(now_ms, id, number, Work::Run { command, payload, deadline_at_ms });
            }
            ClientFrame::Publish(publish) => {
                let work = Work::Publish { channel: publish.channel, payload: publish.payload };
                self.receive(now_ms, id, publish.number, work);
            }
            ClientFrame::Cancel { number } => self.cancel(now_ms, id, number),
            ClientFrame::Reply(reply) => self.handle_reply(id, reply),
            ClientFrame::Subscribe(subscribe) => self.handle_subscribe(now_ms, id, subscribe),
            ClientFrame::Unsubscribe { channel } => self.handle_unsubscribe(now_ms, id, channel),
            ClientFrame::Ack(ack) => self.handle_ack(now_ms, id, ack),
            ClientFrame::Bye => self.end_session(now_ms, id, EndReason::SessionEnded, "bye"),
            // The driver answers these, and lets only one hello through.
            ClientFrame::Hello(_) | ClientFrame::Ping | ClientFrame::Pong => {}
        }
    }

    pub(crate) fn handle_unfit(
        &mut self,
        now_ms: u64,
        id: SessionId,
        number: u64,
        failure: Failure,
    ) {
        self.receive(now_ms, id, number, Work::Fail(failure));
    }

    fn receive(&mut self, now_ms: u64, id: SessionId, number: u64, work: Work) {
        let work = match &work {
            Work::Run { payload, .. } | Work::Publish { payload, .. } => {
                check_depth(payload).map_or_else(Work::Fail, |()| work)
            }
            Work::Fail(_) => work,
        };
        let limits = RequestLimits {
            count_max: self.config.request_count_max,
            bytes_max: self.config.request_bytes_max,
        };
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        match entry.session.receive(number, work, limits) {
            Ok(Received::Queued) => self.advance(now_ms, id),
            Ok(Received::Known) => {
                // What is told in this batch anyway needs no telling, however often it is asked for: a reply
                // may be a thousand times as long as what asks for it.
                let is_told = self.staged.outcomes.contains_key(&(id, number))
                    || !self.staged.repeated.insert((id, number));
                if !is_told && let Some(outcome) = self.outcome(id, number) {
                    self.say(id, ServerFrame::Reply(Reply { number, outcome }));
                }
            }
            Ok(Received::Pending | Received::Forgotten) => {}
            Err(violation) => self.violated(now_ms, id, &violation),
        }
    }

    /// Accepts whatever may start. Acceptance is stored by this commit, and no handler starts before.
    pub(crate) fn advance(&mut self, now_ms: u64, id: SessionId) {
        if self.is_draining {
            return;
        }
        let handler_timeout_ms = self.config.handler_timeout_ms;
        let mut has_accepted = false;
        while let Some(entry) = self.sessions.get_mut(&id)
            && let Some(accepted) = entry.session.accept(now_ms, handler_timeout_ms)
        {
            has_accepted = true;
            match accepted {
                Accepted::Run(request) => self.start(id, request),
                Accepted::Publish { number, channel, payload } => {
                    let outcome = match self.publish(now_ms, id, &channel, payload) {
                        Ok((epoch, offset)) => Outcome::Published { epoch, offset },
                        Err(failure) => Outcome::Failed(failure),
                    };
                    self.put_outcome(id, number, outcome);
                }
                Accepted::Failed { number, failure } => {
                    self.put_outcome(id, number, Outcome::Failed(failure));
                }
                Accepted::Cancelled { number } => {
                    self.put_outcome(id, number, failed(ErrorCode::Cancelled, "it never ran"));
                }
                Accepted::Late { number } => {
                    let outcome = failed(ErrorCode::DeadlineExceeded, "it never ran");
                    self.put_outcome(id, number, outcome);
                }
            }
        }
        if has_accepted {
            self.put_session(id);
        }
    }

    fn start(&mut self, id: SessionId, request: Request) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let Some(link) = &entry.link else { return };
        let number = request.number;
        if let Some((_, deadline_at_ms)) = entry.session.running() {
            self.timers.arm(deadline_at_ms, Timer::Handler { session: id, number });
            self.handlers.insert((id, number), deadline_at_ms);
        }
        let principal = entry.session.record().principal.clone();
        let connection = link.connection;
        self.push(Effect::Run { connection, session: id, principal, request });
    }

    pub(crate) fn handle_ran(&mut self, now_ms: u64, id: SessionId, number: u64, outcome: Outcome) {
        self.handlers.remove(&(id, number));
        self.finish(now_ms, id, number, outcome);
    }

    fn finish(&mut self, now_ms: u64, id: SessionId, number: u64, outcome: Outcome) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let running = entry.session.running();
        if entry.session.finish(number) {
            if running.is_some() {
                self.timers.disarm(&Timer::Handler { session: id, number });
            }
            self.put_outcome(id, number, outcome);
            self.put_session(id);
            self.advance(now_ms, id);
        }
    }

    pub(crate) fn stop_late(&mut self, now_ms: u64, id: SessionId, number: u64) {
        let running = self.sessions.get(&id).and_then(|entry| entry.session.running());
        if running.is_some_and(|(running, at_ms)| running == number && at_ms <= now_ms) {
            self.stop(now_ms, id, number, ErrorCode::DeadlineExceeded);
        }
    }

    fn stop(&mut self, now_ms: u64, id: SessionId, number: u64, why: ErrorCode) {
        self.handlers.remove(&(id, number));
        let is_late = why == ErrorCode::DeadlineExceeded;
        self.push(Effect::Stop { session: id, number, is_late });
        self.finish(now_ms, id, number, failed(why, "the handler was stopped"));
    }

    fn cancel(&mut self, now_ms: u64, id: SessionId, number: u64) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        match entry.session.cancel(number) {
            Cancelled::Running => {
                self.stop(now_ms, id, number, ErrorCode::Cancelled);
            }
            Cancelled::Queued | Cancelled::Nothing => {}
        }
    }

    fn handle_ack(&mut self, now_ms: u64, id: SessionId, ack: Ack) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        match entry.session.acknowledge(ack.unanswered_from) {
            Ok(Some(below)) => {
                self.staged.writes.push(Write::DropReplies { session: id, below });
            }
            Ok(None) => {}
            Err(violation) => return self.violated(now_ms, id, &violation),
        }
        for (channel, offset) in ack.cursors {
            self.note_cursor(now_ms, id, &channel, offset);
        }
    }

    /// Forgets the outcomes that a hello says have arrived.
    pub(crate) fn drop_outcomes(&mut self, id: SessionId, unanswered_from: u64) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        // The hello was checked.
        if let Ok(Some(below)) = entry.session.acknowledge(unanswered_from) {
            self.staged.writes.push(Write::DropReplies { session: id, below });
        }
    }

    /// The client broke the dialect: its connection ends, its session stays.
    fn violated(&mut self, now_ms: u64, id: SessionId, violation: &Violation) {
        if let Some(connection) = self.connection(id) {
            self.close(connection, EndReason::SessionViolation, &violation.to_string());
            let (reason, detail) = (EndReason::SessionViolation, violation.to_string());
            self.handle_gone(now_ms, connection, reason, &detail);
        }
    }
}

pub(crate) fn failed(code: ErrorCode, message: &str) -> Outcome {
    Outcome::Failed(Failure { code, message: message.to_owned() })
}
