//! A client and its server with TLS between them.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]
#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod peer;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_client::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use mainstay_client::rustls::{ServerConfig, crypto::ring};
use mainstay_client::{
    Client, ConnectError, ConnectOptions, EndReason, Session, Socket, State, Tls, TlsError,
};
use peer::{Server, within};
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What ends TLS before a server, as a proxy does.
struct Front {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    /// The certificate that is to be trusted.
    pem: String,
}

/// A connection through it.
struct Passage {
    /// Ends when the client has said farewell, or with what it did instead.
    up: JoinHandle<std::io::Result<()>>,
    down: JoinHandle<()>,
}

impl Front {
    /// For the server with this name in its certificate.
    async fn start(name: &str) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Its own authority, and not another test's.
        parameters.distinguished_name.push(DnType::CommonName, address.to_string());
        let certificate = parameters.self_signed(&key).unwrap();
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Front { listener, address, acceptor, pem: certificate.pem() }
    }

    fn url(&self) -> String {
        format!("wss://localhost:{}/server", self.address.port())
    }

    fn trust(&self) -> Tls {
        Tls::trusting(self.pem.as_bytes()).unwrap()
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (tcp, _) = within(self.listener.accept()).await?;
        within(self.acceptor.accept(tcp)).await
    }

    /// Passes on one connection.
    async fn pass(&self, to: &Server) -> Passage {
        let tls = self.accept().await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let tcp = TcpStream::connect(to.address).await.unwrap();
        let (from_client, to_client) = split(tls);
        let (from_server, to_server) = tcp.into_split();
        Passage {
            up: tokio::spawn(up(from_client, to_server)),
            down: tokio::spawn(down(from_server, to_client)),
        }
    }
}

async fn up(
    mut from: ReadHalf<TlsStream<TcpStream>>,
    mut to: impl AsyncWriteExt + Unpin,
) -> std::io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn down(mut from: impl AsyncReadExt + Unpin, mut to: WriteHalf<TlsStream<TcpStream>>) {
    // The client may be gone before all of it has been passed on.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

#[tokio::test]
async fn requests_replies_and_the_end_pass_through_tls() {
    let (front, server) = (Front::start("localhost").await, Server::start().await);
    let connecting = Client::builder(&front.url()).tls(front.trust()).connect();
    let serving = async { tokio::join!(front.pass(&server), server.accept()) };
    let (client, (passage, mut peer)) = tokio::join!(within(connecting), serving);
    let client = client.unwrap();
    // Larger than a record, and than the system's buffers take at once.
    let long = "x".repeat(60_000);
    let asking: Vec<_> = (0..100).map(|_| tokio::spawn(client.request("long", &long))).collect();
    for _ in 0..100 {
        let (number, _) = peer.command().await;
        peer.reply(number, &long).await;
    }
    for asking in asking {
        assert_eq!(within(asking).await.unwrap().unwrap().payload, long);
    }
    let serving = async {
        assert_eq!(peer.close_code().await, Some(1000));
        peer.close(1000).await;
        drop(peer);
    };
    tokio::join!(within(client.close()), serving);
    within(passage.down).await.unwrap();
    within(passage.up).await.unwrap().expect("a farewell to TLS as well");
}

#[tokio::test]
async fn what_is_flushed_has_left_tls() {
    let front = Front::start("localhost").await;
    let server = Server::start().await;
    let options = ConnectOptions { tls: front.trust(), ..ConnectOptions::default() };
    let url = front.url();
    let serving = async { tokio::join!(front.pass(&server), server.accept()) };
    let (socket, (passage, mut peer)) =
        tokio::join!(within(Socket::connect(&url, &options)), serving);
    let mut socket = socket.unwrap();
    let text = "y".repeat(10_000);
    // Until the system takes no more, for the other side does not read.
    let mut flushed_count = 0;
    loop {
        socket.send_text(&text);
        tokio::select! {
            biased;
            () = socket.flush() => flushed_count += 1,
            () = yield_now() => break,
        }
        yield_now().await;
    }
    // Nothing drives the socket meanwhile.
    for _ in 0..flushed_count {
        assert_eq!(peer.frame().await.expect("a message").payload.len(), text.len());
    }
    let (frame, ()) = tokio::join!(peer.frame(), within(socket.flush()));
    assert_eq!(frame.expect("the last message").payload.len(), text.len());
    drop(passage);
}

#[tokio::test]
async fn a_connection_cut_without_a_farewell_is_made_again() {
    let (front, server) = (Front::start("localhost").await, Server::start().await);
    let connecting = Client::builder(&front.url()).tls(front.trust()).connect();
    let serving = async { tokio::join!(front.pass(&server), server.accept()) };
    let (client, (passage, peer)) = tokio::join!(within(connecting), serving);
    let client = client.unwrap();
    let mut states = client.states();
    passage.up.abort();
    passage.down.abort();
    drop(peer);
    let (_again, mut peer) = tokio::join!(front.pass(&server), server.accept());
    let mut lost = None;
    loop {
        match within(states.recv()).await.expect("a state") {
            State::Lost { end, .. } => lost = Some(end.reason),
            State::Open if lost.is_some() => break,
            _ => {}
        }
    }
    assert_eq!(lost, Some(EndReason::PeerEof));
    let asking = tokio::spawn(client.request("again", ""));
    let (number, _) = peer.command().await;
    peer.reply(number, "here").await;
    assert_eq!(within(asking).await.unwrap().unwrap().payload, "here");
}

#[tokio::test]
async fn who_is_not_trusted_hears_nothing() {
    let (front, other) = (Front::start("localhost").await, Front::start("localhost").await);
    let connecting = Client::builder(&front.url()).tls(other.trust()).connect();
    let (client, accepted) = tokio::join!(within(connecting), front.accept());
    let error = client.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls { error: TlsError::Handshake(_), .. }), "{error:?}");
    let message = "no TLS with localhost: nobody who is trusted has signed its certificate";
    assert_eq!(error.to_string(), message);
    assert_eq!(accepted.unwrap_err().kind(), ErrorKind::InvalidData, "an alert says why");

    let elsewhere = Front::start("elsewhere.example").await;
    let connecting = Session::builder(&elsewhere.url()).tls(elsewhere.trust()).connect();
    let (session, _) = tokio::join!(within(connecting), elsewhere.accept());
    let error = session.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_have_none() {
    let server = Server::start().await;
    let url = format!("wss://{}/server", server.address);
    let refusing = async {
        let listener = &server;
        let mut peer = listener.accept_tcp().await;
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer
    };
    let (client, _peer) = tokio::join!(within(Client::connect(&url)), refusing);
    let error = client.unwrap_err().to_string();
    assert_eq!(error, "no TLS with 127.0.0.1: what it answers is no TLS");
}

#[tokio::test]
async fn a_server_that_goes_away_during_the_handshake_is_an_error() {
    let server = Server::start().await;
    let url = format!("wss://{}/server", server.address);
    let leaving = async { drop(server.accept_tcp().await) };
    let (client, ()) = tokio::join!(within(Client::connect(&url)), leaving);
    let error = client.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls { error: TlsError::Io(_), .. }), "{error:?}");
}
