//! The house: HTTP surface, artifacts, configuration, metrics and the wiring of all parts.
//!
//! ```text
//! house.rs        the wiring: opens the store, starts the parts, listens, drains
//! surface.rs      every route but the live transports, and what handlers share
//! config.rs       rushes.toml, environment and flags
//! blobs.rs        files on disk by their hash
//! studio.rs       the page at `/`, part of the program
//! webhooks.rs     endpoints that hear by HTTP of what happened
//! ```
//! Live transports are the gateway's, rules the engine's; nothing here decides what happens to a generation.

mod artifacts;
mod blobs;
mod body;
mod client;
mod clock;
pub mod config;
mod correlation;
mod download;
pub mod fuzz;
mod gates;
mod generations;
mod house;
mod letters;
mod log;
mod metrics;
mod operate;
mod problem;
mod random;
mod range;
mod retention;
mod sign_in;
mod spec;
mod studio;
mod submit;
mod surface;
mod timeline;
mod tokens;
mod uploads;
mod webhooks;

pub use clock::{Now, now, system as system_clock};
pub use config::{Config, ConfigError, Loaded, Mode, Sources};
pub use house::{Options, Running, StartError, TlsError, start};
pub use log::start as start_log;
pub use webhooks::WebhookError;
