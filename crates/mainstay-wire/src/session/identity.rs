//! Who: a session, the principal it belongs to, and the secret that proves it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

/// A session's public name: 128 random bits, 32 hexadecimal digits as text. May be logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The id of these random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> SessionId {
        SessionId(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for SessionId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<SessionId, InvalidIdentity> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| SessionId(number.to_be_bytes())).ok_or(InvalidIdentity::Session)
    }
}

/// A resume token: 256 secret random bits, 43 characters of base64url as text. Never logged: its
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token of these random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Token {
        Token(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret as it stands in a frame or a state file.
    pub fn to_secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Token, InvalidIdentity> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Token).ok_or(InvalidIdentity::Token)
    }
}

/// Who a session belongs to, as the server's authentication says: 1 to 96 bytes out of
/// `A–Z a–z 0–9 . _ : / - @ +`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Checks a name.
    pub fn parse(name: &str) -> Result<Principal, InvalidIdentity> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-@+".contains(&byte);
        if name.is_empty() || name.len() > PRINCIPAL_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(InvalidIdentity::Principal);
        }
        Ok(Principal(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The caller's fault: this is no such name or secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidIdentity {
    /// Not 32 hexadecimal digits.
    #[error("a session id is 32 hexadecimal digits")]
    Session,
    /// Not 43 characters of base64url.
    #[error("a resume token is 43 characters of base64url")]
    Token,
    /// Outside the grammar.
    #[error("a principal has 1 to {PRINCIPAL_BYTES_MAX} bytes out of A-Z a-z 0-9 . _ : / - @ +")]
    Principal,
}

/// Short enough for a principal's inbox to be named like a channel.
const PRINCIPAL_BYTES_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_as_text() {
        let session = SessionId::from_bytes([0xab; 16]);
        assert_eq!(session.to_string().parse(), Ok(session));
        assert_eq!("+".repeat(32).parse::<SessionId>(), Err(InvalidIdentity::Session));
        assert_eq!("ab".parse::<SessionId>(), Err(InvalidIdentity::Session));
        let token = Token::from_bytes([0xfe; 32]);
        assert_eq!(token.to_secret_text().len(), 43);
        assert_eq!(token.to_secret_text().parse(), Ok(token.clone()));
        assert_eq!("x".parse::<Token>(), Err(InvalidIdentity::Token));
        assert_eq!(format!("{token:?}"), "Token(…)", "a secret is not shown");
    }

    #[test]
    fn principals_keep_their_grammar() {
        assert!(Principal::parse("ann+test@example.org").is_ok());
        for name in ["", "a b", "a\n", "é", &"p".repeat(97)] {
            assert_eq!(Principal::parse(name), Err(InvalidIdentity::Principal), "{name:?}");
        }
    }
}
