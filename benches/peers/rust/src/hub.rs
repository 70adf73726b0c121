//! Who hears what, for servers with a task for each connection.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Messages that came together and go on together.
pub type Batch<T> = Arc<[T]>;

/// The subscribers of the one channel that there is.
pub struct Hub<T> {
    subscribers: Mutex<Vec<Sender<Batch<T>>>>,
}

impl<T> Default for Hub<T> {
    fn default() -> Hub<T> {
        Hub { subscribers: Mutex::new(Vec::new()) }
    }
}

impl<T> Hub<T> {
    /// What is published from now on.
    pub fn subscribe(&self) -> Receiver<Batch<T>> {
        let (sender, receiver) = channel(BATCH_COUNT_MAX);
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells every subscriber. Who is gone, or far behind, is told nothing more.
    pub fn publish(&self, batch: &Batch<T>) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.try_send(Arc::clone(batch)).is_ok());
    }
}

/// Batches that may wait for one subscriber.
const BATCH_COUNT_MAX: usize = 1024;
