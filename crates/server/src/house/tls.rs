//! TLS of our own: the certificate, its key, and another pair in their place without a restart.
//!
//! Read as PEM. A pair is taken whole or not at all: whatever is wrong with a new one, the old one goes on. Which
//! connections are encrypted is `serve`'s.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, RwLock};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject as _},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use super::tickets::Tickets;

/// Between two looks at the files: certificates are renewed days before they end, and two looks cost microseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Offered in this order: streams of events share a connection on HTTP/2, WebSockets ask for HTTP/1.1 by themselves.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a pair does not do. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read. Check its path and rights.
    #[error("{option} {}", file.display())]
    Unreadable {
        /// Which option named it.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was read, and is not what it should be.
    #[error("{option} {}: {what}", file.display())]
    Unusable {
        /// Which option named it.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to write.
        what: String,
    },
}

/// The certificate in use. Cheap to ask at each handshake.
pub(crate) struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    pair: RwLock<Arc<CertifiedKey>>,
    tickets: Arc<Tickets>,
    /// What the files looked like when they were last read.
    seen: Mutex<Option<Looks>>,
}

/// A change of either file shows in one of these.
type Looks = [(SystemTime, u64); 2];

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the first pair.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Looked at before they are read: a change in between is seen at the next look.
        let seen = looks(cert, key).ok();
        let pair = RwLock::new(Arc::new(read(cert, key, &provider)?));
        let (cert, key, seen) = (cert.to_owned(), key.to_owned(), Mutex::new(seen));
        Ok(Arc::new(Self { cert, key, provider, pair, tickets: Tickets::new(), seen }))
    }

    /// How connections are encrypted.
    pub(crate) fn config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // A ticket is kept by its client; what a server remembers of sessions has a bound that a crowd passes.
        config.ticketer = Arc::clone(&self.tickets) as _;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// Takes the pair as it is on disk now; a broken one leaves the old one in use and is said in the log. New connections
    /// get the new one, open ones keep what they have, and no session resumes that another certificate vouched for.
    pub(crate) fn reload(&self) {
        *self.seen.lock() = looks(&self.cert, &self.key).ok();
        match read(&self.cert, &self.key, &self.provider) {
            Ok(pair) => {
                let before = std::mem::replace(&mut *self.pair.write(), Arc::new(pair));
                if before.cert != self.pair.read().cert {
                    self.tickets.renew();
                }
                tracing::info!(cert = %self.cert.display(), "certificate reloaded");
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "new certificate not taken, the old one stays in use");
            }
        }
    }

    /// Reloads whenever a file changes, until stopped.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let this = Arc::clone(&self);
            // Reading files and keys blocks; the runtime awaits it as part of this task.
            let looked = tokio::task::spawn_blocking(move || this.reload_if_changed()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "certificate files are not watched any more");
                return;
            }
        }
    }

    fn reload_if_changed(&self) {
        // A file that is gone for a moment is being replaced.
        let Ok(looks) = looks(&self.cert, &self.key) else { return };
        if *self.seen.lock() != Some(looks) {
            self.reload();
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair.read()))
    }
}

fn looks(cert: &Path, key: &Path) -> io::Result<Looks> {
    let look = |path: &Path| {
        let metadata = std::fs::metadata(path)?;
        Ok::<_, io::Error>((metadata.modified()?, metadata.len()))
    };
    Ok([look(cert)?, look(key)?])
}

fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let bytes = |option, file: &Path| {
        std::fs::read(file).map_err(|source| TlsError::Unreadable { option, file: file.to_owned(), source })
    };
    pair((cert, &bytes("tls.cert", cert)?), (key, &bytes("tls.key", key)?), provider)
}

/// What the files say; each with its path, for people.
fn pair(
    (cert, chain): (&Path, &[u8]),
    (key, secret): (&Path, &[u8]),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let wrong = |option, file: &Path, what: String| TlsError::Unusable { option, file: file.to_owned(), what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong("tls.cert", cert, not_pem(&error)))?;
    if chain.is_empty() {
        let what = "no certificate in it: write PEM, `-----BEGIN CERTIFICATE-----`, the server's own first";
        return Err(wrong("tls.cert", cert, what.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|error| match error {
        PemError::NoItemsFound => {
            let what = "no private key in it: write PEM, `-----BEGIN PRIVATE KEY-----`, without a passphrase";
            wrong("tls.key", key, what.to_owned())
        }
        error => wrong("tls.key", key, not_pem(&error)),
    })?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            wrong("tls.key", key, format!("not the key of the certificate in {}", cert.display()))
        }
        rustls::Error::InvalidCertificate(error) => {
            wrong("tls.cert", cert, format!("the first certificate cannot be read: {error:?}"))
        }
        error => wrong("tls.key", key, format!("{error}; RSA, ECDSA P-256 or P-384, and Ed25519 keys do")),
    })
}

