//! The HTTP API beside the server, on a thread of its own: whatever is asked of it, connections go
//! on.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use mainstay_admin::{Access, Options, ServeLimits};
use mainstay_server::Server;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};

use crate::settings::{Origin, Resolved, Settings};

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
    entry.is_some_and(|entry| entry.origin == Origin::Default)
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
    let options = Options {
        access,
        message_bytes_max: settings.message_bytes_max,
        stats: Arc::new(move || counted.upgrade().map(|server| server.stats()).unwrap_or_default()),
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
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(Running { address, _stop: stop })
}
