//! `POST /v1/generations`: a request becomes a durable generation, or an error that names what to change.
//!
//! Pipelines, schemas and limits are judged behind [`gateway::Commands`]; here the door, the body and the key.

use access::{Identity, Subject, Verb, may};
use axum::{body::Body, extract::State, response::IntoResponse as _};
use gateway::{Commands as _, Submit};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::{
    ErrorCode, Event, GenerationId, TenantId, UserId, http::Accepted, http::Submission, http::Urls, limits,
};

use crate::{
    body,
    correlation::{Correlation, Traced},
    generations,
    problem::{Answer, Failure},
    surface::{Caller, Surface, forbidden},
};

/// How long the live token of an answer lasts, in milliseconds: an hour, as `POST /v1/tokens` gives by default.
const LIVE_TOKEN_MS: u64 = 3_600_000;

pub(crate) async fn submit(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Correlation(causal): Correlation,
    Traced { parent: trace, state: trace_state }: Traced,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if !may(&identity, Verb::Submit, None) {
        return Err(forbidden());
    }
    let idempotency = idempotency(&headers)?;
    let bytes = body::read(body).await?;
    let submission: Submission = body::object(&bytes, Submission::FIELDS, Submission::FIELDS_UNSUPPORTED)?;
    let (owner, tenant) = on_behalf_of(&identity, &submission)?;
    let submit = Submit { owner, tenant, causal, trace, trace_state, idempotency, submission };
    let submitted = surface.orchestrator.submit(submit).await?;
    accepted(&surface, &submitted.event).await
}

/// The `Idempotency-Key`, as it came: any text a header can carry, of bounded length.
pub(crate) fn idempotency(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()));
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidRequest,
            "an Idempotency-Key that cannot be one",
            format!("1 to {} printable ASCII characters, for example a UUID", limits::IDEMPOTENCY_KEY_BYTES_MAX),
        )
    })
}

/// Who will own it: the caller, or whom a service names.
fn on_behalf_of(identity: &Identity, submission: &Submission) -> Answer<(UserId, TenantId)> {
    let owner = submission.owner.clone().unwrap_or_else(|| identity.user.clone());
    let tenant = submission.tenant.clone().unwrap_or_else(|| identity.tenant.clone());
    if submission.owner.is_none() && submission.tenant.is_none() {
        return Ok((owner, tenant));
    }
    // The generation has no id yet, and no right of a service hangs on it.
    let unborn = GenerationId::new("unborn").expect("a literal id is valid");
    let subject = Subject { generation: &unborn, owner: &owner, tenant: &tenant };
    if may(identity, Verb::SubmitFor, Some(subject)) {
        return Ok((owner, tenant));
    }
    let field = if submission.owner.is_some() { "owner" } else { "tenant" };
    Err(Failure::new(
        ErrorCode::Forbidden,
        format!("`{field}` is for services, within their own tenant"),
        "leave it out, or use a token of role `service` of that tenant",
    ))
}

/// The answer to a committed submission. Tokens are minted anew each time and never stored.
pub(crate) async fn accepted(surface: &Surface, event: &Event) -> Answer {
    let id = &event.generation_id;
    let listed = surface.store.get(id).await?.ok_or_else(Failure::not_found)?;
    let generation = generations::snapshot(surface, &listed).await?;
    let expires_at = (surface.now)().plus(LIVE_TOKEN_MS);
    let live_token = surface.doors.mint_live(&event.user_id, &event.tenant_id, std::slice::from_ref(id), expires_at);
    let urls = urls(surface.public_url.as_deref(), id);
    let location = HeaderValue::from_str(&urls.itself).ok();
    let mut response = (StatusCode::CREATED, axum::Json(Accepted { generation, urls, live_token })).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Absolute below the public address, or paths without one.
fn urls(public_url: Option<&str>, id: &GenerationId) -> Urls {
    let base = public_url.unwrap_or_default();
    let itself = format!("{base}/v1/generations/{id}");
    // `https` becomes `wss`, `http` becomes `ws`; a path stays one.
    let socket = base.strip_prefix("http").map_or(String::new(), |rest| format!("ws{rest}"));
    Urls {
        events: format!("{itself}/events"),
        live: format!("{socket}/v1/live"),
        cancel: format!("{itself}/cancel"),
        artifacts: format!("{itself}/artifacts"),
        itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_below_the_public_address_and_paths_without_one() {
        let id = GenerationId::new("gen_a").unwrap();
        let absolute = urls(Some("https://films.example/x"), &id);
        assert_eq!(absolute.itself, "https://films.example/x/v1/generations/gen_a");
        assert_eq!(absolute.live, "wss://films.example/x/v1/live");
        let relative = urls(None, &id);
        assert_eq!(relative.events, "/v1/generations/gen_a/events");
        assert_eq!(relative.live, "/v1/live");
    }
}
