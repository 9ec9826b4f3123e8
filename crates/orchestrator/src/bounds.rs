//! How much may be unfinished: bounds of tenants and owners on what they submit. How much of it runs at once is the
//! engine's ([`engine::Shares`]).

use std::collections::BTreeMap;

use protocol::{TenantId, limits};

/// Of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Unfinished generations.
    pub per_tenant_max: usize,
    /// The same of each of its owners.
    pub per_owner_max: usize,
}

impl Default for Bound {
    fn default() -> Self {
        Self { per_tenant_max: limits::UNFINISHED_PER_TENANT_MAX, per_owner_max: limits::UNFINISHED_PER_OWNER_MAX }
    }
}

/// Of all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Whoever is not named.
    pub standard: Bound,
    /// Whoever is.
    pub named: BTreeMap<TenantId, Bound>,
}

impl Bounds {
    /// Of `tenant`.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Bound {
        self.named.get(tenant).copied().unwrap_or(self.standard)
    }
}
