//! What can be wrong with settings, told to the operator who wrote them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::logging::escape;

use super::resolve::Origin;

/// One thing the operator has to put right. Displays as a line, or a few.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A value that cannot be read or lies out of range.
    Value {
        /// The setting.
        key: &'static str,
        /// The value as it was given.
        text: String,
        /// Who gave it.
        origin: Origin,
        /// What is wrong with it.
        complaint: String,
    },
    /// Two values, each good alone, that do not go together.
    Relation {
        /// The settings with their values and origins; the first is the one to change.
        sides: Vec<(&'static str, String, Origin)>,
        /// How the first should stand to the others.
        rule: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A key of the file that is no setting.
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line the key stands on, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The setting that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A file that is not TOML.
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The line itself.
        source_line: String,
        /// What the parser says.
        complaint: String,
    },
    /// A file that cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// What the system says.
        error: io::Error,
    },
    /// A variable of the environment that is not text.
    Variable {
        /// The variable.
        name: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Value { key, text, origin, complaint } => {
                write!(f, "{key} = {} ({origin})\n  {}", quoted(text), escape::visible(complaint))
            }
            Problem::Relation { sides, rule, reason } => {
                for (index, (key, text, origin)) in sides.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n       " };
                    write!(f, "{separator}{key} = {} ({origin})", quoted(text))?;
                }
                write!(f, "\n  {rule}: {reason}")
            }
            Problem::UnknownKey { path, line, key, nearest } => {
                let path = escape::visible(&path.display().to_string());
                write!(
                    f,
                    "{} (file {path}, line {line})\n  is no setting; ",
                    escape::visible(key)
                )?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean {nearest}?"),
                    None => write!(f, "`mainstay check-config` lists all"),
                }
            }
            Problem::Syntax { path, line, source_line, complaint } => {
                let path = escape::visible(&path.display().to_string());
                writeln!(f, "{} (file {path}, line {line})", escape::visible(source_line.trim()))?;
                write!(f, "  is not TOML: {}", escape::visible(complaint))
            }
            Problem::File { path, origin, error } => {
                let path = escape::visible(&path.display().to_string());
                write!(f, "configuration file {path} ({origin})\n  cannot be read: {error}")
            }
            Problem::Variable { name } => {
                write!(f, "environment {}\n  is not UTF-8 text", escape::visible(name))
            }
        }
    }
}

/// Quotes make an empty or blank value visible.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escape::visible(text))
}
