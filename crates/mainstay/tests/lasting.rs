//! Many connections that last, through a proxy that cuts what is idle.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_client::{Client, State};
use mainstay_server::{Config, EndReason, Server, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What the proxy takes for idle: several ping intervals, so that a busy machine is no excuse.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_outlast_a_proxy_that_cuts_what_is_idle() {
    let server = start(Some(PING_INTERVAL)).await;
    let proxy = start_proxy(server.addresses()[0]).await;
    let mut clients = JoinSet::new();
    for number in 0..1000 {
        clients.spawn(talk_now_and_then(proxy, number));
    }
    while let Some(outcome) = clients.join_next().await {
        outcome.unwrap();
    }
    let stats = server.stats();
    assert_eq!(stats.opened, 1000, "nobody had to come twice");
    assert_eq!(stats.commands, 3000);
    assert!(stats.ends.iter().all(|(reason, _)| *reason == EndReason::PeerClosed), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_heartbeats_the_same_proxy_cuts_them_all() {
    let server = start(None).await;
    let proxy = start_proxy(server.addresses()[0]).await;
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        clients.spawn(async move {
            let client = Client::builder(&url(proxy)).ping_interval(None).connect().await.unwrap();
            let mut states = client.states();
            while let Some(state) = states.recv().await {
                if matches!(state, State::Lost { .. }) {
                    return;
                }
            }
            panic!("the client closed instead of being cut");
        });
    }
    let all = async {
        while let Some(outcome) = clients.join_next().await {
            outcome.unwrap()
        }
    };
    timeout(IDLE_TIMEOUT * 5, all).await.unwrap();
}

/// Three commands with pauses of which some are longer than the proxy's patience.
async fn talk_now_and_then(proxy: SocketAddr, number: u64) {
    // The client's own pings are off: it is the server that keeps the connection alive.
    let client = Client::builder(&url(proxy)).ping_interval(None).connect().await.unwrap();
    let mut states = client.states();
    for count in 0..3 {
        let pause_ms = (number * 7919 + count * 104_729) % 4000;
        sleep(Duration::from_millis(pause_ms)).await;
        let command = format!("{number}.{count}");
        let reply = client.request(&command, "").await.unwrap();
        assert_eq!(reply.payload, format!("Server processed command: {command}"));
    }
    client.close().await;
    while let Some(state) = states.recv().await {
        assert!(!matches!(state, State::Lost { .. } | State::Failed { .. }), "{state:?}");
    }
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/server")
}

async fn start(ping_interval: Option<Duration>) -> Server {
    let config = Config {
        address: "127.0.0.1:0".to_owned(),
        timing: Timing { ping_interval, ..Timing::default() },
        connection_count_per_address_max: 2000,
        ..Config::default()
    };
    Server::builder().config(config).start().await.unwrap()
}

async fn start_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_until_idle(client, server));
        }
    });
    address
}

/// Both directions keep the connection; silence in both ends it.
async fn pass_until_idle(client: TcpStream, server: SocketAddr) {
    let server = TcpStream::connect(server).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        let moved = timeout(IDLE_TIMEOUT, async {
            tokio::select! {
                moved = pass(&mut from_client, &mut to_server, &mut up) => moved,
                moved = pass(&mut from_server, &mut to_client, &mut down) => moved,
            }
        });
        if !matches!(moved.await, Ok(true)) {
            return;
        }
    }
}

/// Passes one piece on; whether there was one.
async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, buffer: &mut [u8]) -> bool {
    match from.read(buffer).await {
        Ok(count @ 1..) => to.write_all(&buffer[..count]).await.is_ok(),
        _ => false,
    }
}
