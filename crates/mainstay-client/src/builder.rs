//! A client's options.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::client::Shared;
use crate::driver::{Driver, FirstConnect};
use crate::endpoint::Endpoint;
use crate::inbox::Inbox;
use crate::limits::{QUEUE_COUNT_MAX, REQUEST_BYTES_MAX, REQUEST_COUNT_MAX, REQUEST_TIMEOUT};
use crate::seed::random_bytes;
use crate::state::Course;
use crate::{
    Client, ClosedCause, ConnectError, ConnectOptions, DeflateSupport, Limits, Reconnect,
    ReconnectPolicy, State, Timing, Tls,
};

/// The options of a [`Client`]. Every default is safe to keep.
#[derive(Clone, Debug)]
#[must_use = "nothing is connected before `connect`"]
pub struct Builder {
    url: String,
    options: ConnectOptions,
    request_timeout: Option<Duration>,
    request_bytes_max: usize,
    policy: ReconnectPolicy,
    first_connect: FirstConnect,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            options: ConnectOptions::default(),
            request_timeout: Some(REQUEST_TIMEOUT),
            request_bytes_max: REQUEST_BYTES_MAX,
            policy: ReconnectPolicy::default(),
            first_connect: FirstConnect::FailFast,
        }
    }

    /// A ping is sent after this long without sending anything; `None` sends none, and then a
    /// server that vanished is noticed only when something is sent. Default 25 s: two fit into the
    /// 60 s after which common proxies cut an idle connection.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Builder {
        self.options.timing.ping_interval = interval;
        self
    }

    /// Any byte must arrive within this time of a ping. Default 10 s.
    pub fn pong_timeout(mut self, timeout: Duration) -> Builder {
        self.options.timing.pong_timeout = timeout;
        self
    }

    /// All timeouts of an open connection at once, the two of the heartbeat included.
    pub fn timing(mut self, timing: Timing) -> Builder {
        self.options.timing = timing;
        self
    }

    /// The sizes and counts that one connection may reach. Default: see [`ConnectOptions::limits`].
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.options.limits = limits;
        self
    }

    /// The time for one attempt to connect, from the resolver to the end of the handshake. Default
    /// 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.options.connect_timeout = timeout;
        self
    }

    /// Whom to trust, if the URL is `wss://`. Default: whom the system trusts.
    pub fn tls(mut self, tls: Tls) -> Builder {
        self.options.tls = tls;
        self
    }

    /// How long a request waits for its reply; `None`: as long as the connection lives. Default
    /// 30 s. Room in the table of requests is waited for within the same time.
    pub fn request_timeout(mut self, timeout: Option<Duration>) -> Builder {
        self.request_timeout = timeout;
        self
    }

    /// Bytes of one request's JSON text. Default 64 KiB, what a server accepts by default: a longer
    /// one would end the connection and leave every other request in doubt. Raise it with the
    /// server's limit only.
    pub fn request_bytes_max(mut self, bytes_max: usize) -> Builder {
        self.request_bytes_max = bytes_max;
        self
    }

    /// One more header of the handshake request, such as `Authorization`.
    pub fn header(mut self, name: &str, value: &str) -> Builder {
        self.options.dial.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The origin to state. Programs need none; default: none.
    pub fn origin(mut self, origin: &str) -> Builder {
        self.options.dial.origin = Some(origin.to_owned());
        self
    }

    /// Offers permessage-deflate. Default: off, since it costs CPU for every larger message.
    pub fn compress(mut self) -> Builder {
        self.options.dial.deflate = DeflateSupport::On;
        self
    }

    /// When to dial again. Default: see [`ReconnectPolicy`].
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Builder {
        self.policy = policy;
        self
    }

    /// The first connection is dialled again and again like every later one, and
    /// [`connect`](Builder::connect) waits for it, for ever if need be: bound it with a timeout.
    /// By default the first failure is an error, since a wrong address never gets better.
    pub fn retry_first_connect(mut self) -> Builder {
        self.first_connect = FirstConnect::Retry;
        self
    }

    /// Connects. Dropping the future gives up.
    ///
    /// # Errors
    /// The URL or an option is wrong, or the connection could not be made.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let endpoint = Endpoint::parse(&self.url)?;
        let (queue, requests) = mpsc::channel(QUEUE_COUNT_MAX);
        let (close, close_asked) = watch::channel(false);
        let inbox = Arc::new(Inbox::default());
        let course = Arc::new(Course::new(State::Connecting { attempt: 0 }));
        let permits = Arc::new(Semaphore::new(REQUEST_COUNT_MAX));
        let driver = Driver {
            target: Arc::new((endpoint, self.options)),
            reconnect: Reconnect::new(self.policy, random_bytes()?),
            first_connect: self.first_connect,
            requests,
            close_asked,
            permits: Arc::clone(&permits),
            inbox: Arc::clone(&inbox),
            course: Arc::clone(&course),
        };
        tokio::spawn(driver.run());
        let client = Client::new(Shared {
            queue,
            permits,
            inbox,
            course,
            close,
            request_timeout: self.request_timeout,
            request_bytes_max: self.request_bytes_max,
            last_request_id: AtomicI64::new(0),
        });
        let mut states = client.states();
        while let Some(state) = states.recv().await {
            match state {
                State::Open => break,
                State::Closed { cause: ClosedCause::Refused(error) } => {
                    return Err(Arc::unwrap_or_clone(error));
                }
                // One that opened and was lost again meanwhile is the states' matter.
                _ => {}
            }
        }
        Ok(client)
    }
}
