//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once. SIGHUP has certificates read
//! again, where there are any; elsewhere it ends the process, as ever.

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

    /// Calls `reload` at each SIGHUP until the first of the other signals, and returns then.
    pub(crate) async fn serve(&self, reload: Option<impl Fn()>) -> Result<(), Fault> {
        let Some(reload) = reload else {
            self.stop.cancelled().await;
            return Ok(());
        };
        let failed = |error: std::io::Error| Fault::failed(format!("signals cannot be caught: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                _ = hangup.recv() => reload(),
            }
        }
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
