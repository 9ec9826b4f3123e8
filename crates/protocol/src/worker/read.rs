//! Reading what a worker says. Serde reads a tagged enum twice, by way of a tree of copies: nothing for a `hello`, much for
//! what comes thousands of times a second. Progress and lines are therefore read in one pass; everything else, and
//! everything that does not fit, is left to serde, whose word on errors is the last.

use std::borrow::Cow;

use serde::Deserialize;

use super::{RunEvent, WorkerMessage};
use crate::{
    event::Metadata,
    id::{CommandId, LeaseId, StageName},
};

/// The fields of `progress` and of `event` with a line, each of which may be missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frequent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    lease: LeaseId,
    event_id: Option<CommandId>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    stage: Option<StageName>,
    progress: Option<f64>,
    message: Option<String>,
    metadata: Option<Metadata>,
}

impl Frequent<'_> {
    fn into_message(self) -> Option<WorkerMessage> {
        let Self { kind, lease, event_id, event, stage, progress, message, metadata } = self;
        match (&*kind, event.as_deref()) {
            ("progress", _) => {
                Some(WorkerMessage::Progress { lease, stage: stage?, progress: progress?, message, metadata })
            }
            ("event", Some("log")) => {
                let what = RunEvent::Log { message: message?, metadata };
                Some(WorkerMessage::Event { lease, event_id: event_id?, what })
            }
            _ => None,
        }
    }
}

impl WorkerMessage {
    /// Reads one message.
    ///
    /// # Errors
    /// [`serde_json::Error`] says what is wrong with it, and where.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        // A struct may be an array to serde; a message may not.
        let frequent = text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
        match frequent.and_then(Frequent::into_message) {
            Some(message) => Ok(message),
            None => serde_json::from_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_alike(text: &str) {
        let (one, other) = (WorkerMessage::read(text), serde_json::from_str::<WorkerMessage>(text));
        match (one, other) {
            (Ok(one), Ok(other)) => assert_eq!(one, other, "{text}"),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string(), "{text}"),
            (one, other) => panic!("{text}: {one:?} and {other:?}"),
        }
    }

    /// What each field may hold, well and badly.
    const FIELDS: [(&str, [&str; 4]); 8] = [
        ("type", [r#""progress""#, r#""event""#, r#""pro\u0067ress""#, "7"]),
        ("lease", [r#""1-a-gen_1""#, r#""a b""#, "null", "1"]),
        ("eventId", [r#""c1""#, r#""""#, "null", "{}"]),
        ("event", [r#""log""#, r#""stage_completed""#, r#""nothing""#, "null"]),
        ("stage", [r#""frames""#, r#""a b""#, "null", "[]"]),
        ("progress", ["50", "1e400", r#""5""#, "null"]),
        ("message", [r#""so far \"so\" good""#, "null", "5", r#""""#]),
        ("metadata", [r#"{"a":{"b":[1,null]}}"#, "null", "[]", r#"{"a":1,"a":2}"#]),
    ];

    #[test]
    fn what_is_read_in_one_pass_is_what_serde_reads() {
        // Each field is one of its values or missing: all pairs of deviations from a good message of either kind.
        for kind in 0..2 {
            let of = |left: (usize, usize), right: (usize, usize)| {
                let fields = FIELDS.iter().enumerate().filter_map(|(at, (name, values))| {
                    let plain = if name == &"type" { kind } else { 0 };
                    let value = [left, right].iter().find(|one| one.0 == at).map_or(plain, |one| one.1);
                    values.get(value).map(|value| format!(r#""{name}":{value}"#))
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            };
            let choices = || (0..FIELDS.len()).flat_map(|at| (0..=4).map(move |value| (at, value)));
            choices().for_each(|left| choices().for_each(|right| read_alike(&of(left, right))));
        }
    }

    #[test]
    fn what_is_no_message_at_all_is_refused_as_serde_refuses_it() {
        for text in ["", "{", "[]", "null", "{}", r#"{"type":"progress"} x"#, r#"{"type":"hello","lease":"a"}"#] {
            read_alike(text);
        }
        read_alike(r#"{"type":"progress","lease":"1-a-gen_1","lease":"1-a-gen_1","stage":"a","progress":1}"#);
        read_alike(r#"{"type":"drain"}"#);
        read_alike(r#"["progress","1-a-gen_1",null,null,"frames",50,null,null]"#);
    }
}
