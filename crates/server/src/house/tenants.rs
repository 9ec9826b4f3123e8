//! What tenants may use, as configured, in the forms of those who see to it: bounds of what is unfinished for the
//! orchestrator's door, shares of what runs for its core. Weights go to the store.

use orchestrator::{Bound, Bounds, Share, Shares};

use crate::config::Config;

/// How much may be unfinished.
pub(super) fn bounds(config: &Config) -> Bounds {
    let limits = &config.limits;
    let standard = Bound { per_tenant_max: limits.unfinished_per_tenant, per_owner_max: limits.unfinished_per_owner };
    let named = config.tenants.iter().map(|tenant| {
        let bound = Bound {
            per_tenant_max: tenant.unfinished.unwrap_or(standard.per_tenant_max),
            per_owner_max: tenant.unfinished_per_owner.unwrap_or(standard.per_owner_max),
        };
        (tenant.name.clone(), bound)
    });
    Bounds { standard, named: named.collect() }
}

/// How much may run at once.
pub(super) fn shares(config: &Config) -> Shares {
    let limits = &config.limits;
    let standard = Share { running_max: limits.running_per_tenant, running_per_owner_max: limits.running_per_owner };
    let named = config.tenants.iter().map(|tenant| {
        let share = Share {
            running_max: tenant.running.or(standard.running_max),
            running_per_owner_max: tenant.running_per_owner.or(standard.running_per_owner_max),
        };
        (tenant.name.clone(), share)
    });
    Shares { standard, named: named.collect() }
}
