//! Encoding by the program `ffmpeg`, where it is installed and asked for. Owns the process from its start until nothing of
//! it is left; leaves reading pictures and threading to `film`.
//!
//! The process leads a group of its own, which is killed and reaped whichever way a film ends. It reads raw pictures from a
//! pipe, so it also ends when this program is killed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::frame::Frame;
use crate::request::{Encoder, Plan};
use crate::sink::Sink;

/// 60 s without taking a picture or writing a byte: SVT-AV1 looks a hundred pictures ahead, which takes half of that at 4K
/// on one core.
const PATIENCE: Duration = Duration::from_mins(1);
/// 1 s from a closed pipe to the exit that explains it.
const DEATH_PATIENCE: Duration = Duration::from_secs(1);
/// 100 ms to read what it said before it ended: a cancellation may be waiting.
const HEARING_PATIENCE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(20);
/// 2 pictures between this thread and the pipe: one being written, one ready.
const UNDER_WAY_MAX: usize = 2;
/// 4 KiB: the last lines of what it says, which name the reason.
const SAID_BYTES_MAX: usize = 4_096;

/// One running `ffmpeg`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `None` once its pipe was closed or it was reaped.
    pictures: Option<SyncSender<Vec<u8>>>,
    /// A word for each picture it took.
    taken: Receiver<()>,
    under_way: usize,
    said: Arc<Mutex<Vec<u8>>>,
    /// Disconnects when all it said was heard.
    heard: Receiver<()>,
    output: PathBuf,
    reaped: bool,
    patience: Duration,
}

impl Process {
    /// Starts `program`, usually just `ffmpeg`, to write a film into the file `output`, which is removed again.
    pub(crate) fn start(program: &Path, encoder: Encoder, plan: &Plan, output: PathBuf) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.args(arguments(encoder, plan)).arg(&output);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|err| match err.kind() {
            ErrorKind::NotFound => missing(),
            _ => refuse(format!("it cannot be started: {err}")),
        })?;
        let (pipe, errors) = (child.stdin.take(), child.stderr.take());
        let (tx, rx) = mpsc::sync_channel(UNDER_WAY_MAX);
        let (word, taken) = mpsc::sync_channel(UNDER_WAY_MAX);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (all_heard, heard) = mpsc::sync_channel(1);
        let process = Self {
            child,
            pictures: Some(tx),
            taken,
            under_way: 0,
            said: Arc::clone(&said),
            heard,
            output,
            reaped: false,
            patience: PATIENCE,
        };
        // Detached on purpose: they end with the pipes. A descendant that left the group could hold those open, and a
        // film must not wait for it.
        let feeding = std::thread::Builder::new().name("ffmpeg-in".into());
        let hearing = std::thread::Builder::new().name("ffmpeg-said".into());
        if let Some(pipe) = pipe {
            feeding.spawn(move || feed(pipe, &rx, &word)).map_err(Error::Disk)?;
        }
        if let Some(errors) = errors {
            let hear_all = move || {
                hear(errors, &said);
                drop(all_heard);
            };
            hearing.spawn(hear_all).map_err(Error::Disk)?;
        }
        Ok(process)
    }

    /// Hands over the next picture; waits while earlier ones were not taken.
    pub(crate) fn push(&mut self, frame: &Frame, sink: &dyn Sink) -> Result<(), Error> {
        let deadline = Instant::now() + self.patience;
        while self.under_way == UNDER_WAY_MAX {
            match self.taken.recv_timeout(TICK) {
                Ok(()) => self.under_way -= 1,
                Err(RecvTimeoutError::Disconnected) => return Err(self.death()),
                Err(RecvTimeoutError::Timeout) if sink.cancelled() => return Err(Error::Cancelled),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return Err(refuse(format!("it hangs: no picture taken for {} s", self.patience.as_secs())));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let bytes = [frame.y.as_slice(), &frame.u, &frame.v].concat();
        let sent = self.pictures.as_ref().is_some_and(|pictures| pictures.send(bytes).is_ok());
        self.under_way += 1;
        if sent { Ok(()) } else { Err(self.death()) }
    }

    /// Waits for the end of the film and returns it.
    pub(crate) fn finish(mut self, sink: &dyn Sink) -> Result<Vec<u8>, Error> {
        self.pictures = None;
        let (mut grown, mut deadline) = (0, Instant::now() + self.patience);
        let status = loop {
            if let Some(status) = self.ended()? {
                break status;
            }
            if sink.cancelled() {
                return Err(Error::Cancelled);
            }
            let length = fs::metadata(&self.output).map_or(0, |file| file.len());
            if length != grown {
                (grown, deadline) = (length, Instant::now() + self.patience);
            }
            if Instant::now() >= deadline {
                return Err(refuse(format!("it hangs: nothing written for {} s", self.patience.as_secs())));
            }
            std::thread::park_timeout(TICK);
        };
        if !status.success() {
            return Err(self.refusal(status));
        }
        let film = fs::read(&self.output)?;
        if film.is_empty() { Err(refuse("it wrote nothing")) } else { Ok(film) }
    }

    /// Why the pipe is closed.
    fn death(&mut self) -> Error {
        let deadline = Instant::now() + DEATH_PATIENCE;
        while Instant::now() < deadline {
            match self.ended() {
                Ok(Some(status)) => return self.refusal(status),
                Ok(None) => std::thread::park_timeout(TICK),
                Err(error) => return error,
            }
        }
        refuse("it closed its input and went on")
    }

    fn refusal(&self, status: ExitStatus) -> Error {
        // It is over, and its last words may still be in the pipe.
        let _ = self.heard.recv_timeout(HEARING_PATIENCE);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        if let Some(line) = text.lines().find(|line| line.contains("Unknown encoder")) {
            return Error::Missing { what: format!("the installed ffmpeg lacks an encoder ({})", line.trim()) };
        }
        match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => refuse(format!("it ended with {status}: {line}")),
            None => refuse(format!("it ended with {status} and said nothing")),
        }
    }

    /// Its exit, once it is over. What it started is killed before it is reaped: until then its number is still its own.
    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            let over = waitid(WaitId::Pid(Pid::from_child(&self.child)), look).map_err(std::io::Error::from)?;
            if over.is_none() {
                return Ok(None);
            }
            self.end().map(Some)
        }
        #[cfg(not(unix))]
        {
            let status = self.child.try_wait()?;
            self.reaped |= status.is_some();
            Ok(status)
        }
    }

    /// Kills the whole group and reaps its leader.
    fn end(&mut self) -> Result<ExitStatus, Error> {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};
            // The only refusal is that all of it is over.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        #[cfg(not(unix))]
        self.child.kill()?;
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.pictures = None;
        if !self.reaped {
            let _ = self.end();
        }
        // A film cut short is of use to nobody, a whole one was read.
        let _ = fs::remove_file(&self.output);
    }
}

