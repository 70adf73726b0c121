//! Where a command connects to, and as whom.

use std::path::PathBuf;

use mainstay_client::Tls;

use super::target;
use crate::settings::kind::{EndpointPath, Kind};

/// The flags that every command that connects has.
#[derive(clap::Args)]
pub(crate) struct DialArguments {
    /// The server: host and port, or a whole ws:// or wss:// URL
    #[arg(long, value_name = "HOST:PORT|URL", default_value = "localhost:8080")]
    address: String,

    /// The path of the server's WebSocket endpoint [default: /server, or the URL's]
    #[arg(long, value_name = "PATH", value_parser = EndpointPath::read)]
    path: Option<String>,

    /// Trust the certificates that this PEM file's authorities have signed, and no others [default:
    /// those that the system trusts]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// One more header of the handshake, such as "Authorization: Bearer …"
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = read_header)]
    pub(crate) headers: Vec<(String, String)>,
}

impl DialArguments {
    /// The endpoint's URL, listening to `channels`.
    pub(crate) fn url(&self, channels: &[String]) -> String {
        target::url(&self.address, self.path.as_deref(), channels)
    }

    /// Whom to trust.
    pub(crate) fn tls(&self) -> Result<Tls, String> {
        let Some(path) = &self.ca_file else { return Ok(Tls::default()) };
        let named = |problem: &str| format!("--ca-file {}: {problem}", path.display());
        let pem = std::fs::read(path).map_err(|error| named(&error.to_string()))?;
        Tls::trusting(&pem).map_err(|error| named(&error.to_string()))
    }
}

fn read_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
