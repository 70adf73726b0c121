//! Starting and stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use mainstay_log::{DiskLog, DiskOptions, Log, LogError, MemoryLog, OpenError};
use mainstay_node::{Input, Node};
use mainstay_wire::handshake::{AcceptOptions, OriginPolicy};
use mainstay_wire::session::Encoding;
use mio::Poll;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::Service;

use crate::admission::Admission;
use crate::http::{BoxError, HttpService};
use crate::hub::SHARD_COUNT_MAX;
use crate::inbox::{Inbox, Order};
use crate::journal::Journal;
use crate::keeper::{Clock, Desk, Keeper};
use crate::proxy::ProxyHeaders;
use crate::shard::{Endpoint, LISTENER_COUNT_MAX, Shard, Shared, WAKE};
use crate::stats::{KeeperStats, Stats};
use crate::upgrade::Upgrader;
use crate::{Config, Hub, Router, StatsSnapshot, files, listen};

/// A running server. Dropping it ends every connection at once; [`drain`](Server::drain) lets them
/// go in an orderly way.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    hub: Hub,
    shared: Arc<Shared>,
    running: watch::Receiver<Running>,
}

/// How many threads still run, shards and the keeper, and what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    count: usize,
    failed: Option<ServerFailed>,
}

/// What a server is made of.
pub struct Builder {
    config: Config,
    router: Router,
    http: Option<HttpMaker>,
    listening: Listening,
}

