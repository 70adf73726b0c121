//! From the operator's settings to the server crate's configuration.

use mainstay_server::{
    Config, DeflateOffer, Dialect, HeadLimits, JournalLimits, Limits, NodeConfig, OriginPolicy,
    Retention, Timing,
};

use crate::settings::{Settings, kind};

/// The configuration of a server with these settings.
///
/// # Errors
/// An origin that is none, with what is wrong with it.
pub(crate) fn server_config(settings: &Settings) -> Result<Config, String> {
    Ok(Config {
        address: settings.address.clone(),
        path: settings.path.clone(),
        www: settings.www.clone(),
        dialect: match settings.dialect {
            kind::Dialect::Command => Dialect::Command,
            kind::Dialect::Echo => Dialect::Echo,
        },
        shard_count: settings.shards.and_then(std::num::NonZeroUsize::new),
        compression: if settings.compression { DeflateOffer::On } else { DeflateOffer::Off },
        origins: origin_policy(&settings.origins)?,
        // The API's listener adds its own.
        endpoint_origins: Vec::new(),
        connection_count_max: settings.connection_count_max,
        connection_count_per_address_max: settings.connection_count_per_address_max,
        handshake_timeout: settings.handshake_timeout,
        handshake_pending_max: settings.handshake_pending_max,
        head: HeadLimits {
            head_bytes_max: settings.head_bytes_max,
            header_count_max: settings.header_count_max,
        },
        limits: Limits {
            message_bytes_max: settings.message_bytes_max,
            fragment_count_max: count(settings.fragment_count_max),
            control_frames_per_second_max: count(settings.control_frames_per_second_max),
            outbox_bytes_max: settings.outbox_bytes_max,
        },
        timing: Timing {
            ping_interval: Some(settings.ping_interval),
            pong_timeout: settings.pong_timeout,
            message_timeout: settings.message_timeout,
            write_stall_timeout: settings.write_stall_timeout,
            close_timeout: settings.close_timeout,
        },
        command_queue_count_max: settings.command_queue_count_max,
        handler_timeout: settings.handler_timeout,
        tcp_user_timeout: settings.tcp_user_timeout,
        channels_per_connection_max: settings.channels_per_connection_max,
        hub_bytes_max: settings.hub_bytes_max,
        hello_timeout: settings.hello_timeout,
        principal_header: settings.principal_header.clone(),
        client_address_header: settings.client_address_header.clone(),
        node: node_config(settings),
        journal: JournalLimits {
            count_max: settings.journal_count_max,
            bytes_max: settings.journal_bytes_max,
        },
        data_dir: settings.data_dir.clone(),
        drain_window: settings.drain_window,
        drain_timeout: settings.drain_timeout,
    })
}

/// What sessions and channels may hold. What depends on other settings is the server's to fill in.
fn node_config(settings: &Settings) -> NodeConfig {
    let defaults = NodeConfig::default();
    NodeConfig {
        session_expiry_ms: settings.session_expiry.as_millis() as u64,
        session_count_max: settings.session_count_max,
        sessions_per_principal_max: settings.sessions_per_principal_max,
        channels_per_principal_max: settings.channels_per_principal_max,
        request_count_max: count(settings.request_count_max),
        request_bytes_max: settings.request_bytes_max,
        outcome_bytes_max: settings.outcome_bytes_max,
        key_count_max: settings.key_count_max,
        subscription_count_max: count(settings.subscription_count_max),
        channel_count_max: settings.channel_count_max,
        channel_retention: Retention {
            count_max: settings.history_count_max as u64,
            bytes_max: settings.history_bytes_max as u64,
            age_max_ms: settings.history_age_max.as_millis() as u64,
        },
        inbox_retention: Retention {
            count_max: settings.inbox_count_max as u64,
            bytes_max: settings.inbox_bytes_max as u64,
            age_max_ms: defaults.inbox_retention.age_max_ms,
        },
        log_bytes_max: settings.log_bytes_max as u64,
        presence_grace_ms: settings.presence_grace.as_millis() as u64,
        ..defaults
    }
}

fn origin_policy(origins: &[String]) -> Result<OriginPolicy, String> {
    if origins.is_empty() {
        return Ok(OriginPolicy::SameOrigin);
    }
    if origins.iter().any(|origin| origin == "*") {
        return Ok(OriginPolicy::Any);
    }
    let parse = |origin: &String| {
        origin.parse().map_err(|error| format!("origins: {origin:?} is no origin: {error}"))
    };
    origins.iter().map(parse).collect::<Result<_, _>>().map(OriginPolicy::AllowList)
}

/// The settings' own ranges end far below.
fn count(setting: usize) -> u32 {
    u32::try_from(setting).unwrap_or(u32::MAX)
}
