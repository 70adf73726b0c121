//! Whom a command trusts when it connects with TLS.

use std::path::PathBuf;

use mainstay_client::Tls;

/// The flag that every command that connects has.
#[derive(clap::Args)]
pub(crate) struct TrustArguments {
    /// Trust the certificates that this PEM file's authorities have signed, and no others [default:
    /// those that the system trusts]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl TrustArguments {
    pub(crate) fn read(&self) -> Result<Tls, String> {
        let Some(path) = &self.ca_file else { return Ok(Tls::default()) };
        let named = |problem: &str| format!("--ca-file {}: {problem}", path.display());
        let pem = std::fs::read(path).map_err(|error| named(&error.to_string()))?;
        Tls::trusting(&pem).map_err(|error| named(&error.to_string()))
    }
}
