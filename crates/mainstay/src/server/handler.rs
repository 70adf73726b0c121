//! Commands run by others: by a program in any language, or by a web service.
//!
//! Whoever it is gets the same JSON object for each request, and is told as soon as nobody wants the
//! answer any more: a program by a line, a web service by the end of its connection.

mod delay;
mod exec;
mod line;
mod program;
mod webhook;

use std::io;

use mainstay_server::Router;

use crate::settings::{HandlerRetry, HandlerTarget, Settings};
use exec::Exec;
use webhook::Webhook;

/// What runs commands.
pub(super) enum Handler {
    /// A program that is started and stopped with the server.
    Exec(Exec),
    /// A URL that is posted to.
    Webhook(Webhook),
}

/// What a handler may do.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// Requests that it has at one time; further ones wait.
    concurrency_max: usize,
    /// Bytes of a message, beyond which no answer can be passed on.
    message_bytes_max: usize,
    retry: HandlerRetry,
}

impl Handler {
    /// Starts a program; a web service need not be there yet. Must be called inside a runtime that
    /// lives as long as the handler: it serves the program's pipes, or the connections.
    ///
    /// # Errors
    /// If a program cannot be started.
    pub(super) fn start(target: &HandlerTarget, settings: &Settings) -> io::Result<Handler> {
        let options = Options {
            concurrency_max: settings.handler_concurrency_max,
            message_bytes_max: settings.message_bytes_max,
            retry: settings.handler_retry,
        };
        Ok(match target {
            HandlerTarget::Exec(words) => Handler::Exec(Exec::start(words, options)?),
            HandlerTarget::Webhook(url) => Handler::Webhook(Webhook::new(url, options)?),
        })
    }

    /// A router that gives every command to it.
    pub(super) fn router(&self) -> Router {
        match self {
            Handler::Exec(exec) => exec.router(),
            Handler::Webhook(webhook) => webhook.router(),
        }
    }

    /// Lets a program end; a web service is nobody's to end.
    pub(super) async fn stop(self) {
        if let Handler::Exec(exec) = self {
            exec.stop().await;
        }
    }
}