fn not_pem(error: &PemError) -> String {
    format!("not PEM: {error}")
}

/// A body for fuzzers: bytes of both files, apart by a NUL.
///
/// # Panics
/// When they are refused without a word.
pub(crate) fn fuzz(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (chain, key) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let read = pair((Path::new("cert.pem"), chain), (Path::new("key.pem"), key), &ring::default_provider());
    assert!(read.err().is_none_or(|error| error.to_string().starts_with("tls.")));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { folder: tempfile::tempdir().unwrap() };
            files.renew();
            files
        }

        fn cert(&self) -> PathBuf {
            self.folder.path().join("cert.pem")
        }

        fn key(&self) -> PathBuf {
            self.folder.path().join("key.pem")
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(self.cert(), made.cert.pem()).unwrap();
            std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        }

        fn open(&self) -> Result<Arc<Certificates>, TlsError> {
            Certificates::open(&self.cert(), &self.key())
        }
    }

    fn in_use(certificates: &Certificates) -> CertificateDer<'static> {
        certificates.pair.read().cert[0].clone()
    }

    #[test]
    fn another_pair_is_taken_and_a_broken_one_is_not() {
        let files = Files::new();
        let certificates = files.open().unwrap();
        let first = in_use(&certificates);
        files.renew();
        certificates.reload();
        let second = in_use(&certificates);
        assert_ne!(first, second);
        std::fs::write(files.key(), "-----BEGIN PRIVATE KEY-----\nnonsense").unwrap();
        certificates.reload();
        assert_eq!(in_use(&certificates), second);
        std::fs::remove_file(files.cert()).unwrap();
        certificates.reload();
        assert_eq!(in_use(&certificates), second);
    }

    #[test]
    fn a_session_is_taken_up_again_until_another_certificate_is_in_use() {
        let files = Files::new();
        let certificates = files.open().unwrap();
        let config = certificates.config();
        let ticket = config.ticketer.encrypt(b"a session").unwrap();
        assert!(config.ticketer.enabled() && !ticket.windows(9).any(|part| part == b"a session"));
        // Read again with nothing new in them, as a signal does.
        certificates.reload();
        assert_eq!(config.ticketer.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        // A pair that is not taken is no reason either.
        let key = std::fs::read(files.key()).unwrap();
        std::fs::write(files.key(), "nonsense").unwrap();
        certificates.reload();
        std::fs::write(files.key(), key).unwrap();
        assert!(config.ticketer.decrypt(&ticket).is_some());
        files.renew();
        certificates.reload();
        assert_eq!(config.ticketer.decrypt(&ticket), None);
        assert!(config.ticketer.encrypt(b"a session").is_some_and(|new| config.ticketer.decrypt(&new).is_some()));
    }

    #[test]
    fn each_error_names_the_file_and_what_is_wrong() {
        type Break<'a> = &'a dyn Fn(&Files);
        let cases: [(&str, Break<'_>, &str); 6] = [
            ("tls.cert", &|files| std::fs::remove_file(files.cert()).unwrap(), "cert.pem"),
            ("tls.key", &|files| std::fs::remove_file(files.key()).unwrap(), "key.pem"),
            ("tls.cert", &|files| std::fs::write(files.cert(), "x").unwrap(), "no certificate in it"),
            ("tls.key", &|files| std::fs::write(files.key(), "x").unwrap(), "no private key in it"),
            ("tls.cert", &|files| std::fs::copy(files.key(), files.cert()).map(drop).unwrap(), "no certificate in it"),
            ("tls.key", &|files| std::fs::copy(Files::new().key(), files.key()).map(drop).unwrap(), "not the key of"),
        ];
        for (option, breaks, what) in cases {
            let files = Files::new();
            breaks(&files);
            let error = files.open().unwrap_err().to_string();
            assert!(error.starts_with(option) && error.contains(what), "{error}");
        }
    }
}
