//! CORS on every route, and which pages and hosts are answered at all.

use std::sync::Arc;

use access::origin::{OriginPolicy, Origins, origin_allowed};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use protocol::{ErrorCode, Problem};

use super::refuse;
use crate::Gateway;

const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, if-range, last-event-id, prefer, range, traceparent, \
     tracestate, x-correlation-id",
);
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static("etag, retry-after, content-range, x-correlation-id");
/// Seconds a browser may remember a preflight: what Chromium caps at.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// A layer: refuses foreign pages and hosts, answers preflights, adds CORS headers to what the routes say.
pub(super) async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    if !is_allowed(headers, request.uri().authority().map(http::uri::Authority::as_str), &gateway.origins) {
        let problem = Problem::new(ErrorCode::OriginRefused, "this server does not answer that page or host name");
        return refuse(problem.hint("add the page to `allowed_origins`"));
    }
    let preflight = request.method() == Method::OPTIONS && headers.contains_key("access-control-request-method");
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    add_headers(response.headers_mut(), origin, preflight, &gateway.origins);
    response
}

fn is_allowed(headers: &HeaderMap, authority: Option<&str>, policy: &OriginPolicy) -> bool {
    // What is not text cannot be allowed by name; it is held against the policy as a name nobody has.
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("\u{fffd}"));
    // HTTP/2 carries the host in the target.
    let host = text(header::HOST).or(authority);
    origin_allowed(text(header::ORIGIN), host, policy)
}

fn add_headers(headers: &mut HeaderMap, origin: Option<HeaderValue>, preflight: bool, policy: &OriginPolicy) {
    let any = matches!(policy, OriginPolicy::Allow(Origins::Any));
    if !any {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = origin else { return };
    let answer = if any { HeaderValue::from_static("*") } else { origin };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, answer);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}
