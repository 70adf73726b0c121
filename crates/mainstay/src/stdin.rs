//! Lines of standard input, for commands that do other things meanwhile.

use std::io::{self, BufRead};
use std::thread;

use tokio::sync::mpsc;

/// A line of input, or why there are no more.
pub(crate) type Line = io::Result<String>;

/// Reads stdin on a thread of its own, line by line.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn read_lines() -> io::Result<mpsc::Receiver<Line>> {
    read(|_| true)
}

/// The same without the lines that say nothing.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn read_full_lines() -> io::Result<mpsc::Receiver<Line>> {
    read(|line| !line.trim().is_empty())
}

fn read(is_wanted: fn(&str) -> bool) -> io::Result<mpsc::Receiver<Line>> {
    let (sender, receiver) = mpsc::channel(LINE_COUNT_MAX);
    let read = move || {
        for line in io::stdin().lock().lines() {
            let is_error = line.is_err();
            if matches!(&line, Ok(line) if !is_wanted(line)) {
                continue;
            }
            if sender.blocking_send(line).is_err() || is_error {
                return;
            }
        }
    };
    thread::Builder::new().name("stdin".to_owned()).spawn(read)?;
    Ok(receiver)
}

/// Lines that are read ahead.
pub(crate) const LINE_COUNT_MAX: usize = 64;
