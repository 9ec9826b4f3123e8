//! The desk by itself: what is kept, repeated and dropped.

use protocol::{
    Attempt, CausalId, GenerationId, PipelineName, Timestamp,
    worker::{FailureKind, OfferedStage, RunInputs},
};
use tokio::sync::mpsc;

use super::*;

type Answer = oneshot::Receiver<Result<Sequence, SayError>>;

struct Bed {
    desk: Desk,
    lane: mpsc::Sender<bytes::Bytes>,
    _frames: mpsc::Receiver<bytes::Bytes>,
    now: Instant,
}

fn stage(name: &str) -> StageName {
    StageName::new(name).unwrap()
}

fn lease() -> LeaseId {
    LeaseId::new("1-abc-gen_a").unwrap()
}

fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

impl Bed {
    fn new() -> Self {
        let (lane, frames) = mpsc::channel(4);
        let mut bed = Self { desk: Desk::default(), lane, _frames: frames, now: Instant::now() };
        bed.welcome(Vec::new());
        bed
    }

    fn receive(&mut self, message: ServerMessage) -> Vec<Todo> {
        self.desk.receive(message, &self.lane)
    }

    fn welcome(&mut self, leases: Vec<LeaseAnswer>) {
        self.receive(ServerMessage::Welcome { heartbeat_ms: 2_000, lease_ms: 30_000, clock: Timestamp(0), leases });
    }

    fn resume(&mut self, result: Resumption) {
        let handle = (result == Resumption::Resumed).then_some(Handle(7));
        self.welcome(vec![LeaseAnswer { lease: lease(), handle, result, cancel: false }]);
    }

    /// A run of two stages, granted.
    fn granted(&mut self) -> Arc<Shared> {
        let offered = |name| OfferedStage { name: stage(name), keep: false, timeout_ms: 1_000 };
        let offer = Offer {
            id: OfferId::new("off_1").unwrap(),
            generation: GenerationId::new("gen_a").unwrap(),
            pipeline: PipelineName::new("video").unwrap(),
            version: 1,
            stages: vec![offered("one"), offered("two")],
            attempt: Attempt(1),
            inputs: RunInputs::default(),
            checkpoint: None,
            causal_id: CausalId::new("c").unwrap(),
            traceparent: None,
            tracestate: None,
        };
        let id = offer.id.clone();
        self.desk.answer_offer(offer, Ok(()));
        assert!(matches!(self.next(), Some(WorkerMessage::Accept { .. })));
        let deadlines = Deadlines { lease_ms: 1, stall_ms: 1, stage_ms: 1 };
        let todos = self.receive(ServerMessage::Granted {
            offer: id,
            lease: lease(),
            fence: Fence(1),
            handle: Handle(1),
            deadlines,
        });
        match todos.into_iter().next() {
            Some(Todo::Start(shared)) => shared,
            other => panic!("not started: {other:?}"),
        }
    }

    fn next(&mut self) -> Option<WorkerMessage> {
        self.desk.next(self.now)
    }

    fn say(&mut self, event: &str, what: RunEvent) -> Answer {
        let (answer, answered) = oneshot::channel();
        let message = WorkerMessage::Event { lease: lease(), event_id: id(event), what };
        self.desk.say(Saying { lease: lease(), event_id: id(event), message, answer });
        answered
    }

    fn log(&mut self, event: &str) -> Answer {
        self.say(event, RunEvent::Log { message: "hello".to_owned(), metadata: None })
    }

    fn ack(&mut self, event: &str) {
        self.receive(ServerMessage::Ack { event_id: id(event), sequence: Sequence(5) });
    }

    fn refuse(&mut self, event: &str, code: ErrorCode) {
        self.receive(ServerMessage::Refused { event_id: id(event), code, message: String::new() });
    }
}

fn said(message: Option<WorkerMessage>) -> String {
    match message {
        Some(
            WorkerMessage::Event { event_id, .. }
            | WorkerMessage::Done { event_id, .. }
            | WorkerMessage::Fail { event_id, .. }
            | WorkerMessage::HandBack { event_id, .. },
        ) => event_id.to_string(),
        Some(WorkerMessage::Progress { stage, progress, .. }) => format!("{stage} {progress}"),
        other => format!("{other:?}"),
    }
}

fn progress(run: &Shared, name: &str, percent: f64) {
    assert!(run.hold(Progress { stage: stage(name), percent, message: None, metadata: None }));
}

