//! Channels and their subscribers on one shard.

use std::collections::HashMap;

use mainstay_wire::ChannelName;
use mainstay_wire::session::Offset;
use thiserror::Error;

/// Whom an event is delivered to: the shard's own number for one of its connections.
pub type Subscriber = usize;

/// The subscriptions of one shard.
///
/// A subscriber is **live** on a channel, and gets each event as it comes, or it is **behind**: it has
/// a place in the log from which it reads on, at its own speed, until it has caught up. Falling behind
/// drops nothing and costs nobody else anything; a place is all that is kept.
///
/// Live subscribers of a channel lie densely in one list, for a fan-out walks all of them; each
/// subscriber remembers its places, so that leaving costs the same in a channel of ten and of ten
/// thousand.
#[derive(Debug, Default)]
pub struct Hub {
    live: HashMap<ChannelName, Vec<Subscriber>>,
    subscriptions: HashMap<Subscriber, Vec<Subscription>>,
    /// How many of them are behind.
    behind_count: usize,
}

#[derive(Debug)]
struct Subscription {
    channel: ChannelName,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the channel's list, at this index.
    Live { index: usize },
    /// Has everything up to `after`; what comes next is in the log.
    Behind { after: Offset, reading: Reading },
}

/// Whether a page is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Idle,
    Asked,
}

impl Hub {
    /// Lets `subscriber` hear `channel` from now on. Subscribing twice is the same as once.
    ///
    /// # Errors
    /// If the subscriber already hears `channel_count_max` others.
    pub fn subscribe(
        &mut self,
        subscriber: Subscriber,
        channel: &ChannelName,
        channel_count_max: usize,
    ) -> Result<(), SubscribeError> {
        let held = self.subscriptions.get(&subscriber).map_or(&[][..], Vec::as_slice);
        if held.iter().any(|subscription| subscription.channel == *channel) {
            return Ok(());
        }
        if held.len() >= channel_count_max {
            return Err(SubscribeError::TooManyChannels { channel_count_max });
        }
        self.feed(subscriber, channel, Offset::ZERO, Offset::ZERO);
        Ok(())
    }

    /// Lets `subscriber` hear `channel` from behind `after` on, where `head` is the newest event.
    /// Replaces a subscription to the same channel.
    pub fn feed(
        &mut self,
        subscriber: Subscriber,
        channel: &ChannelName,
        after: Offset,
        head: Offset,
    ) {
        self.unsubscribe(subscriber, channel);
        let place = if after >= head {
            self.join(subscriber, channel)
        } else {
            self.behind_count += 1;
            Place::Behind { after, reading: Reading::Idle }
        };
        let held = self.subscriptions.entry(subscriber).or_default();
        held.push(Subscription { channel: channel.clone(), place });
    }

    /// A live subscriber could not take an event: it has everything up to `after` and will read on
    /// from there.
    pub fn fall_behind(&mut self, subscriber: Subscriber, channel: &ChannelName, after: Offset) {
        let Some(place) = self.place_mut(subscriber, channel) else { return };
        let Place::Live { index } = *place else { return };
        *place = Place::Behind { after, reading: Reading::Idle };
        self.behind_count += 1;
        self.leave(channel, index);
    }

    /// The next place from which `subscriber` is to read on, unless a page is on its way to it or it
    /// is live everywhere. The page counts as asked for.
    pub fn next_read(&mut self, subscriber: Subscriber) -> Option<(ChannelName, Offset)> {
        let held = self.subscriptions.get_mut(&subscriber)?;
        let asked = |held: &Subscription| {
            matches!(held.place, Place::Behind { reading: Reading::Asked, .. })
        };
        if held.iter().any(asked) {
            return None;
        }
        let index = held.iter().position(|held| matches!(held.place, Place::Behind { .. }))?;
        // Behind the others, so that channels take turns. Live ones are found by searching and may
        // move.
        let mut subscription = held.remove(index);
        let Place::Behind { after, reading } = &mut subscription.place else { return None };
        *reading = Reading::Asked;
        let next = (subscription.channel.clone(), *after);
        held.push(subscription);
        Some(next)
    }

