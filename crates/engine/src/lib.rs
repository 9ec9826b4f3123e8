//! The rules: a pure machine that decides what may happen to a generation.
//!
//! ```text
//! decide(state, context, command, now) -> events and the state they fold to, or a refusal
//! evolve(state, event) -> state            a generation is a fold over its events
//! project(state) -> the queue's columns
//! ```
//! No I/O, no clock, no randomness, no async: time and random bits are arguments, so the same input always gives the
//! same output. What is not in a generation (limits, breakers, pauses) comes in as [`Context`].

pub mod breaker;
mod command;
mod decide;
mod event;
mod evolve;
pub mod holds;
mod letter;
mod metadata;
pub mod progress;
mod project;
mod refusal;
mod retry;
mod show;
mod state;
mod words;

pub use command::{Action, Command, Context, Flaw, Grant, Loss, Request, Submit};
pub use decide::{Decision, decide};
pub use event::{Event, Fact, UnreadableFact};
pub use evolve::evolve;
pub use holds::{Gate, Hold, Holds, Share, Shares};
pub use letter::letter;
pub use project::{Projection, QueuePlace, project};
pub use refusal::Refusal;
pub use state::{Ending, Failed, Holder, Phase, StageDeadlines, StageState, State};
