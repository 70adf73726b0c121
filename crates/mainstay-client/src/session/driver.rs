//! The one task of a session: carries out what the state machine says. It makes no decision about
//! the protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_session::client::{
    Call, ClientSession, CommandKey, Output, Refused, RequestKey, SavedState, StateChange,
};
use mainstay_wire::session::{ClientFrame, Encoding, Outcome, Subscribe};
use mainstay_wire::{ChannelName, End};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

use super::handlers::Handlers;
use super::line::{Line, LineEvent};
use super::queue::{Attention, Queue, QueueKey};
use super::state_file::{StateFile, StateFileError};
use super::{SessionEnd, SessionState, SubscribeError, SubscriptionEnd};
use crate::driver::FirstConnect;
use crate::endpoint::Endpoint;
use crate::limits::{CLOCK_INTERVAL, QUEUE_COUNT_MAX};
use crate::socket::{Reading, now};
use crate::state::Course;
use crate::{ConnectError, ConnectOptions, Decision, Reconnect};

/// What the application wants.
pub(crate) enum Wish {
    Call {
        call: Call,
        deadline: Option<Duration>,
        kept: oneshot::Sender<Result<RequestKey, Refused>>,
        outcome: oneshot::Sender<Outcome>,
    },
    Cancel(RequestKey),
    Attach {
        key: QueueKey,
        /// `None` for the inboxes, which the server subscribes to.
        subscribe: Option<Subscribe>,
        queue: Arc<Queue>,
        kept: oneshot::Sender<Result<(), SubscribeError>>,
    },
    Unsubscribe {
        channel: ChannelName,
        kept: oneshot::Sender<()>,
    },
    /// What is consumed so far is to be safe.
    KeepPlaces {
        kept: oneshot::Sender<()>,
    },
    Answer {
        key: CommandKey,
        outcome: Outcome,
    },
    Close,
    Leave,
}

pub(super) struct Driver {
    pub(super) session: ClientSession,
    pub(super) keeper: Keeper,
    pub(super) line: Line,
    pub(super) target: Arc<(Endpoint, ConnectOptions)>,
    pub(super) encoding: Encoding,
    pub(super) reconnect: Reconnect,
    pub(super) first_connect: FirstConnect,
    pub(super) wished: mpsc::Receiver<Wish>,
    /// Nobody is left to wish anything.
    pub(super) is_orphaned: bool,
    /// For handlers, which answer by a wish.
    pub(super) self_wishes: mpsc::WeakSender<Wish>,
    pub(super) attention: Arc<Attention>,
    pub(super) course: Arc<Course<SessionState>>,
    pub(super) handlers: Handlers,
    pub(super) outcomes: HashMap<RequestKey, oneshot::Sender<Outcome>>,
    /// Calls that return once everything is safe.
    pub(super) kept: Vec<Kept>,
    pub(super) queues: BTreeMap<QueueKey, Arc<Queue>>,
    /// Those that had no room when they were last looked at.
    pub(super) full: BTreeSet<QueueKey>,
    pub(super) is_paused: bool,
    pub(super) running: HashMap<CommandKey, AbortHandle>,
    /// The last connection on its way to an orderly end.
    pub(super) leaving: Option<JoinHandle<()>>,
    /// How the connection ended that ended the session.
    pub(super) last_end: Option<Arc<End>>,
    pub(super) cause: Option<SessionEnd>,
    pub(super) scratch: Vec<u8>,
}

/// A call that waits for what it did to be safe.
pub(super) enum Kept {
    Call(oneshot::Sender<Result<RequestKey, Refused>>, RequestKey),
    Attach(oneshot::Sender<Result<(), SubscribeError>>, QueueKey),
    Change(oneshot::Sender<()>),
}

