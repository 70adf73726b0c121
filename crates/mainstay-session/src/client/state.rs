//! What of a client session must survive the process, and every way in which it changes.

use std::collections::BTreeMap;
use std::fmt;

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Delivery, Epoch, Failure, Offset, Outcome, Payload, PresenceMode, SessionId, Standing, Start,
    Subscribe, Token,
};

/// A request of the application, for as long as its state is kept: the number on the wire changes
/// when a new session begins, the key does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u64);

impl fmt::Display for RequestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What of a client session must survive the process.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedState {
    /// The session to come back to.
    pub identity: Option<Identity>,
    /// The key of the next request.
    pub next_key: RequestKey,
    /// The number that the next request gets on the wire.
    pub next_number: u64,
    /// Requests without an outcome. Those with a number come before those without.
    pub requests: BTreeMap<RequestKey, SavedRequest>,
    /// The channels that are listened to.
    pub channels: BTreeMap<ChannelName, SavedChannel>,
    /// The highest number of the server's commands that was accepted.
    pub accepted: u64,
    /// The server's commands that were accepted and whose replies are not known to be safe; `None`
    /// while there is no reply.
    pub answers: BTreeMap<u64, Option<Outcome>>,
}

/// A session and the secret that proves it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The session.
    pub session: SessionId,
    /// The secret.
    pub token: Token,
}

/// A request without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedRequest {
    /// What is asked for.
    pub call: Call,
    /// When the outcome is no longer wanted, in milliseconds since 1970.
    pub deadline_at_ms: Option<u64>,
    /// The number under which it may have been sent in the present session.
    pub number: Option<u64>,
    /// Why it never will be. Then it has no number, and the application may have been told.
    pub given_up: Option<Failure>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// That a command be run.
    Command {
        /// Which handler.
        command: String,
        /// What it gets.
        payload: Payload,
    },
    /// That an event be appended.
    Publish {
        /// Where to.
        channel: ChannelName,
        /// What.
        payload: Payload,
    },
}

impl Call {
    /// Bytes that the application gave.
    pub fn bytes(&self) -> usize {
        match self {
            Call::Command { command, payload } => command.len() + payload.bytes.len(),
            Call::Publish { channel, payload } => channel.as_str().len() + payload.bytes.len(),
        }
    }
}

/// A channel that is listened to.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedChannel {
    /// Where the subscription begins, as long as there is no cursor.
    pub start: Start,
    /// Which events.
    pub delivery: Delivery,
    /// What of the members.
    pub presence: PresenceMode,
    /// The last event that reached the application, or the place from which events will come.
    pub cursor: Option<Place>,
}

/// A place in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The incarnation.
    pub epoch: Epoch,
    /// The position in it.
    pub offset: Offset,
}

