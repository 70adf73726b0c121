//! Channels: where each stands, and how much of it is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mainstay_log::{ChannelKeep, ChannelRecord, LogError, ReadLimit, StoredEvent, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, ErrorCode, Failure, Offset, SessionId};

use crate::account::Account;
use crate::timer::Timer;
use crate::{Node, Retention};

/// Every channel, in memory and in the log alike.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_name: BTreeMap<ChannelName, Channel>,
    /// Those that hold nothing and that nobody listens to, by since when: the first to make room.
    idle: BTreeSet<(u64, ChannelName)>,
    /// The same for inboxes of principals, none of whose sessions is left.
    idle_inboxes: BTreeSet<(u64, ChannelName)>,
    /// Channels that count against their limit: inboxes apart.
    counted: usize,
    /// Inboxes of principals. Those of sessions go with them.
    inbox_count: usize,
    /// How many channels each client keeps from being idle.
    accounts: BTreeMap<Account, usize>,
    /// Bytes of payloads in all, and how many events they are of.
    bytes: u64,
    event_count: u64,
}

/// Where one channel stands.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) epoch: Epoch,
    /// The first event that is kept; the one behind the head when none is.
    pub(crate) first: Offset,
    pub(crate) head: Offset,
    pub(crate) bytes: u64,
    pub(crate) subscriber_count: usize,
    /// When and how large the oldest events are, from `first` on, as far as has been looked.
    front: VecDeque<(u64, u32)>,
    /// Up to here events are from before this node, whose clock may have been ahead.
    inherited: Offset,
    /// For when the trimming of its oldest event is armed.
    trim_at_ms: Option<u64>,
    /// Whether it is the inbox of a principal with sessions, there or away.
    is_owned: bool,
    idle_since_ms: Option<u64>,
    /// Whom it counts against while it is not idle: who put the first of its events there, or while there
    /// are none, who was first to listen.
    account: Option<Account>,
}

/// From where to where a channel's events reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) epoch: Epoch,
    /// The first event that is kept; the one behind the head when none is.
    pub(crate) first: Offset,
    pub(crate) head: Offset,
    /// Bytes of the payloads that are kept.
    pub(crate) bytes: u64,
}

impl Extent {
    /// The extent of what holds nothing and never has.
    fn empty(epoch: Epoch) -> Extent {
        Extent { epoch, first: Offset(1), head: Offset::ZERO, bytes: 0 }
    }

    /// The place before the first event that is kept.
    pub(crate) fn start(&self) -> Offset {
        Offset(self.first.0.saturating_sub(1))
    }

    pub(crate) fn event_count(&self) -> u64 {
        (self.head.0 + 1).saturating_sub(self.first.0)
    }
}

impl Channel {
    pub(crate) fn of(keep: &ChannelKeep) -> Channel {
        Channel {
            epoch: keep.record.epoch,
            first: keep.first,
            head: keep.head,
            bytes: keep.bytes,
            subscriber_count: 0,
            front: VecDeque::new(),
            inherited: keep.head,
            trim_at_ms: None,
            is_owned: false,
            idle_since_ms: None,
            account: Account::decode(&keep.record.settings),
        }
    }

    pub(crate) fn has_events(&self) -> bool {
        self.first <= self.head
    }

    /// Whether it holds nothing and nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_since_ms.is_some()
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent { epoch: self.epoch, first: self.first, head: self.head, bytes: self.bytes }
    }

    fn event_count(&self) -> u64 {
        self.extent().event_count()
    }

    /// Whether the front reaches up to the head.
    fn front_is_whole(&self) -> bool {
        self.front.len() as u64 == self.event_count()
    }
}

impl Channels {
    pub(crate) fn get(&self, name: &ChannelName) -> Option<&Channel> {
        self.by_name.get(name)
    }

    pub(crate) fn insert(&mut self, now_ms: u64, name: ChannelName, channel: Channel) {
        self.counted += usize::from(!name.is_inbox());
        self.inbox_count += usize::from(is_principal_inbox(&name));
        self.bytes += channel.bytes;
        self.event_count += channel.event_count();
        self.charge(channel.account.as_ref());
        self.by_name.insert(name.clone(), channel);
        self.note_idle(now_ms, &name);
    }

