//! Dead letters over HTTP: listed, filtered, grouped, inspected, redriven, purged. Role `operator`.

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::IntoResponse as _,
};
use http::StatusCode;
use orchestrator::REDRIVEN_MAX;
use protocol::{
    ErrorCode, GenerationId, PipelineName, StageName, TenantId, Timestamp, UserId,
    dead::{
        DeadLetter, DeadLetterFilter, DeadLetterGroups, DeadLetterPage, Purged, Redrive, RedriveMany, RedrivenMany,
    },
    limits,
    worker::FailureKind,
};
use serde::Deserialize;

use crate::{
    body,
    correlation::Correlation,
    operate::operator,
    problem::{Answer, Failure},
    submit,
    surface::{Caller, Surface},
};

/// Letters of a page nobody gave a limit for.
const PAGE_DEFAULT: usize = 50;
/// Letters purged in one transaction; a purge of more is repeated until none is left.
const PURGED_MAX: usize = 1_000;

/// Fields of [`DeadLetterFilter`] as a query has them, and how they are shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterQuery {
    tenant: Option<TenantId>,
    owner: Option<UserId>,
    pipeline: Option<PipelineName>,
    stage: Option<StageName>,
    cause: Option<FailureKind>,
    code: Option<String>,
    fingerprint: Option<String>,
    before: Option<u64>,
    redriven: Option<bool>,
    group: Option<Group>,
    all: Option<bool>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Group {
    Fingerprint,
}

impl LetterQuery {
    fn read(query: Result<Query<Self>, QueryRejection>) -> Answer<Self> {
        let known = "known: tenant, owner, pipeline, stage, cause, code, fingerprint, before, redriven, group, limit, \
                     cursor; to purge everything: all=true";
        let Query(query) = query.map_err(|error| Failure::new(ErrorCode::InvalidRequest, error.body_text(), known))?;
        Ok(query)
    }

    fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            generation: None,
            tenant: self.tenant.clone(),
            owner: self.owner.clone(),
            pipeline: self.pipeline.clone(),
            stage: self.stage.clone(),
            cause: self.cause,
            code: self.code.clone(),
            fingerprint: self.fingerprint.clone(),
            before: self.before.map(Timestamp),
            redriven: self.redriven,
        }
    }

    fn limit(&self) -> Answer<usize> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if (1..=limits::PAGE_GENERATIONS_MAX).contains(&limit) {
            return Ok(limit);
        }
        let hint = format!("from 1 to {}", limits::PAGE_GENERATIONS_MAX);
        Err(Failure::new(ErrorCode::InvalidRequest, format!("limit={limit}"), hint))
    }
}

pub(crate) async fn list(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    query: Result<Query<LetterQuery>, QueryRejection>,
) -> Answer {
    operator(&identity)?;
    let query = LetterQuery::read(query)?;
    let (filter, limit) = (query.filter(), query.limit()?);
    if query.group == Some(Group::Fingerprint) {
        let groups = surface.store.letter_groups(&filter, limit).await?;
        return Ok(Json(DeadLetterGroups { groups }).into_response());
    }
    let bad_cursor =
        |_| Failure::new(ErrorCode::InvalidRequest, "a cursor of nobody", "give back `nextCursor` of a page");
    let cursor = query.cursor.as_deref().map(str::parse::<u64>).transpose().map_err(bad_cursor)?;
    let page = surface.store.letters(&filter, cursor, limit).await?;
    let next_cursor = page.next.map(|next| next.to_string());
    Ok(Json(DeadLetterPage { letters: page.letters, next_cursor }).into_response())
}

pub(crate) async fn read(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<DeadLetter>> {
    operator(&identity)?;
    Ok(Json(surface.orchestrator.letter(&name(id)?).await?))
}

pub(crate) async fn redrive(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Correlation(causal): Correlation,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    operator(&identity)?;
    let bytes = body::read(body).await?;
    let change: Redrive = if bytes.is_empty() { Redrive::default() } else { body::parse(&bytes)? };
    let submitted = surface.orchestrator.redrive(&name(id)?, &change, causal).await?;
    submit::accepted(&surface, &submitted.event).await
}

pub(crate) async fn redrive_many(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Correlation(causal): Correlation,
    body: Body,
) -> Answer<Json<RedrivenMany>> {
    operator(&identity)?;
    let RedriveMany { filter, limit, change } = body::json(body).await?;
    let limit = limit.unwrap_or(REDRIVEN_MAX);
    if !(1..=REDRIVEN_MAX).contains(&limit) {
        let hint = format!("from 1 to {REDRIVEN_MAX}; repeat while the answer says `more`");
        return Err(Failure::new(ErrorCode::InvalidRequest, format!("limit {limit}"), hint));
    }
    Ok(Json(surface.orchestrator.redrive_many(&filter, limit, &change, &causal).await?))
}

pub(crate) async fn purge(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    query: Result<Query<LetterQuery>, QueryRejection>,
) -> Answer<Json<Purged>> {
    operator(&identity)?;
    let query = LetterQuery::read(query)?;
    let filter = query.filter();
    if filter == DeadLetterFilter::default() && query.all != Some(true) {
        let hint = "name what is to go, such as fingerprint= or before=, or say all=true";
        return Err(Failure::new(ErrorCode::InvalidRequest, "a purge of everything", hint));
    }
    let mut purged = 0;
    loop {
        let step = surface.store.purge_letters(&filter, PURGED_MAX).await?;
        purged += step;
        if step < PURGED_MAX as u64 {
            return Ok(Json(Purged { purged }));
        }
    }
}

pub(crate) async fn purge_one(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    operator(&identity)?;
    let filter = DeadLetterFilter { generation: Some(name(id)?), ..DeadLetterFilter::default() };
    match surface.store.purge_letters(&filter, 1).await? {
        0 => Err(no_letter()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

fn name(id: String) -> Answer<GenerationId> {
    GenerationId::new(id).map_err(|_| no_letter())
}

fn no_letter() -> Failure {
    Failure::new(ErrorCode::NotFound, "no such dead letter", "see GET /v1/dead-letters")
}
