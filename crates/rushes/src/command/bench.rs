//! `rushes bench`: what a server does on this machine. The measurements are in `bench`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::narrow_runtime;
use crate::{
    bench::{self, Load, Mode},
    fault::Fault,
};

/// Starts servers of its own, in other processes, on temporary folders; nothing that runs already is touched. Figures are
/// for comparison within one run on one machine.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which measurement
    #[arg(value_enum, default_value = "all")]
    mode: Mode,
    #[command(flatten)]
    load: Load,
    /// Write everything as JSON into this file, `-` for standard output instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the latencies into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let measured = narrow_runtime()?.block_on(bench::measure(self.mode, &self.load));
        let rows = measured.map_err(|error| Fault::failed(format!("{error:#}")))?;
        if self.mode == Mode::Load {
            return Ok(());
        }
        let json = bench::json(&self.load, &rows);
        match &self.json {
            Some(path) if path == Path::new("-") => println!("{json}"),
            Some(path) => {
                write(path, &json)?;
                println!("{}", bench::table(&self.load, &rows));
            }
            None => println!("{}", bench::table(&self.load, &rows)),
        }
        if let Some(path) = &self.svg {
            match bench::svg(&self.load, &rows) {
                Some(svg) => write(path, &svg)?,
                None => eprintln!("warning: nothing here has percentiles; {} was not written", path.display()),
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| Fault::failed(format!("writing {}: {error}", path.display())))
}
