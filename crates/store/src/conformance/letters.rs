//! Cases about dead letters and what operators decided.

use std::collections::BTreeMap;

use protocol::{
    CausalId, GenerationId, State, Timestamp,
    dead::{DeadLetter, DeadLetterFilter},
    worker::FailureKind,
};

use super::sample::{change, create, generation, id, row};
use crate::{Change, Row, Store};

fn letter(generation: &GenerationId, code: &str, at: u64) -> DeadLetter {
    DeadLetter {
        schema: DeadLetter::SCHEMA.to_owned(),
        generation_id: generation.clone(),
        tenant_id: id("t"),
        user_id: id("user_456"),
        causal_id: id::<CausalId>("cause"),
        pipeline: id("default"),
        version: 1,
        stage: Some(id("draw")),
        cause: FailureKind::OutOfMemory,
        code: code.to_owned(),
        message: format!("{code} it is"),
        hint: String::new(),
        fingerprint: format!("print of {code}"),
        attempts: BTreeMap::new(),
        created_at: Timestamp(1),
        failed_at: Timestamp(at),
        redriven_as: None,
        input: None,
        history: Vec::new(),
    }
}

async fn fail(store: &dyn Store, name: &str, code: &str, at: u64) -> DeadLetter {
    let generation = generation(name);
    let letter = letter(&generation, code, at);
    let failed = Row { updated_at: Timestamp(at), ..row("t", State::Failed) };
    let failed =
        Change { row: Some(failed), letter: Some(Box::new(letter.clone())), ..change(&generation, "fail", 1, 1) };
    let written = store.commit(vec![create(&generation, row("t", State::Running)), failed]).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    letter
}

pub(super) async fn a_letter_is_kept_with_the_change_that_makes_it(store: &dyn Store) {
    let kept = fail(store, "a", "OOM", 10).await;
    assert_eq!(store.letter(&generation("a")).await, Ok(Some(kept.clone())));
    assert_eq!(store.letter(&generation("b")).await, Ok(None));
    // A change that is refused leaves none.
    let late = Change { letter: Some(Box::new(kept.clone())), ..change(&generation("a"), "late", 1, 1) };
    assert!(store.commit(vec![late]).await[0].is_err());
    // What is made of it is noted when that is there, and not before.
    let made = Change { redrives: Some(generation("a")), ..create(&generation("b"), row("t", State::Queued)) };
    let conflict = Change { expected: protocol::Sequence(7), ..made.clone() };
    assert!(store.commit(vec![conflict]).await[0].is_err());
    assert_eq!(store.letter(&generation("a")).await, Ok(Some(kept.clone())));
    assert!(store.commit(vec![made]).await[0].is_ok());
    let redriven = DeadLetter { redriven_as: Some(generation("b")), ..kept };
    assert_eq!(store.letter(&generation("a")).await, Ok(Some(redriven)));
    store.delete(&generation("a")).await.expect("it has ended");
    assert_eq!(store.letter(&generation("a")).await, Ok(None), "it goes with its generation");
}

pub(super) async fn letters_are_filtered_grouped_paged_and_purged(store: &dyn Store) {
    for (n, code) in ["OOM", "CUDA", "OOM", "OOM"].into_iter().enumerate() {
        fail(store, &format!("g{n}"), code, 10 + n as u64).await;
    }
    let all = DeadLetterFilter::default();
    let names = |letters: &[DeadLetter]| letters.iter().map(|l| l.generation_id.to_string()).collect::<Vec<_>>();
    let first = store.letters(&all, None, 3).await.expect("a read");
    assert_eq!(names(&first.letters), ["gen_g3", "gen_g2", "gen_g1"]);
    let last = store.letters(&all, first.next, 3).await.expect("a read");
    assert_eq!((names(&last.letters), last.next), (vec!["gen_g0".to_owned()], None));

    let of =
        |filter: DeadLetterFilter| async move { store.letters(&filter, None, 9).await.expect("a read").letters.len() };
    assert_eq!(of(DeadLetterFilter { code: Some("OOM".to_owned()), ..all.clone() }).await, 3);
    assert_eq!(of(DeadLetterFilter { before: Some(Timestamp(12)), ..all.clone() }).await, 2);
    assert_eq!(of(DeadLetterFilter { tenant: Some(id("other")), ..all.clone() }).await, 0);
    assert_eq!(of(DeadLetterFilter { cause: Some(FailureKind::OutOfMemory), ..all.clone() }).await, 4);
    assert_eq!(of(DeadLetterFilter { redriven: Some(true), ..all.clone() }).await, 0);
    let stage = DeadLetterFilter { stage: Some(id("draw")), pipeline: Some(id("default")), ..all.clone() };
    assert_eq!(of(DeadLetterFilter { fingerprint: Some("print of CUDA".to_owned()), ..stage }).await, 1);

    let groups = store.letter_groups(&all, 9).await.expect("a read");
    let shown: Vec<_> =
        groups.iter().map(|group| (group.code.as_str(), group.count, group.generation_id.as_str())).collect();
    assert_eq!(shown, [("OOM", 3, "gen_g3"), ("CUDA", 1, "gen_g1")], "the newest stands for its group");
    assert_eq!((groups[0].first_at, groups[0].last_at), (Timestamp(10), Timestamp(13)));

    let oom = DeadLetterFilter { code: Some("OOM".to_owned()), ..all.clone() };
    assert_eq!(store.purge_letters(&oom, 2).await, Ok(2), "the oldest first");
    assert_eq!(names(&store.letters(&all, None, 9).await.expect("a read").letters), ["gen_g3", "gen_g1"]);
    assert!(store.get(&generation("g0")).await.expect("a read").is_some(), "the generation stays");
}

pub(super) async fn a_switch_is_kept_until_it_is_forgotten(store: &dyn Store) {
    store.put_switch("b", Some("1")).await.expect("a write");
    store.put_switch("a", Some("2")).await.expect("a write");
    store.put_switch("b", Some("3")).await.expect("a write");
    let kept = |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    assert_eq!(store.switches().await, kept(&[("a", "2"), ("b", "3")]));
    store.put_switch("a", None).await.expect("a write");
    assert_eq!(store.switches().await, kept(&[("b", "3")]));
}
