//! Following channels for as long as somebody listens.
//!
//! A follower reads pages of the log from its own place and waits for news at the head. It is told
//! *that* there is news, never what: a reader who is slow is further behind and holds nothing up, and
//! nothing waits for it in memory but the page it is being sent.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use mainstay_server::session::{Encoding, Epoch, ErrorCode, Event, Offset, ServerFrame};
use mainstay_server::{Answer, Call, CallError, ChannelName, ChannelView};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::Source;
use crate::place::{News, Place, Reach};
use crate::problem::Problem;

/// Where a listener begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With the next event.
    Now,
    /// With the oldest that is kept.
    Start,
    /// With the last so many.
    Last(u64),
    /// Behind an event that it has had.
    Behind(Option<Epoch>, Offset),
}

/// One listener.
pub(crate) struct Follower {
    source: Arc<dyn Source>,
    listeners: Vec<Listener>,
    leaving: watch::Receiver<bool>,
    /// The next to be read, so that a busy channel does not keep the others waiting.
    turn: usize,
    /// When the client should come back once this ends, in milliseconds.
    retry_ms: u64,
    standing: Standing,
    _permit: OwnedSemaphorePermit,
}

struct Listener {
    /// How far has been read.
    place: Place,
    /// How far the client has been told.
    told: (Option<Epoch>, Offset),
    head: watch::Receiver<Offset>,
    reach: Reach,
    /// The head that was told of with a page of nothing.
    promised: Option<Offset>,
    news: VecDeque<News>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Begins,
    Goes,
    Ended,
}

impl Follower {
    /// Finds the place of each channel. From here on nothing is missed.
    pub(crate) async fn begin(
        source: Arc<dyn Source>,
        channels: Vec<(ChannelName, Beginning)>,
        leaving: watch::Receiver<bool>,
        permit: OwnedSemaphorePermit,
        retry_ms: u64,
    ) -> Result<Follower, Problem> {
        let mut listeners = Vec::new();
        for (channel, beginning) in channels {
            // Before the place is read, or an event could come between.
            let head = source.watch_head(&channel);
            let place = find_place(&*source, channel, beginning).await?;
            let told = (place.epoch, place.offset);
            let news = VecDeque::new();
            let (reach, promised) = (Reach::Behind, None);
            listeners.push(Listener { place, told, head, reach, promised, news });
        }
        let standing = Standing::Begins;
        Ok(Follower { source, listeners, leaving, turn: 0, retry_ms, standing, _permit: permit })
    }

