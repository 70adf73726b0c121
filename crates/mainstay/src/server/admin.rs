//! The HTTP API beside the server, on a thread of its own: whatever is asked of it, connections go
//! on.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use mainstay_admin::{Access, Endpoint, History, Options, ServeLimits};
use mainstay_server::{Origin, Server, StatsSnapshot};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};

use crate::settings::{self, Resolved, Settings};

/// What became of the address.
pub(super) enum Bound {
    /// No API is wanted.
    Off,
    /// Somebody else has the default address: a second server on a machine starts without an API
    /// rather than not at all.
    DefaultTaken(String),
    /// It is ours.
    Listener(std::net::TcpListener, Access),
}

/// Runs until dropped.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

/// Binds the API's address.
///
/// # Errors
/// The address cannot be bound, or others can reach it and there is no token.
pub(super) async fn bind(resolved: &Resolved) -> Result<Bound, Box<dyn Error>> {
    let Some(address) = &resolved.settings.admin_address else { return Ok(Bound::Off) };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_default(resolved) => {
            return Ok(Bound::DefaultTaken(address.clone()));
        }
        Err(error) => {
            return Err(format!("cannot listen on admin_address {address}: {error}").into());
        }
    };
    let access = match &resolved.settings.admin_token {
        Some(token) => Access::Token(token.clone()),
        None => {
            // The settings have been checked as text; what a name leads to is known only now.
            if !listener.local_addr()?.ip().is_loopback() {
                let error = format!("{address} is no loopback address: set admin_token");
                return Err(error.into());
            }
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            Access::Loopback { host: host.to_owned() }
        }
    };
    Ok(Bound::Listener(listener.into_std()?, access))
}

fn is_default(resolved: &Resolved) -> bool {
    let entry = resolved.entries.iter().find(|entry| entry.setting.key == "admin_address");
    entry.is_some_and(|entry| entry.origin == settings::Origin::Default)
}

/// Serves the API of `server`.
///
/// # Errors
/// The system refuses a thread.
pub(super) fn start(
    listener: std::net::TcpListener,
    access: Access,
    settings: &Settings,
    server: &Arc<Server>,
    leaving: watch::Receiver<bool>,
) -> io::Result<Running> {
    let address = listener.local_addr()?;
    let counted = Arc::downgrade(server);
    let stats: Arc<dyn Fn() -> StatsSnapshot + Send + Sync> = Arc::new(move || {
        let server = counted.upgrade();
        server.map(|server| server.stats()).unwrap_or_default()
    });
    let counted = Arc::downgrade(server);
    let history = History::default();
    let keeping = history.clone().keep(Arc::new({
        let stats = stats.clone();
        move || {
            // What the shards write down now is in the next sample.
            counted.upgrade().iter().for_each(|server| server.refresh_gauges());
            stats()
        }
    }));
    let options = Options {
        access,
        message_bytes_max: settings.message_bytes_max,
        stats,
        history,
        endpoints: endpoints(settings, server),
        leaving,
    };
    let app = mainstay_admin::routes(Arc::new(server.hub().clone()), options);
    let limits =
        ServeLimits { stall_timeout: settings.write_stall_timeout, ..ServeLimits::default() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("mainstay-admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = mainstay_admin::serve(listener, app, limits) => {}
                () = keeping => {}
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(Running { address, _stop: stop })
}

fn endpoints(settings: &Settings, server: &Server) -> Vec<Endpoint> {
    let mut ports: Vec<u16> = server.addresses().iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let endpoint = |port| Endpoint { path: settings.path.clone(), port, is_tls: false };
    ports.into_iter().map(endpoint).collect()
}

/// The origins of a page that comes from the API's listener: the console's.
///
/// The page of a listener that only this machine reaches may have been asked for by any name of this
/// machine. One that listens on every address has no name that is known here; pages that it serves are
/// admitted with `origins`.
pub(super) fn origins(bound: &Bound, settings: &Settings) -> Vec<Origin> {
    let Bound::Listener(listener, _) = bound else { return Vec::new() };
    let Ok(address) = listener.local_addr() else { return Vec::new() };
    let configured = settings.admin_address.as_deref().and_then(|text| text.rsplit_once(':'));
    let configured = configured.map(|(host, _)| host.to_ascii_lowercase());
    let mut hosts: Vec<String> = configured.into_iter().collect();
    if address.ip().is_loopback() {
        hosts.extend(LOOPBACK_HOSTS.map(str::to_owned));
    }
    if address.ip().is_unspecified() {
        hosts.clear();
    }
    hosts.sort_unstable();
    hosts.dedup();
    let port = address.port();
    hosts.iter().filter_map(|host| format!("http://{host}:{port}").parse().ok()).collect()
}

const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
