//! Timelines of histories that the engine made: told ones, and random ones whose times must add up.

use std::sync::Arc;

use engine::{Action, Command, Context, Grant, Holds, Loss, Request, Submit, decide};
use proptest::prelude::*;
use protocol::{
    CausalId, CommandId, GenerationId, LeaseId, Pipeline, State as Stand, TenantId, UserId, WorkerId,
    worker::FailureKind,
};

use super::*;

/// A generation that is asked things, and what came of it.
struct Story {
    state: Option<State>,
    events: Vec<Event>,
    now: Timestamp,
    holds: Holds,
}

impl Story {
    fn begin(pipeline: Pipeline) -> Self {
        let mut story = Self { state: None, events: Vec::new(), now: Timestamp(1_000_000), holds: Holds::default() };
        story.ask(Action::Submit(Box::new(Submit {
            generation: GenerationId::new("gen_a").unwrap(),
            owner: UserId::new("ada").unwrap(),
            tenant: TenantId::fallback(),
            causal: CausalId::new("order-7").unwrap(),
            request: Request {
                trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
                ..Request::of(Arc::new(pipeline))
            },
        })));
        story
    }

    /// Asks; what is refused changes nothing.
    fn ask(&mut self, action: Action) -> bool {
        let id = CommandId::new(format!("c{}", self.events.len())).unwrap();
        let context = Context { holds: Some(&self.holds), ..Context::default() };
        let decided = decide(self.state.as_ref(), &context, &Command { id, action }, self.now);
        let Ok(decided) = decided else { return false };
        self.state = Some(decided.after);
        self.events.extend(decided.events);
        true
    }

    fn grant(&mut self, worker: &str) -> bool {
        let fence = self.state.as_ref().map_or(1, |state| state.fence.0 + 1);
        let generation = GenerationId::new("gen_a").unwrap();
        self.ask(Action::Grant(Grant {
            lease: LeaseId::generate(protocol::Fence(fence), [7; 16], &generation),
            worker: WorkerId::new(worker).unwrap(),
            instance: "1".into(),
            node: "node".into(),
            bearer: UserId::new("workers").unwrap(),
            charged_ms: 0,
        }))
    }

    /// Says something under the latest right.
    fn say(&mut self, say: impl FnOnce(LeaseId, protocol::Fence) -> Action) -> bool {
        let held = self.state.as_ref().and_then(|state| Some((state.holder.as_ref()?.lease.clone(), state.fence)));
        held.is_some_and(|(lease, fence)| self.ask(say(lease, fence)))
    }

    fn complete(&mut self, stage: &str) -> bool {
        let stage = StageName::new(stage).unwrap();
        self.say(|lease, fence| Action::StageCompleted { lease, fence, stage, outputs: None })
    }

    fn fail(&mut self) -> bool {
        self.say(|lease, fence| Action::Fail {
            lease,
            fence,
            kind: FailureKind::Retryable,
            code: "NO_LUCK".into(),
            message: "the dice fell badly".into(),
        })
    }

    /// An operator pauses the pipeline, or lets it go on, and who waits is told.
    fn pause(&mut self, paused: bool) -> bool {
        self.holds.pause(&three().name, paused);
        self.ask(if paused { Action::Park } else { Action::Unpark })
    }

    fn done(&mut self) -> bool {
        self.say(|lease, fence| Action::Done { lease, fence, outputs: Default::default() })
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
    }

    fn timeline(&self) -> Timeline {
        let mut fold = Fold::default();
        self.events.iter().for_each(|event| fold.add(event));
        fold.finish(self.now).unwrap()
    }
}

/// Two stages of one pool and one of another.
fn three() -> Pipeline {
    let mut pipeline = Pipeline::video();
    pipeline.stages.truncate(3);
    pipeline.stages[2].pool = "cpu".parse().unwrap();
    pipeline
}

fn kinds(timeline: &Timeline) -> Vec<String> {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    timeline
        .spans
        .iter()
        .map(|span| {
            let json = serde_json::to_value(span).unwrap();
            let what = match &span.what {
                Activity::Wait { .. } => word(json["cause"].clone()),
                _ => format!("{} {}", word(json["kind"].clone()), word(json["end"].clone())),
            };
            format!("{what} {}", span.duration_ms)
        })
        .collect()
}

