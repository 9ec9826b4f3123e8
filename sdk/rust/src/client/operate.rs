//! What an operator asks of a server: dead letters, pauses, breakers. Wants a token of role `operator`.

use protocol::{
    BreakerName, GenerationId, PipelineName,
    dead::{
        DeadLetter, DeadLetterFilter, DeadLetterGroups, DeadLetterPage, Purged, Redrive, RedriveMany, RedrivenMany,
    },
    http::Accepted,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, ClientError};

impl Client {
    /// A page of dead letters, newest first, after the `next_cursor` of an earlier one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<DeadLetterPage, ClientError> {
        let mut query = query(filter);
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.call(self.queried("/v1/dead-letters", &query)).await
    }

    /// Dead letters by cause, the most numerous first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<DeadLetterGroups, ClientError> {
        let mut query = query(filter);
        query.push(("group", "fingerprint".to_owned()));
        self.call(self.queried("/v1/dead-letters", &query)).await
    }

    /// A dead letter with its input and every try that failed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_letter(&self, id: &GenerationId) -> Result<DeadLetter, ClientError> {
        self.call(self.request(Method::GET, &format!("/v1/dead-letters/{id}"))).await
    }

    /// Makes a new generation of a dead letter. Safe to repeat with the same change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn redrive(&self, id: &GenerationId, change: &Redrive) -> Result<Accepted, ClientError> {
        self.call(self.request(Method::POST, &format!("/v1/dead-letters/{id}/redrive")).json(change)).await
    }

    /// The same of many.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn redrive_many(&self, many: &RedriveMany) -> Result<RedrivenMany, ClientError> {
        self.call(self.request(Method::POST, "/v1/dead-letters/redrive").json(many)).await
    }

    /// Removes dead letters; all of them only for an empty filter and `all`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn purge_dead_letters(&self, filter: &DeadLetterFilter, all: bool) -> Result<Purged, ClientError> {
        if let Some(id) = &filter.generation {
            self.done(self.request(Method::DELETE, &format!("/v1/dead-letters/{id}"))).await?;
            return Ok(Purged { purged: 1 });
        }
        let mut query = query(filter);
        query.extend(all.then(|| ("all", "true".to_owned())));
        let mut url = self.address.http("/v1/dead-letters");
        url.query_pairs_mut().extend_pairs(&query);
        self.call(self.authorized(self.http.delete(url))).await
    }

    /// Starts no more runs of a pipeline, or starts them again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause(&self, pipeline: &PipelineName, paused: bool) -> Result<(), ClientError> {
        let verb = if paused { "pause" } else { "resume" };
        self.done(self.request(Method::POST, &format!("/v1/pipelines/{pipeline}/{verb}"))).await
    }

    /// Breakers that have something to tell, as the server prints them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn breakers(&self) -> Result<Value, ClientError> {
        self.call(self.request(Method::GET, "/v1/breakers")).await
    }

    /// Holds a breaker `open` or `closed`, or leaves it to itself.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn force_breaker(&self, breaker: &BreakerName, forced: Option<&str>) -> Result<(), ClientError> {
        let body = json!({"forced": forced});
        self.done(self.request(Method::PUT, &format!("/v1/breakers/{breaker}")).json(&body)).await
    }
}

/// A filter as a query: its fields in JSON are texts, numbers and truths.
fn query(filter: &DeadLetterFilter) -> Vec<(&'static str, String)> {
    let DeadLetterFilter { generation: _, tenant, owner, pipeline, stage, cause, code, fingerprint, before, redriven } =
        filter;
    let cause = cause.and_then(|cause| serde_json::to_value(cause).ok()?.as_str().map(str::to_owned));
    [
        ("tenant", tenant.as_ref().map(ToString::to_string)),
        ("owner", owner.as_ref().map(ToString::to_string)),
        ("pipeline", pipeline.as_ref().map(ToString::to_string)),
        ("stage", stage.as_ref().map(ToString::to_string)),
        ("cause", cause),
        ("code", code.clone()),
        ("fingerprint", fingerprint.clone()),
        ("before", before.map(|at| at.0.to_string())),
        ("redriven", redriven.map(|truth| truth.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
