//! Which server a command talks to, and with which token.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use access::{Doors, Role, Secret};
use clap::Args;
use protocol::{TenantId, UserId};
use sdk::{Address, Client};

use crate::fault::Fault;

/// Who the demo takes a request without a token for; the command line is the same person.
pub(crate) const DEMO_USER: &str = "demo";
/// A day: longer than any film takes, short enough to forget.
const OWN_TOKEN_TTL: Duration = Duration::from_secs(86_400);
/// Where the demo keeps its secret below its data folder.
const SECRET: &str = "secret";

/// Which server, and with which token.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reach {
    /// The server's address
    #[arg(long, env = "RUSHES_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,

    /// The token to enter with. Without one, a server on this machine is entered with a token made from the secret that
    /// `rushes demo` keeps in its data folder
    #[arg(long, env = "RUSHES_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// The data folder of the demo on this machine, for its secret
    #[arg(long, value_name = "FOLDER", default_value = "./rushes-data")]
    pub(crate) data: PathBuf,
}

impl Reach {
    /// A client, with the best token there is; an empty one where there is none, which a demo allows.
    pub(crate) fn client(&self) -> Result<Client, Fault> {
        self.client_as(Role::User)
    }

    /// The same for an operator, who wants a token of that role.
    pub(crate) fn operator(&self) -> Result<Client, Fault> {
        self.client_as(Role::Operator)
    }

    fn client_as(&self, role: Role) -> Result<Client, Fault> {
        // The demo's secret is for the demo: no other host sees a token made from it.
        let is_here = Address::new(&self.server).map_err(sdk::ClientError::from)?.is_loopback();
        let token = match &self.token {
            Some(token) => token.clone(),
            None if is_here => own_token(&self.data, role).unwrap_or_default(),
            None => String::new(),
        };
        Ok(Client::new(&self.server, token)?)
    }
}

/// A token for the demo of this machine, if its secret can be read.
fn own_token(data: &Path, role: Role) -> Option<String> {
    let secret = demo_secret(data)?;
    let user = UserId::new(DEMO_USER).expect("a literal user id is valid");
    Some(mint(&secret, &user, &TenantId::fallback(), role, OWN_TOKEN_TTL))
}

/// The secret a demo made for itself.
pub(crate) fn demo_secret(data: &Path) -> Option<Secret> {
    Secret::new(std::fs::read(data.join(SECRET)).ok()?).ok()
}

/// A token that is good for `ttl` from now on.
pub(crate) fn mint(secret: &Secret, user: &UserId, tenant: &TenantId, role: Role, ttl: Duration) -> String {
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Doors::new(secret).mint(user, tenant, role, server::now().plus(ttl))
}

#[cfg(test)]
mod tests {
    use access::Door;

    use super::*;

    #[test]
    fn the_demos_secret_makes_a_token_that_its_server_takes() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(own_token(folder.path(), Role::User), None);
        std::fs::write(folder.path().join(SECRET), "0123456789abcdef0123456789abcdef").unwrap();
        let token = own_token(folder.path(), Role::User).unwrap();
        let doors = Doors::new(&demo_secret(folder.path()).unwrap());
        let identity = doors.identify(&token, Door::Api, server::now()).unwrap();
        assert_eq!((identity.user.as_str(), identity.role), (DEMO_USER, Role::User));
    }
}
