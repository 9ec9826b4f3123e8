//! What films cost in processor time, which other programs on the machine hardly change:
//! `cargo run --release -p rushes-render --example cost`, with words after `--` to choose worlds by name.
//! Each world's set-up and its drawing of one 480p picture on one thread; then one whole film, stage by stage, unwatched and
//! watched, in pairs. The figures in docs/picture.md come from here. `taskset -c 1` before it keeps it on one core; without,
//! the films on two threads show what two cores do. `film` is both, `film-1` and `film-2` those on one and on two threads.

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

/// Five pairs tell a tenth from the noise of a shared machine.
const PAIRS: usize = 5;

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

/// What one film cost, in milliseconds of processor time, and how long it took, in seconds.
struct Spent {
    drawing: f64,
    film: f64,
    seconds: f64,
}

/// Films are made watched and unwatched by turns, so that whatever else the machine does meets both: by a player, which
/// takes what comes at its pace, and by a requester who gets every picture.
fn pairs(threads: usize) -> anyhow::Result<()> {
    let player = PreviewDemand { max_fps: 12.0, max_width: 854, every: false };
    for (who, demand) in [("a player", player), ("one who gets every picture", PreviewDemand { every: true, ..player })]
    {
        let (mut drawing, mut film, mut seconds) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        for _ in 0..PAIRS {
            let (alone, watched) = (whole(None, threads)?, whole(Some(demand), threads)?);
            drawing.push(1.0 - alone.drawing / watched.drawing);
            film.push(1.0 - alone.film / watched.film);
            seconds[0].push(alone.seconds);
            seconds[1].push(watched.seconds);
        }
        let [alone, watched] = seconds.map(median);
        println!("{threads} threads: a film takes {alone:.1} s, and {watched:.1} s with {who}; medians of {PAIRS}");
        println!(
            "{threads} threads, nobody instead of {who}: {:.0} % less processor while drawing, {:.0} % over the film; medians of \
             {PAIRS} pairs",
            median(drawing) * 1e2,
            median(film) * 1e2
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn whole(watched: Option<PreviewDemand>, threads: usize) -> anyhow::Result<Spent> {
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
    let seconds = start.elapsed().as_secs_f64();
    print!("encoding {encoding:.0} ms; {sum:.0} ms of processor, {:.0} ms of wall clock", seconds * 1e3);
    println!("{}", eye.first.map_or_else(String::new, |first| format!("; first preview after {first:.0} ms")));
    Ok(Spent { drawing, film: sum, seconds })
}

fn main() -> anyhow::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for (name, prompt) in WORLDS {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            world(name, prompt)?;
        }
    }
    for threads in [1, 2] {
        if chosen.is_empty() || chosen.iter().any(|word| *word == "film" || *word == format!("film-{threads}")) {
            pairs(threads)?;
        }
    }
    Ok(())
}
