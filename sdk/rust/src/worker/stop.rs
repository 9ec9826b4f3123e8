//! Why a run has to stop.

/// Why a run has to stop. The first reason stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it.
    Cancelled {
        /// For people; empty when by its owner.
        reason: String,
    },
    /// Another worker holds the run now, or nobody wants it. Whatever is said of it is refused.
    LeaseLost,
    /// This worker is stopping: the run is handed back, and no attempt is burned.
    Draining,
    /// The handler returned.
    Finished,
}