type HttpMaker = Box<dyn FnOnce(&Config, &Hub) -> HttpService + Send>;

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

    /// Counters and gauges now.
    pub fn stats(&self) -> StatsSnapshot {
        let Shared { clock, stats, keeper_stats, .. } = &*self.shared;
        Stats::sum(clock.began_ms(), stats, keeper_stats)
    }

    /// Has every shard look how much it holds, which [`stats`](Server::stats) then shows, and has it
    /// note who has been slow since the last time. Meant to be called about once a second: it costs
    /// something for each slow client and nothing for the others.
    pub fn refresh_gauges(&self) {
        self.order(|| Order::Gauge);
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
    /// If a part of the server has failed.
    pub async fn drain(&self) -> Result<(), ServerFailed> {
        if self.shared.desk.is_closed() {
            self.order(|| Order::Drain);
        } else {
            // The keeper lets sessions know first, then has the shards drain.
            let window_ms = self.shared.config.drain_window.as_millis() as u64;
            self.shared.desk.put(&mut vec![Input::Drain { window_ms }]);
        }
        self.stopped().await
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// As soon as a part fails: a shard, and its connections are gone, or the store, and every
    /// session's connection is. The rest still works.
    pub async fn stopped(&self) -> Result<(), ServerFailed> {
        let mut running = self.running.clone();
        let is_over = |running: &Running| running.count == 0 || running.failed.is_some();
        match running.wait_for(is_over).await {
            Ok(running) => running.failed.map_or(Ok(()), Err),
            Err(_) => Err(ServerFailed::Shard),
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
    pub fn http<S, B>(self, service: S) -> Builder
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = std::convert::Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.http_with(|_, _| service)
    }

    /// Like [`http`](Builder::http), for a service that speaks to the server it stands beside.
    #[must_use]
    pub fn http_with<F, S, B>(mut self, make: F) -> Builder
    where
        F: FnOnce(&Config, &Hub) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = std::convert::Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.http = Some(Box::new(|config, hub| {
            HttpService::new(make(config, hub), config.timing.write_stall_timeout)
        }));
        self
    }

    /// Binds and starts the shards. When this returns, connections are accepted.
    ///
    /// The shards are threads of their own. Handlers that wait and plain HTTP go on on the tokio
    /// runtime that this is called in, which therefore has to live as long as the server.
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
        let clock = Clock::start();
        let node = open_node(&config, &clock)?;
        let polls: Vec<Poll> = (0..shard_count).map(|_| Poll::new()).collect::<io::Result<_>>()?;
        let shared = Arc::new(share(config, router, http, &polls, clock)?);
        let running = start_threads(&shared, polls, listeners, node, clock)?;
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
    /// The store of sessions and channels cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] OpenError),
    /// The store is open and cannot be read.
    #[error("cannot read the store: {0}")]
    Read(#[from] LogError),
}

/// A part of the server failed; its log says why.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFailed {
    /// A shard's thread, or the keeper's, ended by a panic: a defect of the server.
    #[error("a shard failed; the log says why")]
    Shard,
    /// The store can no longer be trusted with writes. Nothing that was acknowledged is lost; the
    /// process should be started anew.
    #[error("the store failed; the log says why")]
    Store,
}

fn share(
    config: Config,
    router: Router,
    http: Option<HttpMaker>,
    polls: &[Poll],
    clock: Clock,
) -> io::Result<Shared> {
    let inboxes = polls.iter().map(|poll| Inbox::new(poll.registry(), WAKE));
    let inboxes: Arc<[Inbox]> = inboxes.collect::<io::Result<_>>()?;
    let endpoint = Endpoint {
        path: config.path.clone(),
        head_limits: config.head,
        options: AcceptOptions {
            subprotocols: Encoding::ALL.iter().map(|e| e.subprotocol().to_owned()).collect(),
            deflate: config.compression,
            origins: endpoint_origins(&config),
        },
        channel_count_max: config.channels_per_connection_max,
        proxy: ProxyHeaders {
            principal: config.principal_header.clone(),
            address: config.client_address_header.clone(),
        },
    };
    let admission =
        Admission::new(config.connection_count_max, config.connection_count_per_address_max);
    let desk = Arc::new(Desk::default());
    let journal = Arc::new(Journal::new(config.journal));
    let hub = Hub::new(inboxes.clone(), desk.clone(), journal.clone(), &config);
    let http = match http {
        Some(make) => make(&config, &hub),
        None => HttpService::new(
            files::static_files(config.www.clone(), &config.path),
            config.timing.write_stall_timeout,
        ),
    };
    let stats = polls.iter().map(|_| Stats::default()).collect();
    let keeper_stats = Arc::new(KeeperStats::default());
    Ok(Shared {
        config,
        router,
        endpoint,
        http,
        clock,
        stats,
        keeper_stats,
        journal,
        admission,
        inboxes,
        desk,
        hub,
    })
}

/// The console's page speaks to the endpoint and to nothing else of the public side.
fn endpoint_origins(config: &Config) -> OriginPolicy {
    if config.endpoint_origins.is_empty() {
        return config.origins.clone();
    }
    let allowed = match &config.origins {
        OriginPolicy::Any => return OriginPolicy::Any,
        OriginPolicy::SameOrigin => &[][..],
        OriginPolicy::AllowList(allowed) => allowed,
    };
    OriginPolicy::AllowList([allowed, &config.endpoint_origins].concat())
}

/// Opens the store and what rests on it.
fn open_node(config: &Config, clock: &Clock) -> Result<Node, StartError> {
    let log: Box<dyn Log> = match &config.data_dir {
        None => Box::new(MemoryLog::new()),
        Some(folder) => {
            let mut fresh = [0; 8];
            system_rng()?.fill_bytes(&mut fresh);
            let mut log = DiskLog::open(folder, DiskOptions::new(u64::from_le_bytes(fresh)))?;
            for session in log.damaged_sessions()? {
                tracing::error!(%session, "its record is damaged: the session is given up");
            }
            Box::new(log)
        }
    };
    let mut node = config.node.clone();
    node.message_bytes_max = u32::try_from(config.limits.message_bytes_max).unwrap_or(u32::MAX);
    node.handler_timeout_ms = config.handler_timeout.as_millis() as u64;
    if let Some(interval) = config.timing.ping_interval {
        node.ping_interval_ms = interval.as_millis() as u64;
    }
    let mut seed = [0; 32];
    system_rng()?.fill_bytes(&mut seed);
    Ok(Node::open(clock.now_ms(Instant::now()), node, log, seed)?)
}

fn start_threads(
    shared: &Arc<Shared>,
    polls: Vec<Poll>,
    listeners: Vec<Vec<TcpListener>>,
    node: Node,
    clock: Clock,
) -> Result<watch::Receiver<Running>, StartError> {
    let started = Running { count: listeners.len() + 1, failed: None };
    let (sender, running) = watch::channel(started);
    let sender = Arc::new(sender);
    start_keeper(shared.clone(), node, clock, sender.clone())?;
    let runtime = Handle::current();
    let mut rng = system_rng()?;
    for (index, (poll, listeners)) in polls.into_iter().zip(listeners).enumerate() {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let shard = Shard::new(index, shared.clone(), poll, listeners, runtime.clone(), seed)?;
        let (sender, shared) = (sender.clone(), shared.clone());
        thread::Builder::new().name(format!("mainstay-{index}")).spawn(move || {
            let guard = ThreadGuard { sender, shared, shard: Some(index) };
            shard.run();
            drop(guard);
        })?;
    }
    Ok(running)
}

fn start_keeper(
    shared: Arc<Shared>,
    node: Node,
    clock: Clock,
    sender: Arc<watch::Sender<Running>>,
) -> io::Result<()> {
    let (desk, inboxes) = (shared.desk.clone(), shared.inboxes.clone());
    let bytes_max = shared.config.hub_bytes_max;
    thread::Builder::new().name("mainstay-keeper".to_owned()).spawn(move || {
        let notes = (shared.journal.clone(), shared.keeper_stats.clone());
        let keeper = Keeper::new(node, clock, desk.clone(), inboxes.clone(), bytes_max, notes);
        let guard = ThreadGuard { sender, shared, shard: None };
        let kept = keeper.run();
        desk.abandon();
        if let Err(error) = kept {
            tracing::error!(%error, "the store failed; nothing unstored was acknowledged");
            guard.sender.send_modify(|running| running.failed = Some(ServerFailed::Store));
            inboxes.iter().for_each(|inbox| inbox.order(Order::StoreFailed));
        }
        drop(guard);
    })?;
    Ok(())
}

/// Reports the end of a thread, however it comes.
struct ThreadGuard {
    sender: Arc<watch::Sender<Running>>,
    shared: Arc<Shared>,
    /// Which shard's thread it is; `None` for the keeper's.
    shard: Option<usize>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        if let Some(inbox) = self.shard.and_then(|shard| self.shared.inboxes.get(shard)) {
            inbox.close();
        }
        self.sender.send_modify(|running| {
            running.count -= 1;
            if thread::panicking() {
                running.failed.get_or_insert(ServerFailed::Shard);
            }
            // With no shard left, what the keeper still has is all that will come.
            if running.count == 1 || thread::panicking() {
                self.shared.desk.close();
            }
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
