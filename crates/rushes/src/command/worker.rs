//! `rushes worker`: the reference renderer, for a server elsewhere.

use std::path::PathBuf;

use clap::Args;
use render::worker::{Reference, Workplace};

use super::wide_runtime;
use crate::{
    fault::{Fault, Kind},
    settings,
    signals::Signals,
};

/// A procedural renderer that knows some words and understands no prompt: it shows that everything works. Real models
/// attach through the SDKs. A server that is away is waited for; the first SIGTERM or Ctrl-C hands runs back.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The server's address
    #[arg(long, env = "RUSHES_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// A token of role `worker`: `rushes token --role worker --ttl 30d`
    #[arg(long, env = "RUSHES_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// Films of this pool at once; may be repeated
    #[arg(long = "pool", value_name = "NAME=SLOTS", value_parser = pool, default_value = "gpu=1")]
    pools: Vec<(String, u32)>,
    /// Its name, kept across restarts
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Work files go here; up to a few hundred MB for each film at once
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

/// Reads `gpu=2`; a name alone has one slot.
fn pool(text: &str) -> Result<(String, u32), String> {
    let (name, slots) = text.split_once('=').unwrap_or((text, "1"));
    let rule = || format!("`{text}` is no pool: write NAME=SLOTS, for example gpu=2");
    let slots = slots.parse().map_err(|_| rule())?;
    if name.is_empty() || slots == 0 { Err(rule()) } else { Ok((name.to_owned(), slots)) }
}

impl Worker {
    pub(crate) fn run(self) -> Result<(), Fault> {
        server::start_log(&settings::of_environment()?.log);
        // Held until the worker ended, and removed then. A worker that was killed leaves it to the next one.
        let (folder, _own) = match self.scratch {
            Some(folder) => (folder, None),
            None => {
                let below = std::env::temp_dir();
                let own = Workplace::claim(&below)
                    .map_err(|error| Fault::failed(format!("no work folder in {}: {error}", below.display())))?;
                (own.path().to_owned(), Some(own))
            }
        };
        let slots = self.pools.iter().map(|(_, slots)| *slots as usize).sum();
        let mut builder = sdk::Worker::builder(&self.server, self.token).label("renderer", "reference");
        for (pool, slots) in self.pools {
            builder = builder.pool(pool, slots);
        }
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        let worker = builder.build().map_err(|error| Fault::caused(Kind::Usage, &error))?;
        let reference = Reference::new(folder, slots);
        wide_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            Ok(worker.run(signals.stop().clone(), reference).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::pool;

    #[test]
    fn a_pool_has_a_name_and_at_least_one_slot() {
        assert_eq!(pool("gpu=2"), Ok(("gpu".to_owned(), 2)));
        assert_eq!(pool("gpu"), Ok(("gpu".to_owned(), 1)));
        for bad in ["", "=1", "gpu=0", "gpu=many", "gpu=-1"] {
            assert!(pool(bad).is_err(), "{bad:?} was taken");
        }
    }
}