    /// A page that begins behind `from` has brought `subscriber` to `after`, where `head` was the
    /// newest event: with that it is live, for all that comes later comes behind the page.
    ///
    /// Gives `false` if nobody waits for a page from there any more; then it must not be passed on.
    pub fn turn_page(
        &mut self,
        subscriber: Subscriber,
        channel: &ChannelName,
        from: Offset,
        after: Offset,
        head: Offset,
    ) -> bool {
        let Some(place) = self.place_mut(subscriber, channel) else { return false };
        if *place != (Place::Behind { after: from, reading: Reading::Asked }) {
            return false;
        }
        *place = Place::Behind { after, reading: Reading::Idle };
        if after >= head {
            self.behind_count -= 1;
            let live = self.join(subscriber, channel);
            if let Some(place) = self.place_mut(subscriber, channel) {
                *place = live;
            }
        }
        true
    }

    /// Ends one subscription.
    pub fn unsubscribe(&mut self, subscriber: Subscriber, channel: &ChannelName) {
        let Some(held) = self.subscriptions.get_mut(&subscriber) else { return };
        let Some(index) = held.iter().position(|held| held.channel == *channel) else { return };
        let Subscription { place, .. } = held.swap_remove(index);
        if held.is_empty() {
            self.subscriptions.remove(&subscriber);
        }
        match place {
            Place::Live { index } => self.leave(channel, index),
            Place::Behind { .. } => self.behind_count -= 1,
        }
    }

    /// Ends all subscriptions of `subscriber`.
    pub fn remove(&mut self, subscriber: Subscriber) {
        for Subscription { channel, place } in
            self.subscriptions.remove(&subscriber).unwrap_or_default()
        {
            match place {
                Place::Live { index } => self.leave(&channel, index),
                Place::Behind { .. } => self.behind_count -= 1,
            }
        }
    }

    /// Everyone who is live on `channel`, in no particular order.
    pub fn live(&self, channel: &ChannelName) -> &[Subscriber] {
        self.live.get(channel).map_or(&[], Vec::as_slice)
    }

    /// How many channels somebody is live on.
    pub fn channel_count(&self) -> usize {
        self.live.len()
    }

    /// How many subscriptions are behind.
    pub fn behind_count(&self) -> usize {
        self.behind_count
    }

    fn join(&mut self, subscriber: Subscriber, channel: &ChannelName) -> Place {
        let listeners = self.live.entry(channel.clone()).or_default();
        listeners.push(subscriber);
        Place::Live { index: listeners.len() - 1 }
    }

    fn leave(&mut self, channel: &ChannelName, index: usize) {
        let Some(listeners) = self.live.get_mut(channel) else { return };
        listeners.swap_remove(index);
        if listeners.is_empty() {
            self.live.remove(channel);
            return;
        }
        // The last one took the free place and must know where it stands now.
        if let Some(&moved) = listeners.get(index)
            && let Some(place) = self.place_mut(moved, channel)
        {
            *place = Place::Live { index };
        }
    }

    fn place_mut(&mut self, subscriber: Subscriber, channel: &ChannelName) -> Option<&mut Place> {
        let held = self.subscriptions.get_mut(&subscriber)?;
        let held = held.iter_mut().find(|held| held.channel == *channel)?;
        Some(&mut held.place)
    }
}

