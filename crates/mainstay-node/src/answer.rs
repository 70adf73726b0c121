//! Calls of the program around the node.

use mainstay_log::ReadLimit;
use mainstay_wire::session::{ErrorCode, Failure, Offset, Payload, Principal, SessionId};
use mainstay_wire::{ChannelName, EndReason};

use crate::channel::Extent;
use crate::command::unreachable_session;
use crate::fit::check_depth;
use crate::key::{Fingerprint, Places};
use crate::node::{Entry, Subscription};
use crate::read::{Read, event};
use crate::{
    Answer, Call, CallError, ChannelView, MemberView, Node, SessionStanding, SessionView,
    SubscriptionView, Target, Ticket,
};

impl Node {
    pub(crate) fn handle_call(&mut self, now_ms: u64, ticket: Ticket, call: Call) {
        let result = match call {
            Call::Publish { channels, payload, key } => {
                let key = key.map(|key| (key, Fingerprint::of_publish(&channels, &payload)));
                self.once(now_ms, key, |node| node.publish_to(now_ms, &channels, &payload))
            }
            Call::Send { to, payload, key } => {
                let key = key.map(|key| (key, Fingerprint::of_send(&to, &payload)));
                self.once(now_ms, key, |node| node.send_to(now_ms, &to, payload))
            }
            Call::Command { to, command, payload, deadline_ms } => {
                return self.call_command(now_ms, ticket, to, command, payload, deadline_ms);
            }
            Call::History { channel, after, count_max } => self.history(&channel, after, count_max),
            Call::Members { channel } => {
                let members = self.members.members(&channel).into_iter();
                let view = |m: mainstay_wire::session::Member| MemberView {
                    session: m.session,
                    principal: m.principal,
                };
                Ok(Answer::Members(members.map(view).collect()))
            }
            Call::Channels(query) => Ok(self.list_channels(&query)),
            Call::Sessions(query) => Ok(self.list_sessions(&query)),
            Call::Session { session } => match self.sessions.get(&session) {
                Some(entry) => Ok(Answer::Session(Box::new(self.session_view(session, entry)))),
                None => Err(unreachable_session()),
            },
            Call::End { session } => match self.sessions.contains_key(&session) {
                true => {
                    let detail = "an operator ended the session";
                    self.end_session(now_ms, session, EndReason::Disconnected, detail);
                    Ok(Answer::Done)
                }
                false => Err(unreachable_session()),
            },
        };
        self.answer(ticket, result);
    }

    /// Appends to all of the channels or to none.
    fn publish_to(
        &mut self,
        now_ms: u64,
        channels: &[ChannelName],
        payload: &Payload,
    ) -> Result<Places, Failure> {
        if let Some(inbox) = channels.iter().find(|channel| channel.is_inbox()) {
            let message = format!("{inbox} is an inbox: send to its owner");
            return Err(Failure { code: ErrorCode::NotPermitted, message });
        }
        self.check_size(payload)?;
        check_depth(payload)?;
        self.check_room(payload.bytes.len().saturating_mul(channels.len()))?;
        self.open_channels(now_ms, channels)?;
        let append = |channel: &ChannelName| {
            self.claim_channel(channel, None);
            let (epoch, offset) = self.append(now_ms, channel, payload.clone())?;
            Ok((channel.clone(), epoch, offset))
        };
        channels.iter().map(append).collect()
    }

    fn send_to(&mut self, now_ms: u64, to: &Target, payload: Payload) -> Result<Places, Failure> {
        let unreachable = |what: &str| Failure {
            code: ErrorCode::Unreachable,
            message: format!("there is no such {what}"),
        };
        let inbox = match to {
            Target::Session(id) => self.session_inbox(*id).ok_or(unreachable("session"))?,
            Target::Connection(connection) => {
                let id = self.links.get(connection).copied();
                let id = id.ok_or(unreachable("connection of a session"))?;
                self.session_inbox(id).ok_or(unreachable("session"))?
            }
            Target::Principal(principal) => self.principal_inbox(principal)?,
        };
        self.check_size(&payload)?;
        check_depth(&payload)?;
        self.check_room(payload.bytes.len())?;
        if !matches!(to, Target::Principal(_)) {
            self.check_inbox(&inbox, payload.bytes.len())?;
        }
        self.open_channel(now_ms, &inbox)?;
        let (epoch, offset) = self.append(now_ms, &inbox, payload)?;
        Ok(vec![(inbox, epoch, offset)])
    }

