//! Who somebody is, once a token said so: user, tenant, role, and how far the token reaches.
//!
//! What an identity may do is decided in [`crate::rights`]; how it is read from a token, in [`crate::token`].

use std::{fmt, str::FromStr, sync::Arc};

use protocol::{GenerationId, TenantId, Timestamp, UserId};

/// What kind of holder a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A person with their own generations.
    User,
    /// A machine that runs stages. Reads and commands nothing.
    Worker,
    /// A backend that acts for the users of its tenant.
    Service,
    /// A person who runs the deployment: queues, workers, dead letters, but nobody else's films.
    Operator,
    /// A person who looks after all generations of their tenant.
    Admin,
}

/// The text names no role. Never retry with the same text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no role `{0}`; there are user, worker, service, operator and admin")]
pub struct UnknownRole(String);

impl Role {
    /// All roles, the least surprising first.
    pub const ALL: [Self; 5] = [Self::User, Self::Worker, Self::Service, Self::Operator, Self::Admin];

    /// The role as the `role` claim carries it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Worker => "worker",
            Self::Service => "service",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// How far a token reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// What the role allows.
    Everything,
    /// A live token: watches these generations, nothing else, whatever the role.
    Watch(Arc<[GenerationId]>),
}

/// The entrance a token is shown at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// HTTP requests.
    Api,
    /// Watchers, on any transport.
    Live,
    /// Workers.
    Worker,
}

/// Somebody whose token was good. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, as the token's issuer names them.
    pub user: UserId,
    /// The user's tenant; `default` where the token names none.
    pub tenant: TenantId,
    /// What kind of holder it is.
    pub role: Role,
    /// How far the token reaches.
    pub scope: Scope,
    /// From then on the identity is nobody; absent only where no token was needed.
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_what_it_writes_and_nothing_else() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for bad in ["", "Admin", "admin ", "root"] {
            assert_eq!(bad.parse::<Role>(), Err(UnknownRole(bad.to_owned())));
        }
    }
}
