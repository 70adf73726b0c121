//! Speaking to connections from anywhere in the program.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use mainstay_node::{Answer, Call, CallError, ConnectionKey};
use mainstay_wire::command::CommandMessage;
use mainstay_wire::frame::{Compression, Opcode, shared_frame};
use mainstay_wire::session::{Epoch, ErrorCode, Offset, Outcome, Payload, SessionId};
use mainstay_wire::{ChannelName, InvalidChannelName};
use thiserror::Error;
use tokio::sync::watch;

use crate::Config;
use crate::inbox::{Inbox, Notice, Order};
use crate::journal::{Journal, JournalPage, JournalQuery};
use crate::keeper::{Desk, stopping};

/// Speaks to channels, sessions and connections.
///
/// Cheap to clone and usable from any thread. What the command dialect needs does not wait:
/// [`publish`](Hub::publish), [`send`](Hub::send), [`broadcast`](Hub::broadcast). What has an answer
/// is async, and the answer comes when what it says is stored: [`append`](Hub::append),
/// [`command`](Hub::command), and [`call`](Hub::call) for everything else. Events of one channel reach
/// every listener in one order.
#[derive(Clone)]
pub struct Hub {
    reach: Arc<Reach>,
}

struct Reach {
    inboxes: Arc<[Inbox]>,
    desk: Arc<Desk>,
    journal: Arc<Journal>,
    bytes_max: usize,
    message_bytes_max: usize,
}

impl Hub {
    pub(crate) fn new(
        inboxes: Arc<[Inbox]>,
        desk: Arc<Desk>,
        journal: Arc<Journal>,
        config: &Config,
    ) -> Hub {
        let bytes_max = config.hub_bytes_max;
        let message_bytes_max = config.limits.message_bytes_max;
        Hub { reach: Arc::new(Reach { inboxes, desk, journal, bytes_max, message_bytes_max }) }
    }

    /// Appends a text to a channel without waiting for its place. A plain connection that listens
    /// gets a message with `requestID` 0, the channel's name as `command` and the text as
    /// `someOtherThing`; a session gets an event with the text as a JSON string. Whether the store
    /// has taken it is not known here: [`append`](Hub::append) tells.
    ///
    /// # Errors
    /// If the name is no channel name, the text is longer than a message may be, or events are published
    /// faster than they can be taken.
    pub fn publish(&self, channel: &str, payload: &str) -> Result<(), HubError> {
        let channels = vec![ChannelName::parse(channel)?];
        let payload = Payload::text(payload);
        self.check_bytes(payload.bytes.len())?;
        let call = Call::Publish { channels, payload, key: None };
        self.reach.desk.tell(call, self.reach.bytes_max).map_err(|_| HubError::Busy)
    }

    /// Appends an event to a channel, and says where it stands once it is stored. With a `key`, a
    /// repetition appends nothing and gets the same answer.
    ///
    /// # Errors
    /// The words of PROTOCOL.md ("Words of failure").
    pub async fn append(
        &self,
        channel: ChannelName,
        payload: Payload,
        key: Option<Bytes>,
    ) -> Result<(Epoch, Offset), CallError> {
        let call = Call::Publish { channels: vec![channel], payload, key };
        match self.call(call).await? {
            Answer::Published(places) => {
                places.first().map(|(_, epoch, offset)| (*epoch, *offset)).ok_or_else(mismatch)
            }
            _ => Err(mismatch()),
        }
    }

    /// Has the client of a session run a command, and waits for its reply, across reconnects, until
    /// the deadline.
    ///
    /// # Errors
    /// `unreachable` if there is no such session, `busy` if too many commands wait for it.
    pub async fn command(
        &self,
        to: SessionId,
        command: &str,
        payload: Payload,
        deadline: std::time::Duration,
    ) -> Result<Outcome, CallError> {
        let deadline_ms = deadline.as_millis() as u64;
        let call = Call::Command { to, command: command.to_owned(), payload, deadline_ms };
        match self.call(call).await? {
            Answer::Outcome(outcome) => Ok(outcome),
            _ => Err(mismatch()),
        }
    }

