//! A folder of its own for a worker process, and what killed ones left behind.
//!
//! Owns the names `rushes-PID` in the folder for temporary files. The folders of runs inside are the runs' own.
//!
//! A process holds a lock in its folder for as long as it lives, and the system lets go of it however the process ends. So a
//! folder whose lock can be had belongs to nobody. One without a lock is of a process that was killed before it had one;
//! only there does the process's number decide.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

const PREFIX: &str = "rushes-";
const LOCK: &str = "lock";
/// 16 tries: more processes with one number (each in its own container, over one folder) are a mistake.
const NAMES_MAX: u32 = 16;

/// The folder of this process, removed with the value.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    _lock: File,
}

impl Workplace {
    /// Makes a folder of this process below `folder`, and removes those of processes that are gone. Others' folders, and
    /// what only looks like one, stay.
    ///
    /// # Errors
    /// The system's, when there is no folder to be had. What cannot be removed is no error.
    pub fn claim(folder: &Path) -> io::Result<Self> {
        let own = Self::make(folder)?;
        match own.sweep(folder) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "work folders of workers that were killed removed"),
            Err(error) => tracing::debug!(%error, "work folders not looked through"),
        }
        Ok(own)
    }

    /// Where work files go.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(folder: &Path) -> io::Result<Self> {
        let process = std::process::id();
        let mut last = None;
        for again in 0..NAMES_MAX {
            // A number is used again, in a container always the same one.
            let name = if again == 0 { format!("{PREFIX}{process}") } else { format!("{PREFIX}{process}-{again}") };
            let path = folder.join(name);
            match make_private(&path).and_then(|()| lock(&path)) {
                Ok(lock) => return Ok(Self { path, _lock: lock }),
                // Not found: another one swept it before it had its lock.
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }

    fn sweep(&self, folder: &Path) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(folder)? {
            let Ok(entry) = entry else { continue };
            let Some(process) = entry.file_name().to_str().and_then(process_of) else { continue };
            let path = entry.path();
            if path != self.path && self.is_of_the_same_user(&path) && is_left_behind(&path, process) {
                removed += usize::from(fs::remove_dir_all(&path).is_ok());
            }
        }
        Ok(removed)
    }

    /// Is it a folder, not a link to one, and made by whoever made ours?
    #[cfg(unix)]
    fn is_of_the_same_user(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let Ok((own, other)) = fs::symlink_metadata(&self.path).and_then(|own| Ok((own, fs::symlink_metadata(path)?)))
        else {
            return false;
        };
        other.is_dir() && other.uid() == own.uid()
    }

    /// The folder for temporary files is the user's own there.
    #[cfg(not(unix))]
    fn is_of_the_same_user(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|other| other.is_dir())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "work folder not removed");
        }
    }
}

/// Makes a folder that nobody else looks into.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Puts a lock into the folder that is held from the moment it can be seen.
fn lock(path: &Path) -> io::Result<File> {
    let unseen = path.join("lock.new");
    let lock = File::create_new(&unseen)?;
    lock.lock()?;
    fs::rename(unseen, path.join(LOCK))?;
    Ok(lock)
}

/// The process whose folder has this name: `rushes-PID` or `rushes-PID-n`.
fn process_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let (process, again) = rest.split_once('-').unwrap_or((rest, "0"));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().ok() } else { None }
    };
    number(again)?;
    number(process)
}

fn is_left_behind(path: &Path, process: u32) -> bool {
    match File::open(path.join(LOCK)) {
        // It may be let go again here: nobody takes the folder of another process.
        Ok(lock) => match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_gone(process),
        Err(_) => false,
    }
}

/// Is there surely no such process? Where that cannot be known, there is one.
fn is_gone(process: u32) -> bool {
    let processes = Path::new("/proc");
    // Our own is there wherever the list is.
    let listed = |number: u32| processes.join(number.to_string()).try_exists();
    matches!(listed(std::process::id()), Ok(true)) && matches!(listed(process), Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above what Linux gives to a process.
    const NOBODY: u32 = 4_194_305;

    fn folder(below: &Path, name: &str, lock: bool) -> PathBuf {
        let path = below.join(name);
        fs::create_dir_all(path.join("gen_a-1")).unwrap();
        fs::write(path.join("gen_a-1/frames"), "pictures").unwrap();
        if lock {
            fs::write(path.join(LOCK), "").unwrap();
        }
        path
    }

    #[test]
    fn folders_of_killed_workers_are_removed_and_those_of_living_ones_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let below = temporary.path();
        let killed = folder(below, &format!("rushes-{NOBODY}"), true);
        let again = folder(below, &format!("rushes-{NOBODY}-3"), true);
        // A number that somebody else has by now does not save it: the lock decides.
        let reused = folder(below, "rushes-1", true);
        let living = folder(below, &format!("rushes-{}", NOBODY + 1), true);
        let held = File::open(living.join(LOCK)).unwrap();
        held.lock().unwrap();
        let own = Workplace::claim(below).unwrap();
        assert!(own.path().is_dir());
        assert!(!killed.exists() && !again.exists() && !reused.exists());
        assert!(living.join("gen_a-1/frames").exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_lock_the_number_of_the_process_decides() {
        let temporary = tempfile::tempdir().unwrap();
        let killed = folder(temporary.path(), &format!("rushes-{NOBODY}"), false);
        let living = folder(temporary.path(), "rushes-1", false);
        let _own = Workplace::claim(temporary.path()).unwrap();
        assert!(!killed.exists());
        assert!(living.exists(), "process 1 always runs");
    }

    #[cfg(unix)]
    #[test]
    fn what_only_looks_like_a_work_folder_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let below = temporary.path();
        let names = ["rushes-", "rushes-x", "rushes-7x", "rushes-bench-7-8", "rushes-7-8-9", "rushes-+7", "other-7"];
        let others: Vec<PathBuf> = names.iter().map(|name| folder(below, name, true)).collect();
        let target = folder(below, "somewhere", true);
        let link = below.join(format!("rushes-{NOBODY}"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        fs::write(below.join(format!("rushes-{}", NOBODY + 1)), "a file").unwrap();
        let _own = Workplace::claim(below).unwrap();
        assert!(others.iter().all(|path| path.join("gen_a-1/frames").exists()));
        assert!(target.join("gen_a-1/frames").exists());
        assert!(link.is_symlink());
    }

    #[test]
    fn two_workers_of_one_number_do_not_share_and_take_their_folders_along() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Workplace::claim(temporary.path()).unwrap();
        let second = Workplace::claim(temporary.path()).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(first.path().exists(), "the second one left it alone");
        drop((first, second));
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
