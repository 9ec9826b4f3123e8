//! `rushes token`: makes a token from the deployment's secret.

use std::{path::Path, time::Duration};

use access::{Role, Secret};
use clap::Args;
use protocol::{TenantId, UserId};
use server::Mode;

use crate::{fault::Fault, reach, settings::Settings, text};

/// The secret comes from JWT_SECRET, `secret` or `secret_file` in the configuration, or else from the data folder of the
/// demo. The token alone goes to standard output: `TOKEN=$(rushes token)`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Whose token
    #[arg(long, value_name = "USER", default_value = reach::DEMO_USER)]
    user: UserId,
    /// What kind of holder
    #[arg(long, value_name = "ROLE", default_value = "user", value_parser = role)]
    role: Role,
    /// The user's tenant
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: TenantId,
    /// How long it is good: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = text::duration)]
    ttl: Duration,
    #[command(flatten)]
    settings: Settings,
}

fn role(text: &str) -> Result<Role, access::UnknownRole> {
    text.parse()
}

impl Token {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let config = self.settings.load(Mode::Demo)?.config;
        let secret = match config.read_secret()? {
            Some(secret) => secret,
            None => demo_secret(&config.data)?,
        };
        println!("{}", reach::mint(&secret, &self.user, &self.tenant, self.role, self.ttl));
        Ok(())
    }
}

fn demo_secret(data: &Path) -> Result<Secret, Fault> {
    reach::demo_secret(data).ok_or_else(|| {
        Fault::usage(format!("no secret: JWT_SECRET is not set, and there is none in {}", data.display()))
            .hint("set JWT_SECRET as the server has it, or name the demo's data folder with `--data`")
    })
}
