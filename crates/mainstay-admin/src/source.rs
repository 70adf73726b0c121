//! What answers the API's questions.

use std::pin::Pin;

use mainstay_server::session::Offset;
use mainstay_server::{Answer, Call, CallError, ChannelName, Hub, JournalPage, JournalQuery};
use tokio::sync::watch;

/// An answer that is under way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;

/// Answers calls, and tells when channels have news: a server's [`Hub`], or a test's double.
pub trait Source: Send + Sync + 'static {
    /// Asks for anything. Dropping the answer does not take the call back.
    fn call(&self, call: Call) -> Answering;

    /// Changes with every event of the channel that comes after this call.
    fn watch_head(&self, channel: &ChannelName) -> watch::Receiver<Offset>;

    /// What happened lately to sessions and connections.
    fn journal(&self, query: &JournalQuery) -> JournalPage;
}

impl Source for Hub {
    fn call(&self, call: Call) -> Answering {
        let hub = self.clone();
        Box::pin(async move { hub.call(call).await })
    }

    fn watch_head(&self, channel: &ChannelName) -> watch::Receiver<Offset> {
        Hub::watch_head(self, channel)
    }

    fn journal(&self, query: &JournalQuery) -> JournalPage {
        Hub::journal(self, query)
    }
}
