//! One connection through the proxy, from accept to its end.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::duplicate::Opening;
use crate::event::{Ending, Event, Stats};
use crate::faults::{Cut, Direction, EachWay, Faults};
use crate::limits::{CONNECT_TIMEOUT, FIN_TIMEOUT, SLOW_RECEIVE_BUFFER_BYTES};
use crate::plan::Reception;
use crate::pump::{Pump, PumpEnd};
use crate::shared::{Control, Shared};

/// What both directions of a connection have in common.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: u64,
    /// The number of the last cut of all when the connection was accepted.
    pub(crate) cut_number: u64,
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    bytes: EachWay<u64>,
    stall: Stalling,
    /// How often the faults had been set when the stall could begin.
    generation: u32,
}

/// A connection stalls once for each time the faults are set.
#[derive(Clone, Copy, Default)]
enum Stalling {
    #[default]
    NotYet,
    Until(Instant),
}

/// Takes a connection through its life. `cut_number` is that of the last cut of all before it was
/// accepted.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: TcpStream,
    peer: SocketAddr,
    connection: u64,
    cut_number: u64,
) {
    let control = shared.control.subscribe();
    let (now, current) = (Instant::now(), control.borrow().clone());
    let reception = Reception::draw(shared.source(connection, &current), &current.faults);
    shared.stats().accepted += 1;
    if reception.is_refused || current.refuses(now) {
        reset(client);
        shared.stats().refused += 1;
        shared.tell(&Event::Refused { connection, peer });
        return;
    }
    shared.tell(&Event::Accepted { connection, peer });
    let server = match connect(&shared.target, &current.faults).await {
        Ok(server) => server,
        Err(error) => {
            shared.stats().unreachable += 1;
            shared.tell(&Event::Unreachable { connection, error: error.to_string() });
            return;
        }
    };
    // Chunks are to leave as they came. It fails only if the peer is gone, which is noticed below.
    let _ = client.set_nodelay(true);
    shared.stats().open += 1;
    let link = Link { shared, connection, cut_number, state: Mutex::default() };
    let opening = reception.is_duplicated.then(Opening::default);
    link.hold(client, server, control, opening).await;
    link.shared.stats().open -= 1;
}

impl Link {
    async fn hold(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        mut control: watch::Receiver<Control>,
        opening: Option<Opening>,
    ) {
        let end = self.pass(&mut client, &mut server, &control, opening).await;
        let bytes = self.bytes();
        let closed = |ending| Event::Closed { connection: self.connection, ending, bytes };
        match end {
            PumpEnd::Finished => self.shared.tell(&closed(Ending::Fin)),
            PumpEnd::Reset => {
                reset(client);
                reset(server);
                self.shared.tell(&closed(Ending::Reset));
            }
            PumpEnd::Cut { cut: Cut::Rst, .. } => {
                reset(client);
                reset(server);
                self.note_cut(Cut::Rst, bytes, |stats| &mut stats.cuts_rst);
            }
            PumpEnd::Cut { cut: Cut::Fin, .. } => {
                // A peer that is gone needs no end.
                let _ = (client.shutdown().await, server.shutdown().await);
                self.note_cut(Cut::Fin, bytes, |stats| &mut stats.cuts_fin);
                // Closing a socket with unread bytes would be a reset, so what still comes is read.
                let gone = async { tokio::join!(swallow(&mut client), swallow(&mut server)) };
                let _ = timeout(FIN_TIMEOUT, gone).await;
            }
            PumpEnd::Cut { cut: cut @ Cut::HalfOpen(lasting), number } => {
                self.note_cut(cut, bytes, |stats| &mut stats.cuts_half_open);
                tokio::select! {
                    () = sleep(lasting) => {}
                    () = cut_again(&mut control, number) => {}
                    () = swallow_for_ever(&mut client) => {}
                    () = swallow_for_ever(&mut server) => {}
                }
                reset(client);
                reset(server);
                self.shared.tell(&closed(Ending::HalfOpenOver));
            }
        }
    }

