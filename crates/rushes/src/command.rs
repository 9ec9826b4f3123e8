//! The subcommands, one file each, and the two runtimes they choose from.

pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod demo;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod hold;
pub(crate) mod render;
pub(crate) mod serve;
pub(crate) mod timeline;
pub(crate) mod token;
pub(crate) mod watch;
pub(crate) mod why;
pub(crate) mod worker;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::fault::Fault;

/// 32 blocking threads: files, hashes and films; what is more waits.
const BLOCKING_THREADS_MAX: usize = 32;
/// 5 s: idle threads give their stacks back soon, which an idle server's memory shows.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A thread for each processor, for servers and workers.
fn wide_runtime() -> Result<Runtime, Fault> {
    build(&mut Builder::new_multi_thread())
}

/// One thread, for commands that talk to one server.
fn narrow_runtime() -> Result<Runtime, Fault> {
    build(&mut Builder::new_current_thread())
}

fn build(builder: &mut Builder) -> Result<Runtime, Fault> {
    let runtime =
        builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).thread_keep_alive(BLOCKING_KEEP_ALIVE).build();
    runtime.map_err(|error| Fault::failed(format!("no threads: {error}")))
}
