//! `rushes timeline`: where a generation's time went, a line a span and a line a stage.

use std::fmt::Write as _;

use clap::Args;
use protocol::{
    GenerationId, Timestamp,
    timeline::{Activity, Span, SpanEnd, StageSpan, WaitCause},
};

use super::narrow_runtime;
use crate::{fault::Fault, reach::Reach, text};

/// Each wait, each run and its stages: since the submission, how long, and what became of it.
#[derive(Debug, Args)]
pub(crate) struct Timeline {
    /// Which generation
    id: GenerationId,
    /// Print it as JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Timeline {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let client = self.reach.client()?;
        let timeline = narrow_runtime()?.block_on(client.timeline(&self.id))?;
        if self.json {
            println!("{}", text::json(&timeline)?);
        } else {
            print!("{}", page(&timeline));
        }
        Ok(())
    }
}

fn page(timeline: &protocol::timeline::Timeline) -> String {
    let mut page = format!(
        "{} ({}) is {}\nsubmitted {}, cause {}",
        timeline.generation_id,
        timeline.pipeline,
        timeline.state.as_str(),
        timeline.created_at.to_rfc3339(),
        timeline.causal_id
    );
    if let Some(trace) = &timeline.traceparent {
        let _ = write!(page, ", trace {}", trace.trace_id());
    }
    if let Some(original) = &timeline.retry_of {
        let _ = write!(page, ", retry of {original}");
    }
    page.push_str("\n\n     after      for\n");
    for span in &timeline.spans {
        line(&mut page, timeline.created_at, span.from, span.duration_ms, "", &said(span));
        if let Activity::Run { stages, .. } = &span.what {
            for stage in stages {
                line(&mut page, timeline.created_at, stage.from, stage.duration_ms, "  ", &said_of_stage(stage));
            }
        }
    }
    if timeline.omitted > 0 {
        let _ = writeln!(page, "and {} spans more", timeline.omitted);
    }
    let _ = writeln!(
        page,
        "\n{} in all: {} waiting, {} running; {:.1} worker-seconds, {} failed tries",
        shown(timeline.total_ms),
        shown(timeline.waiting_ms),
        shown(timeline.running_ms),
        timeline.worker_seconds,
        timeline.failures
    );
    page
}

fn line(page: &mut String, start: Timestamp, from: Timestamp, duration_ms: u64, indent: &str, what: &str) {
    let _ = writeln!(
        page,
        "{:>10} {:>8}  {indent}{what}",
        shown(from.since(start)),
        shown(duration_ms),
        what = text::plain(what)
    );
}

fn said(span: &Span) -> String {
    match &span.what {
        Activity::Wait { cause, stage, pool, not_before } => {
            let mut text = format!("waited: {}", word(*cause));
            if let (Some(stage), Some(pool)) = (stage, pool) {
                let _ = write!(text, ", for {stage} in pool {pool}");
            }
            if not_before.is_some() {
                text.push_str(" (backing off first)");
            }
            text
        }
        Activity::Run { worker, end, fence, .. } => format!("run on {worker}, fence {fence}: {}", ended(*end)),
        Activity::External { end } => format!("with its producer: {}", ended(*end)),
    }
}

fn said_of_stage(stage: &StageSpan) -> String {
    let mut text = stage.stage.to_string();
    if stage.attempt.0 > 1 {
        let _ = write!(text, ", try {}", stage.attempt);
    }
    match &stage.failure {
        Some(failure) => text + ": " + &format!("{} ({})", failure.message, failure.code),
        None => text + ": " + ended(stage.end),
    }
}

const fn word(cause: WaitCause) -> &'static str {
    match cause {
        WaitCause::Submitted => "submitted",
        WaitCause::NextRun => "the next run",
        WaitCause::Retry => "another try",
        WaitCause::HandedBack => "handed back",
        WaitCause::Parked => "parked",
        WaitCause::CleanUp => "clean-up",
    }
}

const fn ended(end: SpanEnd) -> &'static str {
    match end {
        SpanEnd::Running => "under way",
        SpanEnd::Completed => "done",
        SpanEnd::Failed => "failed",
        SpanEnd::HandedBack => "handed back",
        SpanEnd::Cancelled => "cancelled",
    }
}

/// Milliseconds below a second, else seconds, minutes and hours.
fn shown(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{:.1}s", ms as f64 / 1_000.0),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_reads_from_top_to_bottom() {
        let timeline = serde_json::from_value(serde_json::json!({
            "generationId": "gen_a", "causalId": "order-7", "pipeline": "video@1", "state": "complete",
            "createdAt": 0, "endedAt": 75_300, "asOf": 80_000, "totalMs": 75_300, "waitingMs": 300, "runningMs": 75_000,
            "workerSeconds": 75.0, "failures": 1,
            "spans": [
                {"kind": "wait", "cause": "submitted", "stage": "prompt_analysis", "pool": "gpu",
                 "from": 0, "until": 300, "durationMs": 300},
                {"kind": "run", "worker": "w1", "pool": "gpu", "fence": 1, "end": "completed", "workerSeconds": 75.0,
                 "from": 300, "until": 75_300, "durationMs": 75_000, "stages": [
                    {"stage": "prompt_analysis", "attempt": 1, "from": 300, "until": 1_300, "durationMs": 1_000,
                     "end": "failed", "failure": {"kind": "retryable", "code": "NO_LUCK", "message": "bad dice"}},
                    {"stage": "encoding", "attempt": 2, "from": 1_300, "until": 75_300, "durationMs": 74_000, "end": "completed"}]}
            ]
        }))
        .unwrap();
        let expected = "\
gen_a (video@1) is complete
submitted 1970-01-01T00:00:00.000Z, cause order-7

     after      for
       0ms    300ms  waited: submitted, for prompt_analysis in pool gpu
     300ms    1m15s  run on w1, fence 1: done
     300ms     1.0s    prompt_analysis: bad dice (NO_LUCK)
      1.3s    1m14s    encoding, try 2: done

1m15s in all: 300ms waiting, 1m15s running; 75.0 worker-seconds, 1 failed tries
";
        assert_eq!(page(&timeline), expected);
    }
}
