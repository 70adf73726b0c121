//! The settings of the server: declared once, given by flag, environment or file.
//!
//! [`table`] declares them, [`arguments`] and [`file`] read two of the sources, [`resolve()`]
//! decides which source wins and checks what comes out. Whoever runs the server calls
//! [`resolve()`] and gets [`Settings`]: plain fields, all checked.

pub(crate) mod arguments;
mod file;
mod handler;
pub(crate) mod kind;
pub(crate) mod markdown;
pub(crate) mod problem;
mod relation;
mod resolve;
mod table;

pub(crate) use handler::{HandlerRetry, HandlerTarget};
pub(crate) use resolve::{Entry, Origin, Resolved, environment, resolve};
pub(crate) use table::{SETTINGS, Setting, Settings};

/// The candidate most like `text`, if one is alike enough to have been meant.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// Every variable of the environment that is a setting starts with this.
const VARIABLE_PREFIX: &str = "MAINSTAY_";

/// Names the configuration file; `--config` goes before it.
const CONFIG_VARIABLE: &str = "MAINSTAY_CONFIG";

/// Of 1.0 for the same text. Lower values guess words that share only their first letters.
const LIKENESS_MIN: f64 = 0.8;
