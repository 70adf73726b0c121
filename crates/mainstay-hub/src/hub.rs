//! Channels and their subscribers on one shard.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use thiserror::Error;

use mainstay_wire::ChannelName;

/// Whom an event is delivered to: the shard's own number for one of its connections.
pub type Subscriber = usize;

/// The subscriptions of one shard.
///
/// Subscribers of a channel lie densely in one list, for a fan-out walks all of them; each
/// subscriber remembers its places, so that leaving costs the same in a channel of ten and of ten
/// thousand.
#[derive(Debug, Default)]
pub struct Hub {
    channels: HashMap<ChannelName, Vec<Subscriber>>,
    subscriptions: HashMap<Subscriber, Vec<Subscription>>,
}

#[derive(Debug)]
struct Subscription {
    channel: ChannelName,
    /// Index in the channel's list.
    index: usize,
}

impl Hub {
    /// Lets `subscriber` hear `channel`. Subscribing twice is the same as once.
    ///
    /// # Errors
    /// If the subscriber already hears `channel_count_max` others.
    pub fn subscribe(
        &mut self,
        subscriber: Subscriber,
        channel: &ChannelName,
        channel_count_max: usize,
    ) -> Result<(), SubscribeError> {
        let held = self.subscriptions.entry(subscriber).or_default();
        if held.iter().any(|subscription| subscription.channel == *channel) {
            return Ok(());
        }
        if held.len() >= channel_count_max {
            if held.is_empty() {
                self.subscriptions.remove(&subscriber);
            }
            return Err(SubscribeError::TooManyChannels { channel_count_max });
        }
        let listeners = self.channels.entry(channel.clone()).or_default();
        held.push(Subscription { channel: channel.clone(), index: listeners.len() });
        listeners.push(subscriber);
        Ok(())
    }

    /// Ends all subscriptions of `subscriber`.
    pub fn remove(&mut self, subscriber: Subscriber) {
        for Subscription { channel, index } in
            self.subscriptions.remove(&subscriber).unwrap_or_default()
        {
            let Some(listeners) = self.channels.get_mut(&channel) else { continue };
            listeners.swap_remove(index);
            if listeners.is_empty() {
                self.channels.remove(&channel);
                continue;
            }
            // The last one took the free place and must know where it stands now.
            if let Some(moved) = listeners.get(index)
                && let Some(held) = self.subscriptions.get_mut(moved)
                && let Some(subscription) = held.iter_mut().find(|held| held.channel == channel)
            {
                subscription.index = index;
            }
        }
    }

    /// Everyone who hears `channel`, in no particular order.
    pub fn subscribers(&self, channel: &ChannelName) -> &[Subscriber] {
        self.channels.get(channel).map_or(&[], Vec::as_slice)
    }

    /// How many channels somebody hears.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
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

/// The shard that puts the events of `channel` in order: each event passes through it, so all
/// subscribers on all shards see the same order.
pub fn owner_shard(channel: &str, shard_count: usize) -> usize {
    // Fixed keys: every shard must come to the same answer. A peer that picks names to load one
    // shard gains no more than by speaking on one channel.
    let mut hasher = DefaultHasher::new();
    channel.hash(&mut hasher);
    (hasher.finish() % shard_count.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn name(index: u8) -> ChannelName {
        ChannelName::parse(&format!("channel-{index}")).expect("a valid name")
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_pairs(steps in prop::collection::vec((0usize..8, 0u8..5, 0u8..4), 0..200)) {
            let mut hub = Hub::default();
            let mut model: BTreeMap<u8, BTreeSet<Subscriber>> = BTreeMap::new();
            for (subscriber, channel, step) in steps {
                if step == 0 {
                    hub.remove(subscriber);
                    model.values_mut().for_each(|set| { set.remove(&subscriber); });
                } else {
                    let held = model.values().filter(|set| set.contains(&subscriber)).count();
                    let is_new = !model.entry(channel).or_default().contains(&subscriber);
                    let outcome = hub.subscribe(subscriber, &name(channel), 3);
                    prop_assert_eq!(outcome.is_ok(), !is_new || held < 3);
                    if outcome.is_ok() {
                        model.entry(channel).or_default().insert(subscriber);
                    }
                }
                for (channel, set) in &model {
                    let heard = hub.subscribers(&name(*channel));
                    prop_assert_eq!(heard.len(), set.len());
                    prop_assert_eq!(&heard.iter().copied().collect::<BTreeSet<_>>(), set);
                }
            }
            (0..8).for_each(|subscriber| hub.remove(subscriber));
            prop_assert_eq!(hub.channel_count(), 0, "nothing stays behind");
            prop_assert!(hub.subscriptions.is_empty());
        }
    }

    #[test]
    fn every_channel_has_one_owner() {
        for shard_count in 1..9 {
            for index in 0..100 {
                let owner = owner_shard(&format!("channel-{index}"), shard_count);
                assert!(owner < shard_count);
                assert_eq!(owner, owner_shard(&format!("channel-{index}"), shard_count));
            }
        }
    }
}
