//! TLS from a certificate chain and a key in PEM files; ring, TLS 1.2 and 1.3.

use std::{fmt, path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

/// Why there is no TLS; says which file and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// What a listener needs for TLS.
///
/// # Errors
/// When a file cannot be read, holds no certificate or no key, or the two do not belong together.
pub fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let wrong = |path: &Path, why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect).map_err(|why| wrong(chain, &why))?;
    if certificates.is_empty() {
        return Err(wrong(chain, &"holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| wrong(key, &why))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| TlsError(why.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, secret)
        .map_err(|why| wrong(chain, &why))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
