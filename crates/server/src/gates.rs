//! What an operator holds back: pipelines paused and resumed, breakers looked at and forced. Role `operator`.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
};
use http::StatusCode;
use orchestrator::{BreakerView, Forced};
use protocol::{BreakerName, ErrorCode, PipelineName};
use serde::{Deserialize, Serialize};

use crate::{
    body,
    operate::operator,
    problem::{Answer, Failure},
    surface::{Caller, Surface},
};

#[derive(Serialize)]
pub(crate) struct Breakers {
    breakers: Vec<BreakerView>,
}

/// `PUT /v1/breakers/{name}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    /// `open`, `closed`, or `null` to leave it to itself.
    forced: Option<Forced>,
}

pub(crate) async fn pause(surface: State<Surface>, caller: Caller, name: Path<String>) -> Answer<StatusCode> {
    turn(surface, caller, name, true).await
}

pub(crate) async fn resume(surface: State<Surface>, caller: Caller, name: Path<String>) -> Answer<StatusCode> {
    turn(surface, caller, name, false).await
}

async fn turn(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
    paused: bool,
) -> Answer<StatusCode> {
    operator(&identity)?;
    let name = PipelineName::new(name).map_err(|error| {
        Failure::new(ErrorCode::NotFound, format!("no pipeline has that name: {error}"), "see GET /v1/pipelines")
    })?;
    surface.orchestrator.pause(&name, paused).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn breakers(State(surface): State<Surface>, Caller(identity): Caller) -> Answer<Json<Breakers>> {
    operator(&identity)?;
    Ok(Json(Breakers { breakers: surface.orchestrator.gates().await?.breakers }))
}

pub(crate) async fn force(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
    body: Body,
) -> Answer<StatusCode> {
    operator(&identity)?;
    let name = BreakerName::new(name).map_err(|error| {
        Failure::new(ErrorCode::InvalidRequest, error.to_string(), "a breaker is called `<stage>:<backend>`")
    })?;
    let Force { forced } = body::json(body).await?;
    surface.orchestrator.force(&name, forced).await?;
    Ok(StatusCode::NO_CONTENT)
}
