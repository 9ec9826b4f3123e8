//! A submission becomes a command: the pipeline is found, the short form unfolded, the input checked.

use protocol::{ErrorCode, Metadata, Pipeline, Problem, http::Submission, limits};
use serde_json::Value;
use std::sync::Arc;

use crate::pipelines::Pipelines;

/// What a submission asks for, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The definition it will run under.
    pub pipeline: Arc<Pipeline>,
    /// Its input, whole.
    pub input: Metadata,
}

/// Finds the pipeline and checks the input.
///
/// # Errors
/// `unknown_pipeline` or `invalid_input`, naming what to change.
pub fn check(submission: &Submission, pipelines: &Pipelines) -> Result<Checked, Problem> {
    let name = submission.pipeline.as_ref().map_or(Pipeline::DEFAULT, protocol::PipelineName::as_str);
    let registered = pipelines.newest(name).ok_or_else(|| {
        let known: Vec<_> = pipelines.all().iter().map(|one| one.name.to_string()).collect();
        Problem::new(ErrorCode::UnknownPipeline, format!("no pipeline is called {name:?}"))
            .hint(format!("known: {}; or start a worker that registers it", known.join(", ")))
    })?;
    let input = unfold(submission)?;
    check_size(&input)?;
    bounded("metadata", submission.metadata.as_ref())?;
    if let Some(schema) = registered.schema() {
        fits(schema, &input)?;
    }
    Ok(Checked { pipeline: Arc::clone(&registered.pipeline), input })
}

/// Checks an input against a pipeline that need not be registered any more.
///
/// # Errors
/// `invalid_input` or `too_large`, naming what to change.
pub fn check_input(pipeline: &Pipeline, input: &Metadata) -> Result<(), Problem> {
    check_size(input)?;
    match crate::pipelines::compile(pipeline)? {
        Some(schema) => fits(&schema, input),
        None => Ok(()),
    }
}

fn check_size(input: &Metadata) -> Result<(), Problem> {
    let bytes = protocol::json_length(input).unwrap_or(0);
    if bytes > limits::INPUT_BYTES_MAX {
        return Err(Problem::new(ErrorCode::TooLarge, format!("input has {bytes} bytes"))
            .hint(format!("at most {}; send media through /v1/uploads", limits::INPUT_BYTES_MAX)));
    }
    check_depth("input", protocol::json_depth_of(input))
}

/// What nests deeper could be written with what is around it, and not be read again.
pub(crate) fn check_depth(field: &str, depth: usize) -> Result<(), Problem> {
    if depth <= limits::JSON_DEPTH_MAX {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::InvalidInput, format!("{field} nests {depth} levels deep"))
        .hint(format!("at most {}", limits::JSON_DEPTH_MAX)))
}

fn fits(schema: &jsonschema::Validator, input: &Metadata) -> Result<(), Problem> {
    let value = Value::Object(input.clone());
    match schema.iter_errors(&value).next() {
        // Without the value: a prompt that is too long would push the limit out of sight.
        Some(error) => Err(invalid(&error.instance_path().to_string(), &error.masked().to_string())),
        None => Ok(()),
    }
}

/// `prompt` and `params` are the short form of `input`; a value given twice must be the same both times.
fn unfold(submission: &Submission) -> Result<Metadata, Problem> {
    let mut input = submission.input.clone().unwrap_or_default();
    let prompt = submission.prompt.clone().map(|prompt| ("prompt".to_owned(), Value::String(prompt)));
    for (key, value) in submission.params.clone().unwrap_or_default().into_iter().chain(prompt) {
        match input.get(&key) {
            Some(given) if *given != value => {
                return Err(Problem::new(
                    ErrorCode::InvalidInput,
                    format!("{key:?} is given twice with different values"),
                )
                .hint("give it in `input`, or in `params` and `prompt`, not in both"));
            }
            _ => input.insert(key, value),
        };
    }
    Ok(input)
}

fn bounded(field: &str, value: Option<&Metadata>) -> Result<(), Problem> {
    let bytes = value.and_then(protocol::json_length).unwrap_or(0);
    if bytes > limits::METADATA_BYTES_MAX {
        return Err(Problem::new(ErrorCode::TooLarge, format!("{field} has {bytes} bytes"))
            .hint(format!("at most {}", limits::METADATA_BYTES_MAX)));
    }
    check_depth(field, value.map_or(0, protocol::json_depth_of))
}

/// Longest part of a schema's complaint that is repeated; a complaint may quote the whole value.
const COMPLAINT_CHARS_MAX: usize = 200;

fn invalid(path: &str, complaint: &str) -> Problem {
    let place = if path.is_empty() { "input" } else { path.trim_start_matches('/') };
    let mut short: String = complaint.chars().take(COMPLAINT_CHARS_MAX).collect();
    if short.len() < complaint.len() {
        short.push('…');
    }
    Problem::new(ErrorCode::InvalidInput, format!("{place}: {short}"))
        .hint("compare with the pipeline's input schema")
        .details(serde_json::json!({"path": path}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipelines() -> Pipelines {
        let pipelines = Pipelines::default();
        pipelines.register(Pipeline::video()).unwrap();
        pipelines
    }

    fn submission(text: &str) -> Submission {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_short_form_unfolds_into_the_input() {
        let checked =
            check(&submission(r#"{"prompt":"a lake","params":{"seconds":2,"width":854}}"#), &pipelines()).unwrap();
        assert_eq!(Value::Object(checked.input), serde_json::json!({"prompt":"a lake","seconds":2,"width":854}));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, word) in [
            (r#"{"pipeline":"nope","prompt":"x"}"#, ErrorCode::UnknownPipeline, "nope"),
            (r#"{}"#, ErrorCode::InvalidInput, "prompt"),
            (r#"{"prompt":"   "}"#, ErrorCode::InvalidInput, "prompt"),
            (r#"{"prompt":"x","params":{"width":9000}}"#, ErrorCode::InvalidInput, "width"),
            (r#"{"prompt":"x","params":{"seconds":100000}}"#, ErrorCode::InvalidInput, "seconds"),
            (r#"{"prompt":"x","params":{"colour":"red"}}"#, ErrorCode::InvalidInput, "colour"),
            (r#"{"prompt":"x","input":{"prompt":"y"}}"#, ErrorCode::InvalidInput, "twice"),
        ] {
            let problem = check(&submission(text), &pipelines()).unwrap_err();
            assert_eq!(problem.code, code, "{text}");
            assert!(problem.to_string().contains(word), "{text}: {problem}");
        }
        let long = serde_json::json!({"prompt": "x".repeat(4_001)}).to_string();
        let problem = check(&submission(&long), &pipelines()).unwrap_err();
        assert!(problem.message.contains("4000"), "the limit is named: {problem}");
        assert!(problem.message.chars().count() < 300, "the prompt is not repeated: {problem}");
    }
}
