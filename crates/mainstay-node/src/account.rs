//! Whom a channel counts against.

use bytes::{BufMut, Bytes, BytesMut};
use mainstay_wire::session::Principal;

/// Whoever brings channels into being: a principal with all its sessions, or without one the place that
/// the connection comes from. A new session changes neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Account {
    Principal(Principal),
    Source([u8; 8]),
}

impl Account {
    pub(crate) fn of(principal: Option<&Principal>, source: [u8; 8]) -> Account {
        principal.map_or(Account::Source(source), |name| Account::Principal(name.clone()))
    }

    /// What a channel's record has of it.
    pub(crate) fn encode(account: Option<&Account>) -> Bytes {
        let mut settings = BytesMut::new();
        match account {
            None => {}
            Some(Account::Principal(principal)) => {
                settings.put_u8(PRINCIPAL);
                settings.put_slice(principal.as_str().as_bytes());
            }
            Some(Account::Source(source)) => {
                settings.put_u8(SOURCE);
                settings.put_slice(source);
            }
        }
        settings.freeze()
    }

    /// Reads what [`encode`](Account::encode) wrote. Of anything else nobody is to blame.
    pub(crate) fn decode(settings: &[u8]) -> Option<Account> {
        match settings.split_first()? {
            (&PRINCIPAL, name) => {
                let principal = Principal::parse(std::str::from_utf8(name).ok()?);
                principal.ok().map(Account::Principal)
            }
            (&SOURCE, source) => Some(Account::Source(source.try_into().ok()?)),
            _ => None,
        }
    }
}

const PRINCIPAL: u8 = 1;
const SOURCE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_as_it_was_written() {
        let principal = Principal::parse("ann@example.org").expect("a principal");
        for account in [
            None,
            Some(Account::Principal(principal)),
            Some(Account::Source([0, 1, 2, 3, 4, 5, 6, 7])),
        ] {
            let settings = Account::encode(account.as_ref());
            assert_eq!(Account::decode(&settings), account);
        }
        for other in [&b"\x01"[..], b"\x01a b", b"\x02short", b"\x03"] {
            assert_eq!(Account::decode(other), None, "{other:?}");
        }
    }
}
