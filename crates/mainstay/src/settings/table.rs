//! The one declaration of every setting of the server.
//!
//! A line here becomes a field of [`Settings`], a flag, an environment variable, a key of the
//! configuration file, a line of `check-config` and a row of the README. A new setting is written
//! here and nowhere else.

use super::kind::{self, Kind, Shape};
use super::problem::Problem;
use super::resolve::Given;

/// What is known of a setting before anybody gives it a value.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The heading it stands under in help texts.
    pub(crate) group: &'static str,
    /// Key of the configuration file, `snake_case`.
    pub(crate) key: &'static str,
    /// How a value is written.
    pub(crate) shape: Shape,
    /// The value when nobody gives one, written as in the file.
    pub(crate) default: &'static str,
    /// Smallest and largest value, where the setting is a quantity.
    pub(crate) range: Option<(&'static str, &'static str)>,
    /// What it does: one line, no full stop.
    pub(crate) doc: &'static str,
    /// Why the default is what it is, or what a change costs: sentences.
    pub(crate) reason: &'static str,
}

impl Setting {
    /// `--ping-interval` for `ping_interval`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// `MAINSTAY_PING_INTERVAL` for `ping_interval`.
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.key.to_uppercase())
    }

    /// Whether its value is not to be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.shape.placeholder == kind::SECRET_PLACEHOLDER
    }

    /// The setting with this key, if there is one.
    pub(crate) fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

/// Makes the struct, the table and the two ways between them from one list.
macro_rules! settings {
    ($($group:literal {
        $($key:ident: $kind:ident = $default:literal $(in $least:literal ..= $most:literal)?,
            $doc:literal, $reason:literal;)*
    })*) => {
        /// The effective settings of a server, checked: every quantity lies in its range and the
        /// relations between settings hold.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $($(#[doc = $doc] pub(crate) $key: <kind::$kind as Kind>::Value,)*)*
        }

        /// Every setting, in the order in which it is shown.
        pub(crate) static SETTINGS: &[Setting] = &[
            $($(Setting {
                group: $group,
                key: stringify!($key),
                shape: <kind::$kind as Kind>::SHAPE,
                default: $default,
                range: settings!(@range $($least, $most)?),
                doc: $doc,
                reason: $reason,
            },)*)*
        ];

        impl Settings {
            /// Reads every value, and says all that is wrong rather than the first thing.
            pub(super) fn read(given: &Given) -> Result<Settings, Vec<Problem>> {
                let mut problems = Vec::new();
                $($(let $key = given.read::<kind::$kind>(stringify!($key), &mut problems);)*)*
                $($(let Some($key) = $key else { return Err(problems) };)*)*
                if problems.is_empty() { Ok(Settings { $($($key,)*)* }) } else { Err(problems) }
            }

            /// Every value as it would be written in a file, in the order of [`SETTINGS`].
            pub(crate) fn texts(&self) -> Vec<String> {
                vec![$($(<kind::$kind as Kind>::write(&self.$key),)*)*]
            }
        }
    };
    (@range) => { None };
    (@range $least:literal, $most:literal) => { Some(($least, $most)) };
}

