//! The HTTP API of a Mainstay server, and channels as server-sent events.
//!
//! [`routes()`] is the API for operators and for the programs behind a server: publish, send to a
//! session, ask a client, look at what there is. [`events()`] is the one route that may be shown to
//! everybody: a channel as `text/event-stream`, for `curl` and for a browser's `EventSource`. Both
//! are axum routers over a [`Source`], which a server's `Hub` is; [`serve()`] serves a router on a
//! listener with the time limits that HTTP needs.
//!
//! The routes and their OpenAPI document are one declaration. Nothing here holds state of its own:
//! an event stream is a reader of the log, and a slow one is only further behind.

mod routes;
pub use routes::{Options, document, routes};

mod source;
pub use source::{Answering, Source};

mod events;
pub use events::{EventsOptions, events};

mod follow;

mod place;

mod publish;

mod channels;

mod sessions;

mod health;
pub use health::Endpoint;

mod history;
pub use history::History;

mod journal;

mod console;

mod guard;
pub use guard::{Access, InvalidToken, Token};

mod page;

mod extract;

mod body;

mod problem;

mod serve;
pub use serve::{ServeLimits, serve};

#[cfg(test)]
mod double;

#[cfg(test)]
mod tests;
