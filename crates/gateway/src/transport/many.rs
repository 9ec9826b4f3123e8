//! Many generations as one stream, and the cursor that says where each of them is.
//!
//! The cursor is opaque to clients, signed, and grants nothing: each generation in it is authorised again on each use. A client
//! that keeps a position for each generation names them as `generation=<id>@<position>` and needs no cursor.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use access::{Identity, Verb, may, may_see_tenant};
use axum::http::Uri;
use protocol::{After, Epoch, ErrorCode, GenerationId, Position, Problem, Sequence, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Filter;

use super::{
    events::{Way, announced, read_after},
    token,
};
use crate::{
    Gateway,
    feed::{Feed, Item},
    gateway::unavailable,
    hub::{Follow, Fresh, Wake},
};

/// Generations one stream follows: a page of thumbnails. Each has its place in the cursor that comes with each event.
const GENERATIONS_MAX: usize = 64;
/// In a cursor, the place of one whose position is gone and whose state was not given yet: beyond every head, so that whoever
/// gives it back is given the state and told so.
const GONE: Sequence = Sequence(u64::MAX);

/// Where each generation is, as a client carries it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Places {
    #[serde(rename = "e")]
    epoch: String,
    /// Generations of one's own that were created later are new to the client.
    #[serde(rename = "t")]
    at: Timestamp,
    #[serde(rename = "g")]
    generations: BTreeMap<GenerationId, Sequence>,
}

/// Several feeds behind one ear.
pub(super) struct Many {
    feeds: Vec<Feed>,
    /// Whose new generations join.
    follow: Option<(Follow, Arc<Identity>)>,
    wake: Option<Arc<Wake>>,
    is_one: bool,
    opened_at: Timestamp,
    /// Where the next look begins, so that a busy one does not hide the others.
    turn: usize,
}

/// Generations by name.
type Named = BTreeMap<GenerationId, Option<After>>;

/// What is followed.
enum Wanted {
    /// Each with its own place to begin, where one was given.
    Named(Named),
    Mine,
    Tenant(TenantId),
}

impl Many {
    /// One generation; its ids are positions.
    pub(super) fn one(feed: Feed) -> Self {
        let opened_at = Timestamp(0);
        Self { feeds: vec![feed], follow: None, wake: None, is_one: true, opened_at, turn: 0 }
    }

    /// Those that `uri` names, from where `cursor` says; without a cursor, from their own places, or the state each has.
    /// In a stream, pictures are announced of those that `frames=` names.
    pub(super) async fn open(
        gateway: &Arc<Gateway>,
        identity: Arc<Identity>,
        uri: &Uri,
        cursor: Option<&str>,
        way: Way,
        wake: &Arc<Wake>,
    ) -> Result<Self, Problem> {
        let opened_at = gateway.node.now();
        let wanted = wanted(uri, &identity)?;
        let own = if let Wanted::Named(named) = &wanted { named.clone() } else { BTreeMap::new() };
        let shown: BTreeSet<String> = token::params(uri, "frames").collect();
        let wish =
            |generation: &GenerationId| (way == Way::Stream && shown.contains(generation.as_str())).then(announced);
        // Before the list is read: what is made meanwhile is heard of.
        let follow = matches!(wanted, Wanted::Mine).then(|| {
            let follow = gateway.hub().follow(&identity.tenant, &identity.user, Arc::clone(wake));
            (follow, identity.clone())
        });
        let places = cursor
            .filter(|text| !matches!(*text, "start" | "now"))
            .map(|text| read_places(gateway, text))
            .transpose()?;
        let everything = match cursor {
            Some("start") => Some(After::Start),
            Some("now") => Some(After::Now),
            _ => None,
        };
        let mut feeds = Vec::new();
        for (generation, is_new) in list(gateway, &identity, wanted, places.as_ref()).await? {
            let known = places.as_ref().and_then(|places| place(places, &generation));
            let after = known
                .or_else(|| everything.clone())
                .or_else(|| own.get(&generation).cloned().flatten())
                .or_else(|| is_new.then_some(After::Start));
            match Feed::open(gateway, &identity, &generation, after.as_ref(), wake, wish(&generation)).await {
                Ok(feed) => feeds.push(feed),
                // Deleted since the cursor was written, which ends it like any other end.
                Err(problem) if problem.code == ErrorCode::NotFound && places.is_some() => {}
                // Which one it was, for one alone is known.
                Err(problem) if own.len() > 1 => return Err(problem.details(json!({ "generationId": generation }))),
                Err(problem) => return Err(problem),
            }
        }
        Ok(Self { feeds, follow, wake: Some(Arc::clone(wake)), is_one: false, opened_at, turn: 0 })
    }

