//! Cases about finding generations.

use protocol::{GenerationId, Sequence, State};

use super::sample::{change, create, generation, id, row};
use crate::{Change, Filter, ListPage, Row, Store};

pub(super) async fn an_unknown_generation_is_nowhere(store: &dyn Store) {
    let nobody = generation("nobody");
    assert_eq!(store.latest(&nobody).await, Ok(None));
    assert_eq!(store.get(&nobody).await, Ok(None));
    assert!(store.load(&nobody).await.expect("a read").is_none());
    assert_eq!(store.events_after(&nobody, Sequence(0), 10).await, Ok(Vec::new()));
    assert_eq!(store.heads(std::slice::from_ref(&nobody)).await, Ok(Vec::new()));
    assert_eq!(store.artifact(&nobody, &id("film.mp4")).await, Ok(None));
    assert_eq!(store.artifacts(&nobody).await, Ok(Vec::new()));
    assert_eq!(store.delete(&nobody).await, Ok(None));
    assert_eq!(store.list(&Filter::default(), None, 10).await, Ok(ListPage::default()));
    assert_eq!(store.ready().await, Ok(()));
}

fn names(page: &ListPage) -> Vec<GenerationId> {
    page.rows.iter().map(|listed| listed.generation.clone()).collect()
}

pub(super) async fn lists_are_newest_first_and_pages_join(store: &dyn Store) {
    let all: Vec<GenerationId> = (0..7).map(|n| generation(&n.to_string())).collect();
    let created = all.iter().map(|generation| create(generation, row("t", State::Queued))).collect();
    assert!(store.commit(created).await.iter().all(Result::is_ok));

    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&Filter::default(), cursor, 3).await.expect("a read");
        assert!(page.rows.len() <= 3);
        seen.extend(names(&page));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, all.into_iter().rev().collect::<Vec<_>>());
    // The last page is full and still says that it is the last.
    assert_eq!(store.list(&Filter::default(), None, 7).await.expect("a read").next, None);
}

pub(super) async fn filters_choose_what_is_listed_and_counted(store: &dyn Store) {
    let make = |name, owner: &str, tenant, state| {
        let mut row = row(tenant, state);
        row.owner = id(owner);
        create(&generation(name), row)
    };
    let created: Vec<Change> = vec![
        make("a", "ann", "t", State::Queued),
        make("b", "ann", "t", State::Complete),
        make("c", "bob", "t", State::Running),
        make("d", "bob", "u", State::Failed),
        make("e", "ann", "u", State::Running),
    ];
    assert!(store.commit(created).await.iter().all(Result::is_ok));
    let ann = || Some(id("ann"));
    let unfinished = Filter { unfinished: true, ..Filter::default() };
    for (filter, expected) in [
        (Filter { owner: ann(), ..Filter::default() }, vec!["e", "b", "a"]),
        (Filter { owner: ann(), unfinished: true, ..Filter::default() }, vec!["e", "a"]),
        (Filter { tenant: Some(id("t")), ..Filter::default() }, vec!["c", "b", "a"]),
        (Filter { owner: ann(), tenant: Some(id("u")), ..Filter::default() }, vec!["e"]),
        (Filter { state: Some(State::Running), ..Filter::default() }, vec!["e", "c"]),
        (Filter { owner: ann(), state: Some(State::Failed), ..Filter::default() }, vec![]),
        (unfinished, vec!["e", "c", "a"]),
    ] {
        let page = store.list(&filter, None, 10).await.expect("a read");
        assert_eq!(names(&page), expected.iter().map(|name| generation(name)).collect::<Vec<_>>(), "{filter:?}");
        assert_eq!(store.count(&filter, 10).await, Ok(expected.len()), "{filter:?}");
        assert_eq!(store.count(&filter, 1).await, Ok(expected.len().min(1)), "{filter:?}");
    }
}

pub(super) async fn the_unfinished_are_counted_by_tenant_and_owner(store: &dyn Store) {
    let of = |owner: &str, state| Row { owner: id(owner), ..row("t", state) };
    let counts = async || {
        let (tenant, ada) = (id("t"), id("ada"));
        let counts = (store.unfinished(&tenant, None).await, store.unfinished(&tenant, Some(&ada)).await);
        (counts.0.expect("a read"), counts.1.expect("a read"))
    };
    let made = [("a", of("ada", State::Queued)), ("b", of("ada", State::Running)), ("c", of("bob", State::Queued))];
    let made = made.into_iter().chain([("d", of("ada", State::Failed))]).map(|(n, row)| create(&generation(n), row));
    assert!(store.commit(made.collect()).await.iter().all(Result::is_ok));
    assert_eq!(counts().await, (3, 2));
    let end =
        |n: u64| Change { row: Some(of("ada", State::Complete)), ..change(&generation("a"), &format!("e{n}"), n, 1) };
    assert!(store.commit(vec![end(1), end(2)]).await.iter().all(Result::is_ok));
    assert_eq!(counts().await, (2, 1), "an end counts once");
    assert_eq!(store.unfinished(&id("nobody"), None).await, Ok(0));
}
