//! A node's bounds, with the reason for each default.

/// What a node allows. Reaching a limit has the outcome that its doc names.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The server's name and version, for welcomes.
    pub server: String,
    /// Sessions in all. Default 100,000: each costs some hundred bytes. Past it a hello is closed
    /// with `server_behind`. As many inboxes of principals are kept that no session and no message
    /// needs; past it those go that have been idle for longest.
    pub session_count_max: usize,
    /// Sessions of one principal. Default 100: a person with some devices and many tabs. Past it a
    /// hello is closed with `server_behind`.
    pub sessions_per_principal_max: usize,
    /// How long a session outlives its last connection. Default 10 min: a tunnel or a lift, not a
    /// night. Past it, it expires.
    pub session_expiry_ms: u64,
    /// How long it is remembered of an expired session which requests it had accepted. Default
    /// 7 days. Past it, the session is unknown.
    pub tombstone_expiry_ms: u64,
    /// Requests of one session without an outcome, and outcomes kept for it. Default 256. Past it:
    /// `session_violation`.
    pub request_count_max: u32,
    /// Bytes of requests that wait behind a running handler, told to clients. Default 1 MiB. Past it:
    /// `session_violation`.
    pub request_bytes_max: usize,
    /// Bytes of outcomes kept for one session until its client has acknowledged them. Default 4 MiB: the 64
    /// that it may leave unacknowledged, each as long as a message may be. Past it the oldest become
    /// `indeterminate`.
    pub outcome_bytes_max: usize,
    /// Time for a handler without a shorter deadline of its own. Default 30 s. Past it:
    /// `deadline_exceeded`.
    pub handler_timeout_ms: u64,
    /// Commands to one client without a reply. Default 64. Past it a call gets `busy`.
    pub command_count_max: usize,
    /// Channels that one session may listen to. Default 128. Past it: `too_many_subscriptions`.
    pub subscription_count_max: u32,
    /// Bytes of one message, told to clients. Default 64 KiB. Replies, commands to clients and frames of
    /// members are not longer either, whichever encoding they are told in, nor are the payloads of
    /// events: past it a handler's outcome becomes `too_big`, and a call gets that.
    pub message_bytes_max: u32,
    /// Channels in all, inboxes apart. Default 100,000. Past it the one that has been idle for longest
    /// makes room, or there is none: `too_many_channels`.
    pub channel_count_max: usize,
    /// Channels that hold something, or are listened to, because of one principal, or of one address
    /// without a principal. Default 10,000, so that no client takes the place of all others. Past it:
    /// `too_many_channels`.
    pub channels_per_principal_max: usize,
    /// What is kept of a channel.
    pub channel_retention: Retention,
    /// What is kept of an inbox. Past its count or bytes of unacknowledged events the sender gets
    /// `inbox_full`; acknowledged ones go first.
    pub inbox_retention: Retention,
    /// Bytes of payloads in the whole log, and 64 more for each event. Default 1 GiB. Past it publishing gets `store_failed`
    /// until trimming has made room.
    pub log_bytes_max: u64,
    /// How long an idempotency key is remembered. Default 5 min, as retries are made within.
    pub key_expiry_ms: u64,
    /// Events that are remembered by their keys. Default 1,000,000: more than three thousand a second, and
    /// some hundred bytes each. Past it a call with a key gets `busy`.
    pub key_count_max: usize,
    /// How long a member that lost its connection stays one. Default 10 s: a reload is no leaving.
    pub presence_grace_ms: u64,
    /// Over how long comings and goings are gathered into one frame. Default 1 s.
    pub presence_gather_ms: u64,
    /// The server says something at least this often, told to clients. Default 25 s.
    pub ping_interval_ms: u64,
}

/// How much of a channel is kept. Whatever is beyond any of the three is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub count_max: u64,
    /// Bytes of payloads.
    pub bytes_max: u64,
    /// Age, in milliseconds.
    pub age_max_ms: u64,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            server: concat!("mainstay/", env!("CARGO_PKG_VERSION")).to_owned(),
            session_count_max: 100_000,
            sessions_per_principal_max: 100,
            session_expiry_ms: 10 * 60 * 1000,
            tombstone_expiry_ms: 7 * 24 * 3600 * 1000,
            request_count_max: 256,
            request_bytes_max: 1024 * 1024,
            outcome_bytes_max: 4 * 1024 * 1024,
            handler_timeout_ms: 30_000,
            command_count_max: 64,
            subscription_count_max: 128,
            message_bytes_max: 64 * 1024,
            channel_count_max: 100_000,
            channels_per_principal_max: 10_000,
            channel_retention: Retention {
                count_max: 10_000,
                bytes_max: 16 * 1024 * 1024,
                age_max_ms: 24 * 3600 * 1000,
            },
            inbox_retention: Retention {
                count_max: 1_000,
                bytes_max: 1024 * 1024,
                age_max_ms: 24 * 3600 * 1000,
            },
            log_bytes_max: 1024 * 1024 * 1024,
            key_expiry_ms: 5 * 60 * 1000,
            key_count_max: 1_000_000,
            presence_grace_ms: 10_000,
            presence_gather_ms: 1_000,
            ping_interval_ms: 25_000,
        }
    }
}
