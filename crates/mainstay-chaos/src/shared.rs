//! What the handle and the connections have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::event::{Event, Stats};
use crate::faults::{Cut, Faults};
use crate::plan::Source;

pub(crate) struct Shared {
    /// Where connections lead: `host:port`.
    pub(crate) target: String,
    pub(crate) seed: u64,
    pub(crate) control: watch::Sender<Control>,
    stats: Mutex<Stats>,
    observe: Observer,
}

/// Is told of everything, on the proxy's thread.
pub(crate) type Observer = Box<dyn Fn(&Event) + Send + Sync>;

/// What holds for all connections now.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) faults: Arc<Faults>,
    /// How often the faults were set.
    pub(crate) generation: u32,
    /// The last cut of all: its number, and how.
    pub(crate) cut: (u64, Cut),
    /// Nothing passes anywhere until then.
    pub(crate) stalled_until: Option<Instant>,
    pub(crate) refusing: Refusing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusing {
    Nobody,
    Everybody,
    EverybodyUntil(Instant),
}

impl Shared {
    pub(crate) fn new(target: String, seed: u64, faults: Faults, observe: Observer) -> Shared {
        let control = watch::Sender::new(Control {
            faults: Arc::new(faults),
            generation: 0,
            cut: (0, Cut::Rst),
            stalled_until: None,
            refusing: Refusing::Nobody,
        });
        Shared { target, seed, control, stats: Mutex::default(), observe }
    }

    pub(crate) fn tell(&self, event: &Event) {
        (self.observe)(event);
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        // Nothing that holds it can panic, and counts would still be counts.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the decisions of a connection come from.
    pub(crate) fn source(&self, connection: u64, control: &Control) -> Source {
        Source { seed: self.seed, connection, generation: control.generation }
    }
}

impl Control {
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match self.refusing {
            Refusing::Nobody => false,
            Refusing::Everybody => true,
            Refusing::EverybodyUntil(until) => now < until,
        }
    }
}
