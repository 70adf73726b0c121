//! A server with fastwebsockets behind hyper: one task for each connection on one thread, and one
//! write for each message, since the library gathers none.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mainstay_peers::arguments::{ServerArguments, Work, listen, serve_waiting};
use mainstay_peers::command::answer;
use mainstay_peers::hub::{Batch, Hub};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    serve_waiting(run)
}

async fn run(arguments: ServerArguments) -> io::Result<()> {
    let listener = TcpListener::from_std(listen(arguments.address)?)?;
    let hub = Arc::new(Hub::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            let service = service_fn(|request| open(request, arguments.work, Arc::clone(&hub)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // The end of a connection, whatever its reason, is nobody's concern here.
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn open(
    mut request: Request<Incoming>,
    work: Work,
    hub: Arc<Hub<Vec<u8>>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, opening) = upgrade(&mut request)?;
    let is_subscriber = request.uri().query() == Some("channel=news");
    tokio::spawn(async move {
        let _ = match work == Work::Fanout && is_subscriber {
            true => subscribe(opening, &hub).await,
            false => converse(opening, work, &hub).await,
        };
    });
    Ok(response)
}

async fn converse(
    opening: UpgradeFut,
    work: Work,
    hub: &Hub<Vec<u8>>,
) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(opening.await?);
    loop {
        let frame = socket.read_frame().await?;
        match (frame.opcode, work) {
            (OpCode::Text | OpCode::Binary, Work::Echo) => socket.write_frame(frame).await?,
            (OpCode::Text | OpCode::Binary, Work::Command) => {
                if let Some(reply) = answer(&frame.payload) {
                    let payload = Payload::Owned(reply.into_bytes());
                    socket.write_frame(Frame::text(payload)).await?;
                }
            }
            (OpCode::Text | OpCode::Binary, Work::Fanout) => {
                let batch: Batch<Vec<u8>> = Arc::new([frame.payload.to_vec()]);
                hub.publish(&batch);
            }
            (OpCode::Close, _) => return Ok(()),
            _ => {}
        }
    }
}

async fn subscribe(opening: UpgradeFut, hub: &Hub<Vec<u8>>) -> Result<(), WebSocketError> {
    let mut batches = hub.subscribe();
    let (read, mut write) = opening.await?.split(tokio::io::split);
    // Reading cannot be given up in the middle, so it has a task of its own. Subscribers say nothing
    // that would have to be answered.
    let reading = tokio::spawn(async move {
        let mut read = FragmentCollectorRead::new(read);
        let mut answer = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
        while let Ok(frame) = read.read_frame(&mut answer).await {
            if frame.opcode == OpCode::Close {
                break;
            }
        }
    });
    while let Some(batch) = batches.recv().await {
        for message in &*batch {
            write.write_frame(Frame::text(Payload::Borrowed(message))).await?;
        }
        if reading.is_finished() {
            break;
        }
    }
    Ok(())
}
