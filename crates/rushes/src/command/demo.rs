//! `rushes demo`: a server and a worker in one process, for one person on one machine.

use std::time::Duration;

use access::Role;
use clap::Args;
use protocol::{Durability, TenantId, UserId, WorkerId};
use render::worker::Reference;
use server::{Config, Mode, Options, Running};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::wide_runtime;
use crate::{
    browser,
    fault::{Fault, Kind},
    settings::Settings,
    signals::Signals,
};

/// The worker in this process; its name finds its leases again after a restart.
const WORKER: &str = "demo-worker";
/// A year: the process does not live as long.
const WORKER_TOKEN_MS: u64 = 365 * 86_400_000;
/// 5 s for the worker to connect to its own process; the demo goes on without.
const WORKER_READY_MAX: Duration = Duration::from_secs(5);
/// 10 ms between two looks at whether the worker is there.
const WORKER_LOOK: Duration = Duration::from_millis(10);
/// Half of what the server's own drain takes, so that Ctrl-C ends soon.
const WORKER_DRAIN_MAX: Duration = Duration::from_secs(5);

/// Listens on this machine alone and signs in by itself. Keeps a secret in its data folder, from which the other commands
/// on this machine make their tokens.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Start the server alone; connect workers with `rushes worker`
    #[arg(long)]
    no_worker: bool,

    /// Open the studio in the browser of this machine
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let loaded = self.settings.load(Mode::Demo)?;
        let mut config = loaded.config;
        if !loaded.sources.contains_key("log.level") {
            // What a person wants to know is printed; the rest only when something is wrong.
            "warn".clone_into(&mut config.log.level);
        }
        server::start_log(&config.log);
        wide_runtime()?.block_on(self::serve(config, !self.no_worker, self.open))
    }
}

async fn serve(config: Config, with_worker: bool, with_page: bool) -> Result<(), Fault> {
    let signals = Signals::listen()?;
    let name = WorkerId::new(WORKER).expect("a literal worker id is valid");
    let options = Options { mode: Mode::Demo, in_process_worker: with_worker.then_some(name) };
    let banner = Banner { data: config.data.display().to_string(), durability: config.durability, with_page };
    let work = config.data.join("work");
    let running = server::start(config, options).await?;
    let stop_worker = CancellationToken::new();
    let mut worker = JoinSet::new();
    if with_worker {
        start_worker(&running, &work, stop_worker.clone(), &mut worker)?;
    }
    let ready = tokio::select! {
        () = signals.stop().cancelled() => 0,
        ready = workers_ready(&running, with_worker) => ready,
    };
    banner.print(&running, ready);
    let mut page = JoinSet::new();
    if with_page && !signals.stop().is_cancelled() {
        let url = running.url().to_owned();
        page.spawn(async move {
            if let Err(why) = browser::open(&url).await {
                eprintln!("warning: {why}; open {url} yourself");
            }
        });
    }
    signals.serve(running.is_encrypted().then_some(|| running.reload_certificates())).await?;
    eprintln!("stopping; press Ctrl-C again to end at once");
    // The worker first: what it hands back is written before the server closes.
    stop_worker.cancel();
    while let Some(ended) = worker.join_next().await {
        if let Ok(Err(error)) = ended {
            eprintln!("warning: {error}");
        }
    }
    running.stop().await;
    Ok(())
}

fn start_worker(
    running: &Running,
    work: &std::path::Path,
    stop: CancellationToken,
    tasks: &mut JoinSet<Result<(), sdk::WorkerError>>,
) -> Result<(), Fault> {
    // The data folder's lock is held: whatever an earlier process left here is nobody's.
    match std::fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Fault::failed(format!("cannot clear {}: {error}", work.display())));
        }
        _ => {}
    }
    let token = mint(running, WORKER, Role::Worker, WORKER_TOKEN_MS);
    let worker = sdk::Worker::builder(&running.inner_url(), token)
        .name(WORKER)
        .pool("gpu", 1)
        .label("renderer", "reference")
        .drain_max(WORKER_DRAIN_MAX)
        .build()
        .map_err(|error| Fault::caused(Kind::Failed, &error))?;
    let reference = Reference::new(work, 1);
    tasks.spawn(async move { worker.run(stop, reference).await });
    Ok(())
}

/// How many workers are connected, once the own one is.
async fn workers_ready(running: &Running, with_worker: bool) -> usize {
    let look = async || running.orchestrator().workers().await.map_or(0, |workers| workers.len());
    let wait = async {
        while with_worker && look().await == 0 {
            tokio::time::sleep(WORKER_LOOK).await;
        }
    };
    // Late is no failure: the count below tells.
    let _ = tokio::time::timeout(WORKER_READY_MAX, wait).await;
    look().await
}

fn mint(running: &Running, user: &str, role: Role, ttl_ms: u64) -> String {
    let user = UserId::new(user).expect("a literal user id is valid");
    running.doors().mint(&user, &TenantId::fallback(), role, server::now().plus(ttl_ms))
}

/// What is printed once everything is there.
struct Banner {
    data: String,
    durability: Durability,
    with_page: bool,
}

impl Banner {
    fn print(&self, running: &Running, workers: usize) {
        let url = running.url();
        let durability = match self.durability {
            Durability::Strict => "strict: every event is on disk before anybody sees it",
            Durability::Relaxed => "relaxed: a power cut may take back the last moments",
            Durability::Relay => "relay: edges are on disk before anybody sees them, progress is not kept",
        };
        for warning in running.warnings() {
            eprintln!("warning: {warning}");
        }
        println!("rushes {}", env!("CARGO_PKG_VERSION"));
        println!("  address     {url}");
        println!("  data        {}", self.data);
        println!("  durability  {durability}");
        println!("  workers     {workers} ready");
        println!();
        match self.with_page {
            true => println!("Opening the studio in your browser: {url}"),
            false => println!("Open {url} in a browser: that is the studio."),
        }
        println!("Or, in another terminal:");
        println!("  {} generate \"golden sunset over a mountain lake\" -o film.mp4", program());
        println!("Or, from this machine without any token:");
        println!("  curl -s {url}/v1/generations -d '{{\"prompt\":\"golden sunset over a mountain lake\"}}'");
        println!("  curl -sN '{url}/v1/events?mine' -H 'Accept: text/event-stream'");
        println!();
        println!("Ctrl-C stops; run again and unfinished work goes on.");
    }
}

/// This program, as it was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "rushes".to_owned())
}
