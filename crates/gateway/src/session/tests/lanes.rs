//! Two lanes: events lossless, frames conflated.

use protocol::{
    EventType::{Queued, StageProgress},
    limits,
};

use super::bench::{Bench, Said};
use crate::session::Dialect;

fn watching(frames: &str) -> Bench {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    bench.say(&format!(r#"{{"type":"subscribe","generationId":"gen_abc","frames":{frames}}}"#));
    assert_eq!(bench.gists(), ["status_update 1", "subscribed"]);
    bench
}

fn indices(said: &[Said]) -> Vec<u32> {
    let frames = said.iter().filter_map(|said| match said {
        Said::Frame(bytes) => Some(protocol::frame::Header::read(bytes).unwrap().0.index.0),
        _ => None,
    });
    frames.collect()
}

#[test]
fn the_newest_frame_replaces_those_before_it() {
    let mut bench = watching("{}");
    for index in 0..10 {
        bench.frame("gen_abc", index);
    }
    assert_eq!(indices(&bench.heard()), [9]);
    // Twelve a second, and no more.
    bench.frame("gen_abc", 10);
    assert!(bench.heard().is_empty());
    assert!(bench.session.deadline(true) <= bench.now.plus(1_000 / 12));
    // A full socket is not asked again and again.
    assert!(bench.session.deadline(false) > bench.now.plus(10_000));
    bench.later(1_000);
    assert_eq!(indices(&bench.heard()), [10]);
}

#[test]
fn events_go_before_a_frame_and_a_gathering_holds_one() {
    let mut bench = watching(r#"{"delivery":"all"}"#);
    for index in 0..3 {
        bench.frame("gen_abc", index);
    }
    bench.commit("gen_abc", &[StageProgress]);
    let first: Vec<String> = bench.gather().iter().map(Said::gist).collect();
    assert_eq!(first, ["status_update 2", "frame"]);
    bench.commit("gen_abc", &[StageProgress]);
    let second: Vec<String> = bench.gather().iter().map(Said::gist).collect();
    assert_eq!(second, ["status_update 3", "frame"]);
}

#[test]
fn whoever_wants_all_frames_gets_each_and_slows_the_generator() {
    let mut bench = watching(r#"{"delivery":"all"}"#);
    let tail = bench.node.hub.tail(&"gen_abc".parse().unwrap()).unwrap();
    assert!(tail.interest().slow <= 1.0);
    let full = u32::try_from(limits::TAIL_FRAMES_MAX).unwrap();
    for index in 0..full {
        bench.frame("gen_abc", index);
    }
    assert!(tail.interest().slow > 1.0, "a full window slows");
    assert_eq!(indices(&bench.heard()), (0..full).collect::<Vec<_>>());
    assert!(tail.interest().slow <= 1.0, "an empty one does not");
}

#[test]
fn whoever_wants_all_frames_gets_each_revision_of_each_picture() {
    let mut bench = watching(r#"{"delivery":"all"}"#);
    let drawn: Vec<_> = (0..3).flat_map(|revision| (0..4).map(move |index| (index, revision))).collect();
    for (index, revision) in &drawn {
        bench.revision("gen_abc", *index, *revision);
    }
    let said = bench.heard();
    let seen = said.iter().filter_map(|said| match said {
        Said::Frame(bytes) => {
            let header = protocol::frame::Header::read(bytes).unwrap().0;
            Some((header.index.0, header.revision.0))
        }
        _ => None,
    });
    assert_eq!(seen.collect::<Vec<_>>(), drawn);
}

#[test]
fn what_the_tail_dropped_counts_as_dropped() {
    let mut bench = watching(r#"{"delivery":"all"}"#);
    for index in 0..100 {
        bench.frame("gen_abc", index);
    }
    bench.later(1);
    bench.later(10_000);
    let said = bench.heard();
    assert!(matches!(&said[0], Said::Json(value) if value["dropped"] == 99), "{:?}", said[0]);
    assert_eq!(indices(&said), [99]);
}

#[test]
fn ten_seconds_without_progress_fall_back_to_the_newest() {
    let mut bench = watching(r#"{"delivery":"all"}"#);
    for index in 0..5 {
        bench.frame("gen_abc", index);
    }
    // The socket takes nothing: the session is looked at, not gathered.
    bench.later(1);
    bench.later(9_999);
    bench.later(1);
    let said = bench.heard();
    assert_eq!(said[0].gist(), "backpressure");
    assert!(matches!(&said[0], Said::Json(value) if value["dropped"] == 4 && value["reason"] == "frames"));
    assert_eq!(indices(&said), [4]);
}

#[test]
fn frames_come_with_the_id_of_their_generation() {
    let mut bench = watching("{}");
    bench.frame("gen_abc", 1);
    let said = bench.heard();
    let Said::Frame(bytes) = &said[0] else { panic!("no frame") };
    let (header, picture) = protocol::frame::Header::read(bytes).unwrap();
    assert_eq!(header.generation.unwrap().as_str(), "gen_abc");
    assert!(picture.starts_with(b"RIFF"));
}
