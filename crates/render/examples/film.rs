//! Draws a film without a server: `cargo run --release -p rushes-render --example film -- FOLDER "prompt" [seed] [WxH] [seconds]`.
//! Writes `film.mp4`, `thumbnail.webp`, `sheet.webp` (nine of the drawn pictures) and every eighth preview in all its
//! revisions. With `NO_PREVIEWS` set nobody looks, and none is drawn.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use rushes_render as render;
use rushes_render::{Detail, Folder, Frame, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, kept};

/// Prints what happens and writes previews to a folder.
struct Printer<'a> {
    folder: &'a Path,
    start: Instant,
    stage: Option<Stage>,
    previews: bool,
}

impl Sink for Printer<'_> {
    fn scene(&mut self, scene: &Scene) {
        for (key, value) in scene.pairs() {
            println!("  {key}: {value}");
        }
    }

    fn progress(&mut self, stage: Stage, fraction: f64, message: &str, _: Detail) {
        if self.stage != Some(stage) || fraction >= 1.0 {
            let (seconds, cpu) = (self.start.elapsed().as_secs_f64(), cpu_seconds());
            println!("{seconds:7.2} s  {cpu:6.2} s of processor  {:3.0} %  {message}", fraction * 100.0);
            self.stage = Some(stage);
        }
    }

    fn wanted(&mut self) -> Option<PreviewDemand> {
        self.previews.then_some(PreviewDemand { max_fps: 60.0, max_width: 854, every: true })
    }

    fn preview(&mut self, preview: Preview) {
        let name = format!("preview-{:04}-{}.webp", preview.index, preview.revision);
        if preview.index.is_multiple_of(8)
            && let Err(err) = std::fs::write(self.folder.join(name), &preview.webp)
        {
            eprintln!("preview not written: {err}");
        }
    }

    fn cancelled(&self) -> bool {
        false
    }
}

/// Processor time of all threads so far, where the system tells it; counted in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Nine pictures of the film on one sheet.
fn sheet(kept: &kept::Reader) -> anyhow::Result<Frame> {
    let Size { width, height } = kept.size();
    let mut sheet = Frame::new(Size::new(width * 3, height * 3));
    for slot in 0..9 {
        let frame = kept.frame(slot * (kept.count() - 1) / 8)?;
        for ((from, size), to) in frame.planes().into_iter().zip([&mut sheet.y, &mut sheet.u, &mut sheet.v]) {
            let (width, height) = (size.width as usize, size.height as usize);
            let (column, row) = (slot as usize % 3 * width, slot as usize / 3 * height);
            for (line, pixels) in from.chunks_exact(width).enumerate() {
                to[(row + line) * width * 3 + column..][..width].copy_from_slice(pixels);
            }
        }
    }
    Ok(sheet)
}

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().context("give a folder to write to")?;
    let prompt = words.next().unwrap_or_else(|| "golden sunset over a mountain lake".into());
    let mut request = Request::new(prompt);
    if let Some(seed) = words.next() {
        request.seed = seed.parse().context("the seed is a number")?;
    }
    if let Some(size) = words.next() {
        let (width, height) = size.split_once('x').context("the size is WIDTHxHEIGHT")?;
        request = request.sized(Size::new(width.parse()?, height.parse()?));
    }
    if let Some(seconds) = words.next() {
        request.seconds = seconds.parse().context("the length is a number of seconds")?;
    }
    let path = Path::new(&folder);
    std::fs::create_dir_all(path)?;
    let previews = std::env::var_os("NO_PREVIEWS").is_none();
    let mut sink = Printer { folder: path, start: Instant::now(), stage: None, previews };
    let film = render::film(&request, &Folder::new(path), &mut sink)?;
    std::fs::write(path.join("film.mp4"), &film.mp4)?;
    if let Some(thumbnail) = &film.thumbnail {
        std::fs::write(path.join("thumbnail.webp"), thumbnail)?;
    }
    let drawn = kept::Reader::open(&Folder::new(path).frames())?;
    std::fs::write(path.join("sheet.webp"), sheet(&drawn)?.to_webp(85.0)?)?;
    println!(
        "{:7.2} s  {} frames, {} KB",
        sink.start.elapsed().as_secs_f64(),
        film.plan.frames,
        film.mp4.len() / 1_000
    );
    Ok(())
}
