//! What one connection listens to.

use mainstay_wire::ChannelName;

use crate::node::Subscription;

/// Subscriptions by channel.
///
/// Nearly every session has a handful of them, and there are as many of these tables as sessions. A
/// tree's smallest node has room for eleven entries; a sorted list has no more than is used, and the
/// limit of subscriptions keeps it short.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    sorted: Vec<(ChannelName, Subscription)>,
}

impl Subscriptions {
    pub(crate) fn get(&self, channel: &ChannelName) -> Option<&Subscription> {
        let index = self.find(channel).ok()?;
        self.sorted.get(index).map(|(_, subscription)| subscription)
    }

    pub(crate) fn get_mut(&mut self, channel: &ChannelName) -> Option<&mut Subscription> {
        let index = self.find(channel).ok()?;
        self.sorted.get_mut(index).map(|(_, subscription)| subscription)
    }

    pub(crate) fn contains_key(&self, channel: &ChannelName) -> bool {
        self.find(channel).is_ok()
    }

    /// Replaces one to the same channel.
    pub(crate) fn insert(&mut self, channel: ChannelName, subscription: Subscription) {
        match self.find(&channel) {
            Ok(index) => {
                if let Some((_, place)) = self.sorted.get_mut(index) {
                    *place = subscription;
                }
            }
            Err(index) => self.sorted.insert(index, (channel, subscription)),
        }
    }

    pub(crate) fn remove(&mut self, channel: &ChannelName) -> Option<Subscription> {
        let index = self.find(channel).ok()?;
        Some(self.sorted.remove(index).1)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ChannelName> {
        self.sorted.iter().map(|(channel, _)| channel)
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    fn find(&self, channel: &ChannelName) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(held, _)| held.cmp(channel))
    }
}

impl<'a> IntoIterator for &'a Subscriptions {
    type Item = (&'a ChannelName, &'a Subscription);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (ChannelName, Subscription)>,
        fn(&'a (ChannelName, Subscription)) -> Self::Item,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.iter().map(|(channel, subscription)| (channel, subscription))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mainstay_wire::session::{Delivery, Offset, PresenceMode};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u8..6, 0u8..3, 0u64..9), 0..60)) {
            let mut subscriptions = Subscriptions::default();
            let mut model: BTreeMap<ChannelName, u64> = BTreeMap::new();
            for (channel, step, offset) in steps {
                let channel = ChannelName::parse(&format!("c{channel}")).expect("a name");
                let subscription = Subscription {
                    delivery: Delivery::Every,
                    presence: PresenceMode::None,
                    acknowledged: Offset(offset),
                };
                match step {
                    0 => {
                        let removed = subscriptions.remove(&channel).map(|s| s.acknowledged.0);
                        prop_assert_eq!(removed, model.remove(&channel));
                    }
                    1 => {
                        subscriptions.insert(channel.clone(), subscription);
                        model.insert(channel.clone(), offset);
                    }
                    _ => {
                        if let Some(held) = subscriptions.get_mut(&channel) {
                            held.acknowledged = Offset(offset);
                            model.insert(channel.clone(), offset);
                        }
                    }
                }
                let held = subscriptions.get(&channel).map(|s| s.acknowledged.0);
                prop_assert_eq!(held, model.get(&channel).copied());
                prop_assert_eq!(subscriptions.contains_key(&channel), held.is_some());
                prop_assert!(subscriptions.keys().eq(model.keys()));
                let all = (&subscriptions).into_iter().map(|(c, s)| (c, s.acknowledged.0));
                prop_assert!(all.eq(model.iter().map(|(c, offset)| (c, *offset))));
            }
        }
    }
}
