//! Subscriptions: where each channel stands, and what the next event must be.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    ClientFrame, Epoch, Event, Failure, Gap, GapReason, Offset, Presence, Start, Subscribe,
    Subscribed, Unsubscribed,
};

use super::state::{Place, SavedChannel, StateChange};
use super::{ClientEvent, ClientSession, Refused};

/// What is known of a channel besides what survives the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// The last place that was handed to the application; the cursor follows it.
    received: Option<Place>,
    /// The log was set back from here to the cursor, and gives these offsets a second time: until the
    /// application is past the gap nobody can tell which it means.
    set_back_from: Option<Offset>,
}

impl Channel {
    pub(super) fn of(saved: &SavedChannel) -> Channel {
        Channel { received: saved.cursor, set_back_from: None }
    }
}

impl ClientSession {
    /// Listens to a channel from now on, over all connections and sessions, until
    /// [`unsubscribe`](ClientSession::unsubscribe). A second call replaces the first: the
    /// subscription begins anew at its start.
    ///
    /// # Errors
    /// There are too many, or the session is over.
    pub fn subscribe(&mut self, now_ms: u64, subscribe: Subscribe) -> Result<(), Refused> {
        self.advance(now_ms);
        if self.is_over() {
            return Err(Refused::Ended);
        }
        let channel = subscribe.channel.clone();
        if !self.saved.channels.contains_key(&channel)
            && self.saved.channels.len() >= self.config.subscription_count_max
        {
            return Err(Refused::TooManySubscriptions);
        }
        self.change(StateChange::Subscribed(subscribe.clone()));
        let received = self.saved.channels.get(&channel).and_then(|saved| saved.cursor);
        self.channels.insert(channel, Channel { received, set_back_from: None });
        if self.is_open() {
            self.wish(subscribe.channel.clone(), ClientFrame::Subscribe(subscribe));
        }
        Ok(())
    }

    /// Listens to a channel where the application left it: behind the cursor if there is one, else
    /// like [`subscribe`](ClientSession::subscribe).
    ///
    /// # Errors
    /// As for [`subscribe`](ClientSession::subscribe).
    pub fn attach(&mut self, now_ms: u64, mut subscribe: Subscribe) -> Result<(), Refused> {
        let saved = self.saved.channels.get(&subscribe.channel);
        if let Some(Place { epoch, offset }) = saved.and_then(|saved| saved.cursor) {
            subscribe.start = Start::After { epoch: Some(epoch), offset };
        }
        self.subscribe(now_ms, subscribe)
    }

    /// Listens again to a channel that is known, in the way in which it was listened to.
    ///
    /// # Errors
    /// The session is over.
    pub fn attach_known(&mut self, now_ms: u64, channel: &ChannelName) -> Result<(), Refused> {
        match self.saved.channels.get(channel) {
            Some(saved) => self.attach(now_ms, saved.to_subscribe(channel)),
            None => Ok(()),
        }
    }

    /// The application takes no more of a channel for the time being: nothing comes of it, and its
    /// cursor stays, so that [`attach`](ClientSession::attach) goes on there.
    pub fn detach(&mut self, now_ms: u64, channel: &ChannelName) {
        self.advance(now_ms);
        if !self.is_over() && self.channels.remove(channel).is_some() && self.is_open() {
            let channel = channel.clone();
            self.wish(channel.clone(), ClientFrame::Unsubscribe { channel });
        }
    }

    /// Listens no longer, and forgets where it was.
    pub fn unsubscribe(&mut self, now_ms: u64, channel: &ChannelName) {
        self.advance(now_ms);
        if !self.is_over() && self.saved.channels.contains_key(channel) {
            let was_listened = self.channels.contains_key(channel);
            self.drop_channel(channel, None);
            if self.is_open() && was_listened {
                let channel = channel.clone();
                self.wish(channel.clone(), ClientFrame::Unsubscribe { channel });
            }
        }
    }

