//! Many generations as one stream, and the cursor that says where each of them is.
//!
//! The cursor is opaque to clients, signed, and grants nothing: each generation in it is authorised again on each use. A client
//! that keeps a position for each generation names them as `generation=<id>@<position>` and needs no cursor. What stands in a
//! cursor belongs to `places`, which generations an owner or a tenant has to `newcomers`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use access::{Identity, Verb, may, may_see_tenant};
use axum::http::Uri;
use protocol::{After, ErrorCode, GenerationId, Problem, Sequence, TenantId, Timestamp};
use serde_json::json;
use store::Filter;

use super::{
    events::{Way, announced, read_after},
    newcomers::{self, Newcomer},
    places::{Places, Told},
    token,
};
use crate::{
    Gateway,
    feed::{Feed, Item},
    hub::{Follow, Fresh, Wake},
};

/// Generations one stream follows: a page of thumbnails. Each has its place in the cursor that comes with each event.
pub(super) const GENERATIONS_MAX: usize = 64;
/// In a cursor, the place of one whose position is gone and whose state was not given yet: beyond every head, so that whoever
/// gives it back is given the state and told so.
const GONE: Sequence = Sequence(u64::MAX);

/// Several feeds behind one ear.
pub(super) struct Many {
    feeds: Vec<Followed>,
    /// Where it is all of an owner or a tenant.
    all: Option<All>,
    is_one: bool,
    opened_at: Timestamp,
    /// Where the next look begins, so that a busy one does not hide the others.
    turn: usize,
}

struct Followed {
    feed: Feed,
    /// When it was made; where only its name was heard, when the first event was decided that was given of it.
    made_at: Option<Timestamp>,
}

