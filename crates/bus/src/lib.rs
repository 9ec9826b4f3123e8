//! The reach: live events, hints, frames and demand between nodes; may lose anything.
//!
//! A bus carries what was already committed, or what nobody will miss. Receivers find holes by sequence and read the
//! log; nothing may depend on a signal arriving, arriving once, or arriving in order. `local` joins the parts of one
//! process by plain calls; other back ends pass the same conformance suite.

pub mod conformance;
mod local;
mod signal;

use std::sync::Arc;

pub use local::Local;
pub use signal::{Frame, Interest, Signal};

/// Hears signals. Called on the publisher's thread, in the order of publishing per publisher: it must not block, and
/// must not publish from within the call.
pub trait Listener: Send + Sync {
    /// Takes one signal, or ignores it.
    fn hear(&self, signal: &Signal);
}

/// Carries signals to all listeners of all nodes, as well as it can.
pub trait Bus: Send + Sync {
    /// Sends `signal` to every listener. Never waits, never fails: what cannot be sent is lost.
    fn publish(&self, signal: Signal);

    /// Adds a listener for the life of the bus.
    fn listen(&self, listener: Arc<dyn Listener>);
}
