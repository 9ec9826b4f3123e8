//! The server under test: this program in another process, on a temporary folder and a port of its own.

use std::{path::PathBuf, process::Stdio};

use access::{Doors, Role, Secret};
use anyhow::{Context, Result, bail};
use protocol::{TenantId, Timestamp};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use super::{
    Load, clock,
    crew::pinned,
    wire::{Door, certify},
};

/// An hour: longer than any measurement.
const TOKEN_LIFE_MS: u64 = 3_600_000;
const SECRET: &str = "only the bench knows this secret, and only while it runs";

/// The server, gone with this value.
pub(crate) struct House {
    child: Child,
    folder: PathBuf,
    /// Where it listens.
    pub(crate) door: Door,
    /// The certificate it shows, where it speaks TLS; as PEM.
    pub(crate) authority: Option<String>,
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
        let folder = std::env::temp_dir().join(format!("rushes-bench-{}-{}", std::process::id(), clock::nanos()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let authority = load.tls.then(|| certify(&cert, &key)).transpose()?;
        let mut command = pinned(load.pin, &program);
        if authority.is_some() {
            command.arg("serve").arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        } else {
            command.arg("serve");
        }
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .env("JWT_SECRET", SECRET)
            .env("RUSHES_WORKER_PIPELINES", "true")
            // A thousand watchers of one generation are one user here, which nobody is.
            .env("RUSHES_LIMITS_CONNECTS_PER_USER", "off")
            .env("RUSHES_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C is the bench's to hear: it ends all of this when it ends.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting the server (pinning needs taskset)")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(at) = line.find("127.0.0.1:") {
                let address =
                    line[at..].split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next().unwrap_or("");
                let door = Door::of(address, authority.as_deref())?;
                return Ok(Self { child, folder, door, authority });
            }
        }
        bail!("the server did not start")
    }

    /// A token of this server.
    pub(crate) fn token(&self, user: &str, role: Role) -> Result<String> {
        mint(SECRET, user, role)
    }

    /// A token of a user of this server.
    pub(crate) fn mint(&self, user: &str) -> Result<String> {
        self.token(user, Role::User)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the server ended")
    }
}

/// A token that whoever knows `secret` takes.
pub(crate) fn mint(secret: &str, user: &str, role: Role) -> Result<String> {
    let doors = Doors::new(&Secret::new(secret)?);
    let until = Timestamp(clock::nanos() / 1_000_000).plus(TOKEN_LIFE_MS);
    Ok(doors.mint(&user.parse()?, &TenantId::fallback(), role, until))
}
