//! The Rushes SDK for Rust: write a worker, or watch and submit generations.
//!
//! [`Worker`] takes runs from a server and hands them to a [`Handler`]; what a handler says of its [`Run`] arrives
//! exactly once, however often the connection breaks. [`Client`] submits generations and watches them; a [`Watch`] gives
//! each event once and in order across reconnects.
//!
//! Messages and ids come from [`protocol`]. What the server does with them is not repeated here.

mod address;
mod backoff;
pub mod client;
mod digest;
mod random;
mod socket;
mod tls;
mod transfer;
pub mod worker;

pub use address::{Address, InvalidAddress};
pub use client::{Client, ClientError, Update, Watch, WatchError};
pub use protocol;
pub use transfer::{Content, TransferError};
pub use worker::{Failure, Handler, Offer, Picture, Run, SayError, Stop, Wanted, Worker, WorkerError};

/// Name and version, as servers show them to operators.
pub(crate) const SDK: &str = concat!("rushes-sdk-rust/", env!("CARGO_PKG_VERSION"));

/// The README's examples, compiled by the tests of documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
