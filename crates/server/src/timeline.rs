//! `GET /v1/generations/{id}/timeline`: where the time of a generation went, folded from its log.
//!
//! ```text
//! timeline/fold.rs    the fold; pure
//! ```

mod fold;

use access::Verb;
use axum::{
    Json,
    extract::{Path, State},
};
use protocol::{Sequence, limits, timeline::Timeline};

use crate::{
    problem::{Answer, Failure},
    surface::{Caller, Surface},
};

pub(crate) async fn read(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<Timeline>> {
    let listed = surface.permitted(&identity, &id, Verb::Read).await?;
    let id = listed.generation;
    let mut fold = fold::Fold::default();
    let mut after = Sequence(0);
    loop {
        let page = surface.store.events_after(&id, after, limits::PAGE_EVENTS_MAX).await?;
        let Some(last) = page.last().map(|stored| stored.event.sequence) else { break };
        for stored in page {
            let event = engine::Event::from_stored(stored.event, &stored.fact)
                .map_err(|error| Failure::internal(&format!("timeline of {id}: {error}")))?;
            fold.add(&event);
        }
        after = last;
    }
    // Deleted since it was found.
    Ok(Json(fold.finish((surface.now)()).ok_or_else(Failure::not_found)?))
}