/// One change of a [`SavedState`].
#[derive(Clone, Debug, PartialEq)]
pub enum StateChange {
    /// A request was made.
    Requested {
        /// Its key.
        key: RequestKey,
        /// What is asked for.
        call: Call,
        /// When the outcome is no longer wanted, in milliseconds since 1970.
        deadline_at_ms: Option<u64>,
    },
    /// A request may be sent from now on, under this number.
    Numbered {
        /// Its key.
        key: RequestKey,
        /// Its number.
        number: u64,
    },
    /// A request was not sent and never will be, in this life or a later one. It is kept until the
    /// application was told.
    GivenUp {
        /// Its key.
        key: RequestKey,
        /// Why.
        failure: Failure,
    },
    /// A request has its outcome.
    Settled {
        /// Its key.
        key: RequestKey,
    },
    /// The server has answered a hello.
    Welcomed {
        /// What became of the session.
        standing: Standing,
        /// The session now, and its new secret.
        identity: Identity,
        /// The highest request number that the server has accepted.
        accepted: u64,
    },
    /// The session cannot be had back; the next hello will open a new one.
    Forgotten,
    /// The session was ended by the application.
    Ended,
    /// A channel is to be listened to.
    Subscribed(Subscribe),
    /// A channel is no longer to be listened to.
    Unsubscribed {
        /// Which.
        channel: ChannelName,
    },
    /// Everything up to this place reached the application. Of a channel that is not listened to,
    /// an inbox: it is from now on.
    CursorMoved {
        /// Which channel.
        channel: ChannelName,
        /// How far.
        place: Place,
    },
    /// One more of the server's commands was accepted.
    CommandAccepted {
        /// Its number.
        number: u64,
    },
    /// A command of the server has its reply.
    CommandAnswered {
        /// Its number.
        number: u64,
        /// The reply.
        outcome: Outcome,
    },
    /// The server needs no replies up to this number.
    AnswersSafe {
        /// The number.
        number: u64,
    },
    /// The counters of a state that is written anew. Its other parts follow as changes.
    Counted {
        /// The session to come back to.
        identity: Option<Identity>,
        /// The key of the next request.
        next_key: RequestKey,
        /// The number of the next request.
        next_number: u64,
        /// The highest command number that was accepted.
        accepted: u64,
    },
}

impl Default for SavedState {
    fn default() -> SavedState {
        SavedState {
            identity: None,
            next_key: RequestKey(1),
            next_number: 1,
            requests: BTreeMap::new(),
            channels: BTreeMap::new(),
            accepted: 0,
            answers: BTreeMap::new(),
        }
    }
}

impl SavedState {
    /// Changes the state. A change that does not fit, which no session makes, changes nothing.
    pub fn apply(&mut self, change: &StateChange) {
        match change {
            StateChange::Requested { key, call, deadline_at_ms } => {
                let call = call.clone();
                let deadline_at_ms = *deadline_at_ms;
                let request = SavedRequest { call, deadline_at_ms, number: None, given_up: None };
                self.requests.insert(*key, request);
                self.next_key = self.next_key.max(RequestKey(key.0.saturating_add(1)));
            }
            StateChange::Numbered { key, number } => {
                if let Some(request) = self.requests.get_mut(key) {
                    request.number = Some(*number);
                }
                self.next_number = self.next_number.max(number.saturating_add(1));
            }
            StateChange::GivenUp { key, failure } => {
                if let Some(request) = self.requests.get_mut(key) {
                    request.given_up = Some(failure.clone());
                }
            }
            StateChange::Settled { key } => {
                self.requests.remove(key);
            }
            StateChange::Welcomed { standing, identity, accepted } => {
                self.apply_welcome(*standing, identity, *accepted);
            }
            StateChange::Forgotten => {
                self.begin_session(Standing::Unknown, 0);
                self.identity = None;
            }
            StateChange::Ended => {
                let next_key = self.next_key;
                *self = SavedState { next_key, ..SavedState::default() };
            }
            StateChange::Subscribed(subscribe) => self.apply_subscribe(subscribe),
            StateChange::Unsubscribed { channel } => {
                self.channels.remove(channel);
            }
            StateChange::CursorMoved { channel, place } => {
                let listened = self.channels.entry(channel.clone());
                listened.or_insert_with(SavedChannel::inbox).cursor = Some(*place);
            }
            StateChange::CommandAccepted { number } => {
                self.accepted = self.accepted.max(*number);
                self.answers.insert(*number, None);
            }
            StateChange::CommandAnswered { number, outcome } => {
                self.answers.insert(*number, Some(outcome.clone()));
            }
            StateChange::AnswersSafe { number } => {
                self.answers.retain(|&kept, _| kept > *number);
            }
            StateChange::Counted { identity, next_key, next_number, accepted } => {
                self.identity = identity.clone();
                self.next_key = *next_key;
                self.next_number = *next_number;
                self.accepted = *accepted;
            }
        }
    }