/// Everything that can wake the task.
enum Wake {
    Line(LineEvent),
    /// `None`: nobody is left to wish anything.
    Wish(Option<Wish>),
    Attention,
    Time,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let ended = match self.cycle().await {
            Ok(cause) => self.keeper.commit().await.map(|()| cause),
            Err(error) => Err(error),
        };
        let cause = ended.unwrap_or_else(SessionEnd::StateFile);
        self.finish(cause).await;
    }

    async fn cycle(&mut self) -> Result<SessionEnd, StateFileError> {
        loop {
            self.carry_out().await?;
            if let Some(cause) = self.cause.take() {
                return Ok(cause);
            }
            match self.wake().await {
                Wake::Line(event) => self.handle_line(event),
                Wake::Wish(wish) => {
                    self.look_at_queues();
                    self.handle_wish(wish);
                    // Those that wait behind it share its write to the disk.
                    for _ in 0..QUEUE_COUNT_MAX {
                        let Ok(wish) = self.wished.try_recv() else { break };
                        self.handle_wish(Some(wish));
                    }
                }
                Wake::Attention => self.look_at_queues(),
                Wake::Time => {}
            }
            self.handle_time().await;
        }
    }

    async fn wake(&mut self) -> Wake {
        let reading = self.choose_reading();
        let timeout_ms = self.session.next_timeout().map(|at_ms| at_ms.saturating_sub(now_ms()));
        let timeout = timeout_ms.map_or(CLOCK_INTERVAL, Duration::from_millis).min(CLOCK_INTERVAL);
        let timeout = self.keeper.overdue_in().map_or(timeout, |due| due.min(timeout));
        let takes_wishes = !self.is_orphaned && self.kept.len() < QUEUE_COUNT_MAX;
        tokio::select! {
            event = self.line.next(reading) => Wake::Line(event),
            () = self.attention.called() => Wake::Attention,
            wish = self.wished.recv(), if takes_wishes => Wake::Wish(wish),
            () = sleep(timeout) => Wake::Time,
        }
    }

    /// A process that was stopped past a deadline looks first at what came meanwhile.
    async fn handle_time(&mut self) {
        if self.session.next_timeout().is_none_or(|at_ms| at_ms > now_ms()) {
            return;
        }
        let reading = self.choose_reading();
        tokio::select! {
            biased;
            event = self.line.next(reading) => self.handle_line(event),
            () = std::future::ready(()) => self.session.handle_timeout(now_ms()),
        }
    }

    /// Does what the session says, in its order, as far as the connection takes it.
    async fn carry_out(&mut self) -> Result<(), StateFileError> {
        while !self.line.is_congested() {
            let Some(output) = self.session.poll_output() else {
                // What nobody waits for may share a later write.
                if !self.kept.is_empty() || self.keeper.is_overdue() {
                    self.keeper.commit().await?;
                    self.answer_kept();
                }
                return Ok(());
            };
            if output.needs_safety() {
                self.keeper.commit().await?;
            }
            match output {
                Output::Persist(change) => self.keeper.push(&change),
                Output::Transmit(frame) => self.transmit(&frame),
                Output::Event(event) => self.handle_event(event),
                Output::CloseConnection { reason } => self.close_connection(reason),
            }
        }
        Ok(())
    }

    fn transmit(&mut self, frame: &ClientFrame) {
        if let Line::Open(socket) = &mut self.line {
            self.scratch.clear();
            self.encoding.encode_client(frame, &mut self.scratch);
            socket.send(self.encoding.opcode(), &self.scratch);
        }
    }

    fn answer_kept(&mut self) {
        for kept in std::mem::take(&mut self.kept) {
            match kept {
                Kept::Call(kept, key) => {
                    let _ = kept.send(Ok(key));
                }
                Kept::Attach(kept, key) => {
                    // Whoever wanted it has given up waiting.
                    if kept.send(Ok(())).is_err() {
                        self.abandon(&key);
                    }
                }
                Kept::Change(kept) => {
                    let _ = kept.send(());
                }
            }
        }
    }

    /// Reading pauses while the application takes no more.
    fn choose_reading(&mut self) -> Reading {
        let pauses = !self.full.is_empty();
        if pauses != self.is_paused {
            self.is_paused = pauses;
            match pauses {
                true => self.session.handle_pause(now_ms()),
                false => self.session.handle_resume(now_ms()),
            }
        }
        if pauses { Reading::Paused } else { Reading::Wanted }
    }

    fn look_at_queues(&mut self) {
        for key in self.attention.take() {
            let Some(queue) = self.queues.get(&key).cloned() else { continue };
            for (channel, place) in queue.take_consumed() {
                self.session.consumed(now_ms(), &channel, place.epoch, place.offset);
            }
            if queue.has_room() {
                self.full.remove(&key);
            }
            if queue.is_abandoned() {
                self.abandon(&key);
            }
        }
    }

    /// Lets go of channels that nobody reads any more, and keeps their places.
    fn abandon(&mut self, key: &QueueKey) {
        if self.queues.remove(key).is_some() {
            self.full.remove(key);
            match key {
                QueueKey::Channel(channel) => self.session.detach(now_ms(), channel),
                QueueKey::Inboxes => {
                    for channel in self.inboxes() {
                        self.session.detach(now_ms(), &channel);
                    }
                }
            }
        }
    }

    pub(super) fn inboxes(&self) -> Vec<ChannelName> {
        let channels = self.session.saved().channels.keys();
        channels.filter(|channel| channel.is_inbox()).cloned().collect()
    }

    /// Waits before the next attempt to connect, or ends.
    pub(super) fn retry(&mut self, decision: Decision, outage: Outage) {
        match decision {
            Decision::Stop => {
                self.cause = Some(match outage {
                    Outage::Lost(end) => SessionEnd::Server(end),
                    Outage::Failed(error) => SessionEnd::Refused(error),
                });
                self.line = Line::Idle;
            }
            Decision::Retry { attempt, delay } => {
                let retry_in = delay;
                self.course.push(match outage {
                    Outage::Lost(end) => SessionState::Lost { end, attempt, retry_in },
                    Outage::Failed(error) => SessionState::Failed { error, attempt, retry_in },
                });
                self.line = Line::Waiting { until: Instant::now() + delay, attempt };
            }
        }
    }

    fn handle_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Dialled(dialled) => self.handle_dialled(dialled),
            LineEvent::Received(message) => self.handle_message(&message),
            LineEvent::Room => {}
            LineEvent::Ended(end) => self.handle_ended(end),
            LineEvent::Rested { attempt } => {
                self.course.push(SessionState::Connecting { attempt });
                self.line = Line::dial(&self.target);
            }
        }
    }

    fn handle_ended(&mut self, end: End) {
        let is_peers = end.reason == mainstay_wire::EndReason::PeerClosed;
        let code = if is_peers { end.code } else { None };
        tracing::debug!(%end, "connection lost");
        self.line = Line::Idle;
        self.session.handle_closed(now_ms(), code);
        let end = Arc::new(end);
        if self.session.is_ended() {
            self.last_end = Some(end);
        } else {
            let decision = self.reconnect.handle_lost(now(), &end);
            self.retry(decision, Outage::Lost(end));
        }
    }

    async fn finish(&mut self, cause: SessionEnd) {
        self.wished.close();
        while self.wished.try_recv().is_ok() {}
        self.kept.clear();
        self.outcomes.clear();
        self.running.values().for_each(AbortHandle::abort);
        for queue in self.queues.values() {
            queue.end(SubscriptionEnd::SessionOver);
        }
        if let Some(leaving) = self.leaving.take() {
            let _ = leaving.await;
        }
        // Another session may have the file as soon as the last state is seen.
        self.keeper = Keeper::new(None);
        tracing::debug!(%cause, "session over");
        self.course.push(SessionState::Closed { cause });
    }
}

