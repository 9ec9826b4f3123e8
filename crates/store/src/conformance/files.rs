//! Cases about artifacts, uploads, deletion and retention.

use protocol::{GenerationId, State, TenantId, Timestamp};

use super::{
    commits::commit,
    sample::{change, claim, create, generation, id, row},
};
use crate::{Artifact, Change, CommitError, Committed, Shares, Store, StoreError, Swept, Upload};

fn artifact(name: &str, blob: &str) -> Artifact {
    Artifact { name: id(name), size: 5_000_000_000, sha256: blob.into(), at: Timestamp(7) }
}

/// A generation that ended at `at`.
async fn ended(store: &dyn Store, name: &str, at: u64) -> GenerationId {
    let generation = generation(name);
    let mut row = row("t", State::Complete);
    row.updated_at = Timestamp(at);
    assert!(commit(store, create(&generation, row)).await.is_ok());
    generation
}

async fn put(store: &dyn Store, generation: &GenerationId, name: &str, blob: &str) {
    assert_eq!(store.put_artifact(generation, artifact(name, blob)).await, Ok(()));
}

/// A sweep whose caller removes what it is told of.
async fn sweep(store: &dyn Store, events: Option<u64>, artifacts: Option<u64>) -> Swept {
    let swept = store.sweep(events.map(Timestamp), artifacts.map(Timestamp), 2).await.expect("a sweep");
    assert_eq!(store.forget_blobs(swept.blobs.clone()).await, Ok(()));
    swept
}

pub(super) async fn the_same_name_replaces_an_artifact(store: &dyn Store) {
    let a = ended(store, "a", 10).await;
    put(store, &a, "film.mp4", "one").await;
    put(store, &a, "a.png", "picture").await;
    put(store, &a, "film.mp4", "two").await;
    assert_eq!(store.artifact(&a, &id("film.mp4")).await, Ok(Some(artifact("film.mp4", "two"))));
    assert_eq!(store.artifacts(&a).await, Ok(vec![artifact("a.png", "picture"), artifact("film.mp4", "two")]));
    assert_eq!(sweep(store, None, None).await.blobs, ["one"], "the blob that was replaced");
    let nobody = store.put_artifact(&generation("nobody"), artifact("film.mp4", "x")).await;
    assert!(matches!(nobody, Err(StoreError::Unavailable(_))), "{nobody:?}");
}

pub(super) async fn only_a_finished_generation_is_deleted_and_with_all_that_is_its_own(store: &dyn Store) {
    let a = generation("a");
    let created = Change { claim: Some(claim("key", 1)), ..create(&a, row("t", State::Running)) };
    assert!(commit(store, created.clone()).await.is_ok());
    put(store, &a, "film.mp4", "blob").await;
    let refused = store.delete(&a).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(store.get(&a).await.expect("a read").is_some());

    let end = Change { row: Some(row("t", State::Failed)), ..change(&a, "end", 1, 1) };
    assert!(commit(store, end).await.is_ok());
    assert_eq!(store.delete(&a).await, Ok(Some(vec!["blob".into()])));
    assert_eq!(store.delete(&a).await, Ok(None));
    assert_eq!(store.get(&a).await, Ok(None));
    assert_eq!(store.artifacts(&a).await, Ok(Vec::new()));
    // Its name, its command and its key are free again.
    assert_eq!(commit(store, created).await, Ok(Committed::New { last: protocol::Sequence(1) }));
}

pub(super) async fn a_blob_is_told_of_when_nobody_names_it(store: &dyn Store) {
    let (a, b) = (ended(store, "a", 10).await, ended(store, "b", 10).await);
    put(store, &a, "film.mp4", "shared").await;
    put(store, &a, "copy.mp4", "shared").await;
    put(store, &b, "film.mp4", "shared").await;
    put(store, &a, "input.png", "uploaded").await;
    let upload = Upload {
        file: id("upl_1"),
        owner: id("user_456"),
        tenant: TenantId::fallback(),
        size: 1,
        sha256: "uploaded".into(),
        at: Timestamp(7),
    };
    assert_eq!(store.put_upload(upload).await, Ok(()));
    assert_eq!(store.delete(&a).await, Ok(Some(Vec::new())), "others still name them");
    assert_eq!(store.delete(&b).await, Ok(Some(vec!["shared".into()])));
    // It is told once more, for a caller that died before it removed the file.
    assert_eq!(sweep(store, None, None).await.blobs, ["shared"]);
    assert_eq!(sweep(store, None, None).await, Swept::default());
    // A blob that is named again is not told of.
    let c = ended(store, "c", 10).await;
    put(store, &c, "film.mp4", "back").await;
    put(store, &c, "film.mp4", "other").await;
    put(store, &c, "again.mp4", "back").await;
    assert_eq!(sweep(store, None, None).await, Swept::default());
}

