//! Relations between settings: values that are each in range and still do not go together.

use std::net::IpAddr;

use super::Settings;

/// One relation that has to hold.
pub(super) struct Relation {
    /// The settings it is about; the first is the one to change.
    pub(super) keys: &'static [&'static str],
    /// How the first should stand to the others; follows the list of them.
    pub(super) rule: &'static str,
    /// Why.
    pub(super) reason: &'static str,
    /// Whether it holds.
    pub(super) holds: fn(&Settings) -> bool,
}

/// A value that is allowed, and that the operator should know the danger of.
pub(super) struct Caution {
    /// The setting.
    pub(super) key: &'static str,
    /// What to know.
    pub(super) danger: &'static str,
    /// Whether it is there.
    pub(super) applies: fn(&Settings) -> bool,
}

pub(super) static RELATIONS: &[Relation] = &[
    Relation {
        keys: &["admin_token", "admin_address"],
        rule: "admin_token must be set unless admin_address is 127.0.0.1, [::1], localhost or none",
        reason: "whoever reaches the HTTP API may read and send everything",
        holds: |settings| {
            settings.admin_token.is_some()
                || settings.admin_address.as_deref().is_none_or(is_on_loopback)
        },
    },
    Relation {
        keys: &["drain_timeout", "drain_window", "close_timeout"],
        rule: "drain_timeout must be at least drain_window and close_timeout together",
        reason: "the last connection told to go still gets its closing handshake",
        holds: |settings| settings.drain_window + settings.close_timeout <= settings.drain_timeout,
    },
];

/// Whether only this machine can reach an address, as far as its text tells.
fn is_on_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) static CAUTIONS: &[Caution] = &[
    Caution {
        key: "origins",
        danger: "DANGEROUS: any page of any site can connect, with the credentials of whoever \
                 looks at it",
        applies: |settings| settings.origins.iter().any(|origin| origin == "*"),
    },
    Caution {
        key: "principal_header",
        danger: "DANGEROUS unless a proxy in front sets or removes it on every request",
        applies: |settings| settings.principal_header.is_some(),
    },
    Caution {
        key: "client_address_header",
        danger: "DANGEROUS unless a proxy in front sets it or adds to it on every request",
        applies: |settings| settings.client_address_header.is_some(),
    },
    Caution {
        key: "ping_interval",
        danger: "many proxies cut a connection that has been silent for 60s",
        applies: |settings| settings.ping_interval >= std::time::Duration::from_secs(60),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_on_loopback() {
        for address in ["localhost:1", "LOCALHOST:1", "127.0.0.1:0", "127.9.9.9:1", "[::1]:8081"] {
            assert!(is_on_loopback(address), "{address}");
        }
        for address in
            ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1", "127.0.0.1.example:1"]
        {
            assert!(!is_on_loopback(address), "{address}");
        }
    }
}
