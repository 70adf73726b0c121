//! Where a listener stands in a channel, and what reading on from there brings.

use std::collections::VecDeque;

use mainstay_server::session::{Epoch, Event, Gap, GapReason, Offset};
use mainstay_server::{ChannelName, ChannelView};

/// A place in a channel. Without an epoch the channel did not exist yet, and all of it is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) channel: ChannelName,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) offset: Offset,
}

/// What a listener is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    Event(Event),
    Gap(Gap),
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything there was has been taken.
    Head,
    /// There was more than the page held.
    Behind,
}

impl Place {
    /// Goes on over a page that was read from behind this place. Whatever is missing between two
    /// events is told as a gap, and no event is told twice.
    pub(crate) fn take(
        &mut self,
        view: &ChannelView,
        events: Vec<Event>,
        news: &mut VecDeque<News>,
    ) -> Reach {
        match self.epoch {
            // A channel of which nothing is known yet has no epoch that would mean anything.
            None if view.head == Offset::ZERO => return Reach::Head,
            None => self.epoch = Some(view.epoch),
            Some(epoch) if epoch == view.epoch && self.offset <= view.head => {}
            Some(epoch) => {
                // The page was read from behind an offset of a log that is gone, or that knew more than
                // this one: it was set back, and gives that offset a second time.
                news.push_back(News::Gap(self.begin_anew(epoch, view)));
                return if self.offset < view.head { Reach::Behind } else { Reach::Head };
            }
        }
        for event in events {
            if event.offset <= self.offset {
                continue;
            }
            if event.offset != self.offset.next() {
                let to = Offset(event.offset.0 - 1);
                news.push_back(News::Gap(self.skip(view, to)));
            }
            self.offset = event.offset;
            news.push_back(News::Event(event));
        }
        Reach::of(self.offset, view.head)
    }

    /// Gives up on what cannot be read, up to `through`.
    pub(crate) fn skip_unreadable(
        &mut self,
        view: &ChannelView,
        through: Offset,
        news: &mut VecDeque<News>,
    ) {
        let before_first = Offset(view.first.0.saturating_sub(1));
        let to = if before_first > self.offset { before_first } else { through };
        news.push_back(News::Gap(self.skip(view, to)));
    }

    fn begin_anew(&mut self, from_epoch: Epoch, view: &ChannelView) -> Gap {
        let from = self.offset.next();
        self.epoch = Some(view.epoch);
        self.offset = Offset(view.first.0.saturating_sub(1));
        Gap {
            channel: self.channel.clone(),
            from_epoch,
            from,
            to: None,
            reason: GapReason::Epoch,
            epoch: view.epoch,
            offset: self.offset,
        }
    }

    fn skip(&mut self, view: &ChannelView, to: Offset) -> Gap {
        let from = self.offset.next();
        self.offset = to;
        let reason = if to < view.first { GapReason::Trimmed } else { GapReason::Corrupt };
        Gap {
            channel: self.channel.clone(),
            from_epoch: view.epoch,
            from,
            to: Some(to),
            reason,
            epoch: view.epoch,
            offset: to,
        }
    }
}

