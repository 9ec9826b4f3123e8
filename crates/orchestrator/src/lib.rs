//! The hands: dispatch, leases, timers and worker sessions around the pure engine.
//!
//! ```text
//! handle.rs   what the rest of the server holds: commands in, answers out
//! intake.rs   a submission becomes a command: pipeline, schema, limits
//! shell.rs    the one task that owns the core: clock, store, sockets
//! core.rs     inputs in, effects out; no I/O, no clock, so a simulation runs the same code
//! ```
//! Every rule about a generation is the engine's; what stands here is who works on what, and since when.

pub mod clock;
pub mod core;
pub mod handle;
pub mod intake;
pub mod pipelines;
pub mod shell;

pub use clock::Clock;
pub use core::{Config, Counts, STAGE_SECONDS, StageCounts, WorkerView};
pub use handle::Handle;
pub use pipelines::Pipelines;
pub use shell::{Options, start};
