//! Who hears what: channels and their subscribers.
//!
//! A [`Hub`] is a plain struct. It does no I/O, waits for nothing and knows neither sockets nor
//! messages; a shard of the server owns one and asks it whom an event concerns. It is not a log:
//! it keeps no event, only the places of those who are behind.
//!
//! What matters is [`Hub::live`], whom an event goes to at once, and [`Hub::next_read`], who reads
//! on from the log.

mod members;
pub use members::{Changes, Members};

mod hub;
pub use hub::{Hub, SubscribeError, Subscriber};
