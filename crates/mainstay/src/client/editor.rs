//! Typing commands: a line editor with a history, and a way to print around its prompt.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

use crate::stdin::{LINE_COUNT_MAX, Line};

/// Starts the editor on a thread of its own. The lines end when the user wants to stop.
///
/// # Errors
/// There is no terminal to edit on, or the system gives no thread.
pub(super) fn start() -> io::Result<(mpsc::Receiver<Line>, Printer)> {
    let saved_terminal = terminal_modes(&["-g"]);
    let config = Config::builder()
        .max_history_size(HISTORY_LINE_COUNT_MAX)
        .map_err(io::Error::other)?
        .auto_add_history(true)
        .build();
    let mut editor = DefaultEditor::with_config(config).map_err(io::Error::other)?;
    let external = editor.create_external_printer().map_err(io::Error::other)?;
    let is_editing = Arc::new(AtomicBool::new(true));
    let printer = Printer::start(external, Arc::clone(&is_editing), saved_terminal)?;
    let (sender, lines) = mpsc::channel(LINE_COUNT_MAX);
    let edit = move || {
        edit(editor, &sender);
        is_editing.store(false, Ordering::SeqCst);
        // Only now, so that whoever sees the end of the lines finds the terminal as it was.
        drop(sender);
    };
    thread::Builder::new().name("editor".to_owned()).spawn(edit)?;
    Ok((lines, printer))
}

fn edit(mut editor: DefaultEditor, sender: &mpsc::Sender<Line>) {
    let history = history_path();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    loop {
        match editor.readline("> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                if let Some(path) = &history {
                    // A history that cannot be written is kept in memory.
                    let _ = editor.append_history(path);
                }
                if sender.blocking_send(Ok(line)).is_err() {
                    return;
                }
            }
            // Ctrl-D and Ctrl-C.
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
            Err(error) => {
                let _ = sender.blocking_send(Err(io::Error::other(error)));
                return;
            }
        }
    }
}

/// Where the history is kept (XDG base directories); the folder is made if it is missing.
fn history_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))?;
    let folder = state.join("mainstay");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("client-history"))
}

/// Prints around the prompt, on a thread of its own: the editor takes lines only when it is at its
/// prompt, and the connection must not wait for that.
pub(super) struct Printer {
    lines: blocking::SyncSender<String>,
    done: blocking::Receiver<()>,
    is_editing: Arc<AtomicBool>,
    saved_terminal: Option<String>,
}

impl Printer {
    fn start(
        mut external: impl ExternalPrinter + Send + 'static,
        is_editing: Arc<AtomicBool>,
        saved_terminal: Option<String>,
    ) -> io::Result<Printer> {
        let (lines, waiting) = blocking::sync_channel::<String>(PRINT_COUNT_MAX);
        let (finished, done) = blocking::channel();
        let print = move || {
            for line in waiting {
                if external.print(line).is_err() {
                    break;
                }
            }
            let _ = finished.send(());
        };
        thread::Builder::new().name("printer".to_owned()).spawn(print)?;
        Ok(Printer { lines, done, is_editing, saved_terminal })
    }

    pub(super) fn print(&self, line: String) {
        // A printer that has failed has nothing to print on.
        let _ = self.lines.send(line);
    }

    /// Waits for the last line, and gives the terminal back if the editor still holds it.
    pub(super) fn finish(self) {
        drop(self.lines);
        let _ = self.done.recv_timeout(PRINT_TIMEOUT);
        if self.is_editing.load(Ordering::SeqCst)
            && let Some(modes) = &self.saved_terminal
        {
            terminal_modes(&[modes]);
            let mut stdout = io::stdout();
            let _ = stdout.write_all(PASTE_MODE_OFF).and_then(|()| stdout.flush());
        }
    }
}

/// Runs `stty`: the editor cannot be interrupted from outside to undo what it did to the terminal.
fn terminal_modes(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("stty").args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null()).output();
    let modes = String::from_utf8(output.ok()?.stdout).ok()?;
    Some(modes.trim().to_owned()).filter(|modes| !modes.is_empty())
}

/// Ends the bracketed paste that the editor had begun, and its line.
const PASTE_MODE_OFF: &[u8] = b"\x1b[?2004l\n";
/// Lines that are remembered. As many as shells do.
const HISTORY_LINE_COUNT_MAX: usize = 1000;
/// Lines that wait for the prompt; past it, printing waits, and then reading from the connection.
const PRINT_COUNT_MAX: usize = 1024;
/// How long the end waits for lines that nobody takes.
const PRINT_TIMEOUT: Duration = Duration::from_millis(300);