    /// Asks the node for anything.
    ///
    /// # Errors
    /// The words of PROTOCOL.md ("Words of failure"); `busy` also when the server is stopping.
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let answer = self.reach.desk.call(call, self.reach.bytes_max)?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Tells when a channel has new events: the newest offset, or [`Offset::ZERO`] until the first
    /// that comes after this call. Read them with [`Call::History`].
    pub fn watch_head(&self, channel: &ChannelName) -> watch::Receiver<Offset> {
        self.reach.desk.watch_head(channel)
    }

    /// Tells what has happened lately to sessions and connections.
    pub fn journal(&self, query: &JournalQuery) -> JournalPage {
        self.reach.journal.read(query)
    }

    /// Sends a message with `requestID` 0 to every plain connection: those of the command dialect.
    ///
    /// # Errors
    /// If it is longer than a message may be, or messages are sent faster than the shards can take.
    pub fn broadcast(&self, command: &str, payload: &str) -> Result<(), HubError> {
        let notice = notice(command, payload);
        self.check_bytes(notice.payload.len())?;
        if self.reach.inboxes.iter().any(|inbox| inbox.is_full(self.reach.bytes_max)) {
            return Err(HubError::Busy);
        }
        self.reach.inboxes.iter().for_each(|i| i.put(vec![Order::Broadcast(notice.clone())]));
        Ok(())
    }

