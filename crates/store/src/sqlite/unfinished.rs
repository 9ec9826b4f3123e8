//! How many generations have not ended, by tenant and by owner: kept in memory, so that a bound costs no read.

use std::collections::HashMap;

use protocol::{TenantId, UserId};
use rusqlite::Connection;

use super::row::{id, whole};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    by_tenant: HashMap<TenantId, usize>,
    by_owner: HashMap<(TenantId, UserId), usize>,
}

impl Unfinished {
    /// As the file has it.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut select = connection
            .prepare("SELECT tenant, owner, count(*) FROM generation WHERE ended_at IS NULL GROUP BY tenant, owner")?;
        let mut rows = select.query([])?;
        let mut counts = Self::default();
        while let Some(row) = rows.next()? {
            let count = usize::try_from(whole(row, 2)?).unwrap_or(usize::MAX);
            counts.add(&id(row, 0)?, &id(row, 1)?, count);
        }
        Ok(counts)
    }

    /// So many began.
    pub(super) fn add(&mut self, tenant: &TenantId, owner: &UserId, count: usize) {
        *self.by_tenant.entry(tenant.clone()).or_default() += count;
        *self.by_owner.entry((tenant.clone(), owner.clone())).or_default() += count;
    }

    /// One ended.
    pub(super) fn end(&mut self, tenant: &TenantId, owner: &UserId) {
        lower(&mut self.by_tenant, tenant.clone());
        lower(&mut self.by_owner, (tenant.clone(), owner.clone()));
    }

    /// Of a tenant, or of one of its owners.
    pub(super) fn of(&self, tenant: &TenantId, owner: Option<&UserId>) -> usize {
        let count = match owner {
            Some(owner) => self.by_owner.get(&(tenant.clone(), owner.clone())),
            None => self.by_tenant.get(tenant),
        };
        count.copied().unwrap_or(0)
    }
}

fn lower<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() = count.get().saturating_sub(1);
        if *count.get() == 0 {
            count.remove();
        }
    }
}
