//! `rushes bench`: what a server does on this machine. The measurements are in `bench`.

use clap::Args;

use super::narrow_runtime;
use crate::{
    bench::{self, Load, Mode},
    fault::Fault,
};

/// Starts a server of its own, in another process, on a temporary folder; nothing that runs already is touched. Figures
/// are for comparison within one run on one machine.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which measurement
    #[arg(value_enum, default_value = "all")]
    mode: Mode,
    #[command(flatten)]
    load: Load,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let rows = narrow_runtime()?
            .block_on(bench::measure(self.mode, &self.load))
            .map_err(|error| Fault::failed(format!("{error:#}")))?;
        println!("{}", if self.json { bench::json(&rows) } else { bench::table(&self.load, &rows) });
        Ok(())
    }
}
