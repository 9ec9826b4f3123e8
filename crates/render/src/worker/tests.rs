//! The worker glue by itself: what it makes of offers, and what it leaves behind.

use sdk::protocol::{
    Attempt, CausalId, GenerationId, OfferId, PipelineName,
    worker::{Demand, FailureKind, OfferedStage, RunInputs},
};
use serde_json::{Value, json};

use super::*;
use crate::{Encoder, Size};

fn offer(stages: &[&str], input: Value) -> Offer {
    let Value::Object(input) = input else { panic!("input is an object") };
    let stage = |name: &&str| OfferedStage { name: StageName::new(*name).unwrap(), keep: true, timeout_ms: 1_000 };
    Offer {
        id: OfferId::new("off_1").unwrap(),
        generation: GenerationId::new("gen_a").unwrap(),
        pipeline: PipelineName::new("video").unwrap(),
        version: 1,
        stages: stages.iter().map(stage).collect(),
        attempt: Attempt(1),
        inputs: RunInputs { input, ..RunInputs::default() },
        checkpoint: None,
        causal_id: CausalId::new("c").unwrap(),
        traceparent: None,
        tracestate: None,
    }
}

#[test]
fn only_runs_of_known_stages_in_their_order_are_taken() {
    let taken = |names: &[&str]| stages(&offer(names, json!({}))).map(|stages| stages.len());
    assert_eq!(taken(&["prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding"]), Some(5));
    assert_eq!(taken(&["interpolating", "upscaling"]), Some(2));
    assert_eq!(taken(&["upscaling", "interpolating"]), None);
    assert_eq!(taken(&["face_swap"]), None);
    assert_eq!(taken(&[]), None);
}

#[test]
fn what_was_asked_for_becomes_the_request() {
    let input = json!({"prompt": "a lake", "width": 320, "height": 180, "fps": 12.0, "seconds": 0.5, "seed": 7});
    let request = input::request(&offer(&[], input), 2).unwrap();
    assert_eq!((request.output, request.fps, request.seed, request.threads), (Size::new(320, 180), 12, 7, 2));
    assert!((request.seconds - 0.5).abs() < 1e-9);
    let square = input::request(&offer(&[], json!({"prompt": "x", "width": 427})), 1).unwrap();
    assert_eq!(square.output, Size::new(427, 240));
}

#[test]
fn an_encoder_may_be_asked_for_by_name() {
    let asked = |input: Value| input::request(&offer(&[], input), 1).map(|request| request.encoder);
    assert_eq!(asked(json!({"prompt": "x"})).unwrap(), Encoder::OpenH264);
    for encoder in Encoder::ALL {
        assert_eq!(asked(json!({"prompt": "x", "encoder": encoder.name()})).unwrap(), encoder);
    }
    for wrong in [json!("vp9"), json!(7), json!(null)] {
        let failure = asked(json!({"prompt": "x", "encoder": wrong})).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidInput);
        assert!(failure.message.contains("use one of openh264, x264, svt-av1"), "{failure}");
    }
}

#[test]
fn without_a_seed_every_attempt_draws_the_same() {
    let one = input::request(&offer(&[], json!({"prompt": "x"})), 1).unwrap();
    let two = input::request(&offer(&[], json!({"prompt": "x"})), 1).unwrap();
    assert_eq!(one.seed, two.seed);
}

#[test]
fn what_cannot_be_drawn_is_the_clients_fault() {
    for input in [json!({"prompt": "x", "seed": -1}), json!({"prompt": "x", "fps": "fast"}), json!({"image": "upl_1"})]
    {
        let failure = input::request(&offer(&[], input.clone()), 1).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidInput, "{input}");
    }
    let empty = input::request(&offer(&[], json!({})), 1).unwrap();
    let refused = failure(Error::from(empty.plan().unwrap_err()));
    assert_eq!(refused.kind, FailureKind::InvalidInput);
    assert!(refused.message.contains("prompt is empty"), "{refused}");
}

#[test]
fn errors_say_whether_another_try_is_worth_it() {
    let kind = |error| failure(error).kind;
    assert_eq!(kind(Error::Disk(std::io::Error::other("full"))), FailureKind::Retryable);
    assert_eq!(kind(Error::NoEncoder), FailureKind::Fatal);
    let missing = failure(Error::Missing { what: "ffmpeg is not installed".into() });
    assert_eq!(missing.kind, FailureKind::Fatal, "another try on this machine meets the same");
    assert_eq!(missing.message, "ffmpeg is not installed: install it, or use the encoder openh264");
    assert_eq!(failure(Error::Cancelled), Failure::cancelled());
    assert!(failure(Error::Disk(std::io::Error::other("full"))).message.contains("full"));
}

#[test]
fn previews_are_made_for_the_largest_screen_and_slower_when_it_cannot_follow() {
    let full = Some(Demand { max_fps: 12, max_width: 4_000, every: false });
    let tile = Some(Demand { max_fps: 2, max_width: 192, every: false });
    assert_eq!(bridge::demand(sdk::Wanted::default(), 1.0), None);
    let both = bridge::demand(sdk::Wanted { full, tile }, 1.0).unwrap();
    assert_eq!((both.max_width, both.every), (854, false));
    let slowed = bridge::demand(sdk::Wanted { full, tile }, 4.0).unwrap();
    assert!((slowed.max_fps - 3.0).abs() < 1e-6);
    let small = bridge::demand(sdk::Wanted { full: None, tile }, 1.0).unwrap();
    assert_eq!(small.max_width, 192);
    let fast = Some(Demand { max_fps: 60, max_width: 854, every: false });
    assert!(!bridge::demand(sdk::Wanted { full: fast, tile: None }, 1.0).unwrap().every, "fast is not every");
    let every = Some(Demand { max_fps: 1, max_width: 192, every: true });
    assert!(bridge::demand(sdk::Wanted { full, tile: every }, 1.0).unwrap().every);
}

#[test]
fn a_film_whose_every_picture_is_played_takes_as_much_longer_as_its_requester_does() {
    let pause = |taken_ms, slow| bridge::pause(Duration::from_millis(taken_ms), slow).as_millis();
    assert_eq!(pause(40, 1.0), 0);
    assert_eq!(pause(40, 3.5), 100);
    assert_eq!(pause(40, 0.2), 0, "nobody is too fast");
    assert_eq!((pause(40, 1e9), pause(900, 4.0)), (640, 1_000), "a stall is never made of it");
}
