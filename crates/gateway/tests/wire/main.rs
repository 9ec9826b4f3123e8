//! The gateway over real sockets: a real axum server, a real store in a temporary folder, the local bus.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

mod bed;
mod crowds;
mod doors;
mod idle;
mod many;
mod slow;
mod stall;
mod transports;
mod workers;
