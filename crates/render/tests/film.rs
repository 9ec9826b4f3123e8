//! Whole films through the public interface: what a worker relies on.

use std::fs;
#[cfg(feature = "h264")]
use std::io::Write as _;
use std::path::Path;
#[cfg(feature = "h264")]
use std::process::Command;
use std::time::{Duration, Instant};

use rushes_render::{
    Detail, Error, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, analyse, encode, film, generate,
    interpolate, kept, upscale,
};

/// Keeps everything it hears.
#[derive(Default)]
struct Ear {
    scenes: usize,
    progress: Vec<(Stage, f64, String, Detail)>,
    previews: Vec<Preview>,
    demand: Option<PreviewDemand>,
}

impl Sink for Ear {
    fn scene(&mut self, _: &Scene) {
        self.scenes += 1;
    }

    fn progress(&mut self, stage: Stage, fraction: f64, message: &str, detail: Detail) {
        self.progress.push((stage, fraction, message.to_owned(), detail));
    }

    fn wanted(&mut self) -> Option<PreviewDemand> {
        self.demand
    }

    fn preview(&mut self, preview: Preview) {
        self.previews.push(preview);
    }

    fn cancelled(&self) -> bool {
        false
    }
}

fn small(prompt: &str) -> Request {
    let mut request = Request::new(prompt).sized(Size::new(256, 144));
    request.seconds = 0.5;
    request
}

fn frames(path: &Path) -> Vec<rushes_render::Frame> {
    let reader = kept::Reader::open(path).expect("a finished file");
    (0..reader.count()).map(|index| reader.frame(index).expect("a sound frame")).collect()
}

#[cfg(feature = "h264")]
fn boxes(mp4: &[u8]) -> Vec<String> {
    let (mut at, mut names) = (0, Vec::new());
    while at + 8 <= mp4.len() {
        let length = u32::from_be_bytes(mp4[at..at + 4].try_into().expect("four bytes")) as usize;
        names.push(String::from_utf8_lossy(&mp4[at + 4..at + 8]).into_owned());
        assert!(length >= 8, "a box of {length} bytes");
        at += length;
    }
    assert_eq!(at, mp4.len(), "the boxes fill the file");
    names
}

#[cfg(feature = "h264")]
#[test]
fn a_prompt_becomes_a_film_that_plays_while_it_loads() {
    let folder = tempfile::tempdir().unwrap();
    let mut ear = Ear { demand: Some(PreviewDemand { max_fps: 1.0, max_width: 192, every: true }), ..Ear::default() };
    let request = Request { seconds: 1.0, ..small("golden sunset over a mountain lake") };
    let made = film(&request, &Folder::new(folder.path()), &mut ear).unwrap();
    assert_eq!(boxes(&made.mp4), ["ftyp", "moov", "mdat"]);
    assert_eq!(&made.thumbnail.unwrap()[8..12], b"WEBP");
    assert_eq!(ear.scenes, 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the kept frames stay");
    let stages: Vec<_> = Stage::ALL.iter().map(|stage| ear.progress.iter().filter(|told| told.0 == *stage)).collect();
    for told in stages {
        let fractions: Vec<_> = told.map(|told| told.1).collect();
        assert!(
            fractions.is_sorted() && fractions.first() == Some(&0.0) && fractions.last() == Some(&1.0),
            "{fractions:?}"
        );
    }
    let messages: Vec<_> = ear.progress.iter().map(|told| told.2.as_str()).collect();
    for message in [
        "Analyzing prompt...",
        "Generating frames (13/13)",
        "Interpolating between keyframes...",
        "Upscaling to 144p...",
        "Encoding final video...",
        "Generating metadata",
        "Creating thumbnail",
    ] {
        assert!(messages.contains(&message), "{message} is missing");
    }
    every_preview_came(&ear.previews, 13);
    probe(&made.mp4, folder.path());
}

#[cfg(feature = "h264")]
/// With `every`, each picture came in each revision, coarse first, in order within each pass.
fn every_preview_came(previews: &[Preview], total: u32) {
    assert_eq!(previews.len() as u32, total * (rushes_render::REVISION_LAST + 1));
    for index in 0..total {
        let revisions: Vec<_> = previews.iter().filter(|p| p.index == index).map(|p| p.revision).collect();
        assert_eq!(revisions, (0..=rushes_render::REVISION_LAST).collect::<Vec<_>>());
    }
    for revision in 0..=rushes_render::REVISION_LAST {
        assert!(previews.iter().filter(|p| p.revision == revision).map(|p| p.index).is_sorted());
    }
    assert!(previews.iter().all(|p| (p.width, p.height, p.total) == (192, 108, total) && p.webp.len() < 60_000));
    assert_eq!(previews.iter().filter(|p| p.last).count(), 1);
    assert!(previews.last().is_some_and(|p| p.last && p.last_of_revision && p.pts_micros == 1_000_000));
}

#[cfg(feature = "h264")]
/// What ffprobe says, where it is installed.
fn probe(mp4: &[u8], folder: &Path) {
    let path = folder.join("probe.mp4");
    fs::write(&path, mp4).expect("a writable folder");
    let entries = "stream=codec_name,profile,width,height,pix_fmt,color_space,color_transfer,color_primaries,r_frame_rate,nb_read_frames";
    let Ok(output) = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_entries", entries, "-of", "default=noprint_wrappers=1"])
        .arg(&path)
        .output()
    else {
        // Written past the harness, which holds back what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: no ffprobe; what it says of a film was not looked at");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "codec_name=h264",
        "width=256",
        "height=144",
        "pix_fmt=yuv420p",
        "color_space=bt709",
        "color_transfer=bt709",
        "color_primaries=bt709",
        "r_frame_rate=24/1",
        "nb_read_frames=24",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is missing in\n{text}");
    }
}

#[cfg(not(feature = "h264"))]
#[test]
fn without_an_encoder_the_error_names_the_feature() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = film(&small("a lake"), &Folder::new(folder.path()), &mut Ear::default());
    assert!(matches!(outcome, Err(Error::NoEncoder)));
}

