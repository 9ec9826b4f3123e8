//! One id for everything a request causes: taken from `x-correlation-id` or made, echoed on the answer, and written
//! into every log line of the request.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use protocol::{CausalId, TraceParent, TraceState};
use tracing::Instrument as _;

use crate::{
    client::{self, Peer},
    clock::Now,
    config::Network,
    problem::Failure,
    random::random,
};

/// The header, in both directions.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// W3C Trace Context, from whoever asks.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What the layer knows before it sees a request.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// The time.
    pub(crate) now: Now,
    /// Who is believed about a client's address.
    pub(crate) proxies: Arc<[Network]>,
}

/// The id of the request at hand.
#[derive(Debug, Clone)]
pub(crate) struct Correlation(pub(crate) CausalId);

/// The trace the request belongs to, where its sender said so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced {
    pub(crate) parent: Option<TraceParent>,
    /// Never without the other.
    pub(crate) state: Option<TraceState>,
}

/// Takes `traceparent` if it is one. As W3C Trace Context has it, anything else is ignored, and so are two of them; and
/// `tracestate`, of which there may be several, is not looked at without the other.
pub(crate) fn traced(headers: &HeaderMap) -> Traced {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Traced::default() };
    let Some(parent) = value.to_str().ok().and_then(|text| text.trim().parse().ok()) else { return Traced::default() };
    let parts: Result<Vec<&str>, _> = headers.get_all(&TRACESTATE).iter().map(HeaderValue::to_str).collect();
    Traced { parent: Some(parent), state: parts.ok().and_then(|parts| parts.join(",").parse().ok()) }
}

/// Takes the header if it is a usable id. Anything else is replaced, not refused: it is the client's note, not a command.
pub(crate) fn taken(value: Option<&HeaderValue>) -> Option<CausalId> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// Correlates, opens the request's span, and turns a panic of a handler into an answer.
pub(crate) async fn correlate(State(entrance): State<Entrance>, mut request: Request, next: Next) -> Response {
    let made = || CausalId::generate((entrance.now)(), random());
    let id = taken(request.headers().get(&HEADER)).unwrap_or_else(made);
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let trace = traced(request.headers());
    let span = tracing::info_span!("request", method = %request.method(), route, correlation = %id, trace = tracing::field::Empty, client = tracing::field::Empty);
    if let Some(Peer(peer)) = request.extensions().get() {
        let client = client::address(peer.ip(), request.headers(), &entrance.proxies);
        span.record("client", tracing::field::display(client));
    }
    if let Some(parent) = &trace.parent {
        span.record("trace", parent.trace_id());
    }
    request.extensions_mut().insert(Correlation(id.clone()));
    request.extensions_mut().insert(trace);
    let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response =
        answer.unwrap_or_else(|panic| span.in_scope(|| Failure::internal(said(&*panic)).into_response()));
    if let Ok(value) = HeaderValue::from_bytes(id.as_str().as_bytes()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// What a panic said; the hook has printed where it was.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a handler panicked")
}

impl<S: Sync> FromRequestParts<S> for Correlation {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::internal("a route outside the correlation layer"))
    }
}

impl<S: Sync> FromRequestParts<S> for Traced {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    fn entrance() -> Entrance {
        Entrance { now: crate::clock::system(), proxies: Arc::from([]) }
    }

    async fn broken() {
        panic!("the film is on fire");
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_says_nothing_of_itself() {
        let router = Router::new().route("/", get(broken)).layer(from_fn_with_state(entrance(), correlate));
        let request = Request::builder().header(HEADER, "order-7").body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()[&HEADER], "order-7");
        let text = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("\"internal\"") && !text.contains("fire"), "{text}");
    }

    #[test]
    fn one_good_traceparent_is_taken_and_anything_else_is_ignored() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |values: &[&'static str]| {
            let header = |value: &&'static str| (TRACEPARENT, HeaderValue::from_static(value));
            traced(&values.iter().map(header).collect()).parent.map(|trace| trace.to_string())
        };
        assert_eq!(of(&[GOOD]).as_deref(), Some(GOOD));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["00-0-0-0"]), None);
        assert_eq!(of(&[GOOD, GOOD]), None);
    }

    #[test]
    fn a_tracestate_is_taken_from_all_its_headers_beside_a_traceparent_and_never_alone() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |parent: &'static str, states: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
            states.iter().for_each(|state| _ = headers.append(TRACESTATE, HeaderValue::from_static(state)));
            let Traced { parent, state } = traced(&headers);
            (parent.is_some(), state.map(|state| state.to_string()))
        };
        assert_eq!(of(GOOD, &["a=1", "b=2, c=3"]), (true, Some("a=1,b=2,c=3".to_owned())));
        assert_eq!(of(GOOD, &[]), (true, None));
        assert_eq!(of(GOOD, &["a=1", "nonsense"]), (true, None), "malformed, it is dropped and the other stays");
        assert_eq!(of("nonsense", &["a=1"]), (false, None));
    }

    #[test]
    fn a_usable_id_is_taken_and_anything_else_is_not() {
        let value = |text: &'static str| HeaderValue::from_static(text);
        assert_eq!(taken(Some(&value("abc-1"))).unwrap().as_str(), "abc-1");
        assert_eq!(taken(None), None);
        assert_eq!(taken(Some(&value(""))), None);
        assert_eq!(taken(Some(&HeaderValue::from_bytes(b"\xff").unwrap())), None);
        assert_eq!(taken(Some(&HeaderValue::from_str(&"x".repeat(129)).unwrap())), None);
    }
}
