//! Where events are printed.

use std::io::{self, Write};

use super::editor::Printer;
use super::event::{Event, Stream};

/// Prints events: in words, or as lines of JSON.
pub(super) struct Output {
    format: Format,
    /// While somebody types, lines must go around the prompt.
    printer: Option<Printer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Human,
    Json,
}

impl Output {
    /// Results to stdout, the connection's course to stderr, in words.
    pub(super) fn human() -> Output {
        Output { format: Format::Human, printer: None }
    }

    /// Everything to stdout, one JSON object a line.
    pub(super) fn json() -> Output {
        Output { format: Format::Json, printer: None }
    }

    pub(super) fn print_through(&mut self, printer: Printer) {
        self.printer = Some(printer);
    }

    /// Prints an event.
    ///
    /// # Errors
    /// Nobody reads any more: the other end of the pipe is closed, or the disk is full.
    pub(super) fn print(&mut self, event: &Event<'_>) -> io::Result<()> {
        let (stream, mut line) = match self.format {
            Format::Json => (Stream::Results, event.json()),
            Format::Human => match event.human() {
                Some(printed) => printed,
                None => return Ok(()),
            },
        };
        line.push('\n');
        match (&self.printer, stream) {
            (Some(printer), _) => {
                printer.print(line);
                Ok(())
            }
            (None, Stream::Results) => {
                // Whole lines, at once: somebody is waiting for this one.
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            (None, Stream::Status) => {
                // Without stderr, the results still count.
                let _ = io::stderr().write_all(line.as_bytes());
                Ok(())
            }
        }
    }

    /// Waits until everything is printed, and leaves the terminal as it was.
    pub(super) fn finish(self) {
        if let Some(printer) = self.printer {
            printer.finish();
        }
    }
}
