//! The kinds of values a setting can have: how each is written, read and bounded.

use std::path::PathBuf;
use std::time;

use mainstay_admin::Token;
use tracing_subscriber::EnvFilter;

use super::nearest;

pub(crate) use super::handler::{HandlerRetry, OptionalHandler};

/// One kind of value.
pub(crate) trait Kind {
    /// What a value is in memory.
    type Value: Clone + std::fmt::Debug;
    /// What a value looks like outside.
    const SHAPE: Shape;

    /// Reads a value. The error says what is wrong with the text and what would be right; it
    /// follows the words "KEY = TEXT:".
    fn read(text: &str) -> Result<Self::Value, String>;

    /// Writes a value so that [`Kind::read`] gives it back.
    fn write(value: &Self::Value) -> String;

    /// The value as a number that can be held against a range; `None` if it is no quantity.
    fn magnitude(_value: &Self::Value) -> Option<u128> {
        None
    }
}

/// What values of a kind look like, for help texts and for files that know types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Stands for the value in help texts.
    pub(crate) placeholder: &'static str,
    /// How TOML and JSON write it.
    pub(crate) notation: Notation,
    /// The only values there are, where they can be listed.
    pub(crate) choices: &'static [&'static str],
}

/// How a typed notation such as TOML writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// An integer or a string.
    IntegerOrText,
    /// `true` or `false`.
    Boolean,
    /// An array of strings.
    Array,
}

/// A folder, or `none`.
pub(crate) enum DataFolder {}

impl Kind for DataFolder {
    type Value = Option<PathBuf>;
    const SHAPE: Shape = Shape::new("FOLDER", Notation::Text);

    fn read(text: &str) -> Result<Option<PathBuf>, String> {
        match text {
            "none" => Ok(None),
            _ => Folder::read(text).map(Some),
        }
    }

    fn write(value: &Option<PathBuf>) -> String {
        value.as_ref().map_or_else(|| "none".to_owned(), Folder::write)
    }
}

/// The name of a header, or `none`.
pub(crate) enum Header {}

impl Kind for Header {
    type Value = Option<String>;
    const SHAPE: Shape = Shape::new("HEADER", Notation::Text);

    fn read(text: &str) -> Result<Option<String>, String> {
        // RFC 9110 §5.6.2.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match text {
            "none" => Ok(None),
            "" => Err("is empty; write none for no header".to_owned()),
            _ if text.bytes().all(allowed) => Ok(Some(text.to_owned())),
            _ => Err("is no name of a header, such as X-User".to_owned()),
        }
    }

    fn write(value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| "none".to_owned())
    }
}

/// `host:port`, or `none`.
pub(crate) enum OptionalAddress {}

impl Kind for OptionalAddress {
    type Value = Option<String>;
    const SHAPE: Shape = Shape::new("HOST:PORT", Notation::Text);

    fn read(text: &str) -> Result<Option<String>, String> {
        match text {
            "none" => Ok(None),
            _ => Address::read(text).map(Some),
        }
    }

    fn write(value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| "none".to_owned())
    }
}

/// A secret, or `none`. Its placeholder is what keeps it from being shown.
pub(crate) enum Secret {}

impl Kind for Secret {
    type Value = Option<Token>;
    const SHAPE: Shape = Shape::new(SECRET_PLACEHOLDER, Notation::Text);

    fn read(text: &str) -> Result<Option<Token>, String> {
        match text {
            "none" => Ok(None),
            _ => Token::new(text).map(Some).map_err(|_| {
                "must be 16 to 256 visible characters of ASCII, as `openssl rand -hex 32` prints"
                    .to_owned()
            }),
        }
    }

    fn write(value: &Option<Token>) -> String {
        value.as_ref().map_or_else(|| "none".to_owned(), Token::to_secret_text)
    }
}

/// `host:port`.
pub(crate) enum Address {}

impl Kind for Address {
    type Value = String;
    const SHAPE: Shape = Shape::new("HOST:PORT", Notation::Text);