    fn session_inbox(&self, id: SessionId) -> Option<ChannelName> {
        self.sessions.contains_key(&id).then(|| ChannelName::session_inbox(id))
    }

    /// A principal exists for as long as it has sessions, or something in its inbox.
    fn principal_inbox(&self, principal: &Principal) -> Result<ChannelName, Failure> {
        let inbox = ChannelName::principal_inbox(principal);
        let is_known = self.principals.count(principal) > 0 || self.channels.get(&inbox).is_some();
        if !is_known {
            let message = "no session of this principal has been here".to_owned();
            return Err(Failure { code: ErrorCode::Unreachable, message });
        }
        Ok(inbox)
    }

    /// What is kept in a session's inbox has not been acknowledged: the sender must wait.
    fn check_inbox(&self, inbox: &ChannelName, bytes: usize) -> Result<(), Failure> {
        let Some(extent) = self.extent(inbox) else { return Ok(()) };
        let retention = self.config.inbox_retention;
        let count = extent.event_count();
        if count >= retention.count_max || extent.bytes + bytes as u64 > retention.bytes_max {
            let message = format!("{count} messages wait for their reader already");
            return Err(Failure { code: ErrorCode::InboxFull, message });
        }
        Ok(())
    }

    fn history(
        &mut self,
        name: &ChannelName,
        after: Offset,
        count_max: usize,
    ) -> Result<Answer, CallError> {
        let Some(extent) = self.extent(name) else {
            let message = "there is no such channel".to_owned();
            return Err(CallError { code: ErrorCode::Unreachable, message });
        };
        let view = self.channel_view(name, extent);
        let limit = ReadLimit { count_max, bytes_max: HISTORY_BYTES_MAX };
        let from = after.max(extent.start()).next();
        let events = match self.read_log(name, from, limit) {
            Read::Events(events) => events,
            Read::Damaged { through } => match self.read_log(name, through.next(), limit) {
                Read::Events(events) => events,
                Read::Damaged { .. } => Vec::new(),
            },
        };
        let events = events.into_iter().map(|stored| event(name, stored)).collect();
        Ok(Answer::History { channel: view, events })
    }

    /// A channel as the log has it: what this batch has appended is not told yet.
    pub(crate) fn channel_view(&self, name: &ChannelName, extent: Extent) -> ChannelView {
        let staged = self.staged.appended.get(name);
        let head = staged.map_or(extent.head, |first| Offset(first.0.saturating_sub(1)));
        ChannelView {
            name: name.clone(),
            epoch: extent.epoch,
            first: extent.first,
            head,
            bytes: extent.bytes,
            subscriber_count: self.subscriber_count(name),
            member_count: self.members.count(name) as usize,
        }
    }

    pub(crate) fn session_view(&self, id: SessionId, entry: &Entry) -> SessionView {
        let record = entry.session.record();
        let away_since_ms = record.away_since_ms.unwrap_or_default();
        let expires_at_ms = away_since_ms + self.config.session_expiry_ms;
        let link = entry.link.as_ref();
        let subscriptions = link.into_iter().flat_map(|link| &link.subscriptions);
        let outcomes = entry.session.outcomes();
        SessionView {
            session: id,
            principal: record.principal.clone(),
            standing: link.map_or(SessionStanding::Away { expires_at_ms }, |link| {
                SessionStanding::Connected(link.connection)
            }),
            client: record.client.to_string(),
            generation: record.generation,
            since_ms: record.since_ms,
            accepted: record.accepted,
            reply_count: usize::try_from(outcomes.end - outcomes.start).unwrap_or(usize::MAX),
            command_count: entry.session.command_count(),
            subscriptions: subscriptions
                .map(|(channel, held)| SubscriptionView {
                    channel: channel.clone(),
                    delivery: held.delivery,
                    presence: held.presence,
                    acknowledged: held.acknowledged,
                    lag: self.lag(channel, held),
                })
                .collect(),
            is_behind: self.is_behind(entry),
            last_end: entry.last_end,
        }
    }

    /// How many events of a channel a subscriber has not acknowledged.
    pub(crate) fn lag(&self, channel: &ChannelName, held: &Subscription) -> u64 {
        let head = self.channels.get(channel).map_or(0, |channel| channel.head.0);
        head.saturating_sub(held.acknowledged.0)
    }
}

/// Bytes of payloads in one answer.
const HISTORY_BYTES_MAX: usize = 1024 * 1024;
