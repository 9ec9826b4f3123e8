//! Drives a fuzz body on stable Rust: takes the inputs of a committed corpus, mutates them at random for a bounded time, and
//! fails with the seed and the input when one makes the body panic or take too long. What a body checks is its crate's.
//!
//! `SEED=<number>` plays a run again, `FUZZ_SECONDS=<number>` makes each body run longer. Included by the test of each crate that
//! has bodies.

use std::{
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// Each body for so long, in seconds, where nobody says otherwise: some ten thousand inputs.
const SECONDS: u64 = 1;
/// No input may take longer; the longest are some kilobytes.
const INPUT_MAX: Duration = Duration::from_secs(5);
/// Inputs do not grow beyond this: longer ones take time and reach nothing new.
const BYTES_MAX: usize = 16 * 1024;
/// Mutations of one input at most.
const MUTATIONS_MAX: usize = 8;
/// Bytes and words on which parsers turn.
const TURNS: [&[u8]; 24] = [
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"NaN",
    b"null",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[",
    b":",
    b",",
    b"=",
    b"\r\n",
    b"..",
    b"\xc3\x28",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).expect("below a usize")
    }
}

/// Runs `body` over mutations of the corpus `name` until its time is over.
///
/// # Panics
/// With seed and input, when the body does or takes too long.
pub(crate) fn run(name: &str, body: fn(&[u8])) {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => RandomState::new().hash_one(name),
    };
    let seconds = std::env::var("FUZZ_SECONDS").map_or(SECONDS, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    println!("{name}: SEED={seed}");
    let corpus = corpus(name);
    let mut random = Random(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    // As they are, first.
    for input in &corpus {
        check(name, seed, input, body);
    }
    let mut inputs = corpus.len();
    while Instant::now() < until {
        let input = mutated(&corpus, &mut random);
        check(name, seed, &input, body);
        inputs += 1;
    }
    println!("{name}: {inputs} inputs");
}

fn check(name: &str, seed: u64, input: &[u8], body: fn(&[u8])) {
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| body(input)));
    let shown = input.escape_ascii();
    assert!(ended.is_ok(), "{name}: SEED={seed}: panicked at b\"{shown}\"");
    assert!(began.elapsed() < INPUT_MAX, "{name}: SEED={seed}: {:?} for b\"{shown}\"", began.elapsed());
}

/// The files of a folder; a file is one input.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a folder can be listed").path()).collect();
    // The same order everywhere, so that a seed means the same.
    paths.sort();
    let inputs: Vec<_> = paths.iter().map(|path| std::fs::read(path).expect("a file can be read")).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(MUTATIONS_MAX) {
        let (at, other) = (random.below(input.len() + 1), random.below(input.len() + 1));
        let (from, to) = (at.min(other), at.max(other));
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(from..to)),
            4 => {
                let part = input[from..to].to_vec();
                input.splice(at..at, part);
            }
            5 => {
                let turn = TURNS[random.below(TURNS.len())];
                input.splice(at..at, turn.iter().copied());
            }
            6 => {
                let turn = TURNS[random.below(TURNS.len())];
                let end = (at + turn.len()).min(input.len());
                input.splice(at..end, turn.iter().copied());
            }
            _ => {
                let another = &corpus[random.below(corpus.len())];
                let part = &another[random.below(another.len() + 1)..];
                input.splice(from..to, part.iter().copied());
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}