/// Of an owner or a tenant: who may join, and who made room.
struct All {
    identity: Arc<Identity>,
    wake: Arc<Wake>,
    filter: Filter,
    /// Whose new generations join.
    follow: Option<Follow>,
    /// Of which pictures are announced.
    shown: BTreeSet<String>,
    /// In the order of joining. New ones are taken from lists and from `follow` only while it is empty, which bounds it.
    waiting: VecDeque<Newcomer>,
    told: Told,
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
        let feeds = vec![Followed { feed, made_at: None }];
        Self { feeds, all: None, is_one: true, opened_at: Timestamp(0), turn: 0 }
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
        let places = cursor
            .filter(|text| !matches!(*text, "start" | "now"))
            .map(|text| Places::read(gateway, text))
            .transpose()?;
        let everything = match cursor {
            Some("start") => Some(After::Start),
            Some("now") => Some(After::Now),
            _ => None,
        };
        let shown = token::params(uri, "frames").filter(|_| way == Way::Stream).collect();
        let mut many = Self { feeds: Vec::new(), all: None, is_one: false, opened_at, turn: 0 };
        match wanted {
            Wanted::Named(named) => {
                let door = Door { gateway, identity: &identity, wake, shown: &shown };
                many.feeds = open_named(&door, &named, places.as_ref(), everything.as_ref()).await?;
            }
            Wanted::Mine => {
                let (owner, tenant) = (Some(identity.user.clone()), Some(identity.tenant.clone()));
                let all = All::new(identity, wake, Filter { owner, tenant, ..Filter::default() }, shown);
                many.open_all(gateway, all, places.as_ref(), everything.as_ref()).await?;
            }
            Wanted::Tenant(tenant) => {
                let all = All::new(identity, wake, Filter { tenant: Some(tenant), ..Filter::default() }, shown);
                many.open_all(gateway, all, places.as_ref(), everything.as_ref()).await?;
            }
        }
        Ok(many)
    }

    async fn open_all(
        &mut self,
        gateway: &Arc<Gateway>,
        mut all: All,
        places: Option<&Places>,
        everything: Option<&After>,
    ) -> Result<(), Problem> {
        if places.is_none() {
            all.told = newcomers::ended(gateway, &all.filter, self.opened_at).await?;
        }
        // Before the other lists are read: what is made meanwhile is heard of.
        if let Some(owner) = &all.filter.owner {
            all.follow = Some(gateway.hub().follow(&all.identity.tenant, owner, Arc::clone(&all.wake)));
        }
        match places {
            Some(places) => (all.waiting, all.told) = newcomers::since(gateway, &all.filter, places).await?,
            None => {
                let (waiting, last) = newcomers::under_way(gateway, &all.filter, everything).await?;
                all.waiting = waiting;
                // Those left out are no news to the next page either.
                all.told.forget(last);
            }
        }
        self.all = Some(all);
        self.let_in(gateway).await?;
        let all_run = || self.feeds.iter().all(|followed| !followed.feed.is_finished());
        if self.all.as_ref().is_some_and(All::has_new) && all_run() { Err(too_many()) } else { Ok(()) }
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
        self.feeds[at].feed.generation()
    }

    /// Have all ended, and can none join?
    pub(super) fn has_ended(&self) -> bool {
        let can_join = self.all.as_ref().is_some_and(|all| all.follow.is_some() || !all.waiting.is_empty());
        !can_join && self.feeds.iter().all(|followed| followed.feed.has_ended())
    }

    /// Is there more already?
    pub(super) fn has_more(&self) -> bool {
        let waits = self.all.as_ref().is_some_and(|all| !all.waiting.is_empty());
        waits || self.feeds.iter().any(|followed| followed.feed.has_more())
    }

    /// The next item of any, and which one it came from.
    pub(super) async fn ready(&mut self, gateway: &Arc<Gateway>) -> Result<Option<(usize, Item)>, Problem> {
        self.hear_new(gateway).await?;
        self.let_in(gateway).await?;
        let count = self.feeds.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Followed { feed, made_at } = &mut self.feeds[at];
            let item = feed.ready().await?;
            if let Some(Item::Event(event) | Item::Snapshot(event)) = &item {
                made_at.get_or_insert(event.event().timestamp);
            }
            if let Some(item) = item.or_else(|| if self.is_one { None } else { feed.end() }) {
                self.turn = at + 1;
                return Ok(Some((at, item)));
            }
        }
        // Whoever waits now waits for one that goes on: for a new one it is honest to stop.
        match &mut self.all {
            Some(all) if all.has_new() => Err(too_many()),
            Some(all) => {
                all.waiting.clear();
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The cursor behind everything that was given.
    pub(super) fn cursor(&self, gateway: &Gateway) -> String {
        let epoch = gateway.encoder().epoch().to_string();
        let at = self.all.as_ref().map_or(self.opened_at, |all| all.told.at(self.opened_at, all.untold()));
        let mut places = Places { epoch, at, ..Places::default() };
        for Followed { feed, made_at } in &self.feeds {
            let generation = feed.generation().clone();
            if self.all.is_none() || !feed.is_over() {
                places.generations.insert(generation, if feed.is_lost() { GONE } else { feed.position() });
            } else if made_at.is_some_and(|made_at| made_at >= at) {
                places.told.insert(generation);
            }
        }
        places.told.extend(self.all.iter().flat_map(|all| all.told.since(at).cloned()));
        places.write(gateway)
    }

    async fn hear_new(&mut self, gateway: &Gateway) -> Result<(), Problem> {
        let Some(all) = &mut self.all else { return Ok(()) };
        // While some wait, the next are remembered for us.
        let Some(follow) = all.follow.as_mut().filter(|_| all.waiting.is_empty()) else { return Ok(()) };
        let fresh: Vec<_> = match follow.fresh() {
            Fresh::Generations(fresh) => fresh.into_iter().map(|generation| (None, generation)).collect(),
            Fresh::TooMany => {
                let at = all.told.at(self.opened_at, None);
                let made = newcomers::made_since(gateway, &all.filter, at).await?;
                made.into_iter().map(|(made_at, generation)| (Some(made_at), generation)).collect()
            }
        };
        for (made_at, generation) in fresh {
            let is_followed = || self.feeds.iter().any(|followed| *followed.feed.generation() == generation);
            if !all.told.has(&generation) && !is_followed() {
                all.waiting.push_back(Newcomer::new(generation, made_at));
            }
        }
        Ok(())
    }

    /// Begins to follow those that wait, as far as there is room. Room is made by one that was told to its end.
    async fn let_in(&mut self, gateway: &Arc<Gateway>) -> Result<(), Problem> {
        let Some(all) = &mut self.all else { return Ok(()) };
        while !all.waiting.is_empty() {
            if self.feeds.len() >= GENERATIONS_MAX {
                let Some(over) = self.feeds.iter().position(|followed| followed.feed.is_over()) else { break };
                let Followed { feed, made_at } = self.feeds.swap_remove(over);
                let untold = all.untold();
                all.told.add(feed.generation().clone(), made_at.unwrap_or_default(), untold);
            }
            let Some(newcomer) = all.waiting.pop_front() else { break };
            let door = Door { gateway, identity: &all.identity, wake: &all.wake, shown: &all.shown };
            match door.open(&newcomer.generation, newcomer.after.as_ref()).await {
                Ok(feed) => self.feeds.push(Followed { feed, made_at: newcomer.made_at }),
                // Deleted since it was listed, which ends it like any other end; or another's, in a cursor from other hands.
                Err(problem) if problem.code == ErrorCode::NotFound => {}
                Err(problem) => {
                    // A cursor may still be asked for, and must not pass it over.
                    all.waiting.push_front(newcomer);
                    return Err(problem);
                }
            }
        }
        Ok(())
    }
}

impl All {
    fn new(identity: Arc<Identity>, wake: &Arc<Wake>, filter: Filter, shown: BTreeSet<String>) -> Self {
        let (wake, waiting, told) = (Arc::clone(wake), VecDeque::new(), Told::default());
        Self { identity, wake, filter, follow: None, shown, waiting, told }
    }

    /// Does one wait that has to be told?
    fn has_new(&self) -> bool {
        self.waiting.iter().any(|newcomer| newcomer.is_new)
    }

    /// When the oldest was made that waits and has to be told.
    fn untold(&self) -> Option<Timestamp> {
        self.waiting.iter().filter(|newcomer| newcomer.is_new).filter_map(|newcomer| newcomer.made_at).min()
    }
}

/// What it takes to open a feed.
struct Door<'a> {
    gateway: &'a Arc<Gateway>,
    identity: &'a Identity,
    wake: &'a Arc<Wake>,
    shown: &'a BTreeSet<String>,
}