pub(super) async fn a_blob_is_told_of_until_it_has_a_row_or_is_gone(store: &dyn Store) {
    let told = async || store.sweep(None, None, 2).await.expect("a sweep").blobs;
    let a = ended(store, "a", 10).await;
    for blob in ["named", "left", "back"] {
        assert_eq!(store.expect_blob(blob).await, Ok(()));
    }
    put(store, &a, "film.mp4", "named").await;
    assert_eq!(store.expect_blob("named").await, Ok(()), "somebody else has the same content");
    assert_eq!(told().await, ["back", "left"]);
    assert_eq!(told().await, ["back", "left"], "nobody said that they are gone");
    // One comes again after its file was removed and before that is said.
    assert_eq!(store.expect_blob("back").await, Ok(()));
    let gone = ["back", "left", "named", "unknown"].map(String::from).to_vec();
    assert_eq!(store.forget_blobs(gone).await, Ok(()));
    assert_eq!(told().await, ["back"]);
    put(store, &a, "again.mp4", "back").await;
    assert_eq!(told().await, Vec::<String>::new());
    assert_eq!(store.delete(&a).await, Ok(Some(vec!["back".into(), "named".into()])));
}

pub(super) async fn retention_removes_what_is_old_in_small_batches(store: &dyn Store) {
    for (name, at) in [("a", 10), ("b", 20), ("c", 30), ("d", 40)] {
        let generation = ended(store, name, at).await;
        put(store, &generation, "film.mp4", &format!("blob {name}")).await;
    }
    let running = generation("running");
    assert!(commit(store, create(&running, row("t", State::Running))).await.is_ok());
    put(store, &running, "film.mp4", "blob running").await;

    assert_eq!(sweep(store, Some(10), Some(10)).await, Swept::default(), "the moment itself is not before");
    let swept = sweep(store, None, Some(35)).await;
    assert_eq!(swept, Swept { generations: vec![], blobs: vec!["blob a".into(), "blob b".into()] });
    assert_eq!(store.artifacts(&generation("a")).await, Ok(Vec::new()));
    assert!(store.get(&generation("a")).await.expect("a read").is_some(), "the history stays longer than the film");
    let swept = sweep(store, None, Some(35)).await;
    assert_eq!(swept.blobs, ["blob c"], "the next batch");

    let swept = sweep(store, Some(1_000), None).await;
    assert_eq!(swept, Swept { generations: vec![generation("a"), generation("b")], blobs: vec![] });
    let swept = sweep(store, Some(1_000), None).await;
    assert_eq!(swept, Swept { generations: vec![generation("c"), generation("d")], blobs: vec!["blob d".into()] });
    assert_eq!(sweep(store, Some(1_000), Some(1_000)).await, Swept::default());
    assert!(store.get(&running).await.expect("a read").is_some(), "what has not ended is never old");
    assert_eq!(store.artifacts(&running).await.map(|kept| kept.len()), Ok(1));
}

pub(super) async fn an_upload_is_found_again(store: &dyn Store) {
    let upload = Upload {
        file: id("upl_1"),
        owner: id("ann"),
        tenant: id("t"),
        size: 42,
        sha256: "blob".into(),
        at: Timestamp(7),
    };
    assert_eq!(store.upload(&upload.file).await, Ok(None));
    assert_eq!(store.put_upload(upload.clone()).await, Ok(()));
    assert_eq!(store.upload(&upload.file.clone()).await, Ok(Some(upload)));
}

