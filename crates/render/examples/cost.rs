//! What films cost in processor time, which other programs on the machine hardly change:
//! `cargo run --release -p rushes-render --example cost`, with words after `--` to choose worlds by name.
//! Each world's set-up and its drawing of one 480p picture on one thread; then one whole film, stage by stage, unwatched and
//! watched. The figures in docs/picture.md come from here.

use std::time::Instant;

use anyhow::Context;
use rushes_render::{
    Detail, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, analyse, encode, generate, interpolate,
    upscale,
};

/// Name and prompt of every world that is measured.
const WORLDS: [(&str, &str); 8] = [
    ("lake", "golden sunset over a mountain lake"),
    ("aurora", "aurora over arctic pine forest at night, lake reflection"),
    ("desert", "flying over a desert canyon at sunset"),
    ("city", "neon city at night in the rain"),
    ("sea", "a sailing boat on a stormy sea at dusk"),
    ("planet", "a ringed planet in space"),
    ("earth", "mars in deep space"),
    ("nebula", "nebula in deep space, slow"),
];

/// Watches at most at `demand`, and notes when the first preview came.
struct Eye {
    demand: Option<PreviewDemand>,
    start: Instant,
    first: Option<f64>,
}

impl Eye {
    fn new(demand: Option<PreviewDemand>) -> Self {
        Self { demand, start: Instant::now(), first: None }
    }
}

impl Sink for Eye {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
    fn wanted(&mut self) -> Option<PreviewDemand> {
        self.demand
    }
    fn preview(&mut self, _: Preview) {
        let start = self.start;
        self.first.get_or_insert_with(|| start.elapsed().as_secs_f64() * 1_000.0);
    }
    fn cancelled(&self) -> bool {
        false
    }
}

/// Processor time of all threads of this process so far, in milliseconds; the system counts it in tens of them.
fn computed() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}

/// Milliseconds of processor time that `work` takes.
fn cost(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = computed();
    work()?;
    Ok(computed() - start)
}

fn request(prompt: &str, threads: usize) -> Request {
    Request { threads, seed: 7, ..Request::new(prompt).sized(Size::new(1_920, 1_080)) }
}

/// Draws five pictures and then 37: the difference is drawing, what is left set-up.
fn world(name: &str, prompt: &str) -> anyhow::Result<()> {
    let draw = |seconds: f64| {
        let folder = tempfile::tempdir()?;
        let request = Request { seconds, ..request(prompt, 1) };
        let scene = analyse(&request, &mut Eye::new(None))?;
        cost(|| Ok(generate(&request, &scene, &Folder::new(folder.path()), &mut Eye::new(None))?))
    };
    let (few, many) = (draw(8.0 / 24.0)?, draw(3.0)?);
    let each = (many - few) / 32.0;
    println!(
        "{name:>8}  set-up {:6.1} ms  picture {each:6.2} ms  {:6.1} pictures a second",
        few - each * 5.0,
        1e3 / each
    );
    Ok(())
}

fn whole(watched: Option<PreviewDemand>, threads: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (place, request) = (Folder::new(folder.path()), request(WORLDS[0].1, threads));
    let mut eye = Eye::new(watched);
    let start = Instant::now();
    let scene = analyse(&request, &mut eye)?;
    eye.start = Instant::now();
    let drawing = cost(|| Ok(generate(&request, &scene, &place, &mut eye)?))?;
    let between = cost(|| Ok(interpolate(&request, &place, &mut eye)?))?;
    let scaling = cost(|| Ok(upscale(&request, &place, &mut eye)?))?;
    let encoding = cost(|| encode(&request, &place, &mut eye).map(drop).context("the film"))?;
    let sum = drawing + between + scaling + encoding;
    let who = if watched.is_some() { "watched" } else { "nobody watching" };
    print!(
        "{threads} threads, {who}: drawing {drawing:.0} ms, interpolating {between:.0} ms, upscaling {scaling:.0} ms, "
    );
    print!(
        "encoding {encoding:.0} ms; {sum:.0} ms of processor, {:.0} ms of wall clock",
        start.elapsed().as_secs_f64() * 1e3
    );
    println!("{}", eye.first.map_or_else(String::new, |first| format!("; first preview after {first:.0} ms")));
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for (name, prompt) in WORLDS {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            world(name, prompt)?;
        }
    }
    if chosen.is_empty() || chosen.iter().any(|word| word == "film") {
        let player = PreviewDemand { max_fps: 12.0, max_width: 854, every: false };
        for threads in [1, 2] {
            whole(None, threads)?;
            whole(Some(player), threads)?;
        }
    }
    Ok(())
}
