//! Every fault, as the peers on both sides of real sockets see it.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_chaos::{
    Chaos, Config, Cut, Direction, EachWay, Ending, Event, Faults, Probability, Refuse, Stall,
};

#[test]
fn without_faults_bytes_and_ends_pass_both_ways() {
    let proxy = Proxy::start(Faults::default());
    let (mut client, mut server) = proxy.connect();
    let sent = bytes(300_000);
    pass(&mut client, &mut server, &sent);
    pass(&mut server, &mut client, &sent);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), (vec![], None), "half of the connection is closed");
    pass(&mut server, &mut client, b"and the other half is open");
    drop(server);
    assert_eq!(rest(&mut client), (vec![], None));
    let bytes = EachWay { up: 300_000, down: 300_026 };
    proxy.wait_for(Event::Closed { connection: 1, ending: Ending::Fin, bytes });
    let stats = proxy.chaos.stats();
    assert_eq!((stats.accepted, stats.cuts(), stats.bytes), (1, 0, bytes));
}

#[test]
fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let proxy = Proxy::start(Faults::default());
    let (mut client, mut server) = proxy.connect();
    pass(&mut server, &mut client, b"hello");
    // Closing a socket with unread bytes resets it.
    server.write_all(b"unread").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client);
    assert_eq!(rest(&mut server), (vec![], Some(ErrorKind::ConnectionReset)));
}

#[test]
fn a_cut_falls_on_the_very_byte() {
    for cut_with in [Cut::Rst, Cut::Fin] {
        for offset in [0, 1, 999, 16_384, 16_385, 50_000] {
            let cut_at = EachWay { up: Some(offset), down: None };
            let proxy = Proxy::start(Faults { cut_at, cut_with, ..Faults::default() });
            let (client, mut server) = proxy.connect();
            let sent = bytes(60_000);
            let sender = send(&client, sent.clone());
            let (received, error) = rest(&mut server);
            assert!(received == sent[..offset as usize], "{cut_with:?} {offset}");
            assert_eq!(error, error_of(cut_with), "the server sees {cut_with:?}");
            sender.join().unwrap();
            let bytes = EachWay { up: offset, down: 0 };
            proxy.wait_for(Event::Cut { connection: 1, cut: cut_with, bytes });
        }
    }
}

#[test]
fn a_cut_counts_each_direction_for_itself() {
    for cut_with in [Cut::Rst, Cut::Fin] {
        let cut_at = EachWay { up: None, down: Some(1234) };
        let proxy = Proxy::start(Faults { cut_at, cut_with, ..Faults::default() });
        let (mut client, mut server) = proxy.connect();
        pass(&mut client, &mut server, &bytes(10_000));
        server.write_all(&bytes(1300)).unwrap();
        assert_eq!(rest(&mut client), (bytes(1234), error_of(cut_with)));
        assert_eq!(rest(&mut server), (vec![], error_of(cut_with)), "both sides are cut");
        let bytes = EachWay { up: 10_000, down: 1234 };
        proxy.wait_for(Event::Cut { connection: 1, cut: cut_with, bytes });
    }
}

#[test]
fn the_same_seed_cuts_at_the_same_bytes() {
    let offsets = |seed| {
        let every = EachWay { up: Some(100..=10_000), down: None };
        let mut config = config(Faults { cut_every: every, ..Faults::default() });
        config.seed = seed;
        let proxy = Proxy::start_with(config);
        let offset = |_| {
            let (client, mut server) = proxy.connect();
            let sender = send(&client, bytes(10_001));
            let (received, _) = rest(&mut server);
            sender.join().unwrap();
            received.len()
        };
        (0..10).map(offset).collect::<Vec<usize>>()
    };
    let first = offsets(7);
    assert!(first.iter().all(|offset| (100..=10_000).contains(offset)), "{first:?}");
    assert_eq!(first, offsets(7));
    assert_ne!(first, offsets(8));
}

#[test]
fn a_chunk_may_be_the_last_one() {
    let cut_rate = Probability::ALWAYS;
    let proxy = Proxy::start(Faults { cut_rate, ..Faults::default() });
    let lengths = (0..20).map(|_| {
        let (mut client, mut server) = proxy.connect();
        client.write_all(&bytes(100)).unwrap();
        let (received, error) = rest(&mut server);
        assert_eq!((&received, error), (&bytes(received.len()), error_of(Cut::Rst)));
        received.len()
    });
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.dedup();
    assert!(lengths.len() > 10 && lengths.iter().all(|length| *length <= 100), "{lengths:?}");
}

