//! Serving a router on a listener.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// What a connection may take. The defaults are meant for a listener that few use.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// Connections at one time. Default 1,000; further ones wait in the system's queue.
    pub connection_count_max: usize,
    /// Time for a request's head, from the end of the answer before it on. Default 5 s.
    pub head_timeout: Duration,
    /// Time in which a client may take no byte of its answer. Default 30 s.
    pub stall_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            connection_count_max: 1_000,
            head_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves HTTP/1.1 until dropped. Bodies are limited by the routes that read them.
pub async fn serve(listener: TcpListener, app: Router, limits: ServeLimits) {
    let places = Arc::new(Semaphore::new(limits.connection_count_max));
    while let Ok(permit) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A peer that left again, or no more open files: the next one may fare better.
                tracing::debug!(%error, "cannot accept a connection of the API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (app, limits) = (app.clone(), limits.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_connection(stream, app, &limits).await {
                tracing::debug!(%error, "a connection of the API failed");
            }
            drop(permit);
        });
    }
}

async fn serve_connection(
    stream: TcpStream,
    app: Router,
    limits: &ServeLimits,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // An answer is one small write, and nobody should wait 40 ms for it.
    stream.set_nodelay(true)?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall_timeout));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(HEADER_COUNT_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(app))
        .await?;
    Ok(())
}

/// As on the public side.
const HEADER_COUNT_MAX: usize = 64;
/// Bounds the head of a request; bodies are read piece by piece.
const BUFFER_BYTES: usize = 16 * 1024;
/// No more than ten attempts a second while there are no more open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(limits: ServeLimits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, app, limits));
        address
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        // A reset is an end, too.
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn requests_are_answered_one_after_the_other() {
        let mut stream =
            TcpStream::connect(start(ServeLimits::default()).await).await.expect("connected");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        assert_eq!(read_all(&mut stream).await.matches("here").count(), 2);
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let head_timeout = Duration::from_millis(200);
        let address = start(ServeLimits { head_timeout, ..ServeLimits::default() }).await;
        let answered = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nHo", answered] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let began = Instant::now();
            stream.write_all(sent).await.expect("written");
            read_all(&mut stream).await;
            assert!(began.elapsed() >= head_timeout);
        }
    }

    #[tokio::test]
    async fn connections_are_bounded() {
        let limits = ServeLimits { connection_count_max: 1, ..ServeLimits::default() };
        let address = start(limits).await;
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("queued");
        second.write_all(request).await.expect("written");
        let waiting = tokio::time::timeout(Duration::from_millis(200), second.readable()).await;
        assert!(waiting.is_err(), "nobody has looked at it yet");
        first.write_all(request).await.expect("written");
        assert!(read_all(&mut first).await.contains("here"));
        assert!(read_all(&mut second).await.contains("here"));
    }
}
