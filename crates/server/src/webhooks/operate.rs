//! What operators see of webhooks, and what they do with dead letters. Role `operator`.

use access::Identity;
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use protocol::{ErrorCode, EventType, GenerationId, Sequence, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    Ledger,
    ledger::{DeadLetter, Standing, Which},
};

use super::Endpoint;
use crate::{
    body,
    operate::operator,
    problem::{Answer, Failure},
    surface::{Caller, Surface},
};

/// Dead letters of a page nobody gave a limit for, and the most of one.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;
/// Numbers one request may name.
const IDS_MAX: usize = 1_000;

#[derive(Serialize)]
pub(crate) struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// An endpoint: how it is configured, without secrets, and how it stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookView {
    name: String,
    tenant: TenantId,
    url: String,
    /// Empty means all.
    events: Vec<EventType>,
    /// What receivers check Ed25519 signatures with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    public_keys: Vec<String>,
    due: u64,
    failing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    dead_letters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_why: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LetterPage {
    dead_letters: Vec<LetterView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LetterView {
    /// `dlq.webhook.v1`.
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    generation: GenerationId,
    first_sequence: Sequence,
    last_sequence: Sequence,
    attempts: u32,
    failing_since: Timestamp,
    buried_at: Timestamp,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Which dead letters: exactly one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    ids: Option<Vec<u64>>,
    generation: Option<GenerationId>,
    #[serde(default)]
    all: bool,
}

#[derive(Serialize)]
pub(crate) struct Count {
    count: u64,
}

pub(crate) async fn list(State(surface): State<Surface>, Caller(identity): Caller) -> Answer<Json<WebhookList>> {
    operator(&identity)?;
    let standings = surface.webhooks.standings().await?;
    let view = |endpoint: &Arc<Endpoint>| {
        let standing = standings.iter().find(|standing| standing.endpoint == endpoint.config.name)?;
        Some(view(endpoint, standing))
    };
    Ok(Json(WebhookList { webhooks: surface.webhooks.endpoints.iter().filter_map(view).collect() }))
}

fn view(endpoint: &Endpoint, standing: &Standing) -> WebhookView {
    let config = &endpoint.config;
    let (disabled_at, disabled_why) = standing.disabled.clone().unzip();
    WebhookView {
        name: config.name.clone(),
        tenant: config.tenant.clone(),
        url: config.url.to_string(),
        events: config.events.clone(),
        public_keys: endpoint.keys.iter().filter_map(access::webhook::SigningKey::public).collect(),
        due: standing.due,
        failing: standing.failing,
        next_at: standing.next_at.filter(|at| *at > Timestamp(0)),
        dead_letters: standing.dead_letters,
        disabled_at,
        disabled_why,
    }
}

fn found<'a>(surface: &'a Surface, name: &str) -> Answer<(&'a Arc<Endpoint>, &'a Arc<Ledger>)> {
    surface.webhooks.find(name).ok_or_else(Failure::not_found)
}

/// How the endpoint stands after what was done to it.
async fn renewed(surface: &Surface, endpoint: &Endpoint) -> Answer<Json<WebhookView>> {
    let standings = surface.webhooks.standings().await?;
    let standing = standings.iter().find(|standing| standing.endpoint == endpoint.config.name);
    Ok(Json(view(endpoint, standing.ok_or_else(Failure::not_found)?)))
}

pub(crate) async fn enable(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
) -> Answer<Json<WebhookView>> {
    operator(&identity)?;
    let (endpoint, ledger) = found(&surface, &name)?;
    ledger.enable(&name, surface.store.log_head().await?).await?;
    endpoint.wake.notify_one();
    renewed(&surface, endpoint).await
}

pub(crate) async fn disable(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
) -> Answer<Json<WebhookView>> {
    operator(&identity)?;
    let (endpoint, ledger) = found(&surface, &name)?;
    ledger.disable(&name, (surface.now)(), "an operator disabled it").await?;
    renewed(&surface, endpoint).await
}

pub(crate) async fn dead_letters(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
    query: Result<Query<LetterQuery>, QueryRejection>,
) -> Answer<Json<LetterPage>> {
    operator(&identity)?;
    let Query(query) =
        query.map_err(|error| Failure::new(ErrorCode::InvalidRequest, error.body_text(), "known: limit, cursor"))?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Failure::new(ErrorCode::InvalidRequest, format!("limit={limit}"), format!("from 1 to {PAGE_MAX}")));
    }
    let bad_cursor =
        |_| Failure::new(ErrorCode::InvalidRequest, "a cursor of nobody", "give back `nextCursor` of a page");
    let cursor = query.cursor.as_deref().map(str::parse).transpose().map_err(bad_cursor)?;
    let (_, ledger) = found(&surface, &name)?;
    let mut letters = ledger.dead_letters(&name, cursor, limit + 1).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next_cursor = letters.last().filter(|_| more).map(|letter| letter.id.to_string());
    Ok(Json(LetterPage { dead_letters: letters.into_iter().map(letter).collect(), next_cursor }))
}

fn letter(letter: DeadLetter) -> LetterView {
    let DeadLetter { id, generation, first, last, failures, failing_since, buried_at, error } = letter;
    LetterView {
        kind: "dlq.webhook.v1",
        id,
        generation,
        first_sequence: first,
        last_sequence: last,
        attempts: failures,
        failing_since,
        buried_at,
        error,
    }
}

pub(crate) async fn redrive(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
    body: Body,
) -> Answer<Json<Count>> {
    let (endpoint, ledger, which) = of_some(&surface, &identity, &name, body).await?;
    let standings = surface.webhooks.standings().await?;
    if standings.iter().any(|standing| standing.endpoint == name && standing.disabled.is_some()) {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            format!("webhook {name} is disabled"),
            "enable it first, when its receiver is back",
        ));
    }
    let count = ledger.redrive(&name, which).await?;
    endpoint.wake.notify_one();
    Ok(Json(Count { count }))
}

pub(crate) async fn purge(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
    body: Body,
) -> Answer<Json<Count>> {
    let (_, ledger, which) = of_some(&surface, &identity, &name, body).await?;
    Ok(Json(Count { count: ledger.purge(&name, which).await? }))
}

/// An operator's wish for some dead letters of an endpoint.
async fn of_some<'a>(
    surface: &'a Surface,
    identity: &Identity,
    name: &str,
    body: Body,
) -> Answer<(&'a Arc<Endpoint>, &'a Arc<Ledger>, Which)> {
    operator(identity)?;
    let (endpoint, ledger) = found(surface, name)?;
    Ok((endpoint, ledger, chosen(body::json(body).await?)?))
}

fn chosen(chosen: Chosen) -> Answer<Which> {
    match chosen {
        Chosen { ids: Some(ids), generation: None, all: false } if (1..=IDS_MAX).contains(&ids.len()) => {
            Ok(Which::Ids(ids))
        }
        Chosen { ids: None, generation: Some(generation), all: false } => Ok(Which::Of(generation)),
        Chosen { ids: None, generation: None, all: true } => Ok(Which::All),
        _ => Err(Failure::new(
            ErrorCode::InvalidRequest,
            "which dead letters is not said",
            format!("send {{\"ids\": [1 to {IDS_MAX} numbers]}}, {{\"generation\": id}} or {{\"all\": true}}"),
        )),
    }
}
