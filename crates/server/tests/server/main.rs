//! The server over the wire: real store, real orchestrator, real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod artifacts;
mod bed;
mod disk;
mod generations;
mod guard;
mod letters;
mod live;
mod nonsense;
mod operate;
mod peer;
mod receiver;
mod reference;
mod sign_in;
mod start;
mod studio;
mod submit;
mod uploads;
mod webhooks;
mod workers;
