//! The bus of one process: plain calls. It loses nothing, which no caller may rely on.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Bus, Listener, Signal};

/// Joins the parts of one process.
#[derive(Default)]
pub struct Local {
    listeners: RwLock<Arc<[Arc<dyn Listener>]>>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("listeners", &self.listeners.read().len()).finish()
    }
}

impl Bus for Local {
    fn publish(&self, signal: Signal) {
        // The list is cloned so that no lock is held while listeners work.
        let listeners = Arc::clone(&self.listeners.read());
        for listener in listeners.iter() {
            listener.hear(&signal);
        }
    }

    fn listen(&self, listener: Arc<dyn Listener>) {
        let mut listeners = self.listeners.write();
        *listeners = listeners.iter().cloned().chain([listener]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_conformance_suite() {
        crate::conformance::check(&|| Arc::new(Local::default()));
    }
}
