//! What a proxy in front says of a request: who asks, and from where.

use std::net::{IpAddr, SocketAddr};

use mainstay_wire::session::{InvalidIdentity, Principal};

/// The headers of a proxy that sets or removes them on every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyHeaders {
    pub(crate) principal: Option<String>,
    pub(crate) address: Option<String>,
}

/// Who is behind a connection, as far as the proxy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) principal: Option<Principal>,
    pub(crate) address: Option<IpAddr>,
}

/// What the proxy says cannot be believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAsker {
    #[error("the principal's header is not valid: {0}")]
    Principal(InvalidIdentity),
    // One of them is the client's own, and nothing tells which.
    #[error("the principal's header is there more than once")]
    TwoPrincipals,
    #[error("the client's address is none")]
    Address,
}

impl ProxyHeaders {
    /// Reads a request's headers: name and value.
    pub(crate) fn read<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Asker, InvalidAsker> {
        let mut asker = Asker::default();
        let mut addresses = None;
        for (name, value) in headers {
            if is(&self.principal, name) {
                let principal = read_principal(value).map_err(InvalidAsker::Principal)?;
                if asker.principal.replace(principal).is_some() {
                    return Err(InvalidAsker::TwoPrincipals);
                }
            }
            if is(&self.address, name) {
                addresses = Some(value);
            }
        }
        if let Some(addresses) = addresses {
            asker.address = Some(read_address(addresses).ok_or(InvalidAsker::Address)?);
        }
        Ok(asker)
    }
}

/// Whether this is the header that was agreed on, letter case apart (RFC 9110 §5.1).
fn is(agreed: &Option<String>, name: &str) -> bool {
    agreed.as_ref().is_some_and(|agreed| agreed.eq_ignore_ascii_case(name))
}

fn read_principal(value: &[u8]) -> Result<Principal, InvalidIdentity> {
    let name = std::str::from_utf8(value).map_err(|_| InvalidIdentity::Principal)?;
    Principal::parse(name)
}

/// The last address of a list, with or without a port. Each proxy adds whom it saw behind what it was
/// told, so only the last is known to be true.
fn read_address(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?;
    let last = text.rsplit(',').next().unwrap_or_default().trim();
    let with_port = || last.parse().ok().map(|address: SocketAddr| address.ip());
    let bare = last.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(last);
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Asker, InvalidAsker> {
        let agreed = ProxyHeaders {
            principal: Some("X-User".to_owned()),
            address: Some("X-Forwarded-For".to_owned()),
        };
        agreed.read(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn the_last_address_is_the_one_that_the_proxy_saw() {
        let cases = [
            ("203.0.113.7", "203.0.113.7"),
            ("10.0.0.1, evil , 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("10.0.0.1,[2001:db8::7]:80", "2001:db8::7"),
        ];
        for (value, expected) in cases {
            let asker = read(&[("x-forwarded-for", "192.0.2.1"), ("X-Forwarded-For", value)]);
            assert_eq!(asker.map(|asker| asker.address), Ok(expected.parse().ok()), "{value}");
        }
        for value in ["", "203.0.113.7,", "unknown", "203.0.113", "_hidden"] {
            assert_eq!(read(&[("X-Forwarded-For", value)]), Err(InvalidAsker::Address), "{value}");
        }
        assert_eq!(read(&[("X-Real-IP", "192.0.2.1")]), Ok(Asker::default()));
    }

    #[test]
    fn a_principal_is_said_once_or_not_at_all() {
        let asker = read(&[("x-USER", "ann")]).expect("ann");
        assert_eq!(asker.principal, Principal::parse("ann").ok());
        assert_eq!(read(&[("X-User", "ann"), ("X-User", "ann")]), Err(InvalidAsker::TwoPrincipals),);
        assert!(matches!(read(&[("X-User", "")]), Err(InvalidAsker::Principal(_))));
        let nobody = ProxyHeaders::default().read([("X-User", &b"ann"[..])].into_iter());
        assert_eq!(nobody, Ok(Asker::default()));
    }
}
