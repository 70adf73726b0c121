//! Speaking to connections from anywhere in the program.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use mainstay_hub::owner_shard;
use mainstay_wire::command::CommandMessage;
use mainstay_wire::frame::{Compression, Opcode, shared_frame};
use mainstay_wire::{ChannelName, InvalidChannelName};
use thiserror::Error;

use crate::inbox::{Event, Inbox, Order, Publish};

/// Speaks to one connection, to all, or to everyone who listens to a channel.
///
/// Cheap to clone and usable from any thread; no method waits. Events of one channel reach every
/// listener in the order in which they were published by one caller. Nothing is kept for those who
/// do not listen at the moment.
#[derive(Clone)]
pub struct Hub {
    reach: Arc<Reach>,
}

struct Reach {
    inboxes: Arc<[Inbox]>,
    bytes_max: usize,
}

impl Hub {
    pub(crate) fn new(inboxes: Arc<[Inbox]>, bytes_max: usize) -> Hub {
        Hub { reach: Arc::new(Reach { inboxes, bytes_max }) }
    }

    /// Sends an event to everyone who listens to `channel`: a message with `requestID` 0, the
    /// channel's name as `command` and `payload` as `someOtherThing`.
    ///
    /// # Errors
    /// If the name is no channel name, or events are published faster than the shards can take.
    pub fn publish(&self, channel: &str, payload: &str) -> Result<(), HubError> {
        let name = ChannelName::parse(channel)?;
        let owner = owner_shard(channel, self.reach.inboxes.len());
        self.put(owner, Publish { channel: Some(name), event: event(channel, payload) })
    }

    /// Sends a message with `requestID` 0 to every open connection.
    ///
    /// # Errors
    /// If events are published faster than the shards can take.
    pub fn broadcast(&self, command: &str, payload: &str) -> Result<(), HubError> {
        self.put(0, Publish { channel: None, event: event(command, payload) })
    }

    /// Sends a message with `requestID` 0 to one connection. Whether the connection still is there
    /// is not known here; if it is not, nothing happens.
    ///
    /// # Errors
    /// If events are published faster than the shard can take.
    pub fn send(&self, to: ConnectionId, command: &str, payload: &str) -> Result<(), HubError> {
        let Some(inbox) = self.reach.inboxes.get(to.shard()) else { return Ok(()) };
        inbox.send(to, event(command, payload), self.reach.bytes_max).map_err(|_| HubError::Busy)
    }

    /// Closes one connection with code 1000 and `detail` as the reason.
    pub fn close(&self, connection: ConnectionId, detail: &str) {
        if let Some(inbox) = self.reach.inboxes.get(connection.shard()) {
            inbox.order(Order::Close { connection, detail: detail.to_owned() });
        }
    }

    fn put(&self, shard: usize, publish: Publish) -> Result<(), HubError> {
        let Some(inbox) = self.reach.inboxes.get(shard) else { return Err(HubError::Busy) };
        inbox.publish(publish, self.reach.bytes_max).map_err(|_| HubError::Busy)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("shard_count", &self.reach.inboxes.len()).finish()
    }
}

/// An event that could not be sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubError {
    /// The caller's fault: no such channel can exist.
    #[error(transparent)]
    InvalidChannelName(#[from] InvalidChannelName),
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

/// Encodes an event once for all who will get it.
fn event(command: &str, payload: &str) -> Event {
    let message = CommandMessage {
        request_id: 0,
        command: command.into(),
        some_other_thing: payload.into(),
        success: true,
    };
    let mut json = Vec::with_capacity(command.len() + payload.len() + 80);
    message.write(&mut json);
    let frame: Bytes = shared_frame(Opcode::Text, Compression::Plain, &json);
    let payload = frame.slice(frame.len() - json.len()..);
    Event { frame, opcode: Opcode::Text, payload }
}

/// Shards that fit into a connection id.
pub(crate) const SHARD_COUNT_MAX: usize = 256;
/// Connections of one shard that fit into a connection id.
pub(crate) const SLOT_COUNT_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
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
    fn publishing_is_refused_when_the_box_is_full_and_nothing_else_is() {
        let inboxes: Arc<[Inbox]> = Arc::new([Inbox::default()]);
        let hub = Hub::new(inboxes, 1);
        assert_eq!(hub.publish("news", "one"), Ok(()));
        assert_eq!(hub.publish("news", "two"), Err(HubError::Busy));
        assert_eq!(hub.broadcast("all", "two"), Err(HubError::Busy));
        let id = ConnectionId::new(0, 0, 0);
        assert_eq!(hub.send(id, "you", "two"), Err(HubError::Busy));
        hub.close(id, "still possible");
        let invalid = hub.publish("no spaces", "x");
        assert!(matches!(invalid, Err(HubError::InvalidChannelName(_))));
    }
}
