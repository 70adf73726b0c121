//! One node's sessions, channels and log, joined. No I/O but the log's, no clock, one thread.
//!
//! A [`Node`] takes [`Input`]s (frames of clients, ends of connections, results of handlers,
//! calls of the program around it) and stages what is to be written. One commit makes all of it
//! durable, and only then come the [`Effect`]s out: whatever anybody is told has been stored before.
//!
//! ```text
//!   Input, Input, Input ──▶ Node ──writes──▶ Log::commit ──▶ Effect, Effect, Effect
//! ```

mod node;
pub use node::{Counts, Node};

mod hello;

mod request;

mod command;

mod subscribe;
mod subscriptions;

mod read;

mod publish;

mod fit;

mod channel;

mod account;

mod principals;

mod presence;

mod expiry;

mod rest;

mod answer;

mod key;

mod list;
pub use list::{ChannelPrefix, ChannelQuery, InvalidPrefix, SessionPrefix, SessionQuery};

mod timer;

mod input;
pub use input::{ConnectionKey, Input};

mod effect;
pub use effect::{Effect, Page};

mod call;
pub use call::{
    Answer, Call, CallError, ChannelView, LastEnd, MemberView, SessionStanding, SessionView,
    SubscriptionView, Target, Ticket,
};

mod note;
pub use note::{Happening, Note, Pace};

mod config;
pub use config::{NodeConfig, Retention};