    /// The application has everything of a channel up to this place: of an event, its epoch and
    /// offset; of a gap, those that the channel goes on from. The cursor moves there. Several that
    /// were handed over in order may be consumed by naming the last.
    pub fn consumed(&mut self, now_ms: u64, channel: &ChannelName, epoch: Epoch, offset: Offset) {
        self.advance(now_ms);
        let Some(listened) = self.channels.get_mut(channel) else { return };
        let Some(received) = listened.received else { return };
        let Some(saved) = self.saved.channels.get(channel) else { return };
        let place = Place { epoch, offset };
        let is_behind_cursor = match saved.cursor {
            Some(cursor) if cursor.epoch == epoch => offset > cursor.offset,
            _ => received.epoch == epoch,
        };
        if let Some(from) = listened.set_back_from
            && saved.cursor.is_some_and(|cursor| cursor.epoch == epoch)
        {
            if is_behind_cursor && offset <= from {
                return;
            }
            listened.set_back_from = None;
        }
        let was_received = received.epoch != epoch || offset <= received.offset;
        if is_behind_cursor && was_received {
            let count = match saved.cursor {
                Some(cursor) if cursor.epoch == epoch => offset.0 - cursor.offset.0,
                _ => 1,
            };
            self.change(StateChange::CursorMoved { channel: channel.clone(), place });
            self.ack_channels.insert(channel.clone());
            self.note_arrivals(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Subscribes to what no cursor in the hello has subscribed to, and lets go of what the
    /// application has left since. What is unanswered as yet is what the hello named.
    pub(super) fn send_subscriptions(&mut self) {
        let left = self
            .unanswered
            .keys()
            .filter(|channel| !channel.is_inbox() && !self.channels.contains_key(*channel));
        for channel in left.cloned().collect::<Vec<_>>() {
            self.wish(channel.clone(), ClientFrame::Unsubscribe { channel });
        }
        let fresh = self.saved.channels.iter().filter(|(channel, saved)| {
            let is_in_hello = saved.cursor.is_some() && self.unanswered.contains_key(*channel);
            !is_in_hello && self.channels.contains_key(*channel)
        });
        let fresh: Vec<_> = fresh.map(|(channel, saved)| saved.to_subscribe(channel)).collect();
        for subscribe in fresh {
            self.wish(subscribe.channel.clone(), ClientFrame::Subscribe(subscribe));
        }
    }

    pub(super) fn handle_subscribed(&mut self, subscribed: Subscribed) {
        let place = Place { epoch: subscribed.epoch, offset: subscribed.offset };
        let name = &subscribed.channel;
        if !self.is_newest_answer(name) {
            return;
        }
        if !self.channels.contains_key(name) && !self.takes_inbox(name) {
            self.counters.event_duplicate_count += 1;
            return;
        }
        let known = self.saved.channels.get(name).map(Channel::of).unwrap_or_default();
        let channel = self.channels.entry(name.clone()).or_insert(known);
        // Where there is a place already, only events and gaps move it: nothing may be passed over
        // without a word.
        let known = channel.received;
        let set_back = known
            .filter(|known| known.epoch == place.epoch && known.offset > subscribed.head)
            .map(|known| set_back_gap(name.clone(), known, place));
        // A log that was set back knows less than we do, and will give offsets a second time. The cursor
        // goes back at once and not when the gap is consumed: when the log has grown past it, nobody can
        // tell that events are new.
        if known.is_none() || set_back.is_some() {
            channel.received = Some(place);
            channel.set_back_from = known.map(|known| known.offset);
            self.change(StateChange::CursorMoved { channel: name.clone(), place });
        }
        self.tell(ClientEvent::Subscribed(subscribed));
        if let Some(gap) = set_back {
            self.tell(ClientEvent::Gap(gap));
        }
    }

    pub(super) fn handle_unsubscribed(&mut self, unsubscribed: Unsubscribed) {
        let Unsubscribed { channel, failure } = unsubscribed;
        if self.is_newest_answer(&channel) {
            self.lose_channel(channel, failure);
        }
    }

    /// A problem with a channel is the answer to a wish about it that cannot be granted.
    pub(super) fn handle_refused_wish(&mut self, channel: ChannelName, failure: Failure) {
        let was_asked = self.unanswered.contains_key(&channel);
        if was_asked && self.is_newest_answer(&channel) {
            self.lose_channel(channel, Some(failure));
        }
    }

    pub(super) fn handle_event(&mut self, event: Event) {
        let Some(received) = self.place_of(&event.channel) else {
            self.counters.event_duplicate_count += 1;
            return;
        };
        if event.offset <= received.offset {
            self.counters.event_duplicate_count += 1;
            return;
        }
        if event.offset != received.offset.next() {
            return self.fault("a hole in the offsets of a channel");
        }
        let epoch = received.epoch;
        self.move_received(&event.channel, Place { epoch, offset: event.offset });
        self.tell(ClientEvent::Event { epoch, event });
    }

    pub(super) fn handle_gap(&mut self, gap: Gap) {
        let Some(received) = self.place_of(&gap.channel) else {
            self.counters.event_duplicate_count += 1;
            return;
        };
        match gap_to_tell(received, gap) {
            Ok(Some(gap)) => {
                let place = Place { epoch: gap.epoch, offset: gap.offset };
                self.move_received(&gap.channel, place);
                self.tell(ClientEvent::Gap(gap));
            }
            Ok(None) => self.counters.event_duplicate_count += 1,
            Err(what) => self.fault(what),
        }
    }

    pub(super) fn handle_presence(&mut self, presence: Presence) {
        if self.place_of(&presence.channel).is_some() {
            self.tell(ClientEvent::Presence(presence));
        }
    }

    /// The inbox of a session goes with it.
    pub(super) fn drop_session_inbox(&mut self) {
        if let Some(identity) = &self.saved.identity {
            self.channels.remove(&ChannelName::session_inbox(identity.session));
        }
    }

    /// Says what is wanted of a channel. Until the server has answered, what it says of the channel
    /// belongs to an earlier wish.
    fn wish(&mut self, channel: ChannelName, frame: ClientFrame) {
        *self.unanswered.entry(channel).or_default() += 1;
        self.transmit(frame);
    }

    /// Counts an answer, and says whether it answers our newest wish, or none of them.
    fn is_newest_answer(&mut self, channel: &ChannelName) -> bool {
        match self.unanswered.get_mut(channel) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => {
                self.unanswered.remove(channel);
                true
            }
            None => true,
        }
    }

    /// The place of a channel that is listened to, unless what comes now belongs to an earlier
    /// subscription.
    fn place_of(&self, channel: &ChannelName) -> Option<Place> {
        if self.unanswered.contains_key(channel) {
            return None;
        }
        self.channels.get(channel)?.received
    }

    fn move_received(&mut self, channel: &ChannelName, place: Place) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.received = Some(place);
        }
    }

