//! The node's time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never go back: the system's clock is asked once, and what has passed
/// since then is counted. A clock that is set later moves nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_ms: since.as_millis() as u64 }
    }

    /// When the server started, in milliseconds since 1970.
    pub(crate) fn began_ms(&self) -> u64 {
        self.began_ms
    }

    pub(crate) fn now_ms(&self, now: Instant) -> u64 {
        self.began_ms + now.saturating_duration_since(self.began).as_millis() as u64
    }

    /// The first moment at which [`now_ms`](Clock::now_ms) has reached `at_ms`.
    pub(crate) fn instant(&self, at_ms: u64) -> Instant {
        self.began + Duration::from_millis(at_ms.saturating_sub(self.began_ms))
    }
}
