//! The server's commands: each is accepted once, and its reply kept until it is safe.

use mainstay_wire::session::{ClientFrame, ErrorCode, Outcome, Reply, Request};

use super::requests::failed;
use super::session::NUMBER_MAX;
use super::state::StateChange;
use super::{ClientEvent, ClientSession, CommandKey};
use crate::bounded_reply;

impl ClientSession {
    /// Answers a command of the server. Only the first answer counts, and none does when the
    /// session that the command came from is over.
    pub fn answer(&mut self, now_ms: u64, key: CommandKey, outcome: Outcome) {
        self.advance(now_ms);
        let found = self.running.iter().find(|(_, running)| **running == key);
        let Some(number) = found.map(|(number, _)| *number) else { return };
        self.running.remove(&number);
        let reply = self.bounded(Reply { number, outcome });
        self.change(StateChange::CommandAnswered { number, outcome: reply.outcome.clone() });
        if self.is_open() {
            self.transmit(ClientFrame::Reply(reply));
        }
    }

    /// What ran when the process ended may have run to any point.
    pub(super) fn answer_interrupted(&mut self) {
        let interrupted = self.saved.answers.iter().filter(|(_, answer)| answer.is_none());
        for number in interrupted.map(|(number, _)| *number).collect::<Vec<_>>() {
            let outcome = Outcome::Indeterminate;
            self.change(StateChange::CommandAnswered { number, outcome });
        }
    }

    fn bounded(&self, reply: Reply) -> Reply {
        let Some(limits) = self.limits else { return reply };
        let encoding = self.config.encoding;
        bounded_reply(reply, limits.message_bytes_max as usize, |reply| encoding.reply_bytes(reply))
    }

    /// The session that the commands came from is over.
    pub(super) fn withdraw_commands(&mut self) {
        for key in std::mem::take(&mut self.running).into_values() {
            self.tell(ClientEvent::CommandCancelled { key });
        }
    }

    /// Sends the replies that are not known to be safe.
    pub(super) fn send_answers(&mut self) {
        for (number, answer) in self.saved.answers.clone() {
            let Some(outcome) = answer else { continue };
            // It was kept for a server that took more, perhaps, or in the other encoding.
            let reply = self.bounded(Reply { number, outcome: outcome.clone() });
            if reply.outcome != outcome {
                let outcome = reply.outcome.clone();
                self.change(StateChange::CommandAnswered { number, outcome });
            }
            self.transmit(ClientFrame::Reply(reply));
        }
    }

    pub(super) fn handle_command(&mut self, request: Request) {
        let number = request.number;
        if number == 0 || number >= NUMBER_MAX {
            return self.fault("a command without a number");
        }
        if number <= self.saved.accepted {
            // Sent again because our reply was lost, or about to be answered.
            if let Some(Some(outcome)) = self.saved.answers.get(&number).cloned() {
                self.transmit(ClientFrame::Reply(Reply { number, outcome }));
            }
            return;
        }
        // A hole is what the server gave up before it reached us.
        if self.saved.answers.len() >= self.config.command_count_max {
            return self.fault("more commands than this client keeps");
        }
        self.change(StateChange::CommandAccepted { number });
        let key = CommandKey(self.next_command_key);
        self.next_command_key += 1;
        self.running.insert(number, key);
        let deadline_at_ms = request.deadline_ms.map(|ms| self.now_ms.saturating_add(ms));
        self.tell(ClientEvent::Command { key, deadline_at_ms, request });
    }

    pub(super) fn handle_command_cancel(&mut self, number: u64) {
        if let Some(&key) = self.running.get(&number) {
            self.tell(ClientEvent::CommandCancelled { key });
        }
    }

    /// The server needs no replies up to this number: it has them, or has given their commands up.
    pub(super) fn handle_answers_safe(&mut self, number: u64) {
        let mut given_up = self.running.split_off(&number.saturating_add(1));
        std::mem::swap(&mut self.running, &mut given_up);
        for key in given_up.into_values() {
            self.tell(ClientEvent::CommandCancelled { key });
        }
        if self.saved.answers.keys().next().is_some_and(|first| *first <= number) {
            self.change(StateChange::AnswersSafe { number });
        }
    }

    /// The answer for a command that nobody here can run.
    pub fn no_handler(command: &str) -> Outcome {
        failed(ErrorCode::NeverRan, &format!("this client has no handler for {command:?}"))
    }
}