    /// How many are followed.
    pub(super) const fn len(&self) -> usize {
        self.feeds.len()
    }

    /// Is it the stream of a single generation?
    pub(super) const fn is_one(&self) -> bool {
        self.is_one
    }

    /// The generation an item came from.
    pub(super) fn generation(&self, at: usize) -> &GenerationId {
        self.feeds[at].generation()
    }

    /// Have all ended, and can none join?
    pub(super) fn has_ended(&self) -> bool {
        self.follow.is_none() && self.feeds.iter().all(Feed::has_ended)
    }

    /// Is there more already?
    pub(super) fn has_more(&self) -> bool {
        self.feeds.iter().any(Feed::has_more)
    }

    /// The next item of any, and which one it came from.
    pub(super) async fn ready(&mut self, gateway: &Arc<Gateway>) -> Result<Option<(usize, Item)>, Problem> {
        self.join_new(gateway).await?;
        let count = self.feeds.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let item = self.feeds[at].ready().await?;
            if let Some(item) = item.or_else(|| if self.is_one { None } else { self.feeds[at].end() }) {
                self.turn = at + 1;
                return Ok(Some((at, item)));
            }
        }
        Ok(None)
    }

    /// The cursor behind everything that was given.
    pub(super) fn cursor(&self, gateway: &Gateway) -> String {
        let place = |feed: &Feed| if feed.is_lost() { GONE } else { feed.position() };
        let generations = self.feeds.iter().map(|feed| (feed.generation().clone(), place(feed))).collect();
        let epoch = gateway.encoder().epoch().to_string();
        let json = serde_json::to_vec(&Places { epoch, at: self.opened_at, generations });
        gateway.cursors.seal(&json.expect("ids and numbers are JSON"))
    }

    async fn join_new(&mut self, gateway: &Arc<Gateway>) -> Result<(), Problem> {
        let (Some((follow, identity)), Some(wake)) = (&mut self.follow, &self.wake) else { return Ok(()) };
        let fresh = match follow.fresh() {
            Fresh::Generations(fresh) => fresh,
            Fresh::TooMany => {
                let events = gateway.mine(identity.tenant.clone(), identity.user.clone()).await;
                events.map_err(|error| unavailable(&error))?.into_iter().map(|event| event.generation_id).collect()
            }
        };
        for generation in fresh {
            if self.feeds.iter().any(|feed| feed.generation() == &generation) {
                continue;
            }
            if self.feeds.len() >= GENERATIONS_MAX {
                // Room is made by one that has ended; without any, it is honest to stop.
                let Some(ended) = self.feeds.iter().position(Feed::has_ended) else { return Err(too_many()) };
                self.feeds.swap_remove(ended);
            }
            let feed = Feed::open(gateway, identity, &generation, Some(&After::Start), wake, None).await?;
            self.feeds.push(feed);
        }
        Ok(())
    }
}

fn wanted(uri: &Uri, identity: &Identity) -> Result<Wanted, Problem> {
    if token::flag(uri, "mine") && may(identity, Verb::Watch, None) {
        return Ok(Wanted::Mine);
    }
    if let Some(tenant) = token::param(uri, "tenant") {
        let tenant: Option<TenantId> = tenant.parse().ok().filter(|tenant| may_see_tenant(identity, tenant));
        let forbidden = || Problem::new(ErrorCode::Forbidden, "this token does not see that tenant");
        return tenant.map(Wanted::Tenant).ok_or_else(forbidden);
    }
    named(uri).map(Wanted::Named)
}

