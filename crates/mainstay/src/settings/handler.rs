//! Who runs commands, as an operator writes it.

use std::fmt;

use url::Url;

use super::kind::{Kind, Notation, Shape, not_a_choice};

/// Who runs commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandlerTarget {
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A URL that each command is posted to.
    Webhook(Url),
}

/// `exec:` and the words of a command line, a `http://` URL, or `none`.
pub(crate) enum OptionalHandler {}

impl Kind for OptionalHandler {
    type Value = Option<HandlerTarget>;
    const SHAPE: Shape = Shape::new("HANDLER", Notation::Text);

    fn read(text: &str) -> Result<Option<HandlerTarget>, String> {
        if text == "none" {
            return Ok(None);
        }
        if let Some(line) = text.strip_prefix("exec:") {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            return match words.is_empty() {
                true => Err("names no program behind exec:".to_owned()),
                false => Ok(Some(HandlerTarget::Exec(words))),
            };
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http") => webhook(text).map(Some),
            Some("https") => Err("must start with http://: the server does not speak TLS itself; \
                                  for https let a proxy on this machine add it"
                .to_owned()),
            _ => Err("must be none, exec: and a program with its arguments, or \
                      http://HOST:PORT/PATH"
                .to_owned()),
        }
    }

    fn write(value: &Option<HandlerTarget>) -> String {
        value.as_ref().map_or_else(|| "none".to_owned(), HandlerTarget::to_string)
    }
}

impl fmt::Display for HandlerTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerTarget::Exec(words) => write!(formatter, "exec:{}", words.join(" ")),
            HandlerTarget::Webhook(url) => url.fmt(formatter),
        }
    }
}

fn webhook(text: &str) -> Result<HandlerTarget, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in its URL, which would not be sent".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a fragment (#), which would not be sent".to_owned());
    }
    Ok(HandlerTarget::Webhook(url))
}

/// When a request is posted to a web service once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandlerRetry {
    /// Not at all.
    Never,
    /// When no byte of it was sent, as there was no connection.
    Unsent,
    /// Also when it may have run, because the service knows it again by its key.
    Idempotent,
}

impl Kind for HandlerRetry {
    type Value = HandlerRetry;
    const SHAPE: Shape = Shape::choice("WHEN", &["never", "unsent", "idempotent"]);

    fn read(text: &str) -> Result<HandlerRetry, String> {
        match text {
            "never" => Ok(HandlerRetry::Never),
            "unsent" => Ok(HandlerRetry::Unsent),
            "idempotent" => Ok(HandlerRetry::Idempotent),
            _ => Err(not_a_choice(text, Self::SHAPE.choices)),
        }
    }

    fn write(value: &HandlerRetry) -> String {
        match value {
            HandlerRetry::Never => "never".to_owned(),
            HandlerRetry::Unsent => "unsent".to_owned(),
            HandlerRetry::Idempotent => "idempotent".to_owned(),
        }
    }
}
