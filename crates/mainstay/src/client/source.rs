//! Where commands come from.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::stdin::Line;

/// One command to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) text: String,
    pub(super) payload: String,
}

/// Gives one command after the other, in its own time.
///
/// The timer belongs to the source and runs on whatever else happens: what is received in between
/// neither delays the next command nor starts the wait anew.
pub(super) struct Source {
    text: Text,
    payload: String,
    timer: Option<Interval>,
    /// Whether the timer has ticked for a command that has not come yet.
    has_ticked: bool,
    sent_count: u64,
    count_max: Option<u64>,
    kind: Kind,
}

enum Text {
    Template(String),
    Lines(mpsc::Receiver<Line>),
}

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Template,
    Piped,
    Typed,
}

impl Source {
    /// The same command every so often, at once for the first time; `{n}` is its number.
    pub(super) fn template(
        template: String,
        payload: String,
        count_max: Option<u64>,
        every: Duration,
    ) -> Source {
        Source::new(Text::Template(template), payload, count_max, Some(every), Kind::Template)
    }

    /// The lines of a pipe, as fast as they can be sent or paced by `every`.
    pub(super) fn piped(
        lines: mpsc::Receiver<Line>,
        payload: String,
        count_max: Option<u64>,
        every: Option<Duration>,
    ) -> Source {
        Source::new(Text::Lines(lines), payload, count_max, every, Kind::Piped)
    }

    /// The lines that somebody types.
    pub(super) fn typed(
        lines: mpsc::Receiver<Line>,
        payload: String,
        count_max: Option<u64>,
    ) -> Source {
        Source::new(Text::Lines(lines), payload, count_max, None, Kind::Typed)
    }

    fn new(
        text: Text,
        payload: String,
        count_max: Option<u64>,
        every: Option<Duration>,
        kind: Kind,
    ) -> Source {
        let timer = every.map(|every| {
            let mut timer = interval_at(Instant::now(), every);
            // After an outage or a suspended process the cadence goes on; what was missed is not
            // made up for in a burst.
            timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
            timer
        });
        Source { text, payload, timer, has_ticked: false, sent_count: 0, count_max, kind }
    }

    /// What kind of source it is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it ends by itself, so that there is a result to report.
    pub(super) fn is_finite(&self) -> bool {
        self.kind == Kind::Piped || (self.kind == Kind::Template && self.count_max.is_some())
    }

    /// The next command when it is due; `None` when there are no more. May be dropped and called
    /// again without losing a command or a tick.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) async fn next(&mut self) -> io::Result<Option<Command>> {
        if self.count_max.is_some_and(|count_max| self.sent_count >= count_max) {
            return Ok(None);
        }
        if let Some(timer) = &mut self.timer
            && !self.has_ticked
        {
            timer.tick().await;
            self.has_ticked = true;
        }
        let number = self.sent_count + 1;
        let text = match &mut self.text {
            Text::Template(template) => fill(template, number),
            Text::Lines(lines) => match lines.recv().await {
                Some(line) => line?,
                None => return Ok(None),
            },
        };
        self.has_ticked = false;
        self.sent_count = number;
        Ok(Some(Command { text, payload: fill(&self.payload, number) }))
    }
}

fn fill(template: &str, number: u64) -> String {
    template.replace("{n}", &number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn texts(source: &mut Source) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(command) = source.next().await.unwrap() {
            texts.push(command.text);
        }
        texts
    }

    #[tokio::test]
    async fn a_template_is_numbered_and_counted() {
        let every = Duration::from_millis(1);
        let mut source = Source::template("{n} of {n}".into(), "p{n}".into(), Some(3), every);
        assert!(source.is_finite());
        let first = source.next().await.unwrap();
        assert_eq!(first, Some(Command { text: "1 of 1".into(), payload: "p1".into() }));
        assert_eq!(texts(&mut source).await, ["2 of 2", "3 of 3"]);
    }

    /// The two-second timer of the program that this one follows was started anew by every message
    /// that came in, so that a busy server kept it from ever sending.
    #[tokio::test]
    async fn the_cadence_does_not_depend_on_what_else_happens() {
        let every = Duration::from_millis(50);
        let mut source = Source::template("{n}".into(), String::new(), None, every);
        let mut message = tokio::time::interval(Duration::from_millis(5));
        let began_at = Instant::now();
        let (mut sent_count, mut message_count) = (0, 0);
        while sent_count < 5 {
            tokio::select! {
                _ = message.tick() => message_count += 1,
                command = source.next() => {
                    assert!(command.unwrap().is_some());
                    sent_count += 1;
                }
            }
            assert!(began_at.elapsed() < Duration::from_secs(10), "{message_count} messages");
        }
        assert!(began_at.elapsed() >= 4 * every, "not faster either");
    }

    #[tokio::test]
    async fn what_was_missed_is_not_made_up_for() {
        let every = Duration::from_millis(50);
        let mut source = Source::template("{n}".into(), String::new(), None, every);
        source.next().await.unwrap();
        tokio::time::sleep(5 * every).await;
        source.next().await.unwrap();
        let began_at = Instant::now();
        source.next().await.unwrap();
        source.next().await.unwrap();
        // The first of the two keeps the cadence, so it may come at once.
        assert!(began_at.elapsed() >= every / 2, "a burst");
    }

    #[tokio::test]
    async fn lines_are_sent_as_they_are_and_end() {
        let (sender, lines) = mpsc::channel(8);
        for line in ["one {n}", "two", "three"] {
            sender.send(Ok(line.to_owned())).await.unwrap();
        }
        drop(sender);
        let mut source = Source::piped(lines, String::new(), Some(5), None);
        assert!(source.is_finite());
        assert_eq!(texts(&mut source).await, ["one {n}", "two", "three"]);
    }

    #[tokio::test]
    async fn lines_can_be_counted_and_paced() {
        let (sender, lines) = mpsc::channel(8);
        let every = Duration::from_millis(20);
        let began_at = Instant::now();
        let mut source = Source::piped(lines, String::new(), Some(2), Some(every));
        for line in ["one", "two", "three"] {
            sender.send(Ok(line.to_owned())).await.unwrap();
        }
        assert_eq!(texts(&mut source).await, ["one", "two"]);
        assert!(began_at.elapsed() >= every);
    }

    #[tokio::test]
    async fn a_tick_is_not_lost_while_a_line_is_awaited() {
        let (sender, lines) = mpsc::channel(8);
        let every = Some(Duration::from_secs(3600));
        let mut source = Source::piped(lines, String::new(), None, every);
        let waited = tokio::time::timeout(Duration::from_millis(10), source.next()).await;
        assert!(waited.is_err(), "no line yet");
        sender.send(Ok("late".to_owned())).await.unwrap();
        let command = tokio::time::timeout(Duration::from_secs(10), source.next()).await;
        assert!(command.unwrap().unwrap().is_some(), "its tick had come before it");
    }
}
