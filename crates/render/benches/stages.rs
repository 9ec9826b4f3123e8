//! What each stage costs on one thread: `cargo bench -p rushes-render`. The figures in docs/picture.md come from here.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use rushes_render::{
    Detail, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, analyse, encode, film, generate,
    interpolate, kept, upscale,
};

/// Half a second: 7 drawn pictures, 12 in the film.
const SECONDS: f64 = 0.5;

struct Ear(bool);

impl Sink for Ear {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
    fn wanted(&mut self) -> Option<PreviewDemand> {
        self.0.then_some(PreviewDemand { max_fps: 12.0, max_width: 854, every: true })
    }
    fn preview(&mut self, preview: Preview) {
        black_box(preview);
    }
    fn cancelled(&self) -> bool {
        false
    }
}

fn request(prompt: &str) -> Request {
    Request { seconds: SECONDS, threads: 1, seed: 7, ..Request::new(prompt).sized(Size::new(1920, 1080)) }
}

fn draw(c: &mut Criterion) {
    let mut group = c.benchmark_group("generating_frames, 7 pictures of 854x480");
    for (name, prompt) in [
        ("landscape", "golden sunset over a mountain lake"),
        ("city", "neon city at night in the rain"),
        ("sea", "a sailing boat on a stormy sea at dusk"),
        ("space", "a ringed planet in space"),
    ] {
        for (eyes, watched) in [("nobody watching", false), ("every preview", true)] {
            let (folder, request) = (tempfile::tempdir().expect("a folder"), request(prompt));
            let scene = analyse(&request, &mut Ear(false)).expect("a scene");
            let place = Folder::new(folder.path());
            group.bench_function(format!("{name}, {eyes}"), |b| {
                b.iter(|| generate(&request, &scene, &place, &mut Ear(watched)).expect("pictures"));
            });
        }
    }
    group.finish();
}

fn later(c: &mut Criterion) {
    let (folder, request) = (tempfile::tempdir().expect("a folder"), request("golden sunset over a mountain lake"));
    let place = Folder::new(folder.path());
    let mut ear = Ear(false);
    let scene = analyse(&request, &mut ear).expect("a scene");
    generate(&request, &scene, &place, &mut ear).expect("pictures");
    let frame = kept::Reader::open(&place.frames()).and_then(|reader| reader.frame(3)).expect("a picture");
    c.bench_function("preview, one WebP of 854x480", |b| b.iter(|| frame.to_preview().expect("a picture")));
    c.bench_function("interpolating, 6 new pictures of 854x480", |b| {
        b.iter(|| interpolate(&request, &place, &mut Ear(false)).expect("pictures"));
    });
    c.bench_function("upscaling, 12 pictures to 1920x1080", |b| {
        b.iter(|| upscale(&request, &place, &mut Ear(false)).expect("pictures"));
    });
    c.bench_function("encoding, 12 pictures of 1920x1080", |b| {
        b.iter(|| encode(&request, &place, &mut Ear(false)).expect("a film"));
    });
}

fn whole(c: &mut Criterion) {
    for threads in [1, 2] {
        let request = Request { seconds: 3.0, threads, ..request("golden sunset over a mountain lake") };
        c.bench_function(&format!("3 s film, 480p at 12 to 1080p at 24, {threads} threads"), |b| {
            b.iter(|| {
                let folder = tempfile::tempdir().expect("a folder");
                film(&request, &Folder::new(folder.path()), &mut Ear(true)).expect("a film")
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    draw(&mut criterion);
    later(&mut criterion);
    whole(&mut criterion);
    criterion.final_summary();
}