    fn read(text: &str) -> Result<String, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("needs a host and a port, such as localhost:8080 or [::1]:8080")?;
        if host.is_empty() {
            return Err(format!(
                "has no host; write 0.0.0.0:{port} or [::]:{port} to let other machines in"
            ));
        }
        if host.contains(['/', '@']) || host.contains(char::is_whitespace) {
            return Err("must be host and port alone, such as localhost:8080".to_owned());
        }
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !bracketed {
            return Err(format!("an IPv6 address stands in brackets: [{host}]:{port}"));
        }
        match port.parse::<u16>() {
            Ok(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(text.to_owned()),
            _ => Err("the port must be a number from 0 to 65535".to_owned()),
        }
    }

    fn write(value: &String) -> String {
        value.clone()
    }
}

/// The path of a URL.
pub(crate) enum EndpointPath {}

impl Kind for EndpointPath {
    type Value = String;
    const SHAPE: Shape = Shape::new("PATH", Notation::Text);

    fn read(text: &str) -> Result<String, String> {
        if !text.starts_with('/') {
            return Err("must start with a slash, such as /server".to_owned());
        }
        // What a request target may hold as it stands (RFC 3986 section 3.3); requests are
        // compared byte by byte, so anything else could never match.
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
        match text.bytes().all(allowed) {
            true => Ok(text.to_owned()),
            false => {
                Err("may hold only what stands in a URL's path: no spaces, no ?, no #".to_owned())
            }
        }
    }

    fn write(value: &String) -> String {
        value.clone()
    }
}

/// A folder of the file system. It need not exist.
pub(crate) enum Folder {}

impl Kind for Folder {
    type Value = PathBuf;
    const SHAPE: Shape = Shape::new("FOLDER", Notation::Text);

    fn read(text: &str) -> Result<PathBuf, String> {
        match text.is_empty() {
            true => Err("is empty; write . for the working directory".to_owned()),
            false => Ok(PathBuf::from(text)),
        }
    }

    fn write(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// What the endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Commands and replies.
    Command,
    /// Every message comes back.
    Echo,
}

impl Kind for Dialect {
    type Value = Dialect;
    const SHAPE: Shape = Shape::choice("DIALECT", &["command", "echo"]);

    fn read(text: &str) -> Result<Dialect, String> {
        match text {
            "command" => Ok(Dialect::Command),
            "echo" => Ok(Dialect::Echo),
            _ => Err(not_a_choice(text, Self::SHAPE.choices)),
        }
    }

    fn write(value: &Dialect) -> String {
        match value {
            Dialect::Command => "command".to_owned(),
            Dialect::Echo => "echo".to_owned(),
        }
    }
}

/// How many shards; `None` is one for each core.
pub(crate) enum Shards {}

impl Kind for Shards {
    type Value = Option<usize>;
    const SHAPE: Shape = Shape::new("COUNT", Notation::IntegerOrText);

    fn read(text: &str) -> Result<Option<usize>, String> {
        match text {
            "auto" => Ok(None),
            _ => Count::read(text).map(Some).map_err(|error| format!("{error}, or auto")),
        }
    }

    fn write(value: &Option<usize>) -> String {
        value.map_or_else(|| "auto".to_owned(), |count| count.to_string())
    }

    fn magnitude(value: &Option<usize>) -> Option<u128> {
        value.map(|count| count as u128)
    }
}

/// On or off.
pub(crate) enum Switch {}

impl Kind for Switch {
    type Value = bool;
    const SHAPE: Shape =
        Shape { placeholder: "BOOL", notation: Notation::Boolean, choices: &["true", "false"] };

    fn read(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(not_a_choice(text, Self::SHAPE.choices)),
        }
    }

    fn write(value: &bool) -> String {
        value.to_string()
    }
}

/// Web origins, as browsers send them (RFC 6454 section 6.2), or `*` alone for any.
pub(crate) enum Origins {}

impl Kind for Origins {
    type Value = Vec<String>;
    const SHAPE: Shape = Shape::new("ORIGIN,...", Notation::Array);

    fn read(text: &str) -> Result<Vec<String>, String> {
        let origins: Vec<String> = match text.trim().is_empty() {
            true => Vec::new(),
            false => text.split(',').map(|origin| origin.trim().to_owned()).collect(),
        };
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            return Err("* allows every origin: remove it, or the others".to_owned());
        }
        origins
            .iter()
            .filter(|origin| *origin != "*")
            .try_for_each(|origin| check_origin(origin))?;
        Ok(origins)
    }

    fn write(value: &Vec<String>) -> String {
        value.join(",")
    }
}