#[test]
fn what_was_not_acknowledged_is_said_again_under_the_same_id_and_in_order() {
    let mut bed = Bed::new();
    bed.granted();
    let mut first = bed.log("e1");
    let mut second = bed.log("e2");
    assert_eq!(said(bed.next()), "e1");
    assert_eq!(said(bed.next()), "e2");
    bed.ack("e1");
    assert_eq!(first.try_recv(), Ok(Ok(Sequence(5))));
    bed.desk.disconnected();
    assert_eq!(bed.next(), None, "nothing is said before the welcome");
    let _third = bed.log("e3");
    assert_eq!(bed.desk.leases().len(), 1);
    bed.resume(Resumption::Resumed);
    assert_eq!(said(bed.next()), "e2");
    assert_eq!(said(bed.next()), "e3");
    assert_eq!(bed.next(), None);
    bed.ack("e2");
    assert_eq!(second.try_recv(), Ok(Ok(Sequence(5))));
}

#[test]
fn a_lost_lease_stops_the_run_and_takes_what_waited_along() {
    let mut bed = Bed::new();
    let run = bed.granted();
    let mut waiting = bed.log("e1");
    bed.desk.disconnected();
    bed.resume(Resumption::LeaseLost);
    assert!(run.cancelled.is_cancelled());
    assert_eq!(run.stopped_for(), Some(Stop::LeaseLost));
    assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(bed.next(), None);
    assert!(bed.desk.leases().is_empty(), "a lost lease is not named again");
    bed.desk.finished(&lease(), Ok(Outputs::new()), id("end"));
    assert_eq!(bed.next(), None, "nobody hears the end of a lost run");
    assert_eq!(bed.desk.working(), 0);
}

#[test]
fn a_refusal_for_the_lease_is_a_lost_lease() {
    let mut bed = Bed::new();
    let run = bed.granted();
    let mut waiting = bed.log("e1");
    bed.next();
    bed.refuse("e1", ErrorCode::LeaseLost);
    assert_eq!(waiting.try_recv(), Ok(Err(SayError::Over)));
    assert_eq!(run.stopped_for(), Some(Stop::LeaseLost));
}

#[test]
fn another_refusal_is_the_callers_and_the_run_goes_on() {
    let mut bed = Bed::new();
    let run = bed.granted();
    let mut waiting = bed.log("e1");
    bed.next();
    bed.refuse("e1", ErrorCode::TooLarge);
    assert!(matches!(waiting.try_recv(), Ok(Err(SayError::Refused { code: ErrorCode::TooLarge, .. }))));
    assert!(!run.cancelled.is_cancelled());
}

#[test]
fn the_end_is_repeated_until_it_is_answered_even_when_the_lease_is_gone() {
    let mut bed = Bed::new();
    bed.granted();
    bed.desk.finished(&lease(), Ok(Outputs::new()), id("end"));
    assert_eq!(said(bed.next()), "end");
    bed.desk.disconnected();
    assert_eq!(bed.desk.leases().len(), 1, "the lease is held until its end is known");
    bed.resume(Resumption::LeaseLost);
    assert_eq!(said(bed.next()), "end");
    assert!(!bed.desk.is_empty());
    bed.ack("end");
    assert!(bed.desk.leases().is_empty());
}

#[test]
fn what_was_said_before_the_end_goes_before_it() {
    let mut bed = Bed::new();
    bed.granted();
    let _waiting = bed.log("e1");
    let failure = Failure::new(FailureKind::Fatal, "no");
    bed.desk.finished(&lease(), Err(failure), id("end"));
    assert_eq!(said(bed.next()), "e1");
    assert!(matches!(bed.next(), Some(WorkerMessage::Fail { kind: FailureKind::Fatal, .. })));
}

#[test]
fn progress_waits_for_its_stage_and_is_forgotten_after_it() {
    let mut bed = Bed::new();
    let run = bed.granted();
    progress(&run, "two", 10.0);
    assert_eq!(bed.next(), None, "stage one has not ended");
    let _waiting = bed.say("e1", RunEvent::StageCompleted { stage: stage("one"), outputs: None });
    assert_eq!(said(bed.next()), "e1");
    assert_eq!(said(bed.next()), "two 10");
    bed.now += PROGRESS_INTERVAL;
    progress(&run, "one", 99.0);
    assert_eq!(bed.next(), None);
    assert!(run.progress.lock().is_empty());
    // The edge may not have arrived: on the next connection progress waits behind it again.
    bed.desk.disconnected();
    progress(&run, "two", 20.0);
    bed.resume(Resumption::Resumed);
    assert_eq!(said(bed.next()), "e1");
    assert_eq!(said(bed.next()), "two 20");
}

