//! `[[tenant]]` tables: what one customer may use, and its share of the workers.

use std::ops::Range;

use protocol::TenantId;
use serde::{Deserialize, de::IntoDeserializer as _};
use toml::{Spanned, de::DeValue};

/// A hundred times another's share is the most anybody means; the clocks of the queue divide by it.
const WEIGHT_MAX: u32 = 100;

/// One table. What it leaves out is as `[limits]` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Whose.
    pub name: TenantId,
    /// Its share of the worker-seconds of a pool, relative to the other tenants that wait there.
    #[serde(default = "one")]
    pub weight: u32,
    /// Runs that may be under way at once.
    pub running: Option<usize>,
    /// The same of each of its owners.
    pub running_per_owner: Option<usize>,
    /// Unfinished generations.
    pub unfinished: Option<usize>,
    /// The same of each of its owners.
    pub unfinished_per_owner: Option<usize>,
}

const fn one() -> u32 {
    1
}

/// What a table of the file looks like, for the reference page.
pub(super) const EXAMPLE: &str = r#"[[tenant]]
name = "acme"
weight = 3                        # three times the worker-seconds of a tenant of weight 1, while both wait
running = 8                       # runs under way at once; more wait
running_per_owner = 2
unfinished = 5000                 # one more answers 429 `queue_full`
unfinished_per_owner = 500
"#;

/// Reads one table.
pub(super) fn read(table: Spanned<DeValue<'_>>) -> Result<Tenant, (Option<Range<usize>>, String)> {
    let tenant = Tenant::deserialize(table.into_deserializer())
        .map_err(|error| (error.span(), format!("tenant: {}", error.message())))?;
    if !(1..=WEIGHT_MAX).contains(&tenant.weight) {
        let problem = format!("tenant {}: weight {} is not from 1 to {WEIGHT_MAX}", tenant.name, tenant.weight);
        return Err((None, problem));
    }
    let bounds = [tenant.running, tenant.running_per_owner, tenant.unfinished, tenant.unfinished_per_owner];
    if bounds.contains(&Some(0)) {
        return Err((None, format!("tenant {}: a bound of 0 lets nothing through; pause its pipelines", tenant.name)));
    }
    Ok(tenant)
}