/// Whether a program `ffmpeg` is there to be started.
pub(crate) fn find() -> Result<(), Error> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
    let found = std::env::split_paths(&folders).any(|folder| folder.join(&name).is_file());
    if found { Ok(()) } else { Err(missing()) }
}

fn missing() -> Error {
    Error::Missing { what: "ffmpeg is not installed".into() }
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::Encoder { encoder: "ffmpeg", reason: reason.into() }
}

fn feed(mut pipe: ChildStdin, pictures: &Receiver<Vec<u8>>, taken: &SyncSender<()>) {
    for picture in pictures {
        if pipe.write_all(&picture).is_err() || taken.send(()).is_err() {
            break;
        }
    }
}

fn hear(mut errors: impl Read, said: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 1_024];
    while let Ok(count @ 1..) = errors.read(&mut bytes) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&bytes[..count]);
        let surplus = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..surplus);
    }
}

fn arguments(encoder: Encoder, plan: &Plan) -> Vec<String> {
    let (size, fps, threads) = (plan.output.to_string(), plan.fps.to_string(), plan.threads.to_string());
    let parallel = format!("lp={threads}");
    let codec: &[&str] = match encoder {
        // As likable as openh264 at its quality, in two thirds of the bytes.
        Encoder::X264 => &["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-threads", &threads],
        // Ten of thirteen: about as fast as it draws.
        _ => &["-c:v", "libsvtav1", "-preset", "10", "-crf", "32", "-svtav1-params", &parallel],
    };
    let picture = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-framerate", &fps, "-i", "pipe:0"];
    let colour = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"];
    let key_frames = (plan.fps * crate::film::KEY_SECONDS).to_string();
    let film = ["-pix_fmt", "yuv420p", "-g", &key_frames, "-movflags", "+faststart", "-f", "mp4", "-y"];
    ["-hide_banner", "-loglevel", "error"]
        .iter()
        .chain(&picture)
        .chain(codec)
        .chain(&colour)
        .chain(&film)
        .map(|word| (*word).to_owned())
        .collect()
}

#[cfg(all(test, unix))]
mod tests;