    pub(crate) fn remove(&mut self, name: &ChannelName) {
        let Some(channel) = self.by_name.remove(name) else { return };
        self.counted -= usize::from(!name.is_inbox());
        self.inbox_count -= usize::from(is_principal_inbox(name));
        self.bytes -= channel.bytes;
        self.event_count -= channel.event_count();
        match channel.idle_since_ms {
            Some(since_ms) => {
                self.idle_like(name).remove(&(since_ms, name.clone()));
            }
            None => self.discharge(channel.account.as_ref()),
        }
    }

    /// What was loaded again, because the log was full, is no older than it was before.
    pub(crate) fn recall_inherited(&mut self, before: &Channels) {
        for (name, channel) in &mut self.by_name {
            let known = before.get(name).filter(|known| known.epoch == channel.epoch);
            channel.inherited = known.map_or(Offset::ZERO, |known| known.inherited);
        }
    }

    /// How many there are, inboxes apart.
    pub(crate) fn count(&self) -> usize {
        self.counted
    }

    /// Channels whose names begin so, in the order of their names, from behind one on.
    pub(crate) fn from<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&ChannelName>,
    ) -> impl Iterator<Item = (&'a ChannelName, &'a Channel)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let after = after.map(ChannelName::as_str).filter(|after| *after >= prefix);
        let from = after.map_or(Included(prefix), Excluded);
        let channels = self.by_name.range::<str, _>((from, Unbounded));
        channels.take_while(move |(name, _)| name.as_str().starts_with(prefix))
    }

    /// Counts again what is otherwise counted along.
    pub(crate) fn audit(&self) {
        let count = |is: fn(&ChannelName) -> bool| self.by_name.keys().filter(|n| is(n)).count();
        assert_eq!(self.counted, count(|name| !name.is_inbox()), "channels");
        assert_eq!(self.inbox_count, count(is_principal_inbox), "inboxes of principals");
        assert_eq!(self.bytes, self.by_name.values().map(|c| c.bytes).sum::<u64>(), "bytes");
        let event_count: u64 = self.by_name.values().map(Channel::event_count).sum();
        assert_eq!(self.event_count, event_count, "events");
        let mut accounts: BTreeMap<Account, usize> = BTreeMap::new();
        let busy = self.by_name.values().filter(|channel| channel.idle_since_ms.is_none());
        for account in busy.filter_map(|channel| channel.account.as_ref()) {
            *accounts.entry(account.clone()).or_default() += 1;
        }
        assert_eq!(self.accounts, accounts, "channels of each client");
        assert!(self.idle.iter().all(|(_, name)| !name.is_inbox()), "inboxes are idle apart");
        for (since_ms, name) in self.idle.iter().chain(&self.idle_inboxes) {
            let channel = self.by_name.get(name);
            let is_idle = |channel: &Channel| {
                channel.idle_since_ms == Some(*since_ms) && !channel.has_events()
            };
            assert!(channel.is_some_and(is_idle), "{name} is idle");
        }
        let marked = self.by_name.values().filter(|channel| channel.idle_since_ms.is_some());
        assert_eq!(self.idle.len() + self.idle_inboxes.len(), marked.count(), "idle channels");
    }

    /// What all events weigh, empty ones too.
    pub(crate) fn weight(&self) -> u64 {
        self.bytes + self.event_count * EVENT_BYTES
    }

    /// Somebody listens. A channel that was idle counts against that client.
    pub(crate) fn join(&mut self, now_ms: u64, name: &ChannelName, account: Option<Account>) {
        if self.by_name.get(name).is_some_and(|channel| channel.idle_since_ms.is_some()) {
            self.claim(name, account);
        }
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.subscriber_count += 1;
        }
        self.note_idle(now_ms, name);
    }

    pub(crate) fn leave(&mut self, now_ms: u64, name: &ChannelName) {
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.subscriber_count = channel.subscriber_count.saturating_sub(1);
        }
        self.note_idle(now_ms, name);
    }

    /// Whether the principal whose inbox this is has sessions.
    pub(crate) fn own(&mut self, now_ms: u64, inbox: &ChannelName, is_owned: bool) {
        if let Some(channel) = self.by_name.get_mut(inbox) {
            channel.is_owned = is_owned;
        }
        self.note_idle(now_ms, inbox);
    }

    fn idle_like(&mut self, name: &ChannelName) -> &mut BTreeSet<(u64, ChannelName)> {
        if name.is_inbox() { &mut self.idle_inboxes } else { &mut self.idle }
    }

    /// From now on a channel counts against this client.
    fn claim(&mut self, name: &ChannelName, account: Option<Account>) {
        let Some(channel) = self.by_name.get_mut(name) else { return };
        let before = std::mem::replace(&mut channel.account, account.clone());
        if channel.idle_since_ms.is_none() {
            self.discharge(before.as_ref());
            self.charge(account.as_ref());
        }
    }

    fn charge(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            *self.accounts.entry(account.clone()).or_default() += 1;
        }
    }

    fn discharge(&mut self, account: Option<&Account>) {
        let Some(account) = account else { return };
        if let Some(count) = self.accounts.get_mut(account) {
            *count -= 1;
            if *count == 0 {
                self.accounts.remove(account);
            }
        }
    }

    fn note_idle(&mut self, now_ms: u64, name: &ChannelName) {
        let Some(channel) = self.by_name.get_mut(name) else { return };
        let is_kept = channel.subscriber_count > 0 || channel.has_events() || channel.is_owned;
        let is_idle = !is_kept && !name.is_session_inbox();
        match (is_idle, channel.idle_since_ms) {
            (true, None) => {
                channel.idle_since_ms = Some(now_ms);
                let account = channel.account.clone();
                self.idle_like(name).insert((now_ms, name.clone()));
                self.discharge(account.as_ref());
            }
            (false, Some(since_ms)) => {
                channel.idle_since_ms = None;
                let account = channel.account.clone();
                self.idle_like(name).remove(&(since_ms, name.clone()));
                self.charge(account.as_ref());
            }
            _ => {}
        }
    }
}