    /// Passes bytes both ways until something ends it.
    async fn pass(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        control: &watch::Receiver<Control>,
        opening: Option<Opening>,
    ) -> PumpEnd {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let current = control.borrow().clone();
        self.end_stall(current.generation);
        let up = Pump::new(self, Direction::Up, &current, opening);
        let down = Pump::new(self, Direction::Down, &current, None);
        let up = up.run(control.clone(), &mut from_client, &mut to_server);
        let down = down.run(control.clone(), &mut from_server, &mut to_client);
        tokio::pin!(up, down);
        let mut open = EachWay::both(true);
        while open.up || open.down {
            let end = tokio::select! {
                biased;
                end = &mut up, if open.up => { open.up = false; end }
                end = &mut down, if open.down => { open.down = false; end }
            };
            if end != PumpEnd::Finished {
                return end;
            }
        }
        PumpEnd::Finished
    }

    /// The bytes that have passed.
    fn bytes(&self) -> EachWay<u64> {
        self.with_state(|state| state.bytes)
    }

    /// Counts bytes that have passed.
    pub(crate) fn note_passed(&self, direction: Direction, count: usize) {
        let add = |bytes: &mut EachWay<u64>| match direction {
            Direction::Up => bytes.up += count as u64,
            Direction::Down => bytes.down += count as u64,
        };
        self.with_state(|state| add(&mut state.bytes));
        add(&mut self.shared.stats().bytes);
    }

    /// Nothing passes for a while, in either direction; only the first time.
    pub(crate) fn stall(&self, direction: Direction, bytes: u64, lasting: Duration) {
        let now = Instant::now();
        let is_first = self.with_state(|state| {
            let is_first = matches!(state.stall, Stalling::NotYet);
            if is_first {
                state.stall = Stalling::Until(now.checked_add(lasting).unwrap_or(now));
            }
            is_first
        });
        if is_first {
            self.shared.stats().stalls += 1;
            let connection = self.connection;
            self.shared.tell(&Event::Stalled { connection, direction, bytes, lasting });
        }
    }

    /// Nothing passes in the connection before this.
    pub(crate) fn stalled_until(&self) -> Option<Instant> {
        self.with_state(|state| match state.stall {
            Stalling::NotYet => None,
            Stalling::Until(until) => Some(until),
        })
    }

    /// Faults were set: what the former ones stalled goes on.
    pub(crate) fn end_stall(&self, generation: u32) {
        self.with_state(|state| {
            // Both directions say so, and the second must not end what the first has begun anew.
            if state.generation != generation {
                state.generation = generation;
                state.stall = Stalling::NotYet;
            }
        });
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut LinkState) -> T) -> T {
        // Nothing that holds it can panic.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_cut(&self, cut: Cut, bytes: EachWay<u64>, counter: fn(&mut Stats) -> &mut u64) {
        *counter(&mut self.shared.stats()) += 1;
        self.shared.tell(&Event::Cut { connection: self.connection, cut, bytes });
    }
}

/// Waits for a cut of all after this one.
async fn cut_again(control: &mut watch::Receiver<Control>, number: u64) {
    // Without its sender there are no more cuts, and the thread is about to end.
    if control.wait_for(|control| control.cut.0 > number).await.is_err() {
        pending::<()>().await;
    }
}

async fn connect(target: &str, faults: &Faults) -> io::Result<TcpStream> {
    let connect = async {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(target).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if faults.slow_drain.is_some() {
                socket.set_recv_buffer_size(SLOW_RECEIVE_BUFFER_BYTES)?;
            }
            match socket.connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    };
    let too_long = || {
        let problem = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, problem)
    };
    timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| too_long())?
}

/// Closes with a reset. What was not sent yet is thrown away.
fn reset(stream: TcpStream) {
    // It fails only on a socket that has been reset already.
    let _ = stream.set_zero_linger();
}

/// Reads and forgets until there is no more.
async fn swallow(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

async fn swallow_for_ever(stream: &mut TcpStream) {
    swallow(stream).await;
    pending::<()>().await;
}