#[test]
fn the_same_prompt_and_seed_give_the_same_pictures_on_any_number_of_threads() {
    let draw = |seed: u64, threads: usize, demand: Option<PreviewDemand>| {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path());
        let request = Request { seed, threads, seconds: 0.3, ..small("misty autumn lake at dawn") };
        let mut ear = Ear { demand, ..Ear::default() };
        let scene = analyse(&request, &mut ear).unwrap();
        generate(&request, &scene, &place, &mut ear).unwrap();
        (frames(&place.frames()), ear.previews.len())
    };
    let (first, unwatched) = draw(5, 1, None);
    let (again, watched) = draw(5, 3, Some(PreviewDemand { max_fps: 1_000.0, max_width: 100, every: false }));
    assert_eq!(unwatched, 0, "nobody looked");
    assert!(watched > 0);
    assert!(first.iter().zip(&again).all(|(a, b)| a.psnr(b).is_infinite()) && first == again);
    let (other, _) = draw(6, 1, None);
    assert!(first[0].psnr(&other[0]) < 40.0, "another seed is another film");
}

#[test]
fn a_run_resumes_from_the_kept_frames_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Folder::new(folder.path()), Folder::new(folder.path().join("other")));
    fs::create_dir(folder.path().join("other")).unwrap();
    let request = small("night lake");
    let mut ear = Ear::default();
    let scene = analyse(&request, &mut ear).unwrap();
    generate(&request, &scene, &first, &mut ear).unwrap();
    interpolate(&request, &first, &mut ear).unwrap();
    fs::copy(first.frames(), second.frames()).unwrap();
    interpolate(&request, &second, &mut ear).unwrap();
    assert_eq!(frames(&first.smooth()), frames(&second.smooth()));
    assert_eq!(frames(&first.smooth()).len(), 12);
    let foreign = Request { seed: 99, ..request.clone() };
    assert!(matches!(interpolate(&foreign, &second, &mut ear), Err(Error::Kept(kept::Damage::Foreign))));
    fs::write(second.frames(), b"RUSHFRMS and then nonsense").unwrap();
    assert!(matches!(interpolate(&request, &second, &mut ear), Err(Error::Kept(_))));
    fs::remove_file(second.frames()).unwrap();
    assert!(matches!(interpolate(&request, &second, &mut ear), Err(Error::Kept(kept::Damage::Io(_)))));
}

/// Stops at a moment, whatever is under way.
struct Clock(Instant, Option<PreviewDemand>);

