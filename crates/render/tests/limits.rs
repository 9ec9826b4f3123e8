//! What happens at the edges: absurd requests, a full disk, ffmpeg, and two films on one machine.

use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rushes_render::{
    BadRequest, Detail, Encoder, Error, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, analyse,
    film, generate, interpolate, kept, upscale,
};

#[derive(Default)]
struct Ear {
    /// Pictures drawn so far.
    drawn: AtomicU32,
    stop: AtomicBool,
    /// The longest processor time of the calling thread between two looks, in nanoseconds.
    span: Cell<u64>,
    last: Cell<u64>,
}

/// What this thread has computed so far, in nanoseconds; other programs on the machine do not count.
fn computed() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

impl Sink for Ear {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, detail: Detail) {
        self.drawn.store(detail.current_frame, Ordering::Relaxed);
    }
    fn wanted(&mut self) -> Option<PreviewDemand> {
        None
    }
    fn preview(&mut self, _: Preview) {}
    fn cancelled(&self) -> bool {
        let now = computed();
        if self.last.get() > 0 {
            self.span.set(self.span.get().max(now - self.last.get()));
        }
        self.last.set(now);
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn absurd_sizes_and_lengths_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let lake = || Request::new("lake");
    for (request, expected) in [
        (lake().sized(Size::new(1, 1)), "out of range"),
        (lake().sized(Size::new(0, 480)), "out of range"),
        (lake().sized(Size::new(7_680, 4_320)), "out of range"),
        (lake().sized(Size::new(3_840, 100)), "too narrow"),
        (Request { seconds: 600.0, ..lake() }, "0.1 to 60 seconds"),
        (Request { seconds: 60.0, ..lake().sized(Size::new(3_840, 2_160)) }, "too much work"),
        (Request { seconds: -1.0, ..lake() }, "0.1 to 60 seconds"),
    ] {
        match film(&request, &Folder::new(folder.path()), &mut Ear::default()) {
            Err(Error::Refused(refused)) => assert!(refused.to_string().contains(expected), "{refused}"),
            other => panic!("{:?} gave {other:?}", request.output),
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(matches!(lake().sized(Size::new(1, 1)).plan(), Err(BadRequest::Size { .. })));
}

#[test]
fn four_k_portrait_and_odd_sizes_of_a_tenth_of_a_second_become_pictures() {
    for (width, height) in [(3_840, 2_160), (1_080, 1_920), (333, 187)] {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path());
        let request = Request { seconds: 0.1, ..Request::new("a boat on the sea").sized(Size::new(width, height)) };
        let mut ear = Ear::default();
        let scene = analyse(&request, &mut ear).unwrap();
        generate(&request, &scene, &place, &mut ear).unwrap();
        interpolate(&request, &place, &mut ear).unwrap();
        upscale(&request, &place, &mut ear).unwrap();
        let made = kept::Reader::open(&place.large()).unwrap();
        assert_eq!((made.count(), made.size()), (2, Size::new(width, height).even()));
    }
}

/// Says on a line of its own what this machine could not show. The macros are held back while a test passes; this is not.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {reason}");
}

/// A file system of a few pages, gone with its holder; only root may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_that_says_so_and_leaves_nothing_unfinished() {
    let Some(disk) = SmallDisk::mount(256 * 1_024) else {
        skip("a full disk needs the right to mount a small one; run as root");
        return;
    };
    let request = Request::new("lake").sized(Size::new(640, 360));
    let error = film(&request, &Folder::new(disk.0.path()), &mut Ear::default()).unwrap_err();
    let Error::Disk(cause) = &error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull, "{cause}");
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0, "a half-written file is left");
}

#[test]
fn every_stage_looks_for_a_cancellation_often_enough() {
    let folder = tempfile::tempdir().unwrap();
    let place = Folder::new(folder.path());
    let request = Request { seconds: 0.25, threads: 1, ..Request::new("lake").sized(Size::new(1_920, 1_080)) };
    let mut ear = Ear::default();
    film(&request, &place, &mut ear).unwrap();
    let span = ear.span.get() / 1_000_000;
    // Processor time between two looks of the thread that hears of it: 200 ms is the promise, and what the other threads
    // still have in hand, a band of a picture, is added to it.
    assert!(span < 150, "{span} ms between two looks");
}

