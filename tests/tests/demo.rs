//! `rushes demo` as a person starts it: what it says, and the browser it opens or does not.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use rushes_tests::{PATIENCE, program::program};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

struct Demo {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    warned: Lines<BufReader<ChildStderr>>,
    data: TempDir,
}

impl Demo {
    /// `rushes demo --open` where programs are looked for in `path` alone.
    fn open_with(path: &Path) -> Result<Self> {
        let data = TempDir::new()?;
        let mut process = Command::new(program())
            .args(["demo", "--no-worker", "--open", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .current_dir(data.path())
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = BufReader::new(process.stdout.take().context("stdout")?).lines();
        let warned = BufReader::new(process.stderr.take().context("stderr")?).lines();
        Ok(Self { process, said, warned, data })
    }

    /// Everything it says before somebody has to do something, and the address in it.
    async fn banner(&mut self) -> Result<(String, String)> {
        let mut banner = String::new();
        while let Some(line) = timeout(PATIENCE, self.said.next_line()).await.context("the banner has no end")?? {
            banner.push_str(&line);
            banner.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let address = banner.lines().find_map(|line| line.trim().strip_prefix("address")).context("an address")?;
        let address = address.trim().to_owned();
        Ok((banner, address))
    }
}

/// A folder with an `xdg-open` that writes down what it is asked to open.
fn opener(folder: &Path) -> Result<PathBuf> {
    let asked = folder.join("asked");
    let script = folder.join("xdg-open");
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" > '{0}.part' && /bin/mv '{0}.part' '{0}'\n", asked.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(asked)
}

#[tokio::test]
async fn the_demo_opens_its_page_in_the_browser_and_says_so() -> Result<()> {
    let path = TempDir::new()?;
    let asked = opener(path.path())?;
    let mut demo = Demo::open_with(path.path())?;
    let (banner, address) = demo.banner().await?;
    assert!(banner.contains(&format!("Opening the studio in your browser: {address}")), "{banner}");
    let opened = timeout(PATIENCE, async {
        while !asked.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    opened.await.context("nothing was opened")?;
    assert_eq!(fs::read_to_string(&asked)?.trim(), address);
    assert!(demo.data.path().join("data").is_dir());
    Ok(())
}

#[tokio::test]
async fn a_machine_without_a_browser_runs_the_demo_all_the_same() -> Result<()> {
    let empty = TempDir::new()?;
    let mut demo = Demo::open_with(empty.path())?;
    let (_, address) = demo.banner().await?;
    let warning = timeout(PATIENCE, demo.warned.next_line()).await.context("no warning")??.unwrap_or_default();
    assert!(warning.starts_with("warning: no browser opened: ") && warning.contains(&address), "{warning}");
    let alive = rushes_tests::client().get(format!("{address}/livez")).send().await?;
    assert_eq!(alive.status(), 200);
    assert!(demo.process.try_wait()?.is_none(), "the demo ended");
    Ok(())
}
