//! One session, from its first hello to its end.

use std::collections::{BTreeMap, VecDeque};

use mainstay_wire::session::{Hello, Principal, SessionId, Token};

use super::requests::{Queued, Running};
use super::{Command, Record, TokenHash, Violation};

/// The server's half of a session.
///
/// Whatever changes the [`Record`] must be stored by the caller before anybody hears of it; every
/// method that does says so by its result.
#[derive(Debug)]
pub struct Session {
    pub(super) id: SessionId,
    pub(super) record: Record,
    /// Outcomes below this number have been forgotten.
    pub(super) unanswered_from: u64,
    /// How many bytes the outcomes from there on have.
    pub(super) outcome_bytes: VecDeque<u32>,
    pub(super) running: Option<Running>,
    /// Requests that are not accepted yet, behind the one that runs.
    pub(super) queue: VecDeque<Queued>,
    pub(super) queue_bytes: usize,
    /// The server's commands without a reply, by number.
    pub(super) commands: BTreeMap<u64, Command>,
}

impl Session {
    /// A session that begins.
    pub fn begin(
        id: SessionId,
        principal: Option<Principal>,
        client: String,
        token: &Token,
        now_ms: u64,
    ) -> Session {
        let record = Record {
            principal,
            generation: 1,
            token: TokenHash::of(token),
            token_before: None,
            accepted: 0,
            is_started: false,
            client: client.into(),
            since_ms: now_ms,
            away_since_ms: None,
            command_count: 0,
            inbox_from: None,
            expired_at_ms: None,
        };
        Session::load(id, record, &[])
    }

    /// A session as it was stored: its record, and the numbers and bytes of its stored outcomes, the
    /// lowest first.
    pub fn load(id: SessionId, record: Record, outcomes: &[(u64, usize)]) -> Session {
        let end = record.accepted + u64::from(!record.is_started);
        let unanswered_from = outcomes.first().map_or(end, |(first, _)| *first).min(end);
        let bytes_of = |number: u64| {
            let found = outcomes.binary_search_by_key(&number, |(number, _)| *number);
            let bytes =
                found.ok().and_then(|index| outcomes.get(index)).map_or(0, |(_, bytes)| *bytes);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Session {
            id,
            unanswered_from,
            outcome_bytes: (unanswered_from..end).map(bytes_of).collect(),
            record,
            running: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            commands: BTreeMap::new(),
        }
    }

    /// The session's public name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What is to be stored.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What is to be stored, to be changed.
    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Whether a token opens the session: the last one, or the one before while nothing has shown
    /// that the last one arrived.
    pub fn admits(&self, token: &Token) -> bool {
        let hash = TokenHash::of(token);
        let is_last = self.record.token.matches(&hash);
        let is_before = self.record.token_before.is_some_and(|before| before.matches(&hash));
        is_last | is_before
    }

    /// Whether what a hello says of counts is true of this session.
    ///
    /// # Errors
    /// If it speaks of outcomes or commands that there never were, as far as the store knows: it knows
    /// less than the client if it was set back.
    pub fn check(&self, hello: &Hello) -> Result<(), Violation> {
        self.check_acknowledged(hello.unanswered_from)?;
        let (accepted, sent) = (hello.accepted, self.record.command_count);
        if accepted > sent {
            return Err(Violation::AcceptedAhead { accepted, sent });
        }
        Ok(())
    }

    /// The session gets its next connection: raises the generation and replaces the token. The one
    /// that was shown stays good until [`prove`](Session::prove). The record is to be stored.
    pub fn resume(&mut self, shown: &Token, next: &Token, client: String) {
        self.record.generation += 1;
        self.record.token = TokenHash::of(next);
        self.record.token_before = Some(TokenHash::of(shown));
        self.record.client = client.into();
        self.record.away_since_ms = None;
    }

    /// The last token has arrived: the one before is good no longer. Whether the record is to be
    /// stored.
    pub fn prove(&mut self) -> bool {
        self.record.token_before.take().is_some()
    }

    /// The connection is lost: what was not accepted is forgotten, for the client sends it again. The
    /// record is to be stored.
    pub fn part(&mut self, now_ms: u64) {
        self.record.away_since_ms = Some(now_ms);
        self.queue.clear();
        self.queue_bytes = 0;
    }

    /// Whether there is nothing that only memory knows.
    pub fn is_at_rest(&self) -> bool {
        self.running.is_none() && self.queue.is_empty() && self.commands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8) -> Token {
        Token::from_bytes([byte; 32])
    }

    fn session() -> Session {
        let id = SessionId::from_bytes([1; 16]);
        Session::begin(id, None, "test".to_owned(), &token(1), 5)
    }

    #[test]
    fn the_token_before_is_good_until_the_next_has_arrived() {
        let mut session = session();
        assert!(session.admits(&token(1)) && !session.admits(&token(2)));
        session.resume(&token(1), &token(2), "test".to_owned());
        assert!(session.admits(&token(1)) && session.admits(&token(2)));
        assert!(session.prove());
        assert!(!session.admits(&token(1)) && session.admits(&token(2)));
        assert!(!session.prove(), "there is nothing left to store");
    }

    #[test]
    fn after_a_lost_welcome_the_token_that_the_client_has_stays_good() {
        let mut session = session();
        session.resume(&token(1), &token(2), "test".to_owned());
        session.resume(&token(1), &token(3), "test".to_owned());
        assert!(session.admits(&token(1)), "welcomes may be lost again and again");
        assert!(session.admits(&token(3)) && !session.admits(&token(2)));
        assert_eq!(session.record().generation, 3);
    }

    #[test]
    fn a_hello_cannot_know_more_than_the_session() {
        let session = session();
        let hello =
            |unanswered_from, accepted| Hello { unanswered_from, accepted, ..Hello::default() };
        assert_eq!(session.check(&hello(1, 0)), Ok(()));
        assert_eq!(session.check(&hello(0, 0)), Ok(()), "0 says nothing");
        assert!(session.check(&hello(2, 0)).is_err());
        assert!(session.check(&hello(1, 1)).is_err());
    }
}