/// Compared with what browsers send byte by byte, so only what they can send is accepted.
fn check_origin(origin: &str) -> Result<(), String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return Err(format!("{origin:?} is no origin; write scheme and host: https://app.example"));
    };
    if host.contains('/') {
        return Err(format!("{origin:?} has a path; an origin ends with its host or port"));
    }
    if host.contains('*') {
        return Err(format!("{origin:?} has a pattern; origins are compared whole"));
    }
    let sendable = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if !host.bytes().all(sendable) || host.contains(['@', '?', '#', '\\', '"']) {
        return Err(format!(
            "{origin:?} is not what a browser sends: lower case, ASCII (punycode), no user"
        ));
    }
    Ok(())
}

/// A filter of log lines, in the notation of `RUST_LOG`.
pub(crate) enum Filter {}

impl Kind for Filter {
    type Value = String;
    const SHAPE: Shape = Shape::new("FILTER", Notation::Text);

    fn read(text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err("is empty; write off to log nothing".to_owned());
        }
        // A bare word that is no level would be taken for a target: `inof` would silence all else.
        for word in text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ':'])) {
            if !LEVELS.contains(&word.to_ascii_lowercase().as_str()) {
                return Err(format!(
                    "{} (levels by target are written target=level)",
                    not_a_choice(word, LEVELS)
                ));
            }
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("is no filter ({error}); write for example info,hyper=warn")),
        }
    }

    fn write(value: &String) -> String {
        value.clone()
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people, with colours if they sit at a terminal.
    Auto,
    /// For people, without colours.
    Human,
    /// One JSON object a line.
    Json,
}

impl Kind for LogFormat {
    type Value = LogFormat;
    const SHAPE: Shape = Shape::choice("FORMAT", &["auto", "human", "json"]);

    fn read(text: &str) -> Result<LogFormat, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err(not_a_choice(text, Self::SHAPE.choices)),
        }
    }

    fn write(value: &LogFormat) -> String {
        match value {
            LogFormat::Auto => "auto".to_owned(),
            LogFormat::Human => "human".to_owned(),
            LogFormat::Json => "json".to_owned(),
        }
    }
}

/// A number of things.
pub(crate) enum Count {}

impl Kind for Count {
    type Value = usize;
    const SHAPE: Shape = Shape::new("COUNT", Notation::Integer);

    fn read(text: &str) -> Result<usize, String> {
        digits(text).ok_or_else(|| "must be a whole number".to_owned())
    }

    fn write(value: &usize) -> String {
        value.to_string()
    }