    /// Sends a message with `requestID` 0 to one plain connection. Whether the connection still is
    /// there is not known here; if it is not, nothing happens.
    ///
    /// # Errors
    /// If it is longer than a message may be, or messages are sent faster than the shard can take.
    pub fn send(&self, to: ConnectionId, command: &str, payload: &str) -> Result<(), HubError> {
        let notice = notice(command, payload);
        self.check_bytes(notice.payload.len())?;
        let Some(inbox) = self.reach.inboxes.get(to.shard()) else { return Ok(()) };
        let order = Order::Send { to, notice };
        inbox.offer(order, self.reach.bytes_max).map_err(|_| HubError::Busy)
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), HubError> {
        let bytes_max = self.reach.message_bytes_max;
        if bytes > bytes_max { Err(HubError::TooBig { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Closes one connection with code 1000 and `detail` as the reason.
    pub fn close(&self, connection: ConnectionId, detail: &str) {
        if let Some(inbox) = self.reach.inboxes.get(connection.shard()) {
            inbox.order(Order::Close { connection, detail: detail.to_owned() });
        }
    }
}

/// The keeper answered something else than it was asked: its defect, and nobody's data is harmed.
fn mismatch() -> CallError {
    let message = "the server answered something else".to_owned();
    CallError { code: ErrorCode::Internal, message }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("shard_count", &self.reach.inboxes.len()).finish()
    }
}

/// A message that could not be sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubError {
    /// The caller's fault: no such channel can exist.
    #[error(transparent)]
    InvalidChannelName(#[from] InvalidChannelName),
    /// The caller's fault: no client need take a message of so many bytes. Nothing was sent.
    #[error("a message of {bytes} bytes is over the limit of {bytes_max}")]
    TooBig {
        /// How many they are.
        bytes: usize,
        /// `message_bytes_max`.
        bytes_max: usize,
    },
    /// A limit: `hub_bytes_max` of events already wait. Nothing was sent; try again later.
    #[error("events are published faster than they can be delivered")]
    Busy,
}

/// A connection's number, unique while the server runs. Sixteen hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Eight bits of shard, 32 that count the shard's connections, 24 of place in its table: the id
    /// alone leads to the connection, and a place that is used again does not repeat an id.
    pub(crate) fn new(shard: usize, count: u32, slot: usize) -> ConnectionId {
        debug_assert!(shard < SHARD_COUNT_MAX && slot < SLOT_COUNT_MAX);
        ConnectionId((shard as u64) << 56 | u64::from(count) << 24 | slot as u64)
    }

    pub(crate) fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }
}

impl From<ConnectionKey> for ConnectionId {
    fn from(key: ConnectionKey) -> ConnectionId {
        ConnectionId(key.0)
    }
}

impl From<ConnectionId> for ConnectionKey {
    fn from(id: ConnectionId) -> ConnectionKey {
        ConnectionKey(id.0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for ConnectionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<ConnectionId, Self::Err> {
        u64::from_str_radix(text, 16).map(ConnectionId)
    }
}

/// Encodes a message once for all who will get it.
fn notice(command: &str, payload: &str) -> Notice {
    let mut json = Vec::with_capacity(command.len() + payload.len() + 80);
    write_notice(command, payload, &mut json);
    let frame: Bytes = shared_frame(Opcode::Text, Compression::Plain, &json);
    let payload = frame.slice(frame.len() - json.len()..);
    Notice { frame, opcode: Opcode::Text, payload }
}

/// Writes a message that is no reply, as the command dialect has it.
pub(crate) fn write_notice(command: &str, payload: &str, out: &mut Vec<u8>) {
    let message = CommandMessage {
        request_id: 0,
        command: command.into(),
        some_other_thing: payload.into(),
        success: true,
    };
    message.write(out);
}

/// Shards that fit into a connection id.
pub(crate) const SHARD_COUNT_MAX: usize = 256;
/// Connections of one shard that fit into a connection id.
pub(crate) const SLOT_COUNT_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    #[test]
    fn an_id_leads_to_its_connection_and_survives_as_text() {
        let id = ConnectionId::new(255, u32::MAX, SLOT_COUNT_MAX - 1);
        assert_eq!((id.shard(), id.slot()), (255, SLOT_COUNT_MAX - 1));
        let id = ConnectionId::new(3, 7, 9);
        assert_eq!((id.shard(), id.slot()), (3, 9));
        assert_eq!(id.to_string(), "0300000007000009");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_no_client_need_take_is_refused() {
        let poll = Poll::new().expect("a poll");
        let inbox = Inbox::new(poll.registry(), Token(0)).expect("a waker");
        let mut config = Config::default();
        config.limits.message_bytes_max = 100;
        let journal = Arc::new(Journal::new(Default::default()));
        let hub = Hub::new(Arc::new([inbox]), Arc::default(), journal, &config);
        // With its quotes it has two bytes more.
        assert_eq!(hub.publish("news", &"x".repeat(98)), Ok(()));
        let too_big = Err(HubError::TooBig { bytes: 101, bytes_max: 100 });
        assert_eq!(hub.publish("news", &"x".repeat(99)), too_big);
        let escaped = Err(HubError::TooBig { bytes: 102, bytes_max: 100 });
        assert_eq!(hub.publish("news", &"\"".repeat(50)), escaped);
        let long = "x".repeat(100);
        assert!(matches!(hub.broadcast("all", &long), Err(HubError::TooBig { .. })));
        let id = ConnectionId::new(0, 0, 0);
        assert!(matches!(hub.send(id, "you", &long), Err(HubError::TooBig { .. })));
        assert_eq!(hub.send(id, "you", "short"), Ok(()));
    }

    #[test]
    fn publishing_is_refused_when_the_box_is_full_and_nothing_else_is() {
        let poll = Poll::new().expect("a poll");
        let inbox = Inbox::new(poll.registry(), Token(0)).expect("a waker");
        let inboxes: Arc<[Inbox]> = Arc::new([inbox]);
        let config = Config { hub_bytes_max: 1, ..Config::default() };
        let journal = Arc::new(Journal::new(Default::default()));
        let hub = Hub::new(inboxes, Arc::default(), journal, &config);
        assert_eq!(hub.publish("news", "one"), Ok(()));
        assert_eq!(hub.publish("news", "two"), Err(HubError::Busy));
        assert_eq!(hub.broadcast("all", "one"), Ok(()));
        assert_eq!(hub.broadcast("all", "two"), Err(HubError::Busy));
        let id = ConnectionId::new(0, 0, 0);
        assert_eq!(hub.send(id, "you", "two"), Err(HubError::Busy));
        hub.close(id, "still possible");
        let invalid = hub.publish("no spaces", "x");
        assert!(matches!(invalid, Err(HubError::InvalidChannelName(_))));
    }
}
