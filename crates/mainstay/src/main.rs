//! The `mainstay` program: a WebSocket server, clients, a load tool, a bad network, what an operator
//! asks of a server, and a look at settings and data.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod chaos;
mod check_config;
mod client;
mod logging;
mod operate;
mod server;
mod server_config;
mod session;
mod settings;
mod stdin;
mod stop;
mod store;

/// Keeps the least memory of the allocators measured once connections have come and gone.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Server(arguments) => server::run(&arguments),
        Command::Client(arguments) => client::run(arguments),
        Command::Subscribe(arguments) => session::subscribe::run(arguments),
        Command::Publish(arguments) => session::publish::run(arguments),
        Command::Request(arguments) => session::request::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Chaos(arguments) => chaos::run(*arguments),
        Command::Send(arguments) => operate::send::run(&arguments),
        Command::Sessions(arguments) => operate::sessions::run(&arguments),
        Command::Why(arguments) => operate::why::run(&arguments),
        Command::Channels(arguments) => operate::channels::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
    }
}

/// WebSocket connections that last: a server, a client and a load tool
#[derive(Parser)]
#[command(
    name = "mainstay",
    version,
    max_term_width = 100,
    after_help = "Start with `mainstay server` in one terminal and `mainstay client` in another.",
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Server(server::Arguments),
    Client(client::Arguments),
    Subscribe(session::subscribe::Arguments),
    Publish(session::publish::Arguments),
    Request(session::request::Arguments),
    Bench(bench::Arguments),
    // By far the largest.
    Chaos(Box<chaos::Arguments>),
    Send(operate::send::Arguments),
    Sessions(operate::sessions::Arguments),
    Why(operate::why::Arguments),
    Channels(operate::channels::Arguments),
    CheckConfig(check_config::Arguments),
    Store(store::Arguments),
}

/// The command line was right and the work was not done.
const EXIT_FAILED: u8 = 1;
/// Nobody will ever know whether it was done.
const EXIT_INDETERMINATE: u8 = 3;
/// The command line or a setting is wrong; clap exits with the same.
const EXIT_USAGE: u8 = 2;
/// Stopped by a second signal, as a shell reports Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn help_names_every_setting_in_every_notation() {
        for name in ["server", "check-config"] {
            let mut command = CommandLine::command();
            let command = command.find_subcommand_mut(name).unwrap();
            let (short, long) = (command.render_help().to_string(), command.render_long_help());
            let long = long.to_string();
            for setting in settings::SETTINGS {
                let flag = format!("{} ", setting.flag()).replace("compression ", "compression[");
                assert!(short.contains(&flag), "{name} -h: {flag}");
                assert!(long.contains(&flag), "{name} --help: {flag}");
                assert!(long.contains(&format!("[env: {}]", setting.variable())), "{flag}");
                // A line of `-h` in a terminal 100 wide.
                let line = format!("          {} [default: {}]", setting.doc, setting.default);
                assert!(line.len() <= 100, "{line}");
            }
        }
    }
}