impl Door<'_> {
    async fn open(&self, generation: &GenerationId, after: Option<&After>) -> Result<Feed, Problem> {
        let wish = self.shown.contains(generation.as_str()).then(announced);
        Feed::open(self.gateway, self.identity, generation, after, self.wake, wish).await
    }
}

async fn open_named(
    door: &Door<'_>,
    named: &Named,
    places: Option<&Places>,
    everything: Option<&After>,
) -> Result<Vec<Followed>, Problem> {
    let mut feeds = Vec::new();
    for (generation, own) in named {
        let known = places.and_then(|places| places.place(generation));
        let after = known.as_ref().or(everything).or(own.as_ref());
        match door.open(generation, after).await {
            Ok(feed) => feeds.push(Followed { feed, made_at: None }),
            // Deleted since the cursor was written, which ends it like any other end.
            Err(problem) if problem.code == ErrorCode::NotFound && places.is_some() => {}
            // Which one it was, for one alone is known.
            Err(problem) if named.len() > 1 => return Err(problem.details(json!({ "generationId": generation }))),
            Err(problem) => return Err(problem),
        }
    }
    Ok(feeds)
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

fn too_many() -> Problem {
    Problem::new(ErrorCode::InvalidRequest, format!("at most {GENERATIONS_MAX} generations in one stream"))
        .hint("use several streams, or the live socket")
}
