//! Where a page of events ends.

use crate::{ReadLimit, StoredEvent};

/// Counts what a read has given.
pub(crate) struct Page {
    limit: ReadLimit,
    count: usize,
    bytes: usize,
}

impl ReadLimit {
    /// A page with nothing on it yet.
    pub(crate) fn page(self) -> Page {
        Page { limit: self, count: 0, bytes: 0 }
    }
}

impl Page {
    /// Takes the next event if it fits. The first always does, or a reader could not go on.
    pub(crate) fn takes(&mut self, event: &StoredEvent) -> bool {
        let bytes = self.bytes.saturating_add(event.payload.bytes.len());
        let fits = self.count < self.limit.count_max && bytes <= self.limit.bytes_max;
        if self.count > 0 && !fits {
            return false;
        }
        self.count += 1;
        self.bytes = bytes;
        true
    }

    /// Whether another event could still fit.
    pub(crate) fn is_open(&self) -> bool {
        self.count == 0 || (self.count < self.limit.count_max && self.bytes <= self.limit.bytes_max)
    }
}
