//! What can be said to a running proxy, at once or at a time.

use std::time::Duration;

use mainstay_chaos::Refuse;

use super::CutWith;
use super::notation::read_duration;
use crate::settings::kind::{self, Kind};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Cut all connections; what is left open is as the flags say.
    Cut { with: Option<CutWith>, half_open_for: Option<Duration> },
    /// Let nothing pass for a while.
    Stall(Duration),
    /// Reset newcomers.
    Refuse(Refuse),
    /// No more faults.
    Clear,
    /// The faults of the flags again.
    Faults,
    /// Tell the counts.
    Stats,
}

/// A line of a script: a command, and when it is due if not at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Option<Duration>,
    pub(super) text: String,
    pub(super) command: Command,
}

/// Reads a whole script.
///
/// # Errors
/// Which line is wrong, and why.
pub(super) fn read(text: &str) -> Result<Vec<Line>, String> {
    let mut script = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = read_line(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        script.extend(line);
    }
    Ok(script)
}

/// Reads one line; `None` if it says nothing. What follows a `#` is a comment.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn read_line(line: &str) -> Result<Option<Line>, String> {
    let said = line.split('#').next().unwrap_or_default();
    let mut words: Vec<&str> = said.split_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    let at = match words.as_slice() {
        ["at", time, ..] => {
            let at = kind::Duration::read(time).map_err(|error| format!("{time:?} {error}"))?;
            words.drain(..2);
            Some(at)
        }
        _ => None,
    };
    let command = read_command(&words)?;
    Ok(Some(Line { at, text: words.join(" "), command }))
}

fn read_command(words: &[&str]) -> Result<Command, String> {
    let duration = |text: &str| read_duration(text).map_err(|error| format!("{text:?} {error}"));
    Ok(match words {
        ["cut", "all"] => Command::Cut { with: None, half_open_for: None },
        ["cut", "all", "half-open", "for", time] => {
            Command::Cut { with: Some(CutWith::HalfOpen), half_open_for: Some(duration(time)?) }
        }
        ["cut", "all", how] => {
            let with = match *how {
                "rst" => CutWith::Rst,
                "fin" => CutWith::Fin,
                "half-open" => CutWith::HalfOpen,
                _ => return Err(format!("{how:?} is no way to cut; it is rst, fin or half-open")),
            };
            Command::Cut { with: Some(with), half_open_for: None }
        }
        ["stall", "all", "for", time] => Command::Stall(duration(time)?),
        ["refuse", "for", time] => Command::Refuse(Refuse::EverybodyFor(duration(time)?)),
        ["refuse", "all"] => Command::Refuse(Refuse::Everybody),
        ["refuse", "nobody"] => Command::Refuse(Refuse::Nobody),
        ["clear"] | ["pass"] => Command::Clear,
        ["faults"] => Command::Faults,
        ["stats"] => Command::Stats,
        _ => return Err(format!("{:?} is no command; {COMMANDS}", words.join(" "))),
    })
}

const COMMANDS: &str = "write cut all [rst|fin|half-open [for TIME]], stall all for TIME, \
                        refuse for TIME, refuse all, refuse nobody, clear, faults or stats, \
                        with at TIME before it if not at once";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let text = "# a bad day\nat 2s cut all rst\n\n  at 3s  refuse for 1s # for a while\n\
                    at 5s stall all for 2s\nat 8s clear\ncut all half-open for 3s\npass\nstats\n";
        let script = read(text).unwrap();
        let seconds = Duration::from_secs;
        let cut = |with, half_open_for| Command::Cut { with: Some(with), half_open_for };
        let expected = [
            (Some(2), cut(CutWith::Rst, None)),
            (Some(3), Command::Refuse(Refuse::EverybodyFor(seconds(1)))),
            (Some(5), Command::Stall(seconds(2))),
            (Some(8), Command::Clear),
            (None, cut(CutWith::HalfOpen, Some(seconds(3)))),
            (None, Command::Clear),
            (None, Command::Stats),
        ];
        let read: Vec<_> = script.into_iter().map(|line| (line.at, line.command)).collect();
        assert_eq!(read, expected.map(|(at, command)| (at.map(seconds), command)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, part) in [
            ("clear\nat 2 clear", "line 2: \"2\" needs a unit"),
            ("at 2s", "line 1: \"\" is no command; write cut all"),
            ("cut everything", "is no command"),
            ("cut all gently", "rst, fin or half-open"),
            ("stall all for ever", "\"ever\" must be a whole number"),
            ("refuse for 0s", "longer than nothing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
