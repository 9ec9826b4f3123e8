//! Generations as resources: lists, snapshots, and the commands on one of them. What a snapshot tells of a wait is in
//! `generations/waits.rs`.

mod waits;

use access::{Identity, Verb, may, may_see_tenant};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    response::IntoResponse as _,
};
use bus::Signal;
use gateway::Commands as _;
use http::{HeaderMap, StatusCode};
use protocol::{
    CommandId, ErrorCode, Event, GenerationId, Metadata, State as Stand, Timestamp, TraceParent, TraceState, UserId,
    http::{ArtifactLink, GenerationPage, Patch, Priority, Report, Reported, Snapshot},
    limits,
};
use serde::Deserialize;
use serde_json::Value;
use store::{Filter, Listed};

use crate::{
    body,
    correlation::Correlation,
    problem::{Answer, Failure},
    random::random,
    submit,
    surface::{Caller, Surface, forbidden},
};

/// Generations of a page nobody gave a limit for.
const PAGE_DEFAULT: usize = 50;

/// Most reports in one request: a producer that was cut off for a minute at four a second.
const REPORTS_MAX: usize = 256;

/// What a snapshot shows of the engine's state. The rest of it is the engine's alone.
#[derive(Deserialize)]
struct Shown {
    input: Metadata,
    priority: Priority,
    retry_of: Option<GenerationId>,
    trace: Option<TraceParent>,
    trace_state: Option<TraceState>,
    deadline: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<Stand>,
    owner: Option<UserId>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(crate) async fn list(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<GenerationPage>> {
    let Query(query) = query.map_err(|error| {
        Failure::new(ErrorCode::InvalidRequest, error.body_text(), "known: state, owner, limit, cursor")
    })?;
    if !may(&identity, Verb::Read, None) {
        return Err(forbidden());
    }
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=limits::PAGE_GENERATIONS_MAX).contains(&limit) {
        let hint = format!("from 1 to {}", limits::PAGE_GENERATIONS_MAX);
        return Err(Failure::new(ErrorCode::InvalidRequest, format!("limit={limit}"), hint));
    }
    let bad_cursor =
        |_| Failure::new(ErrorCode::InvalidRequest, "a cursor of nobody", "give back `nextCursor` of a page");
    let cursor = query.cursor.as_deref().map(str::parse::<u64>).transpose().map_err(bad_cursor)?;
    let filter = Filter {
        owner: reachable_owner(&identity, query.owner)?,
        tenant: Some(identity.tenant.clone()),
        state: query.state,
        unfinished: false,
    };
    let page = surface.store.list(&filter, cursor, limit).await?;
    let mut generations = Vec::with_capacity(page.rows.len());
    for listed in &page.rows {
        // Files are read for one generation, not for a page of them.
        generations.push(bare_snapshot(&surface, listed)?);
    }
    waits::tell(&surface, &page.rows, &mut generations).await?;
    Ok(Json(GenerationPage { generations, next_cursor: page.next.map(|next| next.to_string()) }))
}

/// Whose generations the list shows: one's own, or within the tenant whose one may see.
fn reachable_owner(identity: &Identity, wanted: Option<UserId>) -> Answer<Option<UserId>> {
    let all = may_see_tenant(identity, &identity.tenant);
    match wanted {
        Some(owner) if all || owner == identity.user => Ok(Some(owner)),
        Some(_) => Err(Failure::new(
            ErrorCode::Forbidden,
            "the list of somebody else",
            "leave `owner` out, or use a token of role `service` or `admin`",
        )),
        None if all => Ok(None),
        None => Ok(Some(identity.user.clone())),
    }
}

pub(crate) async fn read(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<Snapshot>> {
    let listed = surface.permitted(&identity, &id, Verb::Read).await?;
    Ok(Json(snapshot(&surface, &listed).await?))
}

pub(crate) async fn delete(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let listed = surface.permitted(&identity, &id, Verb::Delete).await?;
    if !listed.latest.state.is_terminal() {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            format!("the generation is {}", listed.latest.state.as_str()),
            "cancel it first, and delete it when it has ended",
        ));
    }
    // Begun before the rows go, so that a file put meanwhile is not taken for an orphan.
    let removal = surface.blobs.removal();
    let orphans = surface.store.delete(&listed.generation).await?.unwrap_or_default();
    surface.bus.publish(Signal::Deleted(listed.generation.clone()));
    // Whatever stays is noted in the store, for the next sweep.
    let _gone = removal.remove(orphans).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn cancel(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<Snapshot>> {
    let listed = surface.permitted(&identity, &id, Verb::Cancel).await?;
    let command = CommandId::generate((surface.now)(), random());
    let event = surface.orchestrator.cancel(&listed.generation, command, "").await?;
    renewed(&surface, listed, event).await
}

pub(crate) async fn prioritize(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
    body: Body,
) -> Answer<Json<Snapshot>> {
    let listed = surface.permitted(&identity, &id, Verb::Prioritize).await?;
    let Patch { priority } = body::json(body).await?;
    let command = CommandId::generate((surface.now)(), random());
    let event = surface.orchestrator.prioritize(&listed.generation, command, priority).await?;
    renewed(&surface, listed, event).await
}

pub(crate) async fn retry(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Correlation(causal): Correlation,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let listed = surface.permitted(&identity, &id, Verb::Retry).await?;
    let key = submit::idempotency(&headers)?;
    let submitted = surface.orchestrator.retry(&listed.generation, causal, key).await?;
    submit::accepted(&surface, &submitted.event).await
}

pub(crate) async fn report(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let listed = surface.permitted(&identity, &id, Verb::Report).await?;
    let reports: Vec<Report> = body::json(body).await?;
    if reports.is_empty() || reports.len() > REPORTS_MAX {
        let what = format!("{} events in one request", reports.len());
        return Err(Failure::new(ErrorCode::InvalidRequest, what, format!("from 1 to {REPORTS_MAX}")));
    }
    let sequence = surface.orchestrator.report(&listed.generation, reports).await?;
    Ok(Json(Reported { position: surface.encoder.position(sequence) }).into_response())
}

/// The snapshot after a command: its row is read again, its event is the command's own.
async fn renewed(surface: &Surface, before: Listed, event: Event) -> Answer<Json<Snapshot>> {
    let mut listed = surface.store.get(&before.generation).await?.unwrap_or(before);
    if listed.latest.sequence < event.sequence {
        listed.latest = event;
    }
    Ok(Json(snapshot(surface, &listed).await?))
}

/// A generation with its files and its place in the queue.
pub(crate) async fn snapshot(surface: &Surface, listed: &Listed) -> Answer<Snapshot> {
    let mut snapshot = bare_snapshot(surface, listed)?;
    let now = (surface.now)();
    let artifacts = surface.store.artifacts(&listed.generation).await?;
    let link = |artifact: store::Artifact| ArtifactLink {
        url: surface.links.url(&listed.generation, &artifact.name, now),
        name: artifact.name.to_string(),
        size: artifact.size,
        sha256: artifact.sha256,
    };
    snapshot.artifacts = artifacts.into_iter().map(link).collect();
    waits::tell(surface, std::slice::from_ref(listed), std::slice::from_mut(&mut snapshot)).await?;
    Ok(snapshot)
}

fn bare_snapshot(surface: &Surface, listed: &Listed) -> Answer<Snapshot> {
    let shown: Shown = serde_json::from_slice(&listed.row.snapshot)
        .map_err(|error| Failure::internal(&format!("state of {}: {error}", listed.generation)))?;
    let latest = &listed.latest;
    Ok(Snapshot {
        id: listed.generation.clone(),
        status: surface.encoder.event(latest, (surface.now)()),
        state: latest.state,
        pipeline: listed.row.pipeline.clone(),
        input: shown.input,
        priority: shown.priority,
        position: surface.encoder.position(latest.sequence),
        queue_position: None,
        eta: latest.metadata.get("estimatedSecondsRemaining").and_then(Value::as_f64),
        deadline: shown.deadline,
        artifacts: Vec::new(),
        retry_of: shown.retry_of,
        traceparent: shown.trace,
        tracestate: shown.trace_state,
        created_at: listed.row.created_at,
        updated_at: latest.timestamp,
    })
}