/// The caller asked for too much.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A connection may hear only so many channels.
    #[error("a connection may listen to at most {channel_count_max} channels")]
    TooManyChannels {
        /// The limit.
        channel_count_max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn name(index: u8) -> ChannelName {
        ChannelName::parse(&format!("channel-{index}")).expect("a valid name")
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Model {
        Live,
        Behind(u64),
        Asked(u64),
    }

    proptest! {
        #[test]
        fn agrees_with_a_table_of_pairs(
            steps in prop::collection::vec((0usize..8, 0u8..5, 0u8..7, 0u64..4), 0..300)
        ) {
            let mut hub = Hub::default();
            let mut model: BTreeMap<(Subscriber, u8), Model> = BTreeMap::new();
            for (subscriber, channel, step, offset) in steps {
                let key = (subscriber, channel);
                match step {
                    0 => {
                        hub.remove(subscriber);
                        model.retain(|(held, _), _| *held != subscriber);
                    }
                    1 => {
                        hub.unsubscribe(subscriber, &name(channel));
                        model.remove(&key);
                    }
                    2 => {
                        let held = model.keys().filter(|(held, _)| *held == subscriber).count();
                        let is_new = !model.contains_key(&key);
                        let outcome = hub.subscribe(subscriber, &name(channel), 3);
                        prop_assert_eq!(outcome.is_ok(), !is_new || held < 3);
                        if outcome.is_ok() && is_new {
                            model.insert(key, Model::Live);
                        }
                    }
                    3 => {
                        hub.feed(subscriber, &name(channel), Offset(offset), Offset(2));
                        let live = offset >= 2;
                        model.insert(key, if live { Model::Live } else { Model::Behind(offset) });
                    }
                    4 => {
                        hub.fall_behind(subscriber, &name(channel), Offset(offset));
                        if model.get(&key) == Some(&Model::Live) {
                            model.insert(key, Model::Behind(offset));
                        }
                    }
                    5 => {
                        let read = hub.next_read(subscriber);
                        let of = |(held, _): &(Subscriber, u8)| *held == subscriber;
                        let is_waiting = model.iter().any(|(key, place)| {
                            of(key) && matches!(place, Model::Asked(_))
                        });
                        let is_behind = model.iter().any(|(key, place)| {
                            of(key) && matches!(place, Model::Behind(_))
                        });
                        prop_assert_eq!(read.is_some(), is_behind && !is_waiting);
                        if let Some((channel, after)) = read {
                            let place = model.iter_mut().find(|((held, index), _)| {
                                *held == subscriber && name(*index) == channel
                            });
                            let (_, place) = place.expect("a subscription");
                            prop_assert_eq!(*place, Model::Behind(after.0));
                            *place = Model::Asked(after.0);
                        }
                    }
                    _ => {
                        let (from, after) = (offset / 2, offset);
                        let turned = hub.turn_page(
                            subscriber,
                            &name(channel),
                            Offset(from),
                            Offset(after),
                            Offset(2),
                        );
                        let is_asked = model.get(&key) == Some(&Model::Asked(from));
                        prop_assert_eq!(turned, is_asked);
                        if is_asked {
                            let live = after >= 2;
                            let place = if live { Model::Live } else { Model::Behind(after) };
                            model.insert(key, place);
                        }
                    }
                }
                let behind = model.values().filter(|place| **place != Model::Live).count();
                prop_assert_eq!(hub.behind_count(), behind);
                for channel in 0..5 {
                    let live = model.iter().filter(|((_, held), place)| {
                        *held == channel && **place == Model::Live
                    });
                    let live: BTreeSet<Subscriber> = live.map(|((held, _), _)| *held).collect();
                    let heard = hub.live(&name(channel));
                    prop_assert_eq!(heard.len(), live.len());
                    prop_assert_eq!(heard.iter().copied().collect::<BTreeSet<_>>(), live);
                }
            }
            (0..8).for_each(|subscriber| hub.remove(subscriber));
            prop_assert_eq!(hub.channel_count(), 0, "nothing stays behind");
            prop_assert_eq!(hub.behind_count(), 0);
            prop_assert!(hub.subscriptions.is_empty());
        }
    }

    #[test]
    fn channels_that_are_behind_take_turns() {
        let mut hub = Hub::default();
        for index in 0..3 {
            hub.feed(7, &name(index), Offset(1), Offset(9));
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            let (channel, after) = hub.next_read(7).expect("behind");
            assert_eq!(hub.next_read(7), None, "one page at a time");
            assert!(hub.turn_page(7, &channel, after, after.next(), Offset(9)));
            order.push(channel);
        }
        assert_eq!(order[..3], order[3..]);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3);
    }
}
