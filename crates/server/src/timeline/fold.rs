//! A timeline as a fold over events. Pure: the time of looking is an argument.
//!
//! Runs begin and end where the engine's own fold says that somebody holds the generation, so that a fact this file does
//! not know still leaves a timeline without gaps.

use engine::{Event, Fact, Phase, State};
use protocol::{
    Attempt, EventType, StageName, Timestamp,
    timeline::{Activity, Span, SpanEnd, StageFailure, StageSpan, Timeline, WaitCause},
};

/// Spans listed: five hundred tries, more than anybody reads.
const SPANS_MAX: usize = 1_000;

/// A timeline in the making.
#[derive(Debug, Default)]
pub(super) struct Fold {
    state: Option<State>,
    timeline: Option<Timeline>,
    /// What lasts since its `from`.
    open: Option<Span>,
    /// Time of the last event. Clocks that were set back between two starts must not make a span end before it began.
    now: Timestamp,
}

impl Fold {
    /// Takes the next event.
    pub(super) fn add(&mut self, event: &Event) {
        let before = self.state.take();
        self.now = self.now.max(event.show.timestamp);
        if self.timeline.is_none() {
            self.timeline = Some(begin(event));
        }
        let was_held = before.as_ref().and_then(|state| state.holder.as_ref().map(|_| state.fence));
        let was_waiting = matches!(&self.open, Some(Span { what: Activity::Wait { .. }, .. }));
        let after = engine::evolve(before, event);
        let is_held = after.holder.as_ref().map(|_| after.fence);
        if was_held.is_some() && self.is_running() {
            self.note_stage(event);
        }
        let waits_anew = was_waiting && starts_another_wait(event.show.kind);
        if self.open.is_none() || was_held != is_held || after.is_terminal() || waits_anew {
            self.close(end_by(&event.show, after.state_now()));
            if !after.is_terminal() {
                self.open = Some(Span { from: self.now, until: None, duration_ms: 0, what: activity(&after, event) });
            }
        }
        if was_held.is_none() && is_held.is_some() {
            self.note_stage(event);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.state = after.state_now();
            timeline.traceparent.clone_from(&after.trace);
            timeline.tracestate.clone_from(&after.trace_state);
            timeline.retry_of.clone_from(&after.retry_of);
            timeline.ended_at = after.is_terminal().then_some(self.now);
            timeline.failures += u32::from(matches!(event.fact, Fact::StageFailed { burned: true, .. }));
        }
        self.state = Some(after);
    }

    /// The timeline as it is at `now`; `None` of no events.
    pub(super) fn finish(mut self, now: Timestamp) -> Option<Timeline> {
        self.now = self.timeline.as_ref().and_then(|timeline| timeline.ended_at).unwrap_or_else(|| self.now.max(now));
        let lasting = self.open.take().map(|mut span| {
            measure(&mut span, self.now);
            span
        });
        if let Some(span) = lasting {
            self.list(span);
        }
        let mut timeline = self.timeline?;
        timeline.as_of = now;
        timeline.total_ms = self.now.since(timeline.created_at);
        Some(timeline)
    }

    const fn is_running(&self) -> bool {
        matches!(&self.open, Some(Span { what: Activity::Run { .. }, .. }))
    }

    /// Ends what lasts.
    fn close(&mut self, end: SpanEnd) {
        let Some(mut span) = self.open.take() else { return };
        measure(&mut span, self.now);
        span.until = Some(self.now);
        match &mut span.what {
            Activity::Wait { .. } => {}
            Activity::External { end: its } => *its = end,
            Activity::Run { end: its, stages, .. } => {
                *its = end;
                if let Some(stage) = stages.last_mut().filter(|stage| stage.until.is_none()) {
                    stage.until = Some(self.now);
                    stage.end = end;
                }
            }
        }
        self.list(span);
    }

    fn list(&mut self, span: Span) {
        let Some(timeline) = &mut self.timeline else { return };
        match &span.what {
            Activity::Wait { .. } => timeline.waiting_ms += span.duration_ms,
            Activity::External { .. } => timeline.running_ms += span.duration_ms,
            Activity::Run { worker_seconds, .. } => {
                timeline.running_ms += span.duration_ms;
                timeline.worker_seconds += worker_seconds;
            }
        }
        if timeline.spans.len() < SPANS_MAX {
            timeline.spans.push(span);
        } else {
            timeline.omitted += 1;
        }
    }

