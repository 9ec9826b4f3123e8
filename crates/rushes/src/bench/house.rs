//! The server under test: this program in another process, on a temporary folder and a port of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use access::{Doors, Role, Secret};
use anyhow::{Context, Result, bail};
use protocol::{TenantId, Timestamp};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::Load;

/// An hour: longer than any measurement.
const TOKEN_LIFE_MS: u64 = 3_600_000;
const SECRET: &str = "only the bench knows this secret, and only while it runs";

/// The server, gone with this value.
pub(crate) struct House {
    child: Child,
    folder: PathBuf,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Drop for House {
    fn drop(&mut self) {
        // The child is killed on drop; a folder that cannot be removed is the system's to sweep.
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(load: &Load) -> Result<Self> {
        let program = std::env::current_exe()?;
        let folder = std::env::temp_dir().join(format!("rushes-bench-{}-{}", std::process::id(), now().0));
        let mut command = match load.pin {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&folder)
            .env("JWT_SECRET", SECRET)
            .env("RUSHES_DURABILITY", &load.durability)
            .env("RUSHES_WORKER_PIPELINES", "true")
            .env("RUSHES_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the server (pinning needs taskset)")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(at) = line.find("127.0.0.1:") {
                let address =
                    line[at..].split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next().unwrap_or("");
                return Ok(Self { child, folder, address: address.to_owned() });
            }
        }
        bail!("the server did not start")
    }

    /// A token of this server.
    pub(crate) fn token(&self, user: &str, role: Role) -> Result<String> {
        let doors = Doors::new(&Secret::new(SECRET)?);
        Ok(doors.mint(&user.parse()?, &TenantId::fallback(), role, now().plus(TOKEN_LIFE_MS)))
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(self.file("status")?)?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.file("stat")?)?;
        // After the name, which may hold spaces: utime and stime are the 12th and 13th.
        let rest = stat.rsplit_once(')').context("a process name")?.1;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap_or(0)).sum();
        // Linux counts these in hundredths of a second on every platform we run on.
        Ok(ticks as f64 / 100.0)
    }

    fn file(&self, name: &str) -> Result<PathBuf> {
        let pid = self.child.id().context("the server ended")?;
        Ok(Path::new("/proc").join(pid.to_string()).join(name))
    }
}

#[expect(clippy::disallowed_methods, reason = "the bench is its own clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
