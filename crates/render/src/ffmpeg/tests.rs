//! ffmpeg as it may be found: missing, dying, hanging, cancelled; played by real programs.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::request::{Request, Size};
use crate::scene::Scene;
use crate::sink::{Detail, Preview, PreviewDemand, Stage};

/// Stops when told to.
#[derive(Default)]
struct Ear(AtomicBool);

impl Sink for Ear {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
    fn wanted(&mut self) -> Option<PreviewDemand> {
        None
    }
    fn preview(&mut self, _: Preview) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A real program in the place of `ffmpeg`. `$OUT` is the file it is to write.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("ffmpeg");
    let text = format!("#!/bin/sh\nfor OUT; do :; done\n{script}\n");
    // Written and renamed by a child: a file that any thread of this process holds open for writing cannot be run.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0.new\" && chmod 700 \"$0.new\" && mv \"$0.new\" \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell and a sound request");
    writer
        .stdin
        .take()
        .expect("a shell and a sound request")
        .write_all(text.as_bytes())
        .expect("a shell and a sound request");
    assert!(writer.wait().expect("a shell and a sound request").success());
    assert!(fs::metadata(&path).expect("a shell and a sound request").permissions().mode() & 0o100 != 0);
    path
}

fn plan() -> Plan {
    Request { seconds: 0.5, threads: 1, ..Request::new("lake").sized(Size::new(128, 72)) }
        .plan()
        .expect("a shell and a sound request")
}

fn start(folder: &Path, script: &str) -> Process {
    let path = program(folder, script);
    Process::start(&path, Encoder::X264, &plan(), folder.join("film.mp4.part")).expect("a shell and a sound request")
}

/// Whether no process with this number, dead or alive, is left.
fn gone(id: u32) -> bool {
    !Path::new(&format!("/proc/{id}")).exists()
}

fn push_all(process: &mut Process, sink: &Ear) -> Result<(), Error> {
    let frame = Frame::new(plan().output);
    (0..plan().frames).try_for_each(|_| process.push(&frame, sink))
}

#[test]
fn a_missing_program_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no-ffmpeg");
    let error = Process::start(&missing, Encoder::X264, &plan(), folder.path().join("out")).unwrap_err();
    assert_eq!(error.to_string(), "ffmpeg is not installed: install it, or use the encoder openh264");
}

#[test]
fn a_program_that_dies_is_reaped_and_its_last_words_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), "echo Cannot allocate memory >&2; exit 3");
    let (id, sink) = (process.child.id(), Ear::default());
    let outcome = push_all(&mut process, &sink).and_then(|()| process.finish(&sink));
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("exit status: 3") && said.contains("Cannot allocate memory"), "{said}");
    assert!(gone(id), "process {id} is left");
}

#[test]
fn a_program_without_the_encoder_is_as_good_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), "echo \"[vost#0] Unknown encoder 'libsvtav1'\" >&2; exit 8");
    let sink = Ear::default();
    let error = push_all(&mut process, &sink).and_then(|()| process.finish(&sink)).unwrap_err();
    assert!(matches!(&error, Error::Missing { what } if what.contains("Unknown encoder 'libsvtav1'")), "{error}");
}

#[test]
fn a_program_that_takes_no_pictures_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}.new; mv {0}.new {0}; exec sleep 1000", note.display());
    let mut process = start(folder.path(), &script);
    process.patience = Duration::from_millis(300);
    let (id, sink, big) = (process.child.id(), Ear::default(), Frame::new(Size::new(640, 480)));
    let error = (0..40).try_for_each(|_| process.push(&big, &sink)).unwrap_err();
    assert!(error.to_string().contains("hangs: no picture taken"), "{error}");
    wait_for(|| note.exists());
    let child: u32 = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
    drop(process);
    assert!(gone(id), "process {id} is left");
    wait_for(|| dead(child));
}

/// An orphan's body stays until init collects it, which is not ours to await.
fn dead(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim().is_empty() || rest.trim().starts_with(['Z', 'X']))
}

fn wait_for(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_never_ends_is_ended_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), "echo half > \"$OUT\"; cat > /dev/null; exec sleep 1000");
    let (id, sink) = (process.child.id(), Ear::default());
    push_all(&mut process, &sink).unwrap();
    process.patience = Duration::from_millis(300);
    let error = process.finish(&sink).unwrap_err();
    assert!(error.to_string().contains("hangs: nothing written"), "{error}");
    assert!(gone(id), "process {id} is left");
    assert!(!folder.path().join("film.mp4.part").exists());
}

/// 200 ms is the promise. A machine with more to do than processors may take four times as long.
fn stop_max() -> Duration {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    Duration::from_millis(if load > processors * 0.8 { 800 } else { 200 })
}

/// Whether it takes nothing, or everything without an end.
#[test]
fn cancelling_ends_a_program_that_hangs_in_time_with_all_it_started() {
    for script in ["exec sleep 1000", "cat > /dev/null; exec sleep 1000"] {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("child");
        let mut process = start(folder.path(), &format!("sleep 1000 & echo $! > {}\n{script}", note.display()));
        let (id, sink, big) = (process.child.id(), Ear::default(), Frame::new(Size::new(640, 480)));
        wait_for(|| fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n')));
        let child: u32 = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
        let told = std::thread::scope(|scope| {
            let canceller = scope.spawn(|| {
                std::thread::park_timeout(Duration::from_millis(250));
                sink.0.store(true, Ordering::Relaxed);
                Instant::now()
            });
            let pushed = (0..40).try_for_each(|_| process.push(&big, &sink));
            let outcome = pushed.and_then(|()| process.finish(&sink).map(drop));
            let over = Instant::now();
            assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
            over.saturating_duration_since(canceller.join().unwrap())
        });
        println!("{script}: stopped after {told:?}");
        assert!(told < stop_max(), "{script}: stopped after {told:?}");
        wait_for(|| gone(id) && dead(child));
    }
}

#[test]
fn a_film_that_was_written_is_returned_and_its_file_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), "cat > \"$OUT\"");
    let sink = Ear::default();
    push_all(&mut process, &sink).unwrap();
    let film = process.finish(&sink).unwrap();
    assert_eq!(film.len(), Frame::bytes(plan().output) * plan().frames as usize, "every byte of every picture came");
    assert!(!folder.path().join("film.mp4.part").exists());
}
