//! TLS as deployments have it: a certificate in files for a server that speaks it itself, and a proxy in front of one that does
//! not.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use crate::Server;

/// A certificate for `localhost` and 127.0.0.1 that vouches for itself, and its key, in files.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// A new one.
    pub fn new() -> Result<Self> {
        let certificate = Self { folder: TempDir::new()? };
        certificate.renew()?;
        Ok(certificate)
    }

    /// The certificate's file, which is also what whoever trusts it is given.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The environment of a server that uses it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("RUSHES_TLS_CERT", &self.cert()), ("RUSHES_TLS_KEY", &self.key())]
            .map(|(name, path)| (name, path.to_string_lossy().into_owned()))
    }

    /// Puts another pair into the files.
    pub fn renew(&self) -> Result<()> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        std::fs::write(self.key(), made.signing_key.serialize_pem())?;
        std::fs::write(self.cert(), made.cert.pem())?;
        Ok(())
    }
}

/// The proxy; ends when dropped.
#[derive(Debug)]
pub struct Encrypted {
    /// `https://localhost:port`.
    pub url: String,
    /// The certificate, for whoever is to trust it.
    pub authority: PathBuf,
    _folder: TempDir,
    /// Aborted when dropped, with every connection.
    _running: JoinSet<()>,
}

impl Encrypted {
    /// Takes TLS connections and passes what comes out of them to `server`.
    pub async fn before(server: &Server) -> Result<Self> {
        Self::before_address(server.url.strip_prefix("http://").context("an address")?).await
    }

    /// The same before anything that listens on `address`.
    pub async fn before_address(address: &str) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = TempDir::new()?;
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, made.cert.pem())?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let target = address.to_owned();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((outside, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                connections.spawn(async move {
                    // Whoever does not trust us goes away here.
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let Ok(mut inside) = TcpStream::connect(target).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Ok(Self { url, authority, _folder: folder, _running: running })
    }
}
