//! Pages of events: at once, or after waiting a while for the first.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use protocol::{Event, Problem, http::EventPage, live::Recovery};
use serde::Serialize;
use tokio::time::Instant;

use super::{many::Many, refuse};
use crate::{
    Gateway,
    counts::Transport,
    feed::{Feed, Item, moved},
    hub::Wake,
};

/// A page of many generations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ManyPage {
    /// In the order of each generation.
    events: Vec<Event>,
    /// Give it back as `after=`.
    cursor: String,
    /// Is there more already?
    more: bool,
    /// Have all of them ended, up to this cursor?
    done: bool,
    /// Generations whose position was gone: what stands here is the state to go on from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshots: Vec<protocol::GenerationId>,
}

/// Counts a request that may wait.
struct Counted<'a>(&'a Gateway);

impl<'a> Counted<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        let counts = gateway.counts().of(Transport::Poll);
        counts.connections.enter();
        counts.opened.add(1);
        Self(gateway)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.counts().of(Transport::Poll).connections.leave(1);
    }
}

/// A page of one generation.
pub(super) async fn page(
    gateway: &Arc<Gateway>,
    mut feed: Feed,
    wake: &Wake,
    limit: usize,
    wait: Duration,
) -> Response {
    let _counted = Counted::new(gateway);
    let until = Instant::now() + wait;
    let mut page = EventPage {
        events: Vec::new(),
        position: gateway.encoder().position(feed.position()),
        more: false,
        done: false,
        recovery: None,
    };
    loop {
        while page.events.len() < limit {
            match feed.ready().await {
                Ok(Some(Item::Event(event))) => {
                    page.events.push(gateway.encoder().event(event.event(), gateway.node.now()))
                }
                Ok(Some(Item::Snapshot(event))) => {
                    // Only the state: what stood before it belongs to another history.
                    page.events = vec![gateway.encoder().event(event.event(), gateway.node.now())];
                    page.recovery = Some(Recovery::Snapshot);
                }
                Ok(Some(Item::Hint(_) | Item::Frame(..) | Item::Ended)) => {}
                Ok(Some(Item::Gone)) => return refuse(Problem::not_found()),
                Ok(None) => break,
                Err(problem) => return refuse(problem),
            }
        }
        if !page.events.is_empty() || feed.has_ended() || !wait_for(gateway, wake, until).await {
            break;
        }
    }
    page.position = gateway.encoder().position(feed.position());
    page.more = feed.has_more();
    page.done = feed.has_ended();
    gateway.counts().of(Transport::Poll).messages.add(page.events.len() as u64);
    answer(&page)
}

/// A page of many.
pub(super) async fn pages(
    gateway: &Arc<Gateway>,
    mut many: Many,
    wake: &Wake,
    limit: usize,
    wait: Duration,
) -> Response {
    let _counted = Counted::new(gateway);
    let until = Instant::now() + wait;
    let (mut events, mut snapshots) = (Vec::new(), Vec::new());
    loop {
        while events.len() < limit {
            match many.ready(gateway).await {
                Ok(Some((_, Item::Event(event)))) => {
                    events.push(gateway.encoder().event(event.event(), gateway.node.now()))
                }
                Ok(Some((at, Item::Snapshot(event)))) => {
                    snapshots.push(many.generation(at).clone());
                    events.push(gateway.encoder().event(event.event(), gateway.node.now()));
                }
                Ok(Some((_, Item::Hint(_) | Item::Frame(..) | Item::Gone | Item::Ended))) => {}
                Ok(None) => break,
                // Said by the next page, if it is still so: what is here was told.
                Err(_) if !events.is_empty() => break,
                Err(problem) => return refuse(problem),
            }
        }
        if !events.is_empty() || many.has_ended() || !wait_for(gateway, wake, until).await {
            break;
        }
    }
    gateway.counts().of(Transport::Poll).messages.add(events.len() as u64);
    let cursor = many.cursor(gateway);
    answer(&ManyPage { events, cursor, more: many.has_more(), done: many.has_ended(), snapshots })
}

/// Waits for something to move. False when the time is over, or the server goes away.
async fn wait_for(gateway: &Gateway, wake: &Wake, until: Instant) -> bool {
    tokio::select! {
        biased;
        () = gateway.stop.cancelled() => false,
        () = moved(wake) => true,
        () = tokio::time::sleep_until(until) => false,
    }
}

fn answer(page: &impl Serialize) -> Response {
    let mut response = Json(page).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
