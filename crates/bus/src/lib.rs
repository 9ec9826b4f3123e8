//! The reach: live events, hints, frames and demand between nodes; may lose anything.
