//! `POST /v1/demo/sign-in`: the demo's page becomes one of two people, so that one person can see what another cannot.
//!
//! Only where the server signs in by itself, which is the demo: it listens on loopback alone, and [`gateway::guard`] lets in
//! loopback `Host` names and the server's own `Origin` only. `serve` has no such door and answers as if it were nowhere.

use access::Role;
use axum::{Json, body::Body, extract::State};
use http::StatusCode;
use protocol::{
    ErrorCode, TenantId, Timestamp,
    http::{DemoSignIn, DemoToken},
};

use crate::{
    body,
    problem::{Answer, Failure},
    surface::Surface,
};

/// Milliseconds a token lasts: an hour, as the live token of a submission does. The page signs in again by itself.
const TTL_MS: u64 = 3_600_000;

pub(crate) async fn sign_in(State(surface): State<Surface>, body: Body) -> Answer<(StatusCode, Json<DemoToken>)> {
    if surface.guest.is_none() {
        return Err(Failure::new(
            ErrorCode::NotFound,
            "this server signs nobody in",
            "bring a token; `rushes token` makes one where the secret is",
        ));
    }
    let DemoSignIn { user } = body::json(body).await?;
    // Tokens count in whole seconds.
    let expires_at = Timestamp((surface.now)().plus(TTL_MS).0 / 1_000 * 1_000);
    let token = surface.doors.mint(&user.id(), &TenantId::fallback(), Role::User, expires_at);
    Ok((StatusCode::CREATED, Json(DemoToken { token, user, expires_at })))
}
