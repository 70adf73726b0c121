//! Events get their place.

use mainstay_log::{StoredEvent, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, ErrorCode, Event, Failure, Offset, Payload, SessionId};

use crate::channel::EVENT_BYTES;
use crate::{Effect, Node};

impl Node {
    /// Appends a client's event to a channel of clients. How deep it nests was looked at when it came.
    pub(crate) fn publish(
        &mut self,
        now_ms: u64,
        id: SessionId,
        name: &ChannelName,
        payload: Payload,
    ) -> Result<(Epoch, Offset), Failure> {
        if name.is_inbox() {
            let message = "an inbox takes what is sent to its owner, and no events".to_owned();
            return Err(Failure { code: ErrorCode::NotPermitted, message });
        }
        self.check_size(&payload)?;
        self.check_room(payload.bytes.len())?;
        let account = self.account(id);
        if let Some(account) = &account {
            self.check_account(name, account, |channel| !channel.has_events())?;
        }
        self.open_channel(now_ms, name)?;
        self.claim_channel(name, account);
        self.append(now_ms, name, payload)
    }

    /// Whether the log may grow by so many bytes.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), Failure> {
        let bytes_max = self.config.log_bytes_max;
        if self.channels.weight().saturating_add(bytes as u64 + EVENT_BYTES) > bytes_max {
            let message = format!("the log holds {bytes_max} bytes, which is all that it may");
            return Err(Failure { code: ErrorCode::StoreFailed, message });
        }
        Ok(())
    }

    /// Appends an event to a channel that exists, and has everybody hear it behind the commit.
    pub(crate) fn append(
        &mut self,
        now_ms: u64,
        name: &ChannelName,
        payload: Payload,
    ) -> Result<(Epoch, Offset), Failure> {
        let Some(channel) = self.channels.get(name) else {
            let message = "the channel is gone".to_owned();
            return Err(Failure { code: ErrorCode::Internal, message });
        };
        let (epoch, offset) = (channel.epoch, channel.head.next());
        let stored = StoredEvent { offset, at_ms: now_ms, payload: payload.clone() };
        self.note_appended(name, &stored);
        self.staged.appended.entry(name.clone()).or_insert(offset);
        self.staged.writes.push(Write::Append { channel: name.clone(), event: stored });
        self.deliver(Event { channel: name.clone(), offset, at_ms: now_ms, payload });
        Ok((epoch, offset))
    }

    /// Events of one channel come out together, as long as nobody has begun to listen in between.
    fn deliver(&mut self, event: Event) {
        let channel = event.channel.clone();
        if let Some(index) = self.staged.delivers.get(&channel)
            && let Some(Effect::Deliver { events, .. }) = self.staged.effects.get_mut(*index)
        {
            return events.push(event);
        }
        self.staged.delivers.insert(channel.clone(), self.staged.effects.len());
        self.push(Effect::Deliver { channel, events: vec![event] });
    }
}