impl Node {
    /// From where to where a channel's events reach; `None` if there is no such channel. An inbox of a
    /// session begins to exist when something is sent to it, and until then is an empty one.
    pub(crate) fn extent(&self, name: &ChannelName) -> Option<Extent> {
        if let Some(channel) = self.channels.get(name) {
            return Some(channel.extent());
        }
        let session = name.inbox_session().filter(|id| self.sessions.contains_key(id))?;
        Some(Extent::empty(self.inbox_epoch(session)))
    }

    /// The epoch that the inbox of a session has or will have. It is told to the client before there is
    /// an inbox, and must be the same after a restart and another one in a copy that came alive.
    fn inbox_epoch(&self, session: SessionId) -> Epoch {
        let [.., a, b, c, d, e, f, g, h] = *session.as_bytes();
        Epoch(u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ self.log.epoch_salt())
    }

    /// Makes sure that a channel exists. At the limit the one that has been idle for longest makes
    /// room. Inboxes neither need room nor make it: of those that no session and no message needs as many
    /// are kept as there may be sessions.
    pub(crate) fn open_channel(&mut self, now_ms: u64, name: &ChannelName) -> Result<(), Failure> {
        if self.channels.get(name).is_some() {
            return Ok(());
        }
        let count_max = self.config.channel_count_max;
        if is_principal_inbox(name) {
            self.forget_idle_inboxes();
        } else if !name.is_inbox() && self.channels.counted >= count_max {
            let Some((_, idle)) = self.channels.idle.first().cloned() else {
                let message = format!("there are {count_max} channels already");
                return Err(Failure { code: ErrorCode::TooManyChannels, message });
            };
            self.delete_channel(&idle);
        }
        let owner = name.inbox_session();
        let epoch = match owner {
            Some(session) => self.inbox_epoch(session),
            None => Epoch(u64::from_le_bytes(self.random())),
        };
        let record = ChannelRecord { epoch, settings: bytes::Bytes::new() };
        let keep =
            ChannelKeep { record: record.clone(), first: Offset(1), head: Offset::ZERO, bytes: 0 };
        self.staged.writes.push(Write::PutChannel { channel: name.clone(), record });
        self.insert_channel(now_ms, name.clone(), Channel::of(&keep));
        if owner.is_some_and(|session| self.listens(session, name)) {
            self.channels.join(now_ms, name, None);
        }
        Ok(())
    }