    fn magnitude(value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A size in bytes: `64KiB`, or the bare number of bytes.
pub(crate) enum Bytes {}

impl Kind for Bytes {
    type Value = usize;
    const SHAPE: Shape = Shape::new("BYTES", Notation::IntegerOrText);

    fn read(text: &str) -> Result<usize, String> {
        let (number, unit) = split_unit(text);
        let count = digits::<usize>(number)
            .ok_or("must be a number of bytes with a unit, such as 64KiB, 1MiB or 512B")?;
        let unit_bytes = match unit {
            "" => 1,
            _ => BYTE_UNITS
                .iter()
                .find_map(|(name, bytes)| (*name == unit).then_some(*bytes))
                .ok_or_else(|| {
                    format!("the unit {unit:?} is not known; it is B, KiB, MiB or GiB")
                })?,
        };
        count.checked_mul(unit_bytes).ok_or_else(|| "is too large".to_owned())
    }

    fn write(value: &usize) -> String {
        let fits = |bytes: usize| *value >= bytes && value.is_multiple_of(bytes);
        let (name, bytes) =
            BYTE_UNITS.into_iter().find(|(_, bytes)| fits(*bytes)).unwrap_or(("B", 1));
        format!("{}{name}", value / bytes)
    }

    fn magnitude(value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A length of time: a whole number and `ms`, `s`, `m` or `h`.
pub(crate) enum Duration {}

impl Kind for Duration {
    type Value = time::Duration;
    const SHAPE: Shape = Shape::new("DURATION", Notation::Text);

    fn read(text: &str) -> Result<time::Duration, String> {
        let (number, unit) = split_unit(text);
        let count = digits::<u64>(number)
            .ok_or("must be a whole number with a unit, such as 500ms, 25s, 2m or 1h")?;
        if unit.is_empty() {
            return Err(format!("needs a unit, such as {number}s or {number}ms"));
        }
        let unit_ms = TIME_UNITS
            .iter()
            .find_map(|(name, ms)| (*name == unit).then_some(*ms))
            .ok_or_else(|| format!("the unit {unit:?} is not known; it is ms, s, m or h"))?;
        let ms = count.checked_mul(unit_ms).ok_or("is too long")?;
        Ok(time::Duration::from_millis(ms))
    }

    fn write(value: &time::Duration) -> String {
        let ms = value.as_millis();
        let fits = |unit: u64| ms >= u128::from(unit) && ms.is_multiple_of(u128::from(unit));
        // `90m` rather than `1h30m`, and `60s` rather than `1m`: the way limits are spoken of.
        let fits_well = |unit: u64| fits(unit) && (unit <= 1_000 || ms >= u128::from(unit) * 2);
        let exact = TIME_UNITS.into_iter().find(|(_, unit)| fits_well(*unit));
        let (name, unit) = exact.unwrap_or(("ms", 1));
        format!("{}{name}", ms / u128::from(unit))
    }

    fn magnitude(value: &time::Duration) -> Option<u128> {
        Some(value.as_millis())
    }
}

impl Shape {
    pub(super) const fn new(placeholder: &'static str, notation: Notation) -> Shape {
        Shape { placeholder, notation, choices: &[] }
    }

    pub(super) const fn choice(
        placeholder: &'static str,
        choices: &'static [&'static str],
    ) -> Shape {
        Shape { placeholder, notation: Notation::Text, choices }
    }
}

/// `must be a, b or c`, with a guess at what was meant.
pub(super) fn not_a_choice(text: &str, choices: &[&str]) -> String {
    let listed = match choices {
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    };
    match nearest(text, choices.iter().copied()) {
        Some(choice) => format!("must be {listed}; did you mean {choice}?"),
        None => format!("must be {listed}"),
    }
}

/// The leading digits, and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A whole number; `50_000` is easier to read than `50000` and means the same.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !digits_only || !starts_well {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// Stands for a value that is not shown.
pub(super) const SECRET_PLACEHOLDER: &str = "TOKEN";

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Largest first, so that the first that divides a value is the one to write it in.
const BYTE_UNITS: [(&str, usize); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// In milliseconds, largest first.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads<K: Kind>(text: &str, written: &str) {
        assert_eq!(K::write(&K::read(text).unwrap()), written, "{text}");
    }

    #[track_caller]
    fn refuses<K: Kind>(text: &str, part: &str) {
        let error = K::read(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error:?} does not say {part:?}");
    }

    #[test]
    fn durations_have_units() {
        reads::<Duration>("25s", "25s");
        reads::<Duration>("500ms", "500ms");
        reads::<Duration>("1000ms", "1s");
        reads::<Duration>("60s", "60s");
        reads::<Duration>("2m", "2m");
        reads::<Duration>("90 s", "90s");
        reads::<Duration>("24h", "24h");
        reads::<Duration>("0ms", "0ms");
        refuses::<Duration>("25", "25s or 25ms");
        refuses::<Duration>("", "whole number");
        refuses::<Duration>("s", "whole number");
        refuses::<Duration>("-1s", "whole number");
        refuses::<Duration>("1.5s", "unit");
        refuses::<Duration>("25 seconds", "unit");
        refuses::<Duration>("99999999999999999999h", "whole number");
        refuses::<Duration>("9999999999999999999h", "too long");
    }

    #[test]
    fn bytes_have_binary_units() {
        reads::<Bytes>("64KiB", "64KiB");
        reads::<Bytes>("65536", "64KiB");
        reads::<Bytes>("65_537", "65537B");
        reads::<Bytes>("1024 MiB", "1GiB");
        reads::<Bytes>("0", "0B");
        refuses::<Bytes>("64KB", "KiB");
        refuses::<Bytes>("64k", "KiB");
        refuses::<Bytes>("", "number of bytes");
        refuses::<Bytes>("_1", "number of bytes");
        refuses::<Bytes>("99999999999GiB", "too large");
    }

    #[test]
    fn addresses_have_host_and_port() {
        for good in ["localhost:8080", "0.0.0.0:0", "[::1]:65535", "app.example:80"] {
            reads::<Address>(good, good);
        }
        refuses::<Address>("localhost", "host and a port");
        refuses::<Address>(":8080", "0.0.0.0:8080");
        refuses::<Address>("::1:8080", "[::1]:8080");
        refuses::<Address>("localhost:http", "0 to 65535");
        refuses::<Address>("localhost:+80", "0 to 65535");
        refuses::<Address>("localhost:65536", "0 to 65535");
        refuses::<Address>("http://localhost:80", "host and port alone");
        refuses::<Address>("a b:80", "host and port alone");
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        reads::<Origins>("", "");
        reads::<Origins>("*", "*");
        reads::<Origins>(
            "https://app.example, http://localhost:3000",
            "https://app.example,http://localhost:3000",
        );
        refuses::<Origins>("*,https://app.example", "remove it");
        refuses::<Origins>("null", "no origin");
        refuses::<Origins>("app.example", "no origin");
        refuses::<Origins>("https://", "no origin");
        refuses::<Origins>("https://app.example/", "path");
        refuses::<Origins>("https://*.app.example", "pattern");
        refuses::<Origins>("https://App.example", "lower case");
        refuses::<Origins>("https://a@app.example", "user");
        refuses::<Origins>("https://a.example,", "no origin");
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target() {
        reads::<Filter>("info", "info");
        reads::<Filter>("warn,mainstay_server=debug", "warn,mainstay_server=debug");
        refuses::<Filter>("inof", "did you mean info?");
        refuses::<Filter>("info,mainstay_server=louder", "no filter");
        refuses::<Filter>("", "off");
    }

    #[test]
    fn what_may_be_absent_is_none() {
        reads::<DataFolder>("none", "none");
        reads::<DataFolder>("./data", "./data");
        refuses::<DataFolder>("", "working directory");
        reads::<Header>("none", "none");
        reads::<Header>("X-User", "X-User");
        refuses::<Header>("", "none");
        refuses::<Header>("X User:", "X-User");
        reads::<OptionalAddress>("none", "none");
        reads::<OptionalAddress>("localhost:0", "localhost:0");
        refuses::<OptionalAddress>("localhost", "host and a port");
        reads::<Secret>("none", "none");
        reads::<Secret>("0123456789abcdef", "0123456789abcdef");
        refuses::<Secret>("0123456789abcde", "16 to 256");
    }

    #[test]
    fn a_handler_is_a_program_or_a_url() {
        reads::<OptionalHandler>("none", "none");
        reads::<OptionalHandler>("exec:python3  handler.py", "exec:python3 handler.py");
        reads::<OptionalHandler>("http://localhost:9000", "http://localhost:9000/");
        reads::<OptionalHandler>("HTTP://[::1]/a/b?c=d", "http://[::1]/a/b?c=d");
        for (text, part) in [
            ("exec: ", "no program"),
            ("python3", "exec:"),
            ("", "http://HOST:PORT/PATH"),
            ("localhost:9000", "http://HOST:PORT/PATH"),
            ("ftp://a/", "http://HOST:PORT/PATH"),
            ("https://a/", "proxy"),
            ("http://", "no URL"),
            ("http://a:99999/", "no URL: invalid port"),
            ("http://a b/", "no URL"),
            ("http://user:pass@a/", "password"),
            ("http://a/#b", "fragment"),
        ] {
            refuses::<OptionalHandler>(text, part);
        }
    }

    #[test]
    fn choices_are_listed() {
        refuses::<HandlerRetry>("always", "never, unsent or idempotent");
        refuses::<Dialect>("ecco", "must be command or echo; did you mean echo?");
        refuses::<LogFormat>("xml", "auto, human or json");
        refuses::<Switch>("yes", "true or false");
        refuses::<Shards>("many", "auto");
        refuses::<EndpointPath>("server", "slash");
        refuses::<EndpointPath>("/a b", "spaces");
        refuses::<Folder>("", "working directory");
    }
}
