//! The command line. What each command does is in its own file.

use clap::{Parser, Subcommand};

use crate::{command, fault::Fault};

/// Live AI video generation: a server, its workers, and a client, in one program.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done · 1 it went wrong · 2 wrong usage or configuration · 3 the server cannot be reached · \
                  4 token missing or refused · 130 interrupted\n\nBegin with `rushes demo`, then `rushes generate \"a lake at dawn\" -o film.mp4`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server and a worker for yourself on this machine
    Demo(command::demo::Demo),
    /// Start a server for others
    Serve(command::serve::Serve),
    /// Draw films for a server
    Worker(command::worker::Worker),
    /// Submit a prompt, watch it, and fetch the film
    Generate(command::generate::Generate),
    /// Watch a generation to its end
    Watch(command::watch::Watch),
    /// Say why a generation is not running
    Why(command::why::Why),
    /// Show where a generation's time went
    Timeline(command::timeline::Timeline),
    /// Make a token
    Token(command::token::Token),
    /// Open the server's live socket and ask for a pong
    Health(command::health::Health),
    /// Look at what failed for good, try it again, or clear it away
    Dead(command::dead::Dead),
    /// Start no more runs of a pipeline
    Pause(command::hold::Hold),
    /// Start runs of a pipeline again
    Resume(command::hold::Hold),
    /// Look at circuit breakers, and hold them open or closed
    Breaker(command::hold::Breaker),
    /// Check or print the server's configuration
    Config(command::config::Config),
    /// Draw a film here, without any server
    Render(command::render::Render),
    /// Measure a server of its own on this machine
    Bench(command::bench::Bench),
}

impl Cli {
    /// Runs the command to its end.
    pub(crate) fn run(self) -> Result<(), Fault> {
        match self.command {
            Command::Demo(demo) => demo.run(),
            Command::Serve(serve) => serve.run(),
            Command::Worker(worker) => worker.run(),
            Command::Generate(generate) => generate.run(),
            Command::Watch(watch) => watch.run(),
            Command::Why(why) => why.run(),
            Command::Timeline(timeline) => timeline.run(),
            Command::Token(token) => token.run(),
            Command::Health(health) => health.run(),
            Command::Dead(dead) => dead.run(),
            Command::Pause(hold) => hold.run(true),
            Command::Resume(hold) => hold.run(false),
            Command::Breaker(breaker) => breaker.run(),
            Command::Config(config) => config.run(),
            Command::Render(render) => render.run(),
            Command::Bench(bench) => bench.run(),
        }
    }
}

#[cfg(test)]
mod tests;