/// The generations that a query names, and where each begins. Named twice is followed once.
///
/// # Errors
/// When there are none, too many, or one cannot be read.
pub(super) fn named(uri: &Uri) -> Result<Named, Problem> {
    let named: Vec<String> = token::params(uri, "generation").take(GENERATIONS_MAX + 1).collect();
    if named.len() > GENERATIONS_MAX {
        return Err(too_many());
    }
    if named.is_empty() {
        let hint = "name them with `generation=`, or ask for `mine`";
        return Err(Problem::new(ErrorCode::InvalidRequest, "no generation was named").hint(hint));
    }
    named.iter().map(|text| name(text)).collect()
}

/// `<id>`, or `<id>@<where to begin>`.
fn name(text: &str) -> Result<(GenerationId, Option<After>), Problem> {
    let (id, after) = text.split_once('@').map_or((text, None), |(id, after)| (id, Some(after)));
    let id = id.parse().map_err(|_| Problem::not_found())?;
    Ok((id, after.map(read_after).transpose()?))
}

/// Which to follow, and which of them the client cannot know yet.
async fn list(
    gateway: &Gateway,
    identity: &Identity,
    wanted: Wanted,
    places: Option<&Places>,
) -> Result<Vec<(GenerationId, bool)>, Problem> {
    let filter = match wanted {
        Wanted::Named(named) => return Ok(named.into_keys().map(|id| (id, false)).collect()),
        Wanted::Mine => {
            Filter { owner: Some(identity.user.clone()), tenant: Some(identity.tenant.clone()), ..Filter::default() }
        }
        Wanted::Tenant(tenant) => Filter { tenant: Some(tenant), ..Filter::default() },
    };
    let _place = gateway.pages.enter().await;
    let mut found: Vec<(GenerationId, bool)> =
        places.iter().flat_map(|places| places.generations.keys().cloned()).map(|id| (id, false)).collect();
    let mut add = |generation: GenerationId, is_new: bool| {
        if !found.iter().any(|(known, _)| *known == generation) {
            found.push((generation, is_new));
        }
    };
    // Those under way, and with a cursor those that came and perhaps went while the client was away.
    let unfinished = Filter { unfinished: true, ..filter.clone() };
    let page = gateway.history.list(&unfinished, None, GENERATIONS_MAX).await.map_err(|error| unavailable(&error))?;
    for row in page.rows {
        add(row.generation, places.is_some_and(|places| row.row.created_at >= places.at));
    }
    if let Some(places) = places {
        let page = gateway.history.list(&filter, None, limits::PAGE_GENERATIONS_MAX).await;
        for row in page.map_err(|error| unavailable(&error))?.rows {
            if row.row.created_at >= places.at {
                add(row.generation, true);
            }
        }
    }
    if found.len() > GENERATIONS_MAX {
        return Err(too_many());
    }
    Ok(found)
}

fn read_places(gateway: &Gateway, text: &str) -> Result<Places, Problem> {
    let places = gateway.cursors.open(text).and_then(|json| serde_json::from_slice::<Places>(&json).ok());
    let places = places.filter(|places| places.generations.len() <= GENERATIONS_MAX);
    places.ok_or_else(|| {
        Problem::new(ErrorCode::InvalidPosition, "that cursor is none of this server's")
            .hint("give back the `cursor` as it came, or begin without one")
    })
}

fn place(places: &Places, generation: &GenerationId) -> Option<After> {
    let sequence = *places.generations.get(generation)?;
    let epoch = Epoch::new(&places.epoch).ok()?;
    Some(After::Position(Position { epoch, sequence }))
}

fn too_many() -> Problem {
    Problem::new(ErrorCode::InvalidRequest, format!("at most {GENERATIONS_MAX} generations in one stream"))
        .hint("use several streams, or the live socket")
}