impl Sink for Clock {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
    fn wanted(&mut self) -> Option<PreviewDemand> {
        self.1
    }
    fn preview(&mut self, _: Preview) {}
    fn cancelled(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// 200 ms is the promise. A machine with more to do than processors may take four times as long.
fn stop_max() -> Duration {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    Duration::from_millis(if load > processors * 0.8 { 800 } else { 200 })
}

#[test]
fn cancelling_stops_every_stage_in_time_at_whatever_moment() {
    type Work<'a> = Box<dyn Fn(&mut dyn Sink) -> Result<(), Error> + 'a>;
    let folder = tempfile::tempdir().unwrap();
    let place = Folder::new(folder.path());
    let mut request = Request::new("aurora over an alpine lake with trees").sized(Size::new(1_920, 1_080));
    (request.seconds, request.threads) = (1.0, 1);
    let scene = analyse(&request, &mut Ear::default()).unwrap();
    let mut stages: Vec<(Stage, Work)> = vec![
        (Stage::GeneratingFrames, Box::new(|sink| generate(&request, &scene, &place, sink))),
        (Stage::Interpolating, Box::new(|sink| interpolate(&request, &place, sink))),
        (Stage::Upscaling, Box::new(|sink| upscale(&request, &place, sink))),
    ];
    if cfg!(feature = "h264") {
        stages.push((Stage::Encoding, Box::new(|sink| encode(&request, &place, sink).map(drop))));
    }
    let demand = PreviewDemand { max_fps: 60.0, max_width: 854, every: true };
    for (stage, work) in stages {
        let mut worst = Duration::ZERO;
        // From the first millisecond, while a world is built, to the middle of a picture.
        for delay in [0, 7, 31, 64, 90, 113, 171, 204] {
            let moment = Instant::now() + Duration::from_millis(delay);
            let outcome = work(&mut Clock(moment, Some(demand)));
            assert!(matches!(outcome, Err(Error::Cancelled)), "{stage:?} after {delay} ms: {outcome:?}");
            worst = worst.max(moment.elapsed());
        }
        println!("{}: at most {} ms from the cancellation to the end", stage.name(), worst.as_millis());
        assert!(worst < stop_max(), "{stage:?} took {worst:?}");
        work(&mut Ear::default()).unwrap();
    }
    assert!(matches!(analyse(&request, &mut Clock(Instant::now(), None)), Err(Error::Cancelled)));
}

#[test]
fn interpolation_beats_blending_by_two_decibels_on_three_of_four_scenes() {
    let mut better = 0;
    let mut told = Vec::new();
    for prompt in [
        "golden sunset over a mountain lake",
        "aurora over arctic pine forest at night",
        "alpine lake, sunny day, pan",
        "flying over a desert canyon at sunset",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path());
        // 23 a second are not doubled, so every picture is drawn and the truth is known.
        let mut request = Request::new(prompt);
        (request.fps, request.seconds, request.seed) = (23, 5.0 / 23.0, 1);
        let mut ear = Ear::default();
        let scene = analyse(&request, &mut ear).unwrap();
        generate(&request, &scene, &place, &mut ear).unwrap();
        let truth = frames(&place.frames());
        assert_eq!(truth.len(), 5);
        let (mut followed, mut blended) = (Vec::new(), Vec::new());
        for three in truth.windows(3) {
            followed.push(rushes_render::between(&three[0], &three[2]).psnr(&three[1]));
            let mut blend = three[0].clone();
            for (value, later) in blend.y.iter_mut().zip(&three[2].y) {
                *value = (u16::from(*value) + u16::from(*later)).div_ceil(2) as u8;
            }
            blended.push(blend.psnr(&three[1]));
        }
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (followed, blended) = (median(&mut followed), median(&mut blended));
        told.push(format!("{prompt}: {followed:.1} dB against {blended:.1} dB"));
        better += u32::from(followed >= blended + 2.0);
    }
    println!("{}", told.join("\n"));
    assert!(better >= 3, "{told:#?}");
}

#[test]
fn sizes_of_every_shape_become_pictures() {
    for ((width, height), prompt) in [
        ((64, 64), "lake in the rain"),
        ((255, 143), "a ringed planet in space"),
        ((144, 256), "night city"),
        ((320, 80), "a boat on the sea"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path());
        let request = Request { seconds: 0.1, ..Request::new(prompt).sized(Size::new(width, height)) };
        let mut ear = Ear::default();
        let scene = analyse(&request, &mut ear).unwrap();
        generate(&request, &scene, &place, &mut ear).unwrap();
        interpolate(&request, &place, &mut ear).unwrap();
        upscale(&request, &place, &mut ear).unwrap();
        let made = frames(&place.large());
        assert_eq!((made.len(), made[0].size), (2, Size::new(width, height).even()));
        let (low, high) = (made[0].y.iter().min(), made[0].y.iter().max());
        assert!(high > low, "a picture shows something");
    }
    let refused = Request::new("lake").sized(Size::new(1, 1));
    assert!(matches!(analyse(&refused, &mut Ear::default()), Err(Error::Refused(_))));
}

#[test]
fn a_folder_that_is_gone_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let request = small("lake");
    let outcome = film(&request, &Folder::new(folder.path().join("gone")), &mut Ear::default());
    assert!(matches!(outcome, Err(Error::Disk(_))), "{outcome:?}");
}
