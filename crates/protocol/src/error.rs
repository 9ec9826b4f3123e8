//! The closed list of error codes, and the one shape in which an error reaches a client.
//!
//! The texts may change, the codes never do. `spec/errors.md` lists each with what to do; a house rule keeps both equal.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retryable:literal;)+) => {
        /// What went wrong, for programs. Says its HTTP status and whether the same request may succeed later.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(JsonSchema))]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl ErrorCode {
            /// All codes, in the order of `spec/errors.md`.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it travels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// Would the same request have a chance later?
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// The request is not what the endpoint takes: not JSON, a wrong type, an unknown field.
    InvalidRequest = "invalid_request", 400, false;
    /// The request is well formed and a value in it is not acceptable.
    InvalidInput = "invalid_input", 422, false;
    /// A field or feature this version does not have.
    Unsupported = "unsupported", 400, false;
    /// No such pipeline or version.
    UnknownPipeline = "unknown_pipeline", 422, false;
    /// A position that cannot be read.
    InvalidPosition = "invalid_position", 400, false;
    /// No token, or one that is malformed, expired or signed by somebody else.
    Unauthorized = "unauthorized", 401, false;
    /// The token is good and does not allow this.
    Forbidden = "forbidden", 403, false;
    /// The `Origin` or `Host` is not one this server answers.
    OriginRefused = "origin_refused", 403, false;
    /// No such thing, or not yours: both look alike.
    NotFound = "not_found", 404, false;
    /// The path exists, this method on it does not.
    MethodNotAllowed = "method_not_allowed", 405, false;
    /// The `Idempotency-Key` was used with another body.
    IdempotencyConflict = "idempotency_conflict", 409, false;
    /// The command does not fit the state: retry of what runs, priority of what ended.
    StateConflict = "state_conflict", 409, false;
    /// A managed generation is written by the worker that holds its lease, and by nobody else.
    LeaseRequired = "lease_required", 409, false;
    /// Another worker holds the run now; stop and take new work.
    LeaseLost = "lease_lost", 409, false;
    /// Two different definitions of one pipeline version.
    PipelineConflict = "pipeline_conflict", 409, false;
    /// The content does not hash to what was announced.
    HashMismatch = "hash_mismatch", 422, false;
    /// An announced artifact was never uploaded.
    ArtifactMissing = "artifact_missing", 422, false;
    /// The body or message is over its limit.
    TooLarge = "too_large", 413, false;
    /// The `Range` lies outside the file.
    RangeNotSatisfiable = "range_not_satisfiable", 416, false;
    /// Too often, or too many at once.
    RateLimited = "rate_limited", 429, true;
    /// An unfinished-work limit of the owner or tenant is reached.
    QueueFull = "queue_full", 429, true;
    /// The server is starting, draining or cannot reach its store.
    Unavailable = "unavailable", 503, true;
    /// The disk is full; nothing was stored.
    StorageFull = "storage_full", 507, true;
    /// A bug of ours; the log has the details under the correlation id.
    Internal = "internal", 500, true;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fact of [`Problem::details`] that says after how many seconds another try has a chance.
const RETRY_AFTER: &str = "retryAfterSeconds";

/// An error as clients see it, everywhere the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Problem {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong, with the value that was.
    pub message: String,
    /// For people: what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Would the same request have a chance later?
    pub retryable: bool,
    /// Facts for programs, depending on the code.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Problem {
    /// A problem with a sentence about what was wrong.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new(), retryable: code.retryable(), details: Value::Null }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same, with facts for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The same, with the seconds after which another try has a chance. Facts that were there are kept.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        if self.details.is_null() {
            self.details = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(facts) = &mut self.details {
            facts.insert(RETRY_AFTER.to_owned(), seconds.into());
        }
        self
    }

    /// Seconds after which another try has a chance, where somebody knows.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.details.get(RETRY_AFTER)?.as_u64()
    }

    /// What unknown and foreign ids get, to the letter the same.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "no such generation")
            .hint("check the id, and that the token belongs to its owner")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The body of every failed HTTP answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ErrorBody {
    /// The one error.
    pub error: Problem,
}