    /// What an event says of the stages of the run that lasts.
    fn note_stage(&mut self, event: &Event) {
        let now = self.now;
        let Some(Span { what: Activity::Run { stages, .. }, .. }) = &mut self.open else { return };
        match &event.fact {
            Fact::Granted { stage, .. } | Fact::StageStarted { stage } => {
                stages.push(begun(stage, event.show.attempt, now));
            }
            Fact::StageCompleted { stage, .. } => {
                // `done` ends stages that never began on their own.
                if stages.last().is_none_or(|last| last.stage != *stage || last.until.is_some()) {
                    stages.push(begun(stage, event.show.attempt, now));
                }
                end_stage(stages, now, SpanEnd::Completed, None);
            }
            Fact::StageFailed { kind, code, message, .. } => {
                let failure = StageFailure { kind: *kind, code: code.clone(), message: message.clone() };
                end_stage(stages, now, SpanEnd::Failed, Some(failure));
            }
            _ => {}
        }
    }
}

fn begin(event: &Event) -> Timeline {
    let pipeline = match &event.fact {
        Fact::Accepted(request) => format!("{}@{}", request.pipeline.name, request.pipeline.version),
        _ => String::new(),
    };
    let show = &event.show;
    Timeline {
        generation_id: show.generation_id.clone(),
        causal_id: show.causal_id.clone(),
        traceparent: None,
        tracestate: None,
        retry_of: None,
        pipeline,
        state: show.state,
        created_at: show.timestamp,
        ended_at: None,
        as_of: show.timestamp,
        total_ms: 0,
        waiting_ms: 0,
        running_ms: 0,
        worker_seconds: 0.0,
        failures: 0,
        spans: Vec::new(),
        omitted: 0,
    }
}

/// What a generation does that stands like this since `event`.
fn activity(state: &State, event: &Event) -> Activity {
    let stage = state.stage_here();
    let pool = state.pool_here().cloned();
    if let Some(holder) = &state.holder {
        return Activity::Run {
            worker: holder.worker.clone(),
            pool,
            fence: state.fence,
            end: SpanEnd::Running,
            worker_seconds: 0.0,
            stages: Vec::new(),
        };
    }
    if state.phase == Phase::External {
        return Activity::External { end: SpanEnd::Running };
    }
    let cause = match event.show.kind {
        EventType::Queued if event.show.sequence.0 <= 1 => WaitCause::Submitted,
        EventType::RetryScheduled | EventType::StageFailed => WaitCause::Retry,
        EventType::HandedBack => WaitCause::HandedBack,
        EventType::Parked => WaitCause::Parked,
        EventType::CleanUpStarted => WaitCause::CleanUp,
        _ => WaitCause::NextRun,
    };
    let not_before = Some(state.not_before).filter(|at| *at > event.show.timestamp);
    Activity::Wait { cause, stage: stage.map(|stage| stage.name.clone()), pool, not_before }
}

/// Does a generation that waits wait for something else from here on?
const fn starts_another_wait(kind: EventType) -> bool {
    matches!(kind, EventType::Parked | EventType::Unparked | EventType::CleanUpStarted)
}

/// How a run ended that this event ended.
fn end_by(show: &protocol::Event, stands: protocol::State) -> SpanEnd {
    // The generation ends as failed or cancelled; the run that cleaned up after it did what it should.
    if show.metadata.get("cleanUp").is_some_and(|how| how == "done") {
        return SpanEnd::Completed;
    }
    match (show.kind, stands) {
        (EventType::CleanUpStarted, protocol::State::Cancelling) => SpanEnd::Cancelled,
        (kind, _) => end_by_kind(kind),
    }
}

const fn end_by_kind(kind: EventType) -> SpanEnd {
    match kind {
        EventType::HandedBack => SpanEnd::HandedBack,
        EventType::Cancelled => SpanEnd::Cancelled,
        EventType::RetryScheduled | EventType::StageFailed | EventType::Failed | EventType::CleanUpStarted => {
            SpanEnd::Failed
        }
        _ => SpanEnd::Completed,
    }
}

/// How long it has lasted at `now`, and what that cost.
fn measure(span: &mut Span, now: Timestamp) {
    span.duration_ms = now.since(span.from);
    if let Activity::Run { worker_seconds, stages, .. } = &mut span.what {
        *worker_seconds = span.duration_ms as f64 / 1_000.0;
        for stage in stages.iter_mut().filter(|stage| stage.until.is_none()) {
            stage.duration_ms = now.since(stage.from);
        }
    }
}

fn begun(stage: &StageName, attempt: Attempt, at: Timestamp) -> StageSpan {
    let stage = stage.clone();
    StageSpan { stage, attempt, from: at, until: None, duration_ms: 0, end: SpanEnd::Running, failure: None }
}

fn end_stage(stages: &mut [StageSpan], now: Timestamp, end: SpanEnd, failure: Option<StageFailure>) {
    if let Some(stage) = stages.last_mut().filter(|stage| stage.until.is_none()) {
        stage.until = Some(now);
        stage.duration_ms = now.since(stage.from);
        (stage.end, stage.failure) = (end, failure);
    }
}

#[cfg(test)]
mod tests;
