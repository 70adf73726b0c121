//! A server of few words for the tests: it accepts, says what the test says, and can be rude.
//!
//! It speaks raw frames on its socket and shares no state machine with the client.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_wire::command::CommandMessage;
use mainstay_wire::frame::{Compression, FrameHead, Opcode, encode_frame};
use mainstay_wire::handshake::{
    AcceptOptions, DeflateSupport, HeadLimits, HeadScan, RequestHead, UpgradeRequest, accept,
};
use mainstay_wire::mask::apply_mask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub(crate) struct Server {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// The head of the request that opened this connection.
    pub(crate) request: String,
    bytes: Vec<u8>,
}

pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    pub(crate) compression: Compression,
    pub(crate) payload: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Server { listener, address }
    }

    /// A server where another one was.
    pub(crate) async fn restart(address: SocketAddr) -> Server {
        Server { listener: TcpListener::bind(address).await.unwrap(), address }
    }

    /// Another server in the place of this one.
    pub(crate) async fn replace(server: Server) -> Server {
        let address = server.address;
        drop(server);
        Server::restart(address).await
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/server", self.address)
    }

    /// Accepts TCP and nothing more.
    pub(crate) async fn accept_tcp(&self) -> Peer {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        Peer { stream, request: String::new(), bytes: Vec::new() }
    }

    /// Accepts TCP and reads the request, without answering it.
    pub(crate) async fn accept_request(&self) -> Peer {
        let (mut stream, _) = within(self.listener.accept()).await.unwrap();
        let (limits, mut scan, mut bytes) =
            (HeadLimits::default(), HeadScan::default(), Vec::new());
        let head_bytes = loop {
            if let Some(head_bytes) = scan.scan(&bytes, &limits).unwrap() {
                break head_bytes;
            }
            assert!(within(stream.read_buf(&mut bytes)).await.unwrap() > 0, "a whole request");
        };
        let rest = bytes.split_off(head_bytes);
        Peer { stream, request: String::from_utf8(bytes).unwrap(), bytes: rest }
    }

    /// Accepts a connection and opens the WebSocket.
    pub(crate) async fn accept(&self) -> Peer {
        let mut peer = self.accept_request().await;
        let head = RequestHead::parse(peer.request.as_bytes(), &HeadLimits::default()).unwrap();
        let options = AcceptOptions { deflate: DeflateSupport::On, ..AcceptOptions::default() };
        let accepted = accept(UpgradeRequest::from(&head), &options).unwrap();
        peer.write(&accepted.response()).await;
        peer
    }

    /// Accepts a connection with a subprotocol.
    pub(crate) async fn accept_subprotocol(&self, name: &str) -> Peer {
        let mut peer = self.accept_request().await;
        let head = RequestHead::parse(peer.request.as_bytes(), &HeadLimits::default()).unwrap();
        let options =
            AcceptOptions { subprotocols: vec![name.to_owned()], ..AcceptOptions::default() };
        let accepted = accept(UpgradeRequest::from(&head), &options).unwrap();
        peer.write(&accepted.response()).await;
        peer
    }

    /// Answers one handshake with something else.
    pub(crate) async fn refuse(&self, answer: &str) {
        let mut peer = self.accept_request().await;
        peer.write(answer.as_bytes()).await;
    }
}

impl Peer {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(opcode, Compression::Plain, None, payload, &mut frame);
        self.write(&frame).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.send_frame(Opcode::Close, &code.to_be_bytes()).await;
    }

    pub(crate) async fn reply(&mut self, request_id: i64, payload: &str) {
        let mut json = Vec::new();
        let message = CommandMessage {
            request_id,
            command: "".into(),
            some_other_thing: payload.into(),
            success: true,
        };
        message.write(&mut json);
        self.send_frame(Opcode::Text, &json).await;
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            let parsed =
                FrameHead::parse(&self.bytes, mainstay_wire::Role::Client, Compression::Deflate);
            if let Some((head, head_bytes)) = parsed.unwrap() {
                let end = head_bytes + head.payload_bytes as usize;
                if self.bytes.len() >= end {
                    let rest = self.bytes.split_off(end);
                    let mut payload = self.bytes.split_off(head_bytes);
                    self.bytes = rest;
                    apply_mask(&mut payload, head.mask.expect("a client masks"), 0);
                    return Some(Frame {
                        opcode: head.opcode,
                        compression: head.compression,
                        payload,
                    });
                }
            }
            match within(self.stream.read_buf(&mut self.bytes)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next request: number and command.
    pub(crate) async fn command(&mut self) -> (i64, String) {
        let frame = self.frame().await.expect("a request");
        assert_eq!(frame.opcode, Opcode::Text);
        let message = CommandMessage::parse(&frame.payload).unwrap();
        (message.request_id, message.command.into_owned())
    }

    /// The code of the next frame, which is a Close frame.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        let frame = self.frame().await.expect("a Close frame");
        assert_eq!(frame.opcode, Opcode::Close);
        frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))
    }

    /// Cuts the connection with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// Nothing in these tests takes long; what does is broken.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("this takes too long")
}
