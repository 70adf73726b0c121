//! Relations between settings: values that are each in range and still do not go together.

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

pub(super) static RELATIONS: &[Relation] = &[Relation {
    keys: &["drain_timeout", "drain_window", "close_timeout"],
    rule: "drain_timeout must be at least drain_window and close_timeout together",
    reason: "the last connection told to go still gets its closing handshake",
    holds: |settings| settings.drain_window + settings.close_timeout <= settings.drain_timeout,
}];

pub(super) static CAUTIONS: &[Caution] = &[
    Caution {
        key: "origins",
        danger: "DANGEROUS: any page of any site can connect, with the credentials of whoever \
                 looks at it",
        applies: |settings| settings.origins.iter().any(|origin| origin == "*"),
    },
    Caution {
        key: "ping_interval",
        danger: "many proxies cut a connection that has been silent for 60s",
        applies: |settings| settings.ping_interval >= std::time::Duration::from_secs(60),
    },
];