#[test]
fn a_story_with_a_failure_and_a_hand_back_is_told_span_by_span() {
    let mut story = Story::begin(three());
    story.wait(400);
    assert!(story.grant("w1"));
    story.wait(1_000);
    assert!(story.complete("prompt_analysis"));
    story.wait(250);
    assert!(story.fail());
    story.wait(10_000);
    assert!(story.grant("w2"));
    story.wait(50);
    assert!(story.say(|lease, fence| Action::HandBack { lease, fence }));
    story.wait(5);
    assert!(story.grant("w3"));
    story.wait(3_000);
    assert!(story.done());
    story.wait(7);
    assert!(story.grant("w4"));
    let timeline = story.timeline();
    assert_eq!(
        kinds(&timeline),
        [
            "submitted 400",
            "run failed 1250",
            "retry 10000",
            "run handed_back 50",
            "handed_back 5",
            "run completed 3000",
            "next_run 7",
            "run running 0"
        ]
    );
    story.wait(500);
    assert!(story.done());
    story.wait(9_999);
    let timeline = story.timeline();
    assert_eq!((timeline.state, timeline.failures), (Stand::Complete, 1));
    assert_eq!((timeline.total_ms, timeline.waiting_ms, timeline.running_ms), (15_212, 10_412, 4_800));
    assert!((timeline.worker_seconds - 4.8).abs() < 1e-9);
    assert_eq!(timeline.ended_at, Some(Timestamp(1_015_212)), "what passed after the end is not counted");
    assert_eq!(timeline.traceparent.as_ref().unwrap().trace_id(), "0af7651916cd43dd8448eb211c80319c");
    let Activity::Run { stages, worker, .. } = &timeline.spans[1].what else { panic!("{timeline:#?}") };
    assert_eq!(worker.as_str(), "w1");
    let told: Vec<_> = stages.iter().map(|stage| (stage.stage.as_str(), stage.duration_ms, stage.end)).collect();
    assert_eq!(told, [("prompt_analysis", 1_000, SpanEnd::Completed), ("generating_frames", 250, SpanEnd::Failed)]);
    let failure = stages[1].failure.as_ref().unwrap();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("NO_LUCK", "the dice fell badly"));
    let Activity::Wait { stage, pool, .. } = &timeline.spans[6].what else { panic!("{timeline:#?}") };
    assert_eq!((stage.as_ref().unwrap().as_str(), pool.as_ref().unwrap().as_str()), ("interpolating", "cpu"));
}

#[test]
fn parks_and_the_clean_up_are_waits_and_runs_of_their_own() {
    let mut pipeline = three();
    pipeline.on_failed = Some(Box::new(protocol::Stage::new("sweep".parse().unwrap())));
    let mut story = Story::begin(pipeline);
    story.wait(100);
    assert!(story.pause(true));
    story.wait(30_000);
    assert!(!story.grant("w1"), "it is held back");
    assert!(story.pause(false));
    story.wait(20);
    assert!(story.grant("w1"));
    story.wait(1_000);
    assert!(story.ask(Action::Cancel { reason: String::new() }));
    story.wait(50);
    assert!(story.say(|lease, fence| Action::HandBack { lease, fence }));
    story.wait(70);
    assert!(story.grant("w2"), "the clean-up");
    story.wait(300);
    assert!(story.done());
    story.wait(9_999);
    let timeline = story.timeline();
    assert_eq!(
        kinds(&timeline),
        ["submitted 100", "parked 30000", "next_run 20", "run cancelled 1050", "clean_up 70", "run completed 300"]
    );
    assert_eq!((timeline.state, timeline.waiting_ms, timeline.running_ms), (Stand::Cancelled, 30_190, 1_350));
    check(&timeline).unwrap();
}

#[test]
fn what_lasts_is_measured_up_to_the_look() {
    let mut story = Story::begin(three());
    story.wait(100);
    assert_eq!(kinds(&story.timeline()), ["submitted 100"]);
    assert!(story.grant("w1"));
    story.wait(2_000);
    let timeline = story.timeline();
    assert_eq!(kinds(&timeline), ["submitted 100", "run running 2000"]);
    assert_eq!((timeline.ended_at, timeline.spans[1].until, timeline.total_ms), (None, None, 2_100));
    assert!(Fold::default().finish(Timestamp(1)).is_none());
}

