//! Plain HTTP beside the WebSocket endpoint.

use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// An answer's body, whatever the service behind it makes of it.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers the requests that are not for the WebSocket endpoint.
#[derive(Clone)]
pub(crate) struct HttpService {
    service: BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>,
    stall_timeout: Duration,
}

impl HttpService {
    pub(crate) fn new<S, B>(service: S, stall_timeout: Duration) -> HttpService
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service.map_response(|response: Response<B>| {
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        });
        HttpService { service: BoxCloneSyncService::new(service), stall_timeout }
    }

    /// Answers one request, whose first bytes have been read already, and closes.
    ///
    /// One request is all that a connection gets here: its head has passed the same strict parser as
    /// a handshake's, and a second one would not. Whatever is smuggled behind the first is never
    /// looked at.
    pub(crate) async fn serve(
        &self,
        stream: std::net::TcpStream,
        read_ahead: Bytes,
    ) -> Result<(), BoxError> {
        let stream = TcpStream::from_std(stream)?;
        let (reading, writing) = stream.into_split();
        let stream = join(Cursor::new(read_ahead).chain(reading), writing);
        let mut stream = TimeoutStream::new(stream);
        // Only writing: while a long answer is under way hyper also waits for the client to speak
        // or leave, and it need do neither.
        stream.set_write_timeout(Some(self.stall_timeout));
        hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(self.stall_timeout)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(self.service.clone()),
            )
            .await?;
        Ok(())
    }
}
