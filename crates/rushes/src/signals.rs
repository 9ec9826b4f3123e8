//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;

/// As shells report a process that Ctrl-C ended.
const EXIT_AT_ONCE: i32 = 130;

/// Listens as long as it lives.
pub(crate) struct Signals {
    stop: CancellationToken,
    _listener: JoinSet<()>,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::failed(format!("signals cannot be caught: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            one(&mut interrupt, &mut terminate).await;
            asked.cancel();
            one(&mut interrupt, &mut terminate).await;
            std::process::exit(EXIT_AT_ONCE);
        });
        Ok(Self { stop, _listener: listener })
    }

    /// Fires at the first signal.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

async fn one(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
