//! `rushes health`: what a container's health check runs. HTTP alone may answer while sockets do not, so it opens one.

use clap::Args;
use sdk::Client;

use super::narrow_runtime;
use crate::fault::Fault;

/// Exits with 0 when a pong came within 10 seconds, else with 3. Needs no token.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The server's address
    #[arg(long, env = "RUSHES_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

impl Health {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let client = Client::new(&self.url, "")?;
        let health = narrow_runtime()?.block_on(client.health())?;
        println!("healthy: pong after {:.1} ms", health.round_trip.as_secs_f64() * 1e3);
        Ok(())
    }
}
