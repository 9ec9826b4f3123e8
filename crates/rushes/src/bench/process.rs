//! What the system says of processes: resident memory and processor time, from `/proc`.

use std::path::Path;

use anyhow::{Context, Result};

/// Resident memory of all of them, in bytes.
pub(crate) fn memory(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| memory_of(*pid, "VmRSS:")).sum()
}

/// Their own part of it, in bytes: without pages of program files, which come and go with what they happen to do. What
/// grows with load is all in here.
pub(crate) fn own_memory(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| memory_of(*pid, "RssAnon:")).sum()
}

fn memory_of(pid: u32, field: &str) -> Result<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find(|line| line.starts_with(field)).with_context(|| field.to_owned())?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Processor time all of them have used, in seconds.
pub(crate) fn processor_seconds(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| processor_seconds_of(*pid)).sum()
}

fn processor_seconds_of(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    // After the name, which may hold spaces: utime and stime are the 12th and 13th.
    let rest = stat.rsplit_once(')').context("a process name")?.1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap_or(0)).sum();
    // Linux counts these in hundredths of a second on every platform we run on.
    Ok(ticks as f64 / 100.0)
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = Path::new("/proc").join(pid.to_string()).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("{}: the bench measures on Linux", path.display()))
}
