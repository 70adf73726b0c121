//! The memory engine keeps the contract.

use mainstay_log::suite::Subject;
use mainstay_log::{Log, MemoryLog, log_suite};

struct Memory(MemoryLog);

impl Subject for Memory {
    fn log(&mut self) -> &mut dyn Log {
        &mut self.0
    }

    fn reopen(&mut self) {}
}

log_suite!(contract, Memory(MemoryLog::new()), 512);
