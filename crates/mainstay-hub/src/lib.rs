//! Who hears what: channels and their subscribers.
//!
//! A [`Hub`] is a plain struct. It does no I/O, waits for nothing and knows neither sockets nor
//! messages; a shard of the server owns one and asks it whom an event concerns. It is not a log:
//! nothing is kept for those who are not there.
//!
//! The two things that matter are [`Hub::subscribe`] and [`Hub::subscribers`]; [`owner_shard`] says
//! which shard puts a channel's events in order.

mod hub;
pub use hub::{Hub, SubscribeError, Subscriber, owner_shard};
