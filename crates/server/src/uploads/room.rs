//! How much one owner may upload, so that one user cannot fill the disk of all.
//!
//! What is kept is counted by its rows in the store, what is under way here: whoever begins reserves what may come of it, and
//! gives it back when its row is written or nothing came of it. Bounded are users; who uploads with a token of another role
//! does so for many.

use std::{collections::HashMap, sync::Arc};

use access::{Identity, Role};
use parking_lot::Mutex;
use protocol::{
    ErrorCode, Problem, TenantId, UserId,
    limits::{UPLOAD_BYTES_COUNTED_MIN, UPLOADS_UNDER_WAY_MAX},
};
use store::Store;

use crate::problem::{Answer, Failure};

/// Seconds after which one's other uploads may have ended: what a photograph takes over a phone.
const RETRY_AFTER_S: u64 = 5;

type Owner = (TenantId, UserId);

/// What is under way, by owner. An owner of whom nothing is has no entry.
#[derive(Debug)]
pub(crate) struct Rooms {
    bytes_max: Option<u64>,
    under_way: Mutex<HashMap<Owner, UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    uploads: usize,
    bytes: u64,
}

/// Room for one upload, given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _reserved: Option<Reserved>,
    /// The most that may come.
    bytes: u64,
    /// Why it may not be more.
    bound: Bound,
}

/// What keeps an upload from being larger.
#[derive(Debug, Clone, Copy)]
struct Bound {
    kept: u64,
    max: u64,
    /// Others of the owner are under way, without which there were more room.
    shared: bool,
}

#[derive(Debug)]
struct Reserved {
    rooms: Arc<Rooms>,
    owner: Owner,
    bytes: u64,
}

impl Rooms {
    /// For so many bytes of each owner; `None` for any number.
    pub(crate) fn new(bytes_max: Option<u64>) -> Self {
        Self { bytes_max, under_way: Mutex::default() }
    }

    /// Room for a body of `announced` bytes, of which at most `file_max` are taken in. One that does not say how large it is
    /// gets all there is up to that.
    ///
    /// # Errors
    /// 429 while others of the owner are in the way, 413 when there is no room for it.
    pub(crate) async fn take(
        self: &Arc<Self>,
        store: &dyn Store,
        identity: &Identity,
        announced: Option<u64>,
        file_max: u64,
    ) -> Answer<Room> {
        if identity.role != Role::User {
            return Ok(Room { _reserved: None, bytes: file_max, bound: Bound::NONE });
        }
        let wanted = announced.unwrap_or(file_max).max(UPLOAD_BYTES_COUNTED_MIN);
        let owner = (identity.tenant.clone(), identity.user.clone());
        // Before the store is asked: what ends meanwhile is counted twice rather than not at all.
        let (mut reserved, others) = self.reserve(owner, wanted)?;
        let Some(max) = self.bytes_max else {
            return Ok(Room { _reserved: Some(reserved), bytes: file_max, bound: Bound::NONE });
        };
        let kept = store.uploaded(&identity.tenant, &identity.user, UPLOAD_BYTES_COUNTED_MIN).await?;
        let left = max.saturating_sub(kept);
        let free = left.saturating_sub(others);
        let needed = announced.map_or(UPLOAD_BYTES_COUNTED_MIN, |_| wanted);
        let bound = Bound { kept, max, shared: needed <= left && free < left };
        if needed > free {
            return Err(bound.exceeded());
        }
        let bytes = wanted.min(free);
        reserved.lower_to(bytes);
        Ok(Room { _reserved: Some(reserved), bytes, bound })
    }

    /// Reserves, and answers what others of the owner had reserved.
    fn reserve(self: &Arc<Self>, owner: Owner, bytes: u64) -> Answer<(Reserved, u64)> {
        let mut all = self.under_way.lock();
        let under_way = all.entry(owner.clone()).or_default();
        if under_way.uploads >= UPLOADS_UNDER_WAY_MAX {
            return Err(busy(format!("{UPLOADS_UNDER_WAY_MAX} uploads of yours are under way")));
        }
        let others = under_way.bytes;
        under_way.uploads += 1;
        under_way.bytes = others.saturating_add(bytes);
        Ok((Reserved { rooms: Arc::clone(self), owner, bytes }, others))
    }
}

impl Room {
    /// The most that may come.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// More came than there is room for.
    pub(crate) fn exceeded(&self) -> Failure {
        self.bound.exceeded()
    }
}

impl Bound {
    const NONE: Self = Self { kept: 0, max: u64::MAX, shared: false };

    fn exceeded(self) -> Failure {
        if self.shared {
            return busy("other uploads of yours are under way and may need the room".to_owned());
        }
        let Self { kept, max, .. } = self;
        Problem::new(ErrorCode::TooLarge, format!("your uploads take {kept} of {max} bytes; this one does not fit"))
            .hint(
                "send less, wait until old ones are removed (`retention.uploads`), or ask the operator for more \
                 (`limits.upload_bytes_per_owner`)",
            )
            .details(serde_json::json!({"kept": kept, "max": max}))
            .into()
    }
}

fn busy(message: String) -> Failure {
    Problem::new(ErrorCode::RateLimited, message).hint("send it again when they have ended").after(RETRY_AFTER_S).into()
}

impl Reserved {
    fn lower_to(&mut self, bytes: u64) {
        let more = self.bytes.saturating_sub(bytes);
        self.bytes -= more;
        if let Some(under_way) = self.rooms.under_way.lock().get_mut(&self.owner) {
            under_way.bytes = under_way.bytes.saturating_sub(more);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut all = self.rooms.under_way.lock();
        let Some(under_way) = all.get_mut(&self.owner) else { return };
        under_way.bytes = under_way.bytes.saturating_sub(self.bytes);
        under_way.uploads -= 1;
        if under_way.uploads == 0 {
            all.remove(&self.owner);
        }
    }
}