/// A stage of few pictures ends before the last of them had its turn, and the next one has begun.
#[test]
fn the_last_progress_of_a_stage_is_said_before_its_end() {
    let mut bed = Bed::new();
    let run = bed.granted();
    progress(&run, "one", 60.0);
    assert_eq!(said(bed.next()), "one 60");
    progress(&run, "one", 100.0);
    progress(&run, "two", 10.0);
    assert_eq!(bed.next(), None, "not its time");
    let _waiting = bed.say("e1", RunEvent::StageCompleted { stage: stage("one"), outputs: None });
    assert_eq!(said(bed.next()), "one 100");
    assert_eq!(said(bed.next()), "e1");
    assert_eq!(bed.next(), None, "not its time");
    bed.desk.finished(&lease(), Ok(Outputs::new()), id("end"));
    assert_eq!(said(bed.next()), "two 10");
    assert_eq!(said(bed.next()), "end");
    assert_eq!(bed.next(), None);
}

#[test]
fn progress_that_waits_for_another_stage_wakes_nobody() {
    let mut bed = Bed::new();
    let run = bed.granted();
    progress(&run, "one", 1.0);
    assert_eq!(said(bed.next()), "one 1");
    progress(&run, "two", 1.0);
    bed.now += PROGRESS_INTERVAL * 2;
    assert_eq!((bed.next(), bed.desk.next_at()), (None, None));
}

#[test]
fn progress_is_said_at_most_ten_times_a_second_and_the_latest_wins() {
    let mut bed = Bed::new();
    let run = bed.granted();
    progress(&run, "one", 1.0);
    assert_eq!(said(bed.next()), "one 1");
    progress(&run, "one", 2.0);
    progress(&run, "one", 3.0);
    assert_eq!(bed.next(), None);
    assert_eq!(bed.desk.next_at(), Some(bed.now + PROGRESS_INTERVAL));
    bed.now += PROGRESS_INTERVAL;
    assert_eq!(said(bed.next()), "one 3");
    assert_eq!(bed.desk.next_at(), None);
}

#[test]
fn a_cancel_reaches_the_run_by_message_and_by_welcome() {
    let mut bed = Bed::new();
    let run = bed.granted();
    bed.receive(ServerMessage::Cancel { lease: lease(), reason: "enough".to_owned(), grace_ms: 1 });
    assert_eq!(run.stopped_for(), Some(Stop::Cancelled { reason: "enough".to_owned() }));

    let mut bed = Bed::new();
    let run = bed.granted();
    bed.desk.disconnected();
    bed.welcome(vec![LeaseAnswer {
        lease: lease(),
        handle: Some(Handle(2)),
        result: Resumption::Resumed,
        cancel: true,
    }]);
    assert!(run.cancelled.is_cancelled());
}

#[test]
fn a_draining_worker_hands_back_what_it_gives_up_and_says_done_of_what_it_finished() {
    let mut bed = Bed::new();
    let run = bed.granted();
    bed.desk.draining = true;
    run.stop(Stop::Draining);
    assert_eq!(bed.next(), Some(WorkerMessage::Drain));
    bed.desk.finished(&lease(), Err(Failure::cancelled()), id("end"));
    assert!(matches!(bed.next(), Some(WorkerMessage::HandBack { .. })));
    assert!(!bed.desk.is_empty(), "the hand-back is not acknowledged");
    bed.ack("end");
    assert!(bed.desk.is_empty());

    let mut bed = Bed::new();
    let run = bed.granted();
    run.stop(Stop::Draining);
    bed.desk.finished(&lease(), Ok(Outputs::new()), id("end"));
    assert!(matches!(bed.next(), Some(WorkerMessage::Done { .. })));
}

#[test]
fn who_looks_is_forgotten_with_the_connection() {
    let mut bed = Bed::new();
    let run = bed.granted();
    let full = Some(protocol::worker::Demand { max_fps: 12, max_width: 854, every: true });
    bed.receive(ServerMessage::Wanted { lease: lease(), full, tile: None });
    assert_eq!(run.wanted.borrow().full, full);
    bed.desk.disconnected();
    assert_eq!(*run.wanted.borrow(), Wanted::default());
    assert!(run.lane.lock().is_none());
    bed.resume(Resumption::Resumed);
    assert_eq!(run.lane.lock().as_ref().map(|lane| lane.handle), Some(Handle(7)));
}

#[test]
fn runs_wait_when_too_much_waits_for_an_answer() {
    let mut bed = Bed::new();
    bed.granted();
    let answers: Vec<_> = (0..PENDING_MAX).map(|n| bed.log(&format!("e{n}"))).collect();
    assert!(!bed.desk.has_room());
    bed.next();
    bed.ack("e0");
    assert!(bed.desk.has_room());
    drop(answers);
}
