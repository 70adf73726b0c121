//! Who listens to what, and from where.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Cursor, Delivery, Epoch, ErrorCode, Gap, GapReason, Offset, PresenceMode, ServerFrame,
    SessionId, Start, Subscribe, Subscribed, Unsubscribed,
};

use crate::account::Account;
use crate::channel::{Channel, Extent, FRONT_COUNT_MIN};
use crate::node::Subscription;
use crate::{Effect, Happening, Node};

/// Where a subscription begins.
struct Beginning {
    /// What the client is told that it has.
    offset: Offset,
    /// What it misses.
    gap: Option<Gap>,
    /// Where its feed begins.
    after: Offset,
}

impl Node {
    pub(crate) fn handle_subscribe(&mut self, now_ms: u64, id: SessionId, subscribe: Subscribe) {
        self.subscribe(now_ms, id, subscribe, Wish::New);
    }

    pub(crate) fn subscribe_from_cursor(&mut self, now_ms: u64, id: SessionId, cursor: &Cursor) {
        let Cursor { channel, epoch, offset, delivery, presence } = cursor.clone();
        let start = Start::After { epoch: Some(epoch), offset };
        let known = self.channels.get(&channel);
        let is_current = known.is_some_and(|known| known.epoch == epoch);
        let subscribe = Subscribe { channel: channel.clone(), start, delivery, presence };
        self.subscribe(now_ms, id, subscribe, Wish::Known);
        // An acknowledgement that was lost stands in the cursor.
        if is_current {
            self.note_cursor(now_ms, id, &channel, offset);
        }
    }

