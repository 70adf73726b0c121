//! Randomness from the operating system.

use std::io;

/// `N` random bytes, fit for secrets.
///
/// # Errors
/// The system has no randomness to give, which on Linux happens only in a sandbox without it.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
