//! A server with tokio-tungstenite: one task for each connection on one thread, a read buffer of
//! 16 KiB instead of 128 (which is cleared before every read), and one flush for what one read brought.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use mainstay_peers::arguments::{ServerArguments, Work, listen, serve_waiting};
use mainstay_peers::command::answer;
use mainstay_peers::hub::Hub;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

fn main() -> ExitCode {
    serve_waiting(run)
}

async fn run(arguments: ServerArguments) -> io::Result<()> {
    let listener = TcpListener::from_std(listen(arguments.address)?)?;
    let hub = Arc::new(Hub::default());
    loop {
        let (stream, _) = listener.accept().await?;
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            // The end of a connection, whatever its reason, is nobody's concern here.
            let _ = converse(stream, arguments.work, &hub).await;
        });
    }
}

async fn converse(stream: TcpStream, work: Work, hub: &Hub<Message>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut is_subscriber = false;
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        is_subscriber = request.uri().query() == Some("channel=news");
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = accept_hdr_async_with_config(stream, look, Some(config)).await?;
    if work == Work::Fanout && is_subscriber {
        return subscribe(&mut socket, hub).await;
    }
    while let Some(batch) = read_batch(&mut socket).await? {
        match work {
            Work::Fanout => hub.publish(&batch.into()),
            Work::Echo => send(&mut socket, batch).await?,
            Work::Command => {
                let requests = batch.into_iter().map(Message::into_data);
                let replies = requests.filter_map(|request| answer(&request));
                send(&mut socket, replies.map(Message::from).collect()).await?;
            }
        }
    }
    Ok(())
}

async fn subscribe(socket: &mut Socket, hub: &Hub<Message>) -> Result<(), Error> {
    let mut batches = hub.subscribe();
    loop {
        tokio::select! {
            biased;
            batch = batches.recv() => {
                let Some(batch) = batch else { return Ok(()) };
                for message in &*batch {
                    socket.feed(message.clone()).await?;
                }
                while let Ok(batch) = batches.try_recv() {
                    for message in &*batch {
                        socket.feed(message.clone()).await?;
                    }
                }
                socket.flush().await?;
            }
            // Subscribers say nothing; pings are answered by the library.
            message = socket.next() => if message.transpose()?.is_none() { return Ok(()) },
        }
    }
}

/// Waits for a message, and takes along what can be read without waiting. `None` is the end.
async fn read_batch(socket: &mut Socket) -> Result<Option<Vec<Message>>, Error> {
    let mut batch = Vec::new();
    let mut next = socket.next().await;
    loop {
        match next.transpose()? {
            None => return Ok(None),
            Some(message @ (Message::Text(_) | Message::Binary(_))) => batch.push(message),
            Some(_) => {}
        }
        let is_full = batch.len() >= BATCH_COUNT_MAX;
        next = match if is_full { None } else { socket.next().now_or_never() } {
            Some(next) => next,
            None => return Ok(Some(batch)),
        };
    }
}

async fn send(socket: &mut Socket, messages: Vec<Message>) -> Result<(), Error> {
    for message in messages {
        socket.feed(message).await?;
    }
    socket.flush().await
}

type Socket = WebSocketStream<TcpStream>;

const READ_BUFFER_BYTES: usize = 16 * 1024;
const BATCH_COUNT_MAX: usize = 1024;
