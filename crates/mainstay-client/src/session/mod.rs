//! Sessions that outlive their connections: the driver of `mainstay_session::client`.
//!
//! ```text
//!   application ──wishes──▶ Driver ──▶ Line (dialling, open, waiting) ──▶ TCP
//!               ◀─outcomes──  │  ▲
//!               ◀─queues────  ▼  │
//!               ◀─states── ClientSession ──changes──▶ StateFile
//! ```

mod handle;
pub use handle::{Session, SubscribeError, SubscribeOptions};

mod builder;
pub use builder::{SessionBuilder, SessionError};

mod pending;
pub use pending::{Pending, Published, RequestFailure, Restored, SendError};

mod queue;
pub use queue::{ChannelItem, Subscription, SubscriptionEnd};

mod handlers;
pub use handlers::ServerCommand;

mod state;
pub use state::{Greeting, SessionEnd, SessionState};

mod driver;
mod events;
mod line;

mod state_file;
pub use state_file::StateFileError;
