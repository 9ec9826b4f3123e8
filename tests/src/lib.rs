//! The bed of the black-box tests: the real program as processes, and clients that know only the wire.
//!
//! Nothing here uses the parts of the server: what is tested is what is shipped. Processes listen on ports the system
//! picks, keep their data in temporary folders and die with the test.
//!
//! ```text
//! program.rs   servers, workers and other commands as processes
//! reply.rs     an HTTP answer, and what every refusal must say
//! socket.rs    a WebSocket client
//! frame.rs     the binary frame
//! raw.rs       a WebSocket as bytes, for those that break the rules
//! watch.rs     watchers that come back
//! puppet.rs    a worker whose every message the test says
//! taker.rs     a worker that takes what it is offered
//! clients.rs   clients in other languages
//! small.rs     a disk that is soon full
//! between.rs   a proxy that cuts, buffers and sleeps
//! encrypted.rs certificates, and a TLS proxy in front of a server
//! ```

pub mod between;
pub mod clients;
pub mod encrypted;
pub mod frame;
pub mod program;
pub mod puppet;
pub mod raw;
pub mod reply;
pub mod small;
pub mod socket;
pub mod taker;
pub mod watch;

pub use frame::Frame;
pub use program::{Server, Worker, program};
pub use puppet::Puppet;
pub use reply::{Reply, client};
pub use socket::{Heard, Socket};
pub use watch::{Event, Watcher};

/// Longer than anything takes on a loaded machine with two cores; reaching it is a failure, never a wait.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);
