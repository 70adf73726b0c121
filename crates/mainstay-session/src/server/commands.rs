//! The server's commands to the client.

use mainstay_wire::session::{Payload, Request};

use super::Session;

/// A command without a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Which handler of the client.
    pub command: String,
    /// What it gets.
    pub payload: Payload,
    /// When it is given up, in milliseconds since 1970.
    pub deadline_at_ms: u64,
    /// The caller's own number for who waits for the reply.
    pub caller: u64,
    /// Whether it was ever said to a connection: then it may have run.
    pub is_sent: bool,
}

impl Session {
    /// The number of the next command.
    pub fn next_command(&self) -> u64 {
        self.record.command_count + 1
    }

    /// Numbers a command and keeps it until its reply. The record, which counts it, is to be stored.
    pub fn command(&mut self, command: Command) -> u64 {
        self.record.command_count += 1;
        self.commands.insert(self.record.command_count, command);
        self.record.command_count
    }

    /// How many commands have no reply.
    pub fn command_count(&self) -> usize {
        self.commands.len()
    }

    /// Takes a command that has got its reply, or is given up; `None` if it did before.
    pub fn settle(&mut self, number: u64) -> Option<Command> {
        self.commands.remove(&number)
    }

    /// Takes all commands without a reply.
    pub fn settle_all(&mut self) -> Vec<(u64, Command)> {
        std::mem::take(&mut self.commands).into_iter().collect()
    }

    /// Every command up to this number is settled: the client need not keep its reply.
    pub fn settled(&self) -> u64 {
        match self.commands.first_key_value() {
            Some((number, _)) => number - 1,
            None => self.record.command_count,
        }
    }

    /// The commands behind number `accepted` as they are to be said now, in order. They count as sent
    /// from here on.
    pub fn unaccepted(&mut self, accepted: u64, now_ms: u64) -> Vec<Request> {
        let behind = self.commands.range_mut(accepted.saturating_add(1)..);
        let request = |(number, command): (&u64, &mut Command)| {
            command.is_sent = true;
            Request {
                number: *number,
                command: command.command.clone(),
                payload: command.payload.clone(),
                deadline_ms: Some(command.deadline_at_ms.saturating_sub(now_ms)),
            }
        };
        behind.map(request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::{SessionId, Token};

    fn session() -> Session {
        let token = Token::from_bytes([1; 32]);
        Session::begin(SessionId::from_bytes([1; 16]), None, String::new(), &token, 0)
    }

    fn command(caller: u64) -> Command {
        Command {
            command: "show".to_owned(),
            payload: Payload::NULL,
            deadline_at_ms: 100,
            caller,
            is_sent: false,
        }
    }

    #[test]
    fn what_the_client_has_not_accepted_is_said_again() {
        let mut session = session();
        assert_eq!([1, 2, 3].map(|caller| session.command(command(caller))), [1, 2, 3]);
        let numbers =
            |requests: Vec<Request>| requests.iter().map(|r| r.number).collect::<Vec<_>>();
        assert_eq!(numbers(session.unaccepted(1, 40)), [2, 3]);
        assert_eq!(session.unaccepted(2, 40)[0].deadline_ms, Some(60));
        assert!(session.unaccepted(u64::MAX, 40).is_empty());
    }

    #[test]
    fn replies_are_safe_up_to_the_first_that_is_missing() {
        let mut session = session();
        assert_eq!(session.settled(), 0);
        for caller in 1..=3 {
            session.command(command(caller));
        }
        assert_eq!(session.settle(2).map(|command| command.caller), Some(2));
        assert_eq!(session.settled(), 0, "the first is still open");
        assert!(session.settle(1).is_some() && session.settle(1).is_none());
        assert_eq!(session.settled(), 2);
        assert_eq!(session.settle_all().len(), 1);
        assert_eq!(session.settled(), 3);
    }
}