    /// Takes a channel into memory.
    pub(crate) fn insert_channel(&mut self, now_ms: u64, name: ChannelName, mut channel: Channel) {
        let owner = name.inbox_principal();
        channel.is_owned = owner.is_some_and(|owner| self.principals.count(&owner) > 0);
        self.channels.insert(now_ms, name, channel);
    }

    fn forget_idle_inboxes(&mut self) {
        while self.channels.inbox_count >= self.config.session_count_max
            && let Some((_, inbox)) = self.channels.idle_inboxes.first().cloned()
        {
            self.delete_channel(&inbox);
        }
    }

    /// The first event of a channel that holds none: from now on it counts against whose event it is.
    pub(crate) fn claim_channel(&mut self, name: &ChannelName, account: Option<Account>) {
        let Some(channel) = self.channels.get(name) else { return };
        if channel.has_events() || (account.is_none() && channel.account.is_none()) {
            return;
        }
        let (epoch, settings) = (channel.epoch, Account::encode(account.as_ref()));
        let record = ChannelRecord { epoch, settings };
        self.staged.writes.push(Write::PutChannel { channel: name.clone(), record });
        self.channels.claim(name, account);
    }

    /// Whether a client may wake a channel: by listening, one that is idle, and by an event, one that holds
    /// none. What is awake already counts against somebody.
    pub(crate) fn check_account(
        &self,
        name: &ChannelName,
        account: &Account,
        wakes: impl FnOnce(&Channel) -> bool,
    ) -> Result<(), Failure> {
        let count_max = self.config.channels_per_principal_max;
        let is_over = self.channels.accounts.get(account).is_some_and(|count| *count >= count_max);
        let counts_already =
            |channel: &Channel| !channel.is_idle() && channel.account.as_ref() == Some(account);
        let channel = self.channels.get(name);
        if is_over && channel.is_none_or(|channel| wakes(channel) && !counts_already(channel)) {
            let message = format!("this client keeps {count_max} channels already");
            return Err(Failure { code: ErrorCode::TooManyChannels, message });
        }
        Ok(())
    }

    /// Makes sure that all of these exist, or creates none. One of them is idle perhaps, and does not
    /// make room for another.
    pub(crate) fn open_channels(
        &mut self,
        now_ms: u64,
        names: &[ChannelName],
    ) -> Result<(), Failure> {
        let wanted: BTreeSet<&ChannelName> = names.iter().collect();
        let new: Vec<&ChannelName> =
            wanted.iter().copied().filter(|name| self.channels.get(name).is_none()).collect();
        let count_max = self.config.channel_count_max;
        let over = (self.channels.counted + new.len()).saturating_sub(count_max);
        let others = self.channels.idle.iter().map(|(_, name)| name);
        let idle: Vec<ChannelName> =
            others.filter(|name| !wanted.contains(name)).take(over).cloned().collect();
        if idle.len() < over {
            let message = format!("there are {count_max} channels already");
            return Err(Failure { code: ErrorCode::TooManyChannels, message });
        }
        for name in idle {
            self.delete_channel(&name);
        }
        for name in new {
            self.open_channel(now_ms, name)?;
        }
        Ok(())
    }

    pub(crate) fn delete_channel(&mut self, name: &ChannelName) {
        if self.channels.get(name).is_some() {
            self.channels.remove(name);
            self.staged.writes.push(Write::DeleteChannel { channel: name.clone() });
            self.staged.delivers.remove(name);
            self.staged.grown.remove(name);
            self.staged.appended.remove(name);
            self.timers.disarm(&Timer::Trim { channel: name.clone() });
        }
    }