#[test]
fn half_open_is_silence_and_no_end() {
    let silence = Duration::from_millis(1500);
    let cut_with = Cut::HalfOpen(silence);
    let cut_at = EachWay { up: Some(5), down: None };
    let proxy = Proxy::start(Faults { cut_at, cut_with, ..Faults::default() });
    let (mut client, mut server) = proxy.connect();
    let began_at = Instant::now();
    client.write_all(b"hello, world").unwrap();
    let mut received = [0; 5];
    server.read_exact(&mut received).unwrap();
    let bytes = EachWay { up: 5, down: 0 };
    proxy.wait_for(Event::Cut { connection: 1, cut: cut_with, bytes });
    // Both sides can send without an error and more than buffers hold, and neither hears anything.
    let flood = vec![0; FLOOD_BYTES];
    for stream in [&mut client, &mut server] {
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&flood).unwrap();
    }
    for stream in [&mut client, &mut server] {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(proxy.chaos.stats().open, 1);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    for stream in [&mut client, &mut server] {
        assert_eq!(rest(stream), (vec![], error_of(Cut::Rst)));
    }
    assert!(began_at.elapsed() >= silence, "not before its time");
    let ending = Ending::HalfOpenOver;
    proxy.wait_for(Event::Closed { connection: 1, ending, bytes });
}

