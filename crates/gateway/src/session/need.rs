//! What a session cannot do by itself: it asks, the transport does it and brings the answer.

use std::sync::Arc;

use protocol::{Event, GenerationId, Problem, Sequence, TenantId, UserId, http::Priority};
use store::{Latest, StoreError};

use crate::{
    commands::{Submit, Submitted},
    pages::{Page, Reader},
};

/// A question. At most one is under way for a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// Who owns it, and how it stands.
    Latest(GenerationId),
    /// Its events after this one, at most a page.
    Page {
        /// Whose.
        generation: GenerationId,
        /// The last event the watcher has.
        after: Sequence,
        /// Whether it catches up after coming, or fell behind.
        reader: Reader,
    },
    /// All generations of an owner that have not ended, newest first.
    Mine {
        /// The owner's customer.
        tenant: TenantId,
        /// The owner.
        user: UserId,
    },
    /// A new generation.
    Submit(Box<Submit>),
    /// An end to a generation.
    Cancel(GenerationId),
    /// Another place in the queue.
    Prioritize(GenerationId, Priority),
}

/// What came of it, in the order of [`Need`]; the last two share one.
#[derive(Debug)]
pub enum Answer {
    /// `None` for an unknown generation.
    Latest(Result<Option<Latest>, StoreError>),
    /// The one in which it goes on; without the next event, if that is gone.
    Page(Result<Arc<Page>, StoreError>),
    /// Their latest events.
    Mine(Result<Vec<Event>, StoreError>),
    /// Accepted, or why not.
    Submitted(Result<Submitted, Problem>),
    /// The latest event, or why not.
    Commanded(Result<Event, Problem>),
}
