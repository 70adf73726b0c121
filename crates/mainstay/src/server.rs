//! `mainstay server`: from the command line to a running server, and back out.

mod admin;
mod handler;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use mainstay_admin::EventsOptions;
use mainstay_server::{Router, Server, StatsSnapshot, static_files};
use tokio::sync::watch;

use crate::check_config::report;
use crate::server_config::server_config;
use crate::settings::{self, Resolved, Settings};
use crate::stop::{self, Stop};
use crate::{EXIT_FAILED, EXIT_USAGE, logging};
use admin::Bound;
use handler::Handler;

/// Serve WebSocket connections, and beside them event streams, static files and an HTTP API
///
/// Every setting can be given as a flag, as a variable of the environment (MAINSTAY_PING_INTERVAL)
/// or as a key of a TOML file (ping_interval = "25s"); a flag goes before the environment, and that
/// before the file. `mainstay check-config` with the same flags prints what comes out.
///
/// The first SIGTERM or Ctrl-C lets connections go in an orderly way, a second one exits at once.
/// The exit code is 0 after an orderly stop, 1 after a failure, 2 if a setting is wrong and 130
/// after a second signal.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: settings::arguments::Arguments,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let resolved = match settings::resolve(&arguments.settings, &settings::environment()) {
        Ok(resolved) => resolved,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // Fails only if something else logs already, which then goes on.
    let _ = logging::start(resolved.settings.log_format, &resolved.settings.log);
    match serve_until_stopped(&resolved) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Our errors say what they come from themselves.
            tracing::error!(%error, "the server failed");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn serve_until_stopped(resolved: &Resolved) -> Result<(), Box<dyn Error>> {
    // Before the first line of the log: whoever has seen it may send a signal, which must not find
    // the system's default action.
    let stop = stop::listen()?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files(&resolved.settings);
    // For handlers that wait and for plain HTTP; the shards are threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(resolved, stop))
}

/// Serves until asked to stop, then lets the connections go.
async fn serve(resolved: &Resolved, mut stop: Stop) -> Result<(), Box<dyn Error>> {
    let settings = &resolved.settings;
    let mut config = server_config(settings)?;
    let bound = admin::bind(resolved).await?;
    config.endpoint_origins = admin::origins(&bound, settings);
    let leaving = watch::Sender::new(false);
    let told = leaving.subscribe();
    let handler = start_handler(settings)?;
    let router = handler.as_ref().map_or_else(Router::new, Handler::router);
    let builder = Server::builder().config(config).router(router).http_with(move |config, hub| {
        let origins = config.origins.clone();
        let options = EventsOptions { origins, leaving: told, stream_count_max: STREAM_COUNT_MAX };
        mainstay_admin::events(Arc::new(hub.clone()), options)
            .fallback_service(static_files(config.www.clone(), &config.path))
    });
    let server = Arc::new(builder.start().await?);
    for address in server.addresses() {
        tracing::info!(%address, path = settings.path, "listening");
    }
    let _api = start_api(bound, settings, &server, &leaving)?;
    if !settings.www.is_dir() {
        let www = settings.www.display().to_string();
        tracing::info!(www, "the folder does not exist; a built-in page stands in for it");
    }
    let signal = tokio::select! {
        signal = stop.asked() => signal,
        stopped = server.stopped() => return stopped.map_err(Into::into),
    };
    let connections = server.connection_count();
    tracing::info!(signal, connections, "stopping; a second signal exits at once");
    // Streams end by themselves when they are told; connections are asked by the server.
    leaving.send_replace(true);
    server.drain().await?;
    if let Some(handler) = handler {
        handler.stop().await;
    }
    log_summary(&server.stats());
    Ok(())
}

fn start_handler(settings: &Settings) -> Result<Option<Handler>, Box<dyn Error>> {
    let Some(target) = &settings.handler else { return Ok(None) };
    let handler = Handler::start(target, settings)
        .map_err(|error| format!("cannot start the handler {target}: {error}"))?;
    Ok(Some(handler))
}

fn start_api(
    bound: Bound,
    settings: &Settings,
    server: &Arc<Server>,
    leaving: &watch::Sender<bool>,
) -> Result<Option<admin::Running>, Box<dyn Error>> {
    match bound {
        Bound::Off => Ok(None),
        Bound::DefaultTaken(address) => {
            tracing::warn!(address, "no HTTP API: the default admin_address is taken");
            Ok(None)
        }
        Bound::Listener(listener, access) => {
            let running = admin::start(listener, access, settings, server, leaving.subscribe())?;
            tracing::info!(address = %running.address, "serving the HTTP API");
            Ok(Some(running))
        }
    }
}

/// One line for each way in which connections have ended since the start.
fn log_summary(stats: &StatsSnapshot) {
    tracing::info!(
        accepted = stats.accepted,
        opened = stats.opened,
        commands = stats.commands,
        handler_failures = stats.handler_failures,
        handler_panics = stats.handler_panics,
        handler_timeouts = stats.handler_timeouts,
        "stopped"
    );
    for (reason, count) in &stats.ends {
        tracing::info!(reason = reason.word(), count, "connections ended");
    }
}

/// Every connection is an open file, and the usual soft limit of 1,024 is meant for programs that
/// use `select`.
fn raise_open_files(settings: &Settings) {
    let wanted = settings.connection_count_max as u64 + OPEN_FILES_RESERVE;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            open_files_max = limit,
            connection_count_max = settings.connection_count_max,
            "fewer open files are allowed than connections: raise the hard limit (ulimit -Hn) or \
             lower connection_count_max"
        ),
        Ok(limit) => tracing::debug!(open_files_max = limit, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// Listeners, pollers, logs, static files being sent, connections being refused.
const OPEN_FILES_RESERVE: u64 = 256;
/// Event streams at one time, beside the connections they are counted among.
const STREAM_COUNT_MAX: usize = 1_000;
