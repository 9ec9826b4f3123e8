//! What one watcher saw of one generation, judged as it comes: nothing of it is kept but what comes next.

use rushes_tests::watch::is_terminal;
use serde_json::Value;

/// Follows a generation of the pipeline `chain`, whose workers say `line 0`, `line 1` and so on in each stage.
pub(crate) struct Judge {
    lines: usize,
    /// What comes next.
    sequence: u64,
    line: usize,
    /// The end was seen.
    pub(crate) ended: bool,
    /// What was wrong first.
    pub(crate) trouble: Option<String>,
}

impl Judge {
    /// Of one whose stages have so many lines.
    pub(crate) fn of(lines: usize) -> Self {
        Self { lines, sequence: 1, line: 0, ended: false, trouble: None }
    }

    /// The next event that came.
    pub(crate) fn see(&mut self, event: &Value) {
        if self.trouble.is_none() {
            self.trouble = self.wrong(event);
        }
        self.sequence += 1;
    }

    fn wrong(&mut self, event: &Value) -> Option<String> {
        let (sequence, kind) = (event["sequence"].as_u64().unwrap_or_default(), event["type"].as_str());
        if self.ended {
            return Some(format!("after the end: {event}"));
        }
        if sequence != self.sequence {
            let what = if sequence > self.sequence { "lost" } else { "came twice or out of order" };
            return Some(format!("{what}: {sequence} where {} comes next", self.sequence));
        }
        match kind {
            // A new try begins at its first line.
            Some("stage_started") => self.line = 0,
            Some("log") => {
                if event["message"] != format!("line {}", self.line) {
                    return Some(format!("line {} comes next, and this came: {event}", self.line));
                }
                self.line += 1;
            }
            Some("stage_completed") if self.line != self.lines => {
                return Some(format!("{} of {} lines when its stage ended: {event}", self.line, self.lines));
            }
            _ => {}
        }
        self.ended = is_terminal(event);
        (self.ended && kind != Some("complete")).then(|| format!("it ended otherwise: {event}"))
    }
}
