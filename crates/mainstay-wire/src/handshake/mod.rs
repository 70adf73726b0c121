//! The opening handshake of RFC 6455 §4, for both roles: bytes in, a decision and bytes out.
//!
//! ```text
//! server  bytes → HeadScan → RequestHead  → accept()       → Accepted | Refusal → bytes
//! client  Dial → bytes … bytes → HeadScan → ResponseHead → Dial::finish() → Dialed | DialError
//! ```
//!
//! Both ways are strict: what two HTTP implementations might read differently (bare line feeds,
//! folded headers, doubled lengths) is refused, because a proxy in front of the server that reads
//! it the other way is how requests are smuggled. Nothing here does I/O, reads a clock or draws
//! random numbers. Deadlines belong to the driver, which also must not treat bytes behind a head
//! as frames before the 101 answer has been decided.

mod accept;
mod dial;
mod extension;
mod head;
mod origin;
mod scan;

mod authority;
mod field;

pub use accept::{AcceptOptions, Accepted, Refusal, RefusalReason, UpgradeRequest, accept};
pub use authority::{Authority, AuthorityError};
pub use dial::{Dial, DialError, DialOptions, DialOptionsError, Dialed, RetryAfter};
pub use extension::{DeflateParams, DeflateSupport, ExtensionError};
pub use head::{Headers, HttpVersion, RequestHead, ResponseHead};
pub use origin::{Origin, OriginError, OriginPolicy};
pub use scan::{HeadError, HeadLimits, HeadScan};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The `Sec-WebSocket-Accept` value that answers the `Sec-WebSocket-Key` value `key`
/// (RFC 6455 §4.2.2, step 5.4): base64 of the SHA-1 of the key followed by a fixed text.
///
/// It proves that the peer speaks WebSocket and secures nothing, so SHA-1 is good enough.
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(ACCEPT_GUID);
    STANDARD.encode(hash.finalize())
}

/// RFC 6455 §1.3: a text that no server unaware of WebSocket would hash by chance.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests;
