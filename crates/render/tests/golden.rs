//! The same prompt and seed give the same film, from one version to the next. Compared by likeness, not by bytes: the C
//! library's `exp` and `sin` may differ in the last bit. `UPDATE=1 cargo test -p rushes-render --test golden` accepts a new
//! look, which is then a change to look at.

use std::path::{Path, PathBuf};

use rushes_render::{
    Detail, Folder, Frame, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, analyse, generate, interpolate,
    kept,
};

/// 45 dB: half a level on average. Another seed is below 25.
const LIKENESS_MIN: f64 = 45.0;

struct Deaf;

impl Sink for Deaf {
    fn scene(&mut self, _: &Scene) {}
    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
    fn wanted(&mut self) -> Option<PreviewDemand> {
        None
    }
    fn preview(&mut self, _: Preview) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn frames(path: &Path) -> Vec<Frame> {
    let reader = kept::Reader::open(path).expect("a finished file");
    (0..reader.count()).map(|index| reader.frame(index).expect("a sound frame")).collect()
}

fn matches_its_reference(name: &str, prompt: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Folder::new(folder.path());
    let request = Request { seconds: 0.1, seed: 7, ..Request::new(prompt).sized(Size::new(128, 72)) };
    let scene = analyse(&request, &mut Deaf).expect("a scene");
    generate(&request, &scene, &place, &mut Deaf).expect("pictures");
    interpolate(&request, &place, &mut Deaf).expect("pictures");
    let reference = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.rushes"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(reference.parent().expect("a folder")).expect("a tree to write to");
        std::fs::copy(place.smooth(), &reference).expect("a tree to write to");
    }
    let (made, known) = (frames(&place.smooth()), frames(&reference));
    assert_eq!(made.len(), known.len());
    for (index, (made, known)) in made.iter().zip(&known).enumerate() {
        let likeness = made.psnr(known);
        assert!(likeness >= LIKENESS_MIN, "picture {index} of {name}: {likeness:.1} dB");
    }
}

#[test]
fn a_landscape_looks_as_it_did() {
    matches_its_reference("landscape", "golden sunset over a mountain lake");
}

#[test]
fn northern_lights_look_as_they_did() {
    matches_its_reference("aurora", "aurora over arctic pine forest at night");
}

#[test]
fn a_city_looks_as_it_did() {
    matches_its_reference("city", "neon city at night in the rain");
}

#[test]
fn a_sea_looks_as_it_did() {
    matches_its_reference("sea", "a sailing boat on a stormy sea at dusk");
}

#[test]
fn space_looks_as_it_did() {
    matches_its_reference("space", "a ringed planet in space");
}
