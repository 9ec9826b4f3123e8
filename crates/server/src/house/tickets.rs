//! Session tickets: what a client shows to go on without a whole handshake. The server keeps nothing for it but the keys, so a
//! crowd of any size that comes back is a crowd that resumes.
//!
//! Who shows one still gives a fresh share of a key (TLS 1.3 with (EC)DHE), and no data goes before the handshake. Which
//! certificate vouched for a session is `tls`'s to know: it has the keys drawn anew when that goes out of use.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
use rustls::{crypto::ring::Ticketer, server::ProducesTickets};

/// The keys of tickets, in memory alone: after a restart every handshake is whole once. rustls draws new ones every 6 hours and
/// takes those before for 6 more.
pub(super) struct Tickets {
    /// None while the system has no randomness for them: then every handshake is whole.
    keys: RwLock<Option<Arc<dyn ProducesTickets>>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { keys: RwLock::new(draw()) })
    }

    /// No ticket of before is taken any more.
    pub(super) fn renew(&self) {
        let keys = draw();
        *self.keys.write() = keys;
    }

    fn keys(&self) -> Option<Arc<dyn ProducesTickets>> {
        self.keys.read().clone()
    }
}

fn draw() -> Option<Arc<dyn ProducesTickets>> {
    Ticketer::new().inspect_err(|error| tracing::warn!(%error, "no session tickets, every handshake is whole")).ok()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.keys.read().is_some()
    }

    fn lifetime(&self) -> u32 {
        self.keys().map_or(0, |keys| keys.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.decrypt(cipher)
    }
}
