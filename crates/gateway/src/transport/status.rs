//! The first dialect's HTTP: the last status of a generation, and the health of the server.

use std::{str::FromStr, sync::Arc};

use access::{Door, Verb};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use protocol::{GenerationId, Problem};
use serde::Serialize;

use super::{refuse, token};
use crate::{Gateway, counts::Transport};

/// `GET /health`, keys and types as the first dialect has them.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    /// Sockets and streams, also before they authenticated.
    connections: u64,
    /// Distinct generations watched.
    subscriptions: usize,
    /// Seconds.
    uptime: f64,
}

/// `GET /api/generations/{id}/status`: the bare `data` of a `status_update`.
pub(super) async fn of_one(
    State(gateway): State<Arc<Gateway>>,
    Path(generation): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let found = async {
        let identity = token::identify(&gateway, &headers, &uri, Door::Api)?;
        let generation = GenerationId::from_str(&generation).map_err(|_| Problem::not_found())?;
        gateway.newest(&identity, Verb::Read, &generation).await
    };
    match found.await {
        Ok(event) => {
            let now = gateway.node.now();
            // What is relayed stands on the newest event, and is newer.
            let mut response = match gateway.hub().hint_on(&event) {
                Some(hint) => {
                    let mut response = gateway.encoder().data(&hint, now).into_response();
                    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    response
                }
                None => Json(gateway.encoder().event(&event, now)).into_response(),
            };
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => refuse(problem),
    }
}

/// `GET /health`.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let watchers = [Transport::Live, Transport::Sse, Transport::Poll];
    let connections = watchers.iter().map(|transport| gateway.counts().of(*transport).connections.get()).sum();
    let subscriptions = gateway.hub().watched();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a century fit into the 52 bits")]
    let uptime = gateway.uptime_ms() as f64 / 1_000.0;
    Json(Health { status: "healthy", connections, subscriptions, uptime }).into_response()
}