    /// Only our own inboxes are subscribed without our asking.
    fn takes_inbox(&self, channel: &ChannelName) -> bool {
        let own = self.saved.identity.as_ref();
        let own = own.map(|identity| ChannelName::session_inbox(identity.session));
        own.as_ref() == Some(channel) || self.principal_inbox.as_ref() == Some(channel)
    }

    /// The server lets us listen no longer. Where we were stays, for it may let us again.
    fn lose_channel(&mut self, channel: ChannelName, failure: Option<Failure>) {
        if self.channels.remove(&channel).is_none() {
            return;
        }
        let saved = self.saved.channels.get(&channel);
        if saved.is_some_and(|saved| saved.cursor.is_some()) {
            self.tell(ClientEvent::Unsubscribed { channel, failure });
        } else {
            self.drop_channel(&channel, failure);
        }
    }

    fn drop_channel(&mut self, channel: &ChannelName, failure: Option<Failure>) {
        self.channels.remove(channel);
        self.ack_channels.remove(channel);
        self.change(StateChange::Unsubscribed { channel: channel.clone() });
        self.tell(ClientEvent::Unsubscribed { channel: channel.clone(), failure });
    }
}

/// What of a gap the application does not know yet. A server that we came back to counts from the
/// cursor, and the application may have more than that.
///
/// # Errors
/// The gap leaves a hole of its own, or contradicts itself.
fn gap_to_tell(received: Place, gap: Gap) -> Result<Option<Gap>, &'static str> {
    let is_within_epoch = gap.from_epoch == gap.epoch;
    // Of a log that was set back, its head has told already.
    if gap.epoch == received.epoch && gap.offset <= received.offset {
        return Ok(None);
    }
    if is_within_epoch && (gap.to != Some(gap.offset) || gap.from > gap.offset) {
        return Err("a gap that contradicts itself");
    }
    let from = received.offset.next();
    if gap.epoch != received.epoch {
        if is_within_epoch {
            return Err("a gap in an epoch that never began");
        }
        let to = gap.to.filter(|to| *to >= from);
        return Ok(Some(Gap { from_epoch: received.epoch, from, to, ..gap }));
    }
    if is_within_epoch && gap.from > from {
        return Err("a gap that begins behind a hole");
    }
    let (from_epoch, to) = (received.epoch, Some(gap.offset));
    Ok(Some(Gap { from_epoch, from, to, ..gap }))
}

/// What a log has lost that knew more: how much, nobody knows.
fn set_back_gap(channel: ChannelName, known: Place, place: Place) -> Gap {
    Gap {
        channel,
        from_epoch: known.epoch,
        from: known.offset.next(),
        to: None,
        reason: GapReason::Epoch,
        epoch: place.epoch,
        offset: place.offset,
    }
}
