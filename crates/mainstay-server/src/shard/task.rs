//! What takes longer than a look goes on as a task, beside the shard.

use std::future::Future;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::{Shard, Shared};
use crate::inbox::Order;

/// What a task will tell its shard. It does so when it is dropped, so the shard hears of the end
/// whatever becomes of the task: it may panic, be stopped, or lose the runtime that it runs on.
pub(super) struct Report {
    shared: Arc<Shared>,
    index: usize,
    order: Option<Order>,
}

impl Report {
    /// Replaces what was to be told.
    pub(super) fn set(&mut self, order: Order) {
        self.order = Some(order);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let (Some(order), Some(inbox)) = (self.order.take(), self.shared.inboxes.get(self.index))
        {
            inbox.order(order);
        }
    }
}

impl Shard {
    /// What a task tells this shard unless it says something else until its end.
    pub(super) fn report(&self, otherwise: Order) -> Report {
        Report { shared: self.shared.clone(), index: self.index, order: Some(otherwise) }
    }

    /// Has a task run on the runtime that the server was started on, and no longer than this shard
    /// lives.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut life = self.life.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                // Nothing is ever sent: this is the sender's end.
                _ = life.changed() => {}
            }
        });
        task.abort_handle()
    }
}