impl Drop for Driver {
    /// For a task that did not run to its end: the runtime is shutting down.
    fn drop(&mut self) {
        if !self.course.is_closed() {
            self.queues.values().for_each(|queue| queue.end(SubscriptionEnd::SessionOver));
            self.course.push(SessionState::Closed { cause: SessionEnd::Left });
        }
    }
}

/// Why there is no connection.
pub(super) enum Outage {
    Lost(Arc<End>),
    Failed(Arc<ConnectError>),
}

/// Keeps changes in the state file, if there is one.
pub(super) struct Keeper {
    kept: Option<(StateFile, SavedState)>,
    has_file: bool,
    /// Since when there is something to commit.
    dirty_since: Option<Instant>,
}

impl Keeper {
    /// A file, and the state that it holds.
    pub(super) fn new(kept: Option<(StateFile, SavedState)>) -> Keeper {
        Keeper { has_file: kept.is_some(), kept, dirty_since: None }
    }

    pub(super) fn has_file(&self) -> bool {
        self.has_file
    }

    fn push(&mut self, change: &StateChange) {
        if let Some((file, state)) = &mut self.kept {
            file.push(change);
            // The session's own state is ahead of the changes that it has given out.
            state.apply(change);
            self.dirty_since.get_or_insert_with(Instant::now);
        }
    }

    /// When to commit even if nobody waits for it.
    fn overdue_in(&self) -> Option<Duration> {
        let due = self.dirty_since? + COMMIT_DELAY_MAX;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn is_overdue(&self) -> bool {
        self.overdue_in().is_some_and(|due| due.is_zero())
    }

    /// Returns when all changes are on the disk. The disk is waited for on a thread of its own.
    async fn commit(&mut self) -> Result<(), StateFileError> {
        self.dirty_since = None;
        let Some((mut file, state)) = self.kept.take_if(|(file, _)| file.is_dirty()) else {
            return Ok(());
        };
        let commit = tokio::task::spawn_blocking(move || {
            let outcome = file.commit(file.grows_long().then_some(&state));
            (file, state, outcome)
        });
        match commit.await {
            Ok((file, state, outcome)) => {
                self.kept = Some((file, state));
                outcome
            }
            // The runtime is shutting down; whether it is safe is unknown.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Milliseconds since 1970, which go on while a computer sleeps.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A cursor that moved while there is no connection is safe after this time.
const COMMIT_DELAY_MAX: Duration = Duration::from_secs(1);