    /// Subscribes to an inbox that the hello had no cursor for.
    pub(crate) fn subscribe_inbox(&mut self, now_ms: u64, id: SessionId, inbox: ChannelName) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let Some(link) = &entry.link else { return };
        if link.subscriptions.contains_key(&inbox) {
            return;
        }
        let start = match entry.session.record().inbox_from {
            Some((epoch, offset)) if inbox != ChannelName::session_inbox(id) => {
                Start::After { epoch: Some(epoch), offset }
            }
            _ => Start::After { epoch: None, offset: Offset::ZERO },
        };
        let (delivery, presence) = (Delivery::Every, PresenceMode::None);
        let subscribe = Subscribe { channel: inbox, start, delivery, presence };
        self.subscribe(now_ms, id, subscribe, Wish::Known);
    }

    fn subscribe(&mut self, now_ms: u64, id: SessionId, subscribe: Subscribe, wish: Wish) {
        let Subscribe { channel: name, start, delivery, presence } = subscribe;
        if name.is_inbox() && !self.inboxes(id).contains(&name) {
            let message = "this inbox belongs to somebody else";
            return self.say_problem(id, name, ErrorCode::NotPermitted, message);
        }
        let presence = if name.is_inbox() { PresenceMode::None } else { presence };
        let Some(link) = self.sessions.get(&id).and_then(|entry| entry.link.as_ref()) else {
            return;
        };
        let count_max = self.config.subscription_count_max as usize;
        let held = link.subscriptions.keys().filter(|held| !held.is_inbox()).count();
        if !name.is_inbox() && !link.subscriptions.contains_key(&name) && held >= count_max {
            let message = format!("a session may listen to {count_max} channels");
            return self.say_problem(id, name, ErrorCode::TooManySubscriptions, message);
        }
        let account = self.account(id).filter(|_| !name.is_inbox());
        let admitted = match &account {
            Some(account) => self.check_account(&name, account, Channel::is_idle),
            None => Ok(()),
        };
        if let Err(failure) = admitted {
            return self.say_problem(id, name, failure.code, failure.message);
        }
        // The inbox of a session waits for its first message.
        if !name.is_session_inbox()
            && let Err(failure) = self.open_channel(now_ms, &name)
        {
            return self.say_problem(id, name, failure.code, failure.message);
        }
        self.end_subscription(now_ms, id, &name, KeepMembership::If(presence.joins()));
        if wish == Wish::New {
            self.note_channel(id, Happening::Subscribed, &name);
        }
        self.begin_subscription(now_ms, id, name, start, delivery, presence);
    }

    fn begin_subscription(
        &mut self,
        now_ms: u64,
        id: SessionId,
        name: ChannelName,
        start: Start,
        delivery: Delivery,
        presence: PresenceMode,
    ) {
        let Some(connection) = self.connection(id) else { return };
        let Some(extent) = self.extent(&name) else { return };
        let Beginning { offset, gap, after } = beginning(&name, extent, start);
        let (epoch, head) = (extent.epoch, extent.head);
        let account = self.account(id).filter(|_| !name.is_inbox());
        self.channels.join(now_ms, &name, account);
        if let Some(link) = self.sessions.get_mut(&id).and_then(|entry| entry.link.as_mut()) {
            let subscription = Subscription { delivery, presence, acknowledged: after };
            link.subscriptions.insert(name.clone(), subscription);
        }
        if presence.joins() {
            self.join_room(now_ms, &name, id);
        }
        let member_count = self.members.count(&name);
        let channel = name.clone();
        let subscribed = Subscribed { channel, epoch, offset, head, member_count };
        self.say(id, ServerFrame::Subscribed(subscribed));
        if presence.watches() {
            self.watch_room(&name, id);
        }
        if let Some(gap) = gap {
            self.note_gap(id, &gap);
            self.say(id, ServerFrame::Gap(gap));
        }
        // Events that come later in this batch must come behind the feed.
        self.staged.delivers.remove(&name);
        self.push(Effect::Feed { connection, channel: name, after, head, delivery });
    }

    pub(crate) fn handle_unsubscribe(&mut self, now_ms: u64, id: SessionId, name: ChannelName) {
        let Some(link) = self.sessions.get(&id).and_then(|entry| entry.link.as_ref()) else {
            return;
        };
        if !link.subscriptions.contains_key(&name) {
            let message = "the session does not listen to this channel";
            return self.say_problem(id, name, ErrorCode::NotSubscribed, message);
        }
        let connection = link.connection;
        self.end_subscription(now_ms, id, &name, KeepMembership::If(false));
        self.note_channel(id, Happening::Unsubscribed, &name);
        self.push(Effect::Unfeed { connection, channel: name.clone() });
        let unsubscribed = Unsubscribed { channel: name, failure: None };
        self.say(id, ServerFrame::Unsubscribed(unsubscribed));
    }

    fn end_subscription(
        &mut self,
        now_ms: u64,
        id: SessionId,
        name: &ChannelName,
        KeepMembership::If(keeps): KeepMembership,
    ) {
        let link = self.sessions.get_mut(&id).and_then(|entry| entry.link.as_mut());
        let Some(held) = link.and_then(|link| link.subscriptions.remove(name)) else { return };
        self.channels.leave(now_ms, name);
        if held.presence.watches() {
            self.members.unwatch(name, id);
        }
        if held.presence.joins() && !keeps {
            self.leave_room(now_ms, name, id);
        }
    }

    /// Where the client says that it is. What it has of its own inbox need not be kept. A place beyond
    /// the head is one of a log that knew more than this one, and says nothing of this one's events.
    pub(crate) fn note_cursor(
        &mut self,
        now_ms: u64,
        id: SessionId,
        name: &ChannelName,
        offset: Offset,
    ) {
        if self.channels.get(name).is_none_or(|channel| offset > channel.head) {
            return;
        }
        let link = self.sessions.get_mut(&id).and_then(|entry| entry.link.as_mut());
        let Some(held) = link.and_then(|link| link.subscriptions.get_mut(name)) else { return };
        held.acknowledged = held.acknowledged.max(offset);
        if *name == ChannelName::session_inbox(id) {
            self.look_ahead(name, self.config.inbox_retention, FRONT_COUNT_MIN);
            self.trim(now_ms, name, offset.next());
        }
    }

    /// Whom the channels count against that a session brings into being.
    pub(crate) fn account(&self, id: SessionId) -> Option<Account> {
        let entry = self.sessions.get(&id)?;
        let principal = entry.session.record().principal.as_ref();
        entry.link.as_ref().map(|link| Account::of(principal, link.source))
    }

    /// Whether a session's connection listens to a channel.
    pub(crate) fn listens(&self, id: SessionId, name: &ChannelName) -> bool {
        let link = self.sessions.get(&id).and_then(|entry| entry.link.as_ref());
        link.is_some_and(|link| link.subscriptions.contains_key(name))
    }

    /// How many sessions listen to a channel over a connection.
    pub(crate) fn subscriber_count(&self, name: &ChannelName) -> usize {
        match (self.channels.get(name), name.inbox_session()) {
            (Some(channel), _) => channel.subscriber_count,
            (None, Some(session)) => usize::from(self.listens(session, name)),
            (None, None) => 0,
        }
    }

    /// The inboxes that are a session's own.
    pub(crate) fn inboxes(&self, id: SessionId) -> Vec<ChannelName> {
        let principal = self.sessions.get(&id).and_then(|e| e.session.record().principal.as_ref());
        let mut inboxes = vec![ChannelName::session_inbox(id)];
        inboxes.extend(principal.map(ChannelName::principal_inbox));
        inboxes
    }

    /// A new session hears its principal's inbox from now on, also if it never learns that it does.
    pub(crate) fn open_principal_inbox(&mut self, now_ms: u64, id: SessionId) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let Some(principal) = &entry.session.record().principal else { return };
        let inbox = ChannelName::principal_inbox(principal);
        // Inboxes are not counted, so this does not fail.
        let _ = self.open_channel(now_ms, &inbox);
        self.channels.own(now_ms, &inbox, true);
        let place: Option<(Epoch, Offset)> =
            self.channels.get(&inbox).map(|channel| (channel.epoch, channel.head));
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.session.record_mut().inbox_from = place;
        }
    }
}

/// Whether a session has listened to the channel before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// It asks for it.
    New,
    /// It takes up what it had, or what every session has.
    Known,
}

/// Whether a membership outlasts the subscription that it came with.
enum KeepMembership {
    If(bool),
}

fn beginning(name: &ChannelName, extent: Extent, start: Start) -> Beginning {
    let (start_of_log, head) = (extent.start(), extent.head);
    let at = |offset: Offset| Beginning { offset, gap: None, after: offset };
    let (epoch, offset) = match start {
        Start::Now => return at(head),
        Start::Last(count) => {
            let wanted = Offset(head.0.saturating_sub(u64::from(count)));
            return at(wanted.max(start_of_log));
        }
        // Of no epoch there is nothing to miss.
        Start::After { epoch: None, offset } => return at(offset.max(start_of_log).min(head)),
        Start::After { epoch: Some(epoch), offset } => (epoch, offset),
    };
    let gap = |to, reason| Gap {
        channel: name.clone(),
        from_epoch: epoch,
        from: offset.next(),
        to,
        reason,
        epoch: extent.epoch,
        offset: start_of_log,
    };
    if epoch != extent.epoch || offset > head {
        // An offset beyond the head belongs to a log that knew more than this one.
        let gap = Some(gap(None, GapReason::Epoch));
        return Beginning { offset: start_of_log, gap, after: start_of_log };
    }
    if offset < start_of_log {
        let gap = Some(gap(Some(start_of_log), GapReason::Trimmed));
        return Beginning { offset, gap, after: start_of_log };
    }
    at(offset)
}
