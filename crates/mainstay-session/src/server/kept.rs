//! Outcomes that are kept until the client has them: so many, and so many bytes.

use super::{Session, Violation};

impl Session {
    /// Numbers whose outcomes are stored for the client.
    pub fn outcomes(&self) -> std::ops::Range<u64> {
        self.unanswered_from..self.outcomes_end()
    }

    /// One more outcome is stored, of so many bytes. Gives the numbers of those that there is no room for
    /// any more, the oldest first: they are known no longer, and `indeterminate` is to be stored in
    /// their place. The newest always stays.
    pub fn keep(&mut self, bytes: usize, bytes_max: usize) -> Vec<u64> {
        self.outcome_bytes.push_back(u32::try_from(bytes).unwrap_or(u32::MAX));
        debug_assert_eq!(
            self.outcome_bytes.len() as u64,
            self.outcomes_end() - self.unanswered_from
        );
        let mut kept: usize = self.outcome_bytes.iter().map(|bytes| *bytes as usize).sum();
        let mut given_up = Vec::new();
        let older = self.outcome_bytes.len() - 1;
        for (number, bytes) in
            (self.unanswered_from..).zip(self.outcome_bytes.iter_mut().take(older))
        {
            if kept <= bytes_max {
                break;
            }
            if *bytes > GIVEN_UP_BYTES {
                kept -= (*bytes - GIVEN_UP_BYTES) as usize;
                *bytes = GIVEN_UP_BYTES;
                given_up.push(number);
            }
        }
        given_up
    }

    /// The client has every outcome below `from`. The number below which stored outcomes are to be
    /// dropped, if there are any; going back changes nothing.
    ///
    /// # Errors
    /// If there cannot be such an outcome yet.
    pub fn acknowledge(&mut self, from: u64) -> Result<Option<u64>, Violation> {
        self.check_acknowledged(from)?;
        if from <= self.unanswered_from {
            return Ok(None);
        }
        let count = usize::try_from(from - self.unanswered_from).unwrap_or(usize::MAX);
        self.outcome_bytes.drain(..count.min(self.outcome_bytes.len()));
        self.unanswered_from = from;
        Ok(Some(from))
    }

    pub(super) fn check_acknowledged(&self, from: u64) -> Result<(), Violation> {
        let below = self.outcomes_end();
        if from > below {
            return Err(Violation::AcknowledgedAhead { from, below });
        }
        Ok(())
    }

    /// The first number without an outcome.
    fn outcomes_end(&self) -> u64 {
        self.record.accepted.saturating_add(u64::from(!self.record.is_started))
    }
}

/// What an outcome weighs that says nothing.
const GIVEN_UP_BYTES: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::{SessionId, Token};

    /// A session with outcomes of so many bytes, and those that were given up.
    fn with_outcomes(bytes: &[usize], bytes_max: usize) -> (Session, Vec<u64>) {
        let token = Token::from_bytes([1; 32]);
        let id = SessionId::from_bytes([1; 16]);
        let mut session = Session::begin(id, None, String::new(), &token, 0);
        let mut given_up = Vec::new();
        for bytes in bytes {
            session.record_mut().accepted += 1;
            given_up.extend(session.keep(*bytes, bytes_max));
        }
        (session, given_up)
    }

    #[test]
    fn the_oldest_outcomes_are_given_up_for_new_ones() {
        assert_eq!(with_outcomes(&[50, 50], 100).1, [0; 0], "as much as there may be");
        assert_eq!(
            with_outcomes(&[50, 50, 50], 100).1,
            [1, 2],
            "what is given up weighs something"
        );
        assert_eq!(with_outcomes(&[1, 60, 60], 100).1, [2], "nothing is won with a small one");
        assert_eq!(with_outcomes(&[10, 500, 20], 100).1, [1, 2], "the newest stays, however long");
        let (mut session, _) = with_outcomes(&[60], 100);
        for _ in 0..1_000 {
            session.record_mut().accepted += 1;
            session.keep(60, 100);
        }
        let kept: u32 = session.outcome_bytes.iter().sum();
        assert_eq!(kept, 1_000 + 60);
    }

    #[test]
    fn what_is_acknowledged_makes_room() {
        let (mut session, _) = with_outcomes(&[50, 40], 100);
        assert_eq!(session.acknowledge(2), Ok(Some(2)));
        session.record_mut().accepted += 1;
        assert_eq!(session.keep(60, 100), [0; 0]);
        session.record_mut().accepted += 1;
        assert_eq!(session.keep(41, 100), [2, 3]);
        let sizes = [(2, 1), (3, 1), (4, 41)];
        let mut loaded = Session::load(session.id(), session.record().clone(), &sizes);
        assert_eq!(loaded.outcomes(), 2..5);
        assert_eq!(loaded.outcome_bytes, session.outcome_bytes);
        loaded.record_mut().accepted += 1;
        assert_eq!(loaded.keep(60, 100), [4]);
    }
}
