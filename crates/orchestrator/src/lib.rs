//! The hands: dispatch, leases, timers and worker sessions around the pure engine.
//!
//! ```text
//! handle.rs   what the rest of the server holds: commands in, answers out
//! bounds.rs   how much may be unfinished
//! intake.rs   a submission becomes a command: pipeline, schema, limits
//! shell.rs    the one task that owns the core: clock, store, sockets
//! core.rs     inputs in, effects out; no I/O, no clock, so a simulation runs the same code
//! ```
//! Every rule about a generation is the engine's; what stands here is who works on what, and since when.

pub mod bounds;
pub mod clock;
pub mod core;
pub mod handle;
pub mod intake;
pub mod pipelines;
pub mod shell;

pub use bounds::{Bound, Bounds};
pub use clock::Clock;
pub use core::{BreakerView, Config, Counts, GatesView, STAGE_SECONDS, StageCounts, Waiting, WorkerView};
/// The engine's part of the configuration.
pub use engine::{
    Share, Shares,
    breaker::{Forced, Threshold},
};
pub use handle::{Handle, REDRIVEN_MAX};
pub use pipelines::Pipelines;
pub use shell::{Options, start};
