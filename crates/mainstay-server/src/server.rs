//! Starting and stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use mainstay_wire::handshake::AcceptOptions;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thiserror::Error;
use tokio::sync::watch;
use tower::Service;

use crate::admission::Admission;
use crate::http::{BoxError, HttpService};
use crate::hub::SHARD_COUNT_MAX;
use crate::inbox::{Inbox, Order};
use crate::shard::{Endpoint, LISTENER_COUNT_MAX, Shard, Shared};
use crate::stats::Stats;
use crate::upgrade::Upgrader;
use crate::{Config, Hub, Router, StatsSnapshot, files, listen};

/// A running server. Dropping it ends every connection at once; [`drain`](Server::drain) lets them
/// go in an orderly way.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    hub: Hub,
    shared: Arc<Shared>,
    /// How many shards still run, and whether one of them failed.
    running: watch::Receiver<Running>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    count: usize,
    has_failed: bool,
}

/// What a server is made of.
pub struct Builder {
    config: Config,
    router: Router,
    http: Option<HttpMaker>,
    listening: Listening,
}

type HttpMaker = Box<dyn FnOnce(&Config) -> HttpService + Send>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    OnAddress,
    Nowhere,
}

impl Server {
    /// Begins to describe a server.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            router: Router::new(),
            http: None,
            listening: Listening::OnAddress,
        }
    }

    /// Where the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Speaks to connections.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The counters now.
    pub fn stats(&self) -> StatsSnapshot {
        Stats::sum(&self.shared.stats)
    }

    /// How many connections there are at this moment, handshakes and HTTP included.
    pub fn connection_count(&self) -> usize {
        self.shared.admission.count()
    }

    /// For opening WebSockets inside another HTTP server, an axum router's for example.
    pub fn upgrader(&self) -> Upgrader {
        Upgrader::new(self.shared.clone())
    }

    /// Shuts down: accepts nobody any more, answers what runs, asks connections to leave in batches
    /// over `drain_window`, drops who is left after `drain_timeout`, and returns when all is done.
    ///
    /// # Errors
    /// If a shard has failed.
    pub async fn drain(&self) -> Result<(), ShardFailed> {
        self.order(|| Order::Drain);
        self.stopped().await
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// As soon as a shard fails: its connections are gone, the rest still works.
    pub async fn stopped(&self) -> Result<(), ShardFailed> {
        let mut running = self.running.clone();
        let is_over = |running: &Running| running.count == 0 || running.has_failed;
        match running.wait_for(is_over).await {
            Ok(running) if !running.has_failed => Ok(()),
            _ => Err(ShardFailed),
        }
    }

    fn order(&self, order: impl Fn() -> Order) {
        self.shared.inboxes.iter().for_each(|inbox| inbox.order(order()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.order(|| Order::Stop);
    }
}

impl Builder {
    /// Sets everything that can be configured at once.
    #[must_use]
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Where to listen: `host:port`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Builder {
        self.config.address = address.into();
        self
    }

    /// Listens nowhere: connections come from another HTTP server through
    /// [`Server::upgrader`].
    #[must_use]
    pub fn without_listener(mut self) -> Builder {
        self.listening = Listening::Nowhere;
        self
    }

    /// The handlers of commands.
    #[must_use]
    pub fn router(mut self, router: Router) -> Builder {
        self.router = router;
        self
    }

    /// What answers requests that are not for the WebSocket endpoint, instead of static files: any
    /// tower service, an `axum::Router` for example.
    #[must_use]
    pub fn http<S, B>(mut self, service: S) -> Builder
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = std::convert::Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.http =
            Some(Box::new(|config| HttpService::new(service, config.timing.write_stall_timeout)));
        self
    }

    /// Binds and starts the shards. When this returns, connections are accepted.
    ///
    /// # Errors
    /// If the address cannot be bound or the system refuses a thread.
    pub async fn start(self) -> Result<Server, StartError> {
        let Builder { config, router, http, listening } = self;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shard_count = config.shard_count.map_or(cores, usize::from).min(SHARD_COUNT_MAX);
        let listeners = match listening {
            Listening::Nowhere => (0..shard_count).map(|_| Vec::new()).collect(),
            Listening::OnAddress => {
                let (address, timeout) = (config.address.clone(), config.tcp_user_timeout);
                // Resolving a name may ask the network.
                let bound = tokio::task::spawn_blocking(move || {
                    listen::listen(&address, shard_count, timeout)
                });
                let listen =
                    |source| StartError::Listen { address: config.address.clone(), source };
                bound.await.map_err(io::Error::other).and_then(|bound| bound).map_err(listen)?
            }
        };
        let addresses = addresses_of(&listeners)?;
        let shared = Arc::new(share(config, router, http, shard_count));
        let running = start_shards(&shared, listeners)?;
        let hub = shared.hub.clone();
        Ok(Server { addresses, hub, shared, running })
    }
}

/// A server that does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address does not resolve or cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a thread, a poll or a source of randomness.
    #[error("cannot start a shard: {0}")]
    Shard(#[from] io::Error),
}

/// A shard's thread ended by a panic; this is a defect of the server, and its log says which.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a shard failed; the log says why")]
pub struct ShardFailed;

fn share(config: Config, router: Router, http: Option<HttpMaker>, shard_count: usize) -> Shared {
    let inboxes: Arc<[Inbox]> = (0..shard_count).map(|_| Inbox::default()).collect();
    let http = match http {
        Some(make) => make(&config),
        None => HttpService::new(
            files::serve_folder(config.www.clone(), &config.path),
            config.timing.write_stall_timeout,
        ),
    };
    let endpoint = Endpoint {
        path: config.path.clone(),
        head_limits: config.head,
        options: AcceptOptions {
            subprotocols: Vec::new(),
            deflate: config.compression,
            origins: config.origins.clone(),
        },
        channel_count_max: config.channels_per_connection_max,
    };
    let admission =
        Admission::new(config.connection_count_max, config.connection_count_per_address_max);
    let hub = Hub::new(inboxes.clone(), config.hub_bytes_max);
    let stats = (0..shard_count).map(|_| Stats::default()).collect();
    Shared { config, router, endpoint, http, stats, admission, inboxes, hub }
}

fn start_shards(
    shared: &Arc<Shared>,
    listeners: Vec<Vec<TcpListener>>,
) -> Result<watch::Receiver<Running>, StartError> {
    let started = Running { count: listeners.len(), has_failed: false };
    let (sender, running) = watch::channel(started);
    let sender = Arc::new(sender);
    let mut rng = system_rng()?;
    for (index, listeners) in listeners.into_iter().enumerate() {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shard = {
            let _inside = runtime.enter();
            Shard::new(index, shared.clone(), listeners, seed)?
        };
        let sender = sender.clone();
        thread::Builder::new().name(format!("mainstay-{index}")).spawn(move || {
            let guard = ShardGuard { sender };
            runtime.block_on(shard.run());
            // Handlers and HTTP answers that are still under way end with their shard.
            runtime.shutdown_background();
            drop(guard);
        })?;
    }
    Ok(running)
}

/// Reports the end of a shard's thread, however it comes.
struct ShardGuard {
    sender: Arc<watch::Sender<Running>>,
}

impl Drop for ShardGuard {
    fn drop(&mut self) {
        self.sender.send_modify(|running| {
            running.count -= 1;
            running.has_failed |= thread::panicking();
        });
    }
}

fn addresses_of(listeners: &[Vec<TcpListener>]) -> io::Result<Vec<SocketAddr>> {
    let first = listeners.first().map(Vec::as_slice).unwrap_or_default();
    first.iter().take(LISTENER_COUNT_MAX).map(TcpListener::local_addr).collect()
}

fn system_rng() -> io::Result<ChaCha12Rng> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(ChaCha12Rng::from_seed(seed))
}