    pub(crate) fn delete_session_inbox(&mut self, session: SessionId) {
        self.delete_channel(&ChannelName::session_inbox(session));
    }

    /// Notes an event that was given its place.
    pub(crate) fn note_appended(&mut self, name: &ChannelName, event: &StoredEvent) {
        let size = event.payload.bytes.len();
        self.channels.bytes += size as u64;
        self.channels.event_count += 1;
        let Some(channel) = self.channels.by_name.get_mut(name) else { return };
        if channel.front_is_whole() && channel.front.len() < FRONT_COUNT_MAX {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            channel.front.push_back((event.at_ms, size));
        }
        channel.head = event.offset;
        channel.bytes += size as u64;
        self.channels.note_idle(event.at_ms, name);
        self.staged.grown.insert(name.clone());
    }

    /// Trims every channel that has grown, as far as this commit may.
    pub(crate) fn trim_grown(&mut self, now_ms: u64) {
        // As many more as come in, or a log that grows fast would outgrow its bounds.
        let append = |write: &&Write| matches!(write, Write::Append { .. });
        let mut budget = TRIM_COUNT_MAX + self.staged.writes.iter().filter(append).count();
        for name in std::mem::take(&mut self.staged.grown) {
            if budget == 0 {
                self.timers.arm(now_ms, Timer::Trim { channel: name });
                continue;
            }
            let retention = match name.is_inbox() {
                true => self.config.inbox_retention,
                false => self.config.channel_retention,
            };
            budget -= self.trim_channel(now_ms, &name, retention, budget);
            self.arm_trim(now_ms, &name, retention);
        }
    }

    /// Trims one channel to its bounds, by at most `count_max` events. Gives how many.
    fn trim_channel(
        &mut self,
        now_ms: u64,
        name: &ChannelName,
        retention: Retention,
        count_max: usize,
    ) -> usize {
        let mut trimmed = 0;
        loop {
            let wanted = if trimmed > 0 { FRONT_COUNT_MIN } else { 1 };
            self.look_ahead(name, retention, wanted);
            let below = self.first_to_keep(now_ms, name, retention, count_max - trimmed);
            let count = self.trim(now_ms, name, below);
            trimmed += count;
            // If all that was known was to go, there may be more behind it.
            let is_used_up = self
                .channels
                .get(name)
                .is_some_and(|channel| channel.front.is_empty() && channel.has_events());
            if count == 0 || !is_used_up || trimmed >= count_max {
                return trimmed;
            }
        }
    }

    /// The first event that no bound of the retention wants gone, at most `count_max` behind the
    /// first that is kept.
    fn first_to_keep(
        &self,
        now_ms: u64,
        name: &ChannelName,
        retention: Retention,
        count_max: usize,
    ) -> Offset {
        let Some(channel) = self.channels.get(name) else { return Offset::ZERO };
        let (mut count, mut bytes) = (channel.event_count(), channel.bytes);
        let mut first = channel.first;
        for (at_ms, size) in channel.front.iter().take(count_max) {
            let is_old = at_ms.saturating_add(retention.age_max_ms) <= now_ms;
            if !is_old && count <= retention.count_max && bytes <= retention.bytes_max {
                break;
            }
            (count, bytes) = (count - 1, bytes - u64::from(*size));
            first = first.next();
        }
        first
    }

    /// Forgets a channel's events below an offset, as far as its front knows them. Gives how many.
    pub(crate) fn trim(&mut self, now_ms: u64, name: &ChannelName, below: Offset) -> usize {
        let Some(channel) = self.channels.by_name.get_mut(name) else { return 0 };
        let mut count = 0;
        while channel.first < below
            && let Some((_, size)) = channel.front.pop_front()
        {
            channel.first = channel.first.next();
            channel.bytes -= u64::from(size);
            self.channels.bytes -= u64::from(size);
            count += 1;
        }
        if !channel.has_events() {
            // What was damaged had no size that could be taken off.
            self.channels.bytes -= std::mem::take(&mut channel.bytes);
            channel.trim_at_ms = None;
            self.timers.disarm(&Timer::Trim { channel: name.clone() });
        }
        self.channels.event_count -= count as u64;
        if count > 0 {
            let (below, is_released) = (channel.first, !channel.has_events());
            self.staged.writes.push(Write::Trim { channel: name.clone(), below });
            if is_released {
                // Whoever still listens must not make it last at the publisher's cost.
                self.claim_channel(name, None);
            }
            self.channels.note_idle(now_ms, name);
        }
        count
    }

