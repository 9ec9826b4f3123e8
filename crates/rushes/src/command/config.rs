//! `rushes config`: what a server would be started with, without starting it.

use clap::{Args, Subcommand};
use server::Mode;

use crate::{fault::Fault, settings::Settings};

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what would keep a server from starting
    Check(Of),
    /// Print every value and where it comes from; secrets are hidden
    Print(Of),
    /// Print the reference page of all options, as Markdown
    Reference,
}

#[derive(Debug, Args)]
struct Of {
    /// As `rushes demo` would be started, instead of `rushes serve`
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Of {
    const fn mode(&self) -> Mode {
        if self.demo { Mode::Demo } else { Mode::Serve }
    }
}

impl Config {
    pub(crate) fn run(self) -> Result<(), Fault> {
        match self.what {
            What::Check(of) => {
                let mode = of.mode();
                for warning in of.settings.load(mode)?.config.check(mode)? {
                    println!("warning: {warning}");
                }
                println!("the configuration is good");
            }
            What::Print(of) => print!("{}", of.settings.load(of.mode())?.print()),
            What::Reference => print!("{}", server::config::reference_page()),
        }
        Ok(())
    }
}
