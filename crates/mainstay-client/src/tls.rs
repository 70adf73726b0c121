//! Whom a client trusts, and how TLS begins.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use crate::stream::{Stream, Tcp};

/// Whose certificates are trusted for a `wss://` URL. Default: whom the system trusts, with the
/// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` heeded as OpenSSL does.
///
/// The name or address in the URL must be one of the certificate's (RFC 9110 §4.3.4), and there is
/// no way to do without: who does not check whom it talks to may as well not encrypt.
#[derive(Clone, Default)]
pub struct Tls(Trust);

#[derive(Clone, Default)]
enum Trust {
    #[default]
    System,
    Config(Arc<ClientConfig>),
}

impl Tls {
    /// Trusts the authorities of these PEM certificates and nobody else.
    ///
    /// # Errors
    /// If there is no certificate in it, or one that is not well-formed.
    pub fn trusting(pem: &[u8]) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TlsError::Pem(error.to_string()))?;
            roots.add(certificate).map_err(TlsError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Pem("it holds no certificate".to_owned()));
        }
        Ok(Tls(Trust::Config(Arc::new(config(roots)?))))
    }

    /// Everything as in this configuration, certificates of the client's own included. Its ALPN list
    /// must be empty or name `http/1.1`: WebSocket over HTTP/2 is not spoken here.
    pub fn with_config(config: Arc<ClientConfig>) -> Tls {
        Tls(Trust::Config(config))
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match &self.0 {
            Trust::Config(config) => Ok(Arc::clone(config)),
            // Some hundred files, perhaps.
            Trust::System => spawn_blocking(|| SYSTEM.clone())
                .await
                .unwrap_or_else(|error| Err(TlsError::System(error.to_string()))),
        }
    }

    /// Agrees on TLS with the server of this name.
    pub(crate) async fn begin(&self, tcp: TcpStream, host: &str) -> Result<Stream, TlsError> {
        let config = self.config().await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name)?;
        let mut tls = ClientConnection::new(config, name).map_err(TlsError::Handshake)?;
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut Tcp(&tcp)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tcp.writable().await?
                    }
                    outcome => drop(outcome?),
                }
            }
            if !tls.is_handshaking() {
                return Ok(Stream::tls(tcp, tls));
            }
            match tls.read_tls(&mut Tcp(&tcp)) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tcp.readable().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if let Err(error) = tls.process_new_packets() {
                // The server learns why from the alert, if it can be told without waiting.
                let _ = tls.write_tls(&mut Tcp(&tcp));
                return Err(TlsError::Handshake(error));
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Trust::System => "Tls(system)",
            Trust::Config(_) => "Tls(config)",
        })
    }
}

/// Why there is no TLS.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The caller is at fault: no certificates that could be trusted.
    #[error("these are no PEM certificates: {0}")]
    Pem(String),
    /// The caller is at fault: a certificate that is none.
    #[error("a certificate to trust is not well-formed: {0}")]
    Certificate(#[source] rustls::Error),
    /// The caller is at fault: no certificate can be for this host.
    #[error("the host is neither a domain name nor an address")]
    Name,
    /// The system's list of trusted authorities is missing.
    #[error("the system trusts no certificate authority: {0}")]
    System(String),
    /// The server's certificate is not trusted, or it speaks no TLS that is still safe, or none.
    #[error("{}", words(.0))]
    Handshake(#[source] rustls::Error),
    /// The socket failed or was closed meanwhile.
    #[error("the connection failed during the TLS handshake: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> TlsError {
        TlsError::Io(Arc::new(error))
    }
}

/// What is wrong, for a person who may never have seen a certificate.
fn words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    let words = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => "nobody who is trusted has signed its certificate",
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or the clock here is late"
            }
            Certificate::Other(problem) => {
                return format!("its certificate cannot be used: {}", problem.0);
            }
            _ => return error.to_string(),
        },
        rustls::Error::InvalidMessage(_) => "what it answers is no TLS",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// Read once in the process's life, as by other programs.
static SYSTEM: LazyLock<Result<Arc<ClientConfig>, TlsError>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's list may hold certificates that nobody can read any more.
    let (trusted_count, unfit_count) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(trusted_count, unfit_count, "certificate authorities of the system");
    if trusted_count == 0 {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let detail =
            if errors.is_empty() { "its list is empty".to_owned() } else { errors.join("; ") };
        return Err(TlsError::System(detail));
    }
    config(roots).map(Arc::new)
});

fn config(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    // Named, for another crate of the program may bring a second one.
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Handshake)?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    // Or a server that prefers HTTP/2 would speak that (RFC 7301).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_trusted_is_refused_in_words() {
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases: [(&[u8], &str); 3] = [
            (b"", "holds no certificate"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "no PEM certificates"),
            (broken, "not well-formed"),
        ];
        for (pem, message) in cases {
            let error = Tls::trusting(pem).expect_err("no certificate").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
