//! `rushes serve`: a server for others, until a signal.

use clap::Args;
use server::{Mode, Options};

use super::wide_runtime;
use crate::{fault::Fault, settings::Settings, signals::Signals, warmth};

/// Needs a secret (JWT_SECRET, or `secret_file`); workers connect with `rushes worker`. The first SIGTERM or Ctrl-C drains,
/// the second ends at once.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let config = self.settings.load(Mode::Serve)?.config;
        server::start_log(&config.log);
        wide_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            let options = Options { mode: Mode::Serve, in_process_worker: None };
            let running = server::start(config, options).await?;
            for warning in running.warnings() {
                eprintln!("warning: {warning}");
            }
            println!("rushes {} listens on {}", env!("CARGO_PKG_VERSION"), running.origin());
            let reload = running.is_encrypted().then_some(|| running.reload_certificates());
            tokio::select! {
                biased;
                ended = signals.serve(reload) => ended?,
                never = warmth::keep_small() => match never {},
            }
            running.stop().await;
            Ok(())
        })
    }
}
