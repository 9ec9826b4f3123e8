//! The HTTP surface other than the live transports: which handler answers where, and what all of them share.
//!
//! Streams, long-polls and sockets are the gateway's, whose routes are merged beside these. CORS and `Origin` checks lie
//! over both and are the gateway's as well.

use std::{ops::Deref, sync::Arc};

use access::{Door, Doors, Identity, Links, Subject, Verb, may, token::bearer};
use axum::{
    Router,
    extract::FromRequestParts,
    routing::{MethodRouter, get, post, put},
};
use bus::Bus;
use gateway::encode::Encoder;
use http::{header, request::Parts as RequestParts};
use orchestrator::Handle;
use protocol::{ErrorCode, GenerationId, Problem};
use store::{Listed, Store};
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts,
    blobs::Blobs,
    clock::Now,
    gates, generations, letters, metrics, operate,
    problem::{Answer, Failure},
    sign_in, spec, studio, submit, timeline, tokens,
    uploads::{self, Rooms},
    webhooks::{self, Webhooks},
};

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Surface(Arc<Parts>);

/// The parts behind the handlers.
pub(crate) struct Parts {
    /// Generations, events, files.
    pub(crate) store: Arc<dyn Store>,
    /// Who hears of deletions.
    pub(crate) bus: Arc<dyn Bus>,
    /// Whatever changes a generation, and who works on what.
    pub(crate) orchestrator: Arc<Handle>,
    /// Tokens.
    pub(crate) doors: Arc<Doors>,
    /// Signed links.
    pub(crate) links: Arc<Links>,
    /// Events with links, positions.
    pub(crate) encoder: Arc<Encoder>,
    /// Files.
    pub(crate) blobs: Blobs,
    /// How much of them an owner may upload.
    pub(crate) rooms: Arc<Rooms>,
    /// The time.
    pub(crate) now: Now,
    /// Counters.
    pub(crate) metrics: Arc<metrics::Metrics>,
    /// What links are absolute below.
    pub(crate) public_url: Option<String>,
    /// The page and its files.
    pub(crate) studio: studio::Studio,
    /// Who a request without a token is: somebody only in the demo.
    pub(crate) guest: Option<Identity>,
    /// Endpoints that hear by HTTP of what happened.
    pub(crate) webhooks: Arc<Webhooks>,
    /// Cancelled when the server begins to stop.
    pub(crate) draining: CancellationToken,
}

impl Surface {
    /// Shares `parts`.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Every route of this crate, without fallbacks and layers.
    pub(crate) fn routes(&self) -> Router {
        let mut router = Router::new();
        for (path, methods) in table() {
            router = router.route(path, methods);
        }
        router.with_state(self.clone())
    }

    /// The generation, if `identity` may do `verb` with it.
    ///
    /// # Errors
    /// The same 404 for unknown and unseen ones; 403 for seen ones.
    pub(crate) async fn permitted(&self, identity: &Identity, id: &str, verb: Verb) -> Answer<Listed> {
        let id = GenerationId::new(id).map_err(|_| Failure::not_found())?;
        let listed = self.store.get(&id).await?.ok_or_else(Failure::not_found)?;
        let subject = Some(Subject { generation: &id, owner: &listed.row.owner, tenant: &listed.row.tenant });
        if may(identity, verb, subject) {
            return Ok(listed);
        }
        Err(if may(identity, Verb::Read, subject) { forbidden() } else { Failure::not_found() })
    }
}

