//! TLS towards the server: whom to trust, for HTTP and WebSocket alike.
//!
//! The authorities are those of this machine, or of the file that `SSL_CERT_FILE` names, read once.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The configuration of every encrypted connection. One that trusts nobody, where this machine has no authorities: the
/// handshake then says so.
pub(crate) fn config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_, unreadable) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() || unreadable > 0 {
            tracing::warn!(authorities = roots.len(), unreadable, errors = ?found.errors, "authorities for https");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has a cipher for each version of TLS that is on")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }))
}
