//! Connections are cut at any byte, in both directions, again and again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mainstay_chaos::{Chaos, Cut, EachWay, Faults, Probability};
use mainstay_server::{Config, Request, Router, Server};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::case::{Case, scaled};
use crate::clients::{
    LAST, PATIENCE, Until, ask, mark_end, payload, publish, ran, read, read_history, session,
};
use crate::journal::{Note, Ran};
use crate::kills::UNBOUNDED;
use crate::oracle::{judge, judge_effects};
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_any_byte_lose_and_repeat_nothing() {
    let case = Case::begin("cuts");
    let program = Program::start(case.folder(), UNBOUNDED);
    let cuts = [Cut::Rst, Cut::Fin, Cut::HalfOpen(Duration::from_millis(200))];
    let networks = cuts.map(|cut_with| {
        let cut_every = EachWay { up: Some(1..=3_000), down: Some(1..=12_000) };
        let faults = Faults { cut_every, cut_with, ..Faults::default() };
        network(&case, program.address(), faults)
    });

    let stop = Arc::new(AtomicBool::new(false));
    let heads: Vec<_> = (0..20).map(|n| (format!("c{n}"), watch::channel(None).0)).collect();
    let (mut speakers, mut readers) = (Vec::new(), Vec::new());
    for who in 0..CLIENT_COUNT {
        let address = networks[who as usize % networks.len()].address();
        let session = session(address, who).await;
        let (channel, head) = &heads[who as usize / 5];
        match who % 5 {
            0 | 1 => {
                let (until, pace) = (Until::Stopped(Arc::clone(&stop)), Duration::from_millis(10));
                speakers.push(publish(&case.journal, session, who, channel, until, pace));
            }
            _ => readers.push(read(&case.journal, session, who, channel, head.subscribe())),
        }
    }
    let cut_count = || networks.iter().map(|network| network.stats().cuts()).sum::<u64>();
    let wanted = scaled(u64::from(CLIENT_COUNT) * 50);
    let deadline = Instant::now() + PATIENCE * u32::try_from(crate::case::scale()).unwrap();
    while cut_count() < wanted {
        assert!(Instant::now() < deadline, "only {} cuts", cut_count());
        sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    networks.iter().for_each(Chaos::clear);
    for speaker in speakers {
        timeout(PATIENCE, speaker).await.expect("an end").unwrap();
    }
    for (who, (channel, told)) in (1000..).zip(&heads) {
        let head = mark_end(&case.journal, program.address(), who, channel).await;
        told.send_replace(Some(head));
        read_history(&case.journal, program.address(), channel, head).await;
    }
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("readers at the head").unwrap();
    }
    let verdict = judge(&case.journal.notes(), LAST);
    assert_eq!(verdict.stored, verdict.sent, "each in the end");
    assert_eq!(verdict.gaps, 0);
    case.tell(&format!("{} cuts, {verdict:?}", cut_count()));
}

/// The effect is a count in the server's process, and the connections are cut between a request and
/// its reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_its_effect_exactly_once() {
    let case = Case::begin("requests");
    let effects = Arc::new(Mutex::new(HashMap::new()));
    let counted = Arc::clone(&effects);
    let router = Router::new().fallback(move |request: Request| {
        *counted.lock().unwrap().entry(id_of(&request)).or_insert(0_u64) += 1;
        let reply = format!("Server processed command: {}", request.command);
        async move { Ok(reply) }
    });
    let server = serve(router).await;
    let cut_rate = Probability::new(0.05).unwrap();
    let network = network(&case, server.addresses()[0], Faults { cut_rate, ..Faults::default() });
    let (client_count, count) = (50, scaled(50_000) / 50);
    let mut clients = Vec::new();
    for who in 0..client_count {
        let session = session(network.address(), who).await;
        clients.push(ask(&case.journal, session, who, Until::Count(count), Duration::ZERO));
    }
    for client in clients {
        client.await.unwrap();
    }
    let notes = case.journal.notes();
    let verdict = judge(&notes, LAST);
    let effects = effects.lock().unwrap();
    judge_effects(&notes, &effects);
    drop(notes);
    let total = u64::from(client_count) * count;
    assert_eq!(
        (verdict.answered as u64, verdict.perhaps),
        (total, 0),
        "the server was always there"
    );
    assert_eq!(effects.values().sum::<u64>(), total);
    case.tell(&format!("{total} requests, {} cuts", network.stats().cuts()));
}

/// Deadlines and cancels, while connections are cut: what is said never to have run has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ran_never_ran() {
    let case = Case::begin("never-ran");
    let effects = Arc::new(Mutex::new(HashMap::new()));
    let counted = Arc::clone(&effects);
    let router = Router::new().fallback(move |request: Request| {
        *counted.lock().unwrap().entry(id_of(&request)).or_insert(0_u64) += 1;
        let pause = Duration::from_millis(id_of(&request) % 4);
        async move {
            sleep(pause).await;
            Ok(String::new())
        }
    });
    let server = serve(router).await;
    let cut_every = EachWay::both(Some(500..=6_000));
    let network = network(&case, server.addresses()[0], Faults { cut_every, ..Faults::default() });
    let (count, mut clients) = (scaled(100), Vec::new());
    for who in 0..20 {
        let session = session(network.address(), who).await;
        let (journal, mut random) = (case.journal.clone(), case.random(u64::from(who)));
        clients.push(tokio::spawn(async move {
            let mut waiting = Vec::new();
            for number in 0..count {
                let id = (u64::from(who) << 32) | number;
                journal.note(Note::Asked { who, id });
                let deadline = random.up_to(Duration::from_millis(60));
                let command = format!("{id:x}");
                let sent = session.request_within(deadline, &command, payload(id)).await;
                waiting.push((id, sent.unwrap()));
                if random.below(8) == 0 {
                    waiting.last().unwrap().1.cancel().await;
                }
                sleep(random.up_to(Duration::from_millis(10))).await;
            }
            for (id, pending) in waiting {
                let outcome = match timeout(PATIENCE, pending).await.expect("an outcome") {
                    Ok(_) => Ran::Once,
                    Err(failure) => ran(&failure),
                };
                journal.note(Note::Answered { who, id, outcome });
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let notes = case.journal.notes();
    let verdict = judge(&notes, LAST);
    judge_effects(&notes, &effects.lock().unwrap());
    drop(notes);
    assert!(verdict.never_ran > 0 && verdict.answered > 0 && verdict.perhaps > 0, "{verdict:?}");
    case.tell(&format!("{verdict:?}, {} cuts", network.stats().cuts()));
}

fn id_of(request: &Request) -> u64 {
    u64::from_str_radix(&request.command, 16).unwrap()
}

async fn serve(router: Router) -> Server {
    let config = Config {
        address: "127.0.0.1:0".to_owned(),
        connection_count_per_address_max: 10_000,
        ..Config::default()
    };
    Server::builder().config(config).router(router).start().await.unwrap()
}

pub(crate) fn network(case: &Case, target: std::net::SocketAddr, faults: Faults) -> Chaos {
    let mut config = mainstay_chaos::Config::to(target.to_string());
    (config.seed, config.faults) = (case.seed, faults);
    Chaos::start(config).unwrap()
}

const CLIENT_COUNT: u32 = 100;
