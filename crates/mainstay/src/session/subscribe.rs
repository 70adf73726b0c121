//! `mainstay subscribe`: the events of channels, as they come.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::Poll;

use futures_core::Stream;
use mainstay_client::frames::{Delivery, Epoch, Offset, Start};
use mainstay_client::{ChannelItem, ChannelName, SubscribeOptions, Subscription, SubscriptionEnd};

use super::link::{self, Failure, Link, LinkArguments, StateArguments, read_channel};
use super::print::{self, Format, Naming};
use crate::EXIT_FAILED;

/// Print the events of channels as they come
///
/// Events go to stdout, one a line: a payload that is a JSON string bare, other JSON as it is, what
/// is no text in base64. Gaps and everything about the connection go to stderr. A lost connection
/// is made again, and nothing is printed twice or left out without a word.
///
/// With --state the session is kept in a file: the next run goes on exactly behind the last event
/// that was printed, whatever happened in between, and --from counts only for channels that are new
/// to it.
///
/// The exit code is 0 after --count events or Ctrl-C, 1 if no connection could be made or the server
/// ended the subscriptions or the session, 2 if the command line is wrong, and 130 after a second
/// Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mainstay subscribe news                              what is published from now on
  mainstay subscribe news --from last:10               and the ten events before it
  mainstay subscribe orders --state orders.session     go on where the last run stopped
  mainstay subscribe a b --json                        JSON lines, for a program")]
pub(crate) struct Arguments {
    /// The channels
    #[arg(value_name = "CHANNEL", required = true, value_parser = read_channel)]
    channels: Vec<ChannelName>,

    /// Where to begin: now, start (the whole history) or last:N
    #[arg(long, value_name = "PLACE", default_value = "now", value_parser = read_start)]
    from: Start,

    /// Only the newest event of each channel, when there are many
    #[arg(long)]
    latest: bool,

    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    state: StateArguments,

    #[command(flatten)]
    link: LinkArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    link::run("subscribe", listen(arguments))
}

async fn listen(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Some(mut link) = arguments.link.open(arguments.state.state.as_deref()).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let delivery = if arguments.latest { Delivery::Latest } else { Delivery::Every };
    let options = SubscribeOptions { start: arguments.from, delivery, ..Default::default() };
    let mut channels = arguments.channels.clone();
    channels.sort();
    channels.dedup();
    let mut subscriptions = Vec::new();
    for channel in &channels {
        let subscribed = link.session.subscribe(channel, options).await;
        let subscription = subscribed.map_err(|error| match link.end() {
            Some(end) => Failure::new(end),
            None => Failure::new(format!("{channel}: {error}")),
        })?;
        subscriptions.push(subscription);
    }
    let naming = if channels.len() > 1 { Naming::Needed } else { Naming::Needless };
    let outcome = print_items(
        &mut link,
        &mut subscriptions,
        arguments.link.format(),
        naming,
        arguments.count.map_or(u64::MAX, NonZeroU64::get),
    )
    .await;
    link.finish().await;
    outcome
}

async fn print_items(
    link: &mut Link,
    subscriptions: &mut Vec<Subscription>,
    format: Format,
    naming: Naming,
    count_max: u64,
) -> Result<ExitCode, Failure> {
    let mut count = 0;
    let mut was_refused = false;
    while count < count_max {
        let (index, item) = tokio::select! {
            _ = link.stop.asked() => return Ok(ExitCode::SUCCESS),
            next = next_of(subscriptions) => next,
        };
        let Some(item) = item else {
            let ended = subscriptions.swap_remove(index);
            match (ended.end(), link.end()) {
                (Some(SubscriptionEnd::Refused(failure)), _) => {
                    was_refused = true;
                    let message = format!("{}: {}", failure.code, failure.message);
                    print::complain("subscribe", EXIT_FAILED, &message);
                }
                (_, Some(end)) => return Err(Failure::new(end)),
                // Its last state is on its way.
                _ => {}
            }
            if subscriptions.is_empty() {
                if was_refused {
                    return Ok(ExitCode::from(EXIT_FAILED));
                }
                let mut states = link.session.states();
                while states.recv().await.is_some() {}
                return Err(link
                    .end()
                    .map_or_else(|| Failure::new("the session ended"), Failure::new));
            }
            continue;
        };
        // What is not printed is not consumed: another run prints it.
        print::item(format, &item, naming)?;
        if let Some(subscription) = subscriptions.get_mut(index) {
            subscription.keep_place().await;
        }
        count += u64::from(matches!(item, ChannelItem::Event { .. }));
    }
    Ok(ExitCode::SUCCESS)
}

/// The next item of any subscription. There is at least one.
async fn next_of(subscriptions: &mut [Subscription]) -> (usize, Option<ChannelItem>) {
    std::future::poll_fn(|context| {
        for (index, subscription) in subscriptions.iter_mut().enumerate() {
            if let Poll::Ready(item) = Pin::new(subscription).poll_next(context) {
                return Poll::Ready((index, item));
            }
        }
        Poll::Pending
    })
    .await
}

fn read_start(text: &str) -> Result<Start, String> {
    let wrong = || "a place is now, start or last:N".to_owned();
    match text.split_once(':') {
        None if text == "now" => Ok(Start::Now),
        None if text == "start" => Ok(Start::After { epoch: None::<Epoch>, offset: Offset::ZERO }),
        Some(("last", count)) => count.parse().map(Start::Last).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(read_start("now"), Ok(Start::Now));
        assert_eq!(read_start("last:10"), Ok(Start::Last(10)));
        assert_eq!(read_start("start"), Ok(Start::After { epoch: None, offset: Offset(0) }));
        for wrong in ["", "last", "last:", "last:-1", "now:", "42"] {
            assert!(read_start(wrong).is_err(), "{wrong}");
        }
    }
}