    /// Looks up how old and large a channel's oldest events are, unless as many are known as are
    /// wanted; of one that is over its bounds that is more.
    pub(crate) fn look_ahead(&mut self, name: &ChannelName, retention: Retention, wanted: usize) {
        let Some(channel) = self.channels.by_name.get_mut(name) else { return };
        let is_over =
            channel.event_count() > retention.count_max || channel.bytes > retention.bytes_max;
        let wanted = if is_over { FRONT_COUNT_MIN } else { wanted };
        if channel.front_is_whole() || channel.front.len() >= wanted {
            return;
        }
        let count_max = if wanted > 1 { FRONT_COUNT_MAX } else { 1 };
        let from = Offset(channel.first.0 + channel.front.len() as u64);
        let limit = ReadLimit { count_max, bytes_max: FRONT_BYTES_MAX };
        // What was appended in this batch is not in the log yet: it is seen when the channel grows.
        match self.log.read(name, from, limit) {
            Ok(events) => {
                for event in events {
                    let size = u32::try_from(event.payload.bytes.len()).unwrap_or(u32::MAX);
                    let is_inherited = event.offset <= channel.inherited;
                    let latest_ms = if is_inherited { self.opened_at_ms } else { u64::MAX };
                    channel.front.push_back((event.at_ms.min(latest_ms), size));
                }
            }
            // Nobody can read a damaged event, and nothing is known of it. As the oldest it counts as
            // too old, lest it keep those behind it from being trimmed. What is kept then weighs a
            // little less than is counted, until the log is opened again.
            Err(LogError::Corrupt(_)) if channel.front.is_empty() => {
                channel.front.push_back((0, 0))
            }
            Err(LogError::Corrupt(_)) => {}
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// Comes back when the oldest event is too old, or at once if more is to be trimmed.
    fn arm_trim(&mut self, now_ms: u64, name: &ChannelName, retention: Retention) {
        let Some(channel) = self.channels.by_name.get_mut(name) else { return };
        if !channel.has_events() {
            return;
        }
        let is_over =
            channel.event_count() > retention.count_max || channel.bytes > retention.bytes_max;
        let oldest_ms = channel.front.front().map(|(at_ms, _)| *at_ms);
        // Without an age there is nothing to go by: the log is asked again in a while.
        let old_at_ms = oldest_ms
            .map_or(now_ms + TRIM_INTERVAL_MS, |at_ms| at_ms.saturating_add(retention.age_max_ms));
        let at_ms = if is_over && oldest_ms.is_some() { now_ms } else { old_at_ms.max(now_ms) };
        let is_armed = channel.trim_at_ms.is_some_and(|armed| armed > now_ms && armed <= at_ms);
        if !is_armed {
            channel.trim_at_ms = Some(at_ms);
            self.timers.arm(at_ms, Timer::Trim { channel: name.clone() });
        }
    }
}

/// Sessions' inboxes have the limit of the sessions.
fn is_principal_inbox(name: &ChannelName) -> bool {
    name.is_inbox() && !name.is_session_inbox()
}

/// What an event weighs besides its payload, in a log's bound.
pub(crate) const EVENT_BYTES: u64 = 64;
/// Events trimmed in one commit, so that it stays short.
const TRIM_COUNT_MAX: usize = 1000;
/// Oldest events whose age and size are known at one time.
const FRONT_COUNT_MAX: usize = 512;
/// With fewer than this the log is asked for more.
pub(crate) const FRONT_COUNT_MIN: usize = 64;
/// Bytes of payloads read to learn sizes.
const FRONT_BYTES_MAX: usize = 1024 * 1024;
/// When to look again at a channel whose oldest event could not be read.
const TRIM_INTERVAL_MS: u64 = 1_000;
