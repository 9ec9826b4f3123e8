//! What every bus must do, as a suite a back end's tests call.
//!
//! Only what callers may rely on is checked: every listener that was there gets what was published while nothing
//! failed, whole and unchanged. Loss, repetition and order are nobody's promise.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use protocol::{GenerationId, worker::Demand};

use crate::{Bus, Interest, Listener, Signal};

struct Ear(SyncSender<Signal>);

impl Listener for Ear {
    fn hear(&self, signal: &Signal) {
        // A full or closed ear loses the signal, as a real one may.
        let _ = self.0.try_send(signal.clone());
    }
}

fn ear(bus: &dyn Bus) -> Receiver<Signal> {
    let (tx, rx) = sync_channel(64);
    bus.listen(Arc::new(Ear(tx)));
    rx
}

fn next(rx: &Receiver<Signal>) -> Signal {
    rx.recv_timeout(Duration::from_secs(10)).expect("a signal arrives within ten seconds")
}

/// Runs the suite against buses made by `make`, each joining its listeners like the nodes of one cluster.
///
/// # Panics
/// When the bus breaks the contract.
pub fn check(make: &dyn Fn() -> Arc<dyn Bus>) {
    every_listener_hears_every_signal(&*make());
    one_publishers_interest_arrives_whole(&*make());
}

fn every_listener_hears_every_signal(bus: &dyn Bus) {
    let ears = [ear(bus), ear(bus)];
    let id = GenerationId::new("gen_bus").expect("a literal id is valid");
    bus.publish(Signal::Deleted(id.clone()));
    for rx in &ears {
        assert!(matches!(next(rx), Signal::Deleted(heard) if heard == id));
    }
}

fn one_publishers_interest_arrives_whole(bus: &dyn Bus) {
    let rx = ear(bus);
    let interest = Interest {
        generation: GenerationId::new("gen_bus").expect("a literal id is valid"),
        full: Some(Demand { max_fps: 12, max_width: 854, every: true }),
        tile: None,
        watchers: 3,
        slow: 1.0,
    };
    bus.publish(Signal::Interest([interest.clone()].into()));
    assert!(matches!(next(&rx), Signal::Interest(heard) if *heard == [interest]));
}
