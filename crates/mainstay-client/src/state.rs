//! The course of a client's connection, as the application sees it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use mainstay_wire::End;

use crate::ConnectError;
use crate::limits::STATE_COUNT_MAX;

/// What a client's connection is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Dialling.
    Connecting {
        /// Retries since a connection last lasted: 0 for the first attempt of all, then from 1.
        attempt: u32,
    },
    /// Requests can be made.
    Open,
    /// The connection was lost; it is dialled again.
    Lost {
        /// How it ended.
        end: Arc<End>,
        /// The number of the coming attempt.
        attempt: u32,
        /// The wait before it.
        retry_in: Duration,
    },
    /// An attempt to connect failed; there will be another.
    Failed {
        /// Why it failed.
        error: Arc<ConnectError>,
        /// The number of the coming attempt.
        attempt: u32,
        /// The wait before it.
        retry_in: Duration,
    },
    /// The client is closed for good. No state follows.
    Closed {
        /// Why.
        cause: ClosedCause,
    },
}

/// Why a client is closed for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClosedCause {
    /// The application closed it, or dropped it. The connection's end is here if there was one: a
    /// reason of `local_close` means that the server agreed.
    Application(Option<Arc<End>>),
    /// The server closed the connection with a code that says not to come back.
    Server(Arc<End>),
    /// A connection could not be made, for a reason that does not go away by itself, or it was the
    /// first.
    Refused(Arc<ConnectError>),
}

/// The states of a client's connection: first the one it is in, then each that follows.
///
/// A reader that falls [`STATE_COUNT_MAX`](crate::STATE_COUNT_MAX) states behind misses the oldest
/// of them; the newest is never missed. Ends after [`State::Closed`].
#[derive(Debug)]
pub struct States<S = State> {
    course: Arc<Course<S>>,
    next_index: u64,
}

/// A state that may be the last.
pub(crate) trait Stage: Clone {
    fn is_last(&self) -> bool;
}

impl Stage for State {
    fn is_last(&self) -> bool {
        matches!(self, State::Closed { .. })
    }
}

#[expect(private_bounds, reason = "the two kinds of states are all there are")]
impl<S: Stage> States<S> {
    /// The next state; `None` after [`State::Closed`]. May be dropped and called again without
    /// losing anything.
    pub async fn recv(&mut self) -> Option<S> {
        poll_fn(|context| self.course.poll(&mut self.next_index, context)).await
    }
}

impl<S: Stage> Stream for States<S> {
    type Item = S;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S>> {
        let States { course, next_index } = &mut *self;
        course.poll(next_index, context)
    }
}

/// The newest states of one client. There is always at least one.
#[derive(Debug)]
pub(crate) struct Course<S = State> {
    inner: Mutex<Inner<S>>,
}

#[derive(Debug)]
struct Inner<S> {
    newest: S,
    /// The newest again, and those before it.
    states: VecDeque<S>,
    /// How many states came before the first of `states`.
    dropped_count: u64,
    wakers: Vec<Waker>,
}

impl<S: Stage> Course<S> {
    pub(crate) fn new(first: S) -> Course<S> {
        let states = VecDeque::from([first.clone()]);
        let wakers = Vec::new();
        Course { inner: Mutex::new(Inner { newest: first, states, dropped_count: 0, wakers }) }
    }

    pub(crate) fn push(&self, state: S) {
        let wakers = {
            let mut inner = self.lock();
            inner.newest = state.clone();
            inner.states.push_back(state);
            if inner.states.len() > STATE_COUNT_MAX {
                inner.states.pop_front();
                inner.dropped_count += 1;
            }
            mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn newest(&self) -> S {
        self.lock().newest.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().newest.is_last()
    }

    pub(crate) fn reader(self: &Arc<Course<S>>) -> States<S> {
        let inner = self.lock();
        let next_index = inner.dropped_count + inner.states.len() as u64 - 1;
        drop(inner);
        States { course: Arc::clone(self), next_index }
    }

    fn poll(&self, next_index: &mut u64, context: &mut Context<'_>) -> Poll<Option<S>> {
        let mut inner = self.lock();
        *next_index = (*next_index).max(inner.dropped_count);
        let offset = (*next_index - inner.dropped_count) as usize;
        if let Some(state) = inner.states.get(offset) {
            *next_index += 1;
            return Poll::Ready(Some(state.clone()));
        }
        if inner.newest.is_last() {
            return Poll::Ready(None);
        }
        if !inner.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            inner.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        // Nothing panics while holding it, and the states would be whole if something did.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course<State> {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.lock().newest, State::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_starts_with_the_present_and_sees_all_that_follows() {
        let course = Arc::new(Course::new(State::Connecting { attempt: 0 }));
        course.push(State::Open);
        let mut states = course.reader();
        assert!(matches!(states.recv().await, Some(State::Open)));
        for attempt in 1..=10 {
            course.push(State::Connecting { attempt });
        }
        course.push(State::Closed { cause: ClosedCause::Application(None) });
        for expected in 1..=10 {
            let state = states.recv().await;
            assert!(matches!(state, Some(State::Connecting { attempt }) if attempt == expected));
        }
        assert!(matches!(states.recv().await, Some(State::Closed { .. })));
        assert!(states.recv().await.is_none());
        assert!(matches!(course.reader().recv().await, Some(State::Closed { .. })));
    }

    #[tokio::test]
    async fn a_reader_far_behind_misses_the_oldest_only() {
        let course = Arc::new(Course::new(State::Open));
        let mut states = course.reader();
        for attempt in 1..=1000 {
            course.push(State::Connecting { attempt });
        }
        let first = 1000 - STATE_COUNT_MAX as u32 + 1;
        for expected in first..=1000 {
            let state = states.recv().await;
            assert!(matches!(state, Some(State::Connecting { attempt }) if attempt == expected));
        }
    }
}
