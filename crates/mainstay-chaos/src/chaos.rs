//! Starting, steering and stopping a proxy.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::event::{Event, Stats};
use crate::faults::{Cut, Faults};
use crate::limits::{ACCEPT_PAUSE, BACKLOG_COUNT_MAX};
use crate::link;
use crate::shared::{Observer, Refusing, Shared};

/// A running proxy. All methods may be called from any thread and return at once; what they ask for
/// happens soon after, on the proxy's own thread.
///
/// Dropping it closes the listener and all connections, and waits until they are closed.
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a proxy stands, and what it does from the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it listens, as `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where connections lead, as `host:port`. It is looked up anew for each.
    pub target: String,
    /// What all random decisions come from.
    pub seed: u64,
    /// What it does to connections.
    pub faults: Faults,
    /// Whom it refuses.
    pub refuse: Refuse,
}

/// Whose connections are reset as soon as they are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuse {
    /// Only those that [`Faults::refuse_rate`] picks.
    #[default]
    Nobody,
    /// All that come from now on.
    Everybody,
    /// All that come from now on until the time is over.
    EverybodyFor(Duration),
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The system gives no thread or no poller.
    #[error("the system refuses a thread or a poller: {0}")]
    System(#[source] io::Error),
}

impl Config {
    /// A proxy to this target on a free port of 127.0.0.1, with seed 0 and no faults.
    pub fn to(target: impl Into<String>) -> Config {
        Config {
            listen: "127.0.0.1:0".to_owned(),
            target: target.into(),
            seed: 0,
            faults: Faults::default(),
            refuse: Refuse::Nobody,
        }
    }
}

impl Chaos {
    /// Starts a proxy on a thread of its own. It accepts connections when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system gives no thread.
    pub fn start(config: Config) -> Result<Chaos, StartError> {
        Chaos::start_observed(config, |_| {})
    }

    /// The same, and tells `observe` of everything that happens. That is called on the proxy's
    /// thread, which waits for it: it should be quick.
    ///
    /// # Errors
    /// As [`Chaos::start`].
    pub fn start_observed(
        config: Config,
        observe: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Chaos, StartError> {
        let Config { listen, target, seed, faults, refuse } = config;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(StartError::System)?;
        let (listener, address) = bind(&runtime, &listen)
            .map_err(|error| StartError::Listen { address: listen, error })?;
        let observe: Observer = Box::new(observe);
        let shared = Arc::new(Shared::new(target, seed, faults, observe));
        let (stop, stopped) = oneshot::channel();
        let mut chaos = Chaos { address, shared, stop: Some(stop), thread: None };
        chaos.refuse(refuse);
        // Before the thread, so that it is the first of all events.
        chaos.shared.tell(&Event::Listening { address, seed });
        let run = {
            let shared = Arc::clone(&chaos.shared);
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, shared) => {}
                        _ = stopped => {}
                    }
                });
                // The lookup of a name may take its time, and nobody waits for it any more.
                runtime.shutdown_background();
            }
        };
        let thread = thread::Builder::new().name("chaos".to_owned()).spawn(run);
        chaos.thread = Some(thread.map_err(StartError::System)?);
        Ok(chaos)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections that are held now, the half-open ones too.
    pub fn cut_all(&self, cut: Cut) {
        self.shared.control.send_modify(|control| control.cut = (control.cut.0 + 1, cut));
    }

    /// Lets nothing pass for a while, on connections that are held now and on new ones.
    pub fn stall_all(&self, lasting: Duration) {
        let until = Instant::now().checked_add(lasting);
        self.shared.control.send_modify(|control| control.stalled_until = until);
    }

    /// Says whose connections are reset from now on.
    pub fn refuse(&self, refuse: Refuse) {
        let refusing = match refuse {
            Refuse::Nobody => Refusing::Nobody,
            Refuse::Everybody => Refusing::Everybody,
            Refuse::EverybodyFor(lasting) => match Instant::now().checked_add(lasting) {
                Some(until) => Refusing::EverybodyUntil(until),
                None => Refusing::Everybody,
            },
        };
        self.shared.control.send_modify(|control| control.refusing = refusing);
    }

    /// Says what is done to connections from now on. Those that are held now draw their decisions
    /// anew; the delay of chunks that are under way stays.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.control.send_modify(|control| {
            control.faults = Arc::new(faults);
            control.generation = control.generation.wrapping_add(1);
        });
    }

    /// Ends all faults: nothing is delayed, stalled, cut or refused any more. What is half-open
    /// stays so.
    pub fn clear(&self) {
        self.shared.control.send_modify(|control| {
            control.faults = Arc::default();
            control.generation = control.generation.wrapping_add(1);
            control.stalled_until = None;
            control.refusing = Refusing::Nobody;
        });
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        *self.shared.stats()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        // Dropping the sender is what stops it.
        self.stop.take();
        let Some(thread) = self.thread.take() else { return };
        // An observer may be what owns this, and a thread cannot wait for itself.
        if thread.thread().id() != thread::current().id() {
            // Fails only after a panic of the observer, which has been printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Chaos").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Takes the first address of those the name has that can be had.
fn bind(runtime: &Runtime, listen: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let _context = runtime.enter();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in listen.to_socket_addrs()? {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A proxy that is started again finds connections of the former one in TIME-WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG_COUNT_MAX)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        match bound() {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Accepts and numbers connections for ever.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connection = 0;
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                connection += 1;
                // Read here and not in the task: a cut that comes later means this one too.
                let cut_number = shared.control.borrow().cut.0;
                let shared = Arc::clone(&shared);
                tokio::spawn(link::serve(shared, client, peer, connection, cut_number));
            }
            Err(error) => {
                shared.tell(&Event::AcceptFailed { error: error.to_string() });
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
