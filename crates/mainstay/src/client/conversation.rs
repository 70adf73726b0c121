//! The client's one loop: commands out, replies and messages in, the connection's course.

use std::collections::BTreeMap;
use std::io;

use mainstay_client::{
    Client, Incoming, Messages, NotSentReason, REQUEST_COUNT_MAX, Reply, RequestError, State,
    States,
};
use tokio::task::JoinSet;

use super::event::Event;
use super::output::Output;
use super::source::{Command, Kind, Source};
use crate::stop::Stop;

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything was done, or the user stopped it.
    Done,
    /// The connection is gone for good, or a command of a finite run got no reply.
    Failed,
}

/// One client's commands and what comes back.
pub(super) struct Conversation {
    client: Client,
    states: States,
    messages: Messages,
    source: Source,
    output: Output,
    url: String,
    /// Commands that wait for a connection, by their place in the order.
    waiting: BTreeMap<u64, Command>,
    last_number: u64,
    running: JoinSet<Settled>,
    is_exhausted: bool,
    has_failed: bool,
}

/// A command that has its outcome.
struct Settled {
    number: u64,
    command: Command,
    request_id: i64,
    outcome: Result<Reply, RequestError>,
}

/// Everything that can wake the loop.
enum Wake {
    /// `None`: closed for good.
    State(Option<State>),
    Message(Option<Incoming>),
    Settled(Settled),
    /// `Ok(None)`: no more commands.
    Command(io::Result<Option<Command>>),
    Stop,
}

impl Conversation {
    pub(super) fn new(client: Client, source: Source, output: Output, url: String) -> Conversation {
        Conversation {
            states: client.states(),
            messages: client.messages(),
            client,
            source,
            output,
            url,
            waiting: BTreeMap::new(),
            last_number: 0,
            running: JoinSet::new(),
            is_exhausted: false,
            has_failed: false,
        }
    }

    pub(super) async fn run(mut self, stop: Stop) -> Outcome {
        // A failure to print means that nobody reads (`| head`): the end, and an orderly one.
        let outcome = self.converse(stop).await.unwrap_or(Outcome::Done);
        self.client.close().await;
        let _ = self.print_rest().await;
        self.output.finish();
        outcome
    }

    async fn converse(&mut self, mut stop: Stop) -> io::Result<Outcome> {
        loop {
            self.send_waiting()?;
            if self.is_exhausted && self.running.is_empty() && self.waiting.is_empty() {
                return Ok(if self.has_failed { Outcome::Failed } else { Outcome::Done });
            }
            let wake = self.wake(&mut stop).await;
            match wake {
                Wake::State(None) | Wake::Message(None) => return Ok(Outcome::Failed),
                Wake::State(Some(state)) => self.print_state(&state)?,
                Wake::Message(Some(message)) => self.print_message(&message)?,
                Wake::Settled(settled) => self.settle(settled)?,
                Wake::Command(Ok(Some(command))) => self.enqueue(command)?,
                Wake::Command(Ok(None)) => self.is_exhausted = true,
                Wake::Command(Err(error)) => {
                    self.output.print(&Event::InputFailed { error: error.to_string() })?;
                    (self.is_exhausted, self.has_failed) = (true, true);
                }
                Wake::Stop => return Ok(Outcome::Done),
            }
        }
    }

    async fn wake(&mut self, stop: &mut Stop) -> Wake {
        // While there is no connection, commands stay where they come from; somebody who types
        // is told that they wait.
        let is_wanted = self.is_open() || self.source.kind() == Kind::Typed;
        let has_room = self.running.len() + self.waiting.len() < REQUEST_COUNT_MAX;
        let takes_commands = !self.is_exhausted && is_wanted && has_room;
        tokio::select! {
            _ = stop.asked() => Wake::Stop,
            state = self.states.recv() => Wake::State(state),
            Some(Ok(settled)) = self.running.join_next() => Wake::Settled(settled),
            message = self.messages.recv() => Wake::Message(message),
            command = self.source.next(), if takes_commands => Wake::Command(command),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.client.state(), State::Open)
    }

    fn enqueue(&mut self, command: Command) -> io::Result<()> {
        self.last_number += 1;
        if !self.is_open() {
            self.output.print(&Event::Waiting { command: &command.text })?;
        }
        self.waiting.insert(self.last_number, command);
        Ok(())
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        while self.is_open()
            && let Some((number, command)) = self.waiting.pop_first()
        {
            let request = self.client.request(&command.text, &command.payload);
            let request_id = request.request_id();
            let (text, payload) = (&command.text, &command.payload);
            self.output.print(&Event::Sent { request_id, command: text, payload })?;
            self.running.spawn(async move {
                Settled { number, command, request_id, outcome: request.await }
            });
        }
        Ok(())
    }

    fn settle(&mut self, settled: Settled) -> io::Result<()> {
        let Settled { number, command, request_id, outcome } = settled;
        if let Err(RequestError::NotSent {
            reason: NotSentReason::NotConnected | NotSentReason::ConnectionLost(_),
        }) = outcome
        {
            // It never ran, for certain, so it may be sent again.
            self.waiting.insert(number, command);
            return Ok(());
        }
        self.has_failed |= outcome.is_err() && self.source.is_finite();
        self.output.print(&Event::of_outcome(request_id, &command.text, &outcome))
    }

    fn print_state(&mut self, state: &State) -> io::Result<()> {
        match Event::of_state(state, &self.url) {
            Some(event) => self.output.print(&event),
            None => Ok(()),
        }
    }

    fn print_message(&mut self, message: &Incoming) -> io::Result<()> {
        match Event::of_message(message) {
            Some(event) => self.output.print(&event),
            None => Ok(()),
        }
    }

    /// After the end: everything has its outcome now.
    async fn print_rest(&mut self) -> io::Result<()> {
        while let Some(message) = self.messages.recv().await {
            self.print_message(&message)?;
        }
        while let Some(settled) = self.running.join_next().await {
            if let Ok(settled) = settled {
                let Settled { command, request_id, outcome, .. } = settled;
                self.output.print(&Event::of_outcome(request_id, &command.text, &outcome))?;
            }
        }
        for command in std::mem::take(&mut self.waiting).into_values() {
            let outcome = Err(RequestError::Closed);
            self.output.print(&Event::of_outcome(0, &command.text, &outcome))?;
        }
        while let Some(state) = self.states.recv().await {
            self.print_state(&state)?;
        }
        Ok(())
    }
}
