//! Lost connections: noticed, explained, made again, and without haste.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "that is what a test is for")]

mod peer;

use std::fs;
use std::time::{Duration, Instant};

use mainstay_client::{
    Builder, Client, ClosedCause, EndReason, ReconnectPolicy, Socket, State, States, Timing,
};
use peer::{Peer, Server, within};

/// Waits as short as tests need them.
fn quick() -> ReconnectPolicy {
    ReconnectPolicy {
        delay_base: Duration::from_millis(20),
        delay_max: Duration::from_millis(80),
        server_close_window: Duration::from_millis(50),
        ..ReconnectPolicy::default()
    }
}

async fn connect(server: &Server, builder: Builder) -> (Client, Peer) {
    let (client, peer) = tokio::join!(builder.reconnect(quick()).connect(), server.accept());
    (client.unwrap(), peer)
}

async fn lost(states: &mut States) -> EndReason {
    loop {
        match within(states.recv()).await {
            Some(State::Lost { end, .. }) => return end.reason,
            Some(State::Open | State::Connecting { .. } | State::Failed { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn open(states: &mut States) {
    loop {
        match within(states.recv()).await {
            Some(State::Open) => return,
            Some(State::Closed { cause }) => panic!("{cause:?}"),
            _ => {}
        }
    }
}

/// The client is back: a request and its reply pass.
async fn assert_back(server: &Server, client: &Client, states: &mut States) {
    let mut peer = within(server.accept()).await;
    open(states).await;
    let asking = tokio::spawn(client.request("again", ""));
    let (number, _) = peer.command().await;
    peer.reply(number, "here").await;
    assert_eq!(within(asking).await.unwrap().unwrap().payload, "here");
}

#[tokio::test]
async fn it_comes_back_after_a_reset() {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    let mut states = client.states();
    peer.reset();
    assert_eq!(lost(&mut states).await, EndReason::PeerReset);
    assert_back(&server, &client, &mut states).await;
}

#[tokio::test]
async fn it_comes_back_after_eof_without_a_close_frame() {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    let mut states = client.states();
    drop(peer);
    assert_eq!(lost(&mut states).await, EndReason::PeerEof);
    assert_back(&server, &client, &mut states).await;
}

#[tokio::test]
async fn it_comes_back_after_the_server_went_away() {
    let server = Server::start().await;
    let (client, mut peer) = connect(&server, Client::builder(&server.url())).await;
    let mut states = client.states();
    peer.close(1001).await;
    assert_eq!(peer.close_code().await, Some(1001), "the code is echoed");
    drop(peer);
    assert_eq!(lost(&mut states).await, EndReason::PeerClosed);
    assert_back(&server, &client, &mut states).await;
}

#[tokio::test]
async fn it_comes_back_when_the_server_does() {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    let (mut states, address) = (client.states(), server.address);
    drop((server, peer));
    let mut failures = 0;
    while failures < 3 {
        match within(states.recv()).await {
            Some(State::Failed { attempt, .. }) => {
                failures += 1;
                assert_eq!(attempt, failures + 1, "the loss was the first");
            }
            Some(State::Closed { cause }) => panic!("{cause:?}"),
            _ => {}
        }
    }
    let server = Server::restart(address).await;
    assert_back(&server, &client, &mut states).await;
}

#[tokio::test]
async fn a_close_frame_is_believed_even_behind_a_failed_write() {
    let server = Server::start().await;
    let options = Default::default();
    let url = server.url();
    let (socket, peer) = tokio::join!(Socket::connect(&url, &options), server.accept());
    let (mut socket, mut peer) = (socket.unwrap(), peer);
    // Unread requests at the moment of closing: the server's kernel sends a reset after the frame.
    socket.send_text("never read");
    socket.flush().await;
    peer.close(1001).await;
    drop(peer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    socket.send_text("into the void");
    assert_eq!(within(socket.receive()).await, None);
    let end = socket.end().unwrap();
    assert_eq!((end.reason, end.code), (EndReason::PeerClosed, Some(1001)), "{end}");
}

#[tokio::test]
async fn a_code_that_says_stop_stops() {
    let server = Server::start().await;
    let (client, mut peer) = connect(&server, Client::builder(&server.url())).await;
    let mut states = client.states();
    peer.close(4200).await;
    drop(peer);
    loop {
        match within(states.recv()).await {
            Some(State::Closed { cause: ClosedCause::Server(end) }) => {
                assert_eq!(end.code, Some(4200));
                break;
            }
            Some(State::Open) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(within(states.recv()).await.is_none());
    within(client.close()).await;
}

#[tokio::test]
async fn a_wrong_path_found_out_later_stops_too() {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    let mut states = client.states();
    drop(peer);
    server.refuse("HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n").await;
    server.refuse("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let mut failures = 0;
    loop {
        match within(states.recv()).await {
            Some(State::Failed { .. }) => failures += 1,
            Some(State::Closed { cause: ClosedCause::Refused(_) }) => break,
            Some(State::Closed { cause }) => panic!("{cause:?}"),
            _ => {}
        }
    }
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn the_first_connection_is_retried_if_asked_for() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).retry_first_connect().reconnect(quick());
    let (client, _peer) = tokio::join!(within(builder.connect()), async {
        server.refuse("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
        server.accept().await
    });
    assert!(matches!(client.unwrap().state(), State::Open));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed() {
    let server = Server::start().await;
    let timing = Timing {
        ping_interval: Some(Duration::from_millis(50)),
        pong_timeout: Duration::from_millis(50),
        close_timeout: Duration::from_millis(50),
        ..Timing::default()
    };
    let (client, _silent) = connect(&server, Client::builder(&server.url()).timing(timing)).await;
    let mut states = client.states();
    assert_eq!(lost(&mut states).await, EndReason::PingTimeout);
    let began_at = Instant::now();
    assert_back(&server, &client, &mut states).await;
    assert!(began_at.elapsed() < Duration::from_secs(5));
}

/// A server that accepts and hangs up at once, for ever: neither the attempts nor the processor
/// time may run away.
#[tokio::test]
async fn eof_over_and_over_makes_no_haste() {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    drop(peer);
    let (began_at, busy_before) = (Instant::now(), thread_busy());
    let mut attempts = 0;
    while began_at.elapsed() < Duration::from_secs(2) {
        drop(within(server.accept()).await);
        attempts += 1;
    }
    let (elapsed, busy) = (began_at.elapsed(), thread_busy() - busy_before);
    // With an average wait of 40 ms, 50 attempts are expected.
    assert!((5..=100).contains(&attempts), "{attempts} attempts");
    assert!(busy < elapsed / 4, "busy for {busy:?} of {elapsed:?}");
    within(client.close()).await;
}

/// One side closed, the other side never finishing: nothing to do but wait.
#[tokio::test]
async fn waiting_for_the_end_costs_nothing() {
    let server = Server::start().await;
    let timing = Timing { close_timeout: Duration::from_secs(1), ..Timing::default() };
    let (client, mut peer) = connect(&server, Client::builder(&server.url()).timing(timing)).await;
    peer.close(1000).await;
    let mut states = client.states();
    let (began_at, busy_before) = (Instant::now(), thread_busy());
    assert_eq!(lost(&mut states).await, EndReason::PeerClosed);
    let (elapsed, busy) = (began_at.elapsed(), thread_busy() - busy_before);
    assert!(elapsed > Duration::from_millis(900), "the peer still holds its socket: {elapsed:?}");
    assert!(busy < elapsed / 4, "busy for {busy:?} of {elapsed:?}");
}

#[tokio::test]
async fn closing_interrupts_the_wait_and_the_attempt() {
    let server = Server::start().await;
    let slow = ReconnectPolicy { delay_base: Duration::from_secs(3600), ..quick() };
    let url = server.url();
    let (client, peer) =
        tokio::join!(Client::builder(&url).reconnect(slow).connect(), server.accept());
    let client = client.unwrap();
    let mut states = client.states();
    drop(peer);
    assert_eq!(lost(&mut states).await, EndReason::PeerEof);
    within(client.close()).await;

    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    drop(peer);
    let _handshaking = server.accept_request().await;
    within(client.close()).await;
}

/// Processor time of this thread, on which the whole test runs.
fn thread_busy() -> Duration {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = statistics.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}
