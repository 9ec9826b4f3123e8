//! Progress for people: a bar on a terminal, one line an event in a pipe.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use protocol::{Event, StageName};

use crate::text;

/// 10 a second: smooth to the eye.
const TICK: Duration = Duration::from_millis(100);
/// The bar counts tenths of a per cent.
const STEPS: u64 = 1_000;

/// Where progress is shown.
pub(crate) enum Screen {
    /// A person looks.
    Bar(ProgressBar),
    /// A program reads.
    Lines,
}

impl Screen {
    /// A bar when standard output is a terminal, else lines.
    pub(crate) fn open() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("{spinner} [{bar:32}] {percent:>3}% {msg}");
        let bar = ProgressBar::new(STEPS);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    /// A durable event.
    pub(crate) fn event(&self, event: &Event) {
        match self {
            Self::Bar(bar) => show(bar, event.progress, message(event)),
            Self::Lines => print(&line(event)),
        }
    }

    /// An ephemeral status; programs have no use for it.
    pub(crate) fn hint(&self, status: &Event) {
        if let Self::Bar(bar) = self {
            show(bar, status.progress, message(status));
        }
    }

    /// Progress that is no event of a server.
    pub(crate) fn local(&self, stage: &str, percent: f64, message: &str) {
        match self {
            Self::Bar(bar) => show(bar, percent, message.to_owned()),
            Self::Lines => print(&format!("{} - running {stage} {percent:.0}% {message}", server::now().to_rfc3339())),
        }
    }

    /// Something beside the progress, on standard error.
    pub(crate) fn note(&self, note: &str) {
        let note = text::plain(note);
        match self {
            Self::Bar(bar) => bar.println(note),
            Self::Lines => eprintln!("{note}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn close(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, percent: f64, message: String) {
    bar.set_position((percent.clamp(0.0, 100.0) * STEPS as f64 / 100.0) as u64);
    bar.set_message(message);
}

/// A reader that closed the pipe has seen enough; the command goes on for what it leaves behind.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What a worker says, for people.
fn message(event: &Event) -> String {
    let said = text::plain(&event.message);
    let remaining = event.metadata.get("estimatedSecondsRemaining").and_then(serde_json::Value::as_f64);
    match remaining {
        Some(seconds) if seconds >= 1.0 => format!("{said} (about {seconds:.0} s left)"),
        _ => said,
    }
}

/// Time, sequence, state, stage, per cent, message: six fields, the last with spaces.
fn line(event: &Event) -> String {
    let stage = event.stage.as_ref().map_or("-", StageName::as_str);
    let time = event.timestamp.to_rfc3339();
    let (sequence, state) = (event.sequence, event.state.as_str());
    format!("{time} {sequence} {state} {stage} {:.0}% {}", event.progress, text::plain(&event.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_fields_in_order_and_stays_one_line() {
        let event: Event = serde_json::from_value(serde_json::json!({
            "eventId": "e", "generationId": "gen_a", "tenantId": "t", "userId": "u", "causalId": "c", "sequence": 12,
            "attempt": 1, "type": "stage_progress", "state": "running", "stage": "generating_frames",
            "status": "generating_frames", "progress": 45.4, "message": "Generating\nframes", "timestamp": 0
        }))
        .unwrap();
        assert_eq!(line(&event), "1970-01-01T00:00:00.000Z 12 running generating_frames 45% Generating frames");
        let event = Event { message: "a\u{1b}]0;title\u{7}\rb".to_owned(), ..event };
        for shown in [line(&event), message(&event)] {
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
