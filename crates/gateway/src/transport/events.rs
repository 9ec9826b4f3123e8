//! Events over HTTP, of one generation or of many: a page, a long-poll or a stream of the same items.
//!
//! Here the request is read and the way chosen; `sse` and `poll` write the answers, `many` knows cursors of many.

use std::{str::FromStr, sync::Arc, time::Duration};

use access::{Door, Identity};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri, header},
    response::Response,
};
use protocol::{After, ErrorCode, GenerationId, Problem, Timestamp, limits, live::FrameWish};

use super::{many::Many, poll, refuse, sse, token};
use crate::{Gateway, feed::Feed, hub::Wake, session::note_visit};

/// Pictures announced per second at most to a watcher that fetches each: a page of six connections has no room for more.
const FRAME_HINTS_PER_SECOND: u32 = 2;

/// How the answer is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Stream,
    /// At most so many events, after waiting at most so long for the first.
    Page {
        limit: usize,
        wait: Duration,
    },
}

/// `GET /v1/generations/{id}/events`.
pub(super) async fn of_one(
    State(gateway): State<Arc<Gateway>>,
    Path(generation): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let opened = one(&gateway, &generation, &headers, &uri).await;
    // They share hyper's read buffer, which is not to stay for as long as an answer waits.
    drop((headers, uri));
    match opened {
        Ok((feed, Way::Stream, wake, until)) => sse::stream(gateway, Many::one(feed), wake, until),
        Ok((feed, Way::Page { limit, wait }, wake, _)) => poll::page(&gateway, feed, &wake, limit, wait).await,
        Err(problem) => refuse(problem),
    }
}

/// `GET /v1/events`.
pub(super) async fn of_many(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    let opened = many(&gateway, &headers, &uri).await;
    drop((headers, uri));
    match opened {
        Ok((feeds, Way::Stream, wake, until)) => sse::stream(gateway, feeds, wake, until),
        Ok((feeds, Way::Page { limit, wait }, wake, _)) => poll::pages(&gateway, feeds, &wake, limit, wait).await,
        Err(problem) => refuse(problem),
    }
}

type Opened<T> = (T, Way, Arc<Wake>, Option<Timestamp>);

async fn one(gateway: &Arc<Gateway>, id: &str, headers: &HeaderMap, uri: &Uri) -> Result<Opened<Feed>, Problem> {
    let identity = token::identify(gateway, headers, uri, Door::Live)?;
    let generation = GenerationId::from_str(id).map_err(|_| Problem::not_found())?;
    let (way, after) = asked(headers, uri)?;
    // A page without a position is the first page, and a stream the whole story.
    let after = after.unwrap_or(After::Start);
    let since = number(uri, "since")?.map_or(Timestamp(0), Timestamp);
    let wake = Arc::<Wake>::default();
    let wish = (way == Way::Stream && token::flag(uri, "frames")).then(announced);
    let feed = Feed::open(gateway, &identity, &generation, Some(&after), &wake, wish).await?.since(since);
    if way == Way::Stream {
        note_visit(&gateway.node, &identity, &generation, gateway.node.now());
        arrive(gateway, &identity).await;
    }
    Ok((feed, way, wake, identity.expires_at))
}

async fn many(gateway: &Arc<Gateway>, headers: &HeaderMap, uri: &Uri) -> Result<Opened<Many>, Problem> {
    let identity = token::identify(gateway, headers, uri, Door::Live)?;
    let way = way(headers, uri)?;
    let wake = Arc::<Wake>::default();
    let expires_at = identity.expires_at;
    let cursor = last_event_id(headers).or_else(|| token::param(uri, "after"));
    if way == Way::Stream {
        arrive(gateway, &identity).await;
    }
    let feeds = Many::open(gateway, identity, uri, cursor.as_deref(), way, &wake).await?;
    Ok((feeds, way, wake, expires_at))
}

/// A stream is a connection like a socket: whose user makes too many begins later.
async fn arrive(gateway: &Gateway, identity: &Identity) {
    let wait = gateway.node.arrivals.wait_of(identity, gateway.node.now());
    if wait > 0 {
        gateway.counts().connects_delayed.add(1);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// How the answer is to be given, and from where on.
///
/// # Errors
/// What of it cannot be read.
pub(super) fn asked(headers: &HeaderMap, uri: &Uri) -> Result<(Way, Option<After>), Problem> {
    Ok((way(headers, uri)?, after(headers, uri)?))
}

fn way(headers: &HeaderMap, uri: &Uri) -> Result<Way, Problem> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    if text(header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(Way::Stream);
    }
    let wait = text("prefer")
        .and_then(|prefer| prefer.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait=")))
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .unwrap_or_default();
    let limit = number(uri, "limit")?.map_or(limits::PAGE_EVENTS_MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let limit = limit.clamp(1, limits::PAGE_EVENTS_MAX);
    Ok(Way::Page { limit, wait: Duration::from_secs(wait.min(limits::LONG_POLL_WAIT_MAX_S)) })
}

/// A browser that comes back knows better than the address it was given first.
fn after(headers: &HeaderMap, uri: &Uri) -> Result<Option<After>, Problem> {
    let text = last_event_id(headers).or_else(|| token::param(uri, "after"));
    text.as_deref().map(read_after).transpose()
}

/// Where to begin, as a client says it.
pub(super) fn read_after(text: &str) -> Result<After, Problem> {
    text.parse().map_err(|error| {
        Problem::new(ErrorCode::InvalidPosition, format!("`{text}` is no position: {error}"))
            .hint("give back a `position` as it came, or `start`, or `now`")
    })
}

/// What a watcher wants whose pictures are announced and fetched.
pub(super) fn announced() -> FrameWish {
    FrameWish { max_fps: FRAME_HINTS_PER_SECOND, ..FrameWish::default() }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("last-event-id")?.to_str().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(uri: &Uri, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = token::param(uri, name) else { return Ok(None) };
    let bad = |_| Problem::new(ErrorCode::InvalidRequest, format!("`{name}={text}` is not a number"));
    text.parse().map(Some).map_err(bad)
}