settings! {
    "Listening" {
        address: Address = "localhost:8080",
            "Host and port to listen on; port 0 takes a free one",
            "Only this machine can reach localhost: others are let in on purpose, with \
             0.0.0.0:8080 or [::]:8080.";
        path: EndpointPath = "/server",
            "URL path of the WebSocket endpoint; everything else is a static file",
            "Apart from `/`, so that a page and its endpoint can share one origin.";
        www: Folder = "./www",
            "Folder of static files; a missing one is answered by a built-in page",
            "Relative to the working directory. Everything in it is public.";
        dialect: Dialect = "command",
            "What the endpoint does with messages: `command` or `echo`",
            "`command` runs commands and replies; `echo` sends every message back, for conformance \
             suites and load tests.";
        shards: Shards = "auto" in "1"..="1024",
            "Threads that own connections; `auto` is one for each core",
            "A connection stays on its shard. More shards than cores only adds switching.";
        compression: Switch = "false",
            "Compress messages for clients that offer permessage-deflate (RFC 7692)",
            "Costs processor time on every message and pays only for large texts on slow links.";
        origins: Origins = "",
            "Web origins allowed besides the server's own, such as https://app.example",
            "A page of any other origin could use a visitor's credentials here. `*` allows any \
             page anywhere: DANGEROUS unless all that is served is public. Programs send no \
             Origin and are not affected.";
    }
    "HTTP API" {
        admin_address: OptionalAddress = "127.0.0.1:8081",
            "Host and port of the HTTP API and the web console, or `none`",
            "Programs of this machine only, and no web page but the console's. If the default is taken the server \
             starts without the API and says so; an address that is given must be free.";
        admin_token: Secret = "none",
            "Secret that opens the HTTP API: `Authorization: Bearer ...`",
            "Needed on any address but a loopback one. Flags are seen by everybody on the machine: \
             better MAINSTAY_ADMIN_TOKEN, or a file.";
    }
    "Limits on connections" {
        connection_count_max: Count = "10000" in "1"..="10_000_000",
            "Connections in all; further ones are refused",
            "Each takes a file descriptor and, when busy, up to its outbox of memory.";
        connection_count_per_address_max: Count = "1000" in "1"..="10_000_000",
            "Connections from one IPv4 address or one IPv6 /64 network",
            "One host cannot take all places. Behind a reverse proxy everybody has the proxy's \
             address: name `client_address_header`, or raise it.";
        client_address_header: Header = "none",
            "Header of a proxy with the client's address (X-Forwarded-For), or `none`",
            "The last address in it counts, for limits and in logs. DANGEROUS unless the proxy sets \
             it or adds to it on every request: a client that sends it itself comes from wherever \
             it likes.";
        handshake_pending_max: Count = "1024" in "1"..="1_000_000",
            "Handshakes under way at once; past it the oldest is dropped",
            "An honest handshake takes milliseconds, so the oldest of so many is not honest.";
        handshake_timeout: Duration = "5s" in "10ms"..="5m",
            "Time for the whole handshake, from accept to the last header byte",
            "One deadline for all of it, so that a byte now and then gains nothing.";
        head_bytes_max: Bytes = "16KiB" in "512B"..="1MiB",
            "Size of a request's head: request line and headers",
            "Browsers stay below 8 KiB unless their cookies have grown out of hand.";
        header_count_max: Count = "64" in "8"..="1000",
            "Headers in one request",
            "A browser sends about 15, and proxies add a few.";
        channels_per_connection_max: Count = "16" in "1"..="1000",
            "Channels one connection may name in its URL",
            "Each is an entry in the hub, made on a stranger's word.";
    }
    "Limits on messages" {
        message_bytes_max: Bytes = "64KiB" in "125B"..="1GiB",
            "Size of one message, all fragments together and inflated",
            "Held in memory until complete: the worst case is this times the connections.";
        fragment_count_max: Count = "1024" in "1"..="1_000_000",
            "Fragments in one message, empty ones too",
            "Tiny and empty fragments cost processor time that the size limit does not see.";
        message_timeout: Duration = "30s" in "10ms"..="1h",
            "Time from a message's first byte to its last",
            "A message that never ends would keep its buffer for ever.";
        outbox_bytes_max: Bytes = "256KiB" in "1KiB"..="1GiB",
            "Bytes waiting to be written to one connection",
            "What a client that does not read can make the server hold.";
        hub_bytes_max: Bytes = "16MiB" in "64KiB"..="1GiB",
            "Bytes of events on their way to one shard; past it publishing is refused",
            "Reached only when events are published faster than a shard can take them.";
        write_stall_timeout: Duration = "30s" in "10ms"..="1h",
            "Time a connection may accept no bytes while some are waiting",
            "Long enough for a phone in a tunnel, short enough to notice that it is gone.";
        control_frames_per_second_max: Count = "50" in "1"..="100_000",
            "Pings, pongs and the like accepted each second from one connection",
            "An honest client sends one in several seconds; a flood costs more than it carries.";
        handler: OptionalHandler = "none",
            "Who runs commands: exec:PROGRAM ARGS, http://HOST:PORT/PATH, or `none`",
            "A program stays running and is given one JSON object a line; a web service is posted the \
             same, each request by itself (examples/handlers). Without either the built-in handler \
             answers. A program has the server's own rights; to a web service nothing is encrypted.";
        handler_retry: HandlerRetry = "unsent",
            "When a request is posted again: `never`, `unsent` or `idempotent`",
            "`unsent` is while there is no connection, so that nothing runs twice; `idempotent` also \
             when the answer was lost or is 5xx: only for a service that does a thing once for each \
             Idempotency-Key. A program is never given a request again.";
        handler_concurrency_max: Count = "64" in "1"..="10_000",
            "Requests that the handler has at one time; further ones wait",
            "What it can work on at once. Each has a connection of its own to a web service.";
        command_queue_count_max: Count = "64" in "1"..="100_000",
            "Commands of one connection waiting behind the one that runs",
            "Commands of a connection run in order. Beyond this the server stops reading from it.";
        handler_timeout: Duration = "30s" in "10ms"..="24h",
            "Time for one command; then the reply says that it failed",
            "A handler that hangs holds up the commands behind it.";
    }
    "Sessions and channels" {
        data_dir: DataFolder = "none",
            "Folder of the durable store; `none` keeps everything in memory",
            "With it nothing that was acknowledged is lost when the server is killed or the power \
             fails; each commit costs an fsync, shared by all that wait.";
        session_expiry: Duration = "10m" in "1s"..="720h",
            "How long a session outlives its last connection",
            "A tunnel or a lift, not a night. Each session that is away holds its inbox and its \
             outcomes.";
        session_count_max: Count = "100000" in "1"..="10_000_000",
            "Sessions in all, there and away",
            "Each costs some hundred bytes. Past it new ones are told to come back later.";
        sessions_per_principal_max: Count = "100" in "1"..="10_000_000",
            "Sessions of one principal, there and away",
            "A person with some devices and many tabs. Past it new ones are told to come back \
             later.";
        principal_header: Header = "none",
            "Header in which a proxy says who asks, such as X-User, or `none`",
            "DANGEROUS unless the proxy sets or removes it on every request: a client that sends \
             it itself is whoever it likes.";
        hello_timeout: Duration = "5s" in "10ms"..="5m",
            "Time between a session's handshake and its hello",
            "A connection that says nothing belongs to nobody.";
        request_count_max: Count = "256" in "1"..="100_000",
            "Requests of one session without an outcome, and outcomes kept for it",
            "What one client can make the server hold. Past it the connection ends.";
        request_bytes_max: Bytes = "1MiB" in "1KiB"..="1GiB",
            "Bytes of one session's requests that wait behind a running handler",
            "Held in memory for each session. Clients are told and hold back what would go over it; \
             past it the connection ends.";
        outcome_bytes_max: Bytes = "4MiB" in "1KiB"..="1GiB",
            "Bytes of outcomes kept for one session until its client has them",
            "The 64 that a client may leave unacknowledged, each as long as a message may be. Past it \
             the oldest become indeterminate.";
        key_count_max: Count = "1000000" in "1"..="100_000_000",
            "Events remembered by their idempotency keys, for five minutes each",
            "Some hundred bytes each. Past it calls with a key are told to come back later.";
        subscription_count_max: Count = "128" in "1"..="4096",
            "Channels one session may listen to",
            "Each costs some hundred bytes; past it subscribing is refused.";
        channel_count_max: Count = "100000" in "1"..="10_000_000",
            "Channels in all, inboxes apart",
            "Names are made up by clients. Past it publishing and subscribing to new ones is \
             refused.";
        channels_per_principal_max: Count = "10000" in "1"..="10_000_000",
            "Channels that one principal, or one address without a principal, keeps",
            "Whoever publishes the first event keeps it, or whoever first listens, until it is empty \
             and nobody listens. One client cannot take all places. Past it publishing and \
             subscribing to new ones is refused.";
        history_count_max: Count = "10000" in "1"..="1_000_000_000",
            "Events kept of each channel; older ones are trimmed",
            "What a client that was away can still catch up with. Past it, it is told of a gap.";
        history_bytes_max: Bytes = "16MiB" in "1KiB"..="1024GiB",
            "Bytes kept of each channel; older ones are trimmed",
            "Payloads only. The first of the three bounds that is reached counts.";
        history_age_max: Duration = "24h" in "1s"..="87600h",
            "Age up to which events are kept",
            "The first of the three bounds that is reached counts.";
        inbox_count_max: Count = "1000" in "1"..="1_000_000",
            "Messages kept in one inbox",
            "Past it the sender is told `inbox_full`: nothing that was accepted is dropped.";
        inbox_bytes_max: Bytes = "1MiB" in "1KiB"..="1GiB",
            "Bytes kept in one inbox",
            "Past it the sender is told `inbox_full`.";
        log_bytes_max: Bytes = "1GiB" in "1MiB"..="1024GiB",
            "Bytes of payloads in all channels together, and 64 for each event",
            "What channels can make the server hold, in memory or on disk. Past it publishing is \
             refused until trimming has made room.";
        presence_grace: Duration = "10s" in "0ms"..="1h",
            "How long a member that lost its connection stays one",
            "A page that is loaded again has not left.";
    }
    "Looking back" {
        journal_count_max: Count = "10000" in "1"..="1_000_000",
            "Entries of the journal: who came, went and why",
            "In memory, some 150 bytes each. Older ones are forgotten, and whoever reads is told so.";
        journal_bytes_max: Bytes = "4MiB" in "1KiB"..="1GiB",
            "Bytes of the journal",
            "The first of the two bounds that is reached counts.";
    }
    "Liveness" {
        ping_interval: Duration = "25s" in "10ms"..="1h",
            "Silence towards a client after which it is pinged",
            "With the answer's 10s it notices a dead client within 35s, and keeps proxies \
             content that cut what has been silent for 60s.";
        pong_timeout: Duration = "10s" in "10ms"..="1h",
            "Time for the answer to a ping; any byte received counts",
            "A phone that wakes its radio needs a few seconds.";
        tcp_user_timeout: Duration = "30s" in "1s"..="1h",
            "Time sent bytes may stay unacknowledged by the peer (TCP_USER_TIMEOUT)",
            "Without it Linux retransmits to a vanished host for about 15 minutes.";
        close_timeout: Duration = "5s" in "10ms"..="5m",
            "Time for the peer's half of the closing handshake",
            "Until then the server reads on, so that its last frames are not lost to a reset.";
    }
    "Shutdown" {
        drain_window: Duration = "5s" in "0ms"..="1h",
            "Time over which connections are told to go, once stopping",
            "Spread out, so that all clients do not return to the next server at one moment.";
        drain_timeout: Duration = "15s" in "10ms"..="24h",
            "Time from the signal to stop until whoever is left is cut off",
            "Sooner than Kubernetes (30s) and systemd (90s) kill; `docker stop` waits only 10s \
             unless told otherwise.";
    }
    "Logging" {
        log: Filter = "info",
            "What is logged to stderr: a level, or levels by target as in RUST_LOG",
            "`info` tells of each connection's end and why it came; `warn` only of trouble.";
        log_format: LogFormat = "auto",
            "How it is written: `auto`, `human` or `json`",
            "`auto` is `human` with colours on a terminal; `human` has none; `json` is one object \
             a line for machines.";
    }
}
