//! Two connections want one session at the same moment.

use std::time::{Duration, Instant};

use mainstay_client::frames::{Outcome, Standing};
use tokio::time::{sleep, timeout};

use crate::case::{Case, Random, scaled};
use crate::clients::{LAST, PATIENCE, read_history};
use crate::journal::{Journal, Note, Who};
use crate::kills::UNBOUNDED;
use crate::oracle::judge;
use crate::program::Program;
use crate::raw::{Raw, Ticket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_connections_one_has_the_session_and_the_other_has_no_say() {
    let case = Case::begin("takeover");
    let program = Program::start(case.folder(), UNBOUNDED);
    let race_count = scaled(2_000) / u64::from(SESSION_COUNT);
    let mut sessions = Vec::new();
    for who in 0..SESSION_COUNT {
        let (journal, random) = (case.journal.clone(), case.random(u64::from(who)));
        let races = races(journal, program.address(), who, race_count, random);
        sessions.push(tokio::spawn(races));
    }
    let mut longest = Duration::ZERO;
    for session in sessions {
        longest = longest.max(session.await.unwrap());
    }
    let total = race_count * u64::from(SESSION_COUNT);
    read_history(&case.journal, program.address(), CHANNEL, total).await;
    let verdict = judge(&case.journal.notes(), LAST);
    // What a loser published would be an event that nobody sent.
    assert_eq!((verdict.stored as u64, verdict.heard as u64), (total, total));
    case.tell(&format!("{total} races, the loser was cut within {longest:?}"));
}

/// Races for one session, one after the other; how long a loser stayed at most.
async fn races(
    journal: Journal,
    address: std::net::SocketAddr,
    who: Who,
    count: u64,
    mut random: Random,
) -> Duration {
    let mut owner = Raw::dial(address).await;
    let welcome = owner.hello(None, 1, Vec::new()).await.unwrap();
    let mut ticket: Ticket = (welcome.session, welcome.token);
    let mut owner = Some(owner);
    let mut longest = Duration::ZERO;
    for number in 1..=count {
        let (first, second) = (Raw::dial(address).await, Raw::dial(address).await);
        if random.below(2) == 0 {
            // Sometimes the one before is there still, and loses too.
            owner = None;
        }
        let (mut first, mut second) = (first, second);
        let pause = random.up_to(Duration::from_micros(500));
        let came = tokio::join!(first.hello(Some(ticket.clone()), number, Vec::new()), async {
            sleep(pause).await;
            second.hello(Some(ticket.clone()), number, Vec::new()).await
        });
        let started = Instant::now();
        for welcome in [&came.0, &came.1].into_iter().flatten() {
            assert_eq!((welcome.standing, welcome.accepted), (Standing::Resumed, number - 1));
        }
        let generation = |welcome: &Option<_>| {
            welcome.as_ref().map(|w: &mainstay_client::frames::Welcome| w.generation)
        };
        let (ours, theirs) = (generation(&came.0), generation(&came.1));
        assert_ne!(ours, theirs, "two owners, or none");
        let (welcome, mut winner, loser) = match ours > theirs {
            true => (came.0.unwrap(), first, second),
            false => (came.1.unwrap(), second, first),
        };
        ticket = (welcome.session, welcome.token);
        for mut loser in [Some(loser), owner.take()].into_iter().flatten() {
            // Too late: the winner has been welcomed.
            loser.publish(number, CHANNEL, u64::MAX);
            loser.flush().await;
            let ended = async { while loser.hear().await.is_some() {} };
            timeout(PATIENCE, ended).await.expect("the loser's end");
            assert_eq!(loser.close_code(), Some(4200));
            longest = longest.max(started.elapsed());
        }
        let id = (u64::from(who) << 32) | number;
        journal.note(Note::Sent { who, channel: CHANNEL.to_owned(), id });
        winner.publish(number, CHANNEL, id);
        let reply = winner.reply().await;
        let Outcome::Published { epoch, offset } = reply.outcome else { panic!("{reply:?}") };
        assert_eq!(reply.number, number);
        journal.note(Note::Stored { who, id, epoch, offset: offset.0 });
        owner = Some(winner);
    }
    // The bar is one second; a busy machine is no excuse for several.
    assert!(longest < Duration::from_secs(5), "a loser stayed for {longest:?}");
    longest
}

const SESSION_COUNT: u32 = 8;
const CHANNEL: &str = "races";
