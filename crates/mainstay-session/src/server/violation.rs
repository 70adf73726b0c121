//! What a client may not do.

use thiserror::Error;

/// The client's fault: the connection ends with `session_violation`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A request number beyond the next.
    #[error("request {number} came where {next} is the next")]
    Hole {
        /// What came.
        number: u64,
        /// What could have come.
        next: u64,
    },
    /// More requests than the limit.
    #[error("more than {count_max} requests wait for an outcome or an acknowledgement")]
    TooManyRequests {
        /// The limit.
        count_max: u32,
    },
    /// More bytes of waiting requests than the limit.
    #[error("waiting requests have more than {bytes_max} bytes")]
    TooManyBytes {
        /// The limit.
        bytes_max: usize,
    },
    /// An acknowledgement of an outcome that there is not yet.
    #[error("outcomes below {from} are acknowledged, and only those below {below} exist")]
    AcknowledgedAhead {
        /// What the client says.
        from: u64,
        /// What can be said.
        below: u64,
    },
    /// More of the server's commands accepted than it ever sent.
    #[error("command {accepted} is accepted, and only {sent} were sent")]
    AcceptedAhead {
        /// What the client says.
        accepted: u64,
        /// How many there are.
        sent: u64,
    },
}
