//! Dead letters, `dlq.pipeline.v1`: generations that failed after all tries, kept for a person to look at.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::Problem,
    event::Metadata,
    http::Priority,
    id::{CausalId, GenerationId, PipelineName, StageName, TenantId, UserId},
    number::{Attempt, Timestamp},
    worker::FailureKind,
};

/// One try that ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedTry {
    /// When.
    pub at: Timestamp,
    /// Which event of the generation says so.
    pub sequence: crate::number::Sequence,
    /// Which stage ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// Which try of it.
    pub attempt: Attempt,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A generation that failed for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Always `dlq.pipeline.v1`.
    pub schema: String,
    /// Which one.
    pub generation_id: GenerationId,
    /// The customer.
    pub tenant_id: TenantId,
    /// The owner.
    pub user_id: UserId,
    /// Constant across everything the request caused.
    pub causal_id: CausalId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its version.
    pub version: u32,
    /// The stage that failed; absent when it failed in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// What kind of failure it was.
    pub cause: FailureKind,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What its owner was told to do.
    pub hint: String,
    /// The same for failures of the same cause.
    pub fingerprint: String,
    /// Tries by stage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<StageName, Attempt>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it failed.
    pub failed_at: Timestamp,
    /// The generation that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_as: Option<GenerationId>,
    /// What it was asked to make; only of one letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Metadata>,
    /// Every try that failed; only of one letter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<FailedTry>,
}

impl DeadLetter {
    /// The name of this form.
    pub const SCHEMA: &'static str = "dlq.pipeline.v1";
}

/// `GET /v1/dead-letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterPage {
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// Give it back as `cursor=` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Letters of one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterGroup {
    /// What they have in common.
    pub fingerprint: String,
    /// How many.
    pub count: u64,
    /// The oldest.
    pub first_at: Timestamp,
    /// The newest.
    pub last_at: Timestamp,
    /// The newest's pipeline.
    pub pipeline: PipelineName,
    /// The newest's stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// The newest's code.
    pub code: String,
    /// The newest's message.
    pub message: String,
    /// The newest itself.
    pub generation_id: GenerationId,
}

/// `GET /v1/dead-letters?group=fingerprint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterGroups {
    /// The most numerous first.
    pub groups: Vec<DeadLetterGroup>,
}

/// Which letters are meant. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationId>,
    /// Of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Of this owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// Of this pipeline, in any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineName>,
    /// That failed in this stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureKind>,
    /// With this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// With this fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// That failed before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Redriven already, or not yet; absent means both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<bool>,
}

/// What is different in the generation that is made of a letter. `POST /v1/dead-letters/{id}/redrive`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redrive {
    /// Replaces these keys of its input; `null` removes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Metadata>,
    /// Another priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The newest version of its pipeline instead of its own; what it had finished is then made again.
    #[serde(default)]
    pub newest: bool,
}

/// `POST /v1/dead-letters/redrive`: many at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedriveMany {
    /// Which ones; of these only those not redriven yet.
    #[serde(default)]
    pub filter: DeadLetterFilter,
    /// How many at most; 100 by default and at most. What is left over is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What is different in all of them.
    #[serde(default)]
    pub change: Redrive,
}

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// The letter.
    pub generation_id: GenerationId,
    /// The generation made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_as: Option<GenerationId>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// The answer to a redrive of many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedrivenMany {
    /// One each, in the order of the list.
    pub letters: Vec<Redriven>,
    /// Are there more that fit the filter?
    pub more: bool,
}

/// The answer to a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// Letters removed; their generations stay, as failed.
    pub purged: u64,
}
