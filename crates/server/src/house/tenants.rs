//! What tenants may use, as configured, in the forms of those who see to it: bounds of what is unfinished for the
//! orchestrator's door, shares of what runs for its core. Weights go to the store.

use std::collections::BTreeMap;

use orchestrator::{Bound, Bounds, Share, Shares};
use protocol::TenantId;

use crate::config::{Config, Tenant};

/// How much may be unfinished.
pub(super) fn bounds(config: &Config) -> Bounds {
    let limits = &config.limits;
    let standard = Bound { per_tenant_max: limits.unfinished_per_tenant, per_owner_max: limits.unfinished_per_owner };
    let named = by_name(config, |tenant| Bound {
        per_tenant_max: tenant.unfinished.unwrap_or(standard.per_tenant_max),
        per_owner_max: tenant.unfinished_per_owner.unwrap_or(standard.per_owner_max),
    });
    Bounds { standard, named }
}

/// How much may run at once.
pub(super) fn shares(config: &Config) -> Shares {
    let limits = &config.limits;
    let standard = Share { running_max: limits.running_per_tenant, running_per_owner_max: limits.running_per_owner };
    let named = by_name(config, |tenant| Share {
        running_max: tenant.running.or(standard.running_max),
        running_per_owner_max: tenant.running_per_owner.or(standard.running_per_owner_max),
    });
    Shares { standard, named }
}

fn by_name<T>(config: &Config, of: impl Fn(&Tenant) -> T) -> BTreeMap<TenantId, T> {
    config.tenants.iter().map(|tenant| (tenant.name.clone(), of(tenant))).collect()
}
