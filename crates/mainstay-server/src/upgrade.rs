//! WebSockets inside another HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use mainstay_wire::handshake::{HttpVersion, UpgradeRequest};
use tokio::net::TcpStream;

use crate::inbox::Order;
use crate::listen::set_user_timeout;
use crate::shard::{Adopted, EndpointRefusal, Shared, Wishes};

/// Opens WebSockets for requests that another hyper-based server received, and hands their sockets
/// to the shards.
///
/// ```no_run
/// use axum::extract::Request;
/// use axum::routing::any;
/// use mainstay_server::Server;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().without_listener().start().await?;
/// let upgrader = server.upgrader();
/// let app: axum::Router = axum::Router::new()
///     .route("/live", any(move |request: Request| async move { upgrader.upgrade(request) }));
/// let listener = tokio::net::TcpListener::bind("localhost:3000").await?;
/// axum::serve(listener, app).await?;
/// # Ok(())
/// # }
/// ```
///
/// The server in front must speak plain HTTP/1.1 on TCP; TLS has to end before it. Its own limits
/// hold for the handshake, Mainstay's for everything after.
#[derive(Clone, Debug)]
pub struct Upgrader {
    shared: Arc<Shared>,
    next_shard: Arc<AtomicUsize>,
}

impl Upgrader {
    pub(crate) fn new(shared: Arc<Shared>) -> Upgrader {
        Upgrader { shared, next_shard: Arc::default() }
    }

    /// Answers a request with 101, or with the refusal that says what is wrong with it. Must be
    /// called inside a tokio runtime.
    pub fn upgrade<B>(&self, mut request: Request<B>) -> Response<Full<Bytes>> {
        let version = match request.version() {
            Version::HTTP_11 => HttpVersion::Http11,
            Version::HTTP_10 => HttpVersion::Http10,
            _ => HttpVersion::Other,
        };
        let headers = || {
            let headers = request.headers().iter();
            headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
        };
        let method = request.method().as_str();
        let upgrade_request = UpgradeRequest { method, version, headers: headers() };
        let endpoint = &self.shared.endpoint;
        let asker = endpoint.proxy.read(headers());
        let decision = endpoint.accept(upgrade_request, request.uri().query(), asker);
        let (accepted, wishes) = match decision {
            Ok(accepted) => accepted,
            Err(refusal) => return refused(&refusal),
        };
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            tracing::error!(
                "a request that cannot be upgraded: is the server hyper over HTTP/1.1?"
            );
            return plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The connection cannot be upgraded.\n",
            );
        };
        let this = self.clone();
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => this.adopt(upgraded, wishes),
                Err(error) => tracing::debug!(%error, "an upgrade failed"),
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        insert_headers(&mut response, accepted.headers());
        response
    }

    fn adopt(&self, upgraded: Upgraded, wishes: Wishes) {
        let Some((stream, read_ahead)) = downcast(upgraded) else {
            tracing::error!("the server in front does not speak plain TCP; end TLS before it");
            return;
        };
        let adopted = take_socket(stream, self.shared.config.tcp_user_timeout).and_then(
            |(stream, address)| {
                let client = wishes.asker.address.unwrap_or(address.ip());
                let permit = self.shared.admission.admit(Some(client));
                let permit = permit.map_err(|full| std::io::Error::other(format!("{full:?}")))?;
                Ok(Adopted { stream, address, permit, wishes, read_ahead: read_ahead.into() })
            },
        );
        let count = self.next_shard.fetch_add(1, Ordering::Relaxed);
        let inboxes = &self.shared.inboxes;
        match (adopted, inboxes.get(count % inboxes.len().max(1))) {
            (Ok(adopted), Some(inbox)) => inbox.order(Order::Adopt(Box::new(adopted))),
            (Err(error), _) => tracing::warn!(%error, "an upgraded connection is not taken over"),
            (Ok(_), None) => {}
        }
    }
}

/// The socket under an upgraded connection, and what was read ahead. hyper wraps it in one way,
/// hyper-util's server for both versions of HTTP, which axum uses, in another.
fn downcast(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Some((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => {
            let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded).ok()?;
            Some((parts.io.into_inner(), parts.read_buf))
        }
    }
}

fn take_socket(
    stream: TcpStream,
    user_timeout: std::time::Duration,
) -> std::io::Result<(std::net::TcpStream, SocketAddr)> {
    let address = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    set_user_timeout(&stream, user_timeout)?;
    Ok((stream.into_std()?, address))
}

fn refused(refusal: &EndpointRefusal) -> Response<Full<Bytes>> {
    let EndpointRefusal::Handshake(refusal) = refusal else {
        return plain(StatusCode::BAD_REQUEST, refusal.to_string());
    };
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = plain(status, refusal.body());
    insert_headers(&mut response, refusal.headers());
    response
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.into()));
    *response.status_mut() = status;
    response
}

fn insert_headers<'a>(
    response: &mut Response<Full<Bytes>>,
    headers: impl Iterator<Item = (&'static str, &'a str)>,
) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            let name = HeaderName::from_bytes(name.as_bytes());
            name.into_iter().for_each(|name| {
                response.headers_mut().insert(name, value.clone());
            });
        }
    }
}
