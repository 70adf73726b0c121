//! From the words on the command line to a URL.

use std::fmt::Write;

/// The URL of an endpoint that listens to `channels`. `address` is `host:port` or a URL, whose own
/// path and query are kept where nothing else is given. Nothing is checked here: connecting does.
pub(crate) fn url(address: &str, path: Option<&str>, channels: &[String]) -> String {
    let address = match address.contains("://") {
        true => address.to_owned(),
        false => format!("ws://{address}"),
    };
    let (address, mut query) = match address.split_once('?') {
        Some((address, query)) => (address, query.to_owned()),
        None => (address.as_str(), String::new()),
    };
    let authority_start = address.find("://").map_or(0, |at| at + "://".len());
    let authority_end = address[authority_start..].find('/').map(|at| at + authority_start);
    let (server, own_path) = address.split_at(authority_end.unwrap_or(address.len()));
    let path = path.unwrap_or(if own_path.is_empty() { PATH_DEFAULT } else { own_path });
    for channel in channels {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str("channel=");
        push_encoded(&mut query, channel);
    }
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{server}{path}{mark}{query}")
}

/// The origin to state: the server's own, as a page that it serves would. Some servers answer only
/// clients that state one.
pub(crate) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
    let scheme = if scheme.eq_ignore_ascii_case("wss") { "https" } else { "http" };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    format!("{scheme}://{}", &rest[..end])
}

/// Percent signs for everything that could mean something in a query (RFC 3986 §2.3).
fn push_encoded(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

const PATH_DEFAULT: &str = "/server";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_servers_own() {
        assert_eq!(origin("ws://[::1]:8080/server?channel=a"), "http://[::1]:8080");
        assert_eq!(origin("ws://h?x"), "http://h");
        assert_eq!(origin("ws://h"), "http://h");
        assert_eq!(origin("wss://h:8443/server"), "https://h:8443");
    }

    #[test]
    fn addresses_become_urls() {
        let cases: &[(&str, Option<&str>, &[&str], &str)] = &[
            ("localhost:8080", None, &[], "ws://localhost:8080/server"),
            ("[::1]:1", Some("/"), &[], "ws://[::1]:1/"),
            ("localhost:8080", None, &["news"], "ws://localhost:8080/server?channel=news"),
            ("h:1", None, &["a&b", "ü /"], "ws://h:1/server?channel=a%26b&channel=%C3%BC%20%2F"),
            ("ws://h:1", None, &[], "ws://h:1/server"),
            ("ws://h:1/", None, &[], "ws://h:1/"),
            ("ws://h:1/own?x=1", None, &["c"], "ws://h:1/own?x=1&channel=c"),
            ("ws://h:1/own?x=1", Some("/given"), &[], "ws://h:1/given?x=1"),
            ("wss://h", None, &[], "wss://h/server"),
        ];
        for (address, path, channels, expected) in cases {
            let channels: Vec<_> = channels.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(url(address, *path, &channels), *expected);
        }
    }
}
