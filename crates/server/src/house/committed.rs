//! What the store says it has committed: shown to watchers by the bus, told in the log.
//!
//! Called by the store's writer, which waits for it: nothing here blocks.

use std::sync::Arc;

use bus::{Bus, Signal};
use protocol::Event;
use store::{OnCommit, StoredEvent};

/// Tells of each event, and publishes them on `bus`.
pub(super) fn show_on(bus: Arc<dyn Bus>) -> OnCommit {
    Arc::new(move |events| {
        events.iter().for_each(tell);
        for batch in by_generation(events) {
            bus.publish(Signal::Events(batch));
        }
    })
}

/// What happened, in the log for whoever follows a request through it. Progress is left out: it would be most of it.
fn tell(stored: &StoredEvent) {
    let event = &stored.event;
    if !event.kind.is_superseded_by_newer() {
        let (generation, correlation) = (&event.generation_id, &event.causal_id);
        let (kind, stage) = (event.kind, event.stage.as_ref().map_or("", |stage| stage.as_str()));
        tracing::debug!(%generation, %correlation, sequence = event.sequence.0, ?kind, stage, "committed");
    }
}

/// One batch for each generation, each in the order of its events.
fn by_generation(events: &[StoredEvent]) -> Vec<Arc<[Arc<Event>]>> {
    let mut sorted: Vec<&StoredEvent> = events.iter().collect();
    // Stable: the events of one generation keep their order.
    sorted.sort_by(|a, b| a.event.generation_id.cmp(&b.event.generation_id));
    let same = |a: &&StoredEvent, b: &&StoredEvent| a.event.generation_id == b.event.generation_id;
    sorted.chunk_by(same).map(|batch| batch.iter().map(|stored| Arc::clone(&stored.event)).collect()).collect()
}
