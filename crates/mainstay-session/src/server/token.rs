//! Resume tokens as a server keeps them: hashed.

use mainstay_wire::session::Token;
use sha2::{Digest, Sha256};

/// The SHA-256 of a resume token. Whoever reads the store cannot resume with it. A token is 256
/// random bits, so the hash needs neither salt nor stretching.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &Token) -> TokenHash {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }

    /// A hash that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> TokenHash {
        TokenHash(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn matches(&self, other: &TokenHash) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        // Keeps the optimiser from leaving the loop early.
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_matches() {
        let hash = TokenHash::of(&Token::from_bytes([7; 32]));
        assert!(hash.matches(&TokenHash::of(&Token::from_bytes([7; 32]))));
        for index in 0..32 {
            let mut bytes = [7; 32];
            bytes[index] ^= 1;
            assert!(!hash.matches(&TokenHash::of(&Token::from_bytes(bytes))));
            let mut stored = *hash.as_bytes();
            stored[index] ^= 0x80;
            assert!(!hash.matches(&TokenHash::from_bytes(stored)), "byte {index} counts");
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        let hash = TokenHash::of(&Token::from_bytes([0; 32]));
        assert_eq!(hash.as_bytes()[..4], [0x66, 0x68, 0x7a, 0xad], "of 32 zero bytes");
    }
}