    /// Changes that lead from nothing to this state.
    pub fn to_changes(&self) -> Vec<StateChange> {
        let mut changes = vec![StateChange::Counted {
            identity: self.identity.clone(),
            next_key: self.next_key,
            next_number: self.next_number,
            accepted: self.accepted,
        }];
        for (&key, request) in &self.requests {
            let SavedRequest { call, deadline_at_ms, number, given_up } = request.clone();
            changes.push(StateChange::Requested { key, call, deadline_at_ms });
            changes.extend(number.map(|number| StateChange::Numbered { key, number }));
            changes.extend(given_up.map(|failure| StateChange::GivenUp { key, failure }));
        }
        for (channel, saved) in &self.channels {
            changes.push(StateChange::Subscribed(saved.to_subscribe(channel)));
            let moved = |place| StateChange::CursorMoved { channel: channel.clone(), place };
            changes.extend(saved.cursor.map(moved));
        }
        for (&number, answer) in &self.answers {
            changes.push(StateChange::CommandAccepted { number });
            let answered = |outcome| StateChange::CommandAnswered { number, outcome };
            changes.extend(answer.clone().map(answered));
        }
        changes
    }

    /// Whether nothing waits: no request without an outcome, no reply that is not safe.
    pub fn is_settled(&self) -> bool {
        self.requests.is_empty() && self.answers.is_empty()
    }

    /// Requests about which nobody will ever know more (PROTOCOL.md, "Opening and resuming").
    pub(super) fn doubtful(&self, standing: Standing, accepted: u64) -> Vec<RequestKey> {
        let is_doubtful = |number: u64| match standing {
            Standing::New | Standing::Resumed => false,
            Standing::Expired => number <= accepted,
            Standing::Unknown => true,
        };
        let doubtful =
            self.requests.iter().filter(|(_, request)| request.number.is_some_and(is_doubtful));
        doubtful.map(|(key, _)| *key).collect()
    }

    fn apply_welcome(&mut self, standing: Standing, identity: &Identity, accepted: u64) {
        match standing {
            Standing::Resumed => {
                self.unnumber_above(accepted);
                self.next_number = accepted.saturating_add(1);
            }
            Standing::New | Standing::Expired | Standing::Unknown => {
                self.begin_session(standing, accepted);
            }
        }
        self.identity = Some(identity.clone());
    }

    fn begin_session(&mut self, standing: Standing, accepted: u64) {
        for key in self.doubtful(standing, accepted) {
            self.requests.remove(&key);
        }
        self.unnumber_above(0);
        self.next_number = 1;
        self.accepted = 0;
        self.answers.clear();
        if let Some(identity) = &self.identity {
            self.channels.remove(&ChannelName::session_inbox(identity.session));
        }
    }

    /// What the server has not accepted is free to be numbered anew.
    fn unnumber_above(&mut self, accepted: u64) {
        for request in self.requests.values_mut() {
            request.number = request.number.filter(|number| *number <= accepted);
        }
    }

    fn apply_subscribe(&mut self, subscribe: &Subscribe) {
        let Subscribe { channel, start, delivery, presence } = subscribe.clone();
        let cursor = match start {
            Start::After { epoch: Some(epoch), offset } => Some(Place { epoch, offset }),
            Start::After { epoch: None, .. } | Start::Now | Start::Last(_) => None,
        };
        self.channels.insert(channel, SavedChannel { start, delivery, presence, cursor });
    }
}

impl SavedChannel {
    /// A subscription that the server makes.
    fn inbox() -> SavedChannel {
        SavedChannel {
            start: Start::Now,
            delivery: Delivery::Every,
            presence: PresenceMode::None,
            cursor: None,
        }
    }

    pub(super) fn to_subscribe(&self, channel: &ChannelName) -> Subscribe {
        let SavedChannel { start, delivery, presence, .. } = *self;
        Subscribe { channel: channel.clone(), start, delivery, presence }
    }
}