/// What a process of its own needs at most for a film of so many seconds, in megabytes.
fn peak_of(seconds: &str) -> f64 {
    let own = std::env::current_exe().expect("this program");
    let child = Command::new(own)
        .args(["--exact", "memory_does_not_grow_with_the_length_of_a_film", "--nocapture"])
        .env("FILM_SECONDS", seconds)
        .output()
        .expect("this program once more");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let peak = text.lines().find_map(|line| line.strip_prefix("peak ")?.parse::<f64>().ok());
    peak.unwrap_or_else(|| panic!("no figure in {text}")) / 1_024.0
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_length_of_a_film() {
    if let Ok(seconds) = std::env::var("FILM_SECONDS") {
        let folder = tempfile::tempdir().unwrap();
        let seconds = seconds.parse().unwrap();
        let size = Size::new(640, 360);
        let request = Request { seconds, threads: 2, ..Request::new("sea").sized(size) };
        let request = Request { draw: Size::new(320, 180), ..request };
        let (place, mut ear) = (Folder::new(folder.path()), Ear::default());
        let scene = analyse(&request, &mut ear).unwrap();
        generate(&request, &scene, &place, &mut ear).unwrap();
        interpolate(&request, &place, &mut ear).unwrap();
        upscale(&request, &place, &mut ear).unwrap();
        let made = kept::Reader::open(&place.large()).unwrap();
        assert_eq!(f64::from(made.count()), seconds * 24.0);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        println!("\npeak {}", peak.trim().trim_end_matches(" kB"));
        return;
    }
    let (short, long) = (peak_of("1"), peak_of("16"));
    println!("{short:.1} MB for one second, {long:.1} MB for sixteen");
    // All pictures of fifteen more seconds are 124 MB.
    assert!(long < short + 8.0, "{short:.1} MB for one second, {long:.1} MB for sixteen");
}

#[test]
fn two_films_at_once_share_the_machine() {
    let (first, second) = (AtomicU32::new(0), AtomicU32::new(0));
    let done = AtomicBool::new(false);
    /// Counts into a place that both films see, and stops when one of them is finished.
    struct Counter<'a>(&'a AtomicU32, &'a AtomicBool);
    impl Sink for Counter<'_> {
        fn scene(&mut self, _: &Scene) {}
        fn progress(&mut self, _: Stage, _: f64, _: &str, detail: Detail) {
            self.0.store(detail.current_frame, Ordering::Relaxed);
        }
        fn wanted(&mut self) -> Option<PreviewDemand> {
            None
        }
        fn preview(&mut self, _: Preview) {}
        fn cancelled(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
    }
    // Each film has all threads, as a worker gives them to the only film it has.
    let request =
        Request { seconds: 8.0, seed: 3, ..Request::new("a ringed planet in space").sized(Size::new(320, 180)) };
    let scene = analyse(&request, &mut Ear::default()).unwrap();
    std::thread::scope(|scope| {
        for count in [&first, &second] {
            let (request, scene, done) = (&request, &scene, &done);
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let outcome = generate(request, scene, &Folder::new(folder.path()), &mut Counter(count, done));
                assert!(matches!(outcome, Ok(()) | Err(Error::Cancelled)), "{outcome:?}");
                done.store(true, Ordering::Relaxed);
            });
        }
    });
    let (first, second) = (f64::from(first.into_inner()), f64::from(second.into_inner()));
    let share = first / (first + second);
    assert!((0.35..=0.65).contains(&share), "{first} pictures against {second}");
}

/// Whether an installed ffmpeg knows this encoder.
fn knows(encoder: &str) -> bool {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(encoder))
}

fn codec(path: &Path) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_entries", "stream=codec_name,color_space,nb_read_frames"])
        .args(["-of", "default=noprint_wrappers=1:nokey=1"])
        .arg(path)
        .output()
        .expect("ffprobe comes with ffmpeg");
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_installed_ffmpeg_makes_the_film_when_asked_for() {
    for (encoder, program, expected) in
        [(Encoder::X264, "libx264", "h264 bt709 12"), (Encoder::SvtAv1, "libsvtav1", "av1 bt709 12")]
    {
        if !knows(program) {
            skip(&format!("no ffmpeg with {program}"));
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let request = Request { seconds: 0.5, encoder, ..Request::new("lake").sized(Size::new(320, 180)) };
        let made = film(&request, &Folder::new(folder.path()), &mut Ear::default()).unwrap();
        assert_eq!(made.encoder, encoder.name());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the kept frames stay");
        let path = folder.path().join("film.mp4");
        fs::write(&path, &made.mp4).unwrap();
        assert_eq!(codec(&path), expected);
    }
}
