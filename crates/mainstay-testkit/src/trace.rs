//! What happened, for people and for comparing two runs of one seed.

/// Hashes everything that happens, and keeps it as lines if somebody wants to read them.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    began_ms: u64,
}

impl Trace {
    /// Begins. Lines are kept if `keeps` says so.
    pub fn new(keeps: Keeps, began_ms: u64) -> Trace {
        let lines = (keeps == Keeps::Lines).then(Vec::new);
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines, began_ms }
    }

    /// Something happened.
    pub fn note(&mut self, now_ms: u64, line: impl FnOnce() -> String) {
        self.mix(now_ms);
        if let Some(lines) = &mut self.lines {
            let since = now_ms - self.began_ms;
            let line = shorten(&line());
            lines.push(format!("{:>4}.{:03} {line}", since / 1000, since % 1000));
        }
    }

    /// Bytes passed.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    /// A number that a second run must have too.
    pub fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or(&[])
    }
}

/// Leaves out what fills payloads.
fn shorten(line: &str) -> String {
    let mut short = String::with_capacity(line.len());
    let mut filling = 0;
    for char in line.chars() {
        filling = if char == 'x' { filling + 1 } else { 0 };
        if filling < 4 {
            short.push(char);
        }
    }
    short
}

/// What a trace keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// A hash.
    Hash,
    /// A hash and lines.
    Lines,
}
