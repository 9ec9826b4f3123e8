//! The ears: watchers, their cursors, and the transports they listen on.
//!
//! A subscription is a cursor into a generation's tail, never a queue. The gateway reads what was committed and shows
//! it; it decides nothing, and asks [`Commands`] for whatever changes a generation.

pub mod arrivals;
pub mod commands;
pub mod counts;
pub mod cursor;
mod departure;
pub mod encode;
mod feed;
pub mod fuzz;
mod gateway;
pub mod hub;
mod naps;
pub mod node;
pub mod pages;
pub mod session;
mod transport;
pub mod websocket;
pub mod workers;

pub use commands::{Commands, Submit, Submitted};
pub use counts::{Counts, Transport};
pub use gateway::{Crowds, Gateway, GatewayOptions, Home};
pub use transport::{Socket, Stream, guard, refuse, routes};
pub use workers::{Inbound, Outbound, WorkerLink, Workers};
