//! Which generations of an owner or a tenant somebody follows who comes, with a cursor or without: read from lists, and held
//! until there is room for them.
//!
//! Where a client is in each, and what it knows already, is in its `places`; `many` opens what is found here.

use std::collections::{BTreeMap, VecDeque};

use protocol::{After, ErrorCode, GenerationId, Problem, Timestamp};
use store::Filter;

use super::{
    many::GENERATIONS_MAX,
    places::{Places, Told, a_commit_before},
};
use crate::{Gateway, gateway::unavailable};

/// New ones that one look finds at most: sixteen pages. Who was away for longer begins anew.
const NEW_MAX: usize = 16 * GENERATIONS_MAX;

/// One to follow.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) generation: GenerationId,
    /// When it was made, or 0 for long ago; `None` where only its name was heard.
    pub(super) made_at: Option<Timestamp>,
    /// Where it begins; `None` for its state.
    pub(super) after: Option<After>,
    /// Made since the client looked last: it has to be told.
    pub(super) is_new: bool,
}

impl Newcomer {
    /// One that the client has heard nothing of.
    pub(super) const fn new(generation: GenerationId, made_at: Option<Timestamp>) -> Self {
        Self { generation, made_at, after: Some(After::Start), is_new: true }
    }
}

/// What had ended when somebody came without a cursor: no news, though it was made lately. Read before new ones are heard of.
///
/// # Errors
/// `unavailable` when the lists cannot be read.
pub(super) async fn ended(gateway: &Gateway, filter: &Filter, now: Timestamp) -> Result<Told, Problem> {
    let _place = gateway.pages.enter().await;
    let page = gateway.history.list(filter, None, GENERATIONS_MAX).await.map_err(|error| unavailable(&error))?;
    let since = a_commit_before(now);
    let is_lately = |made_at: Timestamp| made_at >= since;
    // Of more than a page, what stands behind it counts as old.
    let last = page.rows.last().filter(|_| page.next.is_some()).map(|row| row.row.created_at);
    let floor = last.filter(|last| is_lately(*last)).map_or(since, |last| last.plus(1));
    let rows = page.rows.into_iter().filter(|row| row.latest.kind.is_terminal() && row.row.created_at >= floor);
    Ok(Told::new(rows.map(|row| (row.generation, row.row.created_at)).collect(), floor))
}

/// Whom somebody follows who came without a cursor: what is under way, the newest first, each from `after`. Beside them when
/// the last of these was made, where older ones are left out.
///
/// # Errors
/// `unavailable` when the list cannot be read.
pub(super) async fn under_way(
    gateway: &Gateway,
    filter: &Filter,
    after: Option<&After>,
) -> Result<(VecDeque<Newcomer>, Option<Timestamp>), Problem> {
    let _place = gateway.pages.enter().await;
    let filter = Filter { unfinished: true, ..filter.clone() };
    let page = gateway.history.list(&filter, None, GENERATIONS_MAX).await.map_err(|error| unavailable(&error))?;
    let last = page.rows.last().filter(|_| page.next.is_some()).map(|row| row.row.created_at);
    let newcomer = |row: store::Listed| {
        let (generation, made_at) = (row.generation, Some(row.row.created_at));
        Newcomer { generation, made_at, after: after.cloned(), is_new: false }
    };
    Ok((page.rows.into_iter().map(newcomer).collect(), last))
}

/// Whom somebody follows who comes back: those in the cursor, what is new, the oldest first, and what else is under way.
/// Beside them those that are known to have been told.
///
/// # Errors
/// `unavailable` when the lists cannot be read, `invalid_position` when too many are new.
pub(super) async fn since(
    gateway: &Gateway,
    filter: &Filter,
    places: &Places,
) -> Result<(VecDeque<Newcomer>, Told), Problem> {
    let (under_way, _) = under_way(gateway, filter, None).await?;
    // After it: what is made in between is found to be new.
    let made = made_since(gateway, filter, places.at).await?;
    let dates: BTreeMap<_, _> = made.iter().map(|(made_at, generation)| (generation, *made_at)).collect();
    let mut found = VecDeque::new();
    for generation in places.generations.keys() {
        // Those that no list shows were made earlier.
        let made_at = Some(dates.get(generation).copied().unwrap_or_default());
        let after = places.place(generation);
        found.push_back(Newcomer { generation: generation.clone(), made_at, after, is_new: false });
    }
    let new = made.iter().filter(|(_, generation)| !places.has(generation));
    found.extend(new.map(|(made_at, generation)| Newcomer::new(generation.clone(), Some(*made_at))));
    let is_old = |one: &Newcomer| !dates.contains_key(&one.generation) && !places.has(&one.generation);
    found.extend(under_way.into_iter().filter(is_old));
    let told = made.iter().filter(|(_, generation)| places.told.contains(generation));
    let told = told.map(|(made_at, generation)| (generation.clone(), *made_at)).collect();
    Ok((found, Told::new(told, places.at)))
}

/// Those that were made `at` then or later, the oldest first.
///
/// # Errors
/// `unavailable` when the list cannot be read, `invalid_position` when there are too many.
pub(super) async fn made_since(
    gateway: &Gateway,
    filter: &Filter,
    at: Timestamp,
) -> Result<Vec<(Timestamp, GenerationId)>, Problem> {
    let _place = gateway.pages.enter().await;
    let (mut made, mut cursor) = (Vec::new(), None);
    loop {
        let page = gateway.history.list(filter, cursor, GENERATIONS_MAX).await.map_err(|error| unavailable(&error))?;
        cursor = page.next;
        // In the order of commits: behind one that was made so long before, none was made later than `at`.
        let is_last = page.rows.last().is_none_or(|row| row.row.created_at < a_commit_before(at));
        let rows = page.rows.into_iter().map(|row| (row.row.created_at, row.generation));
        made.extend(rows.filter(|(made_at, _)| *made_at >= at));
        if made.len() > NEW_MAX {
            return Err(too_far());
        }
        if is_last || cursor.is_none() {
            made.sort_unstable();
            return Ok(made);
        }
    }
}

fn too_far() -> Problem {
    Problem::new(ErrorCode::InvalidPosition, format!("more than {NEW_MAX} generations were made since that cursor"))
        .hint("begin without one, and list what you missed")
}
