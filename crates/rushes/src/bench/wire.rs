//! Where a server of the bench is, and one connection to it: bare, or in TLS that trusts the bench's own certificate and
//! nobody else.
//!
//! Who comes for the first time shakes hands in full, as so many strangers do; who comes back may show a ticket.

use std::{
    collections::VecDeque,
    fmt, io,
    path::Path,
    pin::Pin,
    process::Command,
    sync::Arc,
    task::{Context as Waking, Poll},
};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CipherSuite, ClientConfig, HandshakeKind, NamedGroup, RootCertStore,
        client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// Where to connect, and whom to trust there.
#[derive(Clone)]
pub(crate) struct Door {
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    /// There where the server speaks TLS: for strangers, and for those who come back.
    connectors: Option<[TlsConnector; 2]>,
}

/// Is it the first time?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    First,
    Back,
}

impl Door {
    /// Of the server at `address`; `authority` is the certificate, as PEM, that it must show, if it is to show one.
    pub(crate) fn of(address: &str, authority: Option<&str>) -> Result<Self> {
        Ok(Self { address: address.to_owned(), connectors: authority.map(trusting).transpose()? })
    }

    /// Connects. `receive_bytes` is what the kernel is to keep for this connection, where that matters.
    pub(crate) async fn open(&self, coming: Coming, receive_bytes: Option<u32>) -> Result<Wire> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let address: std::net::SocketAddr = self.address.parse().with_context(|| self.address.clone())?;
        let stream = socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let Some([first, back]) = &self.connectors else { return Ok(Wire::Bare(stream)) };
        let connector = if coming == Coming::First { first } else { back };
        let name = ServerName::from(address.ip());
        let stream = connector.connect(name, stream).await.with_context(|| format!("TLS with {address}"))?;
        Ok(Wire::Encrypted(Box::new(stream)))
    }
}

fn trusting(authority: &str) -> Result<[TlsConnector; 2]> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).context("the bench's certificate")?)?;
    let mut provider = ring::default_provider();
    // In the order of browsers, which the server follows: AES-128 with SHA-256 first, which processors help with.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tickets = Arc::new(Mutex::new(VecDeque::new()));
    Ok([Coming::First, Coming::Back].map(|coming| {
        let store = Purse { tickets: Arc::clone(&tickets), coming };
        config.resumption = Resumption::store(Arc::new(store));
        TlsConnector::from(Arc::new(config.clone()))
    }))
}

/// Tickets in one process at most: one for each of the connections it may hold.
const TICKETS_MAX: usize = super::crew::SEATS_MAX;

/// The tickets of all connections of a process, for whoever comes back: which of them it was is the same to the server.
#[derive(Clone)]
struct Purse {
    tickets: Arc<Mutex<VecDeque<Tls13ClientSessionValue>>>,
    coming: Coming,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse").field("coming", &self.coming).finish_non_exhaustive()
    }
}

/// TLS 1.3 alone is resumed here.
impl ClientSessionStore for Purse {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets.lock();
        if tickets.len() < TICKETS_MAX {
            tickets.push_back(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.tickets.lock();
        if self.coming == Coming::Back { tickets.pop_front() } else { None }
    }
}

/// Puts a certificate for 127.0.0.1 that vouches for itself, and its key, into two files. Answers the certificate.
pub(crate) fn certify(cert: &Path, key: &Path) -> Result<String> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=rushes bench", "-addext", "subjectAltName=IP:127.0.0.1"])
        // Who shows an authority's certificate as its own is not believed.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(cert)
        .output()
        .context("a certificate needs openssl: sudo apt-get install -y openssl")?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::read_to_string(cert).with_context(|| cert.display().to_string())
}

/// One connection.
pub(crate) enum Wire {
    Bare(TcpStream),
    /// Boxed: ten thousand bare ones are not to pay for it.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Was its handshake a short one?
    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Self::Bare(_) => false,
            Self::Encrypted(stream) => stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Waking<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Waking<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Bare(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Waking<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Waking<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, pki_types::PrivateKeyDer},
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_is_encrypted_and_only_the_named_certificate_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key, other, other_key] =
            ["cert.pem", "key.pem", "other.pem", "other-key.pem"].map(|name| folder.path().join(name));
        let authority = certify(&cert, &key).unwrap();
        let stranger = certify(&other, &other_key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&cert).unwrap()],
                PrivateKeyDer::from_pem_file(&key).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let echo = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut word = [0; 4];
                stream.read_exact(&mut word).await.unwrap();
                stream.write_all(&word).await.unwrap();
                stream.flush().await.unwrap();
            }
        };
        let ask = async {
            let door = Door::of(&address, Some(&authority)).unwrap();
            for (coming, resumed) in [(Coming::First, false), (Coming::First, false), (Coming::Back, true)] {
                let mut wire = door.open(coming, None).await.unwrap();
                wire.write_all(b"ping").await.unwrap();
                wire.flush().await.unwrap();
                let mut word = [0; 4];
                wire.read_exact(&mut word).await.unwrap();
                assert_eq!((&word, wire.is_resumed()), (b"ping", resumed));
            }
            let stranger = Door::of(&address, Some(&stranger)).unwrap();
            assert!(stranger.open(Coming::First, None).await.is_err(), "a stranger is trusted");
        };
        tokio::select! {
            () = echo => {}
            () = ask => {}
        }
    }
}
