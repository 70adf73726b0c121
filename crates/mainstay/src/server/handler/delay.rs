//! How long to wait before something is tried again.

use std::time::Duration;

/// A random part of a bound that doubles, so that those who failed together do not come back together.
pub(super) fn delay(failure_count: u32) -> Duration {
    let bound = DELAY_BASE.saturating_mul(1 << failure_count.min(10)).min(DELAY_MAX);
    let mut bytes = [0; 4];
    // Without randomness it waits for the whole of it.
    let part = match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    bound.mul_f64(part)
}

const DELAY_BASE: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);
