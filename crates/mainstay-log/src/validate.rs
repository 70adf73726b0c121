//! Whether writes make sense, asked before any of them is applied.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mainstay_wire::ChannelName;
use mainstay_wire::session::Offset;

use crate::{LogError, Write};

/// What an engine has of a channel before the commit.
pub(crate) trait Heads {
    /// The newest event; `None` for an unknown channel.
    fn head(&self, channel: &ChannelName) -> Result<Option<Offset>, LogError>;
}

/// Refuses writes that make no sense, as a whole: appending to a channel that does not exist, or at
/// an offset that is not the next.
pub(crate) fn validate(heads: &impl Heads, writes: &[Write]) -> Result<(), LogError> {
    // What the writes before the one in hand have made of the channels they touched.
    let mut touched: HashMap<&ChannelName, Option<Offset>> = HashMap::new();
    for write in writes {
        match write {
            Write::PutChannel { channel, .. } => {
                let head = head(heads, &mut touched, channel)?;
                *head = Some(head.unwrap_or(Offset::ZERO));
            }
            Write::Append { channel, event } => {
                let head = head(heads, &mut touched, channel)?;
                follows(channel, *head, event.offset)?;
                *head = Some(event.offset);
            }
            Write::DeleteChannel { channel } => *head(heads, &mut touched, channel)? = None,
            Write::Trim { .. }
            | Write::PutSession { .. }
            | Write::DeleteSession { .. }
            | Write::PutReply { .. }
            | Write::DropReplies { .. }
            | Write::PutKey { .. }
            | Write::CapKeys { .. }
            | Write::DropExpiredKeys { .. } => {}
        }
    }
    Ok(())
}

/// Refuses an event that cannot be the next of a channel whose newest is `head`.
pub(crate) fn follows(
    channel: &ChannelName,
    head: Option<Offset>,
    offset: Offset,
) -> Result<(), LogError> {
    let Some(head) = head else {
        return Err(LogError::Misuse(format!("{channel} does not exist")));
    };
    if head.0.checked_add(1) != Some(offset.0) {
        let message = format!("offset {offset} does not follow {head} of {channel}");
        return Err(LogError::Misuse(message));
    }
    Ok(())
}

fn head<'touched, 'writes>(
    heads: &impl Heads,
    touched: &'touched mut HashMap<&'writes ChannelName, Option<Offset>>,
    channel: &'writes ChannelName,
) -> Result<&'touched mut Option<Offset>, LogError> {
    Ok(match touched.entry(channel) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(heads.head(channel)?),
    })
}
