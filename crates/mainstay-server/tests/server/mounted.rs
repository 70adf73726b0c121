//! WebSockets inside an axum router.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::{any, get};
use mainstay_server::{EndReason, Server};
use tokio::runtime::Runtime;

use crate::support::{Client, handshake, read_to_end, wait_until};

#[test]
fn an_axum_router_hands_its_websockets_over() {
    let runtime = Runtime::new().expect("a runtime");
    let config = mainstay_server::Config {
        timing: mainstay_server::Timing {
            ping_interval: Some(Duration::from_millis(50)),
            ..Default::default()
        },
        handshake_timeout: Duration::from_millis(100),
        ..Default::default()
    };
    let server = runtime
        .block_on(Server::builder().config(config).without_listener().start())
        .expect("started");
    let upgrader = server.upgrader();
    let app: axum::Router = axum::Router::new()
        .route("/", get(|| async { "the application" }))
        .route("/live", any(move |request: Request| async move { upgrader.upgrade(request) }));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bound");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(async move { axum::serve(listener, app).await });

    let connect = || TcpStream::connect(address).expect("the router listens");
    let mut clients: Vec<Client> = (0..4)
        .map(|_| {
            let url = format!("ws://{address}/live?channel=news");
            let (socket, _) = tungstenite::client(url, connect()).expect("the handshake succeeds");
            Client { socket }
        })
        .collect();
    for client in &mut clients {
        for _ in 0..6 {
            assert!(client.socket.read().expect("a ping").is_ping());
            client.socket.flush().expect("the pong leaves");
        }
        client.check_alive(1);
    }
    server.hub().publish("news", "hello").expect("published");
    for client in &mut clients {
        assert_eq!(client.receive()["someOtherThing"], "hello");
    }
    drop(clients);
    wait_until("all to end", || server.connection_count() == 0);
    let gone = server.stats();
    assert_eq!(gone.ends_for(EndReason::PeerEof) + gone.ends_for(EndReason::PeerReset), 4);

    let mut stream = connect();
    let foreign = handshake("/live", "Origin: http://evil.example\r\n");
    stream.write_all(foreign.as_bytes()).expect("written");
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 403 "));
    let mut stream = connect();
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n").expect("written");
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 426 "));
}