#[test]
fn a_producer_outside_has_one_span() {
    let mut story = Story::begin(Pipeline::external());
    story.wait(700);
    let report = |status: &str| {
        Action::Report(Box::new(protocol::http::Report {
            event_id: CommandId::new(status).unwrap(),
            status: status.into(),
            progress: None,
            message: None,
            metadata: None,
        }))
    };
    assert!(story.ask(report("encoding")) && story.ask(report("complete")));
    let timeline = story.timeline();
    assert_eq!((kinds(&timeline), timeline.worker_seconds), (vec!["external completed 700".into()], 0.0));
}

#[test]
fn more_spans_than_anybody_reads_are_counted_and_not_listed() {
    let mut story = Story::begin(three());
    for _ in 0..600 {
        story.wait(1);
        assert!(story.grant("w"));
        story.wait(2);
        assert!(story.say(|lease, fence| Action::HandBack { lease, fence }));
    }
    let timeline = story.timeline();
    assert_eq!((timeline.spans.len(), timeline.omitted), (SPANS_MAX, 201));
    assert_eq!((timeline.waiting_ms, timeline.running_ms), (600, 1_200));
}

fn check(timeline: &Timeline) -> Result<(), TestCaseError> {
    let spans: u64 = timeline.spans.iter().map(|span| span.duration_ms).sum();
    prop_assert_eq!(spans, timeline.total_ms, "spans add up to the whole");
    prop_assert_eq!(timeline.waiting_ms + timeline.running_ms, timeline.total_ms);
    let mut at = timeline.created_at;
    let mut cost = 0.0;
    for (n, span) in timeline.spans.iter().enumerate() {
        prop_assert_eq!(span.from, at, "no gap before span {}", n);
        at = span.from.plus(span.duration_ms);
        prop_assert_eq!(span.until, (n + 1 < timeline.spans.len() || timeline.ended_at.is_some()).then_some(at));
        let Activity::Run { stages, worker_seconds, .. } = &span.what else { continue };
        cost += worker_seconds;
        prop_assert!((worker_seconds - span.duration_ms as f64 / 1_000.0).abs() < 1e-9);
        prop_assert!(!stages.is_empty(), "a grant begins a stage");
        let mut within = span.from;
        for stage in stages {
            prop_assert!(stage.from >= within && stage.from.plus(stage.duration_ms) <= at, "{:?}", stage);
            within = stage.from.plus(stage.duration_ms);
            prop_assert!(span.until.is_none() || stage.end != SpanEnd::Running, "{:?}", stage);
        }
    }
    prop_assert!((cost - timeline.worker_seconds).abs() < 1e-6);
    let text = serde_json::to_string(timeline).unwrap();
    prop_assert_eq!(&serde_json::from_str::<Timeline>(&text).unwrap(), timeline, "it reads as it is written");
    Ok(())
}

proptest! {
    #[test]
    fn the_times_of_any_history_add_up(steps in prop::collection::vec((0..10_u8, 0..90_000_u64, 0..3_usize), 1..60)) {
        let tidy = protocol::Stage::new("sweep".parse().unwrap());
        let mut story = Story::begin(Pipeline { on_failed: Some(Box::new(tidy)), ..three() });
        for (step, ms, stage) in steps {
            let name = three().stages[stage].name.clone();
            match step {
                0 | 1 => {
                    story.wait(ms);
                    story.grant("w")
                }
                2 => story.complete(name.as_str()),
                3 => story.fail(),
                4 => story.done(),
                5 => story.say(|lease, fence| Action::HandBack { lease, fence }),
                6 => story.say(|lease, fence| Action::Progress {
                    lease, fence, stage: name, progress: (ms / 1_000) as f64, message: None, metadata: None,
                }),
                7 if ms < 5_000 => story.ask(Action::Cancel { reason: String::new() }),
                7 => {
                    let fence = story.state.as_ref().unwrap().fence;
                    story.ask(Action::Lose { fence, loss: Loss::Stalled })
                }
                8 => story.pause(ms % 2 == 0),
                // The clock was set back over a restart.
                _ => {
                    story.now = Timestamp(story.now.0 - ms.min(1_000));
                    false
                }
            };
            story.wait(ms / 7);
            check(&story.timeline())?;
        }
    }
}