#[test]
fn delay_keeps_bytes_and_order_and_is_no_brake() {
    let delay = Duration::from_millis(60)..=Duration::from_millis(120);
    let proxy = Proxy::start(Faults { delay: Some(delay), ..Faults::default() });
    let (client, mut server) = proxy.connect();
    let began_at = Instant::now();
    let chunk_count = 50;
    let sent = bytes(chunk_count * 100);
    let chunks = sent.clone();
    let mut sender = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        for chunk in chunks.chunks(100) {
            sender.write_all(chunk).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
    });
    let mut received = vec![0; sent.len()];
    server.read_exact(&mut received[..1]).unwrap();
    assert!(began_at.elapsed() >= Duration::from_millis(60), "{:?}", began_at.elapsed());
    server.read_exact(&mut received[1..]).unwrap();
    assert!(received == sent);
    sender.join().unwrap();
    // A reader that waited for each chunk to leave would pass 16 KiB in each delay: 10 s at least.
    let (mut client, began_at) = (client, Instant::now());
    pass(&mut client, &mut server, &bytes(3_000_000));
    assert!(began_at.elapsed() < Duration::from_secs(5), "{:?}", began_at.elapsed());
    // An end is delayed like bytes, and does not overtake them.
    let ended_at = Instant::now();
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), (b"last".to_vec(), None));
    assert!(ended_at.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_stall_begins_at_its_byte_and_loses_nothing() {
    let stall = Stall { after_bytes: 1000, lasting: Duration::from_millis(400) };
    let proxy = Proxy::start(Faults { stall: Some(stall), ..Faults::default() });
    let (mut client, mut server) = proxy.connect();
    let sent = bytes(5000);
    client.write_all(&sent).unwrap();
    let mut received = vec![0; 5000];
    server.read_exact(&mut received[..1000]).unwrap();
    let (direction, lasting) = (Direction::Up, stall.lasting);
    proxy.wait_for(Event::Stalled { connection: 1, direction, bytes: 1000, lasting });
    let began_at = Instant::now();
    // The other direction stalls with it.
    server.write_all(b"reply").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let lasted = began_at.elapsed();
    assert!(lasted >= Duration::from_millis(300), "{lasted:?}");
    server.read_exact(&mut received[1000..]).unwrap();
    assert!(received == sent);
    // Once in a connection.
    pass(&mut client, &mut server, &sent);
    assert_eq!(proxy.chaos.stats().stalls, 1);
}

#[test]
fn all_stall_until_it_is_over_or_cleared() {
    let proxy = Proxy::start(Faults::default());
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, b"before");
    let began_at = Instant::now();
    proxy.chaos.stall_all(Duration::from_millis(300));
    pass(&mut client, &mut server, b"after");
    assert!(began_at.elapsed() >= Duration::from_millis(300));

    proxy.chaos.stall_all(Duration::from_secs(3600));
    let (mut newcomer, mut server_of_newcomer) = proxy.connect();
    newcomer.write_all(b"me too").unwrap();
    client.write_all(b"me").unwrap();
    for stream in [&mut server, &mut server_of_newcomer] {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    proxy.chaos.clear();
    server.read_exact(&mut [0; 2]).unwrap();
    server_of_newcomer.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn a_slow_drain_blocks_the_writes_of_the_server() {
    for (slow_drain, is_blocked) in [(Some(20_000), true), (None, false)] {
        let proxy = Proxy::start(Faults { slow_drain, ..Faults::default() });
        let (mut client, server) = proxy.connect();
        let reader = thread::spawn(move || rest(&mut client).0.len());
        assert_eq!(flood(&server) < FLOOD_BYTES, is_blocked, "{slow_drain:?}");
        if is_blocked {
            let passed = proxy.chaos.stats().bytes.down;
            assert!((1..200_000).contains(&passed), "{passed}");
        }
        proxy.chaos.cut_all(Cut::Rst);
        reader.join().unwrap();
    }
}

/// Writes until all is written or nearly nothing went for a while; how much went.
fn flood(mut stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let chunk = [0; 64 * 1024];
    let (mut written, mut blocked_count) = (0, 0);
    while written < FLOOD_BYTES && blocked_count < 100 {
        match stream.write(&chunk) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked_count += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    written
}

#[test]
fn who_is_refused_is_reset_at_once() {
    let proxy = Proxy::start(Faults::default());
    let refused = |proxy: &Proxy| {
        let mut client = TcpStream::connect(proxy.chaos.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(rest(&mut client), (vec![], error_of(Cut::Rst)));
    };
    let (mut client, mut server) = proxy.connect();
    proxy.chaos.refuse(Refuse::Everybody);
    refused(&proxy);
    refused(&proxy);
    pass(&mut client, &mut server, b"only new ones are refused");
    proxy.chaos.refuse(Refuse::Nobody);
    proxy.connect();

    let began_at = Instant::now();
    let lasting = Duration::from_millis(300);
    proxy.chaos.refuse(Refuse::EverybodyFor(lasting));
    refused(&proxy);
    thread::sleep(lasting.saturating_sub(began_at.elapsed()));
    proxy.connect();
    assert_eq!(proxy.chaos.stats().refused, 3);

    let refuse_rate = Probability::ALWAYS;
    refused(&Proxy::start(Faults { refuse_rate, ..Faults::default() }));
}

#[test]
fn an_opening_is_said_again_by_a_second_connection() {
    let (duplicate_rate, duplicate_for) = (Probability::ALWAYS, Duration::from_millis(300));
    let proxy = Proxy::start(Faults { duplicate_rate, duplicate_for, ..Faults::default() });
    let (mut client, mut server) = proxy.connect();
    let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(head).unwrap();
    client.write_all(b"and what follows").unwrap();
    let mut again = proxy.accept();
    let began_at = Instant::now();
    assert_eq!(rest(&mut again), (head.to_vec(), None), "the head and no more");
    assert!(began_at.elapsed() >= Duration::from_millis(200), "it stays for a while");
    server.read_exact(&mut [0; 27 + 16]).unwrap();
    pass(&mut server, &mut client, b"the first goes on");
    proxy.wait_for(Event::Duplicated { connection: 1, bytes: 27 });
}

#[test]
fn all_are_cut_and_newcomers_are_not() {
    let proxy = Proxy::start(Faults::default());
    for cut in [Cut::Rst, Cut::Fin] {
        let mut pairs = [proxy.connect(), proxy.connect()];
        for (client, server) in &mut pairs {
            pass(client, server, b"x");
        }
        proxy.chaos.cut_all(cut);
        for (client, server) in &mut pairs {
            assert_eq!(rest(client), (vec![], error_of(cut)));
            assert_eq!(rest(server), (vec![], error_of(cut)));
        }
    }
    // What is half-open can be cut again.
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, b"x");
    proxy.chaos.cut_all(Cut::HalfOpen(Duration::from_secs(3600)));
    proxy.wait_until(|event| matches!(event, Event::Cut { cut: Cut::HalfOpen(_), .. }));
    proxy.chaos.cut_all(Cut::Rst);
    assert_eq!(rest(&mut client), (vec![], error_of(Cut::Rst)));

    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, b"a newcomer");
    let stats = proxy.chaos.stats();
    assert_eq!((stats.cuts_rst, stats.cuts_fin, stats.cuts_half_open), (2, 2, 1));
}

#[test]
fn faults_change_under_a_connection() {
    let proxy = Proxy::start(Faults::default());
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, &bytes(100));
    let cut_at = EachWay { up: Some(10), down: None };
    proxy.chaos.set_faults(Faults { cut_at, ..Faults::default() });
    client.write_all(&bytes(100)).unwrap();
    assert_eq!(rest(&mut server), (bytes(10), error_of(Cut::Rst)), "counted from then on");
    proxy.chaos.clear();
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, &bytes(100));
}