pub(super) async fn uploads_are_summed_by_owner(store: &dyn Store) {
    for (file, tenant, owner, size) in [
        ("upl_1", "t", "ann", 42),
        ("upl_2", "t", "ann", 500),
        ("upl_3", "t", "bob", 7_000),
        ("upl_4", "other", "ann", 80_000),
    ] {
        let sha256 = "blob".to_owned();
        let upload = Upload { file: id(file), owner: id(owner), tenant: id(tenant), size, sha256, at: Timestamp(size) };
        assert_eq!(store.put_upload(upload).await, Ok(()));
    }
    let of_ann = async |least| store.uploaded(&id("t"), &id("ann"), least).await;
    assert_eq!(of_ann(0).await, Ok(542));
    assert_eq!(of_ann(100).await, Ok(600), "none counts for less");
    assert_eq!(store.uploaded(&id("t"), &id("nobody"), 100).await, Ok(0));
    assert_eq!(store.sweep_uploads(Timestamp(43), 10).await, Ok(1));
    assert_eq!(of_ann(0).await, Ok(500));
}

pub(super) async fn old_uploads_go_unless_unfinished_work_names_them(store: &dyn Store) {
    let upload = |file: &str, blob: &str, at: u64| Upload {
        file: id(file),
        owner: id("ann"),
        tenant: id("t"),
        size: 42,
        sha256: blob.into(),
        at: Timestamp(at),
    };
    for (file, blob, at) in [
        ("upl_used", "a", 1),
        ("upl_used2", "b", 2),
        ("upl_done", "c", 3),
        ("upl_nobody", "d", 4),
        ("upl_twin", "a", 5),
        ("upl_young", "e", 50),
    ] {
        assert_eq!(store.put_upload(upload(file, blob, at)).await, Ok(()));
    }
    let input = |text: &str, state: State| {
        let mut row = row("t", state);
        row.snapshot = format!(r#"{{"input":{{"image":"{text}","prompt":"like upl_nobodyelse"}}}}"#).into_bytes();
        row
    };
    assert!(commit(store, create(&generation("a"), input("upl_used", State::Running))).await.is_ok());
    assert!(commit(store, create(&generation("b"), input("see upl_used2!", State::Queued))).await.is_ok());
    assert!(commit(store, create(&generation("c"), input("upl_done", State::Complete))).await.is_ok());
    assert_eq!(store.sweep_uploads(Timestamp(50), 1).await, Ok(1), "a batch is as small as it was asked for");
    assert_eq!(store.sweep_uploads(Timestamp(50), 10).await, Ok(2));
    assert_eq!(store.sweep_uploads(Timestamp(50), 10).await, Ok(0));
    for (file, there) in [
        ("upl_used", true),
        ("upl_used2", true),
        ("upl_young", true),
        ("upl_done", false),
        ("upl_nobody", false),
        ("upl_twin", false),
    ] {
        assert_eq!(store.upload(&id(file)).await.expect("a read").is_some(), there, "{file}");
    }
    assert_eq!(sweep(store, None, None).await.blobs, ["c", "d"], "the twin's blob has another name still");
}

pub(super) async fn a_new_generation_shares_files_with_an_old_one(store: &dyn Store) {
    let a = ended(store, "a", 10).await;
    put(store, &a, "frames.tar", "blob").await;
    let shares = Shares { from: a.clone(), names: vec![id("frames.tar")] };
    let b = generation("b");
    let lacking = Shares { names: vec![id("frames.tar"), id("gone.png")], ..shares.clone() };
    let refused = commit(store, Change { shares: Some(lacking), ..create(&b, row("t", State::Queued)) }).await;
    assert_eq!(refused, Err(CommitError::Gone { name: id("gone.png") }));
    assert_eq!(store.get(&b).await, Ok(None));
    let made = Change { shares: Some(shares), ..create(&b, row("t", State::Queued)) };
    assert!(commit(store, made).await.is_ok());
    let shared = store.artifacts(&b).await.expect("a read");
    assert_eq!(
        shared.iter().map(|one| (one.name.as_str(), one.sha256.as_str())).collect::<Vec<_>>(),
        [("frames.tar", "blob")]
    );
    assert_eq!(store.delete(&a).await, Ok(Some(Vec::new())), "the blob is named by the other");
    assert_eq!(sweep(store, None, None).await.blobs, Vec::<String>::new());
}
