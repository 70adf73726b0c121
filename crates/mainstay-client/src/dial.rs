//! From a URL to an open WebSocket: names, TCP, TLS, the opening handshake.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::handshake::{
    Dial, DialError, DialOptions, DialOptionsError, Dialed, HeadError, HeadLimits, HeadScan,
    ResponseHead,
};
use mainstay_wire::{Limits, Timing};
use socket2::SockRef;
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::endpoint::{Endpoint, UrlError};
use crate::limits::{
    ATTEMPT_DELAY, CONNECT_TIMEOUT, MESSAGE_BYTES_MAX, SCRATCH_BYTES, TCP_USER_TIMEOUT,
};
use crate::seed::random_bytes;
use crate::stream::Stream;
use crate::tls::{Tls, TlsError};

/// How to connect, and the limits of the connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Sizes and counts. Default: those of [`Limits`], but messages of up to 1 MiB, since a reply
    /// may repeat a request and add to it. What one server can make this process hold grows with it.
    pub limits: Limits,
    /// Heartbeat and timeouts. Default: those of [`Timing`].
    pub timing: Timing,
    /// The time for everything: resolving the name, connecting, TLS, the handshake. Default 10 s: a
    /// mobile network needs up to 5 s; longer, and a dead address holds up the next attempt.
    pub connect_timeout: Duration,
    /// Whom to trust, if the URL is `wss://`. Default: whom the system trusts.
    pub tls: Tls,
    /// Subprotocols, compression, origin and further headers. Default: none of them.
    pub dial: DialOptions,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            limits: Limits { message_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() },
            timing: Timing::default(),
            connect_timeout: CONNECT_TIMEOUT,
            tls: Tls::default(),
            dial: DialOptions::default(),
        }
    }
}

/// Why a connection could not be made.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The caller is at fault: the URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The caller is at fault: a header, an origin or a subprotocol.
    #[error(transparent)]
    Options(#[from] DialOptionsError),
    /// The name could not be resolved.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        #[source]
        error: Arc<io::Error>,
    },
    /// No address of the server accepted; the last one's answer is told.
    #[error("cannot connect to {address}: {error}")]
    Tcp {
        /// The last address tried.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: Arc<io::Error>,
    },
    /// There is no TLS with this server: mostly, its certificate is not trusted.
    #[error("no TLS with {host}: {error}")]
    Tls {
        /// The name or address in the URL.
        host: String,
        /// What is wrong.
        #[source]
        error: TlsError,
    },
    /// The connect timeout passed.
    #[error("no connection within {:.1} s", after.as_secs_f64())]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The socket failed during the handshake.
    #[error("the connection failed during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The server closed the socket instead of answering the handshake.
    #[error("the server closed the connection instead of answering the handshake")]
    HandshakeEof,
    /// What came back is no HTTP answer.
    #[error("the server's answer is not acceptable HTTP: {0}")]
    Head(#[from] HeadError),
    /// The server answered, but did not open a WebSocket, or not the one that was asked for.
    #[error(transparent)]
    Handshake(#[from] DialError),
    /// The server opened a WebSocket without the subprotocol that a session needs.
    #[error("the server does not speak the session dialect ({wanted})")]
    Dialect {
        /// The subprotocol that was asked for.
        wanted: &'static str,
    },
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Io(Arc::new(error))
    }
}

/// An open WebSocket, before its state machine.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) dialed: Dialed,
    /// A buffer to read into; `unread_bytes` at its front came behind the handshake.
    pub(crate) scratch: Box<[u8]>,
    pub(crate) unread_bytes: usize,
}

pub(crate) async fn open(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<Opened, ConnectError> {
    let dial = Dial::new(&endpoint.authority, &endpoint.target, random_bytes()?, &options.dial)?;
    let after = options.connect_timeout;
    let opening = async { shake_hands(open_stream(endpoint, &options.tls).await?, &dial).await };
    timeout(after, opening).await.map_err(|_| ConnectError::TimedOut { after })?
}

async fn open_stream(endpoint: &Endpoint, tls: &Tls) -> Result<Stream, ConnectError> {
    let tcp = open_tcp(endpoint).await?;
    if !endpoint.is_tls {
        return Ok(Stream::plain(tcp));
    }
    let begun = tls.begin(tcp, &endpoint.host).await;
    begun.map_err(|error| ConnectError::Tls { host: endpoint.host.clone(), error })
}

/// Tries every address of the host, each a little after the one before it, and takes the first
/// that accepts (RFC 8305 §5): one dead address must not use up the whole timeout.
async fn open_tcp(endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let unresolved =
        |error| ConnectError::Resolve { host: endpoint.host.clone(), error: Arc::new(error) };
    let mut addresses = found.map_err(unresolved)?;
    let mut attempts = JoinSet::new();
    let mut failure = unresolved(io::ErrorKind::NotFound.into());
    let mut is_exhausted = false;
    loop {
        match addresses.next() {
            Some(address) => {
                attempts.spawn(async move { (address, connect_to(address).await) });
            }
            None => is_exhausted = true,
        }
        tokio::select! {
            outcome = attempts.join_next() => match outcome {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => {
                    failure = ConnectError::Tcp { address, error: Arc::new(error) };
                }
                Some(Err(error)) => failure = io::Error::from(error).into(),
                None => return Err(failure),
            },
            () = sleep(ATTEMPT_DELAY), if !is_exhausted => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // On a loopback without a listener, the system may pick the very port that is dialled as the
    // port to dial from, and TCP then connects the socket with itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // A request is one small message whose reply is awaited: never hold it back for more.
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(&stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    Ok(stream)
}

async fn shake_hands(mut stream: Stream, dial: &Dial) -> Result<Opened, ConnectError> {
    let mut request = dial.request();
    while !request.is_empty() {
        match stream.try_write_vectored(&[IoSlice::new(request)]) {
            Ok(count) => request = request.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.ready(Interest::WRITABLE).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    while stream.has_unsent() {
        stream.ready(Interest::WRITABLE).await?;
        stream.try_flush()?;
    }
    let limits = HeadLimits::default();
    let mut scratch = vec![0; SCRATCH_BYTES].into_boxed_slice();
    let mut filled = 0;
    let mut scan = HeadScan::default();
    loop {
        match stream.try_read(scratch.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Err(ConnectError::HandshakeEof),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.ready(Interest::READABLE).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        // The scratch buffer is larger than any head, so the scan ends before it is full.
        let Some(head_bytes) = scan.scan(scratch.get(..filled).unwrap_or_default(), &limits)?
        else {
            continue;
        };
        let head = ResponseHead::parse(scratch.get(..head_bytes).unwrap_or_default(), &limits)?;
        let dialed = dial.finish(&head)?;
        scratch.copy_within(head_bytes..filled, 0);
        return Ok(Opened { stream, dialed, scratch, unread_bytes: filled - head_bytes });
    }
}
