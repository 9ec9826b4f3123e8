//! Keeps only those pages of the program resident that are in use.
//!
//! Starting, the first request of each kind and an hour's maintenance each touch another part of the program once, and the
//! kernel maps sixteen pages around each touch: 10 to 20 MB that count as the server's memory for as long as it lives, while
//! ten thousand idle connections need 4. Those pages are the program file's own, unchanged, so they are dropped now and then.
//! What is in use is mapped again from the kernel's cache of the file within a fraction of a millisecond.
#![expect(
    unsafe_code,
    reason = "madvise is unsafe for whoever passes it memory that is written to; the one call is kept here"
)]

use std::{convert::Infallible, ops::Range, time::Duration};

/// The first time: the start is over, and what it needed is most of it.
const START: Duration = Duration::from_secs(5);
/// Between two times. Dropping and mapping again takes less than a millisecond: a fifty-thousandth of this.
const PAUSE: Duration = Duration::from_secs(30);

/// Drops what is not in use, for ever.
pub(crate) async fn keep_small() -> Infallible {
    let mut pause = START;
    loop {
        tokio::time::sleep(pause).await;
        // Where no thread is to be had there will be next time.
        let _ = tokio::task::spawn_blocking(drop_own_pages).await;
        pause = PAUSE;
    }
}

/// Drops the program's own pages. Where the system has no `/proc/self/maps` nothing happens.
fn drop_own_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Some(program) = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok()) else {
        return;
    };
    for range in unwritten(&maps, &program) {
        drop_pages(range);
    }
}

#[cfg(target_os = "linux")]
fn drop_pages(range: Range<usize>) {
    use rustix::mm::{Advice, madvise};

    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // Where the kernel refuses, the pages stay.
    // SAFETY: the kernel just named the range as a private mapping of the program's file that is not writable and, by
    // `unwritten`, was never written to: dropped pages come back from the file with the same bytes.
    let _ = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
}

#[cfg(not(target_os = "linux"))]
fn drop_pages(_: Range<usize>) {}

/// The mappings of `program` in `maps` that hold nothing but the file's bytes: its code, and the constants at its head. Other
/// constants that cannot be written to may have been before (the loader puts addresses in, then locks them).
fn unwritten(maps: &str, program: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let path = line.get(line.find('/')?..)?;
        let is_head = u64::from_str_radix(offset, 16).ok()? == 0;
        if path != program || !(access == "r-xp" || (access == "r--p" && is_head)) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_head_are_given_back_and_what_was_written_to_is_not() {
        let maps = "\
55d0c0000000-55d0c074d000 r--p 00000000 fe:00 1291 /opt/my films/rushes
55d0c074d000-55d0c1906000 r-xp 0074c000 fe:00 1291 /opt/my films/rushes
55d0c1907000-55d0c19bb000 r--p 01905000 fe:00 1291 /opt/my films/rushes
55d0c19bb000-55d0c19c4000 rw-p 019b8000 fe:00 1291 /opt/my films/rushes
55d0c2000000-55d0c2021000 rw-p 00000000 00:00 0    [heap]
7f0000000000-7f0000026000 r--p 00000000 fe:00 77   /usr/lib/libc.so.6
7f0000026000-7f000017b000 r-xp 00026000 fe:00 77   /usr/lib/libc.so.6
7f0000200000-7f0000300000 r-xp 00000000 00:00 0
nonsense
";
        let found = unwritten(maps, "/opt/my films/rushes");
        assert_eq!(found, [0x55d0_c000_0000..0x55d0_c074_d000, 0x55d0_c074_d000..0x55d0_c190_6000]);
        assert!(unwritten(maps, "/opt/my films/rushes (deleted)").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn less_of_the_program_is_resident_after_it_and_it_goes_on() {
        let resident = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        };
        let before = resident();
        drop_own_pages();
        let after = resident();
        assert!(after < before, "{before} kB before, {after} kB after");
    }
}