impl Reach {
    fn of(offset: Offset, head: Offset) -> Reach {
        if offset < head { Reach::Behind } else { Reach::Head }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_server::session::Payload;

    use super::*;

    fn news_name() -> ChannelName {
        ChannelName::parse("news").expect("a name")
    }

    fn place(epoch: Option<u64>, offset: u64) -> Place {
        Place { channel: news_name(), epoch: epoch.map(Epoch), offset: Offset(offset) }
    }

    fn view(epoch: u64, first: u64, head: u64) -> ChannelView {
        ChannelView {
            name: news_name(),
            epoch: Epoch(epoch),
            first: Offset(first),
            head: Offset(head),
            bytes: 0,
            subscriber_count: 0,
            member_count: 0,
        }
    }

    fn event(offset: u64) -> Event {
        Event {
            channel: news_name(),
            offset: Offset(offset),
            at_ms: 0,
            payload: Payload::text("x"),
        }
    }

    /// A page in short: `7` for an event, `5..6 trimmed` for a gap.
    #[track_caller]
    fn check(
        start: Place,
        view: ChannelView,
        page: &[u64],
        told: &[&str],
        end: (u64, u64),
        reach: Reach,
    ) {
        let (mut place, mut news) = (start, VecDeque::new());
        let reached = place.take(&view, page.iter().copied().map(event).collect(), &mut news);
        let short = |one: &News| match one {
            News::Event(event) => event.offset.to_string(),
            News::Gap(gap) => {
                let to = gap.to.map_or("?".to_owned(), |to| to.to_string());
                format!("{}..{to} {}", gap.from, gap.reason)
            }
        };
        assert_eq!(news.iter().map(short).collect::<Vec<_>>(), told);
        assert_eq!((place.epoch.map_or(0, |e| e.0), place.offset.0), end);
        assert_eq!(reached, reach);
    }

    #[test]
    fn events_come_in_order_and_once() {
        check(place(Some(1), 2), view(1, 1, 5), &[3, 4, 5], &["3", "4", "5"], (1, 5), Reach::Head);
        check(place(Some(1), 2), view(1, 1, 5), &[3, 4], &["3", "4"], (1, 4), Reach::Behind);
        check(place(Some(1), 4), view(1, 1, 5), &[3, 4, 5], &["5"], (1, 5), Reach::Head);
        check(place(Some(1), 5), view(1, 1, 5), &[], &[], (1, 5), Reach::Head);
    }

    #[test]
    fn what_is_missing_is_told() {
        check(
            place(Some(1), 2),
            view(1, 5, 6),
            &[5, 6],
            &["3..4 trimmed", "5", "6"],
            (1, 6),
            Reach::Head,
        );
        check(
            place(Some(1), 2),
            view(1, 1, 6),
            &[3, 6],
            &["3", "4..5 corrupt", "6"],
            (1, 6),
            Reach::Head,
        );
        check(place(None, 0), view(1, 4, 4), &[4], &["1..3 trimmed", "4"], (1, 4), Reach::Head);
    }

    #[test]
    fn another_epoch_is_a_gap_of_unknown_length_and_is_read_from_its_beginning() {
        check(place(Some(1), 9), view(2, 1, 3), &[], &["10..? epoch"], (2, 0), Reach::Behind);
        check(place(Some(1), 2), view(2, 4, 9), &[9], &["3..? epoch"], (2, 3), Reach::Behind);
        check(place(Some(1), 2), view(2, 1, 0), &[], &["3..? epoch"], (2, 0), Reach::Head);
    }

    #[test]
    fn a_channel_that_does_not_exist_yet_is_waited_for() {
        check(place(None, 0), view(0, 1, 0), &[], &[], (0, 0), Reach::Head);
        check(place(None, 0), view(7, 1, 1), &[1], &["1"], (7, 1), Reach::Head);
    }

    #[test]
    fn a_place_beyond_the_newest_event_is_one_of_a_log_that_was_set_back() {
        check(place(Some(1), 9), view(1, 3, 5), &[], &["10..? epoch"], (1, 2), Reach::Behind);
        check(place(Some(1), 9), view(1, 1, 0), &[], &["10..? epoch"], (1, 0), Reach::Head);
    }

    #[test]
    fn a_page_of_nothing_ends_in_a_gap_and_not_in_a_loop() {
        for (first, told, reason) in [(6, 5, GapReason::Trimmed), (1, 8, GapReason::Corrupt)] {
            let (mut place, mut news) = (place(Some(1), 2), VecDeque::new());
            place.skip_unreadable(&view(1, first, 9), Offset(8), &mut news);
            let Some(News::Gap(gap)) = news.pop_front() else { panic!("a gap") };
            assert_eq!((gap.from, gap.to), (Offset(3), Some(Offset(told))));
            assert_eq!((gap.reason, place.offset), (reason, Offset(told)));
        }
    }
}
