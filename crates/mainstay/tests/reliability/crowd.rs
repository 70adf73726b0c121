//! Clients of one channel: some publish, some ask, some listen, until they are told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::case::Case;
use crate::clients::{LAST, PATIENCE, Until, ask, mark_end, publish, read, read_history, session};
use crate::journal::Who;
use crate::oracle::{Verdict, judge};

pub(crate) struct Crowd<'a> {
    case: &'a Case,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    /// The channel's last event, once it is known.
    head: watch::Sender<Option<u64>>,
    speakers: Vec<JoinHandle<u64>>,
    listeners: Vec<JoinHandle<()>>,
}

impl<'a> Crowd<'a> {
    pub(crate) fn gather(case: &'a Case, address: SocketAddr) -> Crowd<'a> {
        Crowd {
            case,
            address,
            stop: Arc::default(),
            head: watch::Sender::new(None),
            speakers: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// `count` of each kind.
    pub(crate) async fn of_all_kinds(case: &'a Case, address: SocketAddr, count: Who) -> Crowd<'a> {
        let mut crowd = Crowd::gather(case, address);
        for who in (0..3 * count).step_by(3) {
            crowd.publish(who, Duration::from_millis(2)).await;
            crowd.ask(who + 1, Duration::from_millis(2)).await;
            crowd.listen(who + 2).await;
        }
        crowd
    }

    /// One more that publishes.
    pub(crate) async fn publish(&mut self, who: Who, pace: Duration) {
        let session = session(self.address, who).await;
        let publishing = publish(&self.case.journal, session, who, CHANNEL, self.until(), pace);
        self.speakers.push(publishing);
    }

    /// One more that asks.
    pub(crate) async fn ask(&mut self, who: Who, pace: Duration) {
        let session = session(self.address, who).await;
        self.speakers.push(ask(&self.case.journal, session, who, self.until(), pace));
    }

    /// One more that listens.
    pub(crate) async fn listen(&mut self, who: Who) {
        let session = session(self.address, who).await;
        let head = self.head.subscribe();
        self.listeners.push(read(&self.case.journal, session, who, CHANNEL, head));
    }

    /// Lets all finish, and judges what they noted: what was sent is stored, and everybody has heard it.
    pub(crate) async fn finish(self) -> Verdict {
        self.stop.store(true, Ordering::Relaxed);
        for speaker in self.speakers {
            timeout(PATIENCE, speaker).await.expect("an end").unwrap();
        }
        let journal = &self.case.journal;
        let end = mark_end(journal, self.address, MARKER, CHANNEL).await;
        self.head.send_replace(Some(end));
        for listener in self.listeners {
            timeout(PATIENCE, listener).await.expect("listeners at the head").unwrap();
        }
        read_history(journal, self.address, CHANNEL, end).await;
        let verdict = judge(&journal.notes(), LAST);
        assert_eq!((verdict.stored, verdict.gaps), (verdict.sent, 0));
        self.case.tell(&format!("{verdict:?}"));
        verdict
    }

    fn until(&self) -> Until {
        Until::Stopped(Arc::clone(&self.stop))
    }
}

const CHANNEL: &str = "news";
/// Who publishes the last event.
const MARKER: Who = 100;
