//! From the operator's settings to the server crate's configuration.

use mainstay_server::{Config, DeflateOffer, Dialect, HeadLimits, Limits, OriginPolicy, Timing};

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
        drain_window: settings.drain_window,
        drain_timeout: settings.drain_timeout,
    })
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