    /// The next piece of the stream, when there is one; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self.standing {
            Standing::Begins => {
                self.standing = Standing::Goes;
                // An id without data moves the browser's cursor and is no event: a client that is
                // cut off before the first event comes back to this place.
                return Some(format!("id: {}\n\n", self.id()).into());
            }
            Standing::Goes => {}
            Standing::Ended => return None,
        }
        loop {
            if let Some(text) = self.write_news() {
                return Some(text.into());
            }
            if *self.leaving.borrow() {
                return Some(self.end(LEAVING));
            }
            let count = self.listeners.len();
            let behind = (self.turn..self.turn + count).map(|index| index % count);
            match behind.into_iter().find(|index| self.listeners[*index].reach == Reach::Behind) {
                Some(index) => {
                    self.turn = index + 1;
                    let mut leaving = self.leaving.clone();
                    let read = tokio::select! {
                        read = self.read(index) => read,
                        // Nobody left who could say so is no sign of leaving.
                        Ok(_) = leaving.wait_for(|is_leaving| *is_leaving) => continue,
                    };
                    if let Err(error) = read {
                        return Some(self.end(&error.message));
                    }
                }
                None => match tokio::time::timeout(KEEP_ALIVE_INTERVAL, self.wait()).await {
                    Ok(Waited::News) => {}
                    Ok(Waited::Leaving) => return Some(self.end(LEAVING)),
                    Err(_) => return Some(Bytes::from_static(b": keep-alive\n\n")),
                },
            }
        }
    }

    /// Reads the next page of a channel.
    async fn read(&mut self, index: usize) -> Result<(), CallError> {
        let listener = &mut self.listeners[index];
        // Before the page is read: what comes while it is being read is news again.
        listener.head.borrow_and_update();
        let place = &listener.place;
        let Some((view, events)) =
            history(&*self.source, &place.channel, place.offset, PAGE_COUNT).await?
        else {
            listener.reach = Reach::Head;
            return Ok(());
        };
        let is_empty = events.is_empty();
        listener.reach = listener.place.take(&view, events, &mut listener.news);
        let is_blank = is_empty && listener.news.is_empty() && listener.reach == Reach::Behind;
        listener.promised = match (is_blank, listener.promised) {
            (false, _) => None,
            // A head may be told of together with the events that are just being stored, and those
            // can be read by the next question.
            (true, None) => Some(view.head),
            (true, Some(head)) => {
                listener.place.skip_unreadable(&view, head, &mut listener.news);
                None
            }
        };
        Ok(())
    }

    async fn wait(&mut self) -> Waited {
        let changes = self.listeners.iter_mut().map(|listener| Box::pin(listener.head.changed()));
        let index = tokio::select! {
            (changed, index, _) = select_all(changes) => match changed {
                Ok(()) => index,
                // Whoever would tell is gone, and the server with it.
                Err(_) => return Waited::Leaving,
            },
            Ok(_) = self.leaving.wait_for(|is_leaving| *is_leaving) => return Waited::Leaving,
        };
        self.listeners[index].reach = Reach::Behind;
        Waited::News
    }

    /// Some of what has been read, as text; at least one piece if there is any.
    fn write_news(&mut self) -> Option<String> {
        let mut text = String::new();
        for index in 0..self.listeners.len() {
            while text.len() < PIECE_BYTES {
                let listener = &mut self.listeners[index];
                let Some(news) = listener.news.pop_front() else { break };
                listener.told = match &news {
                    // All that was read at once is of one epoch.
                    News::Event(event) => (listener.place.epoch, event.offset),
                    News::Gap(gap) => (Some(gap.epoch), gap.offset),
                };
                self.write(&news, &mut text);
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn write(&self, news: &News, text: &mut String) {
        let mut json = Vec::new();
        let (frame, kind) = match news {
            News::Event(event) => (ServerFrame::Event(event.clone()), ""),
            News::Gap(gap) => (ServerFrame::Gap(gap.clone()), "event: gap\n"),
        };
        Encoding::Json.encode_server(&frame, &mut json);
        // Payloads pass as they were written, and JSON may be written over several lines.
        json.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        let json = String::from_utf8_lossy(&json);
        let _ = write!(text, "id: {}\n{kind}data: {json}\n\n", self.id());
    }

    /// Where all of it stands: `EPOCH:OFFSET`, or for several channels `NAME=EPOCH:OFFSET,…`.
    fn id(&self) -> String {
        let mut id = String::new();
        for listener in &self.listeners {
            let (channel, (epoch, offset)) = (&listener.place.channel, listener.told);
            if self.listeners.len() > 1 {
                let comma = if id.is_empty() { "" } else { "," };
                let _ = write!(id, "{comma}{channel}=");
            }
            let _ = match epoch {
                Some(epoch) => write!(id, "{epoch}:{offset}"),
                None => write!(id, "-:{offset}"),
            };
        }
        id
    }

    /// The last piece: when to come back, and why.
    fn end(&mut self, why: &str) -> Bytes {
        self.standing = Standing::Ended;
        let why = why.replace(['\r', '\n'], " ");
        format!(": {why}\nretry: {}\n\n", self.retry_ms).into()
    }
}

enum Waited {
    News,
    Leaving,
}

async fn find_place(
    source: &dyn Source,
    channel: ChannelName,
    beginning: Beginning,
) -> Result<Place, CallError> {
    let back = match beginning {
        Beginning::Behind(epoch, offset) => return Ok(Place { channel, epoch, offset }),
        Beginning::Start => return Ok(Place { channel, epoch: None, offset: Offset::ZERO }),
        Beginning::Now => 0,
        Beginning::Last(count) => count,
    };
    let (epoch, offset) = match history(source, &channel, Offset::ZERO, 0).await? {
        Some((view, _)) if view.head > Offset::ZERO => {
            let offset = view.head.0.saturating_sub(back).max(view.first.0.saturating_sub(1));
            (Some(view.epoch), Offset(offset))
        }
        _ => (None, Offset::ZERO),
    };
    Ok(Place { channel, epoch, offset })
}

/// A page of a channel; `None` if there is no such channel yet.
async fn history(
    source: &dyn Source,
    channel: &ChannelName,
    after: Offset,
    count_max: usize,
) -> Result<Option<(ChannelView, Vec<Event>)>, CallError> {
    match source.call(Call::History { channel: channel.clone(), after, count_max }).await {
        Ok(Answer::History { channel, events }) => Ok(Some((channel, events))),
        Ok(_) => {
            let message = "the server answered something else".to_owned();
            Err(CallError { code: ErrorCode::Internal, message })
        }
        Err(error) if error.code == ErrorCode::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}

const LEAVING: &str = "the server is shutting down";

/// Proxies cut what has been silent for a minute, some after half of one.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Events read at once: what a listener holds in memory is at most so many.
const PAGE_COUNT: usize = 32;
/// Text gathered before it is handed on: one write for many small events.
const PIECE_BYTES: usize = 16 * 1024;