#[test]
fn a_target_that_is_away_ends_its_connection_and_not_the_proxy() {
    // A port that was free a moment ago; nobody listens on it.
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start_with(Config::to(away.to_string()));
    for connection in 1..=2 {
        let mut client = TcpStream::connect(proxy.chaos.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(rest(&mut client).0, []);
        proxy.wait_until(|event| match event {
            Event::Unreachable { connection: number, error } => {
                *number == connection && error.contains("refused")
            }
            _ => false,
        });
    }
    assert_eq!(proxy.chaos.stats().unreachable, 2);
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let mut config = Config::to("127.0.0.1:1");
    config.listen = taken.to_string();
    let error = Chaos::start(config).unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("in use"), "{error}");
    drop(holder);
}

#[test]
fn a_dropped_proxy_leaves_nothing_open() {
    let proxy = Proxy::start(Faults::default());
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, b"x");
    let address = proxy.chaos.address();
    drop(proxy);
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(rest(&mut client), (vec![], None));
    assert_eq!(rest(&mut server), (vec![], None));
}

/// A proxy, what it tells, and the target behind it.
struct Proxy {
    chaos: Chaos,
    events: Receiver<Event>,
    target: TcpListener,
}

impl Proxy {
    fn start(faults: Faults) -> Proxy {
        Proxy::start_with(config(faults))
    }

    /// An empty target is one that the proxy brings.
    fn start_with(mut config: Config) -> Proxy {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        if config.target.is_empty() {
            config.target = target.local_addr().unwrap().to_string();
        }
        let (sender, events) = mpsc::channel();
        // After the test has failed nobody listens.
        let observe = move |event: &Event| _ = sender.send(event.clone());
        let chaos = Chaos::start_observed(config, observe).unwrap();
        Proxy { chaos, events, target }
    }

    /// The two ends of a connection through the proxy.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.chaos.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_nodelay(true).unwrap();
        (client, self.accept())
    }

    fn accept(&self) -> TcpStream {
        self.target.set_nonblocking(true).unwrap();
        let began_at = Instant::now();
        let server = loop {
            match self.target.accept() {
                Ok((server, _)) => break server,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(began_at.elapsed() < PATIENCE, "nobody came");
            thread::sleep(Duration::from_millis(1));
        };
        server.set_nonblocking(false).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server
    }

    #[track_caller]
    fn wait_for(&self, expected: Event) {
        self.wait_until(|event| *event == expected);
    }

    #[track_caller]
    fn wait_until(&self, is_expected: impl Fn(&Event) -> bool) {
        let mut others = Vec::new();
        while let Ok(event) = self.events.recv_timeout(PATIENCE) {
            if is_expected(&event) {
                return;
            }
            others.push(event);
        }
        panic!("not told; instead: {others:#?}");
    }
}

fn config(faults: Faults) -> Config {
    Config { faults, ..Config::to("") }
}

/// Bytes that show where they belong.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

#[track_caller]
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    let sender = send(from, bytes.to_vec());
    let mut received = vec![0; bytes.len()];
    to.read_exact(&mut received).unwrap();
    assert!(received == bytes);
    sender.join().unwrap();
}

/// Sends on a thread of its own, for as long as the connection stands.
fn send(stream: &TcpStream, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    thread::spawn(move || _ = stream.write_all(&bytes))
}

/// All that is still received, and the error that ended it if there was one.
fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut received = Vec::new();
    let error = stream.read_to_end(&mut received).err();
    assert_ne!(error.as_ref().map(io::Error::kind), Some(ErrorKind::WouldBlock), "no end");
    (received, error.map(|error| error.kind()))
}

/// What a peer sees of a cut.
fn error_of(cut: Cut) -> Option<ErrorKind> {
    (cut == Cut::Rst).then_some(ErrorKind::ConnectionReset)
}

/// Nothing takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than the buffers of the system hold.
const FLOOD_BYTES: usize = 32 << 20;
