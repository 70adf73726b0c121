//! A disk in memory that loses, tears and refuses writes as a seed says.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A simulated disk with one file on it. Clones share it.
///
/// What was written reaches the medium with the next sync. A [`crash`](SimDisk::crash) before that
/// leaves any part of it: none, all, some of the writes, some of their sectors, in any order. The same
/// seed and the same calls give the same result.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// One call of a user of the disk, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// The file was made longer or shorter.
    SetLen(u64),
    /// Everything written was made durable.
    Sync,
    /// Something was read, or the length asked.
    Read,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails. If it was a sync, the writes before it are lost or kept as chance has it, and no
    /// later sync brings them back: that is what Linux does.
    Eio,
    /// The call fails for want of room, if it needs any; otherwise the next that does.
    Enospc,
    /// A write is done in part and fails.
    ShortWrite,
    /// This call and all later ones fail, as for a process that is dead.
    PowerCut,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(State {
            // Any seed but the one that xorshift never leaves.
            random: (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
            medium: Vec::new(),
            cache: Vec::new(),
            unsynced: Vec::new(),
            call_count: 0,
            fault: None,
            is_off: false,
            record: None,
        })))
    }

    /// Cuts the power and restores it: what survived becomes the content, and nothing fails any more.
    pub fn crash(&self) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        state.survive(unsynced);
        state.cache = state.medium.clone();
        state.fault = None;
        state.is_off = false;
    }

    /// Lets the call of a number fail; the first call of a new disk is 0.
    pub fn fail_at(&self, call_number: u64, fault: Fault) {
        self.state().fault = Some((call_number, fault));
    }

    /// How many calls there have been, of every kind.
    pub fn calls(&self) -> u64 {
        self.state().call_count
    }

    /// Begins to record calls.
    pub fn start_recording(&self) {
        self.state().record = Some(Vec::new());
    }

    /// The calls since recording began.
    pub fn recorded(&self) -> Vec<Call> {
        self.state().record.clone().unwrap_or_default()
    }

    /// Does a recorded call again.
    ///
    /// # Errors
    /// As the call.
    pub fn perform(&self, call: &Call) -> io::Result<()> {
        match call {
            Call::Write { offset, data } => self.write(*offset, data),
            Call::SetLen(len) => self.set_len(*len),
            Call::Sync => self.sync_data(),
            Call::Read => self.len().map(|_| ()),
        }
    }

    /// Another disk in the same condition, with a chance of its own.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let fork = SimDisk::new(seed);
        {
            let (from, mut to) = (self.state(), fork.state());
            to.medium.clone_from(&from.medium);
            to.cache.clone_from(&from.cache);
            to.unsynced.clone_from(&from.unsynced);
        }
        fork
    }

    /// What a reader sees.
    pub fn content(&self) -> Vec<u8> {
        self.state().cache.clone()
    }

    /// Replaces the content, durably.
    pub fn set_content(&self, content: Vec<u8>) {
        let mut state = self.state();
        state.medium.clone_from(&content);
        state.cache = content;
        state.unsynced.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    random: u64,
    /// What is on the disk whatever happens.
    medium: Vec<u8>,
    /// What a reader sees.
    cache: Vec<u8>,
    /// What separates the two, in order.
    unsynced: Vec<Call>,
    call_count: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    record: Option<Vec<Call>>,
}

impl State {
    /// Counts a call, and says what goes wrong with it.
    fn begin(&mut self, call: impl FnOnce() -> Call, needs_room: bool) -> Option<Fault> {
        let number = self.call_count;
        self.call_count += 1;
        if let Some(record) = &mut self.record {
            record.push(call());
        }
        match self.fault {
            Some((at, fault)) if number >= at => {
                if fault == Fault::Enospc && !needs_room {
                    return None;
                }
                self.fault = None;
                self.is_off = fault == Fault::PowerCut;
                Some(fault)
            }
            _ if self.is_off => Some(Fault::PowerCut),
            _ => None,
        }
    }

    /// Lets chance decide what of the unsynced calls reaches the medium.
    fn survive(&mut self, mut unsynced: Vec<Call>) {
        let mood = self.below(5);
        if mood == 0 {
            return;
        }
        if mood == 4 {
            for index in (1..unsynced.len()).rev() {
                let other = self.below(index as u64 + 1) as usize;
                unsynced.swap(index, other);
            }
        }
        for call in unsynced {
            match (mood, call) {
                (1, call) => apply(&mut self.medium, &call),
                (2, call) => {
                    if self.below(2) == 0 {
                        apply(&mut self.medium, &call);
                    }
                }
                (_, Call::Write { offset, data }) => self.tear(offset, &data),
                (_, call) => {
                    if self.below(4) != 0 {
                        apply(&mut self.medium, &call);
                    }
                }
            }
        }
    }

    /// Each sector of a write arrives or does not.
    fn tear(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let in_sector = SECTOR_BYTES - offset % SECTOR_BYTES;
            let (sector, rest) = data.split_at(data.len().min(in_sector as usize));
            if self.below(2) == 0 {
                write(&mut self.medium, offset, sector);
            }
            offset += sector.len() as u64;
            data = rest;
        }
    }

    /// A number below `end`: xorshift.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % end
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        match state.begin(|| Call::Read, false) {
            Some(fault) => Err(error(fault)),
            None => Ok(state.cache.len() as u64),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = state.begin(|| Call::Read, false) {
            return Err(error(fault));
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        let found = state.cache.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        match state.begin(|| Call::SetLen(len), true) {
            Some(fault) => Err(error(fault)),
            None => {
                state.cache.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
                state.unsynced.push(Call::SetLen(len));
                Ok(())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.begin(|| Call::Sync, false);
        if fault == Some(Fault::PowerCut) {
            return Err(error(Fault::PowerCut));
        }
        let unsynced = std::mem::take(&mut state.unsynced);
        match fault {
            Some(fault) => {
                state.survive(unsynced);
                Err(error(fault))
            }
            None => {
                unsynced.iter().for_each(|call| apply(&mut state.medium, call));
                Ok(())
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.begin(|| Call::Write { offset, data: data.to_vec() }, true);
        let written = match fault {
            None => data,
            Some(Fault::ShortWrite) => &data[..state.below(data.len() as u64 + 1) as usize],
            Some(fault) => return Err(error(fault)),
        };
        write(&mut state.cache, offset, written);
        state.unsynced.push(Call::Write { offset, data: written.to_vec() });
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimDisk({} calls)", self.calls())
    }
}

fn apply(file: &mut Vec<u8>, call: &Call) {
    match call {
        Call::Write { offset, data } => write(file, *offset, data),
        Call::SetLen(len) => file.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
        Call::Sync | Call::Read => {}
    }
}

/// Writes, beyond the end too.
fn write(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(data.len());
    if file.len() < end {
        file.resize(end, 0);
    }
    file[start..end].copy_from_slice(data);
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Eio | Fault::ShortWrite => io::Error::other("simulated input/output error"),
        Fault::Enospc => io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"),
        Fault::PowerCut => io::Error::other("simulated power cut"),
    }
}

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: u64 = 512;