impl Deref for Surface {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surface").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The routes. `spec/openapi.json` describes each; a test holds both against each other.
pub(crate) fn table() -> Vec<(&'static str, MethodRouter<Surface>)> {
    vec![
        ("/v1/generations", get(generations::list).post(submit::submit)),
        ("/v1/generations/{id}", get(generations::read).patch(generations::prioritize).delete(generations::delete)),
        ("/v1/generations/{id}/cancel", post(generations::cancel)),
        ("/v1/generations/{id}/retry", post(generations::retry)),
        ("/v1/generations/{id}/events", post(generations::report)),
        ("/v1/generations/{id}/timeline", get(timeline::read)),
        // A wildcard, so that a name with a slash is told what is wrong with it.
        ("/v1/generations/{id}/artifacts/{*name}", get(artifacts::read).put(artifacts::write)),
        ("/v1/uploads", post(uploads::write)),
        ("/v1/uploads/{file}", get(uploads::read)),
        ("/v1/tokens", post(tokens::mint)),
        ("/v1/demo/sign-in", post(sign_in::sign_in)),
        ("/assets/{name}", get(studio::asset)),
        ("/v1/queue", get(operate::queue)),
        ("/v1/queue/{id}", get(operate::place)),
        ("/v1/pools", get(operate::pools::list)),
        ("/v1/pools/{name}", get(operate::pools::one)),
        ("/v1/workers", get(operate::workers)),
        ("/v1/pipelines", get(operate::pipelines)),
        ("/v1/webhooks", get(webhooks::operate::list)),
        ("/v1/webhooks/{name}/enable", post(webhooks::operate::enable)),
        ("/v1/webhooks/{name}/disable", post(webhooks::operate::disable)),
        ("/v1/webhooks/{name}/dead-letters", get(webhooks::operate::dead_letters)),
        ("/v1/webhooks/{name}/dead-letters/redrive", post(webhooks::operate::redrive)),
        ("/v1/webhooks/{name}/dead-letters/purge", post(webhooks::operate::purge)),
        ("/v1/pipelines/{name}/pause", post(gates::pause)),
        ("/v1/pipelines/{name}/resume", post(gates::resume)),
        ("/v1/breakers", get(gates::breakers)),
        ("/v1/breakers/{name}", put(gates::force)),
        ("/v1/dead-letters", get(letters::list).delete(letters::purge)),
        ("/v1/dead-letters/redrive", post(letters::redrive_many)),
        ("/v1/dead-letters/{id}", get(letters::read).delete(letters::purge_one)),
        ("/v1/dead-letters/{id}/redrive", post(letters::redrive)),
        ("/livez", get(metrics::live)),
        ("/readyz", get(metrics::ready)),
        ("/metrics", get(metrics::scrape)),
        ("/openapi.json", get(spec::openapi)),
    ]
}

/// Who asks, by `Authorization: Bearer`, or by the demo's own sign-in.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Identity);

/// As [`Caller`], where a signed link may take the token's place.
#[derive(Debug)]
pub(crate) struct MaybeCaller(pub(crate) Option<Identity>);

fn identify(parts: &RequestParts, surface: &Surface) -> Answer<Option<Identity>> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(surface.guest.clone()) };
    let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
        Failure::new(
            ErrorCode::Unauthorized,
            "an Authorization header that is no bearer token",
            "send `Authorization: Bearer <token>`",
        )
    })?;
    let identity = surface.doors.identify(token, Door::Api, (surface.now)()).map_err(Problem::from)?;
    Ok(Some(Arc::unwrap_or_clone(identity)))
}

impl FromRequestParts<Surface> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, surface: &Surface) -> Answer<Self> {
        identify(parts, surface)?.map(Self).ok_or_else(unauthorized)
    }
}

impl FromRequestParts<Surface> for MaybeCaller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, surface: &Surface) -> Answer<Self> {
        identify(parts, surface).map(Self)
    }
}

pub(crate) fn unauthorized() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "no token", "send `Authorization: Bearer <token>`; `rushes token` makes one")
}

pub(crate) fn forbidden() -> Failure {
    Failure::new(ErrorCode::Forbidden, "this token does not allow it", "use a token of the role this needs")
}

/// Answers where nothing is.
pub(crate) async fn no_such_path(uri: http::Uri) -> Failure {
    Problem::new(ErrorCode::NotFound, format!("nothing at {}", uri.path()))
        .hint("see /openapi.json for what there is")
        .into()
}

/// Answers where something is, for other methods. Axum adds `Allow`.
pub(crate) async fn no_such_method(method: http::Method, uri: http::Uri) -> Failure {
    Problem::new(ErrorCode::MethodNotAllowed, format!("{method} is not for {}", uri.path()))
        .hint("the `Allow` header says which methods are")
        .into()
}
