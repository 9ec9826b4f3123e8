//! The rushes program: reads the command line, runs one command, and turns its end into an exit code.
//!
//! ```text
//! cli.rs        the command line
//! bench.rs      measurements of a server on this machine
//! browser.rs    opens a page
//! command/*     one file a subcommand
//! fault.rs      how a command fails: text, hint, exit code
//! reach.rs      which server, with which token
//! screen.rs     progress on a terminal, lines in a pipe
//! signals.rs    Ctrl-C and SIGTERM
//! warmth.rs     keeps only those pages of the program resident that are in use
//! ```
//! Everything that can be called from a program instead is in `sdk`, `server` and `render`.

mod bench;
mod browser;
mod cli;
mod command;
mod fault;
mod reach;
mod screen;
mod settings;
mod signals;
mod text;
mod warmth;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprint!("{fault}");
            fault.exit_code()
        }
    }
}
