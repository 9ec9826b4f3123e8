//! `rushes bench`: what a server does on this machine. The measurements are in `bench`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::narrow_runtime;
use crate::{
    bench::{self, Load, Mode},
    fault::{Fault, Kind},
    signals::Signals,
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
    /// Measure nothing: take the rows of earlier --json files, to see runs made in pieces as one
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Draw the latencies into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Fault> {
        if self.mode == Mode::Load {
            // It ends with the bench, whose orders it reads.
            let ended = narrow_runtime()?.block_on(bench::measure(self.mode, &self.load));
            return ended.map(drop).map_err(|error| Fault::failed(format!("{error:#}")));
        }
        let (about, rows) = if self.from.is_empty() {
            (bench::title(&self.load), narrow_runtime()?.block_on(self.measured())?)
        } else {
            self.earlier()?
        };
        let json = bench::json(&about, &rows);
        match &self.json {
            Some(path) if path == Path::new("-") => println!("{json}"),
            Some(path) => {
                write(path, &json)?;
                println!("{}", bench::table(&about, &rows));
            }
            None => println!("{}", bench::table(&about, &rows)),
        }
        if let Some(path) = &self.svg {
            match bench::svg(&about, &rows) {
                Some(svg) => write(path, &svg)?,
                None => eprintln!("warning: nothing here has percentiles; {} was not written", path.display()),
            }
        }
        Ok(())
    }

    /// What was measured before, and where.
    fn earlier(&self) -> Result<(String, Vec<bench::Row>), Fault> {
        let (mut about, mut rows) = (String::new(), Vec::new());
        for path in &self.from {
            let usage = |why: String| Fault::usage(format!("{}: {why}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
            let (where_to, more) = bench::read(&text).map_err(|error| usage(format!("{error:#}")))?;
            match about.as_str() {
                "" => about = where_to,
                one if one == where_to => {}
                // Rows of another machine or build beside these are said to be that.
                one => about = format!("{one}; {where_to}"),
            }
            rows.extend(more);
        }
        Ok((about, rows))
    }

    /// What was measured; a signal ends it, and with it every server and load it started.
    async fn measured(&self) -> Result<Vec<bench::Row>, Fault> {
        bench::check(self.mode, &self.load).map_err(|error| Fault::usage(error.to_string()))?;
        let signals = Signals::listen()?;
        tokio::select! {
            biased;
            () = signals.stop().cancelled() => Err(Fault::new(Kind::Interrupted, "interrupted; nothing was measured to its end")),
            measured = bench::measure(self.mode, &self.load) => measured.map_err(|error| Fault::failed(format!("{error:#}"))),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| Fault::failed(format!("writing {}: {error}", path.display())))
}
