//! `POST /v1/tokens`: a live token for generations the caller may see, to be handed to a page.

use access::{Verb, token::LIVE_GENERATIONS_MAX};
use axum::{Json, body::Body, extract::State};
use http::StatusCode;
use protocol::{
    ErrorCode, Timestamp,
    http::{TokenAnswer, TokenRequest},
};

use crate::{
    body,
    problem::{Answer, Failure},
    surface::{Caller, Surface},
};

/// Seconds a token lasts when nobody says.
const TTL_DEFAULT_S: u64 = 3_600;
/// Longest life of a token, in seconds: a day, since it cannot be taken back.
const TTL_MAX_S: u64 = 86_400;

pub(crate) async fn mint(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    body: Body,
) -> Answer<(StatusCode, Json<TokenAnswer>)> {
    let request: TokenRequest = body::json(body).await?;
    let count = request.generations.len();
    if !(1..=LIVE_GENERATIONS_MAX).contains(&count) {
        let what = format!("{count} generations in one token");
        return Err(Failure::new(ErrorCode::InvalidRequest, what, format!("from 1 to {LIVE_GENERATIONS_MAX}")));
    }
    let ttl = request.ttl_seconds.unwrap_or(TTL_DEFAULT_S);
    if !(1..=TTL_MAX_S).contains(&ttl) {
        return Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("ttlSeconds {ttl}"),
            format!("from 1 to {TTL_MAX_S}"),
        ));
    }
    for generation in &request.generations {
        surface.permitted(&identity, generation.as_str(), Verb::MintToken).await?;
    }
    // Tokens count in whole seconds.
    let expires_at = Timestamp((surface.now)().plus(ttl * 1_000).0 / 1_000 * 1_000);
    let token = surface.doors.mint_live(&identity.user, &identity.tenant, &request.generations, expires_at);
    Ok((StatusCode::CREATED, Json(TokenAnswer { token, expires_at })))
}
